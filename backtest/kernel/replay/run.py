"""Replay: a book, a fund and a market stepped bar by bar, in the order of ``docs/replay.md``.

One loop over the bars of all symbols in order of time. Only what may have changed is tested again:
waiting positions lie in the bucket queues of :mod:`~backtest.kernel.replay.trigger_queues`; entries, exits and
adjustments come
sorted by the bar they take effect in.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.arrays import NO_TIME
from backtest.kernel.choices import ContractKind, OutcomeCode, Unwind
from backtest.kernel.compile import helper, kernel, part
from backtest.kernel.margin import formula
from backtest.kernel.replay.adl import deleverage
from backtest.kernel.replay.bar_beginning import begin
from backtest.kernel.replay.codes import DONE, FUND, HELD, LOCKED, NO_EVENT
from backtest.kernel.replay.edge_bars import (
    carry_out,
    change,
    entry_bar_event,
    leave,
    leave_at_opening,
    leave_inside,
    sides_executed,
    test_exit_bar,
)
from backtest.kernel.replay.entries import (
    Entrants,
    Found,
    enters_inside,
    enters_unseen,
    exits_in,
    has_room,
    recorded_exit,
    take_place,
    write_down,
    write_outcome,
)
from backtest.kernel.replay.holder_actions import (
    lose_sight,
    price_columns,
    tested_funding,
)
from backtest.kernel.replay.ledger import note, open_trade, pay_funding
from backtest.kernel.replay.open_positions import enlist, place_orders
from backtest.kernel.replay.procedure import liquidate
from backtest.kernel.replay.requeue import rekey, under_next_tables
from backtest.kernel.replay.residual import inventory_needed
from backtest.kernel.replay.schedule import Agenda
from backtest.kernel.replay.state import (
    ENDED,
    ENTERED,
    FULL,
    NEED_END,
    PLACES_USED,
    World,
    factor,
    whole,
)
from backtest.kernel.replay.takeover import unwind
from backtest.kernel.replay.waves import cross, move_mark, reaches


@part
def enter(w: World, agenda: Agenda, e: Entrants, found: Found, i: int, row: int, late: bool) -> None:
    """Open a position, at an opening or ``late`` after all, and settle what the bar of its entry did to it."""
    y = whole(w.book[i]["symbol"])
    g = factor(w.symbols, y)
    kind = w.groups[w.book[i]["group"]]["kind"]
    if g != 1.0:
        w.book[i]["entry_price"] *= g
        w.book[i]["margin"] = w.book[i]["margin"] / g if kind == ContractKind.INVERSE else w.book[i]["margin"] * g
        w.book[i]["stop_price"] *= g
        w.book[i]["take_profit_price"] *= g
    found.moved_entry_price[w.book[i]["row"]] = w.book[i]["entry_price"]
    found.moved_margin[w.book[i]["row"]] = w.book[i]["margin"]
    w.book[i]["status"] = HELD
    enlist(w, i)
    open_trade(w, i, row)
    now, happened = w.book[i]["entry_funding"], False
    if i == w.settings[0]["trace"]:
        note(w, i, row, ENTERED, w.book[i]["entry_price"], w.book[i]["quantity"], now, w.book[i]["entry_price"])
    if enters_inside(w, e, i):
        before, p = w.symbols[y]["first"] + w.book[i]["start"] - 1, whole(w.book[i]["row"])
        leaves = exits_in(e, p, before)
        happened = entry_bar_event(w, e, i, before, leaves, now) != NO_EVENT
        if happened:
            carry_out(w, i, row, before, True, now)
        if leaves and not np.isnan(recorded_exit(e, p)) and w.book[i]["status"] != DONE:
            leave_inside(w, agenda, e, i, row, before)
    if late or w.book[i]["status"] == DONE:
        return
    if enters_unseen(w, e, i):
        if w.book[i]["status"] == LOCKED:
            stop_waiting(w, i)
        lose_sight(w, i, row)
        return
    if happened:
        return
    under_next_tables(w, i, row)
    rekey(w, i)
    if w.settings[0]["orders"] != 0:
        place_orders(w, i)


@part
def stop_waiting(w: World, i: int) -> None:
    """Take a position's orders out of those that wait for the next opening."""
    y, side = whole(w.book[i]["symbol"]), whole(w.book[i]["side"])
    before, at = whole(-1), whole(w.symbols[y]["waiting_first"][side])
    while at >= 0 and at != i:
        before, at = at, whole(w.book[at]["following"])
    if at < 0:
        return
    following = whole(w.book[i]["following"])
    if before < 0:
        w.symbols[y]["waiting_first"][side] = following
    else:
        w.book[before]["following"] = following
    if following < 0:
        w.symbols[y]["waiting_last"][side] = before


