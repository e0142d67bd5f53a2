"""The replay: a book, a fund and a market stepped bar by bar, in the order ``docs/replay.md`` tells.

One loop over the bars of all symbols in order of time. Nothing is looked at twice that cannot have changed:
waiting positions lie in the bucket queues of :mod:`~backtest.kernel.queues`; entries, exits and adjustments come
sorted by the bar they take effect in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel import formula, place, segment
from backtest.kernel.arrays import (
    EXITED,
    LIQUIDATED,
    NO_TIME,
    OPEN,
    STOPPED,
    TOOK_PROFIT,
    UNKNOWN,
    Bars,
    Funding,
    Positions,
    Rules,
)
from backtest.kernel.compile import helper, kernel, part
from backtest.kernel.deleverage import deleverage
from backtest.kernel.ledger import (
    charge_trading_fee,
    cover,
    note,
    open_trade,
    pay_funding,
    post,
    rekey,
    stock_move,
    to_fund,
)
from backtest.kernel.lifecycle import Actions, first_event
from backtest.kernel.liquidation import conclude, enlist, liquidate, place_orders, unqueue, unwind
from backtest.kernel.queues import bucket_of, in_order, settled_first
from backtest.kernel.types import INVERSE, Codes, Flags, Floats, Integers
from backtest.kernel.waterfall import (
    ADJUSTED,
    AT_ONCE,
    BY_ID,
    BY_LARGEST,
    CHOSEN,
    DONE,
    DROPPED,
    ENTERED,
    FULL,
    FUND,
    FUND_DROP,
    HELD,
    HOLD,
    HOLDER_CLOSED,
    LOCKED,
    LOST_SIGHT,
    MARKET,
    NEED_END,
    OWNERS,
    REDUCED,
    TRADERS,
    WAITING,
    WINDOW_END,
    WINDOW_FIRST,
    Records,
    World,
    factor,
    liquidation_price_at,
    rate_at,
    sign,
    terms,
    triggers_at,
    units,
    unrealised,
    value,
    whole,
)


class Agenda(NamedTuple):
    """What happens at which opening, and the order bars are stepped in."""

    rows: Integers  #: (rows,) all bars in order of time, ties by symbol
    symbol: Codes  #: (rows,) of each row of bars
    after_gap: Flags  #: (rows,) opens after a long gap
    entry_first: Integers  #: (rows + 2,) into ``entry``; the last range enters after the last bar
    entry: Codes
    exit_first: Integers
    exit: Codes
    change_first: Integers
    change: Codes
    change_owner: Integers  #: (adjustments,) position of each
    change_made: Integers  #: (adjustments,) charges at or before it, absolute
    margin_change: Floats
    quantity_change: Floats
    deposit_time: Integers
    deposit: Integers  #: units


@kernel
def survey_entries(
    bars: Bars, funding: Funding, rules: Rules, positions: Positions, actions: Actions, book: Records,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write down where positions [start, stop) enter the market and when they plan to leave it."""
    for i in range(start, stop):
        y = whole(positions.symbol[i])
        entry_time, entry_price, quantity = (
            positions.entry_time[i],
            positions.entry_price[i],
            positions.quantity[i],
        )
        group = place.group_of(rules, y, entry_time)
        first_bar = place.first_bar_at_or_after(bars, y, entry_time)
        notional = formula.notional(rules.kind[group], quantity, entry_price)
        book[i]["quantity"], book[i]["entry_price"] = quantity, entry_price
        book[i]["margin"] = place.margin_of(positions, i, notional)
        book[i]["leverage"] = place.leverage_of(positions, i, notional)
        book[i]["stop_price"], book[i]["take_profit_price"] = actions.stop_price[i], actions.take_profit_price[i]
        book[i]["group"], book[i]["symbol"], book[i]["side"] = group, y, positions.side[i]
        book[i]["start"] = first_bar
        book[i]["made"] = funding.first[y] + place.charges_until(bars, funding, y, first_bar, entry_time)
        count = bars.first[y + 1] - bars.first[y]
        book[i]["lost"] = first_bar < count and place.end_of_knowledge(bars, y, first_bar, entry_time) == first_bar
        book[i]["inside"] = place.falls_inside_a_bar(bars, y, first_bar, entry_time)
        book[i]["exit_bar"] = count
        if actions.exit_time[i] != NO_TIME:
            exit_bar = place.first_bar_at_or_after(bars, y, actions.exit_time[i])
            book[i]["exit_bar"] = exit_bar
            book[i]["exit_made"] = funding.first[y] + place.charges_until(
                bars, funding, y, exit_bar, actions.exit_time[i]
            )
        book[i]["share"] = 1.0
        book[i]["spent_bar"], book[i]["extra"], book[i]["tier_rate"] = -1, -1, np.nan


