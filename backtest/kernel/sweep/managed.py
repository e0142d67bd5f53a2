"""Positions whose holders act: stops, take-profits, planned exits, margin added, parts closed.

The same searches as in :mod:`~backtest.kernel.sweep.passive`, over the stretches between a holder's changes;
stops and
take-profits are the same query again on the plain price. One position after another: this kernel serves books
with actions, where a handful of searches each outweighs the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME, Bars, Forest, Funding, Outcomes, Positions, Rules
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep import outcomes
from backtest.kernel.sweep.adjustments import Actions, after_change, first_adjustment
from backtest.kernel.sweep.intrabar import first_event
from backtest.kernel.sweep.passive import held_by
from backtest.kernel.types import Floats


class Watched(NamedTuple):
    """The price series that stops and take-profits watch, with a tree of its lows and one of its negated highs."""

    open: Floats
    high: Floats
    low: Floats
    forest: Forest  #: trees 2 * symbol (lows) and 2 * symbol + 1 (negated highs)
    triggers_liquidation: bool  #: it is the series that liquidation watches, too


@helper
def first_touch(watched: Watched, symbol: int, below: bool, price: float, start: int, end: int) -> int:
    """Return the first bar in [start, end) that trades at a price or below it (or above it), or -1."""
    if np.isnan(price):
        return -1
    if below:
        return position.search(watched.forest, symbol, 2 * symbol, start, end, price)
    return position.search(watched.forest, symbol, 2 * symbol + 1, start, end, -price)


class Bound(NamedTuple):
    """How far a position can live: its bars, and what ends them."""

    start: int  #: first bar to test
    end: int  #: first bar not to test any more
    knowable: int  #: first bar beyond a long gap, or beyond the last
    exits: bool  #: ``end`` is the bar of the planned exit


class Events(NamedTuple):
    """First events of a position in a stretch of bars: the bar, or -1, and all events in it."""

    bar: int
    liquidated: bool
    stopped: bool
    profited: bool


@helper
def bounds(bars: Bars, actions: Actions, symbol: int, entry_time: int, i: int) -> Bound:
    """Return the bars in which a position may be open."""
    start = lookup.first_bar_at_or_after(bars, symbol, entry_time)
    knowable = lookup.end_of_knowledge(bars, symbol, start, entry_time)
    if actions.exit_time[i] == NO_TIME:
        return Bound(start, knowable, knowable, False)
    exit_bar = lookup.first_bar_at_or_after(bars, symbol, actions.exit_time[i])
    return Bound(start, min(knowable, exit_bar), knowable, exit_bar < knowable)


@helper
def entry_bar_events(
    bars: Bars, rules: Rules, watched: Watched, held: Segment, stop_price: float, target_price: float, bar: int
) -> Events:
    """Return the events of the entry bar, as if its whole range came after the entry."""
    row = bars.first[held.symbol] + bar
    liquidated = position.triggers(rules, held, position.worst_price(bars, held, row), held.entry_funding)
    lowest, highest = watched.low[row], watched.high[row]
    stopped = lowest <= stop_price if held.side > 0 else highest >= stop_price
    profited = highest >= target_price if held.side > 0 else lowest <= target_price
    return Events(bar if liquidated or stopped or profited else -1, liquidated, stopped, profited)


@helper
def next_events(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    watched: Watched,
    held: Segment,
    stop_price: float,
    target_price: float,
    start: int,
    until: int,
) -> Events:
    """Return the first bar in [start, until) with an event of the position, and its events."""
    charges = funding.charged[bars.first[held.symbol] + start]
    low, high = position.relevant_tiers(rules, funding, held, charges)
    limit = position.threshold(rules, forest, held, low)
    candidate = position.search(forest, held.symbol, position.tree_of(rules, held, low), start, until, limit)
    hit = position.confirmed(bars, funding, rules, forest, held, low, high, candidate, start, until)
    within = hit + 1 if hit >= 0 else until
    stop_bar = first_touch(watched, held.symbol, held.side > 0, stop_price, start, within)
    within = stop_bar + 1 if stop_bar >= 0 else within
    target_bar = first_touch(watched, held.symbol, held.side < 0, target_price, start, within)
    bar = target_bar if target_bar >= 0 else stop_bar if stop_bar >= 0 else hit
    happens = bar >= 0
    return Events(bar, happens and hit == bar, happens and stop_bar == bar, happens and target_bar == bar)


@helper
def settle_events(
    bars: Bars,
    rules: Rules,
    watched: Watched,
    out: Outcomes,
    i: int,
    held: Segment,
    events: Events,
    price: float,
    stop_price: float,
    target_price: float,
    at_entry: bool,
    intrabar: int,
    now: float,
    paid_before: float,
    put_in: float,
) -> float:
    """Write the first of a bar's events, and return the liquidation price as that bar has it."""
    row = bars.first[held.symbol] + events.bar
    side = held.side
    opening = held.entry_price if at_entry else bars.open[row]
    watched_open = held.entry_price if at_entry else watched.open[row]
    if events.liquidated:
        price = outcomes.within_bar(bars, held, price, row)
    event, decided = first_event(
        side, events.liquidated, events.stopped, events.profited, price, stop_price, target_price, opening,
        bars.low[row], bars.high[row], watched_open, watched.low[row], watched.high[row],
        watched.triggers_liquidation, intrabar,
    )  # fmt: skip
    out.ambiguous[i] = out.ambiguous[i] or decided
    out.tier_rate[i] = np.nan
    if event == OutcomeCode.LIQUIDATED:
        fill = outcomes.liquidation_fill(bars, row, side, opening, price)
        out.tier_rate[i] = position.triggering_rate(rules, held, held.first, held.last, now)
    elif event == OutcomeCode.STOPPED:
        fill = watched_open if side * watched_open <= side * stop_price else stop_price
    else:
        fill = watched_open if side * watched_open >= side * target_price else target_price
    outcomes.write_close(out, i, held, event, bars.time[row], fill, now, paid_before, put_in, rules.returned)
    return price


