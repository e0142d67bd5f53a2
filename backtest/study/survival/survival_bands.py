"""Bands of survival curves, by calendar blocks of entries drawn again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.kernel.types import Floats, Integers
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import weight
from backtest.study.stats.bootstrap import FORTNIGHT, Resampling, Seed, blocks, resampling
from backtest.study.units import WEIGHT_UNIT, whole_units

#: Cells of draws times durations worked on at once.
AT_ONCE = 4_000_000

BANDED = ("survival", "low", "high", "effective_blocks")


@checked
def bands(
    frame: pl.DataFrame,
    horizons: Sequence[timedelta],
    by: Sequence[str] = (),
    *,
    seed: Seed,
    cause: str = "liquidated",
    length: timedelta = FORTNIGHT,
    draws: int = 999,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return Kaplan-Meier survival at some horizons, with bands over calendar blocks of entry time.

    Parameters
    ----------
    frame : as :func:`lives` returns it
    horizons : durations, in order
    length, draws, confidence, seed : of the bootstrap; every group sees the same blocks

    Returns
    -------
    The keys, ``duration``, ``survival``, ``low``, ``high``, ``effective_blocks``.

    Examples
    --------
    >>> from backtest.study import survival
    >>> held = survival.lives(outcomes, market)
    >>> found = survival.bands(held, [timedelta(days=1)], seed=1, length=timedelta(days=2), draws=99)
    >>> found.select("survival", "low", "high").select(pl.all().round(2)).row(0)
    (0.6, 0.5, 0.75)
    """
    plan = resampling(
        frame["entry_time"], seed=seed, length=length, draws=draws, confidence=confidence
    )  # fmt: skip
    parts = frame.partition_by(by, maintain_order=True, as_dict=True) if by else {(): frame}
    rows = [
        {**dict(zip(by, keys, strict=True)), **row}
        for keys, part in parts.items()
        for row in _banded(part, horizons, plan, cause)
    ]
    types = {name: frame.schema[name] for name in by} | {"duration": pl.Duration("ms")}
    return pl.DataFrame(rows, schema=types | dict.fromkeys(BANDED, pl.Float64))


def _banded(
    frame: pl.DataFrame, horizons: Sequence[timedelta], plan: Resampling, cause: str
) -> Iterator[dict[str, object]]:
    values = _drawn_survival(frame, horizons, plan, cause)
    for number, horizon in enumerate(horizons):
        band = plan.band(values[:, number])
        yield {
            "duration": horizon,
            "survival": band.estimate,
            "low": band.low,
            "high": band.high,
            "effective_blocks": band.effective_blocks,
        }


def _drawn_survival(frame: pl.DataFrame, horizons: Sequence[timedelta], plan: Resampling, cause: str) -> Floats:
    """Return (1 + draws, horizons) survival of history and of each draw."""
    rows = frame.select(
        blocks(pl.col("entry_time"), plan.length) - plan.first,
        units=whole_units(weight(frame), WEIGHT_UNIT).cast(pl.Float64),
        duration=pl.col("duration").dt.total_milliseconds(),
        event=pl.col("ended") == cause,
    )
    times, place = np.unique(rows["duration"].to_numpy(), return_inverse=True)
    shape = plan.weights.size, times.size
    cell = rows["block"].to_numpy() * times.size + place
    units = rows["units"].to_numpy()
    leaving = _added(cell, units, shape)
    events = _added(cell, units * rows["event"].to_numpy(), shape)
    at = np.searchsorted(times, [horizon // timedelta(milliseconds=1) for horizon in horizons], side="right")
    size = max(AT_ONCE // times.size, 1)
    parts = [plan.counts[start : start + size] for start in range(0, len(plan.counts), size)]
    return np.concatenate([_survival_at(counts, leaving, events, at) for counts in parts])


def _added(cell: Integers, amounts: Floats, shape: tuple[int, int]) -> Floats:
    """Return sums by cell: whole numbers below 2^53, of which sums and products are exact in any order."""
    return np.asarray(np.bincount(cell, amounts, shape[0] * shape[1]).reshape(shape), np.float64)


def _survival_at(counts: Integers, leaving: Floats, events: Floats, at: Integers) -> Floats:
    drawn = counts.astype(np.float64)
    at_risk = np.cumsum((drawn @ leaving)[:, ::-1], axis=1)[:, ::-1]
    left = 1.0 - np.divide(drawn @ events, at_risk, out=np.zeros_like(at_risk), where=at_risk > 0)
    survival = np.concatenate([np.ones((len(drawn), 1)), np.cumprod(left, axis=1)], axis=1)
    return np.asarray(survival[:, at])