@kernel
def place_changes(
    bars: Bars, funding: Funding, actions: Actions, book: Records, at: Integers, made: Integers
) -> None:
    """Write the row at which each adjustment takes effect (-1: never) and the charges made by then."""
    for j in range(actions.row.shape[0]):
        i = actions.row[j]
        y = whole(book[i]["symbol"])
        bar = place.first_bar_at_or_after(bars, y, actions.time[j])
        count = bars.first[y + 1] - bars.first[y]
        late = bar == count or (actions.exit_time[i] != NO_TIME and actions.time[j] > actions.exit_time[i])
        at[j] = -1 if late else bars.first[y] + bar
        made[j] = funding.first[y] + place.charges_until(bars, funding, y, bar, actions.time[j])


@kernel
def sort_by_row(at: Integers, first: Integers, order: Codes, rows: int) -> None:
    """Write entries ordered by row, ties in their own order, and where each row's begin; below 0: left out."""
    for j in range(at.shape[0]):
        if at[j] >= 0:
            first[at[j] + 1] += 1
    for row in range(rows):
        first[row + 1] += first[row]
    for j in range(at.shape[0]):
        if at[j] >= 0:
            order[first[at[j]]] = j
            first[at[j]] += 1
    for row in range(rows, 0, -1):
        first[row] = first[row - 1]
    first[0] = 0


@part
def tested_funding(w: World, i: int, row: int) -> float:
    """Return cumulative funding at the last tested bar before a row, at the segment's start if there is none."""
    held = w.book[i]
    y = whole(held["symbol"])
    bar = row - w.symbols[y]["first"]
    if bar - 1 < held["start"]:
        return held["entry_funding"]
    return w.charges[w.symbols[y]["funding_first"] + w.bars[row - 1]["charged"]]["cumulative"]


@part
def price_columns(w: World, i: int, now: float) -> float:
    """Note liquidation and bankruptcy price at a funding, and return the first."""
    own = terms(w.groups, w.tiers, w.book, i)
    price = liquidation_price_at(w.groups, w.tiers, own, now)
    w.book[i]["liquidation_price"] = price
    w.book[i]["bankruptcy_price"] = segment.bankruptcy_price(own, now)
    return price


@part
def evaluate(w: World, i: int, row: int, leg: int, now: float) -> int:
    """Return what happens first to a position in a bar (255: nothing) and note its prices.

    ``leg`` is the side being walked, 0 the low one: something must happen on it. In an entry bar it is -1.
    """
    own = terms(w.groups, w.tiers, w.book, i)
    g = factor(w.symbols, own.symbol)
    low, high, opening = w.bars[row]["low"] * g, w.bars[row]["high"] * g, w.bars[row]["open"] * g
    seen_low, seen_high, seen_open = (
        w.bars[row]["watched_low"] * g,
        w.bars[row]["watched_high"] * g,
        w.bars[row]["watched_open"] * g,
    )
    if leg < 0:
        opening = seen_open = own.entry_price
    stop, target = w.book[i]["stop_price"], w.book[i]["take_profit_price"]
    worst = low if own.side > 0 else high
    liquidated = triggers_at(w.groups, w.tiers, own, worst, now)
    stopped = seen_low <= stop if own.side > 0 else seen_high >= stop
    profited = seen_high >= target if own.side > 0 else seen_low <= target
    losing, winning = liquidated or stopped, profited
    if leg >= 0:
        own_leg = (leg == 0) == (own.side > 0)
        losing, winning = losing and own_leg, winning and not own_leg
    if not (losing or winning):
        return 255
    price = price_columns(w, i, now)
    if liquidated:
        price = max(price, worst) if own.side > 0 else min(price, worst)
        w.book[i]["liquidation_price"] = price
    event, decided = first_event(
        own.side, liquidated, stopped, profited, price, stop, target, opening, low, high, seen_open, seen_low,
        seen_high, w.settings[0]["same_series"] != 0, w.settings[0]["intrabar"],
    )  # fmt: skip
    w.book[i]["ambiguous"] = w.book[i]["ambiguous"] or decided
    w.book[i]["tier_rate"] = np.nan
    if event == LIQUIDATED:
        w.book[i]["tier_rate"] = rate_at(w.groups, w.tiers, own, now)
    w.book[i]["event"] = event
    return event


