"""How much leverage, and which share of wealth, a list of trades bears."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
