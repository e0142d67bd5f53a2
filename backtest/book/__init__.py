"""Books of isolated positions, and accounts in cross margin: read from frames and files, and checked."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
