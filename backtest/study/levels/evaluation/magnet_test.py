"""Magnet test: whether clusters attract the price, against placebos at equal distance.

At each sample time the largest cluster on each side, not too near and not too far, is a target: was its centre
reached within the horizon? Two placebos know nothing of clusters:

- ``mirror``: the price as far away on the other side, at the same time and in the same volatility; left out where
  another cluster lies there;
- ``other_times``: how often the price went as far in the same direction after all other samples, in units of the
  volatility at the time; this takes out a drift that the mirror does not.

Round prices attract orders of all kinds, clusters or not, so targets at round prices are shown apart from others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Flags, Floats
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.study.levels.cells import SIDES
from backtest.study.levels.clusters import DAY, USUAL, Crowding, centre_of, runs
from backtest.study.levels.evaluation.scores import WEEK, round_step
from backtest.study.levels.evaluation.times import SampleTime, sample_times
from backtest.study.levels.levels import Levels
from backtest.study.stats.bootstrap import Resampling, Seed, resampling

PLACEBOS = ("mirror", "other_times")
PRICES = ("all", "round", "other")

#: Fewer pairs, or pairs in fewer blocks, are not conclusive: their bands may shrink to a point.
FEWEST_PAIRS, FEWEST_BLOCKS = 30, 5

#: Differences are added up in millionths.
MILLIONTH = 1e-6


@dataclass(frozen=True)
class Pull:
    """Settings of the magnet test: which clusters are targets, and how long the price has to reach them.

    Raises
    ------
    ArgumentError
        For times of zero or less, distances that are not a range, a tolerance outside 0 to 1.

    Examples
    --------
    >>> from backtest.study.levels.evaluation import Pull, targets
    >>> near, all_targets = (Pull(every=timedelta(hours=9), furthest=furthest) for furthest in (0.05, 0.10))
    >>> [targets(open_levels, market, pull=pull).height for pull in (near, all_targets)]
    [10, 35]
    """

    every: timedelta = timedelta(hours=4)  #: between samples
    horizon: timedelta = timedelta(hours=24)
    nearest: float = 0.01  #: distance of a target, as a part of the price
    furthest: float = 0.10
    tolerance: float = 0.0025  #: a target is round so near to a round price, as a part of it
    window: timedelta = WEEK  #: that volatility is measured over

    def __post_init__(self) -> None:
        if min(self.every, self.horizon, self.window) <= timedelta(0):
            raise ArgumentError(f"every, horizon and window must be above zero: {self}")
        if not (0 < self.nearest < self.furthest < 1 and 0 < self.tolerance < 1):
            raise ArgumentError(f"0 < nearest < furthest < 1 and 0 < tolerance < 1 must hold: {self}")


OF_A_DAY = Pull()

COMPARED = dict.fromkeys(("reached", "placebo_reached", "difference", "confidence"), pl.Float64)

TARGET: dict[str, Any] = {
    "time": Time,
    "side": pl.String,
    "price": pl.Float64,
    "centre": pl.Float64,
    "distance": pl.Float64,
    "round": pl.Boolean,
    "reached": pl.Boolean,
    "mirror": pl.Boolean,
    "look": pl.Int64,
    "deviations": pl.Float64,
}


@checked
def targets(levels: Levels, market: Market, *, pull: Pull = OF_A_DAY, rule: Crowding = USUAL) -> pl.DataFrame:
    """Return every target, and whether it and its placebos were reached.

    Returns
    -------
    ``time, side, price`` (of the mark), ``centre, distance`` (logarithm, with its sign), ``round``, ``reached``,
    ``mirror`` (reached; null where a cluster lies there), ``other_times`` (share of other samples, or null).

    Examples
    --------
    >>> from backtest.study.levels.evaluation import Pull, targets
    >>> found = targets(open_levels, market, pull=Pull(every=timedelta(hours=9)))
    >>> found.height, found["reached"].sum()
    (35, 14)
    """
    times = sample_times(levels.grid, market, every=pull.every, horizon=pull.horizon, window=pull.window)
    steps = list(times)
    rows = [
        (look, side, step, target)
        for look, step in enumerate(steps)
        for side, target in _targets_of(levels, step, pull, rule)
    ]
    frame = pl.DataFrame(
        [_tested(look, side, step, *target, pull) for look, side, step, target in rows],
        schema=TARGET,
        orient="row",
    )
    moves = np.array([[each / step.daily for each in _went(step)] for step in steps]).reshape(-1, 2)
    return frame.with_columns(other_times=_other_times(frame, moves)).drop("look", "deviations")


def _targets_of(
    levels: Levels, step: SampleTime, pull: Pull, rule: Crowding
) -> Iterator[tuple[str, tuple[float, bool]]]:
    """Yield the centre of the largest cluster on each side, and whether another lies at its mirror price."""
    grid = levels.grid
    cells = {side: levels.at(step.column, side) for side in SIDES}
    found = {side: runs(own, grid, side, step.price, rule) for side, own in cells.items()}
    for side, own in cells.items():
        centres = [(run.notional, centre_of(grid, run, own)) for run in found[side]]
        near = [pair for pair in centres if pull.nearest <= abs(pair[1] / step.price - 1) <= pull.furthest]
        if near:
            centre = max(near)[1]
            mirror = step.price**2 / centre
            crowded = any(
                grid.price_edges[run.first] <= mirror <= grid.price_edges[run.stop]
                for each in found.values()
                for run in each
            )
            yield side, (centre, crowded)


def _tested(look: int, side: str, step: SampleTime, centre: float, crowded: bool, pull: Pull) -> tuple[Any, ...]:
    distance = float(np.log(centre / step.price))
    down, up = _went(step)
    toward, away = (down, up) if distance < 0 else (up, down)
    reached, mirror = abs(toward) >= abs(distance), abs(away) >= abs(distance)
    found = (step.moment, side, step.price, centre, distance, _is_round(centre, pull), reached)
    return (*found, None if crowded else mirror, look, distance / step.daily)


@checked
def magnet(
    levels: Levels,
    market: Market,
    *,
    seed: Seed,
    pull: Pull = OF_A_DAY,
    rule: Crowding = USUAL,
    length: timedelta = DAY,
    draws: int = 999,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return how much more often clusters were reached than their placebos.

    Parameters
    ----------
    levels, market : of one symbol
    seed, length, draws, confidence : as in ``bootstrap.resampling``; a block should be longer than the horizon

    Returns
    -------
    A row a placebo and kind of price (all, round, other): ``pairs``, ``reached`` and ``placebo_reached`` (shares),
    ``difference`` with its ``_low`` and ``_high`` (NaN where a draw holds no pair), ``blocks_held`` (that hold a
    pair), ``horizon``, ``block``, ``blocks``, ``effective_blocks``, ``draws``, ``confidence``. Few pairs are
    not conclusive, whatever their band: see :func:`conclusive`.

    Raises
    ------
    DataError
        Where no cluster was a target.

    Examples
    --------
    >>> from backtest.study.levels.evaluation import Pull, magnet
    >>> found = magnet(open_levels, market, seed=1, pull=Pull(every=timedelta(hours=9)), draws=99)
    >>> found.select("placebo", "prices", "pairs", pl.col("reached", "placebo_reached").round(2)).head(3)
    shape: (3, 5)
    ┌─────────┬────────┬───────┬─────────┬─────────────────┐
    │ placebo ┆ prices ┆ pairs ┆ reached ┆ placebo_reached │
    │ ---     ┆ ---    ┆ ---   ┆ ---     ┆ ---             │
    │ str     ┆ str    ┆ i64   ┆ f64     ┆ f64             │
    ╞═════════╪════════╪═══════╪═════════╪═════════════════╡
    │ mirror  ┆ all    ┆ 32    ┆ 0.44    ┆ 0.47            │
    │ mirror  ┆ round  ┆ 8     ┆ 0.5     ┆ 0.38            │
    │ mirror  ┆ other  ┆ 24    ┆ 0.42    ┆ 0.5             │
    └─────────┴────────┴───────┴─────────┴─────────────────┘
    """
    found = targets(levels, market, pull=pull, rule=rule)
    if found.is_empty():
        raise DataError("no cluster is a target: set nearest and furthest wider, or Crowding lower")
    plan = resampling(found["time"], seed=seed, length=length, draws=draws, confidence=confidence)
    rows = []
    for placebo, kind in product(PLACEBOS, PRICES):
        kept = pl.col(placebo).is_not_null()
        if kind != "all":
            kept &= pl.col("round") if kind == "round" else ~pl.col("round")
        rows.append({"placebo": placebo, "prices": kind} | _compared(found.filter(kept), placebo, plan))
    common = {"horizon": pull.horizon, "block": length, "blocks": plan.weights.size, "draws": draws}
    return pl.DataFrame(
        [row | common | {"confidence": float(confidence)} for row in rows], schema_overrides=COMPARED
    )


