"""Two worlds in one walk: what a policy does in a history, and what that history's own liquidations did to it.

The history moved as its facts sold and bought. Under a policy the mark is the history's times the exponential of an
offset, and the offset moves by what the policy executes less what the facts executed. Both streams are merged in
each leg of a bar, one event at a time in order of price from the opening to the extreme.

While both worlds do the same, event by event, the offset stays at exactly nothing and the walk is that of
:func:`~backtest.kernel.waves.cross`, wave after wave. From the first difference on it goes by price: a fact is taken
out where the history was at its price, and moved the history itself on; a position acts where the moved mark reaches
it; one that acts in both worlds at one moment does both at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import LIQUIDATED
from backtest.kernel.compile import helper, part
from backtest.kernel.queues import bucket_of, comes_before, in_order, pop, settled_first, sift, swap
from backtest.kernel.records import Records
from backtest.kernel.types import INVERSE, Floats, Integers
from backtest.kernel.waterfall import DONE, FUND, HELD, NEED_END, World, factor, sign, units, whole
from backtest.kernel.waves import collect, evaluate, handle, move_mark, sell_needs

#: One event that executed notional, or could have: in a leg (0 low, 1 high) or at the opening (2 longs, 3 shorts).
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

OPENING = 2

#: Who acts where it is no position: what counterparties could not take, a whole opening, somebody outside the book.
POOL, ALL, STRANGER = -1, -2, -3

#: What a replay does beside stepping: nothing, writing its flow down, following facts.
PLAIN, RECORDING, FOLLOWING = range(3)

MODE, NEXT, WRITTEN, STAMP, PARTED, AGAIN = range(6)

COUNTED = 6

#: Levels as near as this to the mark are there, but for rounding; levels farther than the second beyond a leg's
#: extreme are not reached, whatever rounding did to them.
TIE, BEYOND = 1e-12, 1e-9


class Merge(NamedTuple):
    """What a replay needs beside its world to write its flow down, or to follow that of the facts."""

    counts: Integers  #: (COUNTED,)
    facts: Records  #: FLOW, in the order they happened
    flow: Records  #: FLOW, as far as there is room
    seen: Integers  #: (n,) stamp of the leg in whose heap a position lies
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
    if net != 0.0 and m.counts[MODE] == FOLLOWING:
        m.counts[PARTED] = 1
        move_mark(w, y, side, row, net)


@part
def resume_both(w: World, m: Merge, y: int, side: int, row: int, executed: float) -> None:
    """Move the mark by what a side executed at the opening, less what it did in fact."""
    end = end_of_stage(m, row, OPENING + side)
    if executed == 0.0 and end == m.counts[NEXT]:
        return
    fact = 0.0
    for number in range(m.counts[NEXT], end):
        fact += m.facts[number]["notional"]
    m.counts[NEXT] = end
    write(m, row, OPENING + side, ALL, side, w.bars[row]["open"] * factor(w.symbols, y), executed)
    if m.counts[MODE] == FOLLOWING:
        move_mark(w, y, side, row, executed - fact)


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
    if np.isnan(stop):
        return price
    if price <= 0.0:  # no price liquidates it
        return stop
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
    return whole(w.book[i]["side"]) != side and w.book[i]["event"] == LIQUIDATED


@part
def pass_on_both(w: World, m: Merge, y: int, side: int, leg: int, row: int, now: float, end: int) -> float:
    """Deleverage what is needed of a side, and move the mark by what nobody could take; return how much it was."""
    sold = sell_needs(w, y, side, row, now)
    if sold != 0.0:
        part_ways(w, m, y, side, row, leg, POOL, extreme_of(w, leg, row), sold, end)
    return sold


@part
def happen(w: World, m: Merge, y: int, i: int, side: int, row: int, now: float, end: int) -> float:
    """Let a position's event happen on a leg; return what was sold of the leg's side that belongs to no wave."""
    own, level, across = whole(w.book[i]["side"]), level_of(w, i, side, row), is_across(w, i, side)
    passed = 0.0
    if across:
        passed = pass_on_both(w, m, y, side, side, row, now, end)
    executed = act(w, y, i, row, now)
    part_ways(w, m, y, own, row, side, i, level, executed, end)
    if across:
        w.steps[row]["first_wave"] += units(executed * w.settings[0]["unit"])
        pass_on_both(w, m, y, own, side, row, now, end)
    elif w.counters[NEED_END] > w.needs.shape[0] - 4:
        passed += pass_on_both(w, m, y, side, side, row, now, end)
    return passed


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
            following = m.counts[NEXT]
            if m.counts[MODE] == FOLLOWING and (following >= end or m.facts[following]["who"] != i):
                m.counts[PARTED] = 1
            if m.counts[PARTED] != 0:
                w.book[i]["status"] = HELD
                continue
            if m.counts[MODE] == FOLLOWING:
                at = max(min(at, t * level_of(w, i, side, row)), last) if waves == 0 else last
                at = after_jump(w, m, following, at, side, last)
            before += happen(w, m, y, i, side, row, now, end)
        waves += 1
        executed = w.symbols[y]["executed"][side]
        if waves == 1:
            w.steps[row]["first_wave"] += units((executed - before) * w.settings[0]["unit"])
        before = executed
    w.steps[row]["generations"] += waves
    return at


@part
def sink(w: World, m: Merge, size: int) -> int:
    """Take what comes first out of the heap, and return how many are left."""
    m.seen[w.wave[0]["i"]] = 0
    pop(w.wave, size)
    return size - 1


@part
def rise(w: World, m: Merge, i: int, key: float, size: int) -> int:
    """Put a position into the heap, and return how many are in it."""
    w.wave[size]["i"], w.wave[size]["id"], w.wave[size]["key"] = i, w.book[i]["id"], key
    m.seen[i] = m.counts[STAMP]
    at = size
    while at > 0 and comes_before(w.wave, at, (at - 1) // 2):
        swap(w.wave, at, (at - 1) // 2)
        at = (at - 1) // 2
    return size + 1


@part
def gather_queue(w: World, m: Merge, queue: int, x: float, row: int, side: int, now: float, size: int) -> int:
    """Put the positions of a queue into the heap that X reaches and did not before."""
    reached, buckets = m.gathered[queue], w.settings[0]["buckets"]
    if x >= reached:
        return size
    m.gathered[queue] = x
    last = bucket_of(w.queues, queue, x, buckets)
    if w.queues[queue]["count"] == 0 or w.queues[queue]["first"] > last:
        return size
    first = settled_first(w.heads, w.queues, buckets, queue, last)
    if reached < np.inf:
        first = max(first, bucket_of(w.queues, queue, reached, buckets))
    for bucket in range(first, last + 1):
        node = w.heads[queue * buckets + bucket]
        while node >= 0:
            i = whole(w.nodes[node]["owner"])
            theta = w.nodes[node]["theta"]
            if x <= theta < reached and w.book[i]["status"] == HELD and m.seen[i] != m.counts[STAMP]:
                if evaluate(w, i, row, side, now) != 255:
                    size = rise(w, m, i, sign(side) * level_of(w, i, side, row), size)
                else:
                    m.counts[AGAIN] = 1
            node = w.nodes[node]["next"]
    return size


@part
def gather(w: World, m: Merge, y: int, side: int, row: int, now: float, size: int, anew: bool) -> int:
    """Put into the heap what the extreme under the present offset reaches, and return how many are in it."""
    g, s = factor(w.symbols, y), sign(side)
    first, end = w.symbols[y]["queue"][side], w.symbols[y]["queue"][side + 1]
    watched = w.symbols[y]["queue"][2 + side]
    if anew:
        m.counts[STAMP] += 1
        m.counts[AGAIN] = 0
        size = 0
        for queue in range(first, end):
            m.gathered[queue] = np.inf
        m.gathered[watched] = np.inf
    worst = extreme_of(w, side, row) * g
    if w.symbols[y]["kind"] == INVERSE:
        worst = 1.0 / worst
    for queue in range(first, end):
        size = gather_queue(w, m, queue, w.queues[queue]["slope"] * worst - s * now, row, side, now, size)
    if w.settings[0]["base_nodes"] > w.book.shape[0]:
        x = w.bars[row]["watched_low"] * g if side == 0 else -(w.bars[row]["watched_high"] * g)
        size = gather_queue(w, m, watched, x, row, side, now, size)
    return size


@helper
def is_reached(key: float, last: float) -> bool:
    """Return whether a place is not beyond the end of a leg, but for rounding."""
    return key >= last - BEYOND * abs(last)


@part
def settle_top(w: World, m: Merge, y: int, side: int, row: int, now: float, size: int) -> int:
    """Let the heap begin with a position that the extreme reaches, as it stands now; return how many are in it.

    Where none is reached its key lies beyond the extreme, or it is empty.
    """
    t = sign(side)
    while size > 0:
        last = t * extreme_of(w, side, row) * factor(w.symbols, y)
        if not is_reached(w.wave[0]["key"], last):
            return size
        i = whole(w.wave[0]["i"])
        held = w.book[i]["status"] == HELD
        if not held or evaluate(w, i, row, side, now) == 255:
            size = sink(w, m, size)
            m.counts[AGAIN] = 1 if held else m.counts[AGAIN]
            continue
        key = t * level_of(w, i, side, row)
        if key == w.wave[0]["key"]:
            return size
        w.wave[0]["key"] = key
        sift(w.wave, 0, size)
    return size


@part
def take_out(
    w: World, m: Merge, y: int, number: int, at: float, side: int, row: int, now: float, end: int
) -> bool:
    """Undo a fact; return whether its position, which is at its level in the other world too, acted there at once."""
    i = whole(m.facts[number]["who"])
    if i >= 0 and w.book[i]["status"] == HELD and evaluate(w, i, row, side, now) != 255:
        level = sign(side) * level_of(w, i, side, row) / factor(w.symbols, y)
        if level >= at - TIE * abs(at):
            m.counts[NEXT] = number
            happen(w, m, y, i, side, row, now, number + 1)
            m.counts[NEXT] = end
            return True
    move_mark(w, y, whole(m.facts[number]["side"]), row, -m.facts[number]["notional"])
    return False


@helper
def next_fact(m: Merge, place: int, since: int, end: int) -> int:
    """Return the first place from one on, in order of price, of a fact that is still to be taken out."""
    while place < end:
        number = m.facts[place]["by_price"]
        if number >= since and m.facts[number]["who"] != POOL and m.facts[number]["notional"] != 0.0:
            return place
        place += 1
    return place


@part
def return_to_heap(w: World, m: Merge, i: int, side: int, row: int, now: float, size: int) -> int:
    """Put a position that was given back into the heap again where the leg reaches it again."""
    if w.book[i]["status"] != HELD or m.seen[i] == m.counts[STAMP]:
        return size
    if evaluate(w, i, row, side, now) != 255:
        return rise(w, m, i, sign(side) * level_of(w, i, side, row), size)
    node = whole(i)
    while node >= 0:
        slot = w.nodes[node]["slot"]
        if slot >= 0 and w.nodes[node]["theta"] >= m.gathered[slot // w.settings[0]["buckets"]]:
            m.counts[AGAIN] = 1
        node = whole(w.book[i]["extra"]) if node == i else whole(w.nodes[node]["sibling"])
    return size


@helper
def others_changed(w: World, i: int, side: int, needs: int) -> bool:
    """Return whether what a position did may have changed the levels of others."""
    claws = w.settings[0]["clawback"] != 0 and w.book[i]["status"] == DONE and w.cash[FUND] == 0
    return claws or is_across(w, i, side) or w.counters[NEED_END] < needs


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
            i = whole(m.facts[number]["who"])
            acted = take_out(w, m, y, number, at, side, row, now, end)
            at = after_jump(w, m, number, at, side, last)
            place = next_fact(m, place + 1, since, end)
        else:
            i, acted = whole(w.wave[0]["i"]), True
            size = sink(w, m, size)
            happen(w, m, y, i, side, row, now, end)
        anew = False
        if acted:
            size = return_to_heap(w, m, i, side, row, now, size)
            anew = others_changed(w, i, side, needs)
        lowered = (factor(w.symbols, y) - g) * t < 0.0
        if anew or lowered:
            size = gather(w, m, y, side, row, now, size, anew or m.counts[AGAIN] != 0)


@part
def finish_leg(w: World, m: Merge, y: int, side: int, row: int, now: float, since: int, end: int) -> None:
    """Deleverage for what is needed at the end of a leg, in both worlds."""
    sold = sell_needs(w, y, side, row, now)
    if sold != 0.0:
        write(m, row, side, POOL, side, extreme_of(w, side, row), sold)
    m.counts[NEXT] = end
    if m.counts[MODE] != FOLLOWING:
        return
    for number_of_sides in range(2):
        own = side if number_of_sides == 0 else 1 - side
        fact = 0.0
        for number in range(since, end):
            if m.facts[number]["who"] == POOL and m.facts[number]["side"] == own:
                fact += m.facts[number]["notional"]
        move_mark(w, y, own, row, (sold if own == side else 0.0) - fact)


@part
def cross_both(w: World, m: Merge, y: int, side: int, row: int, now: float) -> None:
    """Walk one side of a bar in both worlds."""
    first = whole(m.counts[NEXT])
    end = end_of_stage(m, row, side)
    following = m.counts[MODE] == FOLLOWING
    moved = w.symbols[y]["permanent"] != 0.0 or w.symbols[y]["decaying"] != 0.0
    m.counts[PARTED] = 1 if moved else 0
    at = sign(side) * w.bars[row]["open"]
    if not moved:
        at = in_step(w, m, y, side, row, now, end)
    since = whole(m.counts[NEXT])
    if following and since < end and m.facts[since]["who"] != POOL:
        m.counts[PARTED] = 1
    if m.counts[PARTED] != 0:
        by_price(w, m, y, side, row, now, first, since, end, at)
    finish_leg(w, m, y, side, row, now, since, end)