@part
def close_by_holder(w: World, i: int, row: int, moment: int, outcome: int, price: float, now: float) -> None:
    """Close a position at its holder's wish."""
    own = terms(w.groups, w.tiers, w.book, i)
    unit = w.settings[0]["unit"]
    unqueue(w, i)
    paid = pay_funding(w, i, now)
    received = units((own.side * own.quantity) * value(own.kind, price) * unit)
    post(w.cash, MARKET, TRADERS, received)
    stock_move(w, own.symbol, 0, 1, whole(own.side) * w.book[i]["lots"])
    w.book[i]["balance"] += received
    w.book[i]["lots"] = 0
    w.book[i]["paid"] += paid
    w.book[i]["equity"] = formula.equity(
        own.kind, own.side, own.quantity, own.entry_price, own.margin, own.entry_funding, price, now
    )
    w.book[i]["fill_price"] = price
    w.book[i]["fill_notional"] = formula.notional(own.kind, own.quantity, price)
    charge_trading_fee(w, i, row, w.book[i]["fill_notional"])
    if w.book[i]["balance"] < 0:
        cover(w, i, row, -w.book[i]["balance"], whole(0))
    if i == w.settings[0]["trace"]:
        note(w, i, row, HOLDER_CLOSED, price, own.quantity, now, price)
    conclude(w, i, moment, outcome)


@part
def handle(w: World, i: int, row: int, moment: int, entry_bar: bool, now: float) -> None:
    """Carry out what was found to happen to a position."""
    held = w.book[i]
    y, s = whole(held["symbol"]), sign(whole(held["side"]))
    g = factor(w.symbols, y)
    event = whole(held["event"])
    opening = held["entry_price"] if entry_bar else w.bars[moment]["open"] * g
    seen_open = held["entry_price"] if entry_bar else w.bars[moment]["watched_open"] * g
    if event == LIQUIDATED:
        price = held["liquidation_price"]
        tau = opening if s * opening <= s * price else price
        base = tau
        if w.settings[0]["replaced"] != 0:
            base = (w.bars[moment]["fill_long"] if s > 0 else w.bars[moment]["fill_short"]) * g
        notional = formula.notional(w.groups[held["group"]]["kind"], held["quantity"], tau)
        w.steps[row]["triggered"][held["side"]] += units(notional * w.settings[0]["unit"])
        w.book[i]["status"] = HELD
        liquidate(w, i, row, moment, tau, base, now)
        return
    if event == STOPPED:
        stop = held["stop_price"]
        fill = seen_open if s * seen_open <= s * stop else stop
    else:
        target = held["take_profit_price"]
        fill = seen_open if s * seen_open >= s * target else target
    close_by_holder(w, i, row, moment, event, fill, now)


@part
def enter(w: World, i: int, row: int, late: bool) -> None:
    """Open a position, and settle what its entry bar did where that is tested."""
    y = whole(w.book[i]["symbol"])
    g = factor(w.symbols, y)
    kind = w.groups[w.book[i]["group"]]["kind"]
    if g != 1.0:
        w.book[i]["entry_price"] *= g
        w.book[i]["margin"] = w.book[i]["margin"] / g if kind == INVERSE else w.book[i]["margin"] * g
        w.book[i]["stop_price"] *= g
        w.book[i]["take_profit_price"] *= g
    w.book[i]["entry_funding"] = w.charges[w.book[i]["made"]]["cumulative"]
    w.book[i]["status"] = HELD
    enlist(w, i)
    open_trade(w, i, row)
    now = w.book[i]["entry_funding"]
    if i == w.settings[0]["trace"]:
        note(w, i, row, ENTERED, w.book[i]["entry_price"], w.book[i]["quantity"], now, w.book[i]["entry_price"])
    if w.book[i]["inside"]:
        before = w.symbols[y]["first"] + w.book[i]["start"] - 1
        event = evaluate(w, i, before, -1, now)
        w.book[i]["ambiguous"] = event != 255
        w.book[i]["tier_rate"] = np.nan if w.settings[0]["test_entry_bar"] == 0 else w.book[i]["tier_rate"]
        if event != 255 and w.settings[0]["test_entry_bar"] != 0:
            handle(w, i, row, before, True, now)
            side = whole(w.book[i]["side"])
            deleverage(
                w, y, side, row, w.bars[row]["open"] * g, w.charges[w.symbols[y]["funding_now"]]["cumulative"]
            )
            return
    if late:
        return
    if w.book[i]["lost"]:
        lose_sight(w, i, row)
        return
    rekey(w, i)
    place_orders(w, i)


