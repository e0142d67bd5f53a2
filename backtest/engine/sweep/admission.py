"""Admission of a book: positions that market and venue can take, and refusal, capping or removal of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Conventions
from backtest.engine.notional import filled
from backtest.engine.sweep.prepare import Prepared, additions_of, prepare
from backtest.engine.sweep.refusals import ALWAYS, refuse
from backtest.engine.sweep.survey import Survey, position_arrays, survey
from backtest.kernel.arrays import Positions
from backtest.kernel.sweep import admission
from backtest.kernel.sweep.adjustments import Actions
from backtest.kernel.sweep.admission import Refusal
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Flags, readonly
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked

#: Refusals by size and leverage.
BEYOND = (
    Refusal.BEYOND_TABLE,
    Refusal.BEYOND_LEVERAGE,
    Refusal.GROWS_BEYOND_TABLE,
    Refusal.GROWS_BEYOND_LEVERAGE,
)


@dataclass(frozen=True, eq=False)
class Admitted:
    """Positions admitted to a sweep."""

    frame: pl.DataFrame
    adjustments: pl.DataFrame | None  #: with the ``row`` of their position in ``frame``
    positions: Positions
    used: Flags  #: (trees,) trees that they may need
    rejected: Flags  #: (n,) positions that could not have been opened


def admit(book: Book, prepared: Prepared, leverage_limit: str, threads: int | None) -> Admitted:
    """Return the positions to sweep, after refusing, capping or leaving out what the tiers do not allow."""
    frame, adjustments = filled(book.positions, prepared.contracts), book.adjustments
    positions, additions = position_arrays(frame, prepared), additions_of(book)
    if leverage_limit == "cap":
        frame, positions = _capped(frame, positions, prepared, additions, threads)
    found = survey(positions, prepared, additions, threads)
    refuse(frame, positions, found, prepared, ALWAYS if leverage_limit == "filter" else (*ALWAYS, *BEYOND))
    rejected, beyond = found.refused_for(Refusal.BELOW_MAINTENANCE), found.refused_for(*BEYOND)
    if beyond.any():
        frame, adjustments, positions = _without(beyond, frame, adjustments, positions)
        rejected = rejected[~beyond]
    used = found.used if adjustments is None else found.used | _after_changes(adjustments, positions, prepared)
    return Admitted(frame, adjustments, positions, used, rejected)


@checked
def admissible(book: Book, market: Market, venue: Venue, conventions: Conventions = USUAL) -> Flags:
    """Return (positions,) whether the venue's tables allow each position's size and leverage.

    Raises
    ------
    TiersError
        For positions opened when no table was in force.
    """
    prepared = prepare(book, market, venue, conventions)
    return ~require_tables(book, prepared).refused_for(*BEYOND)


@checked
def openable(book: Book, market: Market, venue: Venue, conventions: Conventions = USUAL) -> Flags:
    """Return (positions,) whether the margin is at least the maintenance margin at the entry.

    Raises
    ------
    TiersError
        For positions opened when no table was in force.
    """
    prepared = prepare(book, market, venue, conventions)
    return ~require_tables(book, prepared).refused_for(Refusal.BELOW_MAINTENANCE)


def require_tables(book: Book, prepared: Prepared) -> Survey:
    """Return the refusals of a book; positions without a table in force are refused here.

    Raises
    ------
    TiersError
        For positions opened when no table was in force.
    """
    positions = position_arrays(filled(book.positions, prepared.contracts), prepared)
    found = survey(positions, prepared, additions_of(book), None)
    refuse(book.positions, positions, found, prepared, (Refusal.NO_TABLE,))
    return found


def _after_changes(adjustments: pl.DataFrame, positions: Positions, prepared: Prepared) -> Flags:
    """Return which trees positions may need once their terms have changed: any of their symbols'."""
    changed = np.unique(positions.symbol[adjustments["row"].to_numpy()])
    return np.isin([tree.symbol for tree in prepared.rules.trees], changed)


def _without(
    refused: Flags, frame: pl.DataFrame, adjustments: pl.DataFrame | None, positions: Positions
) -> tuple[pl.DataFrame, pl.DataFrame | None, Positions]:
    """Return the positions that are not refused, and their adjustments."""
    allowed = ~refused
    if adjustments is not None:
        still = adjustments.filter(pl.Series(allowed).gather(adjustments["row"]))
        rows = pl.Series(np.cumsum(allowed) - 1)  # -1 before the first that is kept, which none of these is
        adjustments = still.with_columns(row=rows.gather(still["row"]).cast(pl.UInt32))
    arrays = {name: each for name, each in positions._asdict().items() if isinstance(each, np.ndarray)}
    kept: Any = {name: readonly(each[allowed]) for name, each in arrays.items()}
    return frame.filter(pl.Series(allowed)), adjustments, positions._replace(**kept)


def _capped(
    frame: pl.DataFrame, positions: Positions, prepared: Prepared, additions: Actions, threads: int | None
) -> tuple[pl.DataFrame, Positions]:
    """Return positions with leverage lowered to their limits, and margins raised to the initial margin there."""
    leverage, margin = np.empty((2, frame.height))

    def run(begin: int, stop: int) -> int:
        rules = prepared.rules.rules
        return int(admission.cap(prepared.bars, rules, positions, additions, leverage, margin, begin, stop))

    if not sum(in_chunks(run, frame.height, threads)):
        return frame, positions
    arrays = {"leverage": leverage, "margin": margin}
    changed: Any = {name: readonly(array) for name, array in arrays.items() if name in frame.columns}
    frame = frame.with_columns(**{name: pl.Series(array) for name, array in changed.items()})
    return frame, positions._replace(**changed)
