"""Counterfactuals: the same policy changes nothing, and taking all flow out gives the path without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from test_replay import NOON, book, crash, market, plain_venue

from backtest import Book, Impact, Market, replay
from backtest.errors import ArgumentError
from backtest.schemas import Side, Time
from backtest.study.counterfactual import counterfactual, facts_of


@pytest.mark.parametrize("seed", range(4))
def test_counterfactual__the_same_policy_gives_an_offset_of_exactly_zero(seed: int) -> None:
    held, path = crash(seed, 500)
    venue = plain_venue(0.01)
    facts = facts_of(held, path, venue)
    found = counterfactual(held, path, facts, venue, strength=1e-5)
    assert (found.path["offset"] == 0).all()
    assert found.outcomes["liquidated"].equals(facts["liquidated"])
    assert found.outcomes["outcome_time"].equals(facts["outcome_time"])
    np.testing.assert_allclose(
        found.outcomes["fill_price"].drop_nulls(), facts["fill_price"].filter(facts["liquidated"]), rtol=1e-12
    )


def early_longs(count: int, opening: float, rng: np.random.Generator) -> Book:
    columns: dict[str, Any] = {
        "position_id": np.arange(count),
        "symbol": "BTCUSDT",
        "side": pl.Series(["long"] * count, dtype=Side),
        "entry_time": pl.Series([NOON] * count, dtype=Time),
        "entry_price": opening,
        "quantity": rng.lognormal(0, 1, count),
        "leverage": np.exp(rng.uniform(np.log(2), np.log(20), count)),
    }
    return Book(pl.DataFrame(columns))


@pytest.mark.parametrize("seed", range(3))
def test_counterfactual__without_any_flow_recovers_the_path_without_liquidations(seed: int) -> None:
    _, quiet = crash(seed)
    opening = float(quiet.bars["open"][0])
    held, venue, strength = early_longs(400, opening, np.random.default_rng(seed)), plain_venue(0.01), 2e-6
    made = replay(held, quiet, venue, fund=1e6, impact=Impact(mark=strength, largest_offset=5), exogenous=True)
    after = np.exp(made.impact["offset"].to_numpy())
    before = np.append(1.0, after[:-1])
    bars = quiet.bars
    moved = market(
        *zip(
            bars["open"] * before,
            bars["high"] * before,
            bars["low"] * after,
            bars["close"] * after,
            strict=True,
        )
    )
    assert made.outcomes["liquidated"].sum() > 50
    found = counterfactual(held, moved, made.outcomes, venue, strength=strength, sold=0.0)
    np.testing.assert_allclose(found.path["mark"], bars["close"], rtol=1e-9)
    level = replay(held, quiet, venue, fund=1e6).outcomes
    assert found.outcomes["liquidated"].equals(level["liquidated"])


def test_counterfactual__a_gentler_policy_falls_less() -> None:
    held, path = crash(9, 800)
    facts = facts_of(held, path, plain_venue(0.05))
    found = counterfactual(held, path, facts, plain_venue(0.01), strength=2e-6)
    assert found.path["policy_notional"].sum() > 0
    assert found.outcomes["liquidated"].sum() != facts["liquidated"].sum()


def test_counterfactual__refuses_what_it_cannot_resolve() -> None:
    path = market((100, 100, 100, 100))
    venue = plain_venue(0.01)
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0})
    facts = facts_of(held, path, venue)
    with pytest.raises(ArgumentError, match="sold"):
        counterfactual(held, path, facts, venue, strength=1.0, sold=2.0)
    with pytest.raises(ArgumentError, match="strength"):
        counterfactual(held, path, facts, venue, strength=-1.0)
    stopped = Book(held.positions.with_columns(stop_price=90.0))
    with pytest.raises(ArgumentError, match="without stops"):
        counterfactual(stopped, path, facts, venue, strength=1.0)
    two = Market(pl.concat([path.bars, path.bars.with_columns(symbol=pl.lit("ETHUSDT"))]))
    with pytest.raises(ArgumentError, match="one symbol"):
        counterfactual(held, two, facts, venue, strength=1.0)


@pytest.mark.parametrize("trigger", ["<=", "<"])
@pytest.mark.parametrize("seed", range(12))
def test_counterfactual__the_same_policy_changes_nothing_where_levels_lie_on_extremes(
    seed: int, trigger: str
) -> None:
    rng = np.random.default_rng([seed, 11])
    path = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, 41))))
    wicks = rng.integers(0, 4, (2, 40))
    bars = market(
        *(
            (
                path[n],
                max(path[n], path[n + 1]) + wicks[0, n],
                min(path[n], path[n + 1]) - wicks[1, n],
                path[n + 1],
            )
            for n in range(40)
        )
    )
    entries = rng.integers(0, 38, 60)
    held = pl.DataFrame(
        {
            "position_id": np.arange(60),
            "symbol": "BTCUSDT",
            "side": pl.Series(rng.choice(["long", "short"], 60), dtype=Side),
            "entry_time": bars.bars["time"].gather(entries),
            "entry_price": path[entries],
            "quantity": np.ones(60),
            "leverage": rng.choice([2.0, 5.0, 10.0, 20.0], 60),
        }
    )
    venue = plain_venue(0.01).with_(trigger=trigger)
    facts = facts_of(Book(held), bars, venue)
    found = counterfactual(Book(held), bars, facts, venue, strength=1e-3)
    assert (found.path["offset"] == 0.0).all()
    assert found.outcomes["outcome_time"].equals(facts["outcome_time"].set(~facts["liquidated"], None))


def test_counterfactual__refuses_gaps_and_facts_of_others() -> None:
    bars = market((100, 101, 99, 100), (100, 101, 80, 85), (85, 90, 80, 85))
    venue, held = plain_venue(0.01), book({"entry_price": 100.0, "quantity": 1.0, "margin": 10.0})
    facts = facts_of(held, bars, venue)
    with pytest.raises(ArgumentError, match="their position_id differ"):
        counterfactual(held, bars, facts.with_columns(pl.col("position_id") + 7), venue, strength=1e-3)
    late = bars.bars.with_columns(
        pl.when(pl.int_range(pl.len()) == 2)
        .then(pl.col("time") + pl.duration(hours=9))
        .otherwise("time")
        .alias("time")
    )
    with pytest.raises(ArgumentError, match="without long gaps"):
        counterfactual(held, Market(late), facts, venue, strength=1e-3)
