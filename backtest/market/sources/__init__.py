"""Venues' public archives: files read, fetched, verified and stored. Nothing is fetched without a request."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