@helper
def awaits(w: World, y: int, side: int) -> bool:
    """Return whether orders of a side wait for the opening, or inventory for its sale."""
    return w.symbols[y]["waiting_first"][side] >= 0 or w.symbols[y]["inventory"][side] > 0


@part
def resume(w: World, y: int, side: int, row: int, now: float) -> float:
    """Send the orders of a side that wait, at the opening, first in first out, then sell inventory.

    Return the notional that this executed.
    """
    i = whole(w.symbols[y]["waiting_first"][side])
    held = w.symbols[y]["inventory"][side]
    if i < 0 and (held == 0 or w.settings[0]["unwind"] == Unwind.HOLD):
        return 0.0
    opening = w.bars[row]["open"] * factor(w.symbols, y)
    before = w.symbols[y]["executed"][side]
    w.symbols[y]["waiting_first"][side] = -1
    while i >= 0:
        following = whole(w.book[i]["following"])
        liquidate(w, i, row, row, opening, opening, now)
        if w.book[i]["status"] == HELD and w.book[i]["due"]:
            leave(w, i, row, row, np.nan, tested_funding(w, i, row), now)
        if w.counters[NEED_END] > w.needs.shape[0] - 4:
            deleverage(w, y, side, row, opening, now)
        i = following
    held = w.symbols[y]["inventory"][side] - inventory_needed(w)
    if held > 0 and w.settings[0]["unwind"] != Unwind.HOLD:
        lots = held
        if w.settings[0]["unwind"] != Unwind.AT_ONCE:
            worth = formula.notional(w.symbols[y]["kind"], held * w.symbols[y]["lot"], opening)
            most = w.settings[0]["unwind_share"] * w.bars[row]["volume"]
            if worth > most:
                lots = whole(np.floor(held * (most / worth)))
        if lots > 0:
            unwind(w, y, side, row, lots, opening)
    deleverage(w, y, side, row, opening, now)
    return w.symbols[y]["executed"][side] - before


@part
def let_holders_act(w: World, agenda: Agenda, entrants: Entrants, found: Found, row: int) -> None:
    """Let holders enter, change and leave at an opening, in this order; test what leaves inside the bar there."""
    for at in range(agenda.entry_first[row], agenda.entry_first[row + 1]):
        i = take_place(w, entrants, whole(agenda.entry[at]))
        enter(w, agenda, entrants, found, i, row, False)
    for at in range(agenda.change_first[row], agenda.change_first[row + 1]):
        j = whole(agenda.change[at])
        i = whole(w.places[entrants.actions.row[j]])
        if i >= 0:
            change(w, agenda, entrants, i, row, j, np.nan)
    for at in range(agenda.exit_first[row], agenda.exit_first[row + 1]):
        i = whole(w.places[agenda.exit[at]])
        if i >= 0:
            leave_at_opening(w, entrants, i, row)
    for at in range(agenda.inside_first[row], agenda.inside_first[row + 1]):
        i = whole(w.places[agenda.inside[at]])
        if i >= 0 and w.book[i]["status"] == HELD:
            test_exit_bar(w, i, row, w.charges[w.symbols[w.book[i]["symbol"]]["funding_now"]]["cumulative"])


@part
def let_holders_leave(w: World, agenda: Agenda, entrants: Entrants, row: int) -> None:
    """Let holders leave inside a bar at the prices recorded for that, once its legs are walked."""
    for at in range(agenda.inside_first[row], agenda.inside_first[row + 1]):
        p = whole(agenda.inside[at])
        i = whole(w.places[p])
        if i >= 0 and not np.isnan(recorded_exit(entrants, p)):
            leave_inside(w, agenda, entrants, i, row, row)


