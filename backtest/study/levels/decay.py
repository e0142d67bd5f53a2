"""Decay of levels through time, by a book's survival or a half-life: logarithms, a bar apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import log

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers, readonly
from backtest.schemas.arguments import checked
from backtest.study.levels.grid import LevelGrid

MILLISECOND = timedelta(milliseconds=1)

#: A block of columns ends before the survival has fallen below this share of its start.
LEAST_LEFT = 1 / 16


@dataclass(frozen=True, eq=False)
class Decay:
    """One side's survival, and the blocks of columns in which it falls by no more than to a sixteenth."""

    start: int  #: ms, of the first logarithm
    logs: Floats  #: (moments,) a bar apart up to the grid's end; one alone where nothing decays
    block_first: Integers  #: (blocks + 1,) first column of each, and the number of columns
    block_log: Floats  #: (blocks,) at the end of the block's first column
    factor: Floats  #: (columns,) of survival since the first column of the block


@checked
def level_decay(
    grid: LevelGrid, side: str, survival: pl.DataFrame | None, half_life: timedelta | None, earliest: int
) -> Decay:
    """Return the decay of the levels of a side.

    Parameters
    ----------
    survival : as in ``Book``; None: holders never close
    half_life : in which a level loses half of its amount, on top of ``survival``
    earliest : ms, of the entries
    """
    if half_life is not None and half_life <= timedelta(0):
        raise ArgumentError(f"must be above zero, is {half_life}", argument="half_life")
    own = None if survival is None else survival.filter(pl.col("symbol") == grid.symbol)
    start, logs = _logs(grid, side, own, half_life, earliest)
    at_ends = logs[np.clip(-((start - grid.ends) // grid.interval), 0, logs.size - 1)]
    first = _block_starts(at_ends)
    bases = at_ends[first[:-1]]
    factor = np.exp(at_ends - np.repeat(bases, np.diff(first)))
    return Decay(start, readonly(logs), readonly(first), readonly(bases), readonly(factor))


def _logs(
    grid: LevelGrid, side: str, survival: pl.DataFrame | None, half_life: timedelta | None, earliest: int
) -> tuple[int, Floats]:
    """Return the first moment (ms) and the logarithms of the share that is left."""
    decays = survival is not None and not survival.is_empty()
    if not decays and half_life is None:
        return grid.start, np.zeros(1)
    times = survival["time"].to_physical().to_numpy() if decays and survival is not None else None
    start = min(grid.start, earliest if times is None else int(times[0]))
    moments = np.arange(start, int(grid.ends[-1]) + grid.interval, grid.interval, dtype=np.int64)
    logs = np.zeros(moments.size)
    if times is not None and survival is not None:
        logs += survival[side].to_numpy()[np.minimum(np.searchsorted(times, moments), times.size - 1)]
    if half_life is not None:
        logs -= log(2) * (moments - start) / (half_life / MILLISECOND)
    return start, logs


def _block_starts(logs: Floats) -> Integers:
    """Return the first column of each block, and the number of columns."""
    starts = [0]
    while True:
        fallen = np.flatnonzero(logs[starts[-1] :] < logs[starts[-1]] + log(LEAST_LEFT))
        if not fallen.size:
            return np.array([*starts, logs.size], np.int64)
        starts.append(starts[-1] + int(fallen[0]))
