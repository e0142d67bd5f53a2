"""Prices of one venue under the rules of another: results say so."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
import pytest
from test_replay import book, market

from backtest import Accounts, Market, Venue, replay, sweep, sweep_accounts, trades
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
    whole, batched = [*words.split(), "--price-venue", "okx", "--out"], ["--batch-rows", "9"]
    for number, (given, folder) in enumerate((([], "outcomes.parquet"), (batched, "outcomes"))):
        out = tmp_path / str(number)
        assert main([*whole, str(out), *given]) == 0
        assert "prices of okx under the rules of PrimeXBT" in " ".join(capsys.readouterr().out.split())
        assert json.loads((out / "summary.json").read_text())["prices"]["price_venue"] == "okx"
        assert pl.read_parquet(out / folder)["price_venue"].to_list() == ["okx"]


def test_outcomes__of_sweep_replay_and_accounts_name_the_venue_of_their_prices():
    flat = ((50_000.0,) * 4,) * 3
    positions = book({"entry_price": 50_000.0, "quantity": 1.0, "margin": 5_000.0, "leverage": 10.0})
    legs = positions.positions.drop("margin").with_columns(account_id=0)
    legs = legs.rename({"position_id": "leg_id"})
    held = Accounts({"account_id": [0], "wallet": [5_000.0]}, legs)
    for name in ("binance", ""):
        own = Market(market(*flat).bars, price_venue=name)
        found = [sweep(positions, own, "primexbt"), replay(positions, own, "primexbt").outcomes]
        found += list(sweep_accounts(held, own, "primexbt"))
        assert [frame["price_venue"].to_list() for frame in found] == [[name or None]] * 4
        assert {frame.schema["price_venue"] for frame in found} == {pl.String()}
