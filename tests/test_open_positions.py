"""Open positions: read as venues state them, and how near each is to liquidation."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_trade_check import FLAT
from trade_logs import at

from backtest import Market, Venue, trades
from backtest.__main__ import main
from backtest.errors import DataError
from backtest.market import sample
from backtest.rules import margin as margins
from backtest.study import holders

CCXT = {
    "symbol": "BTC/USDT:USDT", "side": "long", "contracts": 0.5, "contractSize": 1.0, "entryPrice": 40_000.0,
    "leverage": 10, "collateral": 2_000.0, "marginMode": "isolated", "liquidationPrice": 36_100.0,
    "markPrice": 40_000.0,
}  # fmt: skip

STATE = {
    "assetPositions": [
        {"type": "oneWay", "position": {
            "coin": "BTC", "szi": "-0.5", "entryPx": "40000.0", "liquidationPx": "43780.0", "marginUsed": "2000.0",
            "positionValue": "20000.0", "leverage": {"type": "isolated", "value": 10, "rawUsd": "22000.0"}}},
        {"type": "oneWay", "position": {
            "coin": "ETH", "szi": "0.0", "entryPx": "2000.0", "liquidationPx": None, "marginUsed": "0",
            "positionValue": "0", "leverage": {"type": "cross", "value": 5}}},
    ],
    "marginSummary": {"accountValue": "5000.0"},
}  # fmt: skip


def test_read_positions__knows_ccxt_s_and_hyperliquid_s(tmp_path: Path) -> None:
    row = trades.read_positions([CCXT]).row(0, named=True)
    assert (row["side"], row["quantity"], row["margin"], row["venue_liquidation_price"]) == (
        "long",
        0.5,
        2_000,
        36_100,
    )
    cross = trades.read_positions([CCXT | {"marginMode": "cross"}]).row(0, named=True)
    assert (cross["margin_mode"], cross["margin"]) == ("cross", None)
    (tmp_path / "state.json").write_text(json.dumps(STATE))
    row = trades.read_positions(tmp_path / "state.json").row(0, named=True)
    assert (row["symbol"], row["side"], row["quantity"], row["margin"]) == ("BTC", "short", 0.5, 2_000.0)
    assert (row["mark_price"], row["leverage"], row["margin_mode"]) == (40_000.0, 10.0, "isolated")


def test_read_positions__refuses_trades_and_nothing() -> None:
    with pytest.raises(DataError, match="positions holds no open position"):
        trades.read_positions([CCXT | {"contracts": 0.0}])
    with pytest.raises(DataError, match=r"entry_price must be above zero: 1 of 1 .*symbol='BTC/USDT:USDT'"):
        trades.read_positions([CCXT | {"entryPrice": None}])
    with pytest.raises(DataError, match="leverage must be above zero"):
        trades.read_positions([CCXT | {"leverage": -1}])
    with pytest.raises(DataError, match="holds no open positions: ccxt's, Hyperliquid's or your own"):
        trades.read_positions({"time": ["2021-05-19"], "side": ["buy"], "price": [1.0], "quantity": [1.0]})


def sawtooth() -> Market:
    """Return hours that fall by 10 % within a day every tenth day, and move by 1 % on the others."""
    lows = [0.9 if (hour // 24) % 10 == 5 and hour % 24 == 12 else 0.99 for hour in range(24 * 40)]
    return Market(
        {
            "symbol": "BTCUSDT",
            "time": [at(hour) for hour in range(len(lows))],
            "open": 40_000.0,
            "high": 40_000.0,
            "low": [40_000.0 * low for low in lows],
            "close": 40_000.0,
        }
    )  # fmt: skip


def near(margin: float, mode: str = "isolated", market: Market | None = None, **more: Any) -> pl.DataFrame:
    given = trades.read_positions([CCXT | {"collateral": margin, "marginMode": mode}])
    return holders.nearness(given, market or sawtooth(), FLAT, draws=0, **more)


def test_nearness__is_the_liquidation_price_s_distance_and_how_often_prices_moved_so_far() -> None:
    found = near(1_600.0, horizons=[timedelta(hours=1), timedelta(hours=24)])
    reached = (20_000 - 1_600) / (0.5 * 0.995)
    assert found["liquidation_price"].to_list() == pytest.approx([reached] * 2)
    assert found["distance"].to_list() == pytest.approx([1 - reached / 40_000] * 2)
    assert found["price_difference"].to_list() == pytest.approx([reached / 36_100 - 1] * 2)
    hour, day = found.iter_rows(named=True)
    assert hour["chance"] == pytest.approx(4 / hour["openings"])
    assert day["chance"] == pytest.approx(4 * 24 / day["openings"])
    assert near(2_500.0)["chance"].to_list() == [0.0] * 3


def test_nearness__the_margin_to_add_makes_it_rare() -> None:
    for margin in (300.0, 1_600.0):
        added = near(margin)["margin_to_add"].to_list()
        assert all(value > 0 for value in added)
        after = [near(margin + value + 1e-6)["chance"][n] for n, value in enumerate(added)]
        before = [near(margin + value - 1e-3)["chance"][n] for n, value in enumerate(added)]
        assert all(chance < 0.01 for chance in after)
        assert all(chance >= 0.01 for chance in before)
    assert near(2_500.0)["margin_to_add"].to_list() == [0.0] * 3


def test_nearness__of_cross_margin_is_as_near_as_the_venue_says() -> None:
    row = near(0.0, "cross").row(1, named=True)
    assert row["liquidation_price"] is None
    assert row["distance"] == pytest.approx(1 - 36_100 / 40_000)
    price = 36_000.0 * (1 - 1e-16)
    wanted = 0.5 * (36_100 - price) - 0.005 * 0.5 * (36_100 - price)
    assert row["margin_to_add"] == pytest.approx(wanted)


def test_nearness__margin_to_add_under_a_fee_reserved_at_bankruptcy_moves_the_price_as_far() -> None:
    bybit = Venue.load("bybit")
    stated = {"symbol": ["BTCUSDT"], "side": "short", "quantity": 0.5, "entry_price": 40_000.0, "margin": 1_000.0}
    found = holders.nearness(trades.read_positions(stated), sample(), bybit, draws=0).row(1, named=True)
    contract = bybit.contract("BTCUSDT")
    held = {"side": -1, "quantity": 0.5, "entry_price": 40_000.0, "margin": 1_000.0 + found["margin_to_add"]}
    reached = float(margins.liquidation_price(contract, contract.tables[-1], **held)[0])
    moved = holders.open_positions._OfSymbol.rare_distance  # the distance that fewer than 1 % of openings moved
    moves = holders.open_positions._Moves(sample(), holders.open_positions.HORIZONS, 0, 1).of("BTCUSDT")
    away = moved(moves, timedelta(hours=24), "short", 0.01)
    assert reached == pytest.approx(found["mark_price"] * (1 + away), rel=1e-9)


def test_nearness__has_bands_and_says_what_it_does_not_know() -> None:
    given = trades.read_positions([CCXT])
    found = holders.nearness(
        given, sample(), "binance", draws=99, horizons=[timedelta(hours=8), timedelta(days=60)]
    )
    known, unknown = found.iter_rows(named=True)
    assert known["low"] <= known["chance"] <= known["high"]
    assert (unknown["openings"], unknown["chance"], unknown["margin_to_add"]) == (0, None, None)
    with pytest.raises(DataError, match="prices have none of the positions' symbols"):
        holders.nearness(trades.read_positions([CCXT | {"symbol": "ABC/USDT:USDT"}]), sample(), "binance")
    assert np.isfinite(known["distance_days"])


def test_check__of_open_positions_prints_how_near_they_are(tmp_path: Path, capsys) -> None:
    (tmp_path / "positions.json").write_text(json.dumps([CCXT]))
    asked = ["check", str(tmp_path / "positions.json"), "--venue", "binance,mexc", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "36,100" in said
    rows = pl.read_parquet(tmp_path / "out" / "positions.parquet")
    assert rows.height == 2 * 3
    assert rows["venue"].unique(maintain_order=True).to_list() == ["binance", "mexc"]
