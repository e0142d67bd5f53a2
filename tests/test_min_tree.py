"""Searching a min-tree against walking along its values."""

from __future__ import annotations

import numpy as np
import pytest

from backtest.kernel.arrays import Forest
from backtest.kernel.compile import COMPILED, kernel
from backtest.kernel.margin.position import search
from backtest.kernel.search import min_tree, simd
from backtest.kernel.types import Floats, Integers, aligned, readonly

LENGTHS = (1, 2, 7, 8, 9, 63, 64, 65, 511, 512, 513, 4_097)


@kernel
def searched(forest: Forest, starts: Integers, ends: Integers, thresholds: Floats, found: Integers) -> None:
    """Search the one tree of a forest, so that the compiled search can be called from here."""
    for i in range(found.shape[0]):
        found[i] = search(forest, 0, 0, starts[i], ends[i], thresholds[i])


def planted(values: Floats) -> Forest:
    """Return a forest of one tree."""
    layout = min_tree.layout(values.size)
    tree = aligned(layout.size)
    tree[: values.size] = values
    min_tree.fill(tree, 0, layout.offsets, values.size)
    none = readonly(np.zeros(1))
    levels = readonly(np.array([0, layout.offsets.size]))
    return Forest(readonly(tree), readonly(np.zeros(1, np.int64)), none, levels, layout.offsets)


def walked(values: Floats, start: int, end: int, threshold: float) -> int:
    """Return the first index in [start, end) with a value at most the threshold, or -1, by looking at each."""
    for index in range(start, end):
        if values[index] <= threshold:
            return index
    return -1


@pytest.mark.parametrize("length", LENGTHS)
def test_search__finds_what_walking_along_finds(length: int) -> None:
    rng = np.random.default_rng(length)
    values = np.round(rng.normal(size=length).cumsum(), 1)
    values[rng.random(length) < 0.02] = np.nan
    values[rng.random(length) < 0.02] = np.inf
    count = 300
    starts = rng.integers(0, length + 1, count)
    ends = np.minimum(starts + rng.integers(0, length + 1, count), length)
    near = np.nan_to_num(values[np.minimum(starts, length - 1)], posinf=0.0)
    thresholds = np.round(near - rng.exponential(2, count), 1)
    found = np.empty(count, np.int64)
    searched(planted(values), readonly(starts), readonly(ends), readonly(thresholds), found)
    expected = [walked(values, *query) for query in zip(starts, ends, thresholds, strict=True)]
    assert found.tolist() == expected


def test_search__finds_nothing_where_nothing_is_low_enough() -> None:
    values = np.arange(1_000.0)
    found = np.empty(1, np.int64)
    searched(
        planted(values), readonly(np.array([0])), readonly(np.array([1_000])), readonly(np.array([-1.0])), found
    )
    assert found[0] == -1


def test_search__takes_a_value_equal_to_the_threshold() -> None:
    values = np.array([3.0, 2.0, 1.0, 2.0])
    found = np.empty(2, np.int64)
    starts, ends = readonly(np.array([0, 2])), readonly(np.array([4, 4]))
    searched(planted(values), starts, ends, readonly(np.array([2.0, 1.0])), found)
    assert found.tolist() == [1, 2]


def test_levels__hold_the_minimum_of_every_eight() -> None:
    values = np.random.default_rng(5).normal(size=700)
    layout = min_tree.layout(values.size)
    tree = np.full(layout.size, np.nan)
    tree[: values.size] = values
    min_tree.fill(tree, 0, layout.offsets, values.size)
    below = values
    for offset in layout.offsets[1:]:
        groups = [below[start : start + 8].min() for start in range(0, below.size, 8)]
        assert tree[offset : offset + len(groups)].tolist() == groups
        below = np.array(groups)
    assert not np.isnan(tree).any()


@pytest.mark.skipif(not COMPILED, reason="there is only the plain form")
def test_plain_lanes__mean_what_the_compiled_ones_do() -> None:
    @kernel
    def compiled(values: Floats, start: int, threshold: float, lane: int) -> tuple[int, int, int]:
        bits = simd.lanes_at_most(values, start, threshold)
        return bits, simd.drop_lanes_before(bits, lane), simd.first_lane(bits)

    rng = np.random.default_rng(9)
    for _ in range(200):
        values = readonly(np.round(rng.normal(size=24), 1))
        start, lane = int(rng.integers(0, 17)), int(rng.integers(0, 8))
        threshold = float(values[start + lane])
        bits = simd._lanes_at_most(values, start, threshold)
        expected = (bits, simd._drop_lanes_before(bits, lane), simd._first_lane(bits))
        assert compiled(values, start, threshold, lane) == expected