@checked
def conclusive(found: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of :func:`magnet` with 30 pairs or more, in five blocks or more.

    Examples
    --------
    >>> from backtest.study.levels.evaluation import Pull, conclusive, magnet
    >>> found = magnet(open_levels, market, seed=1, pull=Pull(every=timedelta(hours=9)), draws=99)
    >>> conclusive(found).select("placebo", "prices", "pairs")
    shape: (2, 3)
    ┌─────────────┬────────┬───────┐
    │ placebo     ┆ prices ┆ pairs │
    │ ---         ┆ ---    ┆ ---   │
    │ str         ┆ str    ┆ i64   │
    ╞═════════════╪════════╪═══════╡
    │ mirror      ┆ all    ┆ 32    │
    │ other_times ┆ all    ┆ 35    │
    └─────────────┴────────┴───────┘
    """
    return found.filter(pl.col("pairs") >= FEWEST_PAIRS, pl.col("blocks_held") >= FEWEST_BLOCKS)


def _went(step: SampleTime) -> tuple[float, float]:
    """Return how far the price went down and up over the horizon, in logarithms: at most and at least zero."""
    return min(float(np.log(step.low / step.price)), 0.0), max(float(np.log(step.high / step.price)), 0.0)


def _compared(pairs: pl.DataFrame, placebo: str, plan: Resampling) -> dict[str, object]:
    gain = (
        ((pl.col("reached").cast(pl.Float64) - pl.col(placebo).cast(pl.Float64)) / MILLIONTH)
        .round()
        .cast(pl.Int64)
    )
    added = plan.block_sums(pairs.select("time", gain=gain, one=1), [pl.col("gain"), pl.col("one")], time="time")
    with np.errstate(invalid="ignore"):
        drawn = plan.of_sums(added, lambda sums: sums[:, 0] * MILLIONTH / sums[:, 1])
    band = plan.band(drawn)
    mean = pairs.select(pl.col("reached").cast(pl.Float64).mean(), other=pl.col(placebo).cast(pl.Float64).mean())
    reached, other = (float("nan") if value is None else float(value) for value in mean.row(0))
    return {
        "pairs": pairs.height,
        "reached": reached,
        "placebo_reached": other,
        "difference": band.estimate,
        "difference_low": band.low,
        "difference_high": band.high,
        "blocks_held": int((added[:, 1] > 0).sum()),
        "effective_blocks": band.effective_blocks,
    }


def _other_times(frame: pl.DataFrame, moves: Floats) -> pl.Series:
    """Return, for each target, the share of other samples after which the price went as far in its direction."""
    shares: list[float | None] = []
    for look, deviations in frame.select("look", "deviations").iter_rows():
        went: Flags = moves[:, 0] <= deviations if deviations < 0 else moves[:, 1] >= deviations
        others = went.size - 1
        shares.append(float(went.sum() - went[look]) / others if others else None)
    return pl.Series(shares, dtype=pl.Float64)


def _is_round(price: float, pull: Pull) -> bool:
    step = round_step(price)
    return bool(abs(price - np.rint(price / step) * step) <= pull.tolerance * price)
