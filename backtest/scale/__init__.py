"""Sweeps of books larger than memory, on one machine or a cluster: batches, a manifest, executors."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
