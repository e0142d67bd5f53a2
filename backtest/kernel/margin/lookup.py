"""Lookups of a position in market and rules: its bars, its funding, its tier table."""

from __future__ import annotations

from backtest.kernel.arrays import Bars, Funding, Positions, Rules
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula


@helper
def signed_side(positions: Positions, i: int) -> float:
    """Return +1 for a long, -1 for a short."""
    return 1.0 - 2.0 * positions.side[i]


@helper
def margin_of(rules: Rules, group: int, positions: Positions, i: int) -> float:
    """Return the margin put in at the entry."""
    if positions.has_margin:
        return positions.margin[i]
    return initial_margin(rules, group, positions, i, positions.leverage[i])


@helper
def initial_margin(rules: Rules, group: int, positions: Positions, i: int, leverage: float) -> float:
    """Return the margin that opens a position at a leverage."""
    return formula.initial_margin(
        rules.kind[group], signed_side(positions, i), positions.quantity[i], positions.entry_price[i], leverage,
        rules.included_fee[group],
    )  # fmt: skip


@helper
def leverage_of(positions: Positions, i: int, entry_notional: float) -> float:
    """Return the selected leverage."""
    return positions.leverage[i] if positions.has_leverage else entry_notional / positions.margin[i]


@helper
def group_of(rules: Rules, symbol: int, entry_time: int) -> int:
    """Return the group of a symbol whose table applies to an entry."""
    group = rules.first[symbol]
    for later in range(group + 1, rules.first[symbol + 1]):
        group += 1 if entry_time >= rules.start[later] else 0
    return group


@helper
def table_bar(bars: Bars, rules: Rules, symbol: int, group: int) -> int:
    """Return the bar from which the next table applies to open positions; the number of bars where none does."""
    following = rules.successor[group]
    if following < 0:
        return bars.first[symbol + 1] - bars.first[symbol]
    return first_bar_at_or_after(bars, symbol, rules.start[following])


@helper
def first_bar_at_or_after(bars: Bars, symbol: int, moment: int) -> int:
    """Return the first bar of a symbol that opens at or after a moment; the number of bars where none does."""
    first, last = bars.first[symbol], bars.first[symbol + 1]
    if moment <= bars.time[first]:
        return 0
    if bars.regular[symbol]:
        interval = bars.interval[symbol]
        return min((moment - bars.time[first] + interval - 1) // interval, last - first)
    low, high = first, last
    while low < high:
        middle = (low + high) >> 1
        if bars.time[middle] < moment:
            low = middle + 1
        else:
            high = middle
    return low - first


@helper
def charges_until(bars: Bars, funding: Funding, symbol: int, bar: int, moment: int) -> int:
    """Return how many funding charges have an effective time at or before a moment.

    ``bar`` is the first bar that opens at or after the moment.
    """
    first, count = bars.first[symbol], bars.first[symbol + 1] - bars.first[symbol]
    opened = bar if bar < count and bars.time[first + bar] == moment else bar - 1
    made = funding.charged[first + opened] if opened >= 0 else 0
    while funding.time[funding.first[symbol] + made] <= moment:
        made += 1
    return made


@helper
def end_of_knowledge(bars: Bars, symbol: int, bar: int, entry_time: int) -> int:
    """Return the first bar that can no longer be tested: after a long gap, or after the last bar.

    ``bar`` is the first bar that opens at or after the entry. It lies beyond a long gap itself where too much is
    missing between the entry and its opening.
    """
    first = bars.first[symbol]
    for number in range(bars.gap_first[symbol], bars.gap_first[symbol + 1]):
        gap = bars.gap[number]
        if gap > bar:
            return gap
        if gap == bar:
            missing_from = max(entry_time, bars.time[first + bar - 1] + bars.interval[symbol])
            if bars.time[first + bar] - missing_from > bars.gap_limit:
                return bar
    return bars.first[symbol + 1] - first


@helper
def falls_inside_a_bar(bars: Bars, symbol: int, bar: int, entry_time: int) -> bool:
    """Return whether the bar before ``bar`` covers an entry that ``bar`` is the first to open at or after."""
    first = bars.first[symbol]
    if bar == 0:
        return False
    at_opening = first + bar < bars.first[symbol + 1] and bars.time[first + bar] == entry_time
    return not at_opening and entry_time < bars.time[first + bar - 1] + bars.interval[symbol]
