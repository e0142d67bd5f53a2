"""Positions whose holders act: stops, take-profits, planned exits, margin added, parts closed.

The same searches as in :mod:`~backtest.kernel.crossing`, over the stretches between a holder's changes; stops and
take-profits are the same query again on the plain price. One position after another: this kernel serves books
with actions, where a handful of searches each outweighs the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel import formula, segment, settle
from backtest.kernel.arrays import (
    EXITED,
    LIQUIDATED,
    NO_TIME,
    OPEN,
    STOPPED,
    TOOK_PROFIT,
    UNKNOWN,
    Bars,
    Forest,
    Funding,
    Outcomes,
    Positions,
    Rules,
)
from backtest.kernel.compile import helper, kernel
from backtest.kernel.types import INVERSE, Floats, Integers

PESSIMISTIC, OPTIMISTIC, PATH = range(3)


class Actions(NamedTuple):
    """What holders planned or did. NaN and the earliest time stand for nothing."""

    exit_time: Integers  #: (n,)
    stop_price: Floats  #: (n,)
    take_profit_price: Floats  #: (n,)
    row: Integers  #: (adjustments,) position each belongs to, ascending
    time: Integers  #: (adjustments,) ascending within a position
    margin_change: Floats
    quantity_change: Floats


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
        return segment.search(watched.forest, symbol, 2 * symbol, start, end, price)
    return segment.search(watched.forest, symbol, 2 * symbol + 1, start, end, -price)


@helper
def path_position(opening: float, low: float, high: float, price: float) -> float:
    """Return how far along open, nearer extreme, other extreme a price is met: 0 to 1, then 1 to 2."""
    nearer, other = (low, high) if opening - low < high - opening else (high, low)
    if min(opening, nearer) <= price <= max(opening, nearer):
        return (opening - price) / (opening - nearer)
    return 1.0 + (nearer - price) / (nearer - other)


@helper
def first_event(
    side: float,
    liquidated: bool,
    stopped: bool,
    profited: bool,
    liquidation_price: float,
    stop_price: float,
    target_price: float,
    opening: float,
    low: float,
    high: float,
    watched_open: float,
    watched_low: float,
    watched_high: float,
    same_series: bool,
    intrabar: int,
) -> tuple[int, bool]:
    """Return which of a bar's events comes first, and whether a rule had to decide."""
    if liquidated and settle.reached_at_open(side, opening, liquidation_price):
        return LIQUIDATED, False
    if stopped and side * watched_open <= side * stop_price:
        return STOPPED, False
    if profited and side * watched_open >= side * target_price:
        return TOOK_PROFIT, False
    if same_series and liquidated and stopped:
        liquidated = side * stop_price <= side * liquidation_price
        stopped = not liquidated
    if int(liquidated) + int(stopped) + int(profited) == 1:
        return LIQUIDATED if liquidated else STOPPED if stopped else TOOK_PROFIT, False
    if intrabar == PESSIMISTIC:
        return LIQUIDATED if liquidated else STOPPED, True
    if intrabar == OPTIMISTIC:
        return TOOK_PROFIT if profited else STOPPED, True
    first, earliest = LIQUIDATED, np.inf
    if liquidated:
        earliest = path_position(opening, low, high, liquidation_price)
    if stopped:
        met = path_position(watched_open, watched_low, watched_high, stop_price)
        if met < earliest:
            first, earliest = STOPPED, met
    if profited:
        met = path_position(watched_open, watched_low, watched_high, target_price)
        if met < earliest:
            first, earliest = TOOK_PROFIT, met
    return first, True


