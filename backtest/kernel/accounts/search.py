"""First bar in which an account's excess margin, V = equity - maintenance margin, is used up.

An account between two events is a constant and a few terms, each a minimum over straight pieces of one symbol's
price, so concave: over any range of prices it is least at an end. Lows, highs and the extremes of the funding sums
over a block of bars therefore bound V from below, and a block whose bound is positive is skipped whole.

Where a hedge makes that bound loose, a second one is tried: each symbol's price relative to a common factor moves
much less than the price itself. On the block a concave term lies above its chord a + c P, and with P = R B,

    V >= K + sum a - funding + min over B of B * sum min over R of c R.

Both bounds count as positive only beyond an allowance of 1e-12 of the magnitudes involved, 1,000 times what
rounding can do to them: too large an allowance costs a descent, never an answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.choices import AccountPrices
from backtest.kernel.compile import helper
from backtest.kernel.types import Floats, Integers

#: Places of a bar's numbers, and which price was worst where each position is valued at its own.
LOW, HIGH, CLOSE, FUNDING = range(4)
OWN_WORST = 3
ALLOWANCE = 1e-12
LEAF, NODE = 4, 6  # numbers a bar, and a block, of one symbol


class Grid(NamedTuple):
    """Bars of all symbols on one grid, symbol after symbol, and blocks of them level by level."""

    bars: int
    leaf: Floats  #: value at low, high, close, and F, of each symbol's bars: price, F; inverse: 1 / price, -F
    shift: Integers  #: (levels,) a block of a level covers 2**shift bars; the first is a bar
    first: Integers  #: (levels,) the first block of each level, counted over all symbols
    blocks: Integers  #: (levels,) blocks of one symbol
    node: Floats  #: least and greatest value, F, and value over the factor, of each symbol's blocks
    factor_first: Integers  #: (levels,)
    factor: Floats  #: least and greatest factor of each block
    largest_price: Floats  #: (symbols,)
    largest_funding: Floats  #: (symbols,)
    stale_first: Integers  #: (symbols + 1,)
    stale_start: Integers  #: runs of bars in which too much of a symbol is missing
    stale_stop: Integers


class Terms(NamedTuple):
    """Holdings of an account, by symbol; one set per thread. Term t has the pieces piece[t] to piece[t + 1]."""

    symbol: Integers
    side: Floats  #: +1, -1; 0 for collateral
    quantity: Floats
    cost: Floats
    anchor: Floats
    piece: Integers
    slope: Floats  #: of what the term is worth less its maintenance margin
    level: Floats
    need_slope: Floats  #: of the maintenance margin
    need_level: Floats


@helper
def worth(terms: Terms, t: int, price: float) -> float:
    """Return what a term adds to V at a price: the least of its pieces."""
    first = terms.piece[t]
    least = terms.slope[first] * price + terms.level[first]
    for k in range(first + 1, terms.piece[t + 1]):
        least = min(least, terms.slope[k] * price + terms.level[k])
    return least


@helper
def need(terms: Terms, t: int, price: float) -> float:
    """Return the maintenance margin of a term at a price: the most of its pieces."""
    first = terms.piece[t]
    most = terms.need_slope[first] * price + terms.need_level[first]
    for k in range(first + 1, terms.piece[t + 1]):
        most = max(most, terms.need_slope[k] * price + terms.need_level[k])
    return most


@helper
def totals(grid: Grid, terms: Terms, count: int, constant: float, bar: int) -> tuple[float, float, float, float]:
    """Return V in a bar with every symbol at its low, its high, its close, and each at its own worst of these."""
    low, high, close, worst, t = constant, constant, constant, constant, 0
    while t < count:
        symbol = terms.symbol[t]
        place = (symbol * grid.bars + bar) * LEAF
        at_low, at_high, at_close, units = 0.0, 0.0, 0.0, 0.0
        while t < count and terms.symbol[t] == symbol:
            at_low += worth(terms, t, grid.leaf[place + LOW])
            at_high += worth(terms, t, grid.leaf[place + HIGH])
            at_close += worth(terms, t, grid.leaf[place + CLOSE])
            units += terms.side[t] * terms.quantity[t]
            t += 1
        paid = units * grid.leaf[place + FUNDING]
        low = low + (at_low - paid)
        high = high + (at_high - paid)
        close = close + (at_close - paid)
        worst = worst + (min(at_low, at_high, at_close) - paid)
    return low, high, close, worst


@helper
def left_over(
    grid: Grid, terms: Terms, count: int, constant: float, bar: int, convention: int
) -> tuple[float, int]:
    """Return V in a bar under a convention, and where that puts the symbols."""
    low, high, close, worst = totals(grid, terms, count, constant, bar)
    if convention == AccountPrices.OWN_WORST:
        return worst, OWN_WORST
    if convention == AccountPrices.CLOSES:
        return close, CLOSE
    if low <= high and low <= close:
        return low, LOW
    return (high, HIGH) if high <= close else (close, CLOSE)


@helper
def box_bound(grid: Grid, terms: Terms, count: int, constant: float, level: int, block: int) -> float:
    """Return a lower bound of V in a block, each symbol at its own worst price and funding."""
    bound, t = constant, 0
    while t < count:
        symbol = terms.symbol[t]
        node = (grid.first[level] + symbol * grid.blocks[level] + block) * NODE
        at_low, at_high, units = 0.0, 0.0, 0.0
        while t < count and terms.symbol[t] == symbol:
            at_low += worth(terms, t, grid.node[node])
            at_high += worth(terms, t, grid.node[node + 1])
            units += terms.side[t] * terms.quantity[t]
            t += 1
        paid = units * (grid.node[node + 3] if units > 0.0 else grid.node[node + 2])
        bound += min(at_low, at_high) - paid
    return bound


@helper
def factor_bound(grid: Grid, terms: Terms, count: int, constant: float, level: int, block: int) -> float:
    """Return a lower bound of V in a block, prices taken relative to the common factor.

    Where all slopes have one sign the other bound is the better one, and minus infinity is returned.
    """
    bound, slope_by_factor, rising, falling, t = constant, 0.0, False, False, 0
    while t < count:
        symbol = terms.symbol[t]
        node = (grid.first[level] + symbol * grid.blocks[level] + block) * NODE
        low, high = grid.node[node], grid.node[node + 1]
        at_low, at_high, units = 0.0, 0.0, 0.0
        while t < count and terms.symbol[t] == symbol:
            at_low += worth(terms, t, low)
            at_high += worth(terms, t, high)
            units += terms.side[t] * terms.quantity[t]
            t += 1
        slope = (at_high - at_low) / (high - low) if high > low else 0.0
        bound += at_low - slope * low - units * (grid.node[node + 3] if units > 0.0 else grid.node[node + 2])
        slope_by_factor += slope * (grid.node[node + 4] if slope > 0.0 else grid.node[node + 5])
        rising, falling = rising or slope > 0.0, falling or slope < 0.0
    if not (rising and falling):
        return -np.inf
    place = (grid.factor_first[level] + block) * 2
    return bound + min(slope_by_factor * grid.factor[place], slope_by_factor * grid.factor[place + 1])


@helper
def allowance_of(grid: Grid, terms: Terms, count: int, constant: float) -> float:
    """Return the margin above zero that a bound needs to exclude rounding errors."""
    size = abs(constant)
    for t in range(count):
        symbol = terms.symbol[t]
        slope, level = 0.0, 0.0
        for k in range(terms.piece[t], terms.piece[t + 1]):
            slope, level = max(slope, abs(terms.slope[k])), max(level, abs(terms.level[k]))
        size += slope * grid.largest_price[symbol] + level
        size += terms.quantity[t] * abs(terms.side[t]) * grid.largest_funding[symbol]
    return ALLOWANCE * size


@helper
def first_bar_used_up(
    grid: Grid,
    terms: Terms,
    count: int,
    constant: float,
    strict: bool,
    convention: int,
    begin: int,
    stop: int,
) -> int:
    """Return the first bar of [begin, stop) in which V is used up under a convention; -1 where there is none."""
    top = grid.shift.size - 1
    allowance = allowance_of(grid, terms, count, constant)
    bar, level = begin, 0
    while level < top and (1 << grid.shift[level + 1]) <= stop - begin:
        level += 1
    while bar < stop:
        if level == 0:
            remaining, _ = left_over(grid, terms, count, constant, bar, convention)
            if remaining < 0.0 or (remaining == 0.0 and not strict):
                return bar
            bar += 1
        else:
            block = bar >> grid.shift[level]
            if (
                box_bound(grid, terms, count, constant, level, block) <= allowance
                and factor_bound(grid, terms, count, constant, level, block) <= allowance
            ):
                level -= 1
                continue
            bar = (block + 1) << grid.shift[level]
        while level < top and (bar & ((1 << grid.shift[level + 1]) - 1)) == 0:
            level += 1
    return -1


@helper
def first_stale(grid: Grid, symbol: int, bar: int) -> int:
    """Return the first bar at or after one in which too much of a symbol is missing; all bars where none is."""
    low, high = grid.stale_first[symbol], grid.stale_first[symbol + 1]
    last = high
    while low < high:
        middle = (low + high) >> 1
        if grid.stale_stop[middle] <= bar:
            low = middle + 1
        else:
            high = middle
    return grid.bars if low == last else max(bar, grid.stale_start[low])
