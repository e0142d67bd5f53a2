"""Trade lists of other tools and venues: read as they are, and checked for liquidation on any venue."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
