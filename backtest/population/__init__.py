"""Synthetic and estimated books: drawn from stated laws, or estimated from open interest or volume.

Most exchanges publish no books. Each book here lists its assumptions as sentences, its seed, and the calibration
targets it meets or misses.
"""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