@part
def lose_sight(w: World, i: int, row: int) -> None:
    """End a position whose further life cannot be known."""
    now = tested_funding(w, i, row)
    if w.book[i]["status"] != LOCKED:
        unqueue(w, i)
    price_columns(w, i, now)
    if i == w.settings[0]["trace"]:
        note(w, i, row, LOST_SIGHT, w.bars[row]["open"], 0.0, now, w.bars[row]["open"])
    own = w.book[i]
    signed = sign(whole(own["side"])) * own["quantity"]
    w.book[i]["paid"] += signed * (now - own["entry_funding"])
    pay_funding(w, i, now)
    w.book[i]["entry_funding"] = now
    w.book[i]["outcome"] = UNKNOWN
    w.book[i]["time"] = w.bars[row]["time"]
    w.book[i]["status"] = DONE


@part
def lose_all(w: World, y: int, row: int) -> None:
    """End every open position of a symbol: too much of its history is missing."""
    for side in range(2):
        first = w.symbols[y]["member_first"][side]
        for at in range(first, first + w.symbols[y]["member_count"][side]):
            if w.book[w.members[at]]["status"] != DONE:
                lose_sight(w, whole(w.members[at]), row)
        w.symbols[y]["member_count"][side] = 0
        w.symbols[y]["waiting_first"][side] = -1


@part
def adjust(w: World, agenda: Agenda, j: int, row: int) -> None:
    """Change a position's margin, or close a part of it at the opening."""
    i = agenda.change_owner[j]
    if w.book[i]["status"] != HELD:
        return
    own = terms(w.groups, w.tiers, w.book, i)
    unit = w.settings[0]["unit"]
    price = w.bars[row]["mark_open"] * factor(w.symbols, own.symbol)
    now = w.charges[agenda.change_made[j]]["cumulative"]
    share = w.book[i]["share"]
    closed, added = -agenda.quantity_change[j] * share, agenda.margin_change[j] * share
    paid = pay_funding(w, i, now)
    realised = unrealised(own.kind, own.side, closed, own.entry_price, price)
    if closed > 0.0:
        lots = w.book[i]["lots"]
        sold = min(lots - 1, whole(np.rint(lots * (closed / own.quantity))))
        received = units((own.side * closed) * value(own.kind, price) * unit)
        post(w.cash, MARKET, TRADERS, received)
        stock_move(w, own.symbol, 0, 1, whole(own.side) * sold)
        w.book[i]["balance"] += received
        w.book[i]["lots"] = lots - sold
        charge_trading_fee(w, i, row, formula.notional(own.kind, closed, price))
    change = units(added * unit)
    w.book[i]["balance"] += change
    w.book[i]["pocket"] -= change
    w.book[i]["paid"] += paid
    w.book[i]["quantity"] = own.quantity - closed
    w.book[i]["margin"] = ((own.margin - paid) + realised) + added
    w.book[i]["entry_funding"] = now
    w.book[i]["start"] = row - w.symbols[own.symbol]["first"]
    rekey(w, i)
    if i == w.settings[0]["trace"]:
        note(w, i, row, ADJUSTED, price, closed, now, price)


@part
def leave_as_planned(w: World, i: int, row: int) -> None:
    """Close a position at its planned exit, at the opening mark price."""
    if w.book[i]["status"] == HELD:
        price = w.bars[row]["mark_open"] * factor(w.symbols, w.book[i]["symbol"])
        price_columns(w, i, tested_funding(w, i, row))
        w.book[i]["tier_rate"] = np.nan
        close_by_holder(w, i, row, row, EXITED, price, w.charges[w.book[i]["exit_made"]]["cumulative"])


