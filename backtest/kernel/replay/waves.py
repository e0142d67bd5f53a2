"""Waves of liquidations: positions that a bar's extreme triggers, and the mark's moves in between."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import ContractKind, OutcomeCode, WaveOrder
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.replay.adl import deleverage
from backtest.kernel.replay.codes import CHOSEN, HELD, NO_EVENT
from backtest.kernel.replay.holder_actions import close_by_holder, price_columns
from backtest.kernel.replay.procedure import liquidate
from backtest.kernel.replay.state import NEED_END, World, factor, rate_at, sign, terms, triggers_at, units, whole
from backtest.kernel.replay.trigger_queues import bucket_of, in_order, settled_first
from backtest.kernel.sweep.intrabar import first_event

#: Parts of a bar that are no leg: all of it, its opening, all as if it came after an entry, the close after one.
WHOLE_BAR, OPENING_ALONE, SINCE_ENTRY, CLOSE_AFTER_ENTRY = -1, -2, -3, -4


@part
def evaluate(w: World, i: int, row: int, leg: int, now: float) -> int:
    """Return what happens first to a position in a bar (or ``NO_EVENT``) and note its prices.

    ``leg`` is the side being walked, 0 the low one: something must happen on it; or which part of the bar counts.
    """
    if leg >= 0 and w.book[i]["opening_only"] == row:
        return NO_EVENT
    own = terms(w.groups, w.tiers, w.book, i)
    g = factor(w.symbols, own.symbol)
    low, high, opening = w.bars[row]["low"] * g, w.bars[row]["high"] * g, w.bars[row]["open"] * g
    seen_low, seen_high, seen_open = (
        w.bars[row]["watched_low"] * g,
        w.bars[row]["watched_high"] * g,
        w.bars[row]["watched_open"] * g,
    )
    if leg in (SINCE_ENTRY, CLOSE_AFTER_ENTRY):
        opening = seen_open = own.entry_price
    if leg == CLOSE_AFTER_ENTRY:
        low = high = w.bars[row]["close"] * g
        seen_low = seen_high = w.bars[row]["watched_close"] * g
    elif leg == OPENING_ALONE:
        low = high = opening
        seen_low = seen_high = seen_open
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
        return NO_EVENT
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
    if event == OutcomeCode.LIQUIDATED:
        w.book[i]["tier_rate"] = rate_at(w.groups, w.tiers, own, now)
    w.book[i]["event"] = event
    return event


@part
def trigger(w: World, i: int, row: int, moment: int, tau: float, now: float) -> None:
    """Liquidate a position that triggered at a price, in the bar ``moment``."""
    held, base = w.book[i], tau
    if w.settings[0]["replaced"] != 0:
        fill = w.bars[moment]["fill_long"] if held["side"] == 0 else w.bars[moment]["fill_short"]
        base = fill * factor(w.symbols, whole(held["symbol"]))
    if held["triggered_row"] != row:
        notional = formula.notional(w.groups[held["group"]]["kind"], held["quantity"], tau)
        w.steps[row]["triggered"][held["side"]] += units(notional * w.settings[0]["unit"])
        w.book[i]["triggered_row"] = row
    w.book[i]["status"] = HELD
    liquidate(w, i, row, moment, tau, base, now)


@part
def handle(w: World, i: int, row: int, moment: int, entry_bar: bool, now: float) -> None:
    """Carry out what was found to happen to a position."""
    held = w.book[i]
    y, s = whole(held["symbol"]), sign(whole(held["side"]))
    g = factor(w.symbols, y)
    event = whole(held["event"])
    opening = held["entry_price"] if entry_bar else w.bars[moment]["open"] * g
    seen_open = held["entry_price"] if entry_bar else w.bars[moment]["watched_open"] * g
    if event == OutcomeCode.LIQUIDATED:
        price = held["liquidation_price"]
        trigger(w, i, row, moment, opening if s * opening <= s * price else price, now)
        return
    if event == OutcomeCode.STOPPED:
        stop = held["stop_price"]
        fill = seen_open if s * seen_open <= s * stop else stop
    else:
        target = held["take_profit_price"]
        fill = seen_open if s * seen_open >= s * target else target
    close_by_holder(w, i, row, moment, event, fill, now)


@part
def collect_queue(w: World, queue: int, x: float, row: int, leg: int, now: float, found: int) -> int:
    """Choose the positions of a queue that a bar's X triggers."""
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
                if event != NO_EVENT:
                    w.book[i]["status"] = CHOSEN
                    w.wave[found]["i"], w.wave[found]["id"] = i, w.book[i]["id"]
                    w.wave[found]["key"] = wave_key(w, i, event)
                    found += 1
            node = w.nodes[node]["next"]
    return found


