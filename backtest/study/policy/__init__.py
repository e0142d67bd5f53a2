"""Policies: grids of rules, settlement, bands, counterfactuals."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
