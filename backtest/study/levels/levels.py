"""Open liquidation levels by price and time: the heatmap of a book.

A level is a position's liquidation price, worth its notional there (settlement currency) or its quantity. A cell
holds the levels that are open at the *end* of its column:

- a level starts in the column whose end is the first at or after its entry (a position entered at a bar's close
  is open from that close on);
- it ends in the column of the bar its position's outcome falls in, as in the sweep: triggered by the mark,
  stopped, taken out at a profit, closed. A strip therefore stops at the left edge of the column whose wick
  touched it;
- in between it decays where the book does (``survival``) or where a half-life is given.

Funding moves levels, and so do holders who add margin or close a part. By default book and levels are swept
without funding, and each level stays at the price of its entry. With ``drift``, and where a book has adjustments
or new tables of tiers apply to open positions, a level changes bins at the open of the bar that carries it over
an edge. It keeps the amount it had when it came into its bin; triggered notional is counted at the level's price
at that time.

Amounts are whole units (cents, or millionths of a base unit) in int64: no cell depends on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Unpack

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Changes, Conventions
from backtest.engine.sweep.level_drift import CAPPED, level_pieces, levels_move
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.shown import shown
from backtest.study.levels.cells import SIDES, SideCells, row_columns
from backtest.study.levels.grid import LevelGrid, milliseconds
from backtest.study.levels.open_levels import Measure, require_measured, require_no_funding

#: What amounts are rounded to: settlement currency, base.
UNITS: dict[Measure, float] = {"notional": 0.01, "quantity": 1e-6}

#: What notional of inverse contracts, a coin, is rounded to.
COIN_UNIT = 1e-8

#: How levels move, in words.
STILL, MOVED = "levels at the entry, without funding", "levels moved by funding and holders"


@dataclass(frozen=True, eq=False)
@shown()
class Levels:
    """The open notional of each cell of a grid.

    ``long`` and ``short`` hold the bins; ``outside`` is the open notional at prices beyond them; ``triggered`` is
    the notional that the mark liquidated in each column, at every price. Amounts are whole multiples of ``unit``.
    """

    grid: LevelGrid
    long: Integers  #: (bins, columns) at the end of each column
    short: Integers  #: (bins, columns)
    outside: Mapping[str, Integers]  #: (columns,) a side
    triggered: Mapping[str, Integers]  #: (columns,) a side
    unit: float = UNITS["notional"]
    measure: Measure = "notional"  #: settlement currency, or ``quantity``: base
    assumptions: tuple[str, ...] = field(default=())
    book: Book | None = None  #: that the levels belong to; a score refuses labels of the same book

    def __repr__(self) -> str:
        start, end = self.grid.window
        return (
            f"Levels({self.grid.symbol}: {self.grid.bins:,} bins of {self.grid.width} x {self.grid.columns:,} "
            f"columns, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M})"
        )

    def amounts(self, side: str | None = None) -> Floats:
        """Return (bins, columns) the open notional (or quantity in base) of one side or both."""
        cells = self.long + self.short if side is None else {"long": self.long, "short": self.short}[side]
        return np.asarray(cells / (1 / self.unit))

    def at(self, column: int, side: str | None = None) -> Floats:
        """Return (bins,) the open notional at the end of a column, as :meth:`amounts` does."""
        parts = {"long": self.long, "short": self.short}
        chosen = list(parts.values()) if side is None else [parts[side]]
        return np.asarray(np.sum([cells[:, column] for cells in chosen], axis=0) / (1 / self.unit))

    def totals(self) -> pl.DataFrame:
        """Return a row a column: ``time`` (its end), ``long``, ``short``, ``long_triggered``, ``short_triggered``.

        Open notional is counted at every price, beyond the bins too.
        """
        cells = {"long": self.long, "short": self.short}
        per_currency = 1 / self.unit
        return pl.DataFrame(
            {
                "time": pl.Series(self.grid.ends).cast(Time),
                **{side: (cells[side].sum(axis=0) + self.outside[side]) / per_currency for side in SIDES},
                **{f"{side}_triggered": self.triggered[side] / per_currency for side in SIDES},
            }
        )

    def to_frame(self) -> pl.DataFrame:
        """Return the cells that hold anything: ``time, price_low, price_high, side``, and the measure's own name.

        The time is the end of the column, the amount ``notional`` or ``quantity``.
        """
        parts = []
        edges = self.grid.price_edges
        for side, cells in (("long", self.long), ("short", self.short)):
            columns, bins = np.nonzero(cells.T)
            parts.append(
                pl.DataFrame(
                    {
                        "time": pl.Series(self.grid.ends[columns]).cast(Time),
                        "price_low": edges[bins],
                        "price_high": edges[bins + 1],
                        "side": pl.repeat(side, bins.size, eager=True).cast(Side),
                        self.measure: cells[bins, columns] / (1 / self.unit),
                    }
                )
            )
        return pl.concat(parts).sort("time", "price_low", "side")


@checked
def levels_of(
    book: Book,
    market: Market,
    venue: Venue,
    grid: LevelGrid,
    *,
    half_life: timedelta | None = None,
    drift: bool = False,
    measure: Measure = "notional",
    unit: float | None = None,
    conventions: Conventions = CAPPED,
    threads: int | None = None,
    **changes: Unpack[Changes],
) -> Levels:
    """Sweep a book and return its levels; by default leverage beyond a tier's limit is lowered.

    Parameters
    ----------
    book, market, venue, conventions, **changes, threads : as for ``sweep``
    half_life, measure, unit : as in :func:`levels`
    drift : move the levels by the market's funding; False: no funding at all

    Examples
    --------
    >>> from backtest.study.levels import levels_of
    >>> found = levels_of(book, market, venue, grid)
    >>> found.long.shape == (grid.bins, grid.columns)
    True
    >>> found.totals().tail(2).select("time", pl.col("long", "short").round(0))
    shape: (2, 3)
    ┌─────────────────────────┬──────────┬──────────┐
    │ time                    ┆ long     ┆ short    │
    │ ---                     ┆ ---      ┆ ---      │
    │ datetime[ms, UTC]       ┆ f64      ┆ f64      │
    ╞═════════════════════════╪══════════╪══════════╡
    │ 2021-05-26 15:00:00 UTC ┆ 804341.0 ┆ 619881.0 │
    │ 2021-05-27 00:00:00 UTC ┆ 804721.0 ┆ 667869.0 │
    └─────────────────────────┴──────────┴──────────┘
    """
    conventions = conventions.with_(**changes)
    outcomes, pieces = swept_levels(
        book, market, venue, grid, drift=drift, conventions=conventions, threads=threads
    )
    return levels(
        outcomes,
        grid,
        survival=book.survival,
        half_life=half_life,
        pieces=pieces,
        measure=measure,
        unit=unit,
        assumptions=book.assumptions,
        book=book,
    )


@checked
def swept_levels(
    book: Book,
    market: Market,
    venue: Venue,
    grid: LevelGrid,
    *,
    drift: bool = False,
    conventions: Conventions = CAPPED,
    threads: int | None = None,
    **changes: Unpack[Changes],
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the outcomes of a book and the moving prices of its levels; None where they do not move."""
    prices = market if drift else market.without_funding()
    conventions = conventions.with_(**changes)
    outcomes = sweep(book, prices, venue, conventions=conventions, threads=threads)
    if not drift and not levels_move(book, prices, venue, conventions):
        return outcomes, None
    terms: dict[str, Any] = {"logarithmic": grid.logarithmic, "conventions": conventions, "threads": threads}
    return outcomes, level_pieces(book, outcomes, prices, venue, grid.price_edges, **terms)