@helper
def first_adjustment(actions: Actions, i: int) -> int:
    """Return where the adjustments of a position begin."""
    low, high = 0, actions.row.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if actions.row[middle] < i:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def realised_by_closing(kind: int, side: float, closed: float, entry_price: float, price: float) -> float:
    """Return the result of closing part of a position."""
    if kind == INVERSE:
        return (side * closed) * (1.0 / entry_price - 1.0 / price)
    return (side * closed) * (price - entry_price)


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
        side = segment.signed_side(positions, i)
        quantity, entry_price = positions.quantity[i], positions.entry_price[i]
        entry_time = positions.entry_time[i]
        stop_price, target_price = actions.stop_price[i], actions.take_profit_price[i]
        group = segment.group_of(rules, symbol, entry_time)
        kind, constant, fee = rules.kind[group], rules.constant[group], rules.fee[group]
        entry_notional = formula.notional(kind, quantity, entry_price)
        margin = segment.margin_of(positions, i, entry_notional)
        leverage = segment.leverage_of(positions, i, entry_notional)
        rows = bars.first[symbol]
        count = bars.first[symbol + 1] - rows
        start = segment.first_bar_at_or_after(bars, symbol, entry_time)
        knowable = segment.end_of_knowledge(bars, symbol, start, entry_time)
        exits = actions.exit_time[i] != NO_TIME
        end = knowable
        if exits:
            exit_bar = segment.first_bar_at_or_after(bars, symbol, actions.exit_time[i])
            exits = exit_bar < knowable
            end = min(end, exit_bar)
        paid_to = funding.first[symbol]
        made = segment.charges_until(bars, funding, symbol, start, entry_time)
        entry_funding = funding.cumulative[paid_to + made]
        put_in = margin
        paid_before = 0.0
        next_change = first_adjustment(actions, i)
        in_entry_bar = segment.falls_inside_a_bar(bars, symbol, start, entry_time)
        out.ambiguous[i] = False

        while True:  # one stretch between changes each time round
            entry_notional = formula.notional(kind, quantity, entry_price)
            anchored = formula.anchor(kind, side, quantity, entry_price, margin)
            reserved = formula.reserved_fee(kind, side, quantity, anchored, rules.reserved_fee[group])
            first, last = segment.own_tiers(rules, group, quantity, entry_notional, leverage)
            base = segment.constant_base(rules, group, first, last, entry_notional, leverage)
            level = reserved
            if constant:
                level = formula.constant_level(kind, quantity, base, reserved, fee)
            change_bar = count
            if next_change < adjustments and actions.row[next_change] == i:
                change_bar = segment.first_bar_at_or_after(bars, symbol, actions.time[next_change])
            until = min(end, change_bar)

            event_bar = -1
            now = entry_funding
            liquidated = stopped = profited = False
            if in_entry_bar:
                row = rows + start - 1
                liquidated = segment.triggers(
                    rules, group, first, last, side, quantity, entry_price, margin, entry_funding, base,
                    reserved, bars.low[row] if side > 0 else bars.high[row], entry_funding,
                )  # fmt: skip
                lowest, highest = watched.low[row], watched.high[row]
                stopped = lowest <= stop_price if side > 0 else highest >= stop_price
                profited = highest >= target_price if side > 0 else lowest <= target_price
                out.ambiguous[i] = liquidated or stopped or profited
                if out.ambiguous[i] and test_entry_bar:
                    event_bar = start - 1
            if event_bar < 0 and start < until:
                low, high = first, first
                if not constant:
                    low, high = segment.relevant_tiers(
                        rules, funding, group, symbol, funding.charged[rows + start], first, last, side,
                        quantity, entry_price, anchored, entry_funding, reserved,
                    )  # fmt: skip
                tree = rules.tree_long[low] if side > 0 else rules.tree_short[low]
                limit = segment.threshold(
                    rules, forest, group, low, tree, side, quantity, entry_price, margin, anchored,
                    entry_funding, level,
                )  # fmt: skip
                candidate = segment.search(forest, symbol, tree, start, until, limit)
                hit = segment.confirmed(
                    bars, funding, rules, forest, symbol, group, first, last, low, high, side, quantity,
                    entry_price, margin, anchored, entry_funding, base, reserved, level, candidate, start, until,
                )  # fmt: skip
                within = hit + 1 if hit >= 0 else until
                stop_bar = first_touch(watched, symbol, side > 0, stop_price, start, within)
                within = stop_bar + 1 if stop_bar >= 0 else within
                target_bar = first_touch(watched, symbol, side < 0, target_price, start, within)
                event_bar = target_bar if target_bar >= 0 else stop_bar if stop_bar >= 0 else hit
                liquidated = event_bar >= 0 and hit == event_bar
                stopped = event_bar >= 0 and stop_bar == event_bar
                profited = event_bar >= 0 and target_bar == event_bar
                tested = event_bar if event_bar >= 0 else until - 1
                now = funding.cumulative[paid_to + funding.charged[rows + tested]]
            if event_bar >= 0:
                break
            before_exit = exits and change_bar == end and actions.time[next_change] <= actions.exit_time[i]
            if until == end and not before_exit:
                break

            while (
                next_change < adjustments
                and actions.row[next_change] == i
                and segment.first_bar_at_or_after(bars, symbol, actions.time[next_change]) == until
                and not (exits and actions.time[next_change] > actions.exit_time[i])
            ):
                made = segment.charges_until(bars, funding, symbol, until, actions.time[next_change])
                changed_at = funding.cumulative[paid_to + made]
                closed = -actions.quantity_change[next_change]
                paid = (side * quantity) * (changed_at - entry_funding)
                realised = realised_by_closing(kind, side, closed, entry_price, bars.mark_open[rows + until])
                added = actions.margin_change[next_change]
                margin = ((margin - paid) + realised) + added
                put_in += added
                paid_before += paid
                quantity -= closed
                entry_funding = changed_at
                next_change += 1
            start = until
            in_entry_bar = False

        since = now - entry_funding
        price = formula.liquidation_price(
            kind, side, quantity, anchored, since, rules.rate, rules.amount, first, last, constant, level, fee
        )
        out.bankruptcy_price[i] = formula.or_nan(formula.bankruptcy_price(kind, side, quantity, anchored, since))
        out.tier_rate[i] = np.nan
        if event_bar >= 0:
            row = rows + event_bar
            at_entry = event_bar < start
            opening = entry_price if at_entry else bars.open[row]
            watched_open = entry_price if at_entry else watched.open[row]
            if liquidated:
                price = settle.within_bar(side, price, bars.low[row] if side > 0 else bars.high[row])
            event, decided = first_event(
                side, liquidated, stopped, profited, price, stop_price, target_price, opening, bars.low[row],
                bars.high[row], watched_open, watched.low[row], watched.high[row],
                watched.triggers_liquidation, intrabar,
            )  # fmt: skip
            out.ambiguous[i] = out.ambiguous[i] or decided
            if event == LIQUIDATED:
                fill = settle.liquidation_fill(bars, row, side, opening, price)
                out.tier_rate[i] = settle.triggering_rate(
                    rules, group, first, first, last, side, quantity, anchored, since, level,
                    entry_notional, leverage,
                )  # fmt: skip
            elif event == STOPPED:
                fill = watched_open if side * watched_open <= side * stop_price else stop_price
            else:
                fill = watched_open if side * watched_open >= side * target_price else target_price
            settle.write_close(
                out, i, event, bars.time[row], kind, side, quantity, entry_price, margin, entry_funding, now,
                paid_before, put_in, fill, rules.returned,
            )  # fmt: skip
        elif exits:
            made = segment.charges_until(bars, funding, symbol, end, actions.exit_time[i])
            settle.write_close(
                out, i, EXITED, bars.time[rows + end], kind, side, quantity, entry_price, margin, entry_funding,
                funding.cumulative[paid_to + made], paid_before, put_in, bars.mark_open[rows + end],
                rules.returned,
            )  # fmt: skip
        else:
            known = knowable == count
            settle.write_unfinished(
                out, i, OPEN if known else UNKNOWN, NO_TIME if known else bars.time[rows + end], side, quantity,
                entry_funding, now, paid_before,
            )  # fmt: skip
        out.liquidation_price[i] = formula.or_nan(price)
