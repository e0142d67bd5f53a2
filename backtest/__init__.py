"""Backtest liquidations on crypto perpetuals.

Which positions get liquidated, when, and how other margin rules would change that.

::

    from backtest import Book, Market, Venue, sweep

    outcomes = sweep(Book(positions), Market(bars, funding), Venue.load("binance"))
"""

from backtest.lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__, __file__)
