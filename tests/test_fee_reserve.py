"""Margins that include the closing fee: BitMEX and Bybit, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from backtest import Book, Market, Venue, replay, sweep
from backtest.errors import ArgumentError, RulesError
from backtest.rules import margin
from backtest.rules.contract import Contract
from backtest.rules.position import PositionPrices
from backtest.study import survival

START = datetime(2021, 5, 19, tzinfo=UTC)
BITMEX, BYBIT = Venue.load("bitmex"), Venue.load("bybit")
FEE = 0.00075
XBTUSD = BITMEX.contract("XBTUSD")


def market(symbol: str, *lows: float, start: float = 10_000.0) -> Market:
    times = [START + timedelta(hours=hour) for hour in range(len(lows))]
    prices = {"open": start, "high": start, "low": [float(low) for low in lows], "close": start}
    return Market(pl.DataFrame({"symbol": symbol, "time": times} | prices), gap_limit=None)


def long(symbol: str, **columns: Any) -> pl.DataFrame:
    row = {"symbol": symbol, "side": "long", "entry_time": START, "entry_price": 10_000.0, "quantity": 10_000.0}
    return pl.DataFrame([row | {"leverage": 100.0} | columns])


def test_bitmex_at_100x__is_liquidated_where_the_fee_cancels() -> None:
    outcomes = sweep(Book(long("XBTUSD")), market("XBTUSD", 9_999, 9_930), BITMEX).row(0, named=True)
    assert outcomes["liquidation_price"] == pytest.approx(10_000 / 1.006)  # 9,940.36
    fee = FEE * 1.01
    assert outcomes["realised_pnl"] == pytest.approx(-(0.01 + fee))  # the fund keeps what remains
    assert outcomes["equity_at_fill"] == pytest.approx(0.004 + fee)


def test_replay_and_lifetimes__make_the_same_margin() -> None:
    history = market("XBTUSD", 9_999, 9_940.3)
    book = Book(long("XBTUSD"))
    expected, found = sweep(book, history, BITMEX), replay(book, history, BITMEX).outcomes
    for name in ("outcome", "liquidation_price", "bankruptcy_price", "entry_notional"):
        assert expected[name].cast(pl.String).equals(found[name].cast(pl.String)), name
    held = survival.lifetimes(history, BITMEX, leverages=[100], notional=1.0)
    assert held.bars["long"].tolist() == [[1, 1]]
    safe = survival.lifetimes(market("XBTUSD", 9_999, 9_940.4), BITMEX, leverages=[100], notional=1.0)
    assert safe.bars["long"].max() < 0


@pytest.mark.parametrize("side", [1, -1])
def test_functions_of_one_position(side: int) -> None:
    table = XBTUSD.tables[0]
    opened = {"side": side, "quantity": 10_000.0, "entry_price": 10_000.0}
    put_in = margin.initial_margin(XBTUSD, leverage=100, **opened)
    bankrupt = 10_000 / (1 + side * 0.01)
    assert put_in == pytest.approx(0.01 + FEE * 10_000 / bankrupt)
    held = opened | {"margin": put_in}
    assert margin.liquidation_price(XBTUSD, table, **held) == pytest.approx(10_000 / (1 + side * 0.006))
    assert margin.takeover_price(BITMEX, XBTUSD, table, **held) == pytest.approx(bankrupt)
    assert side * (margin.bankruptcy_price(XBTUSD, **held) - bankrupt) < 0  # where the fee is used up, too
    needed = margin.maintenance_margin(XBTUSD, table, price=9_500, **held)
    assert needed == pytest.approx(0.004 + FEE * 10_000 / bankrupt)


@pytest.mark.parametrize(("side", "leverage"), [(1, 10), (-1, 10), (1, 100), (-1, 50)])
def test_bybit__prints_prices_without_a_fee(side: int, leverage: int) -> None:
    contract = BYBIT.contract("BTCUSDT")
    opened = {"side": side, "quantity": 2.0, "entry_price": 40_000.0}
    put_in = margin.initial_margin(contract, leverage=leverage, **opened)
    held = opened | {"margin": put_in}
    table = contract.table("2021")
    printed = 40_000 * (1 - side / leverage + side * 0.005)
    assert margin.liquidation_price(contract, table, **held) == pytest.approx(printed)
    assert margin.takeover_price(BYBIT, contract, table, **held) == pytest.approx(40_000 * (1 - side / leverage))


def test_the_calculator__makes_the_margin_that_includes_the_fee() -> None:
    put_in = float(margin.initial_margin(XBTUSD, side=1, quantity=10_000, entry_price=10_000, leverage=100)[0])
    held = PositionPrices(BITMEX, XBTUSD, XBTUSD.tables[0], "in force", 1, 10_000.0, 10_000.0, put_in, 100.0)
    assert held.initial_margin == put_in
    assert (round(held.liquidation_price, 2), round(held.takeover_price, 2)) == (9_940.36, 9_900.99)


def test_a_reserve_in_the_margin__needs_a_fee_at_bankruptcy_and_a_side() -> None:
    with pytest.raises(RulesError, match="margin_includes_closing_fee: needs closing_fee = 'at_bankruptcy'"):
        Contract(symbol="X", tables=XBTUSD.tables, margin_includes_closing_fee=True)
    with pytest.raises(ArgumentError, match="side is needed"):
        margin.initial_margin(XBTUSD, quantity=1, entry_price=10_000, leverage=10)


def test_leverages__are_broadcast_with_everything_else() -> None:
    contract = Venue.load("ascendex").contract("BTCUSDT")
    held = {"side": 1, "quantity": 1.0, "entry_price": 50_000.0, "margin": 5_000.0, "leverage": [25.0, 50.0]}
    needed = margin.maintenance_margin(contract, contract.tables[0], price=50_000.0, **held)
    assert needed == pytest.approx([1_200, 600])
    assert margin.liquidation_price(contract, contract.tables[0], **held) == pytest.approx([46_200, 45_600])
    flat = BYBIT.contract("BTCUSDT")
    assert margin.maintenance_margin(flat, flat.table("2021"), price=50_000.0, **held).size == 2
    with pytest.raises(ArgumentError, match="must have one length"):
        margin.liquidation_price(contract, contract.tables[0], **held | {"margin": [1.0, 2.0, 3.0]})
