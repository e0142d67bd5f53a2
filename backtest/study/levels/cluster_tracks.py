"""Clusters through time: when each appeared, how it grew, and whether the price reached it.

Clusters are found in the columns of a level map, one column after another. Clusters that share bins are the same
one (the pairs that share most first); a known cluster continues at a lower crowding than a new one needs. A
cluster that is no longer found was *reached* where the mark has meanwhile come to its centre, has *merged* where
another holds its bins, was *left behind* where the price went out of reach, and otherwise has *dissolved*: its
holders closed, or the bins around it filled up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.shown import shown
from backtest.study.levels.cells import SIDES
from backtest.study.levels.clusters import USUAL, Crowding, Run, centre_of, runs
from backtest.study.levels.grid import LevelGrid, column_bars, moment_of
from backtest.study.levels.levels import Levels

FATES = ("open", "reached", "dissolved", "merged", "left behind")

TRACK: dict[str, Any] = {
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
SEEN: dict[str, Any] = {
    "cluster": pl.Int64,
    "side": Side,
    "time": Time,
    "centre": pl.Float64,
    "price_low": pl.Float64,
    "price_high": pl.Float64,
    "notional": pl.Float64,
}


@dataclass(frozen=True, eq=False)
@shown()
class Tracks:
    """Every cluster that was found, and its range and notional at each time."""

    clusters: pl.DataFrame  #: a row a cluster; prices are those of its peak, ``ended`` is null while it is open
    seen: pl.DataFrame  #: a row a cluster and time


@dataclass(eq=False)
class _Alive:
    """One cluster as it was last seen."""

    side: str
    run: Run
    centre: float = 0.0
    rows: list[tuple[Any, ...]] = field(default_factory=list)  #: as in ``SEEN``, without its number
    fate: str = "open"
    ended: datetime | None = None

    def see(self, grid: LevelGrid, run: Run, cells: Floats, now: datetime) -> None:
        """Record the range and notional of the cluster."""
        edges = grid.price_edges
        self.run, self.centre = run, centre_of(grid, run, cells)
        span = float(edges[run.first]), float(edges[run.stop])
        self.rows.append((self.side, now, self.centre, *span, run.notional))


@checked
def track(levels: Levels, market: Market, *, rule: Crowding = USUAL, every: int = 1) -> Tracks:
    """Return the clusters of a level map through time.

    Parameters
    ----------
    levels, market : of one symbol; columns are named by what the levels are counted in
    every : columns between samples

    Raises
    ------
    ArgumentError
        For an ``every`` below one.

    Examples
    --------
    >>> from backtest.study.levels import track
    >>> found = track(open_levels, market)
    >>> found.clusters["fate"].value_counts().sort("fate")
    shape: (4, 2)
    ┌─────────────┬───────┐
    │ fate        ┆ count │
    │ ---         ┆ ---   │
    │ enum        ┆ u32   │
    ╞═════════════╪═══════╡
    │ open        ┆ 2     │
    │ reached     ┆ 12    │
    │ dissolved   ┆ 33    │
    │ left behind ┆ 2     │
    └─────────────┴───────┘
    """
    if every < 1:
        raise ArgumentError(f"must be at least 1 column, is {every}", argument="every")
    bars = column_bars(market, levels.grid)
    clusters = [one for side in SIDES for one in _follow(levels, side, bars, rule, every)]
    seen = [(number, *row) for number, one in enumerate(clusters) for row in one.rows]
    rows = [_track(number, one) for number, one in enumerate(clusters)]
    frames = pl.DataFrame(rows, schema=TRACK, orient="row"), pl.DataFrame(seen, schema=SEEN, orient="row")
    return Tracks(*(each.rename(lambda name: name.replace("notional", levels.measure)) for each in frames))


def _follow(levels: Levels, side: str, bars: pl.DataFrame, rule: Crowding, every: int) -> list[_Alive]:
    """Return the clusters of one side in the order they appeared."""
    grid, cells = levels.grid, levels.amounts("long" if side == "long" else "short")
    worst, close = bars["low" if side == "long" else "high"].to_numpy(), bars["close"].to_numpy()
    clusters: list[_Alive] = []
    alive: list[_Alive] = []
    for column in range(every - 1, grid.columns, every):
        now, price, held = moment_of(int(grid.ends[column])), float(close[column]), cells[:, column]
        since = worst[column + 1 - every : column + 1]
        found = _found(alive, held, grid, side, price, rule)
        pairs = _matched(alive, found, held)
        known = {place: alive[at] for at, place in pairs.items()}
        for at, one in enumerate(alive):
            if at not in pairs:
                furthest = float(since.min() if side == "long" else since.max())
                one.fate, one.ended = _fate(one, found, furthest, price, rule), now
        born = {place: _Alive(side, run) for place, run in enumerate(found) if place not in known}
        clusters += born.values()
        alive = [known.get(place) or born[place] for place in range(len(found))]
        for one, run in zip(alive, found, strict=True):
            one.see(grid, run, held, now)
    return clusters


def _found(
    alive: Sequence[_Alive], cells: Floats, grid: LevelGrid, side: str, price: float, rule: Crowding
) -> list[Run]:
    """Return the clusters of a moment, and the known ones that continue at a lower crowding."""
    found = runs(cells, grid, side, price, rule)
    weaker = replace(rule, times=rule.times * rule.keep, least_share=rule.least_share * rule.keep)
    known = [one.run for one in alive if not any(_share(one.run, run) for run in found)]
    kept = [run for run in runs(cells, grid, side, price, weaker) if any(_share(run, old) for old in known)]
    return sorted([*found, *(run for run in kept if not any(_share(run, other) for other in found))])


def _share(one: Run, other: Run) -> bool:
    return one.first < other.stop and other.first < one.stop


def _matched(alive: Sequence[_Alive], found: Sequence[Run], cells: Floats) -> dict[int, int]:
    """Return the place of each known cluster among those found, those that share most notional first."""
    shared = [
        (-float(cells[max(one.run.first, run.first) : min(one.run.stop, run.stop)].sum()), at, place)
        for at, one in enumerate(alive)
        for place, run in enumerate(found)
        if _share(one.run, run)
    ]
    pairs: dict[int, int] = {}
    for _, at, place in sorted(shared):
        if at not in pairs and place not in pairs.values():
            pairs[at] = place
    return pairs


def _fate(one: _Alive, found: Sequence[Run], furthest: float, price: float, rule: Crowding) -> str:
    if furthest <= one.centre if one.side == "long" else furthest >= one.centre:
        return "reached"
    if any(_share(one.run, run) for run in found):
        return "merged"
    return "left behind" if abs(one.centre / price - 1) > rule.reach else "dissolved"


def _track(number: int, one: _Alive) -> tuple[Any, ...]:
    side, peak_time, centre, low, high, peak = max(one.rows, key=lambda row: row[-1])
    first, last = one.rows[0], one.rows[-1]
    return number, side, first[1], one.ended, one.fate, centre, low, high, first[-1], peak, peak_time, last[-1]
