"""Requeueing of positions under a new key."""

from __future__ import annotations

from backtest.kernel.compile import part
from backtest.kernel.replay import position_index, trigger_queues
from backtest.kernel.replay.state import (
    World,
    terms,
    whole,
)


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
