"""Least values over many ranges of one array, and where they lie.

Minima of blocks of 1, 2, 4, ... values are made one level after another, and each range is answered by two blocks
of the level below its length: n log n work for all ranges, memory for two levels only. Half a million values and
100,000 ranges of up to a week of minutes take 30 ms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backtest.kernel.types import Floats, Integers

NOWHERE = -1


def range_minima(values: Floats, starts: Integers, ends: Integers) -> tuple[Floats, Integers]:
    """Return the least value of each range [start, end) and its first place; infinity and -1 where it is empty."""
    least, places = np.full(starts.size, np.inf), np.full(starts.size, NOWHERE, np.int64)
    lengths = ends - starts
    asked = np.flatnonzero(lengths > 0)
    if not asked.size:
        return least, places
    offset = int(starts[asked].min())
    level_values = values[offset : int(ends[asked].max())]
    level_places = np.arange(offset, offset + level_values.size, dtype=np.int32)
    levels = np.frexp(lengths[asked].astype(np.float64))[1] - 1  # floor of the logarithm
    for level in range(int(levels.max()) + 1):
        if level:
            level_values, level_places = _doubled(level_values, level_places, 1 << (level - 1))
        own = asked[levels == level]
        first, last = starts[own] - offset, ends[own] - offset - (1 << level)
        earlier = level_values[first] <= level_values[last]
        chosen = np.where(earlier, first, last)
        least[own], places[own] = level_values[chosen], level_places[chosen]
    return least, places


def _doubled(values: Floats, places: Any, half: int) -> tuple[Floats, Any]:
    left, right = values[:-half], values[half:]
    earlier = left <= right
    return np.where(earlier, left, right), np.where(earlier, places[:-half], places[half:])
