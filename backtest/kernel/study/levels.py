"""Open notional by price and time: each level adds where it starts and subtracts where it ends.

A difference array along time: a level costs its start and its end however long it waits, and one pass over the
cells sums them up. Amounts are whole units (cents), so what ends leaves nothing behind and no sum depends on the
order of the rows.

Levels that decay (holders close, or a half-life) share one survival factor. Columns are cut into blocks in
which it falls by no more than to a sixteenth; a level is counted in units as of the block's first column, anew in
each block it lives through, and the pass over the cells applies the factor within the block.
"""

from __future__ import annotations

import math

import numpy as np

from backtest.kernel.compile import helper, kernel
from backtest.kernel.types import Codes, Floats, Integers


@helper
def bin_of(price: float, edges: Floats, logarithmic: bool, per_bin: float) -> int:
    """Return the bin [edge, next edge) of a price: -1 below all of them, their number above.

    ``per_bin`` is how many bins there are to a unit of price, or of its logarithm.
    """
    bins = edges.shape[0] - 1
    if not price >= edges[0]:
        return -1
    if price >= edges[bins]:
        return bins
    place = math.log(price / edges[0]) if logarithmic else price - edges[0]
    found = min(int(place * per_bin), bins - 1)
    while price < edges[found]:  # a guess, corrected by the edges themselves: ties belong to the upper bin
        found -= 1
    while price >= edges[found + 1]:
        found += 1
    return found


@helper
def whole(amount: float) -> int:
    """Return the nearest whole number of units, of two the even one as polars does; ``round`` takes 40 ns more."""
    nearest = math.floor(amount + 0.5)
    return nearest - 1 if nearest - amount == 0.5 and nearest & 1 else nearest


@helper
def share_of(log_share: float) -> float:
    """Return the exponential, at no cost where nothing decays."""
    return 1.0 if log_share == 0.0 else math.exp(log_share)


@helper
def log_survival_at(time: int, start: int, step: int, log_survival: Floats) -> float:
    """Return the logarithm at the first moment at or after a time; zero where nothing decays."""
    last = log_survival.shape[0] - 1
    if last == 0:
        return log_survival[0]
    return log_survival[min(max(-((start - time) // step), 0), last)]


@kernel
def add_levels(
    side: int,
    sides: Codes,
    price: Floats,
    amount: Floats,
    reached: Floats,
    entry_time: Integers,
    from_time: Integers,
    end_time: Integers,
    edges: Floats,
    logarithmic: bool,
    start: int,
    step: int,
    survival_start: int,
    survival_step: int,
    log_survival: Floats,
    block_first: Integers,
    block_log: Floats,
    differences: Integers,
    erased: Integers,
) -> None:
    """Add the levels of one side to a difference array.

    Parameters
    ----------
    side : code of the side to add
    sides, price, amount : (n,) code, level (NaN: none), units
    reached : (n,) units the mark reaches where the level ends; 0 where it ends otherwise
    entry_time, from_time, end_time : (n,) ms; of the position, from which what stands of it is counted, and
        between which it waits at this price
    edges : (bins + 1,) rising
    start, step : ms, opening of the first column, and what a column covers
    survival_start, survival_step : ms, of ``log_survival``
    log_survival : (moments,)
    block_first : (blocks + 1,) first column of each block, and the number of columns
    block_log : (blocks,) of the survival at the end of each block's first column
    differences : (bins + 2, columns + 1) to add to; the first row is below the edges, the last above
    erased : (columns,) to add to, units reached in each column
    """
    columns = erased.shape[0]
    blocks = block_log.shape[0]
    bins = edges.shape[0] - 1
    per_bin = bins / (math.log(edges[bins] / edges[0]) if logarithmic else edges[bins] - edges[0])
    for row in range(price.shape[0]):
        if sides[row] != side or not price[row] > 0.0:
            continue
        first = max(-((start - from_time[row]) // step) - 1, 0)
        ends = (end_time[row] - start) // step
        if ends < 0 or first >= columns:
            continue
        log_entry = log_survival_at(entry_time[row], survival_start, survival_step, log_survival)
        if reached[row] > 0.0 and ends < columns:
            log_end = log_survival_at(end_time[row], survival_start, survival_step, log_survival)
            erased[ends] += whole(reached[row] * share_of(log_end - log_entry))
        ends = min(ends, columns)
        if first >= ends:
            continue
        line = bin_of(price[row], edges, logarithmic, per_bin) + 1
        block = 0
        if blocks > 1:
            block = np.searchsorted(block_first, first, side="right") - 1
        while first < ends:
            units = whole(amount[row] * share_of(block_log[block] - log_entry))
            if units == 0 and block_log[block] < log_entry:
                break
            differences[line, first] += units
            if ends < block_first[block + 1]:
                differences[line, ends] -= units
            block += 1
            first = block_first[block]


@kernel
def sum_levels(differences: Integers, factor: Floats, block_first: Integers) -> None:
    """Turn differences into the open notional of each cell, in place.

    Parameters
    ----------
    differences : (bins + 2, columns + 1) as ``add_levels`` leaves them; the last column is left as it is
    factor : (columns,) of survival since the first column of the block
    block_first : (blocks + 1,)
    """
    for line in range(differences.shape[0]):
        for block in range(block_first.shape[0] - 1):
            running = 0
            for column in range(block_first[block], block_first[block + 1]):
                running += differences[line, column]
                if factor[column] != 1.0:
                    differences[line, column] = whole(running * factor[column])
                else:
                    differences[line, column] = running
