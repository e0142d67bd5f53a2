"""Min-trees: the first index at or after another whose value is at most a threshold.

A tree is eight-ary and stored level by level in one array: the values, then the minimum of every eight of them,
and so on until one block of eight is left. Levels are padded with infinity to whole blocks, and start on cache
lines. A search climbs from its first index until a block holds a match and descends to the first one: about
seven blocks for half a million values, wherever the answer lies.

Several trees of one layout lie end to end in one array, ``layout.size`` apart; ``base`` is where one starts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.compile import helper, kernel
from backtest.kernel.search.simd import WIDTH, drop_lanes_before, first_lane, lanes_at_most
from backtest.kernel.types import Floats, Integers, readonly

BITS = 3  # eight children a node


class Layout(NamedTuple):
    """Where the levels of a tree of ``length`` values lie."""

    offsets: Integers  #: (levels,) start of each level, counted from the tree's base
    size: int  #: values and padding of the whole tree


def layout(length: int) -> Layout:
    """Return the layout of a tree over ``length`` values; there is always at least one block."""
    offsets, size, width = [], 0, max(length, 1)
    while True:
        offsets.append(size)
        size += -(-width // WIDTH) * WIDTH
        if width <= WIDTH:
            return Layout(readonly(np.array(offsets, np.int64)), size)
        width = -(-width // WIDTH)


@kernel
def fill(tree: Floats, base: int, offsets: Integers, length: int) -> None:
    """Fill the upper levels of the tree at ``base`` from its first ``length`` values, padding every level."""
    width = length
    for level in range(offsets.shape[0]):
        start = base + offsets[level]
        padded = max((width + WIDTH - 1) // WIDTH, 1)
        for node in range(width, padded * WIDTH):
            tree[start + node] = np.inf
        if level + 1 < offsets.shape[0]:
            above = base + offsets[level + 1]
            for node in range(padded):
                lowest = np.inf
                for lane in range(WIDTH):
                    value = tree[start + node * WIDTH + lane]
                    if value < lowest:
                        lowest = value
                tree[above + node] = lowest
        width = padded


@helper
def first_at_most(
    tree: Floats,
    base: int,
    offsets: Integers,
    first_level: int,
    levels: int,
    start: int,
    end: int,
    threshold: float,
) -> int:
    """Return the first index in [start, end) with a value at most ``threshold``, or -1.

    ``offsets[first_level : first_level + levels]`` is the layout of the tree at ``base``.
    """
    if start >= end:
        return -1
    level = 0
    node = start
    block = node >> BITS << BITS
    bits = drop_lanes_before(lanes_at_most(tree, base + block, threshold), node & (WIDTH - 1))
    while bits == 0:
        node = (node >> BITS) + 1  # the next block, as a node one level up
        level += 1
        if level >= levels or (node << (BITS * level)) >= end:
            return -1
        block = node >> BITS << BITS
        found = lanes_at_most(tree, base + offsets[first_level + level] + block, threshold)
        bits = drop_lanes_before(found, node & (WIDTH - 1))
    node = block + first_lane(bits)
    while level > 0:
        level -= 1
        block = node << BITS
        node = block + first_lane(lanes_at_most(tree, base + offsets[first_level + level] + block, threshold))
    return node if node < end else -1
