"""Policy against facts in one walk: a policy's liquidations, and the impact of those in the history.

The history moved as its facts sold and bought. Under a policy the mark is the history's times the exponential of
an offset, and the offset moves by what the policy executes less what the facts executed. Both streams are merged
in each leg of a bar, one event at a time in order of price from the opening to the extreme.

While both worlds do the same, event by event, the offset stays at exactly nothing and the walk is that of
:func:`~backtest.kernel.replay.waves.cross`, wave after wave. From the first difference on it goes by price: a
fact is
taken out where the history was at its price, and moved the history itself on; a position acts where the moved mark
reaches it; one that acts in both worlds at one moment does both at once.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import FlowMode
from backtest.kernel.compile import helper, part
from backtest.kernel.counterfactual.flow import (
    ADRIFT,
    AGAIN,
    ALL,
    LEAVING,
    MODE,
    NEXT,
    PARTED,
    POOL,
    Merge,
    after_jump,
    end_of_stage,
    extreme_of,
    happen,
    is_across,
    level_of,
    make_way,
    write,
)
from backtest.kernel.counterfactual.price_heap import gather, is_reached, look, return_to_heap, settle_top, sink
from backtest.kernel.replay.codes import DONE, FUND, HELD
from backtest.kernel.replay.state import NEED_END, World, factor, sign, units, whole
from backtest.kernel.replay.trigger_queues import in_order
from backtest.kernel.replay.waves import collect, evaluate, move_mark, sell_needs

#: Levels as near as this to the mark are there, but for rounding.
TIE = 1e-12


@part
def cross_both(w: World, m: Merge, y: int, side: int, row: int, now: float) -> None:
    """Walk one side of a bar in both worlds."""
    first = whole(m.counts[NEXT])
    end = end_of_stage(m, row, side)
    moved = w.symbols[y]["permanent"] != 0.0 or w.symbols[y]["decaying"] != 0.0
    m.counts[PARTED] = 1 if moved else 0
    at = sign(side) * w.bars[row]["open"]
    if not moved:
        at = in_step(w, m, y, side, row, now, end)
    since = whole(m.counts[NEXT])
    for number in range(since, end):
        if m.facts[number]["who"] != POOL:
            m.counts[PARTED] = 1
    if m.counts[PARTED] != 0:
        by_price(w, m, y, side, row, now, first, since, end, at)
    finish_leg(w, m, y, side, row, now, since, end)


@part
def outside_legs(w: World, m: Merge, y: int, side: int, row: int, stage: int, executed: float) -> None:
    """Move the mark by what a side executed outside the legs, less what it did in fact."""
    end = end_of_stage(m, row, stage + side)
    if executed == 0.0 and end == m.counts[NEXT]:
        return
    fact = 0.0
    for number in range(m.counts[NEXT], end):
        fact += m.facts[number]["notional"]
    m.counts[NEXT] = end
    if executed != 0.0:
        price = w.bars[row]["close"] if stage == LEAVING else w.bars[row]["open"]
        write(m, row, stage + side, ALL, side, price * factor(w.symbols, y), executed)
    if m.counts[MODE] == FlowMode.FOLLOWING:
        move_mark(w, y, side, row, executed - fact)


@part
def in_step(w: World, m: Merge, y: int, side: int, row: int, now: float, end: int) -> float:
    """Walk a leg in waves as long as both worlds do the same; return the history's place where they part.

    A place is a price times the leg's sign: it falls as the leg goes on.
    """
    t = sign(side)
    last, at = t * extreme_of(w, side, row), t * w.bars[row]["open"]
    waves, before = 0, w.symbols[y]["executed"][side]
    while m.counts[PARTED] == 0:
        found = collect(w, y, side, row, now)
        if found == 0:
            break
        in_order(w.wave, found)
        for number in range(found):
            i = whole(w.wave[number]["i"])
            if m.counts[PARTED] == 0:
                before += make_way(w, m, y, i, side, row, now, end)
            following = m.counts[NEXT]
            if m.counts[MODE] == FlowMode.FOLLOWING and (
                following >= end or m.facts[following]["who"] != w.book[i]["row"]
            ):
                m.counts[PARTED] = 1
            if m.counts[PARTED] != 0:
                w.book[i]["status"] = HELD
                continue
            if m.counts[MODE] == FlowMode.FOLLOWING:
                at = max(min(at, t * level_of(w, i, side, row)), last) if waves == 0 else last
                at = after_jump(w, m, following, at, side, last)
            before += happen(w, m, y, i, side, row, now, end)
        waves += 1
        executed = w.symbols[y]["executed"][side]
        if waves == 1:
            w.steps[row]["first_wave"] += units((executed - before) * w.settings[0]["unit"])
        before = executed
    w.steps[row]["waves"] += waves
    return at


@part
def by_price(
    w: World, m: Merge, y: int, side: int, row: int, now: float, first: int, since: int, end: int, at: float
) -> None:
    """Walk a leg from a place on, facts and positions in order of price.

    Facts [first, end) are the leg's; those before ``since`` have happened in both worlds.
    """
    t = sign(side)
    last = t * extreme_of(w, side, row)
    size = gather(w, m, y, side, row, now, 0, True)
    place = next_fact(m, first, since, end)
    m.counts[NEXT] = end
    while True:
        g = factor(w.symbols, y)
        fact, candidate = -np.inf, -np.inf
        if place < end:
            fact = t * m.facts[m.facts[place]["by_price"]]["price"]
        if fact < at:
            size = settle_top(w, m, y, side, row, now, size)
            if size > 0 and is_reached(w.wave[0]["key"], last * g):
                candidate = w.wave[0]["key"] / g
            elif place == end:
                return
            at = max(min(at, max(fact, candidate)), last)
        needs = whole(w.counters[NEED_END])
        if place < end and fact >= candidate:
            number = whole(m.facts[place]["by_price"])
            i = place_of(w, m, number)
            acted = take_out(w, m, y, number, at, side, row, now, end)
            at = after_jump(w, m, number, at, side, last)
            place = next_fact(m, place + 1, since, end)
        else:
            i, acted = whole(w.wave[0]["i"]), True
            size = sink(w, m, size)
            evaluate(w, i, row, side, now)
            make_way(w, m, y, i, side, row, now, end)
            happen(w, m, y, i, side, row, now, end)
        anew = False
        if acted:
            anew = others_changed(w, i, side, needs)
            size = return_to_heap(w, m, i, side, row, now, size)
        lowered = (factor(w.symbols, y) - g) * t < 0.0
        anew = anew or (m.counts[ADRIFT] != 0 and factor(w.symbols, y) != g)
        if anew or lowered:
            size = gather(w, m, y, side, row, now, size, anew or m.counts[AGAIN] != 0)


@part
def take_out(
    w: World, m: Merge, y: int, number: int, at: float, side: int, row: int, now: float, end: int
) -> bool:
    """Undo a fact; return whether its position, at its level in the other world too, acted there at once."""
    i = place_of(w, m, number)
    if i >= 0 and w.book[i]["status"] == HELD:
        level = sign(side) * look(w, m, i, side, row, now) / factor(w.symbols, y)
        if level >= at - TIE * abs(at):  # false for NaN
            evaluate(w, i, row, side, now)
            make_way(w, m, y, i, side, row, now, end)
            m.counts[NEXT] = number
            happen(w, m, y, i, side, row, now, number + 1)
            m.counts[NEXT] = end
            return True
    move_mark(w, y, whole(m.facts[number]["side"]), row, -m.facts[number]["notional"])
    return False


@helper
def place_of(w: World, m: Merge, number: int) -> int:
    """Return the place of a fact's position, or -1 where it is closed or not in the book."""
    who = whole(m.facts[number]["who"])
    return whole(w.places[who]) if who >= 0 else whole(-1)


