"""Paths of a price inside bars: random walks given where each bar opens, how far it goes, and where it closes.

A bar's range is cut into levels. The walk takes one step from node to node, normal with the bar's own standard
deviation; of all walks from the open to the close that touch the lowest and the highest level and leave neither,
one is drawn by its probability. How probable it is to end well from each level is worked out backwards, then the
walk is drawn forwards: no walk is rejected.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from backtest.kernel.compile import helper, kernel
from backtest.kernel.types import Floats, Integers

#: Steps longer than this many standard deviations are not taken.
WIDEST = 4.5

#: Flags of what a walk has touched: the lowest level, the highest.
LOWEST, HIGHEST, BOTH = 1, 2, 3


class Bridges(NamedTuple):
    """What each walk runs through, (bars,) each."""

    number: Integers  #: of the bar: the draws of a bar do not depend on which others are asked for
    levels: Integers  #: two or more; the lowest price is level 0
    first: Integers  #: level of the open
    last: Integers  #: level of the close
    deviation: Floats  #: of a step, in levels


class Scratch(NamedTuple):
    """Room for one walk."""

    chance: Floats  #: ((nodes + 1) * 4 * levels,) of ending well, by node, flags and level
    step: Floats  #: (2 * levels + 1,) weights of the steps


def scratch(nodes: int, levels: int) -> Scratch:
    """Return room for walks of so many nodes and at most so many levels."""
    return Scratch(np.empty((nodes + 1) * 4 * levels), np.empty(2 * levels + 1))


@helper
def uniform(seed: int, bar: int, node: int) -> float:
    """Return a number between 0 and 1 that a seed, a bar and a node decide (splitmix64)."""
    mixed = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(bar) * np.uint64(0xD1B54A32D192ED03)
    mixed += np.uint64(node + 1) * np.uint64(0x8CB92BA72F3D8DD7)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return float(mixed >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@helper
def touched(level: int, levels: int, flags: int) -> int:
    """Return the flags after a level."""
    if level == 0:
        flags |= LOWEST
    if level == levels - 1:
        flags |= HIGHEST
    return flags


@helper
def work_backwards(room: Scratch, nodes: int, levels: int, last: int, band: int) -> None:
    """Write how probable it is to end well from each node, under each flags, at each level; scaled by node."""
    chance, step = room.chance, room.step
    size = 4 * levels
    for place in range(nodes * size, (nodes + 1) * size):
        chance[place] = 0.0
    for flags in range(4):
        if touched(last, levels, flags) == BOTH:
            chance[nodes * size + flags * levels + last] = 1.0
    for node in range(nodes - 1, -1, -1):
        after, total = (node + 1) * size, 0.0
        for flags in range(4):
            low = chance[after + (flags | LOWEST) * levels]
            high = chance[after + (flags | HIGHEST) * levels + levels - 1]
            for level in range(levels):
                found = 0.0
                for to in range(max(0, level - band), min(levels - 1, level + band) + 1):
                    ends = chance[after + flags * levels + to]
                    if to == 0:
                        ends = low
                    elif to == levels - 1:
                        ends = high
                    found += step[to - level + band] * ends
                chance[node * size + flags * levels + level] = found
                total += found
        if total > 0.0:
            for place in range(node * size, (node + 1) * size):
                chance[place] /= total


@helper
def choose(room: Scratch, after: int, levels: int, level: int, flags: int, band: int, draw: float) -> int:
    """Return the level that a walk steps to, by the chances of ending well from there; -1 where none does."""
    chance, step = room.chance, room.step
    first, last = max(0, level - band), min(levels - 1, level + band)
    total = 0.0
    for to in range(first, last + 1):
        total += step[to - level + band] * chance[after + touched(to, levels, flags) * levels + to]
    if total <= 0.0:
        return -1
    goal, found, chosen = draw * total, 0.0, -1
    for to in range(first, last + 1):
        weight = step[to - level + band] * chance[after + touched(to, levels, flags) * levels + to]
        found += weight
        if weight > 0.0:
            chosen = to
            if found > goal:
                break
    return chosen


@kernel
def walk(bridges: Bridges, nodes: int, seed: int, room: Scratch, path: Integers, begin: int, stop: int) -> None:
    """Write the levels of the walks [begin, stop), ``path`` (bars * (nodes + 1),); -1 from where none goes on."""
    for bar in range(begin, stop):
        levels, level, deviation = bridges.levels[bar], bridges.first[bar], bridges.deviation[bar]
        band = min(levels - 1, max(1, math.ceil(WIDEST * deviation)))
        for distance in range(-band, band + 1):
            room.step[distance + band] = math.exp(-0.5 * (distance / deviation) * (distance / deviation))
        work_backwards(room, nodes, levels, bridges.last[bar], band)
        flags, at = touched(level, levels, 0), bar * (nodes + 1)
        path[at] = level
        for node in range(nodes):
            if level >= 0:
                draw = uniform(seed, bridges.number[bar], node)
                level = choose(room, (node + 1) * 4 * levels, levels, level, flags, band, draw)
                flags = touched(level, levels, flags)
            path[at + node + 1] = level
