"""Clusters: price ranges where open liquidation levels crowd, at one moment.

The open notional of a side is averaged over a stretch of price (so that the width of bins does not decide), and
compared with its own mean over the bins within reach. A cluster is a run of bins that hold several times that
mean, over short interruptions. Distances are to its centre of notional. Clusters through time are in
:mod:`backtest.study.levels.cluster_tracks`, their outcomes in :mod:`backtest.study.levels.past_clusters`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Flags, Floats
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.study.levels.cells import SIDES
from backtest.study.levels.grid import LevelGrid, column_bars
from backtest.study.levels.levels import Levels
from backtest.study.levels.open_levels import Measure, open_levels_at
from backtest.study.liquidations.grouping import LEVERAGE_EDGES, leverage, leverage_bucket

DAY = timedelta(days=1)
MONTH = timedelta(days=30)

#: Fewest returns that volatility is measured from.
FEWEST_RETURNS = 20


@dataclass(frozen=True)
class Crowding:
    """Thresholds that define a cluster.

    Raises
    ------
    ArgumentError
        For numbers out of their range.

    Examples
    --------
    >>> from backtest.study.levels import Crowding, clusters_at
    >>> usual, stricter = Crowding(), Crowding(times=4.0)
    >>> [clusters_at(open_levels, market, noon, rule=rule).height for rule in (usual, stricter)]
    [3, 2]
    """

    times: float = 2.0  #: the mean bin of its side within reach
    reach: float = 0.25  #: how far from the price, as a part of it
    stretch: float = 0.005  #: of price that notional is averaged over, as a part of it
    bridge: float = 0.002  #: longest interruption, as a part of the price
    least_share: float = 0.02  #: of the open notional of the side within reach
    keep: float = 0.6  #: part of ``times`` and ``least_share`` that a cluster must keep to continue

    def __post_init__(self) -> None:
        if not (self.times > 0 and 0 < self.reach < 1 and 0 <= self.least_share <= 1):
            raise ArgumentError(
                "a crowd needs times above 0, a reach between 0 and 1 and a least_share from 0 to 1: "
                f"{self.times:g}, {self.reach:g} and {self.least_share:g}"
            )
        if not (0 <= self.stretch < 1 and 0 <= self.bridge < 1 and 0 < self.keep <= 1):
            raise ArgumentError(
                "stretch and bridge must lie from 0 to 1, keep above 0 and up to 1: "
                f"{self.stretch:g}, {self.bridge:g} and {self.keep:g}"
            )


class Run(NamedTuple):
    """Bins [first, stop) of one cluster, and the open notional in them."""

    first: int
    stop: int
    notional: float
    share: float  #: of the open notional of the side within reach


USUAL = Crowding()


def runs(cells: Floats, grid: LevelGrid, side: str, price: float, rule: Crowding = USUAL) -> list[Run]:
    """Return the clusters of one side at a moment, from the lowest price.

    Parameters
    ----------
    cells : (bins,) open notional of the side
    price : mark price then; only bins ahead of it count, below for longs and above for shorts
    """
    edges = grid.price_edges
    inside = (edges[:-1] >= price * (1 - rule.reach)) & (edges[1:] <= price * (1 + rule.reach))
    inside &= (edges[:-1] < price) if side == "long" else (edges[1:] > price)
    within = np.flatnonzero(inside)
    total = float(cells[within].sum())
    if not total > 0:
        return []
    own = slice(int(within[0]), int(within[-1]) + 1)
    smooth = _averaged(cells[own], _bins(grid, price, rule.stretch))
    crowded = _bridged(smooth >= rule.times * total / within.size, _bins(grid, price, rule.bridge))
    steps = np.diff(np.concatenate([[0], crowded.astype(np.int8), [0]]))
    found = []
    for first, stop in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
        held = np.flatnonzero(cells[own][first:stop])
        if held.size:  # the stretch of an average reaches beyond what it holds
            low, high = own.start + first + held[0], own.start + first + held[-1] + 1
            notional = float(cells[low:high].sum())
            found.append(Run(int(low), int(high), notional, notional / total))
    return [run for run in found if run.share >= rule.least_share]


@checked
def clusters_at(
    levels: Levels,
    market: Market,
    moment: datetime | None = None,
    *,
    rule: Crowding = USUAL,
    outcomes: pl.DataFrame | None = None,
    survival: pl.DataFrame | None = None,
    pieces: pl.DataFrame | None = None,
    leverage_edges: Sequence[float] = LEVERAGE_EDGES,
    window: timedelta = MONTH,
) -> pl.DataFrame:
    """Return the clusters at a moment, the largest first.

    Parameters
    ----------
    levels, market : of one symbol
    moment : taken at the last column that has ended by then; None: at the last of all
    outcomes : for the leverage make-up
    survival, pieces : as in ``levels.levels``
    window : before the moment, that the volatility is measured over

    Returns
    -------
    ``side, centre, price_low, price_high, width`` (of the price), ``notional`` (or ``quantity``, as the levels),
    ``share`` (of the side's within reach), ``distance`` (of the centre from the mark, a fraction with its sign),
    ``days`` (distance in days of volatility; NaN where there are too few returns), ``mark_price, time``; with
    outcomes ``mean_leverage`` by amount, and the share of each leverage bucket.

    Examples
    --------
    >>> from backtest.study.levels import clusters_at
    >>> clusters = clusters_at(open_levels, market, noon)
    >>> clusters.select("side", pl.col("centre").round(0), pl.col("share", "distance").round(2))
    shape: (3, 4)
    ┌───────┬─────────┬───────┬──────────┐
    │ side  ┆ centre  ┆ share ┆ distance │
    │ ---   ┆ ---     ┆ ---   ┆ ---      │
    │ enum  ┆ f64     ┆ f64   ┆ f64      │
    ╞═══════╪═════════╪═══════╪══════════╡
    │ long  ┆ 29581.0 ┆ 0.65  ┆ -0.24    │
    │ short ┆ 42026.0 ┆ 0.49  ┆ 0.09     │
    │ short ┆ 47642.0 ┆ 0.34  ┆ 0.23     │
    └───────┴─────────┴───────┴──────────┘
    """
    grid = levels.grid
    column = grid.columns - 1 if moment is None else grid.column_at(moment)
    at, price = _moment(grid, column), float(column_bars(market, grid)["close"][column])
    daily = daily_volatility(market, grid.symbol, at, window)
    rows = [
        _row(grid, side, run, levels.at(column, side), price, daily)
        for side in SIDES
        for run in runs(levels.at(column, side), grid, side, price, rule)
    ]
    found = pl.DataFrame(rows, schema=ROW).with_columns(
        mark_price=pl.lit(price),
        time=pl.lit(at).cast(Time),
        width=(pl.col("price_high") - pl.col("price_low")) / price,
    )
    found = found.sort("notional", "centre", descending=[True, False]).rename({"notional": levels.measure})
    if outcomes is None:
        return found
    open_now = open_levels_at(outcomes, grid.symbol, at, survival=survival, pieces=pieces, measure=levels.measure)
    return _with_leverage(found, open_now, leverage_edges)


@checked
def daily_volatility(market: Market, symbol: str, moment: datetime, window: timedelta = MONTH) -> float:
    """Return the standard deviation of log returns up to a moment, scaled to a day; NaN for too few of them."""
    interval = timedelta(milliseconds=int(market.intervals[market.symbols.index(symbol)]))
    end = pl.col("time") + interval
    closes = market.bars.filter(pl.col("symbol") == symbol, end <= moment, end > moment - window)["close"]
    returns = np.diff(np.log(closes.to_numpy()))
    if returns.size < FEWEST_RETURNS:
        return float("nan")
    return float(returns.std(ddof=1)) * sqrt(DAY / interval)


ROW: dict[str, Any] = {
    "side": Side,
    "centre": pl.Float64,
    "price_low": pl.Float64,
    "price_high": pl.Float64,
    "width": pl.Float64,
    "notional": pl.Float64,
    "share": pl.Float64,
    "distance": pl.Float64,
    "days": pl.Float64,
}


def centre_of(grid: LevelGrid, run: Run, cells: Floats) -> float:
    """Return the mean price of a cluster, by notional."""
    edges = grid.price_edges
    middle = (edges[run.first : run.stop] + edges[run.first + 1 : run.stop + 1]) / 2
    return float(np.average(middle, weights=cells[run.first : run.stop]))


def _row(grid: LevelGrid, side: str, run: Run, cells: Floats, price: float, daily: float) -> dict[str, object]:
    edges, centre = grid.price_edges, centre_of(grid, run, cells)
    return {
        "side": side,
        "centre": centre,
        "price_low": float(edges[run.first]),
        "price_high": float(edges[run.stop]),
        "notional": run.notional,
        "share": run.share,
        "distance": centre / price - 1,
        "days": abs(log(centre / price)) / daily if daily > 0 else float("nan"),
    }


def _with_leverage(found: pl.DataFrame, open_now: pl.DataFrame, edges: Sequence[float]) -> pl.DataFrame:
    rows = open_now.with_columns(leverage_bucket(leverage(open_now), edges), used=leverage(open_now))
    names = rows["leverage_bucket"].dtype.categories.to_list()  # type: ignore[attr-defined]
    made = []
    for cluster in found.iter_rows(named=True):
        own = rows.filter(inside(cluster))
        total = own["amount"].sum() or float("nan")
        sums = dict(own.group_by("leverage_bucket").agg(pl.sum("amount")).iter_rows())
        mean = own.select((pl.col("used") * pl.col("amount")).sum()).item() / total
        made.append({"mean_leverage": mean, **{name: sums.get(name, 0.0) / total for name in names}})
    schema = dict.fromkeys(("mean_leverage", *names), pl.Float64)
    return found.hstack(pl.DataFrame(made, schema=schema))


def inside(cluster: Mapping[str, Any]) -> pl.Expr:
    """Return whether a level lies in a cluster, on its side."""
    level = pl.col("liquidation_price")
    same_side = pl.col("side") == pl.lit(cluster["side"]).cast(Side)
    return same_side & level.is_between(cluster["price_low"], cluster["price_high"], closed="left")


@checked
def measure_of(clusters: pl.DataFrame) -> Measure:
    """Return what clusters are counted in: the column of their amounts."""
    return "quantity" if "quantity" in clusters.columns else "notional"


def _moment(grid: LevelGrid, column: int) -> datetime:
    return pl.Series([int(grid.ends[column])]).cast(Time)[0]  # type: ignore[no-any-return]


def _bins(grid: LevelGrid, price: float, part: float) -> int:
    """Return how many bins a part of the price covers."""
    edges = grid.price_edges
    width = edges[1] / edges[0] - 1 if grid.logarithmic else (edges[1] - edges[0]) / price
    return round(float(part / width))


def _averaged(values: Floats, bins: int) -> Floats:
    """Return moving averages over an odd number of bins, cut off at the ends."""
    half = bins // 2
    if half == 0:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(values.size)
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, values.size)
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _bridged(flags: Flags, bins: int) -> Flags:
    """Return flags with interruptions of at most so many bins filled."""
    places = np.flatnonzero(flags)
    filled = flags.copy()
    for before, after in pairwise(places):
        if 1 < after - before <= bins + 1:
            filled[before:after] = True
    return filled
