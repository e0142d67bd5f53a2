"""What would a price history have done to leveraged positions, and what would other rules have changed?

::

    from backtest import Book, Market, Venue, sweep

    outcomes = sweep(Book(positions), Market(bars, funding), Venue.load("binance"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtest import book, chart, engine, market, population, rules, scale, study
    from backtest.book import Accounts, Book
    from backtest.engine.accounts.liquidate import liquidate_accounts
    from backtest.engine.accounts.sweep import sweep_accounts
    from backtest.engine.replay.replay import replay
    from backtest.engine.sweep.sweep import sweep, tiers_used
    from backtest.market import Market
    from backtest.rules.procedure import Impact, Procedure
    from backtest.rules.venue import Venue
    from backtest.scale.precompile import warm

__version__ = "0.1.0"

_HOMES = {
    "Accounts": "backtest.book",
    "Book": "backtest.book",
    "Impact": "backtest.rules.procedure",
    "Market": "backtest.market",
    "Procedure": "backtest.rules.procedure",
    "Venue": "backtest.rules.venue",
    "liquidate_accounts": "backtest.engine.accounts.liquidate",
    "replay": "backtest.engine.replay.replay",
    "sweep": "backtest.engine.sweep.sweep",
    "sweep_accounts": "backtest.engine.accounts.sweep",
    "tiers_used": "backtest.engine.sweep.sweep",
    "warm": "backtest.scale.precompile",
}
_MODULES = {
    "book": "backtest.book",
    "chart": "backtest.chart",
    "engine": "backtest.engine",
    "market": "backtest.market",
    "population": "backtest.population",
    "rules": "backtest.rules",
    "scale": "backtest.scale",
    "study": "backtest.study",
}

__all__ = [
    "Accounts",
    "Book",
    "Impact",
    "Market",
    "Procedure",
    "Venue",
    "book",
    "chart",
    "engine",
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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'backtest' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
