"""Bars that a position enters or leaves inside, and openings at which its holder acts: what happens in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME, Bars, Funding, Rules
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep import outcomes
from backtest.kernel.sweep.adjustments import Actions, after_change
from backtest.kernel.sweep.bar_events import (
    LIQUIDATED,
    NO_EVENT,
    NOTHING,
    Found,
    Hidden,
    Orders,
    Watched,
    close_after_entry,
    first_in,
    opening_of,
    since_entry,
    whole_bar,
)


class Bound(NamedTuple):
    """How far a position can live: its bars, and what ends them."""

    start: int  #: first bar to test
    end: int  #: first bar not to test any more
    knowable: int  #: first bar beyond a long gap, or beyond the last
    exits: bool  #: ``end`` is the bar of the planned exit
    entry_bar: int  #: the entry lies strictly inside it, or -1
    exit_bar: int  #: the exit lies strictly inside it, or -1


@helper
def bounds(bars: Bars, actions: Actions, symbol: int, entry_time: int, i: int) -> Bound:
    """Return the bars in which a position may be open."""
    start = lookup.first_bar_at_or_after(bars, symbol, entry_time)
    knowable = lookup.end_of_knowledge(bars, symbol, start, entry_time)
    entry_bar = start - 1 if lookup.falls_inside_a_bar(bars, symbol, start, entry_time) else -1
    exit_time = actions.exit_time[i]
    if exit_time == NO_TIME:
        return Bound(start, knowable, knowable, False, entry_bar, -1)
    opening = lookup.first_bar_at_or_after(bars, symbol, exit_time)
    exit_bar = -1
    if opening - 1 < knowable and lookup.falls_inside_a_bar(bars, symbol, opening, exit_time):
        exit_bar = opening - 1
    return Bound(start, min(knowable, opening), knowable, opening < knowable, entry_bar, exit_bar)


@helper
def has_change(actions: Actions, change: int, i: int) -> bool:
    """Return whether an adjustment is one of a position, and not after its exit."""
    if change >= actions.row.shape[0] or actions.row[change] != i:
        return False
    if actions.exit_time.shape[0] == 0 or actions.exit_time[i] == NO_TIME:
        return True
    return actions.time[change] <= actions.exit_time[i]


@helper
def charged_until(bars: Bars, funding: Funding, symbol: int, bar: int, moment: int) -> float:
    """Return cumulative funding at a moment; ``bar`` is the first that opens at or after it."""
    return funding.cumulative[funding.first[symbol] + lookup.charges_until(bars, funding, symbol, bar, moment)]


@helper
def triggers_after_all(
    bars: Bars, funding: Funding, rules: Rules, actions: Actions, held: Segment, change: int, bar: int, i: int
) -> bool:
    """Return whether the close of an entry bar liquidates after the changes and stamps inside the bar."""
    symbol, row = held.symbol, bars.first[held.symbol] + bar
    end, last = bars.time[row] + bars.interval[symbol], bars.first[symbol + 1] - 1
    while row < last and has_change(actions, change, i) and actions.time[change] < end:
        held = after_change(bars, funding, rules, actions, held, change, bar + 1, bars.mark_open[row + 1]).held
        change += 1
    now = charged_until(bars, funding, symbol, bar + 1, end - 1)
    return position.triggers(rules, held, bars.close[row], now)


@part
def in_entry_bar(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    actions: Actions,
    watched: Watched,
    held: Segment,
    orders: Orders,
    bound: Bound,
    change: int,
    hidden: Hidden,
    i: int,
) -> Found:
    """Return the first event in the bar of the entry: its close is certain, unless the exit is in it."""
    row, now = bars.first[held.symbol] + bound.entry_bar, held.entry_funding
    same, order = watched.triggers_liquidation, hidden.intrabar
    seen = since_entry(bars, watched, row, held.entry_price)
    whole = first_in(bars, rules, same, held, orders, seen, now, order, False)
    if whole.event == NO_EVENT:
        return whole
    if bound.exit_bar == bound.entry_bar:
        event = whole.event if hidden.entry_bar or hidden.exit_bar else NO_EVENT
        return Found(event, True, whole.price, whole.fill)
    close = close_after_entry(bars, watched, row, held.entry_price)
    certain = first_in(bars, rules, same, held, orders, close, now, order, False)
    saved = certain.event == LIQUIDATED and not triggers_after_all(
        bars, funding, rules, actions, held, change, bound.entry_bar, i
    )
    ambiguous = whole.ambiguous or whole.event != certain.event or saved
    if saved and hidden.actions_first and not hidden.entry_bar:
        certain = first_in(bars, rules, same, held, orders, close, now, order, True)
    elif hidden.entry_bar or whole.event == certain.event:
        certain = whole
    return Found(certain.event, ambiguous, certain.price, certain.fill)


@helper
def before_acting(
    bars: Bars, rules: Rules, held: Segment, row: int, now: float, planned: int, actions_first: bool
) -> Found:
    """Return whether a position is liquidated at an opening, before its holder acts there.

    An action planned for a time inside the bar before may have come first.
    """
    opening = bars.open[row]
    if not position.triggers(rules, held, opening, now):
        return NOTHING
    late = planned < bars.time[row]
    if late and actions_first:
        return Found(NO_EVENT, True, np.nan, np.nan)
    price = position.liquidation_price(rules, held, held.first, held.last, now)
    price = outcomes.no_worse(held.side, price, opening)
    fill = outcomes.liquidation_fill(bars, row, held.side, opening, price)
    return Found(LIQUIDATED, late, price, fill)


@part
def in_exit_bar(
    bars: Bars, rules: Rules, watched: Watched, held: Segment, orders: Orders, row: int, now: float, hidden: Hidden
) -> Found:
    """Return the first event in a bar that the exit lies inside: its opening alone is certain."""
    same, order = watched.triggers_liquidation, hidden.intrabar
    whole = first_in(bars, rules, same, held, orders, whole_bar(bars, watched, row), now, order, False)
    certain = first_in(bars, rules, same, held, orders, opening_of(bars, watched, row), now, order, False)
    ambiguous = whole.ambiguous or whole.event != certain.event
    kept = whole if hidden.exit_bar or whole.event == certain.event else certain
    return Found(kept.event, ambiguous, kept.price, kept.fill)
