"""Prices of one venue under the rules of another: results say so."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
import pytest
from test_replay import book, market

from backtest import Market, Venue, trades
from backtest.__main__ import main
from backtest.cli.common import assumptions


def test_market__keeps_the_venue_of_its_prices():
    bars = market((50_000.0,) * 4, (50_000.0,) * 4).bars
    own = Market(bars, description="hours", price_venue="binance")
    assert own.select(["BTCUSDT"]).price_venue == own.with_last_price().price_venue == "binance"
    assert own.resample("2m").price_venue == "binance"
    assert Market(bars).price_venue == ""


@pytest.mark.parametrize(
    ("prices", "rules", "said"),
    [
        ("binance", "okx", "hours; prices of binance under the rules of OKX"),
        ("binance", "binance", "hours"),
        ("ascendex", "ascendex-2021-09", "hours"),
        ("", "okx", "hours"),
    ],
)
def test_sentence__is_said_where_the_rules_are_another_venues(prices, rules, said):
    own = Market(market((50_000.0,) * 4).bars, description="hours", price_venue=prices)
    assert assumptions.prices(own, Venue.load(rules)) == said


def test_check__has_the_venue_of_the_prices_as_a_column():
    own = Market(market((50_000.0,) * 4, (50_000.0,) * 4).bars, description="minutes", price_venue="binance")
    entry = own.bars["time"][0]
    listed = {"symbol": ["BTCUSDT"], "side": ["long"], "entry_time": [entry], "entry_price": [50_000.0],
              "quantity": [0.1], "exit_time": [entry + timedelta(minutes=1)],
              "exit_price": [50_000.0]}  # fmt: skip
    found = trades.check(trades.read(pl.DataFrame(listed)), market=own, venues=["primexbt"], leverages=[10.0])
    assert found.rows["price_venue"].to_list() == ["binance"]


def test_run__says_whose_prices_they_are_and_the_summary_too(capsys, tmp_path):
    path = market(*((50_000.0,) * 4,) * 3)
    path.bars.write_parquet(tmp_path / "bars.parquet")
    book({"entry_price": 50_000.0, "quantity": 1.0, "margin": 5_000.0, "leverage": 10.0}).positions.write_parquet(
        tmp_path / "positions.parquet"
    )
    words = f"run --venue primexbt --bars {tmp_path / 'bars.parquet'} --positions {tmp_path / 'positions.parquet'}"
    assert main([*words.split(), "--price-venue", "binance", "--out", str(tmp_path / "out")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "bars.parquet; prices of binance under the rules of PrimeXBT" in text
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["prices"]["price_venue"] == "binance"
    assert main(["run", "--price-venue", "binance", "--out", str(tmp_path / "other")]) == 2
    assert "--price-venue needs bars" in capsys.readouterr().err
    words = words.replace("run", "sweep", 1)
    assert main([*words.split(), "--price-venue", "okx", "--batch-rows", "9", "--out", str(tmp_path / "b")]) == 2
    assert "--price-venue is not for a sweep in batches" in capsys.readouterr().err