@checked
def without_drift(
    book: Book, market: Market, venue: Venue, *, conventions: Conventions = CAPPED, **changes: Unpack[Changes]
) -> pl.DataFrame:
    """Return the outcomes of a book without funding, so that every level stays at the price of its entry.

    Positions keep the tiers of their entry.

    Raises
    ------
    ArgumentError
        For a book with adjustments, which move levels: see :func:`swept_levels`.

    Examples
    --------
    >>> from backtest.study.levels import without_drift
    >>> fixed = without_drift(book, market, venue)
    >>> fixed["funding_paid"].sum(), fixed["liquidated"].sum()
    (0.0, 334)
    """
    if book.adjustments is not None:
        raise ArgumentError("the book has adjustments, which move levels: take swept_levels, and its pieces")
    still = venue.with_(tiers_apply="entry")
    return sweep(book, market.without_funding(), still, conventions=conventions.with_(**changes))


@checked
def levels(
    outcomes: pl.DataFrame,
    grid: LevelGrid,
    *,
    survival: pl.DataFrame | None = None,
    half_life: timedelta | None = None,
    pieces: pl.DataFrame | None = None,
    measure: Measure = "notional",
    unit: float | None = None,
    assumptions: Sequence[str] = (),
    book: Book | None = None,
) -> Levels:
    """Return the open notional of each cell of a grid.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them; without funding unless there are ``pieces``
    survival : of the book, where it decays
    half_life : time in which a level loses half of its amount, on top of ``survival``
    pieces : prices of levels that moved, as ``engine.drift.level_pieces`` returns them
    measure : notional at the level, or quantity, which open interest is counted in
    unit : what each level is rounded to; None: a cent, 1e-8 of a coin for inverse contracts, or a millionth of a
        base unit for quantities
    assumptions, book : carried along: the assumptions behind the outcomes, and the book they belong to

    Raises
    ------
    ArgumentError
        For outcomes that paid funding, a half-life of zero or less, more units than an int64 holds.
    """
    size = unit_of(outcomes, grid.symbol, measure, unit)
    if pieces is None:
        require_no_funding(
            outcomes.lazy().filter(pl.col("symbol") == grid.symbol).select("funding_paid").collect()
        )
    earliest = outcomes.select(pl.col("entry_time").filter(pl.col("symbol") == grid.symbol).min()).item()
    at = grid.start if earliest is None else milliseconds(earliest)
    sides = {side: SideCells(grid, side, survival, half_life, at) for side in SIDES}
    with ThreadPoolExecutor(len(SIDES)) as pool:  # each side has its own cells
        for columns in row_columns(outcomes, grid.symbol, pieces, measure, size):
            list(pool.map(SideCells.add, sides.values(), (columns, columns)))
        cells = dict(zip(SIDES, pool.map(SideCells.cells, sides.values()), strict=True))
    fading = () if half_life is None else (f"levels halve every {half_life}",)
    where = STILL if pieces is None else MOVED
    return Levels(
        grid,
        readonly(cells["long"][1:-1]),
        readonly(cells["short"][1:-1]),
        {side: readonly(found[0] + found[-1]) for side, found in cells.items()},
        {name: readonly(side.triggered) for name, side in sides.items()},
        size,
        measure,
        (*assumptions, where, *fading),
        book,
    )


@checked
def unit_of(
    outcomes: pl.DataFrame, symbol: str, measure: Measure = "notional", unit: float | None = None
) -> float:
    """Return what the levels of a symbol are rounded to: the given unit, or that of what they count."""
    if measure not in UNITS:
        raise ArgumentError(f"must be one of {', '.join(UNITS)}, is {measure!r}", argument="measure")
    if unit is not None and not 0 < unit < float("inf"):
        raise ArgumentError(f"must be a finite number above zero, is {unit!r}", argument="unit")
    if unit is not None or measure == "quantity":
        return unit or UNITS[measure]
    require_measured(outcomes, measure)
    kinds = outcomes.lazy().filter(pl.col("symbol") == symbol).select(pl.col("contract_kind").first()).collect()
    return COIN_UNIT if kinds["contract_kind"].to_list() == ["inverse"] else UNITS[measure]
