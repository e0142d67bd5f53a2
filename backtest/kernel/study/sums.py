"""Sums of outcomes by group, in one pass over the rows.

Groups are numbered as they are found, through a table of numbers with open addressing. A pass stops at the first
row it might have no room for: the caller makes room, and goes on from there. Amounts are rounded to whole units
row by row, so no sum depends on the order of the rows or on how they were cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper, kernel
from backtest.kernel.types import Codes, Floats, Integers

#: Columns of the sums in ``Groups.sums``, and how many columns there are.
OPENED, LEFT, BOOK, ENTRY, FILL, SHORTFALL, LARGEST = range(7)
WIDTH = 7

#: Half of what int64 holds, so that one more amount never passes its end; a row with as much, or that makes a sum
#: as large, is reported by ``TOO_LARGE`` groups.
BEYOND = 2.0**62
TOO_LARGE = -1

CENSORED = OutcomeCode.EXITED + 1  #: what hides the end of a life, after the codes of what ends one


class Groups(NamedTuple):
    """The groups found so far, in the order they were found, and the table they are found by."""

    slot: Integers  #: (a power of two,) numbers of groups, -1 where there is none
    code: Integers  #: (half as many,) key of a group without its moment, in bits
    moment: Integers
    sums: Integers  #: (groups, WIDTH)
    largest: Floats  #: (groups,) NaN where there is nothing to compare


class Rows(NamedTuple):
    """Columns of outcomes that sums need, (n,) each; a missing one is replaced by another column."""

    symbol: Codes
    side: Codes
    outcome: Codes
    time: Integers  #: ms, NO_TIME where there is none
    entry_notional: Floats  #: additions included
    leverage: Floats  #: or margin
    has_leverage: bool
    weight: Floats
    has_weight: bool  #: otherwise every row is one trader


class Fills(NamedTuple):
    """What flows need beside, (n,) each."""

    flags: Codes  #: four flags in bits
    left: Floats  #: remaining weight at the outcome
    decays: bool  #: otherwise all of it is
    notional: Floats  #: NaN where there is no fill
    shortfall: Floats  #: as well


class Spans(NamedTuple):
    """Further inputs of holding periods: starts, and ends of bars, gaps and history."""

    entry_time: Integers  #: (n,) ms
    interval: Integers  #: (symbols,) ms
    last: Integers  #: (symbols,) ms, end of the history
    gap_first: Integers  #: (symbols + 1,) into the gaps
    gap_start: Integers  #: (gaps,) ms
    gap_end: Integers  #: rising within a symbol


@helper
def group_of(groups: Groups, count: int, code: int, moment: int) -> int:
    """Return the number of a group: one never seen before gets the next."""
    last = groups.slot.shape[0] - 1
    mixed = moment * 10_007 + code * 1_000_003  # moments are below 2^49
    at = (mixed ^ (mixed >> 15) ^ (mixed >> 33)) & last
    while True:
        found = groups.slot[at]
        if found < 0:
            groups.slot[at] = count
            groups.code[count] = code
            groups.moment[count] = moment
            return count
        if groups.code[found] == code and groups.moment[found] == moment:
            return found
        at = (at + 1) & last


@kernel
def place_again(groups: Groups, count: int) -> None:
    """Enter groups that are known already into an empty table."""
    for number in range(count):
        group_of(groups, number, groups.code[number], groups.moment[number])


@helper
def bucket_of(leverage: float, edges: Floats) -> int:
    """Return how many edges a leverage reaches."""
    bucket = 0
    for edge in edges:
        if not leverage < edge:
            bucket += 1
    return bucket


@helper
def whole_or_zero(units: float) -> int:
    """Return the nearest whole number, of two the even one; zero for nothing."""
    return 0 if np.isnan(units) else int(np.rint(units))


@helper
def overflows(sums: Integers, group: int) -> bool:
    """Whether a sum of a group is too large for another amount."""
    large = False
    for number in range(WIDTH):
        large |= sums[group, number] >= BEYOND
    return large


@helper
def trader_of(rows: Rows, edges: Floats, row: int, entry: float) -> int:
    """Return symbol, side and leverage bucket of a row, in bits."""
    leverage = rows.leverage[row] if rows.has_leverage else entry / rows.leverage[row]
    return (np.int64(rows.symbol[row]) * 2 + np.int64(rows.side[row])) * 8 + bucket_of(leverage, edges)


@kernel
def add_flow(
    begin: int,
    rows: Rows,
    fills: Fills,
    edges: Floats,
    per_unit: float,
    per_weight: float,
    groups: Groups,
    count: int,
) -> tuple[int, int]:
    """Add rows to the sums that flows need.

    Group key: ``trader_of``, four bits of the outcome, four of the flags, and one for whether there is a time,
    which is their moment.

    Parameters
    ----------
    begin : first row to add
    edges : of leverage buckets
    per_unit, per_weight : units to one of the settlement currency, and to one trader
    groups, count : to add to, and how many there are

    Returns
    -------
    The row it stopped at for want of room, or their number; how many groups there are, or TOO_LARGE where an
    amount of that row, or a sum with it, is too large.
    """
    total = rows.time.shape[0]
    for row in range(begin, total):
        if count == groups.code.shape[0]:
            return row, count
        entry = rows.entry_notional[row]
        opened = rows.weight[row] if rows.has_weight else 1.0
        left = fills.left[row] if fills.decays else opened
        book, held = entry * opened * per_unit, entry * left * per_unit
        fill, lost = fills.notional[row] * left * per_unit, fills.shortfall[row] * left * per_unit
        traders = max(opened, left) * per_weight
        if book >= BEYOND or held >= BEYOND or fill >= BEYOND or lost >= BEYOND or traders >= BEYOND:
            return row, TOO_LARGE
        time = rows.time[row]
        known = time != NO_TIME
        code = trader_of(rows, edges, row, entry) * 16 + np.int64(rows.outcome[row])
        code = (code * 16 + np.int64(fills.flags[row])) * 2 + known
        group = group_of(groups, count, code, time if known else 0)
        count = max(count, group + 1)
        sums = groups.sums
        sums[group, OPENED] += whole_or_zero(opened * per_weight)
        sums[group, LEFT] += whole_or_zero(left * per_weight)
        sums[group, BOOK] += whole_or_zero(book)
        held_units = whole_or_zero(held)
        sums[group, ENTRY] += held_units
        sums[group, FILL] += whole_or_zero(fill)
        sums[group, SHORTFALL] += whole_or_zero(lost)
        sums[group, LARGEST] = max(sums[group, LARGEST], held_units)
        if overflows(sums, group):
            return row, TOO_LARGE
        if fills.notional[row] > groups.largest[group] or np.isnan(groups.largest[group]):
            groups.largest[group] = fills.notional[row]
    return total, count


@helper
def end_of_life(rows: Rows, spans: Spans, row: int) -> int:
    """Return when the outcome of a position was known: of events within a bar, when the bar ended."""
    symbol, outcome, time = np.int64(rows.symbol[row]), rows.outcome[row], rows.time[row]
    if outcome <= OutcomeCode.TOOK_PROFIT:
        return time if time == NO_TIME else time + spans.interval[symbol]
    if outcome == OutcomeCode.UNKNOWN:
        low, high = spans.gap_first[symbol], spans.gap_first[symbol + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if spans.gap_end[middle] < time:
                low = middle + 1
            else:
                high = middle
        return spans.gap_start[low] if low < end and spans.gap_end[low] == time else time
    return spans.last[symbol] if time == NO_TIME else time


@kernel
def add_lives(
    begin: int,
    rows: Rows,
    spans: Spans,
    edges: Floats,
    step: int,
    per_weight: float,
    groups: Groups,
    count: int,
) -> tuple[int, int]:
    """Add rows to the number of traders that lived so long, as ``OPENED``; rejected positions did not.

    Group key: ``trader_of``, three bits of the end, and one for whether its time is known;
    their moment is the duration, rounded up to whole ``step`` (ms).

    Parameters, Returns
    -------------------
    As of ``add_flow``.
    """
    total = rows.time.shape[0]
    for row in range(begin, total):
        if count == groups.code.shape[0]:
            return row, count
        if rows.outcome[row] == OutcomeCode.REJECTED:
            continue
        weight = (rows.weight[row] if rows.has_weight else 1.0) * per_weight
        if weight >= BEYOND:
            return row, TOO_LARGE
        end = end_of_life(rows, spans, row)
        known = end != NO_TIME
        steps = -(-max(end - spans.entry_time[row], 0) // step) if known else 0
        code = trader_of(rows, edges, row, rows.entry_notional[row]) * 8 + min(
            np.int64(rows.outcome[row]), CENSORED
        )
        group = group_of(groups, count, code * 2 + known, steps)
        count = max(count, group + 1)
        groups.sums[group, OPENED] += whole_or_zero(weight)
        if overflows(groups.sums, group):
            return row, TOO_LARGE
    return total, count
