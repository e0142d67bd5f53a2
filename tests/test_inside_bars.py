"""Paths inside bars: exactly through each bar, drawn by their probability, the same whoever asks."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import polars as pl
import pytest
from random_cases import random_case

from backtest import Market
from backtest.errors import ArgumentError
from backtest.kernel.study import inside_bars as kernel
from backtest.market.inside_bars import deviations, paths

START = datetime(2024, 1, 1, tzinfo=UTC)


def market_of(seed: int) -> Market:
    case = random_case(np.random.default_rng(seed), 20)
    return Market(case.bars, case.funding, gap_limit=None)


@pytest.mark.parametrize("seed", range(20))
def test_finer_bars__together_are_the_bars_there_were(seed: int) -> None:
    market = market_of(seed)
    nodes = 5
    fine = market.refined(nodes, seed=seed)
    assert fine.bars.height == nodes * market.bars.height
    rows = np.repeat(np.arange(market.bars.height), nodes)
    series = [name for name in ("mark", "last", "index") if market.has(name)]
    for name in series:
        prefix = "" if name == "mark" else f"{name}_"
        whole = fine.bars.group_by(pl.Series("row", rows), maintain_order=True).agg(
            pl.col(f"{prefix}open").first(), pl.col(f"{prefix}high").max(),
            pl.col(f"{prefix}low").min(), pl.col(f"{prefix}close").last(),
        )  # fmt: skip
        for part in ("open", "high", "low", "close"):
            np.testing.assert_array_equal(whole[f"{prefix}{part}"], market.prices(name, part))
    assert fine.times[::nodes].tolist() == market.times.tolist()


def all_walks(levels: int, first: int, last: int, deviation: float, nodes: int) -> dict[tuple[int, ...], float]:
    """Return the probability of each walk that touches both ends, from all there are."""
    found = {}
    for inner in product(range(levels), repeat=nodes - 1):
        walk = (first, *inner, last)
        if min(walk) == 0 and max(walk) == levels - 1:
            steps = np.diff(walk)
            found[walk] = float(np.exp(-0.5 * np.square(steps / deviation)).prod())
    total = sum(found.values())
    return {walk: weight / total for walk, weight in found.items()}


@pytest.mark.parametrize(
    ("levels", "first", "last", "deviation"), [(4, 2, 1, 1.3), (3, 0, 2, 0.8), (5, 4, 4, 2.0)]
)
def test_walks__are_drawn_by_their_probability(levels: int, first: int, last: int, deviation: float) -> None:
    nodes, count = 4, 20_000
    every = np.ones(count, np.int64)
    bridges = kernel.Bridges(
        np.arange(count), levels * every, first * every, last * every, deviation * np.ones(count)
    )
    path = np.empty(count * (nodes + 1), np.int64)
    kernel.walk(bridges, nodes, 3, kernel.scratch(nodes, levels), path, 0, count)
    drawn = Counter(map(tuple, path.reshape(count, nodes + 1).tolist()))
    expected = all_walks(levels, first, last, deviation, nodes)
    assert set(drawn) <= set(expected)
    for walk, chance in expected.items():
        assert abs(drawn[walk] / count - chance) < 5 * np.sqrt(chance * (1 - chance) / count) + 1e-4, walk


def test_paths__do_not_depend_on_which_others_are_asked_for() -> None:
    market, other = market_of(3), market_of(3)
    all_rows = np.arange(market.bars.height)
    whole = paths(market, "mark", all_rows, 12, 7)
    for rows in ([5], [1, 5, 9], [0, 2]):
        some = paths(other, "mark", np.array(rows), 12, 7)
        own = np.searchsorted(some.rows, rows)
        np.testing.assert_array_equal(some.prices[own], whole.prices[rows])
    assert not np.array_equal(paths(other, "mark", all_rows, 12, 8).prices, whole.prices)


def brownian(seed: int, bars: int, steps: int, deviation: float) -> Market:
    """Return bars of a walk in the logarithm of so many steps each."""
    rng = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(np.append(0.0, rng.normal(0, deviation / np.sqrt(steps), bars * steps))))
    inside = np.stack([walk[bar * steps : (bar + 1) * steps + 1] for bar in range(bars)])
    return Market(
        {
            "symbol": "X", "time": [START + timedelta(hours=bar) for bar in range(bars)],
            "open": inside[:, 0], "high": inside.max(1), "low": inside.min(1), "close": inside[:, -1],
        }
    )  # fmt: skip


def test_deviation__of_one_volatility_is_found_and_its_paths_have_it() -> None:
    market = brownian(1, 500, 400, 0.01)
    assert deviations(market, "mark").mean() == pytest.approx(0.01, rel=0.05)
    drawn = np.log(paths(market, "mark", np.arange(500), 100, 0).prices)
    assert np.square(np.diff(drawn, axis=1)).sum(axis=1).mean() == pytest.approx(0.01**2, rel=0.1)


def test_bars_that_stand_still__and_one_bar_alone() -> None:
    still = Market({"symbol": "X", "time": [START], "open": [5.0], "high": [5.0], "low": [5.0], "close": [5.0]})
    assert (paths(still, "mark", np.array([0]), 7, 0).prices == 5).all()
    lone = Market({"symbol": "X", "time": [START], "open": [5.0], "high": [6.0], "low": [4.0], "close": [5.5]})
    drawn = paths(lone, "mark", np.array([0]), 20, 0).prices[0]
    assert (drawn[0], drawn[-1], drawn.min(), drawn.max()) == (5.0, 5.5, 4.0, 6.0)


@pytest.mark.parametrize(("nodes", "seed", "match"), [(1, 0, "nodes must be a whole"), (7, 0, "divide a bar"),
                                                      (10, -1, "seed must be"), (2.5, 0, "nodes")])  # fmt: skip
def test_bad_numbers__are_refused(nodes, seed, match) -> None:
    bars = {
        "symbol": "X",
        "time": [START, START + timedelta(seconds=1)],
        **dict.fromkeys(("open", "high", "low", "close"), 5.0),
    }
    with pytest.raises(ArgumentError, match=match):
        Market(bars).refined(nodes, seed=seed)