@helper
def next_fact(m: Merge, place: int, since: int, end: int) -> int:
    """Return the first place from one on, in order of price, of a fact that is still to be taken out."""
    while place < end:
        number = m.facts[place]["by_price"]
        if number >= since and m.facts[number]["who"] != POOL and m.facts[number]["notional"] != 0.0:
            return place
        place += 1
    return place


@helper
def others_changed(w: World, i: int, side: int, needs: int) -> bool:
    """Return whether what a position did may have changed the levels of others."""
    claws = w.settings[0]["clawback"] != 0 and w.book[i]["status"] == DONE and w.cash[FUND] == 0
    return claws or is_across(w, i, side) or w.counters[NEED_END] < needs


@part
def finish_leg(w: World, m: Merge, y: int, side: int, row: int, now: float, since: int, end: int) -> None:
    """Run ADL for the residual at the end of a leg, in both worlds."""
    sold = sell_needs(w, y, side, row, now)
    if sold != 0.0:
        write(m, row, side, POOL, side, extreme_of(w, side, row), sold)
    m.counts[NEXT] = end
    if m.counts[MODE] != FlowMode.FOLLOWING:
        return
    for own in (side, 1 - side):
        fact = 0.0
        for number in range(since, end):
            if m.facts[number]["who"] == POOL and m.facts[number]["side"] == own:
                fact += m.facts[number]["notional"]
        move_mark(w, y, own, row, (sold if own == side else 0.0) - fact)
