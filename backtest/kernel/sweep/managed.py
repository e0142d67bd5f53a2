"""Positions whose holders act: stops, take-profits, planned exits, margin added, parts closed.

The same searches as in :mod:`~backtest.kernel.sweep.passive`, over the stretches between a holder's changes;
stops and
take-profits are the same query again on the plain price. One position after another: this kernel serves books
with actions, where a handful of searches each outweighs the rest.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.arrays import Bars, Forest, Funding, Outcomes, Positions, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep.adjustments import Actions, after_change, first_adjustment
from backtest.kernel.sweep.bar_events import (
    LIQUIDATED,
    NO_EVENT,
    NOTHING,
    OPEN,
    UNKNOWN,
    Hidden,
    Orders,
    Watched,
    first_in,
    whole_bar,
)
from backtest.kernel.sweep.edge_bars import (
    before_acting,
    bounds,
    charged_until,
    has_change,
    in_entry_bar,
    in_exit_bar,
)
from backtest.kernel.sweep.ends import End, Flows, ended, left, unended, with_change, write
from backtest.kernel.sweep.passive import held_by
from backtest.kernel.types import Integers


@helper
def first_touch(watched: Watched, symbol: int, below: bool, price: float, start: int, end: int) -> int:
    """Return the first bar in [start, end) that trades at a price or below it (or above it), or -1."""
    if np.isnan(price):
        return -1
    if below:
        return position.search(watched.forest, symbol, 2 * symbol, start, end, price)
    return position.search(watched.forest, symbol, 2 * symbol + 1, start, end, -price)


@helper
def next_event(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    watched: Watched,
    held: Segment,
    orders: Orders,
    start: int,
    until: int,
) -> int:
    """Return the first bar in [start, until) with an event of the position, or -1."""
    charges = funding.charged[bars.first[held.symbol] + start]
    low, high = position.relevant_tiers(rules, funding, held, charges)
    limit = position.threshold(rules, forest, held, low)
    candidate = position.search(forest, held.symbol, position.tree_of(rules, held, low), start, until, limit)
    hit = position.confirmed(bars, funding, rules, forest, held, low, high, candidate, start, until)
    within = hit + 1 if hit >= 0 else until
    stop_bar = first_touch(watched, held.symbol, held.side > 0, orders.stop, start, within)
    within = stop_bar + 1 if stop_bar >= 0 else within
    target_bar = first_touch(watched, held.symbol, held.side < 0, orders.target, start, within)
    return target_bar if target_bar >= 0 else stop_bar if stop_bar >= 0 else hit


@helper
def follow(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    positions: Positions,
    actions: Actions,
    watched: Watched,
    hidden: Hidden,
    i: int,
) -> End:
    """Return how a position ends: one loop over stretches between its changes, whose state is many scalars."""
    symbol, entry_time = np.int64(positions.symbol[i]), positions.entry_time[i]
    exit_time, recorded = actions.exit_time[i], actions.exit_price[i]
    orders = Orders(actions.stop_price[i], actions.take_profit_price[i])
    bound = bounds(bars, actions, symbol, entry_time, i)
    first, count = bars.first[symbol], bars.first[symbol + 1] - bars.first[symbol]
    group = lookup.group_of(rules, symbol, entry_time)
    held = held_by(rules, positions, i, group, charged_until(bars, funding, symbol, bound.start, entry_time))
    start, change, tested = bound.start, first_adjustment(actions, i), held.entry_funding
    flows, ambiguous = Flows(held.margin, 0.0, 0.0), False
    ends_within = bound.exit_bar >= start and bound.exit_bar >= 0
    until_exit = bound.exit_bar if ends_within else bound.end
    leaves = bound.exit_bar >= 0 and not np.isnan(recorded)

    found, bar, now = NOTHING, bound.entry_bar, tested
    if bound.entry_bar >= 0:
        found = in_entry_bar(bars, funding, rules, actions, watched, held, orders, bound, change, hidden, i)
        ambiguous = found.ambiguous
    at_exit = leaves and not ends_within  # in the entry bar
    while found.event == NO_EVENT and not at_exit:
        change_bar = count
        if has_change(actions, change, i):
            change_bar = lookup.first_bar_at_or_after(bars, symbol, actions.time[change])
        table_bar = lookup.table_bar(bars, rules, symbol, held.group)
        until = min(until_exit, change_bar, table_bar)
        if start < until:
            bar = next_event(bars, funding, rules, forest, watched, held, orders, start, until)
            tested = now = position.funding_at(bars, funding, symbol, bar if bar >= 0 else until - 1)
            if bar >= 0:
                seen, same = whole_bar(bars, watched, first + bar), watched.triggers_liquidation
                found = first_in(bars, rules, same, held, orders, seen, tested, hidden.intrabar, False)
                break
        start = bar = until
        if table_bar == until and until < bound.knowable:
            held = position.under(rules, held, rules.successor[held.group])
        elif change_bar == until and until < bound.knowable:
            now = charged_until(bars, funding, symbol, until, actions.time[change])
            planned = actions.time[change]
            found = before_acting(bars, rules, held, first + until, now, planned, hidden.actions_first)
            ambiguous = ambiguous or found.ambiguous
            if found.event == NO_EVENT:
                mark = bars.mark_open[first + until]
                changed = after_change(bars, funding, rules, actions, held, change, until, mark)
                held, tested, flows = changed.held, changed.held.entry_funding, with_change(flows, changed)
                change += 1
        elif ends_within and until == bound.exit_bar:
            tested = now = position.funding_at(bars, funding, symbol, until)
            found = in_exit_bar(bars, rules, watched, held, orders, first + until, tested, hidden)
            ambiguous = ambiguous or found.ambiguous
            at_exit, ends_within = leaves, False
            start, until_exit = until + 1, bound.end
        else:
            break

    exits = at_exit or bound.exits
    if found.event == NO_EVENT and exits:
        bar = bound.exit_bar if at_exit else bound.end
        while at_exit and has_change(actions, change, i):
            changed = after_change(bars, funding, rules, actions, held, change, bar + 1, recorded)
            held, tested, flows = changed.held, changed.held.entry_funding, with_change(flows, changed)
            change += 1
        now = charged_until(bars, funding, symbol, bar + 1 if at_exit else bar, exit_time)
        if not at_exit and (exit_time == bars.time[first + bar] or np.isnan(recorded)):
            found = before_acting(bars, rules, held, first + bar, now, exit_time, hidden.actions_first)
            ambiguous = ambiguous or found.ambiguous
    if found.event != NO_EVENT:
        return ended(found, held, bar, ambiguous, now, flows)
    if exits:
        return left(bars, rules, held, bar, recorded, ambiguous, tested, now, flows)
    outcome = OPEN if bound.knowable == count else UNKNOWN
    return unended(rules, held, outcome, bound.knowable, ambiguous, tested, flows)


@kernel
def live(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    positions: Positions,
    actions: Actions,
    watched: Watched,
    hidden: Hidden,
    rows: Integers,
    out: Outcomes,
    begin: int,
    stop: int,
) -> None:
    """Write outcomes [begin, stop): of the positions ``rows``, or of all in their order where it is empty.

    What is certain and what is possible is written as where bars hid nothing.
    """
    for place in range(begin, stop):
        i = rows[place] if rows.shape[0] > 0 else place
        end = follow(bars, funding, rules, forest, positions, actions, watched, hidden, i)
        write(bars, rules, out, place, end)
        out.certainly_liquidated[place] = out.possibly_liquidated[place] = end.outcome == LIQUIDATED
