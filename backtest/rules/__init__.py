"""Venue rules: contracts, margin tiers, liquidation procedures, and the prices that follow from them."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
