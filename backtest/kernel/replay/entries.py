"""Entry and close of positions in a replay: each takes a place among the open positions, and frees it.

Records exist for open positions only; the outcome of one is written, column by column, where the outcomes are
read: a book of ten million of which half a million are open at a time needs half a million records.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import Bars, Funding, Positions, Rules
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula, lookup
from backtest.kernel.replay.records import Records
from backtest.kernel.replay.state import (
    ENDED,
    FREE_NODES,
    FREE_PLACE,
    FREE_PLACES,
    NODES_USED,
    PLACES_USED,
    TABLE_USED,
    World,
    whole,
)
from backtest.kernel.sweep.adjustments import Actions
from backtest.kernel.types import Bytes, Flags, Floats, Integers

#: Nodes and rows of the ADL table that must be free when a bar begins. A replay that needs more within a
#: bar begins anew with more.
ROOM = 1_024

#: Nodes set aside for a position that enters.
NODES_EACH = 4


class Entrants(NamedTuple):
    """The book and what its positions are placed by."""

    bars: Bars
    funding: Funding
    rules: Rules
    positions: Positions
    ids: Integers
    actions: Actions  #: exits, stops and take-profits (n,) each, or none where nobody plans one
    traced: int  #: row of the traced position, or -1


class Found(NamedTuple):
    """Outcome of each position, (n,) each; NaN and the earliest time mean null."""

    outcome: Bytes
    ambiguous: Flags
    time: Integers
    liquidation_price: Floats
    bankruptcy_price: Floats
    fill_price: Floats
    fill_notional: Floats
    paid: Floats
    equity: Floats
    realised_pnl: Floats
    tier_rate: Floats
    filled: Floats
    taken: Floats
    deleveraged: Floats
    fees: Floats
    fund_effect: Floats
    clawed: Floats
    added: Floats  #: margin that holders added, less what reductions paid out; or none where none was planned
    grown: Floats  #: notional of additions; or none where none was planned
    pnl_at_end: Floats  #: what is still open is added at the end
    begun: Flags  #: its liquidation began, however it ended
    moved_entry_price: Floats  #: as entered, under the offset of the mark
    moved_margin: Floats


@helper
def has_room(w: World, entries: int) -> bool:
    """Return whether there is room for a bar in which some positions enter."""
    counters = w.counters
    places = w.book.shape[0] - counters[PLACES_USED] + counters[FREE_PLACES]
    nodes = w.nodes.shape[0] - counters[NODES_USED] + counters[FREE_NODES]
    table = w.table.shape[0] - counters[TABLE_USED]
    return places >= entries and nodes >= ROOM + NODES_EACH * entries and table >= ROOM


@helper
def free_place(w: World) -> int:
    """Return a free place."""
    i = w.counters[FREE_PLACE]
    if i >= 0:
        w.counters[FREE_PLACE] = w.book[i]["following"]
        w.counters[FREE_PLACES] -= 1
        return i
    i = w.counters[PLACES_USED]
    w.counters[PLACES_USED] = i + 1
    return i


@part
def clear(book: Records, i: int) -> None:
    """Clear a place. (Copying a record whole makes the compiler move it byte by byte: minutes.)"""
    book[i]["balance"] = book[i]["pocket"] = book[i]["fees"] = book[i]["fund_effect"] = book[i]["clawed"] = 0
    book[i]["added"], book[i]["grown"] = 0, 0.0
    book[i]["paid"] = book[i]["equity"] = book[i]["fill_price"] = book[i]["fill_notional"] = 0.0
    book[i]["filled"] = book[i]["taken"] = book[i]["deleveraged"] = book[i]["done"] = 0.0
    book[i]["given_price"] = book[i]["given_notional"] = book[i]["given_equity"] = 0.0
    book[i]["liquidation_price"] = book[i]["bankruptcy_price"] = 0.0
    book[i]["begun"] = book[i]["asked"] = book[i]["rounds"] = book[i]["spent"] = 0
    book[i]["stop_price"] = book[i]["take_profit_price"] = book[i]["tier_rate"] = np.nan
    book[i]["nodes"] = book[i]["stop_node"] = book[i]["target_node"] = book[i]["spent_bar"] = -1
    book[i]["triggered_row"] = book[i]["opening_only"] = -1
    book[i]["ambiguous"], book[i]["due"], book[i]["share"] = False, False, 1.0


@helper
def take_place(w: World, e: Entrants, p: int) -> int:
    """Give position ``p`` of the book a place among the open ones, as it was entered, and return it."""
    i = free_place(w)
    y, entry_time = whole(e.positions.symbol[p]), e.positions.entry_time[p]
    group = lookup.group_of(e.rules, y, entry_time)
    bar = lookup.first_bar_at_or_after(e.bars, y, entry_time)
    quantity, entry_price = e.positions.quantity[p], e.positions.entry_price[p]
    notional = formula.notional(e.rules.kind[group], quantity, entry_price)
    made = e.funding.first[y] + lookup.charges_until(e.bars, e.funding, y, bar, entry_time)
    clear(w.book, i)
    w.book[i]["quantity"], w.book[i]["entry_price"] = quantity, entry_price
    w.book[i]["margin"] = lookup.margin_of(e.rules, group, e.positions, p)
    w.book[i]["leverage"] = lookup.leverage_of(e.positions, p, notional)
    w.book[i]["entry_funding"] = w.charges[made]["cumulative"]
    w.book[i]["lots"] = whole(np.rint(quantity / w.symbols[y]["lot"]))
    w.book[i]["group"], w.book[i]["symbol"], w.book[i]["side"] = group, y, e.positions.side[p]
    w.book[i]["row"], w.book[i]["start"], w.book[i]["id"] = p, bar, e.ids[p]
    if e.actions.stop_price.shape[0] > 0:
        w.book[i]["stop_price"] = e.actions.stop_price[p]
    if e.actions.take_profit_price.shape[0] > 0:
        w.book[i]["take_profit_price"] = e.actions.take_profit_price[p]
    w.places[p] = i
    if w.settings[0]["trace"] == i or p == e.traced:
        w.settings[0]["trace"] = i if p == e.traced else -1
    return i


@helper
def enters_inside(w: World, e: Entrants, i: int) -> bool:
    """Return whether a position enters strictly inside the bar before the first that tests it."""
    p = w.book[i]["row"]
    return lookup.falls_inside_a_bar(
        e.bars, whole(w.book[i]["symbol"]), whole(w.book[i]["start"]), e.positions.entry_time[p]
    )


@helper
def enters_unseen(w: World, e: Entrants, i: int) -> bool:
    """Return whether a position enters across a long gap."""
    p, y, bar = w.book[i]["row"], whole(w.book[i]["symbol"]), whole(w.book[i]["start"])
    if bar >= e.bars.first[y + 1] - e.bars.first[y]:
        return False
    return lookup.end_of_knowledge(e.bars, y, bar, e.positions.entry_time[p]) == bar


@helper
def exits_in(e: Entrants, p: int, row: int) -> bool:
    """Return whether the planned exit of a position of the book lies strictly inside a bar."""
    if e.actions.exit_time.shape[0] == 0:
        return False
    time = e.actions.exit_time[p]
    return e.bars.time[row] < time < e.bars.time[row] + e.bars.interval[e.positions.symbol[p]]


@helper
def exit_charges(w: World, e: Entrants, i: int, row: int) -> int:
    """Return the charges made by the moment a position's exit was planned for; ``row`` is the next to open."""
    p, y = w.book[i]["row"], whole(w.book[i]["symbol"])
    bar = row - e.bars.first[y]
    return e.funding.first[y] + lookup.charges_until(e.bars, e.funding, y, bar, e.actions.exit_time[p])


