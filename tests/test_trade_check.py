"""The check of trades: its answers are the sweep's, and the margins and leverages that hold are those that do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import trade_logs
from random_cases import random_case
from trade_logs import at

from backtest import Book, Market, Venue, sweep, trades
from backtest.engine.conventions import Conventions
from backtest.errors import BacktestError
from backtest.rules import Contract, TierTable
from backtest.schemas.trades import TRADES
from backtest.trades.holding import counted
from backtest.trades.holding.range_minima import range_minima
from backtest.trades.on_venue import OnVenue
from backtest.trades.placement import Placed
from backtest.trades.symbols import listed_as

EMPTY = pl.DataFrame(schema={"trade_id": pl.Int64, "time": pl.Datetime("ms", "UTC"), "price": pl.Float64,
                             "quantity_change": pl.Float64})  # fmt: skip


def hours(*closes: float, start: float = 0, width: float = 0.0) -> Market:
    """Return hourly bars of BTCUSDT on 19 May 2021 that run from close to close."""
    opens = (closes[0], *closes[:-1])
    return Market(
        {
            "symbol": "BTCUSDT",
            "time": [at(start + hour) for hour in range(len(closes))],
            "open": opens,
            "high": [max(a, b) + width for a, b in zip(opens, closes, strict=True)],
            "low": [min(a, b) - width for a, b in zip(opens, closes, strict=True)],
            "close": closes,
        }
    )


def log(**columns: Any) -> trades.Trades:
    """Return one trade of BTCUSDT: 1 long from 40,000 at 01:00."""
    row = {"symbol": "BTCUSDT", "side": "long", "entry_time": [at(1)], "entry_price": 40_000.0, "quantity": 1.0}
    return trades.read(row | columns)


FLAT = Venue(
    name="flat",
    title="Flat",
    contracts={
        "BTCUSDT": Contract(
            symbol="BTCUSDT", tables=(TierTable(name="own", floors=[0.0], rates=[0.005], max_leverages=[50.0]),)
        )
    },
)


def test_range_minima__are_those_of_each_range() -> None:
    rng = np.random.default_rng(2)
    for size in (1, 2, 3, 100, 1_000):
        values = rng.integers(0, 50, size).astype(float)
        starts = rng.integers(0, size, 300)
        ends = np.minimum(starts + rng.integers(-1, size + 1, 300), size)
        least, places = range_minima(values, starts, ends)
        for a, b, low, place in zip(starts, ends, least, places, strict=True):
            part = values[a : max(a, b)]
            assert (low, place) == ((part.min(), a + part.argmin()) if part.size else (np.inf, -1))


def placed(case: Any, market: Market) -> tuple[trades.Trades, Placed]:
    """Return the positions of a random case as placed trades."""
    own = case.positions.with_row_index("trade_id").with_columns(pl.col("trade_id").cast(pl.Int64))
    contracts = {symbol: case.venue.contract(symbol) for symbol in market.symbols}
    if "leverage" not in own.columns:
        kinds = {symbol: contract.kind for symbol, contract in contracts.items()}
        kind = pl.col("symbol").replace_strict(kinds, return_dtype=pl.String)
        q, p = pl.col("quantity"), pl.col("entry_price")
        notional = pl.when(kind == "inverse").then(q / p).when(kind == "face_value").then(q).otherwise(q * p)
        own = own.with_columns(leverage=notional / pl.col("margin"))
    names = ("trade_id", "symbol", "side", "entry_time", "entry_price", "quantity", "leverage")
    exits = pl.col("exit_time") if "exit_time" in own.columns else pl.lit(None, pl.Datetime("ms", "UTC"))
    own = own.select(*names, exit_time=exits)
    absent = [c for c in TRADES.columns if c.name not in own.columns]
    own = own.with_columns(pl.lit(None, c.dtype).alias(c.name) for c in absent)
    own = own.with_columns(pl.col("exit_price").cast(pl.Float64), entry_from="entry_time", exit_until="exit_time")
    none = pl.DataFrame(schema={"trade_id": pl.Int64, "symbol": pl.String, "reason": pl.String})
    return trades.Trades(own, EMPTY, "random"), Placed(own, EMPTY, none, "exact")


@pytest.mark.parametrize("seed", range(12))
def test_check__margins_and_leverages_that_hold_are_those_of_sweeps_again_and_again(seed: int) -> None:
    rng = np.random.default_rng(900 + seed)
    case = random_case(rng, 200)
    tiers = case.options["tiers"]
    market = Market(case.bars, case.funding)
    given, there = placed(case, market)
    own = OnVenue(given, there, market, case.venue, Conventions(tiers=tiers), "size", None, 1)
    rows = own.rows(None)
    allowed = (rows["outcome"] != "rejected").to_numpy()
    margin, needed = rows["margin"].to_numpy(), rows["margin_that_holds"].to_numpy()
    quick = ~own.searched & allowed
    gone = rows["certainly_liquidated"].fill_null(False).to_numpy()
    apart = quick & (np.abs(margin - needed) > 1e-9 * needed)
    np.testing.assert_array_equal(gone[apart], (margin <= needed)[apart])

    frame = own.trades.with_columns(factor=pl.lit(1.0), rejected=pl.Series(~allowed))
    searched = counted.margin_by_sweeps(own, frame)
    scale = np.maximum(needed, 1e-6 * margin)
    np.testing.assert_array_less(np.abs(searched - needed)[quick], (2e-9 * scale)[quick])

    highest = rows["highest_surviving_leverage"].to_numpy()
    known = quick & ~np.isnan(highest)
    for factor, survives in ((1 - 4e-9, True), (1 + 4e-9, False)):
        chosen = np.where(known, highest * factor, 1.0)
        held, fits = counted._held(own, frame.with_columns(leverage=pl.Series(chosen)), None)
        np.testing.assert_array_equal((held & fits)[known], survives)


def test_check__says_when_how_near_and_what_would_have_held() -> None:
    market = hours(40_000, 40_000, 39_000, 38_000, 37_000, 36_500, 39_000, 40_000)
    found = trades.check(log(exit_time=[at(7)], exit_price=39_500.0), market, venues=[FLAT], leverages=[5, 10, 20])
    safe, near, gone = found.rows.rows(named=True)
    assert (safe["outcome"], near["outcome"], gone["outcome"]) == ("exited", "exited", "liquidated")
    assert gone["outcome_time"] == at(3)
    assert gone["outcome_until"] == at(4)
    # the low of 36,500 needs 3,500 and 0.5 % of the notional there
    assert safe["margin_that_holds"] == pytest.approx(3_500 + 0.005 * 36_500)
    assert safe["highest_surviving_leverage"] == pytest.approx(40_000 / safe["margin_that_holds"])
    assert safe["limited_by"] == "price"
    assert near["closest_time"] == at(5)
    assert near["peak_margin_ratio"] == pytest.approx(0.005 * 36_500 / 500)
    assert near["closest_distance_percent"] == pytest.approx(100 * (36_500 - 36_000 / 0.995) / 36_500)
    assert near["realised_pnl"] == pytest.approx(-500.0)
    assert gone["realised_pnl"] == pytest.approx(-2_000 + 0.005 * 38_000 / 0.995)
    assert found.counts["certainly_liquidated"].to_list() == [0, 0, 1]
    assert found.sentence.startswith(
        "1 of 1 trade would have been liquidated at 20x, with the same size and less margin"
    )
    assert "10x would have lost none" in found.sentence


def test_check__notes_trades_under_tables_that_were_not_in_force() -> None:
    tables = FLAT.contracts["BTCUSDT"].tables
    later = FLAT.with_(tables=(replace(tables[0], start=at(24 * 30)),))
    found = trades.check(log(), hours(*[40_000.0] * 6), venues=[later], leverages=[10, 20], tiers="nearest")
    assert found.notes == ("flat: 1 trade under tier tables that were not in force at their entry",)
    assert found.rows["tier_source"].to_list() == ["own (not in force)"] * 2
    with pytest.raises(BacktestError, match="in force"):
        trades.check(log(), hours(*[40_000.0] * 6), venues=[later], leverages=[10])


def test_check__keeps_the_stake_where_asked() -> None:
    market = hours(40_000, 40_000, 39_000, 38_000, 37_000, 36_500, 39_000, 40_000)
    own = log(exit_time=[at(7)], exit_price=39_500.0, leverage=5.0)
    found = trades.check(own, market, venues=[FLAT], leverages=[10], keep="stake").rows.row(0, named=True)
    assert (found["quantity"], found["margin"]) == (2.0, 8_000.0)
    assert found["highest_surviving_leverage"] == pytest.approx(40_000 / (3_500 + 0.005 * 36_500))


def test_check__the_inside_of_the_bars_of_entry_and_exit_is_possible_only() -> None:
    market = hours(40_000, 40_000, 40_000, 36_000, 40_000)  # the wick lies between 03:00 and 04:00
    for hour, outcome, certain, possible in (
        (3, "exited", False, False),
        (3.5, "exited", False, True),
        (4, "liquidated", True, True),
    ):
        found = trades.check(log(exit_time=[at(hour)], exit_price=40_000.0), market, venues=[FLAT], leverages=[20])
        row = found.rows.row(0, named=True)
        assert (row["outcome"], row["certainly_liquidated"], row["possibly_liquidated"]) == (
            outcome,
            certain,
            possible,
        )
    late = log(entry_time=[at(3.5)], exit_time=[at(4.5)], exit_price=40_000.0)  # the close came after the entry
    row = trades.check(late, market, venues=[FLAT], leverages=[20]).rows.row(0, named=True)
    assert (row["outcome"], row["certainly_liquidated"], row["outcome_time"]) == ("liquidated", True, at(3))
    inside = log(entry_time=[at(3)], exit_time=[at(3.5)], exit_price=40_000.0)
    row = trades.check(inside, market, venues=[FLAT], leverages=[20]).rows.row(0, named=True)
    assert (row["outcome"], row["certainly_liquidated"], row["possibly_liquidated"]) == ("exited", False, True)


def test_check__finds_whether_fills_lie_at_opens_or_closes() -> None:
    closes = (40_000, 40_100, 40_300, 39_900, 40_700, 41_000, 40_200)
    market = hours(*closes)
    rows = [
        {"Column": "BTCUSDT", "Size": 1.0, "Entry Timestamp": at(hour).replace(tzinfo=None), "Entry Fees": 0.0,
         "Exit Timestamp": at(hour + 2).replace(tzinfo=None), "Exit Fees": 0.0, "PnL": 0.0, "Direction": "Long",
         "Status": "Closed", "Exit Trade Id": hour}
        for hour in (1, 2, 3)
    ]  # fmt: skip
    for shift, place, entry in ((0, "close", at(2)), (-1, "open", at(1))):
        own = [
            row | {"Avg Entry Price": closes[hour + shift], "Avg Exit Price": closes[hour + 2 + shift]}
            for hour, row in zip((1, 2, 3), rows, strict=True)
        ]
        given = trades.read(own, leverage=10)
        assert trades.to_book(given, market).positions["entry_time"][0] == entry
        assert (
            f"fills lie at the {place} of their stamped bar of 1 hour"
            in trades.check(given, market, venues=[FLAT]).notes
        )


def test_check__refuses_prices_that_are_not_the_log_s() -> None:
    market = hours(*[40_000.0] * 6)
    with pytest.raises(BacktestError, match=r"prices of the trades are not those of the bars.*5\.26 % or more"):
        trades.check(log(entry_price=38_000.0), market, venues=[FLAT], leverages=[10])
    with pytest.raises(BacktestError, match="prices cover none of the 1 trade"):
        trades.check(log(symbol="ETHUSDT"), market, venues=[FLAT], leverages=[10])
    with pytest.raises(BacktestError, match="leverages must be given: the trades do not say"):
        trades.check(log(), market, venues=[FLAT])
    with pytest.raises(BacktestError, match="keep 'stake' needs the leverage"):
        trades.check(log(), market, venues=[FLAT], leverages=[10], keep="stake")


def test_check__leaves_out_what_prices_and_rules_do_not_cover() -> None:
    market = hours(*[40_000.0] * 6)
    rows = {
        "symbol": ["BTCUSDT", "ETHUSDT", "BTC/USDT:USDT"], "side": "long", "entry_time": [at(1), at(1), at(90)],
        "entry_price": 40_000.0, "quantity": 1.0, "leverage": [10.0, 10.0, 10.0],
    }  # fmt: skip
    found = trades.check(trades.read(rows), market, venues=[FLAT])
    assert found.rows["trade_id"].to_list() == [0]
    assert found.left_out.select("trade_id", "reason").rows() == [
        (1, "no prices of its symbol"),
        (2, "opened after the prices end"),
    ]


def test_check__a_leverage_beyond_the_tier_is_rejected_and_counted() -> None:
    market = hours(*[40_000.0] * 6)
    found = trades.check(log(exit_time=[at(3)], exit_price=40_000.0), market, venues=[FLAT], leverages=[50, 60])
    assert found.rows["outcome"].to_list() == ["exited", "rejected"]
    assert found.rows["limited_by"].to_list() == ["tier", "tier"]
    assert found.rows["highest_surviving_leverage"].to_list() == [50.0, 50.0]
    assert found.counts["rejected"].to_list() == [0, 1]


def test_check__an_addition_brings_its_own_margin() -> None:
    market = hours(40_000, 40_000, 39_000, 38_000, 37_000, 36_500, 39_000, 40_000)
    fills = {
        "symbol": "BTCUSDT", "time": [at(1), at(3), at(7)], "side": ["buy", "buy", "sell"],
        "price": [40_000.0, 39_000.0, 39_000.0], "quantity": [1.0, 1.0, 2.0],
    }  # fmt: skip
    found = trades.check(trades.read(fills), market, venues=[FLAT], leverages=[10, 20]).rows
    assert found["outcome"].to_list() == ["exited", "liquidated"]
    # 2 from 39,500 on average; the low of 36,500 needs 6,000 and 0.5 % of the notional there
    needed = 2 * 3_000 + 0.005 * 2 * 36_500
    assert found["margin_that_holds"].to_list() == pytest.approx([needed - 3_900, needed - 1_950])
    assert found["highest_surviving_leverage"].to_list() == pytest.approx([79_000 / needed] * 2)
    assert found["realised_pnl"][0] == pytest.approx(-1_000.0)
    equity = 7_900 - 2 * 3_000
    assert found["peak_margin_ratio"].to_list() == pytest.approx([0.005 * 2 * 36_500 / equity, 1.0])
    reached = (2 * 39_500 - 7_900) / (2 * (1 - 0.005))
    assert found["closest_distance_percent"][0] == pytest.approx(100 * (1 - reached / 36_500))


def test_check__compares_the_liquidations_that_the_list_records() -> None:
    market = hours(40_000, 40_000, 39_000, 38_000, 38_500, 38_500)
    rows = {
        "symbol": "BTCUSDT", "side": "long", "entry_time": [at(1), at(1)], "entry_price": 40_000.0,
        "quantity": 1.0, "exit_time": [at(3.2), at(5)], "exit_price": [38_200.0, 38_500.0], "leverage": 20.0,
        "recorded": ["liquidated", None], "stop_price": [39_500.0, 38_100.0],
    }  # fmt: skip
    found = trades.check(trades.read(rows), market, venues=[FLAT])
    counted = found.counts.row(0, named=True)
    assert (counted["recorded_liquidations"], counted["recorded_found"], counted["possibly_liquidated"]) == (
        1,
        1,
        2,
    )
    assert counted["recorded_price_difference"] == pytest.approx(38_200 / (38_000 / 0.995) - 1)
    assert found.rows["stop_comes_first"].to_list() == [True, False]
    assert any("of 1 liquidation that the list records, 1 are liquidated" in note for note in found.notes)


def test_check__holds_on_what_the_list_says_was_liquidated_too_early() -> None:
    market = hours(40_000, 40_000, 39_000, 38_900, 38_500, 37_000, 37_500)
    rows = {
        "symbol": "BTCUSDT", "side": "long", "entry_time": at(1), "entry_price": 40_000.0, "quantity": 1.0,
        "exit_time": [at(3), at(3), at(3)], "exit_price": 39_000.0, "leverage": [20.0, 10.0, 20.0],
        "recorded": ["liquidated", "liquidated", None],
    }  # fmt: skip
    found = trades.check(trades.read(rows), market, venues=[FLAT])
    assert found.rows["outcome"].cast(pl.String).to_list() == ["exited"] * 3
    # 38,000 / 0.995 = 38,191 is passed in the bar from 38,500 to 37,000; 36,181 never; the third is not recorded
    assert found.rows["liquidated_later"].to_list() == [at(5), None, None]
    note = "of 2 liquidations that the list records, 0 are liquidated under"
    later = "of the rest 1 would have been later, had they been held on"
    assert any(note in said and later in said for said in found.notes)


def test_check__profit_reconciles_with_the_log() -> None:
    market = hours(40_000, 40_000, 39_500, 40_500, 40_000, 40_200)
    changes = (at(2), 39_500.0, -0.25), (at(3), 40_500.0, -0.25)
    fills = {
        "symbol": "BTCUSDT", "time": [at(1), *(time for time, _, _ in changes), at(4)],
        "side": ["buy", "sell", "sell", "sell"], "price": [40_000.0, 39_500.0, 40_500.0, 40_000.0],
        "quantity": [1.0, 0.25, 0.25, 0.5], "fee": 1.0, "closed_pnl": [0.0, -125.0, 125.0, 0.0],
    }  # fmt: skip
    row = trades.check(trades.read(fills), market, venues=[FLAT], leverages=[10]).rows.row(0, named=True)
    assert row["logged_pnl"] == pytest.approx(-4.0)
    assert row["realised_pnl"] == pytest.approx(-4.0)
    assert row["pnl_difference"] == pytest.approx(0.0, abs=1e-9)
    assert row["closest_time"] == at(2)
    assert 0 < row["closest_distance_percent"] < 15


@pytest.mark.parametrize("name", trade_logs.LOGS)
def test_check__of_every_format_equals_the_sweep_of_hand_made_positions(name: str, tmp_path: Path) -> None:
    prices = [40_000.0] * 10 + [40_000, 39_500, 38_800, 39_000, 38_700, 38_000.0, 38_000, 38_000]
    market = hours(*prices, width=150.0)
    # opens at 10:00, 13:00, 14:00 and 16:00 are those of the trades
    bars = market.bars.with_columns(
        open=pl.Series(
            [
                {10: 40_000.0, 13: 38_500.0, 14: 39_000.0, 16: 38_000.0}.get(h, p)
                for h, p in enumerate(market.bars["open"])
            ]
        )
    )
    bars = bars.with_columns(
        high=pl.max_horizontal("high", "open"), low=pl.min_horizontal("low", "open"),
        close=pl.col("open").shift(-1).fill_null(38_000.0),
    ).with_columns(high=pl.max_horizontal("high", "close"), low=pl.min_horizontal("low", "close"))  # fmt: skip
    market = Market(bars)
    make, lacking = trade_logs.LOGS[name]
    found = trades.check(trades.read(make(tmp_path), **lacking), market, venues=[FLAT], leverages=[10, 40]).rows
    positions = pl.DataFrame(
        [
            {
                "symbol": "BTCUSDT",
                "side": side,
                "entry_time": at(a),
                "entry_price": entry,
                "quantity": quantity,
                "exit_time": at(b),
            }
            for side, quantity, a, entry, b, _, _ in trade_logs.TRADES
        ]
    ).with_columns(pl.col("entry_time", "exit_time").dt.cast_time_unit("ms"))
    for leverage in (10.0, 40.0):
        wanted = sweep(Book(positions.with_columns(leverage=pl.lit(leverage))), market, FLAT)
        got = found.filter(pl.col("leverage") == leverage)
        assert got["outcome"].cast(pl.String).to_list() == wanted["outcome"].cast(pl.String).to_list()
        assert got["outcome_time"].to_list() == wanted["outcome_time"].to_list()
    assert found["outcome"].to_list() == ["exited", "exited", "liquidated", "exited"]
    assert timedelta(hours=1) == found["outcome_until"][2] - found["outcome_time"][2]


@pytest.mark.parametrize(
    ("symbol", "name"), [("DOGE", "DOGEUSDT"), ("SOL/USDC:USDC", "SOLUSDC"), ("NOCOIN", None)]
)
def test_coin_alone__is_the_contract_in_the_venues_usual_currency(symbol, name):
    assert listed_as(symbol, Venue.load("binance")) == name


def test_check__a_trade_still_open_whose_entry_bar_hides_the_order_stays_open() -> None:
    # the stamp at 03:30 pays the long so much that the close of its entry bar liquidates only before it
    bars = hours(40_000, 40_000, 40_000, 37_900, 37_900, 37_900).bars
    funding = {"symbol": "BTCUSDT", "time": [at(3.5)], "rate": [-0.5]}
    row = trades.check(log(entry_time=[at(3.25)]), Market(bars, funding), venues=[FLAT], leverages=[20]).rows
    assert row["outcome"].to_list() == ["open"]
    assert row.select("certainly_liquidated", "possibly_liquidated").row(0) == (False, True)


@pytest.mark.parametrize(("trigger", "certain"), [("mark", False), ("last", True)])
def test_check__an_exit_price_liquidates_only_where_traded_prices_trigger(trigger: str, certain: bool) -> None:
    bars = hours(40_000, 40_000, 40_000, 40_000, 40_000).bars
    market = Market(
        bars.with_columns(
            last_open="open",
            last_high="high",
            last_close="close",
            last_low=pl.when(pl.col("time") == at(2)).then(37_000.0).otherwise("low"),
        )
    )
    own = log(exit_time=[at(2.5)], exit_price=37_500.0)
    venue = replace(FLAT, trigger_price=trigger)
    row = trades.check(own, market, venues=[venue], leverages=[20]).rows.row(0, named=True)
    assert (row["certainly_liquidated"], row["possibly_liquidated"]) == (certain, True)
    if certain:
        assert row["margin_that_holds"] == pytest.approx(2_500 + 0.005 * 37_500)
        assert (row["outcome_time"], row["outcome_until"]) == (at(2), at(3))
    else:
        assert (row["outcome_until"], row["possible_time"]) == (at(2.5), at(2.5))


@pytest.mark.parametrize("seed", range(4))
def test_check__the_margin_ratio_of_changed_trades_is_that_of_the_closed_form(seed: int) -> None:
    case = random_case(np.random.default_rng(940 + seed), 60)
    market = Market(case.bars, case.funding)
    given, there = placed(case, market)
    own = OnVenue(given, there, market, case.venue, Conventions(tiers=case.options["tiers"]), "size", None, 1)
    quick = own.rows(None)
    own = OnVenue(given, there, market, case.venue, Conventions(tiers=case.options["tiers"]), "size", None, 1)
    own.searched = np.ones(len(own.trades), np.bool_)  # as if each had been changed
    slow = own.rows(None)
    for name in ("peak_margin_ratio", "closest_distance_percent"):
        both = (
            pl.DataFrame({"quick": quick[name], "slow": slow[name]})
            .filter(
                (quick["peak_margin_ratio"] < 1)
                & (quick["margin_that_holds"] > 0)
                & (quick["outcome"] != "rejected")
            )
            .drop_nulls()
        )
        assert both.height > 5
        np.testing.assert_allclose(both["slow"].to_numpy(), both["quick"].to_numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("wick", "certain", "possible"), [(2.5, True, True), (3.5, False, True), (4.25, False, False)]
)
def test_check__a_fill_somewhere_inside_its_stamped_bar_has_a_shortest_and_a_longest_life(
    wick: float, certain: bool, possible: bool
) -> None:
    minutes = [minute / 60 for minute in range(360)]
    market = Market(
        {
            "symbol": "BTCUSDT", "time": [at(hour) for hour in minutes], "open": 40_000.0, "high": 40_000.0,
            "low": [36_000.0 if hour == wick else 40_000.0 for hour in minutes], "close": 40_000.0,
        }
    )  # fmt: skip
    rows = {
        "symbol": "BTCUSDT", "side": "long", "quantity": 1.0, "entry_time": [at(1)], "entry_price": 40_000.0,
        "exit_time": [at(3)], "exit_price": 39_500.0,
    }  # fmt: skip
    found = trades.check(trades.read(rows, fills_at="open"), market, venues=[FLAT], leverages=[20])
    row = found.rows.row(0, named=True)
    assert (row["certainly_liquidated"], row["possibly_liquidated"]) == (certain, possible)
    assert row["possible_time"] == (at(wick) if possible and not certain else None)
    assert row["outcome"] == ("liquidated" if certain else "exited")
