"""Backtest liquidations on crypto perpetuals.

Which positions get liquidated, when, and how other margin rules would change that.

::

    from backtest import Book, Market, Venue, sweep

    outcomes = sweep(Book(positions), Market(bars, funding), Venue.load("binance"))
"""

from typing import TYPE_CHECKING

from backtest.lazy import attach

if TYPE_CHECKING:
    from backtest import book, chart, market, population, rules, scale, study
    from backtest.book import Accounts, Book
    from backtest.engine.accounts.liquidate import liquidate_accounts
    from backtest.engine.accounts.sweep import sweep_accounts
    from backtest.engine.conventions import Conventions
    from backtest.engine.replay.replay import replay
    from backtest.engine.sweep.sweep import sweep, tiers_used
    from backtest.market import Market
    from backtest.rules.procedure import Impact, Procedure
    from backtest.rules.venue import Venue
    from backtest.scale.precompile import warm

__version__ = "0.1.0"

__all__ = [
    "Accounts",
    "Book",
    "Conventions",
    "Impact",
    "Market",
    "Procedure",
    "Venue",
    "book",
    "chart",
    "liquidate_accounts",
    "market",
    "population",
    "replay",
    "rules",
    "scale",
    "study",
    "sweep",
    "sweep_accounts",
    "tiers_used",
    "warm",
]
__dir__ = __all__.copy
__getattr__ = attach(
    __name__,
    {
        "backtest.book": ["book", "Accounts", "Book"],
        "backtest.chart": ["chart"],
        "backtest.market": ["market", "Market"],
        "backtest.population": ["population"],
        "backtest.rules": ["rules"],
        "backtest.scale": ["scale"],
        "backtest.study": ["study"],
        "backtest.rules.procedure": ["Impact", "Procedure"],
        "backtest.rules.venue": ["Venue"],
        "backtest.scale.precompile": ["warm"],
        "backtest.engine.accounts.liquidate": ["liquidate_accounts"],
        "backtest.engine.accounts.sweep": ["sweep_accounts"],
        "backtest.engine.conventions": ["Conventions"],
        "backtest.engine.replay.replay": ["replay"],
        "backtest.engine.sweep.sweep": ["sweep", "tiers_used"],
    },
)
