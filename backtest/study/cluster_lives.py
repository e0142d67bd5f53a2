"""The lives of clusters: when each was born, how it grew, and whether the price came for it.

Clusters are looked for in columns of a level map, one after another, and those that share bins are the same one
(the pairs that share most first); a known one lives on at a lower crowding than makes a new one. A cluster that is no longer found was *reached* where the mark has meanwhile
come to its centre, has *merged* where another holds its bins, and otherwise has *dissolved*: its holders closed,
or all around it filled up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.schemas import Side, Time
from backtest.study.clusters import USUAL, Crowding, Run, centre_of, runs
from backtest.study.grid import Grid, column_bars, moment_of
from backtest.study.level_cells import SIDES
from backtest.study.levels import Levels

FATES = ("waiting", "reached", "dissolved", "merged")

LIFE = {
    "cluster": pl.Int64,
    "side": Side,
    "born": Time,
    "ended": Time,
    "fate": pl.Enum(FATES),
    "centre": pl.Float64,
    "price_low": pl.Float64,
    "price_high": pl.Float64,
    "notional_born": pl.Float64,
    "notional_peak": pl.Float64,
    "peak_time": Time,
    "notional_last": pl.Float64,
}
SEEN = {
    "cluster": pl.Int64,
    "side": Side,
    "time": Time,
    "centre": pl.Float64,
    "price_low": pl.Float64,
    "price_high": pl.Float64,
    "notional": pl.Float64,
}


@dataclass(frozen=True, eq=False)
class Lives:
    """Every cluster that was found, and where it stood each time."""

    lives: pl.DataFrame  #: a row a cluster; prices are those of its peak, ``ended`` is null while it waits
    seen: pl.DataFrame  #: a row a cluster and time


@dataclass(eq=False)
class _Alive:
    """One cluster as it was last seen."""

    number: int
    side: str
    run: Run
    centre: float
    rows: list[tuple[object, ...]] = field(default_factory=list)
    fate: str = "waiting"
    ended: datetime | None = None


def track(levels: Levels, market: Market, *, rule: Crowding = USUAL, every: int = 1) -> Lives:
    """Return the lives of the clusters of a level map.

    Parameters
    ----------
    levels, market : of one symbol
    every : columns between one look and the next

    Raises
    ------
    ArgumentError
        For an ``every`` below one.
    """
    if every < 1:
        raise ArgumentError(f"every must be at least 1 column, is {every}")
    grid, bars = levels.grid, column_bars(market, levels.grid)
    low, high, close = (bars[name].to_numpy() for name in ("low", "high", "close"))
    everyone: list[_Alive] = []
    for side in SIDES:
        cells, alive, before = levels.notional(side), [], 0
        for column in range(every - 1, grid.columns, every):
            now = moment_of(int(grid.ends[column]))
            found = _found(alive, cells[:, column], grid, side, float(close[column]), rule)
            pairs = _matched(alive, found, cells[:, column])
            worst = low[before : column + 1].min() if side == "long" else high[before : column + 1].max()
            for one in alive:
                if one.number not in pairs:
                    one.fate, one.ended = _fate(one, found, float(worst)), now
            numbers = {place: one for one in alive if (place := pairs.get(one.number)) is not None}
            alive = []
            for place, run in enumerate(found):
                one = numbers.get(place) or _Alive(len(everyone), side, run, 0.0)
                if place not in numbers:
                    everyone.append(one)
                one.run, one.centre = run, centre_of(grid, run, cells[:, column])
                one.rows.append(_seen(grid, one, now))
                alive.append(one)
            before = column + 1
    seen = [row for one in everyone for row in one.rows]
    return Lives(
        pl.DataFrame([_life(one) for one in everyone], schema=LIFE, orient="row"),
        pl.DataFrame(seen, schema=SEEN, orient="row"),
    )


def _found(
    alive: Sequence[_Alive], cells: Floats, grid: Grid, side: str, price: float, rule: Crowding
) -> list[Run]:
    """Return the clusters of a moment, and those that only live on: what is less crowded where none is new."""
    found = runs(cells, grid, side, price, rule)
    weaker = replace(rule, times=rule.times * rule.keep, least_share=rule.least_share * rule.keep)
    known = [one.run for one in alive if not any(_share(one.run, run) for run in found)]
    kept = [run for run in runs(cells, grid, side, price, weaker) if any(_share(run, old) for old in known)]
    return sorted([*found, *(run for run in kept if not any(_share(run, other) for other in found))])


def _share(one: Run, other: Run) -> bool:
    return one.first < other.stop and other.first < one.stop


def _matched(alive: Sequence[_Alive], found: Sequence[Run], cells: Floats) -> dict[int, int]:
    """Return the place of each known cluster among those found, those that share most notional first."""
    shared = []
    for one in alive:
        for place, run in enumerate(found):
            first, stop = max(one.run.first, run.first), min(one.run.stop, run.stop)
            if first < stop:
                shared.append((-float(cells[first:stop].sum()), one.number, place))
    pairs: dict[int, int] = {}
    for _, number, place in sorted(shared):
        if number not in pairs and place not in pairs.values():
            pairs[number] = place
    return pairs


def _fate(one: _Alive, found: Sequence[Run], worst: float) -> str:
    if worst <= one.centre if one.side == "long" else worst >= one.centre:
        return "reached"
    return "merged" if any(_share(one.run, run) for run in found) else "dissolved"


def _seen(grid: Grid, one: _Alive, now: datetime) -> tuple[object, ...]:
    edges = grid.price_edges
    low, high = float(edges[one.run.first]), float(edges[one.run.stop])
    return one.number, one.side, now, one.centre, low, high, one.run.notional


def _life(one: _Alive) -> tuple[object, ...]:
    peak = max(one.rows, key=lambda row: row[-1])  # type: ignore[arg-type,return-value]
    _, _, peak_time, centre, low, high, notional = peak
    born, first = one.rows[0][2], one.rows[0][-1]
    return (
        one.number, one.side, born, one.ended, one.fate, centre, low, high, first, notional, peak_time,
        one.rows[-1][-1],
    )  # fmt: skip
