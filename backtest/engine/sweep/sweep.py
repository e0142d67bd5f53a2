"""Sweep of isolated positions: liquidations, their times and prices."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine import market_arrays, outcomes
from backtest.engine.arguments import require_threads
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.input_warnings import warn_once
from backtest.engine.sweep import admission
from backtest.engine.sweep.prepare import actions_of, prepare
from backtest.engine.sweep.surviving_weight import surviving_weight
from backtest.kernel.arrays import Outcomes
from backtest.kernel.choices import Intrabar
from backtest.kernel.sweep import managed, passive
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Integers
from backtest.market.market import Market
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import milliseconds
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OUTCOME_COLUMNS, Outcome


@checked
def sweep(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    conventions: Conventions = USUAL,
    threads: int | None = None,
    **changes: Unpack[Changes],
) -> pl.DataFrame:
    """Return the outcome of each position of a book, isolated from one another, under a venue's rules.

    Parameters
    ----------
    book, market, venue
        Positions, prices and funding, and the rules.
    conventions
        Assumptions where prices and rules leave a choice: triggers, fills, order inside bars, substitute tables.
    threads
        Number of threads; None: one per core. Results do not depend on it.
    **changes
        Fields of :class:`~backtest.Conventions` that differ from ``conventions``.

    Returns
    -------
    One row per position, in the order given: every column of the positions, then those of
    ``schemas.OUTCOME_COLUMNS``. See ``docs/model.md`` for what each means.

    Raises
    ------
    ArgumentError
        For unknown choices and keywords, or a price series the bars do not hold.
    DataError
        For positions the market or the venue cannot take: unknown symbols, entries outside the history,
        leverage or size beyond the tiers.
    TiersError
        For positions opened when no table was in force.

    Examples
    --------
    >>> from backtest import sweep
    >>> swept = sweep(book, market, venue)
    >>> swept["outcome"].value_counts(sort=True).rows()
    [('exited', 591), ('liquidated', 344), ('open', 65)]
    >>> swept.filter(outcome="liquidated").select("side", "leverage", "liquidation_price").head(2)
    shape: (2, 3)
    ┌──────┬──────────┬───────────────────┐
    │ side ┆ leverage ┆ liquidation_price │
    │ ---  ┆ ---      ┆ ---               │
    │ enum ┆ f64      ┆ f64               │
    ╞══════╪══════════╪═══════════════════╡
    │ long ┆ 107.0    ┆ 58823.713921      │
    │ long ┆ 21.0     ┆ 56556.892797      │
    └──────┴──────────┴───────────────────┘
    """
    require_threads(threads)
    warn_once(book, market)
    conventions = conventions.with_(**changes)
    prepared = prepare(book, market, venue, conventions)
    admitted = admission.admit(book, prepared, conventions.leverage_limit, threads)
    forest = market_arrays.forest_of(
        market, prepared.bars, prepared.funding, prepared.rules, admitted.used, prepared.series
    )
    positions = admitted.positions
    found = Outcomes(**outcomes.empty(Outcomes._fields, admitted.frame.height))
    shared = (prepared.bars, prepared.funding, prepared.rules.rules, forest, positions)
    tested = conventions.entry_bar == "tested"

    if book.has_actions:
        watched_series = conventions.stop_series(market)
        watched = market_arrays.watched_of(market, watched_series, watched_series == prepared.series)
        actions = actions_of(admitted.frame, admitted.adjustments)
        order = Intrabar.code(conventions.intrabar)

        def run(begin: int, stop: int) -> None:
            managed.live(*shared, actions, watched, order, tested, found, begin, stop)
    else:

        def run(begin: int, stop: int) -> None:
            passive.cross(*shared, tested, passive.scratch(), found, begin, stop)

    in_chunks(run, admitted.frame.height, threads)
    arrays = {"outcome_time" if name == "time" else name: array for name, array in found._asdict().items()}
    named = outcomes.named(admitted.frame, prepared.contracts, Outcome, arrays, OUTCOME_COLUMNS)
    return named if book.survival is None else named.with_columns(surviving_weight(named, book.survival))


@checked
def tiers_used(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    conventions: Conventions = USUAL,
    **changes: Unpack[Changes],
) -> pl.DataFrame:
    """Return the tier tables that a sweep of the book uses, and whether they were in force.

    Returns
    -------
    One row per symbol and table: ``symbol, table, start, end, in_force`` (at every entry that uses it),
    ``confidence, positions``.

    Raises
    ------
    TiersError
        As :func:`sweep`.

    Examples
    --------
    >>> from backtest import tiers_used
    >>> tiers_used(book, market, venue).select("symbol", "table", "in_force", "positions")
    shape: (1, 4)
    ┌─────────┬────────────┬──────────┬───────────┐
    │ symbol  ┆ table      ┆ in_force ┆ positions │
    │ ---     ┆ ---        ┆ ---      ┆ ---       │
    │ str     ┆ str        ┆ bool     ┆ i64       │
    ╞═════════╪════════════╪══════════╪═══════════╡
    │ BTCUSDT ┆ 2021-03-18 ┆ true     ┆ 1000      │
    └─────────┴────────────┴──────────┴───────────┘
    """
    prepared = prepare(book, market, venue, conventions.with_(**changes))
    entries = _entries(book)
    rows = []
    for group in prepared.rules.groups:
        symbol = market.symbols[group.symbol]
        following = [g.start for g in prepared.rules.groups if g.symbol == group.symbol and g.start > group.start]
        own = _within(
            entries.get(symbol, np.zeros(0, np.int64)), group.start, min(following, default=np.iinfo(np.int64).max)
        )
        if not own.size:
            continue
        if not group.known:
            admission.require_tables(book, prepared)  # refuses them
        start, end = milliseconds(group.table.start), milliseconds(group.table.end)
        rows.append(
            {
                "symbol": symbol,
                "table": group.table.name,
                "start": group.table.start,
                "end": group.table.end,
                "in_force": _within(own, start, end).size == own.size,
                "confidence": _confidence(venue, symbol, group.table),
                "positions": own.size,
            }
        )
    return pl.DataFrame(
        rows,
        schema={
            "symbol": pl.String,
            "table": pl.String,
            "start": pl.Datetime("ms", "UTC"),
            "end": pl.Datetime("ms", "UTC"),
            "in_force": pl.Boolean,
            "confidence": pl.String,
            "positions": pl.Int64,
        },
    )


def _entries(book: Book) -> dict[str, Integers]:
    """Return the entry times of each symbol, ms."""
    if len(book.symbols) == 1:  # as most parts of a book: nothing to split
        return {book.symbols[0]: book.positions["entry_time"].to_physical().to_numpy()}
    parts = book.positions.select("symbol", "entry_time").partition_by("symbol", as_dict=True)
    return {symbol: part["entry_time"].to_physical().to_numpy() for (symbol,), part in parts.items()}


def _within(times: Integers, start: int, end: int) -> Integers:
    """Return the times from a start to before an end."""
    if times.size and start <= times.min() and times.max() < end:
        return times
    return times[(times >= start) & (times < end)]


def _confidence(venue: Venue, symbol: str, table: TierTable) -> str:
    """Return the confidence in a table; the table of another symbol's contract is an assumption."""
    like = venue.like(symbol)
    return table.confidence if like is None else f"assumed: {like}'s, {symbol} is not listed"
