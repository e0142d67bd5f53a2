"""What a replay must show: the documents' worked figures, closed forms, conservation, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Book, Impact, Market, Venue, population, replay, sweep
from backtest.engine.replay import state
from backtest.engine.replay.replay import Replay
from backtest.errors import ArgumentError, DataError, RulesError
from backtest.market import sample
from backtest.rules.contract import Contract
from backtest.rules.procedure import CHOICES, Procedure
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time
from backtest.study.fund.loss_waterfall import who_bore

NOON = datetime(2024, 12, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def market(*bars: tuple[float, float, float, float], symbol: str = "BTCUSDT", **more: Any) -> Market:
    opens, highs, lows, closes = zip(*bars, strict=True)
    times = [NOON + number * MINUTE for number in range(len(bars))]
    frame = pl.DataFrame(
        {"symbol": symbol, "time": times, "open": opens, "high": highs, "low": lows, "close": closes},
        schema_overrides={"time": Time} | dict.fromkeys(("open", "high", "low", "close"), pl.Float64),
    )
    return Market(frame.with_columns(**{name: pl.Series(values) for name, values in more.items()}))


def book(*rows: dict[str, Any], symbol: str = "BTCUSDT") -> Book:
    filled = [
        {"position_id": number, "symbol": symbol, "side": "long", "entry_time": NOON} | row
        for number, row in enumerate(rows)
    ]
    floats = dict.fromkeys(("entry_price", "quantity", "margin", "leverage", "stop_price"), pl.Float64)
    kinds = {name: kind for name, kind in floats.items() if name in filled[0]}
    return Book(pl.DataFrame(filled, schema_overrides={"side": Side, "entry_time": Time} | kinds))


def plain_venue(rate: float = 0.25, **rules: Any) -> Venue:
    table = TierTable(name="one rate", model="flat", rates=[rate])
    contract = Contract(symbol="BTCUSDT", tables=(table,), basis="mark")
    return Venue(name="plain", title="Plain", contracts={"BTCUSDT": contract}).with_(**rules)


def assert_closes(found: Replay) -> None:
    assert found.ledger.select(pl.col("cash", "unrealised", "total").sum()).row(0) == (0, 0, 0)
    assert (found.fund["fund"] >= 0).all()


def cash(found: Replay, account: str) -> float:
    return found.ledger.row(by_predicate=pl.col("account") == account, named=True)["cash"] / found.unit


# --- the documents' worked figures


def test_ascend__closes_400_of_1000_and_stops_where_equity_is_above_maintenance() -> None:
    event = market((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.425, 0.43), symbol="EVENT")
    held = book({"entry_price": 0.5, "quantity": 1000.0, "margin": 100.0, "leverage": 10.0}, symbol="EVENT")
    found = replay(held, event, Venue.load("ascend").with_(liquidation_fee_rate=0.0), trace=0)
    row = found.outcomes.row(0, named=True)
    assert row["outcome"] == "reduced"
    assert row["filled_in_market"] == pytest.approx(400)
    assert row["fill_price"] == pytest.approx(0.425)
    steps = found.trace.rows(named=True)
    assert [step["step"] for step in steps] == ["entered", "triggered", "filled", "control returned"]
    assert steps[2]["held"] == pytest.approx(600)
    assert steps[2]["equity"] == pytest.approx(25)
    assert steps[2]["maintenance_margin"] == pytest.approx(15)
    assert_closes(found)


def test_ascend__the_fund_covers_a_shortfall_of_10() -> None:
    event = market((0.5, 0.5, 0.5, 0.5), (0.39, 0.4, 0.39, 0.39), symbol="EVENT")
    held = book({"entry_price": 0.5, "quantity": 1000.0, "margin": 100.0, "leverage": 10.0}, symbol="EVENT")
    found = replay(held, event, Venue.load("ascend").with_(step="all"), fund=1000.0)
    row = found.outcomes.row(0, named=True)
    assert row["shortfall"] == pytest.approx(10)
    assert row["realised_pnl"] == -100
    assert row["fund_effect"] == -10
    assert found.fund["fund"][-1] == 990
    assert_closes(found)


ASCENDEX = {"entry_price": 50_000.0, "quantity": 1.0, "margin": 5_000.0, "leverage": 25.0}


def test_ascendex__stops_above_the_initial_rate() -> None:
    path = market((50_000, 50_000, 50_000, 50_000), (50_000, 50_000, 46_200, 46_300))
    found = replay(book(ASCENDEX), path, Venue.load("ascendex"), trace=0)
    row, last = found.outcomes.row(0, named=True), found.trace.row(-1, named=True)
    assert row["fill_price"] == pytest.approx(46_200)
    assert row["outcome"] == "reduced"
    assert last["step"] == "control returned"
    assert last["equity"] == pytest.approx(1_200)
    assert last["equity"] > last["held"] * 46_200 / 25 > last["equity"] * 0.95  # the first round above initial
    assert_closes(found)


def test_ascendex__takes_over_what_is_below_maintenance_after_fifty_rounds() -> None:
    path = market(
        (50_000, 50_000, 50_000, 50_000),
        (50_000, 50_000, 46_200, 46_300),
        (46_100, 46_100, 46_000, 46_000),
        volume=[1.0, 0.002, 0.0],
    )
    found = replay(book(ASCENDEX), path, Venue.load("ascendex"), trace=0, impact=Impact(participation=0.1))
    row = found.outcomes.row(0, named=True)
    assert row["taken_over"] > 0.9
    assert "taken over" in found.trace["step"].to_list()
    # the first bar's crumbs left it just above maintenance; the second opens below it
    assert row["fill_price"] == pytest.approx(46_100 * 0.99, rel=1e-3)  # one per cent off
    assert_closes(found)


def test_ascendex__ten_largest_opposing_positions_take_the_rest_pro_rata() -> None:
    terms = {"side": "short", "entry_price": 60_000.0, "margin": 90_000.0, "leverage": 5.0}
    shorts = [terms | {"quantity": 1.0 + number} for number in range(12)]
    longs = [{"side": "long", **ASCENDEX}]
    path = market((50_000, 50_000, 50_000, 50_000), (46_000, 46_100, 46_000, 46_000))
    venue = Venue.load("ascendex").with_(backstop_capacity=0.0, step="all", rounds=1, order_notional=1e-6)
    found = replay(book(*longs, *shorts), path, venue)
    assert found.adl.height == 10
    assert set(found.adl["counterparty_id"]) == set(range(3, 13))
    sizes = np.array([1.0 + number for number in range(2, 12)])
    taken = found.adl.sort("counterparty_id")["quantity"].to_numpy()
    np.testing.assert_allclose(taken / taken.sum(), sizes / sizes.sum(), rtol=1e-9)
    assert_closes(found)


def test_mexc__steps_down_a_tier_at_the_bankruptcy_price() -> None:
    # 30 BTC are 300,000 contracts, the third tier (1.2 %); 21 BTC are its floor, where 0.8 % applies
    held = book({"entry_price": 50_000.0, "quantity": 30.0, "margin": 30_000.0, "leverage": 50.0})
    first = 50_000 - (30_000 - 0.012 * 1_500_000) / 30
    path = market((50_000, 50_000, 50_000, 50_000), (50_000, 50_000, first, first))
    found = replay(held, path, Venue.load("mexc"), trace=0)
    row = found.outcomes.row(0, named=True)
    bankrupt = 50_000 - 30_000 / 30
    assert row["outcome"] == "reduced"
    assert row["taken_over"] == pytest.approx(9)
    assert row["fill_price"] == pytest.approx(bankrupt)
    assert found.fund["fund"][-1] == pytest.approx(
        9 * (first - bankrupt)
    )  # sold at the mark, better than bankruptcy
    assert found.trace.row(-1, named=True)["maintenance_margin"] == pytest.approx(0.008 * 21 * 50_000)
    assert_closes(found)


def test_primexbt__a_gap_is_paid_by_the_fund_then_by_the_most_leveraged_profitable() -> None:
    long = {"entry_price": 50_000.0, "quantity": 0.2, "margin": 1_000.0}
    shorts = [{"side": "short", "entry_price": 50_000.0, "quantity": 0.2, "margin": margin}
              for margin in (5_000.0, 1_000.0, 2_000.0)]  # fmt: skip
    path = market((50_000, 50_000, 50_000, 50_000), (42_500, 42_500, 42_500, 42_500))
    paid = replay(book(long, *shorts), path, Venue.load("primexbt"), fund=600.0)
    assert paid.fund["fund"][-1] == 100  # 15 % of 10,000 lost, 1,000 of margin
    assert paid.adl.is_empty()
    found = replay(book(long, *shorts), path, Venue.load("primexbt"), fund=0.0)
    row = found.adl.row(0, named=True)
    assert (row["counterparty_id"], row["price"]) == (2, pytest.approx(45_000))
    assert row["given_up"] == pytest.approx(0.2 * 2_500)
    assert found.outcomes["outcome"].to_list() == ["liquidated", "open", "deleveraged", "open"]
    assert_closes(paid)
    assert_closes(found)


def test_dydx__published_deleveraging_example_closes_at_1_2() -> None:
    # a long of 500 from 1 with 100 of margin; the price goes to 2, the short is bankrupt at 1.2
    rows = [{"entry_price": 1.0, "quantity": 500.0, "margin": 100.0},
            {"side": "short", "entry_price": 1.0, "quantity": 500.0, "margin": 100.0}]  # fmt: skip
    path = market((1.0, 1.0, 1.0, 1.0), (2.0, 2.0, 2.0, 2.0))
    found = replay(book(*rows), path, plain_venue(0.05))
    row = found.adl.row(0, named=True)
    assert (row["price"], row["quantity"]) == (pytest.approx(1.2), pytest.approx(500))
    assert found.outcomes["realised_pnl"].to_list() == [100.0, -100.0]
    assert_closes(found)


# --- feedback


#: Units of price below 100 over which levels lie evenly.
BAND = 5


def uniform_book(count: int, ratio: float) -> tuple[Book, Impact]:
    """Return longs whose liquidation prices lie evenly below 100, and the impact with that R."""
    levels = 100 - (np.arange(count) + 0.5) / count * BAND
    quantity = 1.0 / levels  # each level is worth one unit of notional when it is reached
    rows = pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": "BTCUSDT",
            "side": pl.Series(["long"] * count, dtype=Side),
            "entry_time": pl.Series([NOON] * count, dtype=Time),
            "entry_price": 100.0,
            "quantity": quantity,
            "margin": quantity * (100.0 - levels * (1 - 1e-9)),
        }
    )
    return Book(rows), Impact(mark=ratio * BAND / count / 100, largest_offset=5.0)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.8, 0.9])
def test_feedback__amplifies_by_one_over_one_minus_r(ratio: float) -> None:
    # near 100 a unit of price and a hundredth of its logarithm are nearly the same: a small first move
    held, impact = uniform_book(200_000, ratio)
    path = market((100, 100, 100, 100), (100, 100, 99.99, 99.995))
    found = replay(held, path, plain_venue(1e-9, adl_trigger="never"), impact=impact, exogenous=True)
    fall = -np.log(0.9999) - found.impact["offset"][-1]
    assert fall / -np.log(0.9999) == pytest.approx(1 / (1 - ratio), rel=0.02)
    assert not found.impact["runaway"].any()
    assert_closes(found)


@pytest.mark.parametrize("waves", [1, 2, 4])
def test_feedback__a_cap_on_waves_gives_the_partial_sum(waves: int) -> None:
    held, impact = uniform_book(200_000, 0.5)
    capped = Impact(mark=impact.mark, largest_offset=5.0, waves=waves)
    path = market((100, 100, 100, 100), (100, 100, 99.99, 99.995))
    found = replay(held, path, plain_venue(1e-9, adl_trigger="never"), impact=capped, exogenous=True)
    fall = -np.log(0.9999) - found.impact["offset"][-1]
    assert fall / -np.log(0.9999) == pytest.approx((1 - 0.5 ** (waves + 1)) / 0.5, rel=0.01)
    assert found.impact["capped"][-1] > 0


def test_feedback__a_runaway_is_reported() -> None:
    held, impact = uniform_book(20_000, 1.5)
    path = market((100, 100, 100, 100), (100, 100, 99.9, 99.95))
    found = replay(held, path, plain_venue(1e-9, adl_trigger="never"), impact=impact, exogenous=True)
    assert found.impact["runaway"].any()
    assert any("runaway" in note for note in found.notes)
    assert found.outcomes["liquidated"].all()


def test_feedback__on_a_real_history_is_refused() -> None:
    held, impact = uniform_book(10, 0.5)
    with pytest.raises(ArgumentError, match="exogenous"):
        replay(held, market((100, 100, 100, 100)), plain_venue(), impact=impact)


def test_feedback__without_liquidations_leaves_the_history_alone() -> None:
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 100.0})
    path = market((100, 100, 100, 100), (100, 101, 99, 100))
    found = replay(held, path, plain_venue(0.01), impact=Impact(mark=1.0), exogenous=True)
    assert (found.impact["offset"] == 0).all()


# --- bounds


def crash(seed: int, count: int = 2_000) -> tuple[Book, Market]:
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(-0.0015, 0.006, 240))
    close = 100 * np.exp(steps)
    opening = np.append(100.0, close[:-1])
    high = np.maximum(opening, close) * np.exp(rng.exponential(0.001, 240))
    low = np.minimum(opening, close) * np.exp(-rng.exponential(0.001, 240))
    path = market(*zip(opening, high, low, close, strict=True), volume=rng.exponential(2e4, 240))
    entry = rng.integers(0, 200, count)
    leverage = np.exp(rng.uniform(np.log(2), np.log(50), count))
    quantity = np.round(rng.lognormal(0, 1.5, count), 4) + 0.001
    rows = pl.DataFrame(
        {
            "position_id": rng.permutation(count),
            "symbol": "BTCUSDT",
            "side": pl.Series(rng.choice(["long", "short"], count), dtype=Side),
            "entry_time": pl.Series([NOON + int(bar) * MINUTE for bar in entry], dtype=Time),
            "entry_price": opening[entry],
            "quantity": quantity,
            "leverage": leverage,
        }
    )
    return Book(rows), path


@pytest.mark.parametrize("rank", CHOICES["adl_rank"])
@pytest.mark.parametrize("price", CHOICES["adl_price"])
def test_deleveraging__closes_under_every_rank_and_price(rank: str, price: str) -> None:
    held, path = crash(3)
    venue = plain_venue(0.01, adl_rank=rank, adl_price=price, takeover_price="bankruptcy", clawback=True)
    found = replay(held, path, venue, fill_price="liquidation_price", impact=Impact(linear=1e-4), fund=5.0)
    assert found.adl.height > 0
    assert_closes(found)
    cost = found.outcomes["quantity"] * found.outcomes["entry_price"] / found.outcomes["leverage"]
    assert (found.outcomes["realised_pnl"] - found.outcomes["fees"] >= -cost - 2e-6).all()


def test_deleveraging__permuting_positions_permutes_results() -> None:
    held, path = crash(4)
    venue = plain_venue(0.01, adl_rank="top_ten", clawback=True, step="fraction", step_fraction=0.3)
    impact = Impact(linear=1e-4, mark=1e-6, participation=0.2)
    one = replay(held, path, venue, impact=impact, exogenous=True)
    order = np.random.default_rng(0).permutation(len(held))
    other = replay(Book(held.positions[order]), path, venue, impact=impact, exogenous=True, threads=1)
    assert one.outcomes.sort("position_id").equals(other.outcomes.sort("position_id"))
    assert one.fund.equals(other.fund)
    assert one.ledger.equals(other.ledger)


def test_replay__a_fund_that_never_lacks_equals_the_sweep_in_what_is_liquidated() -> None:
    held, path = crash(5)
    venue = Venue.load("binance")
    outcomes = sweep(held, path, venue, tiers="nearest")
    found = replay(held, path, venue, fund=1e9, tiers="nearest")
    assert found.outcomes["outcome"].to_list() == outcomes["outcome"].to_list()
    assert found.outcomes["liquidation_price"].equals(outcomes["liquidation_price"])


def test_fund__deposits_and_drop_trigger() -> None:
    held, path = crash(6)
    venue = plain_venue(0.01, adl_trigger="fund_drop", adl_drop=0.3, adl_hours=8.0, adl_price="mark")
    deposits = [(NOON + 30 * MINUTE, 1000.0)]
    found = replay(held, path, venue, fund=50.0, deposits=deposits, impact=Impact(linear=1e-3))
    assert -cash(found, "owners") == 1050.0
    assert_closes(found)


# --- extremes and refusals


def test_extremes__coins_priced_at_a_hundred_millionth_and_a_billion_lots() -> None:
    rows = [
        {"entry_price": 1e-8, "quantity": 1e9, "margin": 2.0},
        {"entry_price": 1e-8, "quantity": 1.0, "margin": 2e-9},
    ]
    path = market((1e-8, 1e-8, 1e-8, 1e-8), (1e-8, 1e-8, 5e-9, 5e-9))
    found = replay(book(*rows), path, plain_venue(0.01, adl_trigger="never"), fund=100.0)
    assert found.outcomes["outcome"].to_list() == ["liquidated", "liquidated"]
    assert_closes(found)


def test_extremes__beyond_64_bits_is_refused() -> None:
    path = market((100, 100, 100, 100))
    with pytest.raises(DataError, match="units of"):
        replay(book({"entry_price": 100.0, "quantity": 1e12, "margin": 1e12}), path, plain_venue())
    rows = [
        {"entry_price": 100.0, "quantity": 1e9, "margin": 1e10},
        {"entry_price": 100.0, "quantity": 1e-12, "margin": 1e-9},
    ]
    with pytest.raises(DataError, match="orders of"):
        replay(book(*rows), path, plain_venue())


def test_extremes__funding_and_changes_of_margin_beyond_64_bits_are_refused() -> None:
    path = market(*[(100, 100, 100, 100)] * 40)
    held = book({"entry_price": 100.0, "quantity": 1e9, "margin": 1e10})
    replay(held, path, plain_venue(0.01))
    stamps = pl.DataFrame(
        {"symbol": "BTCUSDT", "time": path.bars["time"][1:], "rate": 0.5}, schema_overrides={"time": Time}
    )
    with pytest.raises(DataError, match="funding and fund must add up"):
        replay(held, Market(path.bars, stamps), plain_venue(0.01))
    change = pl.DataFrame(
        {"position_id": [0], "time": [NOON + MINUTE], "margin_change": [2e12], "quantity_change": [0.0]},
        schema_overrides={"time": Time},
    )
    with pytest.raises(DataError, match="margins and their changes"):
        replay(Book(held.positions, change), path, plain_venue(0.01))


def test_replay__needs_volume_where_capacity_depends_on_it() -> None:
    path = market((100, 100, 100, 100))
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0})
    with pytest.raises(ArgumentError, match="volume"):
        replay(held, path, plain_venue(), impact=Impact(participation=0.1))
    with pytest.raises(ArgumentError, match="trace"):
        replay(held, path, plain_venue(), trace=77)
    with pytest.raises(ArgumentError, match="fund must"):
        replay(held, path, plain_venue(), fund=-1.0)


@pytest.mark.parametrize("entry_bar", ["untested", "tested"])
def test_fund__reconciles_with_the_ledger_where_entries_come_after_the_last_bar(entry_bar: Any) -> None:
    bars = [market(*[(100, 100, 100, 100)] * 2 + [(100, 100, 80, 80)] * more, symbol=symbol).bars
            for symbol, more in (("BTCUSDT", 1), ("ETHUSDT", 3))]  # fmt: skip
    rules = plain_venue(0.01, trading_fee_rate=0.01, trading_fee_fund_share=0.5)
    contract = rules.contract("BTCUSDT")
    both = {symbol: replace(contract, symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
    venue = replace(rules, contracts=both)
    late = {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0, "entry_time": NOON + 2.5 * MINUTE}
    rows = [late, late | {"symbol": "ETHUSDT", "entry_time": NOON + 4.5 * MINUTE}, late | {"entry_time": NOON}]
    found = replay(book(*rows), Market(pl.concat(bars)), venue, fund=7.0, entry_bar=entry_bar)
    flows = found.fund["paid_in"] - found.fund["paid_out"]
    assert found.fund["fund"].to_list() == pytest.approx((7.0 + flows.cum_sum()).to_list())
    assert found.fund["fund"][-1] == cash(found, "fund")
    assert_closes(found)


def test_fund__deposits_may_come_from_a_generator() -> None:
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0})
    paid = ((NOON + number * MINUTE, np.int64(5)) for number in range(3))
    found = replay(held, market((100, 100, 100, 100), (100, 100, 100, 100)), plain_venue(), deposits=paid)
    assert found.fund["fund"].to_list() == [5.0, 10.0]  # the third comes after the last bar


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"deposits": [5.0]}, r"deposits\[0\] must be a pair"),
        ({"deposits": 5.0}, "deposits must be a list of values, is 5.0"),
        ({"deposits": [(datetime(2024, 12, 2), 1.0)]}, r"deposits\[0\] must have a time with a time zone"),
        ({"deposits": [(NOON, 1.0), (NOON, -1.0)]}, r"deposits\[1\] must be an amount"),
        ({"fund": np.nan}, "fund must be an amount"),
        ({"fund": True}, "fund must be a number, is True"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 2**64}, "seed must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_replay__refuses_what_is_no_money_and_no_seed(given: dict[str, Any], told: str) -> None:
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0})
    with pytest.raises(ArgumentError, match=told):
        replay(held, market((100, 100, 100, 100)), plain_venue(), **given)


def test_replay__refuses_weights_and_survival() -> None:
    path = market((100, 100, 100, 100))
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0})
    one = replay(Book(held.positions.with_columns(weight=1.0)), path, plain_venue())
    assert one.outcomes["outcome"].to_list() == ["open"]
    with pytest.raises(ArgumentError, match=r"weight must be 1 or left out.*1 of 1 rows"):
        replay(Book(held.positions.with_columns(weight=2.0)), path, plain_venue())
    thinned = Book(held.positions)
    thinned.survival = pl.DataFrame()
    with pytest.raises(ArgumentError, match="survival"):
        replay(thinned, path, plain_venue())


@pytest.mark.parametrize("name", ["linear", "square_root", "mark", "participation"])
def test_entry_bar__tested_is_refused_where_liquidations_share_a_market(name: str) -> None:
    held, path = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0}), market((100, 100, 100, 100))
    with pytest.raises(ArgumentError, match=f"entry_bar must be 'untested'.*{name}"):
        replay(held, path, plain_venue(), entry_bar="tested", impact=Impact(**{name: 0.5}), exogenous=True)


def test_procedure__is_refused_whole() -> None:
    with pytest.raises(RulesError, match="2 problems"):
        Procedure(step="half", fee_fund_share=2.0)  # type: ignore[arg-type]
    with pytest.raises(RulesError, match="linear"):
        Impact(linear=-1.0)
    with pytest.raises(RulesError, match="mark"):
        Impact(mark=np.inf)


PROCEDURES = ("ascendex", "ascend", "mexc", "primexbt", "binance", "bybit", "okx", "bitmex", "hyperliquid")


@pytest.mark.parametrize("name", PROCEDURES)
def test_bar_size__is_no_venue_rule(name: str) -> None:
    """Minutes and hours of one history agree within four per cent: planned exits wait for an opening."""
    whole = sample()
    minutes = Market(whole.bars.filter(pl.col("symbol") == "BTCUSDT"), whole.funding)
    hours = minutes.resample("1h")
    held = population.synthetic(hours, Venue.load("binance"), count=4_000, seed=3)
    told = Venue.load(name)
    rules = {rule: getattr(told, rule) for rule in ("takeover_price", "takeover_discount", "remainder")}
    venue = Venue.load("binance").with_(procedure=told.procedure, **rules)
    closed = pl.col("filled_in_market") + pl.col("taken_over")
    fine, coarse = (
        replay(held, path, venue, fund=1e6).outcomes.select(touched=(closed > 0).mean(), lots=closed.sum()).row(0)
        for path in (minutes, hours)
    )
    assert coarse == pytest.approx(fine, rel=0.04)


def test_deleveraging__a_counterparty_of_two_at_two_prices_shows_both() -> None:
    longs = [{"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": margin} for margin in (10.0, 8.0)]
    short = {"side": "short", "entry_price": 150.0, "quantity": 2.0, "margin": 200.0}
    found = replay(book(*longs, short), market((100, 100, 100, 100), (80, 80, 80, 80)), plain_venue(0.01))
    row = found.outcomes.row(2, named=True)
    assert found.adl["price"].to_list() == [92.0, 90.0]
    assert (row["outcome"], row["fill_price"], row["fill_notional"]) == ("deleveraged", 91.0, 182.0)
    assert row["equity_at_fill"] == 200 + 2 * (150 - 91)
    assert row["shortfall"] == 0
    assert row["realised_pnl"] == row["equity_at_fill"] - 200
    assert_closes(found)


def test_clawback__has_a_row_of_its_own() -> None:
    """A long loses ten beyond its margin; a short that gained twenty gives them up, and is later liquidated."""
    long = {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    short = {"side": "short", "entry_price": 100.0, "quantity": 1.0, "margin": 30.0}
    path = market((100, 100, 100, 100), (80, 80, 80, 80), (120, 120, 120, 120))
    rules = {"adl_trigger": "never", "clawback": True, "trading_fee_rate": 0.001, "trading_fee_fund_share": 0.0}
    found = replay(book(long, short), path, plain_venue(0.01, **rules))
    bore = dict(who_bore(found).iter_rows())
    assert found.outcomes["clawed_back"].to_list() == [0.0, 10.0]
    assert found.outcomes["outcome"].to_list() == ["liquidated", "liquidated"]
    assert found.outcomes["realised_pnl"].to_list() == [-10.0, -30.0]
    assert (bore["margins"], bore["clawback"], bore["nobody"], bore["fund"]) == (30.0, 10.0, 0.0, 0.0)
    assert_closes(found)


def test_trace__says_where_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 10.0})
    path = market((100, 100, 100, 100), (80, 80, 80, 80))
    whole = replay(held, path, plain_venue(0.01, adl_trigger="never"), trace=0)
    assert whole.trace.height == 4
    assert not any("trace" in note for note in whole.notes)
    monkeypatch.setattr(state, "TRACED", 3)
    cut = replay(held, path, plain_venue(0.01, adl_trigger="never"), trace=0)
    assert cut.trace.equals(whole.trace.head(3))
    assert "the trace ends after 3 of 4 steps" in cut.notes
