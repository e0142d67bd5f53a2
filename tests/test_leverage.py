"""How much leverage for a list of trades: equal to brute force, and to closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from trade_logs import at

from backtest import Market, Venue, trades
from backtest.errors import BacktestError
from backtest.rules import Contract, TierTable
from backtest.study import leverage
from backtest.study.leverage.wealth_curves import _drawn

#: A contract that is liquidated where its margin is used up.
WITHOUT_RATE = Venue(
    name="none",
    title="None",
    contracts={
        "BTCUSDT": Contract(
            symbol="BTCUSDT", tables=(TierTable(name="own", floors=[0.0], rates=[1e-12], max_leverages=[200.0]),)
        )
    },
)


def made(returns: Any, of: float = 10.0) -> pl.DataFrame:
    returns = np.asarray(returns, float)
    return pl.DataFrame({"leverage": of, "return": returns, "liquidated": returns == -1})


@pytest.mark.parametrize("seed", range(3))
def test_curve__equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r = np.maximum(rng.normal(0.02, 0.5, 60), -1.0)
    found = leverage.curve(made(r), [0.1, 0.6, 1.0], ruin=0.4, draws=50, length=7, seed=seed)
    (places,) = _drawn(60, 7, 50, seed)
    for row in found.iter_rows(named=True):
        histories = [list(range(60)), *places.tolist()]
        ends, falls, ruined = [], [], []
        for history in histories:
            wealth = highest = lowest = 1.0
            fall = 0.0
            for place in history:
                wealth *= 1 + row["share"] * r[place]
                highest, lowest = max(highest, wealth), min(lowest, wealth)
                fall = max(fall, 1 - wealth / highest)
            ends.append(wealth)
            falls.append(fall)
            ruined.append(lowest <= 0.4)
        assert (row["end_wealth"], row["deepest_fall"]) == pytest.approx((ends[0], falls[0]))
        assert row["ruin_probability"] == np.mean(ruined[1:])
        for name, values in (("end_wealth", ends[1:]), ("deepest_fall", falls[1:])):
            edges = np.quantile(values, [0.025, 0.975], method="nearest")
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(tuple(edges))
        assert row["liquidated_share"] == (r == -1).mean()


def test_drawn__are_blocks_of_trades_that_follow_one_another() -> None:
    (places,) = _drawn(20, 5, 200, 3)
    steps = (places[:, 1:] - places[:, :-1]) % 20
    inside = np.ones(19, bool)
    inside[4::5] = False
    assert (steps[:, inside] == 1).all()
    counts = np.bincount(places.ravel(), minlength=20)
    assert counts.min() > 0.7 * counts.mean()


def test_growth_optimal__is_kelly_s_share() -> None:
    for wins, losses, odds in ((6, 4, 1.0), (5, 5, 1.5), (3, 7, 4.0)):
        p = wins / (wins + losses)
        found = leverage.growth_optimal(made([odds] * wins + [-1.0] * losses)).row(0, named=True)
        kelly = p - (1 - p) / odds
        assert found["share"] == pytest.approx(kelly, abs=1e-9)
        growth = p * np.log1p(kelly * odds) + (1 - p) * np.log1p(-kelly)
        assert found["growth"] == pytest.approx(growth)
    assert leverage.growth_optimal(made([0.5, -1.0]))["share"][0] == 0.0
    assert leverage.growth_optimal(made([0.5, -0.1]))["share"][0] == 1.0


def test_growth_optimal__is_the_highest_of_a_fine_grid_of_shares() -> None:
    r = np.maximum(np.random.default_rng(4).normal(0.1, 0.6, 200), -1.0)
    found = leverage.growth_optimal(made(r)).row(0, named=True)
    grid = leverage.curve(made(r), np.linspace(0, 1, 1001).tolist(), draws=0)
    best = grid.sort("growth").row(-1, named=True)
    assert best["share"] == pytest.approx(found["share"], abs=1e-3)
    assert best["growth"] <= found["growth"] + 1e-15


def walk(seed: int, count: int, up: int, down: int) -> tuple[Market, trades.Trades, int]:
    """Return trades on walks of steps of 1 from 1,000, each of which ends up or down, and how many end up."""
    rng = np.random.default_rng(seed)
    prices, rows, wins = [1_000.0], [], 0
    for _ in range(count):
        first, level = len(prices) - 1, 0
        prices.append(1_000.0)  # the next bar opens where the trade begins
        while -down < level < up:
            level += 1 if rng.random() < 0.5 else -1
            prices.append(1_000.0 + level)
        wins += level == up
        rows.append((first + 1, len(prices) - 1, 1_000.0 + level))
        prices.append(1_000.0)
    opens = np.array([prices[0], *prices[:-1]])
    closes = np.array(prices)
    market = Market(
        {
            "symbol": "BTCUSDT", "time": [at(minute / 60) for minute in range(closes.size)], "open": opens,
            "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes,
        }
    )  # fmt: skip
    log = trades.read(
        {
            "symbol": "BTCUSDT", "side": "long", "quantity": 1.0, "entry_price": 1_000.0,
            "entry_time": [at((first + 1) / 60) for first, _, _ in rows],
            "exit_time": [at((last + 1) / 60) for _, last, _ in rows],
            "exit_price": [price for _, _, price in rows],
        }
    )  # fmt: skip
    return market, log, wins


def test_returns__of_a_walk_are_those_of_its_first_passage() -> None:
    up, down, count = 15, 10, 400
    market, log, wins = walk(1, count, up, down)
    found = trades.check(log, market, venues=[WITHOUT_RATE], leverages=[50, 100])
    r = leverage.returns(found)
    assert r["return"].n_unique() == 4  # at each leverage a trade wins all its way, or loses all its way
    high = r.filter(leverage=100.0)
    assert sorted(high["return"].unique()) == pytest.approx([-1.0, up / 10])
    assert (high["return"] > 0).sum() == wins
    assert high["liquidated"].sum() == count - wins
    chance = down / (up + down)  # of a fair walk to reach one bound before the other
    assert abs(wins / count - chance) < 4 * np.sqrt(chance * (1 - chance) / count)
    p, odds = wins / count, up / down
    share = leverage.growth_optimal(r).filter(leverage=100.0)["share"][0]
    assert share == pytest.approx(max(0.0, p - (1 - p) / odds), abs=1e-9)
    assert r.filter(leverage=50.0)["liquidated"].sum() == 0


def test_returns__of_trades_that_were_not_opened_are_zero_and_open_ones_are_left_out() -> None:
    market, log, _ = walk(2, 10, 5, 5)
    given = log.trades.with_columns(
        exit_time=pl.when(pl.col("trade_id") == 3).then(None).otherwise("exit_time"),
        exit_price=pl.when(pl.col("trade_id") == 3).then(None).otherwise("exit_price"),
    )
    found = trades.check(trades.read(given.drop("trade_id")), market, venues=[WITHOUT_RATE], leverages=[10, 500])
    r = leverage.returns(found)
    assert r.group_by("leverage").len()["len"].to_list() == [9, 9]
    over = r.filter(leverage=500.0)
    assert (over["return"].to_list(), over["opened"].any()) == ([0.0] * 9, False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leverage.curve(made([0.1]), [1.5]), "shares must lie between 0 and 1"),
        (lambda: leverage.curve(made([0.1]), ruin=2.0), "ruin must lie between 0 and 1"),
        (lambda: leverage.curve(made([0.1]), length=0), "length must be at least one trade"),
        (lambda: leverage.curve(made([-1.5, 0.1])), "return must be a number of at least -1: 1 of 2 rows"),
        (lambda: leverage.curve(made([])), "returns must hold at least one trade"),
        (lambda: leverage.growth_optimal(made([0.1]).drop("liquidated")), "returns have no column liquidated"),
    ],
)
def test_curve__refuses_in_one_line(call: Any, message: str) -> None:
    with pytest.raises(BacktestError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