@helper
def move_by_executed(w: World, y: int, row: int, before: tuple[float, float]) -> None:
    """Move the mark by what holders' actions made liquidations execute."""
    for side in range(2):
        move_mark(w, y, side, row, w.symbols[y]["executed"][side] - before[side])


@helper
def starts_low(w: World, row: int) -> bool:
    """Return whether a bar goes to its low first."""
    return w.bars[row]["open"] - w.bars[row]["low"] < w.bars[row]["high"] - w.bars[row]["open"]


@part
def end(w: World, found: Found, y: int, row: int) -> None:
    """Write down where a bar left the mark, the fund, and who ended in it."""
    w.steps[row]["offset"] = w.symbols[y]["permanent"] + w.symbols[y]["decaying"]
    w.steps[row]["fund"] = w.cash[FUND]
    if w.counters[ENDED] >= 0:
        write_down(w, found)


@kernel
def run(w: World, agenda: Agenda, entrants: Entrants, found: Found, first: int, stop: int) -> int:
    """Step through bars [first, stop) of the agenda; return the first there was no room for, else ``stop``."""
    for number in range(first, stop):
        row = agenda.rows[number]
        if not has_room(w, agenda.entry_first[row + 1] - agenda.entry_first[row]):
            return number
        y = whole(agenda.symbol[row])
        now = begin(w, agenda, y, row)
        for side in range(2):
            if awaits(w, y, side):
                move_mark(w, y, side, row, resume(w, y, side, row, now))
        before = sides_executed(w, y)
        let_holders_act(w, agenda, entrants, found, row)
        move_by_executed(w, y, row, before)
        low_first = starts_low(w, row)
        for leg in range(2):
            side = leg if low_first else 1 - leg
            if reaches(w, y, side, row, now):
                cross(w, y, side, row, now)
        before = sides_executed(w, y)
        let_holders_leave(w, agenda, entrants, row)
        move_by_executed(w, y, row, before)
        end(w, found, y, row)
        if w.counters[FULL] != 0:
            return number
    return stop


@kernel
def finish(w: World, agenda: Agenda, entrants: Entrants, found: Found, rows: int) -> None:
    """Enter positions opened after their symbol's last bar, and write those open at the end.

    What the fund pays and gets for who enters late is of the very last bar.
    """
    last = agenda.rows[rows - 1]
    for at in range(agenda.entry_first[rows], agenda.entry_first[rows + 1]):
        i = take_place(w, entrants, whole(agenda.entry[at]))
        y = whole(w.book[i]["symbol"])
        row = w.symbols[y]["first"] + w.symbols[y]["count"] - 1
        fund_in, fund_out, sold = w.steps[row]["fund_in"], w.steps[row]["fund_out"], w.steps[row]["inventory"]
        enter(w, agenda, entrants, found, i, row, True)
        more_in, more_out = w.steps[row]["fund_in"] - fund_in, w.steps[row]["fund_out"] - fund_out
        more_sold = w.steps[row]["inventory"] - sold
        w.steps[row]["fund_in"], w.steps[row]["fund_out"], w.steps[row]["inventory"] = fund_in, fund_out, sold
        w.steps[last]["fund_in"] += more_in
        w.steps[last]["fund_out"] += more_out
        w.steps[last]["inventory"] += more_sold
        w.steps[last]["fund"] = w.cash[FUND]
    write_down(w, found)
    for i in range(w.counters[PLACES_USED]):
        status = w.book[i]["status"]
        if status in (HELD, LOCKED):
            y = whole(w.book[i]["symbol"])
            now = tested_funding(w, i, w.symbols[y]["first"] + w.symbols[y]["count"])
            w.book[i]["tier_rate"] = np.nan
            price_columns(w, i, now)
            w.book[i]["paid"] += pay_funding(w, i, now)
            w.book[i]["entry_funding"] = now
            w.book[i]["outcome"] = (
                OutcomeCode.REDUCED if w.book[i]["filled"] + w.book[i]["taken"] > 0.0 else OutcomeCode.OPEN
            )
            w.book[i]["time"] = NO_TIME
            write_outcome(w, found, i)