@helper
def recorded_exit(e: Entrants, p: int) -> float:
    """Return the price of the history at which a position of the book left; NaN where none is recorded."""
    return e.actions.exit_price[p] if e.actions.exit_price.shape[0] > 0 else np.nan


@helper
def write_outcome(w: World, found: Found, i: int) -> None:
    """Write the outcome of the position at a place."""
    held, unit = w.book[i], w.settings[0]["unit"]
    p, outcome = held["row"], held["outcome"]
    closed = outcome != OutcomeCode.OPEN and outcome != OutcomeCode.UNKNOWN and outcome != OutcomeCode.REDUCED
    found.outcome[p], found.ambiguous[p], found.time[p] = outcome, held["ambiguous"], held["time"]
    found.liquidation_price[p] = formula.or_nan(held["liquidation_price"])
    found.bankruptcy_price[p] = formula.or_nan(held["bankruptcy_price"])
    found.tier_rate[p], found.paid[p] = held["tier_rate"], held["paid"]
    found.fill_price[p] = found.fill_notional[p] = found.equity[p] = found.realised_pnl[p] = np.nan
    if closed or outcome == OutcomeCode.REDUCED:
        found.fill_notional[p] = held["fill_notional"]
        if np.isfinite(held["fill_price"]):
            found.fill_price[p] = held["fill_price"]
    if closed:
        found.equity[p], found.realised_pnl[p] = held["equity"], (held["pocket"] + held["fees"]) / unit
    found.filled[p], found.taken[p], found.deleveraged[p] = held["filled"], held["taken"], held["deleveraged"]
    found.fees[p], found.clawed[p] = held["fees"] / unit, held["clawed"] / unit
    found.fund_effect[p] = held["fund_effect"] / unit
    if found.added.shape[0] > 0:
        found.added[p] = held["added"] / unit
        found.grown[p] = held["grown"]
    found.pnl_at_end[p] = (held["pocket"] + held["balance"] + held["fees"]) / unit
    found.begun[p] = held["begun"] > 0
    if outcome == OutcomeCode.UNKNOWN:
        found.pnl_at_end[p] = np.nan


@part
def write_down(w: World, found: Found) -> None:
    """Write down what has ended, and free its places; what was lost sight of still holds lots, and keeps its."""
    i = w.counters[ENDED]
    while i >= 0:
        following = whole(w.book[i]["following"])
        write_outcome(w, found, i)
        w.places[w.book[i]["row"]] = -1
        if w.book[i]["lots"] == 0:
            w.book[i]["following"] = w.counters[FREE_PLACE]
            w.counters[FREE_PLACE] = i
            w.counters[FREE_PLACES] += 1
        i = following
    w.counters[ENDED] = -1
