"""Liquidation levels moved by funding and holders, piece by piece."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.columns import numbers, times
from backtest.engine.conventions import Conventions
from backtest.engine.sweep import admission
from backtest.engine.sweep.prepare import actions_of, prepare
from backtest.kernel.arrays import Bars, Funding
from backtest.kernel.study import level_drift
from backtest.kernel.study.level_drift import NEVER
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.rules.venue import Venue

#: Leverage beyond the limit is lowered: a level map leaves nobody out.
CAPPED = Conventions(leverage_limit="cap")


def level_pieces(
    book: Book,
    outcomes: pl.DataFrame,
    market: Market,
    venue: Venue,
    edges: Floats,
    *,
    logarithmic: bool = False,
    conventions: Conventions = CAPPED,
    threads: int | None = None,
) -> pl.DataFrame:
    """Return the path of each level, one row per stretch in one bin.

    Parameters
    ----------
    book, market, venue, conventions : what was swept, and how
    outcomes : what the sweep returned
    edges : (bins + 1,) of the bins
    logarithmic : whether they have equal ratios
    threads : to use; None: all

    Returns
    -------
    ``row`` (of the outcomes), ``from_time`` (the entry, or just after the opening that moved the level),
    ``until_time`` (of the next piece, or the outcome; null while open), ``price`` (null where there is none),
    ``quantity`` (left of the position), ``last`` (of its row).
    """
    prepared = prepare(book, market, venue, conventions)
    admitted = admission.admit(book, prepared, conventions.leverage_limit, threads)
    actions = actions_of(admitted.frame, admitted.adjustments)
    ends = readonly(outcomes["outcome_time"].to_physical().fill_null(NEVER).to_numpy())
    charged_at = readonly(_openings_charged(prepared.bars, prepared.funding))
    shared = (prepared.bars, prepared.funding, prepared.rules.rules, admitted.positions, actions, ends, charged_at)
    first = np.zeros(ends.size + 1, np.int64)
    grid = (readonly(edges), logarithmic)
    nowhere = np.empty(0, np.int64), np.empty(0), np.empty(0)
    in_chunks(lambda a, b: level_drift.pieces(*shared, *grid, first, *nowhere, a, b), ends.size, threads)
    np.cumsum(first, out=first)
    moments, prices, quantities = np.empty(first[-1], np.int64), np.empty(first[-1]), np.empty(first[-1])
    found = moments, prices, quantities
    in_chunks(lambda a, b: level_drift.pieces(*shared, *grid, first, *found, a, b), ends.size, threads)
    last = np.zeros(moments.size, np.bool_)
    last[first[1:] - 1] = True
    row = np.repeat(np.arange(ends.size), np.diff(first))
    until = np.where(last, ends[row], np.append(moments[1:], 0) - 1)
    return pl.DataFrame(
        {
            "row": row,
            "from_time": times(moments),
            "until_time": times(until, until != NEVER),
            "price": numbers(np.where(admitted.rejected[row], np.nan, prices)),
            "quantity": quantities,
            "last": last,
        }
    )


def levels_move(book: Book, market: Market, venue: Venue, conventions: Conventions) -> bool:
    """Return whether levels move without funding: where holders act, or new tables apply to open positions."""
    if book.adjustments is not None:
        return True
    rules = prepare(book, market, venue, conventions).rules.rules
    return bool((rules.successor >= 0).any())


def _openings_charged(bars: Bars, funding: Funding) -> Integers:
    """Return the opening each charge is made at, laid out as the charges are."""
    found = np.full(funding.time.size, NEVER)
    for symbol in range(bars.first.size - 1):
        rows = slice(bars.first[symbol], bars.first[symbol + 1])
        charges = np.arange(funding.first[symbol + 1] - funding.first[symbol] - 1)
        opened = np.searchsorted(funding.charged[rows], charges, side="right")
        found[funding.first[symbol] : funding.first[symbol + 1] - 1] = bars.time[rows][opened]
    return found
