"""On real minutes of May 2021: the same policy changes nothing, taking the flow out lifts the low of the 19th."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_replay_sweep import assert_closes

from backtest import Book, Impact, Market, Venue, population
from backtest.study.policy.counterfactuals import counterfactual, strength_limits

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (DATA / "spot_1m_may_2021.parquet").exists(), reason="the real data are not beside the repository"
    ),
]
BINANCE = Venue.load("binance")


@pytest.fixture(scope="module")
def market() -> Market:
    window = (pl.col("symbol") == "BTCUSDT") & pl.col("time").is_between(
        datetime(2021, 5, 14, tzinfo=UTC), datetime(2021, 5, 20, tzinfo=UTC)
    )
    bars = pl.read_parquet(DATA / "spot_1m_may_2021.parquet").filter(window)
    return Market(bars, pl.read_parquet(DATA / "funding_8h.parquet").filter(window))


@pytest.fixture(scope="module")
def book(market: Market) -> Book:
    return population.synthetic(market, BINANCE, count=20_000, seed=1, tiers="nearest")


def test_counterfactual__of_the_real_crash(market: Market, book: Book) -> None:
    facts = counterfactual(book, market, BINANCE, BINANCE, impact=Impact(), tiers="nearest", fund=1e9).facts
    day = pl.col("time").dt.date() == datetime(2021, 5, 19, tzinfo=UTC).date()
    sold = float(facts.flow.filter(day, pl.col("side") == "long")["notional"].sum())
    held = {"step": "fraction", "step_fraction": 1.0, "slices": "takeover", "unwind": "hold", "rounds": 0}
    lows = []
    for move in (0.01, 0.05):
        impact = Impact(mark=move / sold, permanent=0.5)
        same, none = (
            counterfactual(
                book, market, BINANCE, policy, impact=impact, tiers="nearest", fund=1e9, facts=facts
            ).policy
            for policy in (BINANCE, BINANCE.with_(adl_trigger="never", **held))
        )
        assert (same.impact["offset"] == 0).all()
        assert same.outcomes.equals(facts.outcomes)
        assert_closes(none)
        assert none.flow["notional"].sum() == 0
        lows.append(float((market.prices("mark", "low") * np.exp(none.impact["offset"].to_numpy())).min()))
    assert market.prices("mark", "low").min() < lows[0] < lows[1]
    limits = strength_limits(facts.flow, market).filter(day).sort("strength")
    assert limits.filter(pl.col("strength") < 0.01 / sold)["notional"].sum() < 0.05 * sold