@part
def wave_key(w: World, i: int, event: int) -> float:
    """Return what orders a wave: holders' own closes first, then liquidations by the rule."""
    if event != OutcomeCode.LIQUIDATED:
        return np.inf
    held = w.book[i]
    order = w.settings[0]["order"]
    if order == WaveOrder.ID:
        return 0.0
    price = held["liquidation_price"]
    if order == WaveOrder.LARGEST:
        return formula.notional(w.groups[held["group"]]["kind"], held["quantity"], price)
    return sign(whole(held["side"])) * price


@part
def collect(w: World, y: int, side: int, row: int, now: float) -> int:
    """Choose the positions triggered on one side of a bar, and return their number."""
    g = factor(w.symbols, y)
    worst = (w.bars[row]["low"] if side == 0 else w.bars[row]["high"]) * g
    if w.symbols[y]["kind"] == ContractKind.INVERSE:
        worst = 1.0 / worst
    s = sign(side)
    found = 0
    for queue in range(w.symbols[y]["queue"][side], w.symbols[y]["queue"][side + 1]):
        x = w.queues[queue]["slope"] * worst - s * now
        found = collect_queue(w, queue, x, row, side, now, found)
    if w.settings[0]["orders"] != 0:
        watched = w.bars[row]["watched_low"] * g if side == 0 else -(w.bars[row]["watched_high"] * g)
        found = collect_queue(w, w.symbols[y]["queue"][2 + side], watched, row, side, now, found)
    return found


@helper
def reaches(w: World, y: int, side: int, row: int, now: float) -> bool:
    """Return whether a bar's extreme may reach anything on one side; most bars reach nothing."""
    g, buckets = factor(w.symbols, y), w.settings[0]["buckets"]
    worst = (w.bars[row]["low"] if side == 0 else w.bars[row]["high"]) * g
    if w.symbols[y]["kind"] == ContractKind.INVERSE:
        worst = 1.0 / worst
    for queue in range(w.symbols[y]["queue"][side], w.symbols[y]["queue"][side + 1]):
        if w.queues[queue]["count"] > 0:
            x = w.queues[queue]["slope"] * worst - sign(side) * now
            if w.queues[queue]["first"] <= bucket_of(w.queues, queue, x, buckets):
                return True
    if w.settings[0]["orders"] != 0:
        queue = w.symbols[y]["queue"][2 + side]
        x = w.bars[row]["watched_low"] * g if side == 0 else -(w.bars[row]["watched_high"] * g)
        return w.queues[queue]["count"] > 0 and w.queues[queue]["first"] <= bucket_of(w.queues, queue, x, buckets)
    return False


@part
def move_mark(w: World, y: int, side: int, row: int, executed: float) -> None:
    """Move the mark by the executed notional (less the part undone), within the bounds of its offset."""
    strength = w.settings[0]["mark"]
    if strength > 0.0 and executed != 0.0:
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
    most = w.settings[0]["waves"]
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
            other = whole(w.book[i]["side"])
            if other != side and w.book[i]["event"] == OutcomeCode.LIQUIDATED:
                before += pass_on(w, y, side, row, now)
                liquidate_across(w, i, row, now)
                continue
            handle(w, i, row, row, False, now)
            if w.counters[NEED_END] > w.needs.shape[0] - 4:
                before += pass_on(w, y, side, row, now)
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
    w.steps[row]["waves"] += waves
    pass_on(w, y, side, row, now)


@part
def liquidate_across(w: World, i: int, row: int, now: float) -> None:
    """Liquidate a position met on the other leg: orders, first wave and residual are its own side's."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    before = w.symbols[y]["executed"][side]
    handle(w, i, row, row, False, now)
    executed = w.symbols[y]["executed"][side] - before
    w.steps[row]["first_wave"] += units(executed * w.settings[0]["unit"])
    move_mark(w, y, side, row, executed)
    pass_on(w, y, side, row, now)


@part
def pass_on(w: World, y: int, side: int, row: int, now: float) -> float:
    """Run ADL for the residual; return the notional left over and sold in the book.

    That has moved the mark already, and belongs to no wave.
    """
    sold = sell_needs(w, y, side, row, now)
    move_mark(w, y, side, row, sold)
    return sold


@part
def sell_needs(w: World, y: int, side: int, row: int, now: float) -> float:
    """Run ADL for the residual at the bar's worst price; return the notional left over and sold."""
    if w.counters[NEED_END] == 0:
        return 0.0
    mark = (w.bars[row]["low"] if side == 0 else w.bars[row]["high"]) * factor(w.symbols, y)
    w.symbols[y]["mark"] = mark
    before = w.symbols[y]["executed"][side]
    deleverage(w, y, side, row, mark, now)
    return w.symbols[y]["executed"][side] - before
