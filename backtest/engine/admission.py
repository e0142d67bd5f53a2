"""Which positions a venue's tables are made for, by their size alone."""

from __future__ import annotations

import numpy as np

from backtest.book.book import Book
from backtest.engine.sweep import admission
from backtest.engine.sweep.prepare import prepare
from backtest.kernel.sweep import admission as survey
from backtest.kernel.types import Flags
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked


@checked
def admissible(book: Book, market: Market, venue: Venue, tiers: Tiers = "strict") -> Flags:
    """Return (positions,) whether the venue's tables allow each position's size and leverage.

    Raises
    ------
    TiersError
        For positions opened when no table was in force.
    """
    prepared = prepare(book, market, venue, None, "liquidation_price", tiers)
    admission.group_counts(book, prepared)  # refuses those under no table
    positions = admission.position_arrays(book.positions, prepared)
    allowed = np.empty(len(book), np.bool_)
    survey.admissible(prepared.rules.rules, positions, allowed, 0, len(book))
    return allowed