@part
def collect_queue(w: World, queue: int, x: float, row: int, leg: int, now: float, found: int) -> int:
    """Choose the positions of a queue that a bar's X reaches and to which something happens."""
    buckets = w.settings[0]["buckets"]
    if w.queues[queue]["count"] == 0:
        return found
    last = bucket_of(w.queues, queue, x, buckets)
    if w.queues[queue]["first"] > last:
        return found
    first = settled_first(w.heads, w.queues, buckets, queue, last)
    for bucket in range(first, last + 1):
        node = w.heads[queue * buckets + bucket]
        while node >= 0:
            i = whole(w.nodes[node]["owner"])
            if w.nodes[node]["theta"] >= x and w.book[i]["status"] == HELD:
                event = evaluate(w, i, row, leg, now)
                if event != 255:
                    w.book[i]["status"] = CHOSEN
                    w.wave[found]["i"], w.wave[found]["id"] = i, w.book[i]["id"]
                    w.wave[found]["key"] = wave_key(w, i, event)
                    found += 1
            node = w.nodes[node]["next"]
    return found


@part
def wave_key(w: World, i: int, event: int) -> float:
    """Return what orders a wave: holders' own closes first, then liquidations by the rule."""
    if event != LIQUIDATED:
        return np.inf
    held = w.book[i]
    order = w.settings[0]["order"]
    if order == BY_ID:
        return 0.0
    price = held["liquidation_price"]
    if order == BY_LARGEST:
        return formula.notional(w.groups[held["group"]]["kind"], held["quantity"], price)
    return sign(whole(held["side"])) * price


@part
def collect(w: World, y: int, side: int, row: int, now: float) -> int:
    """Choose the positions to which something happens on one side of a bar, and return how many they are."""
    g = factor(w.symbols, y)
    worst = (w.bars[row]["low"] if side == 0 else w.bars[row]["high"]) * g
    if w.symbols[y]["kind"] == INVERSE:
        worst = 1.0 / worst
    s = sign(side)
    found = 0
    for queue in range(w.symbols[y]["queue"][side], w.symbols[y]["queue"][side + 1]):
        x = w.queues[queue]["slope"] * worst - s * now
        found = collect_queue(w, queue, x, row, side, now, found)
    if w.settings[0]["base_nodes"] > w.book.shape[0]:
        watched = w.bars[row]["watched_low"] * g if side == 0 else -(w.bars[row]["watched_high"] * g)
        found = collect_queue(w, w.symbols[y]["queue"][2 + side], watched, row, side, now, found)
    return found


@part
def move_mark(w: World, y: int, side: int, row: int, executed: float) -> None:
    """Move the mark by what was executed, within the bounds of its offset."""
    strength = w.settings[0]["mark"]
    if strength > 0.0 and executed > 0.0:
        move = -sign(side) * strength * executed
        w.symbols[y]["permanent"] += move * w.settings[0]["permanent"]
        w.symbols[y]["decaying"] += move * (1.0 - w.settings[0]["permanent"])
        most = w.settings[0]["largest_offset"]
        offset = w.symbols[y]["permanent"] + w.symbols[y]["decaying"]
        if abs(offset) > most:
            w.symbols[y]["permanent"] += (most if offset > 0 else -most) - offset
            w.steps[row]["capped"] += 1
            w.steps[row]["runaway"] = 1


@part
def cross(w: World, y: int, side: int, row: int, now: float) -> None:
    """Liquidate, stop and take profit on one side of a bar, wave after wave."""
    waves, rising = 0, 0
    before, first_wave, last_wave = w.symbols[y]["executed"][side], 0.0, 0.0
    most = w.settings[0]["generations"]
    while True:
        found = collect(w, y, side, row, now)
        if found == 0:
            break
        if most > 0 and waves == most:
            for number in range(found):
                w.book[w.wave[number]["i"]]["status"] = HELD
            w.steps[row]["capped"] += found
            break
        in_order(w.wave, found)
        for number in range(found):
            i = whole(w.wave[number]["i"])
            handle(w, i, row, row, False, now)
            if w.counters[NEED_END] > w.needs.shape[0] - 4:
                pass_on(w, y, side, row, now)
        waves += 1
        executed = w.symbols[y]["executed"][side]
        wave, before = executed - before, executed
        if waves == 1:
            first_wave = wave
            w.steps[row]["first_wave"] += units(wave * w.settings[0]["unit"])
        rising = rising + 1 if wave >= last_wave > 0.0 and wave >= first_wave else 0
        if rising >= 3 and w.settings[0]["mark"] > 0.0:
            w.steps[row]["runaway"] = 1
        last_wave = wave
        move_mark(w, y, side, row, wave)
    w.steps[row]["generations"] += waves
    pass_on(w, y, side, row, now)


