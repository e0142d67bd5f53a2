"""Charts of liquidation levels: heatmaps, maps, profiles, clusters, films."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
