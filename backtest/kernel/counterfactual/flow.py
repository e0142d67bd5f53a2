"""Executions in the book, event by event: recorded, and compared with those of the facts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from backtest.kernel.choices import FlowMode, OutcomeCode
from backtest.kernel.compile import helper, part
from backtest.kernel.replay.codes import CHOSEN
from backtest.kernel.replay.records import Records
from backtest.kernel.replay.state import NEED_END, World, factor, sign, terms, triggers_at, units, whole
from backtest.kernel.replay.waves import handle, move_mark, sell_needs
from backtest.kernel.types import Floats, Integers

#: One event that executed notional, or could have: in a leg (0 low, 1 high), or outside them (2 and more).
FLOW = np.dtype(
    [
        ("row", "i8"),
        ("price", "f8"),  #: where on the leg it happened
        ("notional", "f8"),  #: executed in the book; zero where nothing was
        ("by_price", "i8"),  #: the fact at this place when those of a leg are put in order of price
        ("who", "i4"),  #: row of the position
        ("stage", "i1"),
        ("side", "i1"),  #: of the position: longs are sold
    ],
    align=True,
)

#: Outside the legs, of longs and, one more, of shorts: orders that wait, and what liquidated where holders act
#: at an opening or leave inside the bar.
OPENING, ACTING, LEAVING = 2, 4, 6

#: Codes of actors that are no position: residual that counterparties could not take, an opening, others.
POOL, ALL, STRANGER = -1, -2, -3

MODE, NEXT, WRITTEN, STAMP, PARTED, AGAIN, ADRIFT = range(7)

COUNTED = 7


class Merge(NamedTuple):
    """Arrays to record a replay's flow, or to follow the flow of the facts."""

    counts: Integers  #: (COUNTED,)
    facts: Records  #: FLOW, in the order they happened
    flow: Records  #: FLOW, as far as there is room
    seen: Integers  #: (places,) stamp of the leg in whose heap a position lies
    gathered: Floats  #: (queues,) least X gathered in the present leg


@helper
def write(m: Merge, row: int, stage: int, who: int, side: int, price: float, notional: float) -> None:
    """Write one event down, as far as there is room."""
    number = m.counts[WRITTEN]
    m.counts[WRITTEN] = number + 1
    if number < m.flow.shape[0]:
        m.flow[number]["row"], m.flow[number]["stage"], m.flow[number]["who"] = row, stage, who
        m.flow[number]["side"], m.flow[number]["price"], m.flow[number]["notional"] = side, price, notional


@helper
def end_of_stage(m: Merge, row: int, stage: int) -> int:
    """Return where the facts of a leg or an opening end; they begin at the next one."""
    end = m.counts[NEXT]
    while end < m.facts.shape[0] and m.facts[end]["row"] == row and m.facts[end]["stage"] == stage:
        end += 1
    return end


@part
def part_ways(
    w: World, m: Merge, y: int, side: int, row: int, stage: int, who: int, price: float, notional: float, end: int
) -> None:
    """Write an event down, and move the mark by what the next fact did not do of it: there worlds part."""
    write(m, row, stage, who, side, price, notional)
    net = notional
    following = m.counts[NEXT]
    if following < end and m.facts[following]["who"] == who:
        net = notional - m.facts[following]["notional"]
        m.counts[NEXT] = following + 1
    if net != 0.0 and m.counts[MODE] == FlowMode.FOLLOWING:
        m.counts[PARTED] = 1
        move_mark(w, y, side, row, net)


@helper
def extreme_of(w: World, side: int, row: int) -> float:
    """Return the history's price at the end of a leg."""
    return w.bars[row]["low"] if side == 0 else w.bars[row]["high"]


@part
def level_of(w: World, i: int, side: int, row: int) -> float:
    """Return the price on a leg that sets off what :func:`evaluate` found; of another series: as far along it."""
    held = w.book[i]
    watched = w.bars[row]["watched_low"] if side == 0 else w.bars[row]["watched_high"]
    along = extreme_of(w, side, row) / watched
    if whole(held["side"]) != side:
        return held["take_profit_price"] * along
    price, stop = held["liquidation_price"], held["stop_price"] * along
    if price <= 0.0 or price == np.inf:  # every price liquidates it, or none
        own, y = terms(w.groups, w.tiers, w.book, i), whole(held["symbol"])
        now, g = w.charges[w.symbols[y]["funding_now"]]["cumulative"], factor(w.symbols, y)
        if not triggers_at(w.groups, w.tiers, own, extreme_of(w, side, row) * g, now):
            return stop
        price = w.bars[row]["open"] * g
    if np.isnan(stop):
        return price
    return max(price, stop) if side == 0 else min(price, stop)


@helper
def after_jump(w: World, m: Merge, number: int, at: float, side: int, last: float) -> float:
    """Return where the history was after a fact: as far along the leg as that moved it."""
    if m.facts[number]["side"] != side:
        return at
    return max(at * math.exp(-sign(side) * w.settings[0]["mark"] * m.facts[number]["notional"]), last)


@helper
def act(w: World, y: int, i: int, row: int, now: float) -> float:
    """Carry out what was found to happen to a position, and return the notional it executed."""
    own = whole(w.book[i]["side"])
    before = w.symbols[y]["executed"][own]
    handle(w, i, row, row, False, now)
    return w.symbols[y]["executed"][own] - before


@helper
def is_across(w: World, i: int, side: int) -> bool:
    """Return whether a position is liquidated that was met on the other leg."""
    return whole(w.book[i]["side"]) != side and w.book[i]["event"] == OutcomeCode.LIQUIDATED


@part
def pass_on_both(w: World, m: Merge, y: int, side: int, leg: int, row: int, now: float, end: int) -> float:
    """Run ADL for the residual of a side, and move the mark by what it left over; return how much it was."""
    sold = sell_needs(w, y, side, row, now)
    if sold != 0.0:
        part_ways(w, m, y, side, row, leg, POOL, extreme_of(w, leg, row), sold, end)
    return sold


@part
def make_way(w: World, m: Merge, y: int, i: int, side: int, row: int, now: float, end: int) -> float:
    """Deleverage a leg's own side before a position met on it is liquidated on the other; return what was sold."""
    if not is_across(w, i, side):
        return 0.0
    w.book[i]["status"] = CHOSEN  # no counterparty of those before it
    return pass_on_both(w, m, y, side, side, row, now, end)


@part
def happen(w: World, m: Merge, y: int, i: int, side: int, row: int, now: float, end: int) -> float:
    """Let a position's event happen on a leg; return what was sold of the leg's side that belongs to no wave."""
    own, level, across = whole(w.book[i]["side"]), level_of(w, i, side, row), is_across(w, i, side)
    executed = act(w, y, i, row, now)
    part_ways(w, m, y, own, row, side, whole(w.book[i]["row"]), level, executed, end)
    if across:
        w.steps[row]["first_wave"] += units(executed * w.settings[0]["unit"])
        pass_on_both(w, m, y, own, side, row, now, end)
    elif w.counters[NEED_END] > w.needs.shape[0] - 4:
        return pass_on_both(w, m, y, side, side, row, now, end)
    return 0.0
