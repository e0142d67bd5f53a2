"""Requeueing of positions under a new key, and under tables that take over."""

from __future__ import annotations

from backtest.kernel.compile import helper, part
from backtest.kernel.replay import position_index, trigger_queues
from backtest.kernel.replay.codes import HELD
from backtest.kernel.replay.state import World, terms, whole

#: Beyond all rows.
NEVER = 2**62


@part
def rekey(w: World, i: int) -> None:
    """Put a position into the queues, and among its likes, by its present terms."""
    y = whole(w.book[i]["symbol"])
    buckets = w.settings[0]["buckets"]
    trigger_queues.leave(w.book, w.nodes, w.heads, w.queues, w.counters, buckets, i)
    held = terms(w.groups, w.tiers, w.book, i)
    at = w.symbols[y]["funding_now"]
    now = w.charges[at]["cumulative"]
    trigger_queues.join(
        w.groups, w.tiers, w.book, w.nodes, w.heads, w.queues, w.counters, buckets, i, held,
        now + w.charges[at]["fall"], now + w.charges[at]["rise"],
    )  # fmt: skip
    if w.symbols[y]["indexed"][w.book[i]["side"]] != 0:
        position_index.relist(w, i, now)


@helper
def under_next_tables(w: World, i: int, row: int) -> bool:
    """Put a position under the last table that applies to it at a row; return whether it has a new one."""
    group, moved = whole(w.book[i]["group"]), False
    following = whole(w.groups[group]["successor"])
    while following >= 0 and w.groups[following]["row"] <= row:
        group, moved = following, True
        following = whole(w.groups[group]["successor"])
    w.book[i]["group"] = group
    return moved


@part
def begin_tables(w: World, y: int, row: int) -> None:
    """Put the open positions of a symbol under the tables that begin."""
    for cell in range(w.symbols[y]["cells"][0], position_index.end_of(w, y, 1)):
        i = whole(w.cells[cell]["head"])
        while i >= 0:
            following = whole(w.book[i]["next_member"])
            if under_next_tables(w, i, row) and w.book[i]["status"] == HELD:
                rekey(w, i)
            i = following
    w.symbols[y]["table_row"] = NEVER
    for group in range(w.symbols[y]["group_first"], w.symbols[y]["group_end"]):
        if w.groups[group]["row"] > row:
            w.symbols[y]["table_row"] = min(w.symbols[y]["table_row"], w.groups[group]["row"])
