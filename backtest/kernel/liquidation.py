"""What happens to one position once it is to be liquidated: orders, takeover, release, settlement."""

from __future__ import annotations

import numpy as np

from backtest.kernel import formula, place, segment
from backtest.kernel.arrays import BY_LEVERAGE, MARGINAL
from backtest.kernel.compile import helper, part
from backtest.kernel.ledger import note, rekey
from backtest.kernel.orders import deleverages, lots_within, need_of_position, quantity_of, sell, take_over
from backtest.kernel.segment import Segment
from backtest.kernel.standing import place_orders, unqueue
from backtest.kernel.waterfall import (
    ALL,
    DONE,
    FRACTION,
    HELD,
    LOCKED,
    NEED_END,
    NEED_FIRST,
    RELEASED,
    THEN_TAKEOVER,
    TIER,
    TO_TAKEOVER,
    TRIGGERED,
    WAITS,
    World,
    equity_at,
    requirement_at,
    rules_of,
    terms,
    unrealised,
    whole,
)

#: Orders close at least this share of the quantity at the trigger: impact could make them ever smaller.
SMALLEST_STEP = 0.001


@part
def release(w: World, i: int, row: int, bar: int, tau: float, now: float) -> None:
    """Give a position back to its holder."""
    w.book[i]["status"] = HELD
    w.book[i]["start"] = bar
    rekey(w, i)
    if w.settings[0]["restore_orders"] != 0 and w.settings[0]["orders"] != 0:
        place_orders(w, i)
    else:
        w.book[i]["stop_price"] = np.nan
        w.book[i]["take_profit_price"] = np.nan
    if i == w.settings[0]["trace"]:
        note(w, i, row, RELEASED, tau, 0.0, now, tau)


@part
def wait(w: World, i: int, row: int, tau: float, now: float) -> None:
    """Leave a position's orders for the next opening, behind those that wait already."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    w.book[i]["following"] = -1
    if w.symbols[y]["waiting_first"][side] < 0:
        w.symbols[y]["waiting_first"][side] = i
    else:
        w.book[w.symbols[y]["waiting_last"][side]]["following"] = i
    w.symbols[y]["waiting_last"][side] = i
    if i == w.settings[0]["trace"]:
        note(w, i, row, WAITS, tau, 0.0, now, tau)


@part
def step_lots(w: World, i: int, partial: bool, tau: float, base: float, now: float) -> int:
    """Return how many lots the next order is to close."""
    lots = w.book[i]["lots"]
    step = w.settings[0]["step"]
    if not partial or step == ALL:
        return lots
    if step == FRACTION:
        wanted = whole(np.ceil(w.book[i]["begun"] * w.settings[0]["step_fraction"]))
        return min(lots, max(whole(1), wanted))
    own = terms(w.groups, w.tiers, w.book, i)
    wanted = tier_lots(w, own, lots, tau) if step == TIER else enough_lots(w, own, lots, tau, base, now)
    least = whole(np.ceil(w.book[i]["begun"] * SMALLEST_STEP))
    return min(lots, max(wanted, least))


@part
def tier_lots(w: World, own: Segment, lots: int, tau: float) -> int:
    """Return how many lots lead down one tier; all in the lowest."""
    rules, group = rules_of(w.groups, w.tiers), own.group
    keyed = rules.keyed_by[group]
    if keyed == BY_LEVERAGE:
        return lots
    size = place.table_size(rules, group, own.quantity, own.entry_notional)
    if keyed == MARGINAL and not own.constant:
        size = formula.notional(own.kind, own.quantity, tau)
    tier = place.flat_tier(rules, group, size)
    if tier == rules.tier_first[group]:
        return lots
    kept = whole(np.floor(lots * (rules.floor[tier] / size)))
    if rules.higher[group]:
        kept -= 1
    return min(lots, max(whole(1), lots - max(kept, whole(0))))


@part
def healthy(w: World, own: Segment, tau: float, now: float) -> bool:
    """Return whether equity at the mark exceeds what ends a procedure."""
    equity = equity_at(own, tau, now)
    needed = requirement_at(w.tiers, own, tau)
    if w.settings[0]["until"] != 0:
        needed = max(needed, formula.notional(own.kind, own.quantity, tau) / own.leverage)
    return equity > needed


@part
def enough_lots(w: World, own: Segment, lots: int, tau: float, base: float, now: float) -> int:
    """Return the fewest lots whose closing at the order's price leaves a position healthy; all if none does."""
    low, high = whole(1), lots
    paid = (own.side * own.quantity) * (now - own.entry_funding)
    while low < high:
        middle = (low + high) >> 1
        closed = own.quantity * (middle / lots)
        margin = (own.margin - paid) + unrealised(own.kind, own.side, closed, own.entry_price, base)
        margin -= w.settings[0]["liquidation_fee_rate"] * formula.notional(own.kind, closed, base)
        left = segment.begin(
            rules_of(w.groups, w.tiers), own.group, own.symbol, own.side, own.quantity * ((lots - middle) / lots),
            own.entry_price, margin, own.leverage, now,
        )  # fmt: skip
        if healthy(w, left, tau, now):
            high = middle
        else:
            low = middle + 1
    return low


