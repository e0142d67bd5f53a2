"""Liquidation procedure of one position: orders, takeover, release, settlement."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import Last, OrderLimit, OrderType, Slices, Step
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay.codes import DONE, HELD, LOCKED
from backtest.kernel.replay.execution import lots_in_limit, lots_within, quantity_of, sell
from backtest.kernel.replay.ledger import note
from backtest.kernel.replay.open_positions import place_orders, unqueue
from backtest.kernel.replay.requeue import rekey
from backtest.kernel.replay.residual import deleverages, need_of_position
from backtest.kernel.replay.state import (
    NEED_END,
    NEED_FIRST,
    RELEASED,
    TRIGGERED,
    WAITS,
    World,
    equity_at,
    requirement_at,
    terms,
    whole,
)
from backtest.kernel.replay.step_size import CLEARLY, clears, ends_by_tier, healthy, step_lots
from backtest.kernel.replay.takeover import take_over

#: Rounds of a procedure that has none left.
OUT = 2**31 - 1


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


@helper
def take_control(w: World, i: int, row: int, bar: int, tau: float, now: float) -> bool:
    """Lock a position where it is not yet, and return whether its procedure begins here."""
    fresh = w.book[i]["status"] != LOCKED
    if fresh:
        unqueue(w, i)
        w.book[i]["status"] = LOCKED
        w.book[i]["begun"] = w.book[i]["lots"]
        w.book[i]["rounds"] = 0
        w.book[i]["done"] = 0.0
        if i == w.settings[0]["trace"]:
            note(w, i, row, TRIGGERED, tau, 0.0, now, tau)
    if w.book[i]["spent_bar"] != bar:
        w.book[i]["spent_bar"], w.book[i]["spent"] = bar, 0
    return fresh


@part
def liquidate(w: World, i: int, row: int, moment: int, tau: float, base: float, now: float) -> None:
    """Send a position's orders until it is closed, released, or must wait for the next open."""
    settings = w.settings[0]
    y = whole(w.book[i]["symbol"])
    bar = row - w.symbols[y]["first"]
    fresh = take_control(w, i, row, bar, tau, now)
    own = terms(w.groups, w.tiers, w.book, i)
    if not fresh and healthy(w, own, tau, now):
        release(w, i, row, bar, tau, now)
        return
    partial = settings["step"] != Step.ALL and own.entry_notional >= settings["partial_from"]
    most, endless = settings["rounds"] if settings["rounds"] > 0 else OUT, False
    while True:
        own = terms(w.groups, w.tiers, w.book, i)
        if too_thin(w, own, tau, now):
            last_resort(w, i, row, moment, tau, base, now)
            return
        if not endless and (w.book[i]["rounds"] >= most or (partial and ends_by_tier(w, own, tau))):
            if clears(own, requirement_at(w.tiers, own, tau), tau, now):
                release(w, i, row, bar, tau, now)
                return
            if settings["last"] == Last.TAKEOVER:
                last_resort(w, i, row, moment, tau, base, now)
                return
            partial, endless = False, True
        if w.book[i]["spent"] >= w.symbols[y]["rounds"]:
            wait(w, i, row, tau, now)
            return
        lots = asked = step_lots(w, i, partial, tau, base, now)
        if partial and settings["slices"] == Slices.TAKEOVER:
            if not take_over(w, i, row, moment, lots, tau, base, now):
                no_room(w, i, row, tau, base, now)
                return
        else:
            asked = within_order(w, i, lots, base)
            lots = fillable(w, i, row, asked, base, endless, now)
            if lots > 0:
                sell(w, i, row, moment, lots, tau, base, now, True)
        w.book[i]["rounds"] = min(whole(w.book[i]["rounds"]) + 1, OUT)
        w.book[i]["spent"] += 1
        if w.book[i]["status"] == DONE or needs_counterparties(w, i):
            return
        if lots < asked and not endless and settings["order_type"] != OrderType.RESTING:
            w.book[i]["rounds"] = OUT
        elif lots == 0 and (endless or settings["rounds"] == 0):
            wait(w, i, row, tau, now)
            return
        if partial and lots > 0 and healthy(w, terms(w.groups, w.tiers, w.book, i), tau, now):
            release(w, i, row, bar, tau, now)
            return


@helper
def too_thin(w: World, own: Segment, tau: float, now: float) -> bool:
    """Return whether equity is so small a share of the maintenance margin that no order is sent any more."""
    share, slack = w.settings[0]["takeover_below"], CLEARLY * formula.notional(own.kind, own.quantity, tau)
    return share > 0.0 and equity_at(own, tau, now) < share * requirement_at(w.tiers, own, tau) - slack


@helper
def within_order(w: World, i: int, lots: int, base: float) -> int:
    """Return how many of some lots one order may be of."""
    most = w.settings[0]["order_notional"]
    notional = formula.notional(whole(w.symbols[w.book[i]["symbol"]]["kind"]), quantity_of(w, i, lots), base)
    return max(whole(1), whole(np.floor(lots * (most / notional)))) if notional > most else lots


@part
def fillable(w: World, i: int, row: int, asked: int, base: float, endless: bool, now: float) -> int:
    """Return how many lots of an order are filled: as the book has room, no worse than its limit, or none."""
    y = whole(w.book[i]["symbol"])
    notional = formula.notional(whole(w.symbols[y]["kind"]), quantity_of(w, i, asked), base)
    lots = lots_within(w, y, asked, notional)
    if endless:
        return lots
    if lots > 0 and w.settings[0]["order_limit"] == OrderLimit.BANKRUPTCY:
        lots = lots_in_limit(w, i, row, lots, base, now)
    return whole(0) if lots < asked and w.settings[0]["order_type"] == OrderType.FILL_OR_KILL else lots


@helper
def needs_counterparties(w: World, i: int) -> bool:
    """Return whether the newest need is this position's."""
    last = w.counters[NEED_END] - 1
    return last >= w.counters[NEED_FIRST] and w.needs[last]["who"] == i


@part
def last_resort(w: World, i: int, row: int, moment: int, tau: float, base: float, now: float) -> None:
    """Take over the rest of a position."""
    if not take_over(w, i, row, moment, w.book[i]["lots"], tau, base, now):
        no_room(w, i, row, tau, base, now)


@part
def no_room(w: World, i: int, row: int, tau: float, base: float, now: float) -> None:
    """Pass the quantity the backstop had no room for to ADL, or wait where there is no ADL."""
    if deleverages(w):
        need_of_position(w, i, w.book[i]["lots"], tau, base, now)
    else:
        wait(w, i, row, tau, now)
