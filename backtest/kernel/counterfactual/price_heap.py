"""Heap of the positions that a leg reaches under the present offset, nearest first; it grows as the offset moves.

Only what the mark has come to reach since it was last looked is gathered. The positions in the heap are held as
before: each is looked at again when it comes to be on top, and stays where the leg ends before it.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import helper, part
from backtest.kernel.counterfactual.flow import ADRIFT, AGAIN, STAMP, Merge, extreme_of, level_of
from backtest.kernel.replay.codes import HELD, NO_EVENT
from backtest.kernel.replay.state import World, factor, sign, whole
from backtest.kernel.replay.trigger_queues import bucket_of, comes_before, pop, settled_first, sift, swap
from backtest.kernel.replay.waves import evaluate

#: Levels farther than this beyond a leg's extreme are not reached, whatever rounding did to them.
BEYOND = 1e-9


@part
def look(w: World, m: Merge, i: int, side: int, row: int, now: float) -> float:
    """Return the price on a leg that triggers a position, NaN where none does; it changes no state."""
    held = w.book[i]
    event, ambiguous, rate = held["event"], held["ambiguous"], held["tier_rate"]
    price, bankrupt = held["liquidation_price"], held["bankruptcy_price"]
    level = np.nan
    if evaluate(w, i, row, side, now) != NO_EVENT:
        level = level_of(w, i, side, row)
        found = w.book[i]["liquidation_price"]
        if found <= 0.0 or found == np.inf:  # at the opening, wherever the mark moves that
            m.counts[ADRIFT] = 1
    w.book[i]["event"], w.book[i]["ambiguous"], w.book[i]["tier_rate"] = event, ambiguous, rate
    w.book[i]["liquidation_price"], w.book[i]["bankruptcy_price"] = price, bankrupt
    return level


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
                level = look(w, m, i, side, row, now)
                if np.isnan(level):
                    m.counts[AGAIN] = 1
                else:
                    size = rise(w, m, i, sign(side) * level, size)
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
        m.counts[AGAIN] = m.counts[ADRIFT] = 0
        size = 0
        for queue in range(first, end):
            m.gathered[queue] = np.inf
        m.gathered[watched] = np.inf
    worst = extreme_of(w, side, row) * g
    if w.symbols[y]["kind"] == ContractKind.INVERSE:
        worst = 1.0 / worst
    for queue in range(first, end):
        size = gather_queue(w, m, queue, w.queues[queue]["slope"] * worst - s * now, row, side, now, size)
    if w.settings[0]["orders"] != 0:
        x = w.bars[row]["watched_low"] * g if side == 0 else -(w.bars[row]["watched_high"] * g)
        size = gather_queue(w, m, watched, x, row, side, now, size)
    return size


@helper
def is_reached(key: float, last: float) -> bool:
    """Return whether a place is not beyond the end of a leg, but for rounding."""
    return key >= last - BEYOND * abs(last)


@part
def settle_top(w: World, m: Merge, y: int, side: int, row: int, now: float, size: int) -> int:
    """Start the heap with a position that the extreme reaches; return the size of the heap.

    Where none is reached its key lies beyond the extreme, or it is empty.
    """
    t = sign(side)
    while size > 0:
        last = t * extreme_of(w, side, row) * factor(w.symbols, y)
        if not is_reached(w.wave[0]["key"], last):
            return size
        i = whole(w.wave[0]["i"])
        held = w.book[i]["status"] == HELD
        key = t * look(w, m, i, side, row, now) if held else np.nan
        if np.isnan(key):
            size = sink(w, m, size)
            m.counts[AGAIN] = 1 if held else m.counts[AGAIN]
            continue
        if key == w.wave[0]["key"]:
            return size
        w.wave[0]["key"] = key
        sift(w.wave, 0, size)
    return size


@part
def return_to_heap(w: World, m: Merge, i: int, side: int, row: int, now: float, size: int) -> int:
    """Put a position whose liquidation stopped back into the heap where the leg reaches it again."""
    if w.book[i]["status"] != HELD or m.seen[i] == m.counts[STAMP]:
        return size
    level = look(w, m, i, side, row, now)
    if not np.isnan(level):
        return rise(w, m, i, sign(side) * level, size)
    node = whole(w.book[i]["nodes"])
    while node >= 0:
        if w.nodes[node]["theta"] >= m.gathered[w.nodes[node]["slot"] // w.settings[0]["buckets"]]:
            m.counts[AGAIN] = 1
        node = whole(w.nodes[node]["sibling"])
    return size
