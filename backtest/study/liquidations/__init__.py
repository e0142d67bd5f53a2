"""Liquidations: flow by interval, cascades, contagion, throttled feeds."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