@part
def pass_on(w: World, y: int, side: int, row: int, now: float) -> None:
    """Deleverage for what is needed, at the bar's worst price."""
    if w.counters[NEED_END] > 0:
        mark = (w.bars[row]["low"] if side == 0 else w.bars[row]["high"]) * factor(w.symbols, y)
        w.symbols[y]["mark"] = mark
        before = w.symbols[y]["executed"][side]
        deleverage(w, y, side, row, mark, now)
        move_mark(w, y, side, row, w.symbols[y]["executed"][side] - before)


@part
def resume(w: World, y: int, row: int, now: float) -> None:
    """Send the orders that wait since earlier bars, at the opening, first in first out; then sell inventory."""
    bar = row - w.symbols[y]["first"]
    for side in range(2):
        i = whole(w.symbols[y]["waiting_first"][side])
        held = w.symbols[y]["inventory"][side]
        if i < 0 and (held == 0 or w.settings[0]["unwind"] == HOLD):
            continue
        opening = w.bars[row]["open"] * factor(w.symbols, y)
        before = w.symbols[y]["executed"][side]
        w.symbols[y]["waiting_first"][side] = -1
        while i >= 0:
            following = whole(w.nodes[i]["next"])
            liquidate(w, i, row, row, opening, opening, now)
            if w.book[i]["status"] == HELD and w.book[i]["exit_bar"] < bar:
                w.book[i]["exit_made"] = w.symbols[y]["funding_now"]
                leave_as_planned(w, i, row)
            if w.counters[NEED_END] > w.needs.shape[0] - 4:
                deleverage(w, y, side, row, opening, now)
            i = following
        deleverage(w, y, side, row, opening, now)
        held = w.symbols[y]["inventory"][side]
        if held > 0 and w.settings[0]["unwind"] != HOLD:
            lots = held
            if w.settings[0]["unwind"] != AT_ONCE:
                worth = formula.notional(w.symbols[y]["kind"], held * w.symbols[y]["lot"], opening)
                most = w.settings[0]["unwind_share"] * w.bars[row]["volume"]
                if worth > most:
                    lots = whole(np.floor(held * (most / worth)))
            if lots > 0:
                unwind(w, y, side, row, lots, opening)
                deleverage(w, y, side, row, opening, now)
        move_mark(w, y, side, row, w.symbols[y]["executed"][side] - before)


@helper
def watch_fund(w: World, row: int) -> None:
    """Note whether the fund has fallen too far within the window."""
    if w.settings[0]["adl_trigger"] != FUND_DROP:
        return
    first, end, fund = w.counters[WINDOW_FIRST], w.counters[WINDOW_END], w.cash[FUND]
    while first < end and w.window[first]["time"] < w.bars[row]["time"] - w.settings[0]["adl_window"]:
        first += 1
    while end > first and w.window[end - 1]["fund"] <= fund:
        end -= 1
    w.window[end]["time"], w.window[end]["fund"] = w.bars[row]["time"], fund
    w.counters[WINDOW_FIRST], w.counters[WINDOW_END] = first, end + 1
    highest = w.window[first]["fund"]
    w.counters[DROPPED] = 1 if fund <= highest * (1.0 - w.settings[0]["adl_drop"]) and highest > 0 else 0


