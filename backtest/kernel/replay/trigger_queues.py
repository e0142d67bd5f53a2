"""Bucket queues: open positions in order of their trigger threshold.

A queue of one (symbol, side, rate) holds a node a position and tier that can trigger. Buckets are equal steps of
theta, the first holding the largest; each is a doubly linked list, so that a node leaves without being looked for.
A bar's X lies in one bucket too: every node before it crosses, nodes in it are compared one by one. The order of
floats survives the subtraction, the product and the cut that make a bucket's number, so no node is missed.
"""

from __future__ import annotations

from backtest.kernel.compile import helper, part
from backtest.kernel.margin import position
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay.records import Records
from backtest.kernel.replay.state import FREE_NODE, FREE_NODES, FULL, NODES_USED, rules_of
from backtest.kernel.types import Codes, Integers


@helper
def bucket_of(queues: Records, queue: int, x: float, buckets: int) -> int:
    """Return the bucket of a threshold, or of a bar's X."""
    steps = (queues[queue]["top"] - x) * queues[queue]["scale"]
    return int(min(max(steps, 0.0), buckets - 1.0))


@helper
def push(nodes: Records, heads: Codes, queues: Records, buckets: int, queue: int, node: int, theta: float) -> None:
    """Put a node in front of its bucket."""
    bucket = bucket_of(queues, queue, theta, buckets)
    slot = queue * buckets + bucket
    after = heads[slot]
    nodes[node]["theta"] = theta
    nodes[node]["slot"] = slot
    nodes[node]["next"] = after
    nodes[node]["previous"] = -1
    if after >= 0:
        nodes[after]["previous"] = node
    heads[slot] = node
    queues[queue]["first"] = min(queues[queue]["first"], bucket)
    queues[queue]["count"] += 1


@helper
def pull(nodes: Records, heads: Codes, queues: Records, buckets: int, node: int) -> None:
    """Take a node out of its bucket."""
    slot = nodes[node]["slot"]
    before, after = nodes[node]["previous"], nodes[node]["next"]
    if before >= 0:
        nodes[before]["next"] = after
    else:
        heads[slot] = after
    if after >= 0:
        nodes[after]["previous"] = before
    queues[slot // buckets]["count"] -= 1


@helper
def settled_first(heads: Codes, queues: Records, buckets: int, queue: int, last: int) -> int:
    """Return the first bucket up to ``last`` that holds a node, or the one after it."""
    first = queues[queue]["first"]
    base = queue * buckets
    while first <= last and heads[base + first] < 0:
        first += 1
    queues[queue]["first"] = min(first, buckets - 1)
    return first


@helper
def new_node(nodes: Records, counters: Integers) -> int:
    """Return an unused node, or -1 where there is none left."""
    node = counters[FREE_NODE]
    if node >= 0:
        counters[FREE_NODE] = nodes[node]["sibling"]
        counters[FREE_NODES] -= 1
        return node
    node = counters[NODES_USED]
    if node == nodes.shape[0]:
        counters[FULL] = 1
        return -1
    counters[NODES_USED] = node + 1
    return node


@helper
def discard(nodes: Records, heads: Codes, queues: Records, counters: Integers, buckets: int, node: int) -> None:
    """Take a node out of its bucket, and keep it for another position."""
    pull(nodes, heads, queues, buckets, node)
    nodes[node]["sibling"] = counters[FREE_NODE]
    counters[FREE_NODE] = node
    counters[FREE_NODES] += 1


@part
def leave(
    book: Records, nodes: Records, heads: Codes, queues: Records, counters: Integers, buckets: int, i: int
) -> None:
    """Take a position's nodes for liquidation out of their queues."""
    node = book[i]["nodes"]
    while node >= 0:
        following = nodes[node]["sibling"]
        discard(nodes, heads, queues, counters, buckets, node)
        node = following
    book[i]["nodes"] = -1


@helper
def join(
    groups: Records,
    tiers: Records,
    book: Records,
    nodes: Records,
    heads: Codes,
    queues: Records,
    counters: Integers,
    buckets: int,
    i: int,
    held: Segment,
    lowest: float,
    highest: float,
) -> None:
    """Put a position into the queue of every tier that can trigger while funding stays between two sums."""
    rules = rules_of(groups, tiers)
    low, high = position.tiers_between(rules, held, lowest, highest)
    for tier in range(low, high + 1):
        node = new_node(nodes, counters)
        if node < 0:
            return
        nodes[node]["owner"] = i
        nodes[node]["sibling"] = book[i]["nodes"]
        book[i]["nodes"] = node
        queue = position.tree_of(rules, held, tier)
        theta = position.threshold_within(rules, held, tier, queues[queue]["largest"])
        push(nodes, heads, queues, buckets, queue, node, theta)


@helper
def comes_before(ranking: Records, one: int, other: int) -> bool:
    """Return whether one entry comes before another: the larger key, ties by the smaller id."""
    first, second = ranking[one]["key"], ranking[other]["key"]
    return first > second or (first == second and ranking[one]["id"] < ranking[other]["id"])


@helper
def swap(ranking: Records, one: int, other: int) -> None:
    """Exchange two entries."""
    key, identity, i = ranking[one]["key"], ranking[one]["id"], ranking[one]["i"]
    ranking[one]["key"], ranking[one]["id"] = ranking[other]["key"], ranking[other]["id"]
    ranking[one]["i"] = ranking[other]["i"]
    ranking[other]["key"], ranking[other]["id"], ranking[other]["i"] = key, identity, i


@part
def sift(ranking: Records, root: int, size: int) -> None:
    """Let an entry sink until no entry below it comes before it."""
    while True:
        child = 2 * root + 1
        if child >= size:
            return
        if child + 1 < size and comes_before(ranking, child + 1, child):
            child += 1
        if not comes_before(ranking, child, root):
            return
        swap(ranking, root, child)
        root = child


@part
def heapify(ranking: Records, size: int) -> None:
    """Make a heap of the first entries, the one that comes first on top."""
    for root in range(size // 2 - 1, -1, -1):
        sift(ranking, root, size)


@part
def pop(ranking: Records, size: int) -> None:
    """Move the entry on top to the end of the heap, which shrinks by one."""
    swap(ranking, 0, size - 1)
    sift(ranking, 0, size - 1)


@part
def in_order(ranking: Records, size: int) -> None:
    """Sort the first entries: larger keys first, ties by id."""
    if size <= 16:
        for one in range(1, size):
            other = one
            while other > 0 and comes_before(ranking, other, other - 1):
                swap(ranking, other, other - 1)
                other -= 1
        return
    heapify(ranking, size)
    for left in range(size, 1, -1):
        pop(ranking, left)
    for one in range(size // 2):
        swap(ranking, one, size - 1 - one)
