"""Price and funding histories: read from files, fetched from venues, checked; and a reconstructed sample."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