@helper
def begin_bar(w: World, y: int, row: int) -> None:
    """Let the mark's offset decay, charge funding, and open the bar's capacity."""
    elapsed = w.bars[row]["time"] - w.symbols[y]["time_before"]
    if w.symbols[y]["decaying"] != 0.0:
        w.symbols[y]["decaying"] *= 0.5 ** (elapsed / w.settings[0]["half_life"])
    w.symbols[y]["time_before"] = w.bars[row]["time"]
    goal = w.symbols[y]["funding_first"] + w.bars[row]["charged"]
    if w.symbols[y]["funding_now"] < goal:
        g = factor(w.symbols, y)
        for charge in range(w.symbols[y]["funding_now"], goal):
            amount = w.charges[charge + 1]["amount"]
            amount = amount / g if w.symbols[y]["kind"] == INVERSE else amount * g
            w.charges[charge + 1]["cumulative"] = w.charges[charge]["cumulative"] + amount
        w.symbols[y]["funding_now"] = goal
    w.symbols[y]["executed"][0] = 0.0
    w.symbols[y]["executed"][1] = 0.0
    w.symbols[y]["room"] = np.inf
    if w.settings[0]["participation"] < np.inf:
        w.symbols[y]["room"] = w.settings[0]["participation"] * w.bars[row]["volume"]
    w.symbols[y]["backstop_room"] = w.settings[0]["backstop_capacity"] * (w.symbols[y]["interval"] / 3_600_000.0)
    w.symbols[y]["mark"] = w.bars[row]["mark_open"] * factor(w.symbols, y)


@helper
def pay_deposits(w: World, agenda: Agenda, row: int, paid: int) -> int:
    """Let deposits into the fund that are due, and return how many have been."""
    while paid < agenda.deposit_time.shape[0] and agenda.deposit_time[paid] <= w.bars[row]["time"]:
        to_fund(w, row, OWNERS, agenda.deposit[paid])
        paid += 1
    return paid


@kernel
def run(w: World, agenda: Agenda, first: int, stop: int, paid: int) -> int:
    """Step through bars [first, stop) of the agenda; return how many deposits have been paid."""
    for number in range(first, stop):
        row = agenda.rows[number]
        y = whole(agenda.symbol[row])
        begin_bar(w, y, row)
        paid = pay_deposits(w, agenda, row, paid)
        watch_fund(w, row)
        now = w.charges[w.symbols[y]["funding_now"]]["cumulative"]
        if agenda.after_gap[row]:
            lose_all(w, y, row)
        resume(w, y, row, now)
        for at in range(agenda.entry_first[row], agenda.entry_first[row + 1]):
            enter(w, whole(agenda.entry[at]), row, False)
        for at in range(agenda.change_first[row], agenda.change_first[row + 1]):
            adjust(w, agenda, whole(agenda.change[at]), row)
        for at in range(agenda.exit_first[row], agenda.exit_first[row + 1]):
            leave_as_planned(w, whole(agenda.exit[at]), row)
        low_first = w.bars[row]["open"] - w.bars[row]["low"] < w.bars[row]["high"] - w.bars[row]["open"]
        cross(w, y, 0 if low_first else 1, row, now)
        cross(w, y, 1 if low_first else 0, row, now)
        w.steps[row]["offset"] = w.symbols[y]["permanent"] + w.symbols[y]["decaying"]
        w.steps[row]["fund"] = w.cash[FUND]
        if w.counters[FULL] != 0:
            return paid
    return paid


@kernel
def finish(w: World, agenda: Agenda, rows: int) -> None:
    """Enter what came too late for any bar, and write what is open at the end."""
    for at in range(agenda.entry_first[rows], agenda.entry_first[rows + 1]):
        i = whole(agenda.entry[at])
        y = whole(w.book[i]["symbol"])
        enter(w, i, w.symbols[y]["first"] + w.symbols[y]["count"] - 1, True)
    for i in range(w.book.shape[0]):
        status = w.book[i]["status"]
        if status in (HELD, LOCKED):
            y = whole(w.book[i]["symbol"])
            now = tested_funding(w, i, w.symbols[y]["first"] + w.symbols[y]["count"])
            w.book[i]["tier_rate"] = np.nan
            price_columns(w, i, now)
            w.book[i]["paid"] += pay_funding(w, i, now)
            w.book[i]["entry_funding"] = now
            w.book[i]["outcome"] = REDUCED if w.book[i]["filled"] + w.book[i]["taken"] > 0.0 else OPEN
            w.book[i]["time"] = NO_TIME


__all__ = ["TOOK_PROFIT", "TRADERS", "WAITING", "Agenda", "finish", "place_changes", "run", "survey_entries"]
