"""Charts, one panel a function: each draws on the axes it is given and returns them."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