@part
def liquidate(w: World, i: int, row: int, moment: int, tau: float, base: float, now: float) -> None:
    """Send a position's orders until it is closed, given back, or must wait for the next opening."""
    settings = w.settings[0]
    y = whole(w.book[i]["symbol"])
    bar = row - w.symbols[y]["first"]
    if w.book[i]["status"] != LOCKED:
        unqueue(w, i)
        w.book[i]["status"] = LOCKED
        w.book[i]["begun"] = w.book[i]["lots"]
        w.book[i]["rounds"] = 0
        w.book[i]["done"] = 0.0
        if i == settings["trace"]:
            note(w, i, row, TRIGGERED, tau, 0.0, now, tau)
    if w.book[i]["spent_bar"] != bar:
        w.book[i]["spent_bar"], w.book[i]["spent"] = bar, 0
    own = terms(w.groups, w.tiers, w.book, i)
    partial = settings["step"] != ALL and own.entry_notional >= settings["partial_from"]
    endless = settings["rounds"] == 0
    while True:
        if not endless and w.book[i]["rounds"] >= settings["rounds"]:
            own = terms(w.groups, w.tiers, w.book, i)
            if equity_at(own, tau, now) > requirement_at(w.tiers, own, tau):
                release(w, i, row, bar, tau, now)
                return
            if settings["last"] == THEN_TAKEOVER:
                last_resort(w, i, row, moment, tau, base, now)
                return
            partial, endless = False, True
        if w.book[i]["spent"] >= w.symbols[y]["rounds"]:
            wait(w, i, row, tau, now)
            return
        lots = step_lots(w, i, partial, tau, base, now)
        if partial and settings["slices"] == TO_TAKEOVER:
            if not take_over(w, i, row, moment, lots, tau, base, now):
                no_room(w, i, row, tau, base, now)
                return
        else:
            notional = formula.notional(own.kind, quantity_of(w, i, lots), base)
            if notional > settings["order_notional"]:
                lots = max(whole(1), whole(np.floor(lots * (settings["order_notional"] / notional))))
                notional = formula.notional(own.kind, quantity_of(w, i, lots), base)
            lots = lots_within(w, y, lots, notional)
            if lots > 0:
                sell(w, i, row, moment, lots, tau, base, now, True)
        w.book[i]["rounds"] += 1
        w.book[i]["spent"] += 1
        if w.book[i]["status"] == DONE or needs_counterparties(w, i):
            return
        if lots == 0 and endless:
            wait(w, i, row, tau, now)
            return
        if partial and lots > 0 and healthy(w, terms(w.groups, w.tiers, w.book, i), tau, now):
            release(w, i, row, bar, tau, now)
            return


@helper
def needs_counterparties(w: World, i: int) -> bool:
    """Return whether the newest need is this position's."""
    last = w.counters[NEED_END] - 1
    return last >= w.counters[NEED_FIRST] and w.needs[last]["who"] == i


@part
def last_resort(w: World, i: int, row: int, moment: int, tau: float, base: float, now: float) -> None:
    """Take over what is left of a position."""
    if not take_over(w, i, row, moment, w.book[i]["lots"], tau, base, now):
        no_room(w, i, row, tau, base, now)


@part
def no_room(w: World, i: int, row: int, tau: float, base: float, now: float) -> None:
    """Pass what the backstop had no room for to counterparties, or wait where there is no deleveraging."""
    if deleverages(w):
        need_of_position(w, i, w.book[i]["lots"], tau, base, now)
    else:
        wait(w, i, row, tau, now)
