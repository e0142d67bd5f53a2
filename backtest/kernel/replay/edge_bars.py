"""Bars that positions enter or leave inside, and openings at which their holders act: what is tested there.

The rules are those of :mod:`~backtest.kernel.sweep.edge_bars`. Whoever is liquidated here is so outside the waves
of a bar, one after another.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import lookup
from backtest.kernel.replay.adl import deleverage
from backtest.kernel.replay.codes import HELD, NO_EVENT
from backtest.kernel.replay.entries import Entrants, exit_charges, recorded_exit
from backtest.kernel.replay.holder_actions import (
    adjust,
    close_by_holder,
    funding_until,
    price_columns,
    tested_funding,
)
from backtest.kernel.replay.schedule import Agenda
from backtest.kernel.replay.state import World, factor, rate_at, terms, triggers_at, whole
from backtest.kernel.replay.waves import (
    CLOSE_AFTER_ENTRY,
    OPENING_ALONE,
    SINCE_ENTRY,
    WHOLE_BAR,
    evaluate,
    handle,
    trigger,
)
from backtest.kernel.sweep.adjustments import first_adjustment
from backtest.kernel.sweep.edge_bars import has_change, triggers_after_all
from backtest.kernel.sweep.passive import held_by


@part
def settle_needs(w: World, i: int, row: int, price: float) -> None:
    """Deleverage for what a liquidation outside the waves has left."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    deleverage(w, y, side, row, price, w.charges[w.symbols[y]["funding_now"]]["cumulative"])


@part
def carry_out(w: World, i: int, row: int, moment: int, entry_bar: bool, now: float) -> None:
    """Carry out what was found to happen to a position outside the waves, in the bar ``moment``."""
    opening = w.bars[row]["open"] * factor(w.symbols, whole(w.book[i]["symbol"]))
    handle(w, i, row, moment, entry_bar, now)
    settle_needs(w, i, row, opening)


@part
def test_opening(w: World, i: int, row: int, now: float, planned: int) -> None:
    """Liquidate a position that an opening triggers, before its holder acts there as planned for a time."""
    own = terms(w.groups, w.tiers, w.book, i)
    opening = w.bars[row]["open"] * factor(w.symbols, own.symbol)
    if not triggers_at(w.groups, w.tiers, own, opening, now):
        return
    price = price_columns(w, i, now)
    w.book[i]["liquidation_price"] = max(price, opening) if own.side > 0 else min(price, opening)
    w.book[i]["tier_rate"] = rate_at(w.groups, w.tiers, own, now)
    w.book[i]["event"] = OutcomeCode.LIQUIDATED
    if planned < w.bars[row]["time"]:
        w.book[i]["ambiguous"] = True
    carry_out(w, i, row, row, False, now)


@part
def saved_inside(e: Entrants, p: int, bar: int) -> bool:
    """Return whether changes and stamps inside an entry bar keep its close from liquidating, in the history."""
    y, time = whole(e.positions.symbol[p]), e.positions.entry_time[p]
    made = lookup.charges_until(e.bars, e.funding, y, bar + 1, time)
    group = lookup.group_of(e.rules, y, time)
    held = held_by(e.rules, e.positions, p, group, e.funding.cumulative[e.funding.first[y] + made])
    change = first_adjustment(e.actions, p)
    return not triggers_after_all(e.bars, e.funding, e.rules, e.actions, held, change, bar, p)


@part
def entry_bar_event(w: World, e: Entrants, i: int, row: int, leaves: bool, now: float) -> int:
    """Return what happens to a position in the bar of its entry, whose close counts unless it ``leaves``."""
    whole_event = evaluate(w, i, row, SINCE_ENTRY, now)
    if whole_event == NO_EVENT:
        return NO_EVENT
    settings, p = w.settings[0], whole(w.book[i]["row"])
    tested = settings["test_entry_bar"] != 0
    if leaves:
        w.book[i]["ambiguous"] = True
        event = whole_event if tested or settings["test_exit_bar"] != 0 else NO_EVENT
    else:
        event = evaluate(w, i, row, CLOSE_AFTER_ENTRY, now)
        differs = event != whole_event
        saved = event == OutcomeCode.LIQUIDATED and saved_inside(e, p, row - e.bars.first[w.book[i]["symbol"]])
        if tested or not differs:
            event = evaluate(w, i, row, SINCE_ENTRY, now)
        w.book[i]["ambiguous"] = w.book[i]["ambiguous"] or differs or saved
    if event == NO_EVENT:
        w.book[i]["tier_rate"] = np.nan
    return event