@kernel
def live(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    positions: Positions,
    actions: Actions,
    watched: Watched,
    intrabar: int,
    test_entry_bar: bool,
    out: Outcomes,
    begin: int,
    stop: int,
) -> None:
    """Write the outcomes of positions [begin, stop)."""
    adjustments = actions.row.shape[0]
    for i in range(begin, stop):
        symbol = np.int64(positions.symbol[i])
        entry_time = positions.entry_time[i]
        stop_price, target_price = actions.stop_price[i], actions.take_profit_price[i]
        bound = bounds(bars, actions, symbol, entry_time, i)
        rows = bars.first[symbol]
        count = bars.first[symbol + 1] - rows
        paid_to = funding.first[symbol]
        made = lookup.charges_until(bars, funding, symbol, bound.start, entry_time)
        group = lookup.group_of(rules, symbol, entry_time)
        held = held_by(rules, positions, i, group, funding.cumulative[paid_to + made])
        put_in, paid_before, grown = held.margin, 0.0, 0.0
        start, next_change = bound.start, first_adjustment(actions, i)
        out.ambiguous[i] = False
        events = Events(-1, False, False, False)
        if lookup.falls_inside_a_bar(bars, symbol, start, entry_time):
            events = entry_bar_events(bars, rules, watched, held, stop_price, target_price, start - 1)
            out.ambiguous[i] = events.bar >= 0
        if not test_entry_bar:
            events = Events(-1, False, False, False)
        now = held.entry_funding

        while events.bar < 0:  # one stretch between changes each time round
            change_bar = count
            if next_change < adjustments and actions.row[next_change] == i:
                change_bar = lookup.first_bar_at_or_after(bars, symbol, actions.time[next_change])
            until = min(bound.end, change_bar)
            now = held.entry_funding
            if start < until:
                events = next_events(
                    bars, funding, rules, forest, watched, held, stop_price, target_price, start, until
                )
                tested = events.bar if events.bar >= 0 else until - 1
                now = position.funding_at(bars, funding, symbol, tested)
            before_exit = (
                bound.exits and change_bar == bound.end and actions.time[next_change] <= actions.exit_time[i]
            )
            if events.bar >= 0 or (until == bound.end and not before_exit):
                break

            while (
                next_change < adjustments
                and actions.row[next_change] == i
                and lookup.first_bar_at_or_after(bars, symbol, actions.time[next_change]) == until
                and not (bound.exits and actions.time[next_change] > actions.exit_time[i])
            ):
                changed = after_change(bars, funding, rules, actions, held, next_change, until)
                held = changed.held
                put_in += changed.put_in
                paid_before += changed.paid
                grown += changed.grown
                next_change += 1
            start = until

        price = position.liquidation_price(rules, held, held.first, held.last, now)
        out.bankruptcy_price[i] = formula.or_nan(position.bankruptcy_price(held, now))
        if events.bar >= 0:
            price = settle_events(
                bars, rules, watched, out, i, held, events, price, stop_price, target_price,
                events.bar < bound.start, intrabar, now, paid_before, put_in,
            )  # fmt: skip
        elif bound.exits:
            made = lookup.charges_until(bars, funding, symbol, bound.end, actions.exit_time[i])
            outcomes.write_close(
                out, i, held, OutcomeCode.EXITED, bars.time[rows + bound.end], bars.mark_open[rows + bound.end],
                funding.cumulative[paid_to + made], paid_before, put_in, rules.returned,
            )  # fmt: skip
            out.tier_rate[i] = np.nan
        elif bound.knowable == count:
            outcomes.write_unfinished(out, i, held, OutcomeCode.OPEN, NO_TIME, now, paid_before)
        else:
            outcomes.write_unfinished(
                out, i, held, OutcomeCode.UNKNOWN, bars.time[rows + bound.knowable], now, paid_before
            )
        out.liquidation_price[i] = formula.or_nan(price)
        if out.grown.shape[0] > 0:
            out.grown[i] = grown
