"""Statistics of outcomes, one file a subject: polars frames in, polars frames out."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
