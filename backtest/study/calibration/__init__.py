"""Estimated books against recorded daily liquidations: baselines, scores, and leverage mixes fitted by side."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