@part
def test_exit_bar(w: World, i: int, row: int, now: float) -> None:
    """Test the opening of a bar that a position leaves inside; the rest of it where that is tested at all."""
    before = w.book[i]["ambiguous"]
    whole_event = evaluate(w, i, row, WHOLE_BAR, now)
    unknown = w.book[i]["ambiguous"]
    event = evaluate(w, i, row, OPENING_ALONE, now)
    w.book[i]["ambiguous"] = before or unknown or event != whole_event
    if w.settings[0]["test_exit_bar"] != 0:
        w.book[i]["tier_rate"] = np.nan
        return
    if event == NO_EVENT:
        w.book[i]["tier_rate"] = np.nan
        w.book[i]["opening_only"] = row
        return
    if event == whole_event:
        evaluate(w, i, row, WHOLE_BAR, now)
        w.book[i]["ambiguous"] = before or unknown
    carry_out(w, i, row, row, False, now)
    w.book[i]["opening_only"] = row


@part
def leave(w: World, i: int, row: int, moment: int, recorded: float, tested: float, now: float) -> None:
    """Close a position as planned, in the bar ``moment``: at the price recorded for it, or at the mark's opening.

    A recorded price liquidates where it is of the series that triggers.
    """
    own, g = terms(w.groups, w.tiers, w.book, i), factor(w.symbols, w.book[i]["symbol"])
    price = (w.bars[moment]["mark_open"] if np.isnan(recorded) else recorded) * g
    beyond = not np.isnan(recorded) and triggers_at(w.groups, w.tiers, own, price, now)
    if beyond and w.settings[0]["traded"] != 0:
        level = price_columns(w, i, now)
        level = max(level, price) if own.side > 0 else min(level, price)
        w.book[i]["liquidation_price"] = level
        w.book[i]["tier_rate"] = rate_at(w.groups, w.tiers, own, now)
        trigger(w, i, row, moment, level, now)
        settle_needs(w, i, row, price)
        if w.book[i]["status"] != HELD:
            return
        tested = now  # a part was closed, and the rest given back: it leaves
    price_columns(w, i, tested)
    w.book[i]["tier_rate"] = np.nan
    w.book[i]["ambiguous"] = w.book[i]["ambiguous"] or beyond
    close_by_holder(w, i, row, moment, OutcomeCode.EXITED, price, now)


@part
def leave_at_opening(w: World, e: Entrants, i: int, row: int) -> None:
    """Close a position at the first opening at or after its planned exit, once that is tested."""
    p = whole(w.book[i]["row"])
    w.book[i]["due"] = True
    planned, recorded = e.actions.exit_time[p], recorded_exit(e, p)
    now = funding_until(w, whole(w.book[i]["symbol"]), exit_charges(w, e, i, row))
    if w.book[i]["status"] == HELD and (np.isnan(recorded) or planned == w.bars[row]["time"]):
        test_opening(w, i, row, now, planned)
    if w.book[i]["status"] == HELD:
        leave(w, i, row, row, recorded, tested_funding(w, i, row), now)


@part
def leave_inside(w: World, agenda: Agenda, e: Entrants, i: int, row: int, moment: int) -> None:
    """Close a position inside the bar ``moment`` at its recorded price, after the adjustments in that bar."""
    p, first = whole(w.book[i]["row"]), w.symbols[w.book[i]["symbol"]]["first"]
    recorded, j = recorded_exit(e, p), first_adjustment(e.actions, p)
    while w.book[i]["status"] == HELD and has_change(e.actions, j, p):
        if e.actions.time[j] > e.bars.time[moment]:
            change(w, agenda, e, i, row, j, recorded)
            w.book[i]["start"] = moment + 1 - first
        j += 1
    w.book[i]["due"] = True
    if w.book[i]["status"] == HELD:
        now = funding_until(w, whole(w.book[i]["symbol"]), exit_charges(w, e, i, moment + 1))
        leave(w, i, row, moment, recorded, tested_funding(w, i, moment + 1), now)


@part
def change(w: World, agenda: Agenda, e: Entrants, i: int, row: int, j: int, inside: float) -> None:
    """Carry out a planned adjustment: at an opening, once that is tested, or inside a bar at a price."""
    mark = inside
    now = funding_until(w, whole(w.book[i]["symbol"]), whole(agenda.change_made[j]))
    if np.isnan(inside):
        mark = w.bars[row]["mark_open"]
        if w.book[i]["status"] == HELD:
            test_opening(w, i, row, now, e.actions.time[j])
    adjust(w, i, row, now, e.actions.margin_change[j], e.actions.quantity_change[j], e.actions.price[j], mark)


@helper
def sides_executed(w: World, y: int) -> tuple[float, float]:
    """Return the notional of a symbol executed in this bar, of longs and of shorts."""
    return w.symbols[y]["executed"][0], w.symbols[y]["executed"][1]
