"""Totals beyond what int64 holds are counted, or refused by name; they never wrap to a negative number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, sweep
from backtest.errors import ArgumentError, DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.study import liquidations, survival
from backtest.study.levels.combine import combined
from backtest.study.levels.grid import level_grid
from backtest.study.levels.level_maps import level_map
from backtest.study.levels.levels import levels_of, without_drift
from backtest.study.liquidations import cascades, feed_throttling
from backtest.study.partial_sums.outcomes import condense, merge
from backtest.study.policy import bands
from backtest.study.policy.evaluations import _liquidated_sums, _sums
from backtest.study.policy.settlement import FundPath, Run, Terms
from backtest.study.prediction import liquidation_at_risk
from backtest.study.stats.bootstrap import drawn_sums, resampling
from backtest.study.units import countable

START = datetime(2021, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("ms", "UTC")
ROWS = 300
VENUE = Venue(
    name="any",
    title="Any",
    contracts={"X": Contract(symbol="X", tables=(TierTable(name="flat", rates=np.array([0.005])),))},
)


def market() -> Market:
    closes = np.array([100.0, 99, 96, 80, 82, 85])
    opens = np.concatenate([[100.0], closes[:-1]])
    times = pl.Series([START + n * HOUR for n in range(6)], dtype=TIME)
    prices = {"open": opens, "close": closes, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes)}
    return Market(pl.DataFrame({"symbol": ["X"] * 6, "time": times, "volume": [1e6] * 6, **prices}))


def book(quantity: float = 1e13, weight: float = 1.0, leverage: float = 10.0) -> Book:
    """Return long positions, half of them liquidated: 10x at 100, the price falls to 80."""
    return Book(
        pl.DataFrame(
            {
                "symbol": ["X"] * ROWS,
                "side": ["long"] * ROWS,
                "entry_time": pl.Series([START] * ROWS, dtype=TIME),
                "entry_price": [100.0] * ROWS,
                "quantity": [quantity] * ROWS,
                "leverage": [leverage if n % 2 else 1.5 for n in range(ROWS)],
                "weight": [weight] * ROWS,
            }
        )
    )


@pytest.fixture(scope="module")
def huge() -> pl.DataFrame:
    """Return outcomes of 1e15 each, 3e17 together: 3e19 cents, 2^63 are 9.2e18."""
    return sweep(book(), market(), VENUE)


@pytest.fixture(scope="module")
def crowded() -> pl.DataFrame:
    """Return outcomes of 1e11 traders each, 3e13 together: 3e19 millionths."""
    return sweep(book(1.0, weight=1e11), market(), VENUE)


def test_flow__of_amounts_beyond_int64(huge, crowded):
    found = liquidations.summary(huge).row(0, named=True)
    assert found["book_notional"] == 3e17
    assert found["notional_share"] == 0.5
    assert found["liquidated_notional"] == pytest.approx(
        huge.filter("liquidated")["fill_notional"].sum(), rel=1e-12
    )
    found = liquidations.summary(crowded).row(0, named=True)
    assert (found["positions"], found["liquidated"]) == (3e13, 1.5e13)
    assert liquidations.tally(crowded)["count"].sum() == 3e13
    assert liquidations.flow.liquidated(huge, ["side"])["entry_notional"].to_list() == [1.5e17]
    hourly = liquidations.by_interval(huge, start=START, end=START + 5 * HOUR)
    assert hourly["share"].sum() == 0.5
    assert liquidations.flow.concentration(huge)["largest_share"].to_list() == [pytest.approx(1 / 150)]


def test_cascades__of_amounts_beyond_int64(huge):
    expected = pytest.approx(huge.filter("liquidated")["fill_notional"].sum(), rel=1e-12)
    found = cascades.pulses(huge)
    assert found["notional"].to_list() == [expected]
    rule = cascades.GapRule(2 * HOUR, bar=HOUR)
    assert cascades.find(found, rule)["notional"].to_list() == [expected]
    hourly = liquidations.by_interval(huge, start=START, end=START + 5 * HOUR)
    assert cascades.running_totals(hourly)["notional"][-1] == expected
    assert cascades.by_hour_of_day(hourly)["notional"].max() == expected
    assert cascades.compare({"one": cascades.find(found, rule)})["notional"].to_list() == [expected]


def test_other_studies__of_amounts_beyond_int64(huge, crowded):
    curve = survival.kaplan_meier(survival.lives(crowded, market()))
    assert curve["at_risk"].max() == 3e13
    assert curve["survival"][-1] == 0.5
    seen = feed_throttling.visible(crowded, ["side"], bar=timedelta(minutes=1))
    assert seen["count"].to_list() == [1.5e13]
    at_risk = liquidation_at_risk.by_move(huge, market().bars, START + 2 * HOUR, [0.2])
    assert at_risk["long_share"].to_list() == [0.5]
    hourly = liquidations.by_interval(huge, start=START, end=START + 5 * HOUR)
    assert liquidation_at_risk.by_horizon(hourly, 6 * HOUR, [0.99])["notional"][0] == hourly["notional"].sum()


def test_policies__count_or_refuse(huge):
    assert _sums(book(), VENUE, 0.01)["notional"] == 3e17
    small = Run(book(1.0), market(), VENUE, sweep(book(1.0), market(), VENUE))
    assert _liquidated_sums(small)["count"] == 150
    run = Run(book(), market(), VENUE, huge)
    with pytest.raises(
        DataError, match=r"amounts must add up to less than 2\^62 units to be counted: closed adds up"
    ):
        FundPath().settle(run, Terms())
    with pytest.raises(DataError, match=r"less than 2\^62 units"):
        bands._block_sums(run, resampling(pl.Series([START, START + timedelta(days=20)], dtype=TIME), seed=1))


def test_drawn_sums__beyond_int64_are_floats():
    sums, counts = np.array([[2**61], [1]]), np.array([[8, 0], [0, 8]])
    assert drawn_sums(counts, sums).tolist() == [[2.0**64], [8.0]]


def test_level_maps__refuse():
    with pytest.raises(DataError, match=r"positions: amounts must add up to less than 2\^62 units"):
        level_map(without_drift(book(), market(), VENUE), market(), "X", START + 2 * HOUR)


def test_sums_of_maps__refuse():
    held = book(quantity=3e14 / ROWS)
    found = levels_of(held, market(), VENUE, level_grid(market(), "X", bins=20, columns=3))
    assert combined([found]).long.max() == found.long.max()
    with pytest.raises(ArgumentError, match="maps: unit must be larger"):
        combined([found] * 4)


def test_parts__refuse_sums_beyond_int64(huge):
    parts = [condense(huge[first : first + 30]) for first in range(0, ROWS, 30)]
    with pytest.raises(DataError, match="book_notional_units adds up to 3e\\+19"):
        merge(pl.concat(parts))
    with pytest.raises(DataError, match=r"must add up to less than 2\^62 units"):
        condense(huge)


def test_single_amounts__beyond_int64_are_refused_in_one_sentence():
    one = sweep(book(quantity=1e26), market(), VENUE)
    with pytest.raises(DataError, match=r"amounts must be numbers below 2\^96 units to be added up") as error:
        liquidations.summary(one)
    assert "\n" not in str(error.value)


def test_countable__keeps_what_int64_holds():
    whole = pl.DataFrame({"units": pl.Series([1, None, 2**61], dtype=pl.Int128)})
    assert countable(whole)["units"].to_list() == [1, None, 2**61]
