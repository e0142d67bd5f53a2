"""Rates of yes-or-no events with bands over calendar blocks, one frame for any number of rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import DataError
from backtest.kernel.types import Flags, Floats, Integers
from backtest.shown import shown
from backtest.study.stats.bootstrap import FORTNIGHT, Resampling, Seed

MILLISECOND = timedelta(milliseconds=1)

COUNTED: dict[str, Any] = {"cases": pl.Int64, "events": pl.Int64, "rate": pl.Float64}
BANDED = COUNTED | dict.fromkeys(("low", "high", "effective_blocks"), pl.Float64)


@dataclass(frozen=True, eq=False)
@shown()
class Rate:
    """Cases in order of time, and the flags of those with an event.

    Examples
    --------
    >>> from backtest.study import stats
    >>> times = outcomes["entry_time"].to_physical().to_numpy()
    >>> rate = stats.Rate({"of": "positions"}, times, outcomes["liquidated"].to_numpy())
    >>> int(rate.events.sum()), rate.events.size
    (334, 1000)
    """

    keys: Mapping[str, Any]  #: columns that identify the rate
    times: Integers  #: (cases,) ms
    events: Flags  #: (cases,)


def banded_rates(
    rates: Sequence[Rate],
    *,
    seed: Seed,
    length: timedelta = FORTNIGHT,
    draws: int = 999,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return each rate with its band; all are drawn from the same blocks.

    Returns
    -------
    The keys, ``cases, events, rate`` (NaN of no cases) and, where ``draws`` is not zero, ``low, high`` and
    ``effective_blocks``.

    Raises
    ------
    DataError
        Where no rate has any case, or they lie in fewer than two blocks.

    Examples
    --------
    >>> from backtest.study import stats
    >>> times = outcomes["entry_time"].to_physical().to_numpy()
    >>> rate = stats.Rate({"of": "positions"}, times, outcomes["liquidated"].to_numpy())
    >>> stats.banded_rates([rate], seed=1, length=timedelta(days=2), draws=99).columns
    ['of', 'cases', 'events', 'rate', 'low', 'high', 'effective_blocks']
    """
    lasting = length // MILLISECOND
    spans = [(rate.times[0] // lasting, rate.times[-1] // lasting) for rate in rates if rate.times.size]
    if not spans:
        raise DataError("rates need cases: no horizon is fully observed from any open")
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    sums = np.zeros((last - first + 1, len(rates), 2), np.int64)
    for number, rate in enumerate(rates):
        if rate.times.size:
            _add_blocks(sums[:, number], rate, lasting, first)
    plan = None
    if draws:
        weights = sums[:, :, 0].max(axis=1).astype(np.float64)
        plan = Resampling(
            weights, seed=seed, first=int(first), length=length, draws=draws, confidence=confidence
        )  # fmt: skip
    keys = pl.DataFrame([rate.keys for rate in rates], infer_schema_length=None)
    found = [_row(sums[:, number], plan) for number in range(len(rates))]
    return keys.hstack(pl.DataFrame(found, schema=COUNTED if plan is None else BANDED))


def _add_blocks(sums: Integers, rate: Rate, lasting: int, first: int) -> None:
    """Add up cases and events by block; times are in order, so each block is a run."""
    block = rate.times // lasting - first
    starts = np.flatnonzero(np.diff(block, prepend=block[0] - 1))
    sums[block[starts], 0] = np.diff(np.append(starts, block.size))
    sums[block[starts], 1] = np.add.reduceat(rate.events, starts, dtype=np.int64)


def _row(sums: Integers, plan: Resampling | None) -> dict[str, Any]:
    cases, events = (int(total) for total in sums.sum(axis=0))
    row = {"cases": cases, "events": events, "rate": events / cases if cases else float("nan")}
    if plan is None:
        return row
    band = plan.band(plan.of_sums(sums, _ratio))
    return row | {"low": band.low, "high": band.high, "effective_blocks": band.effective_blocks}


def _ratio(drawn: Floats) -> Floats:
    out = np.full(len(drawn), np.nan)
    np.divide(drawn[:, 1], drawn[:, 0], out=out, where=drawn[:, 0] > 0)
    return out
