"""Sweep of isolated positions: liquidations, their times and prices."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine import market_arrays, outcomes
from backtest.engine.arguments import require_threads
from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.engine.input_warnings import warn_of_substitutes, warn_once
from backtest.engine.sweep import admission, certainty
from backtest.engine.sweep.prepare import Prepared, actions_of, hidden_of, prepare
from backtest.engine.sweep.survey import position_arrays
from backtest.engine.sweep.surviving_weight import surviving_weight
from backtest.kernel.arrays import Forest, Outcomes
from backtest.kernel.sweep import managed, passive
from backtest.kernel.sweep.bar_events import Hidden
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Integers
from backtest.market.market import Market
from backtest.rules.rulebook import Group, Rulebook, groups_of
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OUTCOME_COLUMNS, Outcome

#: Columns of the tier tables a sweep uses.
TIERS_USED: dict[str, Any] = {
    "symbol": pl.String,
    "table": pl.String,
    "start": pl.Datetime("ms", "UTC"),
    "end": pl.Datetime("ms", "UTC"),
    "source": pl.String,
    "in_force": pl.Boolean,
    "confidence": pl.String,
    "positions": pl.Int64,
}


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
    [('exited', 601), ('liquidated', 334), ('open', 65)]
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
    found = _swept(book, market, venue, conventions.with_(**changes), threads)
    warn_of_substitutes(book, found.rules, found.groups)
    warn_of_substitutes(book, found.rules, found.groups, later=found.last)
    return found.outcomes


def sweep_with_tiers(
    book: Book, market: Market, venue: Venue, *, conventions: Conventions = USUAL, threads: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what :func:`sweep` and :func:`tiers_used` do, for which the book is prepared and surveyed once."""
    require_threads(threads)
    found = _swept(book, market, venue, conventions, threads)
    if found.groups.size < len(book):  # positions beyond their leverage limit were left out
        return found.outcomes, tiers_used(book, market, venue, conventions=conventions)
    return found.outcomes, _tables_of(market, found.rules, found.groups)


class _Swept(NamedTuple):
    """Outcomes of a book, and the group of rules of each position at its entry and at its end."""

    outcomes: pl.DataFrame
    rules: Rulebook
    groups: Integers
    last: Integers


def _swept(book: Book, market: Market, venue: Venue, conventions: Conventions, threads: int | None) -> _Swept:
    """Prepare a book, call the kernel and name the columns."""
    prepared = prepare(book, market, venue, conventions)
    admitted = admission.admit(book, prepared, conventions.leverage_limit, threads)
    forest = market_arrays.forest_of(
        market, prepared.bars, prepared.funding, prepared.rules, admitted.used, prepared.series
    )
    positions = admitted.positions
    groups = groups_of(prepared.rules.rules, positions.symbol, positions.entry_time)
    count = admitted.frame.height
    found = Outcomes(**outcomes.empty(Outcomes._fields, count, grown=count if book.has_additions else 0))
    _follow(book, prepared, admitted, forest, conventions, found, threads)
    outcomes.reject(found._asdict(), admitted.rejected)
    arrays = {"outcome_time" if name == "time" else name: array for name, array in found._asdict().items()}
    last = outcomes.groups_at_the_end(prepared.rules, market, positions, groups, found.outcome, found.time)
    origin = outcomes.tiers_of(prepared.rules, last) | {"price_venue": outcomes.price_venue(market)}
    arrays["outcome_until"] = found.time + market.intervals[positions.symbol]
    named = outcomes.named(admitted.frame, prepared.held, Outcome, arrays, origin, OUTCOME_COLUMNS)
    if book.survival is not None:
        named = named.with_columns(surviving_weight(named, book.survival))
    return _Swept(named, prepared.rules, groups, last)


def _follow(
    book: Book, prepared: Prepared, admitted: admission.Admitted, forest: Forest, conventions: Conventions,
    found: Outcomes, threads: int | None,
) -> None:  # fmt: skip
    """Call the kernel of passive positions, or of those with actions, and write the outcomes."""
    shared = (prepared.bars, prepared.funding, prepared.rules.rules, forest, admitted.positions)
    if not book.has_actions:
        tested = conventions.entry_bar == "tested"

        def cross(begin: int, stop: int) -> None:
            passive.cross(*shared, tested, passive.scratch(), found, begin, stop)

        in_chunks(cross, found.outcome.shape[0], threads)
        return
    watched_series = conventions.stop_series(prepared.market)
    watched = market_arrays.watched_of(prepared.market, watched_series, watched_series == prepared.series)
    actions = actions_of(admitted.frame, admitted.adjustments)

    def follow(what: Hidden, rows: Integers, out: Outcomes) -> None:
        def run(begin: int, stop: int) -> None:
            managed.live(*shared, actions, watched, what, rows, out, begin, stop)

        in_chunks(run, out.outcome.shape[0], threads)

    follow(hidden_of(conventions), np.empty(0, dtype=np.int64), found)
    certainty.settle(found, follow)


@checked
def tiers_used(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    conventions: Conventions = USUAL,
    **changes: Unpack[Changes],
) -> pl.DataFrame:
    """Return the tier tables that positions are opened under, and whether they were in force.

    Tables that later apply to open positions are in the ``tier_table`` of their outcomes.

    Returns
    -------
    One row per symbol, table and ``source`` (as ``tier_source`` of outcomes): ``symbol, table, start, end, source,
    in_force, confidence, positions``.

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
    admission.require_tables(book, prepared)
    positions = position_arrays(book.positions, prepared)
    return _tables_of(
        market, prepared.rules, groups_of(prepared.rules.rules, positions.symbol, positions.entry_time)
    )


def _tables_of(market: Market, rules: Rulebook, groups: Integers) -> pl.DataFrame:
    """Return the tables of some entries, as :func:`tiers_used`."""
    counts = np.bincount(groups, minlength=len(rules.groups))
    rows = [
        {
            "symbol": market.symbols[group.symbol],
            "table": group.table.name,
            "start": group.table.start,
            "end": group.table.end,
            "source": group.tier_source,
            "in_force": not group.is_substitute,
            "confidence": _confidence(group),
            "positions": count,
        }
        for group, count in zip(rules.groups, counts.tolist(), strict=True)
        if count
    ]
    used = pl.DataFrame(rows, schema=TIERS_USED)
    keys = [name for name in TIERS_USED if name != "positions"]
    return used.group_by(keys, maintain_order=True).agg(pl.col("positions").sum())


def _confidence(group: Group) -> str:
    """Return the confidence in a table; the table of another symbol's contract is an assumption."""
    like = group.contract.like
    return f"assumed: {like}'s, {group.contract.symbol} is not listed" if like else group.table.confidence
