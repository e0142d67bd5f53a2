"""Warnings about a given book that looks wrong, which is not refused for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from backtest import Book, Market, Venue, sweep
from backtest.cli.common.input_warnings import book_warnings, with_price_warnings
from backtest.engine.input_warnings import far_entries, unread
from backtest.errors import DataError, InputWarning

START = datetime(2021, 5, 1, tzinfo=UTC)


def market() -> Market:
    times = [START + timedelta(hours=number) for number in range(3)]
    bars = {"open": 100.0, "high": 105.0, "low": 95.0, "close": 100.0}
    rows = [{"symbol": symbol, "time": time, **bars} for symbol in ("BTCUSDT", "ETHUSDT") for time in times]
    return Market(pl.DataFrame(rows, schema_overrides={"time": pl.Datetime("ms", "UTC")}))


def book(**columns: object) -> Book:
    prices = columns.pop("entry_price")
    count = len(prices)
    given = {
        "position_id": range(count), "symbol": "BTCUSDT", "side": "long", "entry_time": START,
        "entry_price": prices, "quantity": 1.0, "leverage": 5.0,
    }  # fmt: skip
    return Book(pl.DataFrame(given | columns, schema_overrides={"entry_time": pl.Datetime("ms", "UTC")}))


def test_unread__names_what_a_column_may_have_meant():
    told = unread(["position_id", "entry_price", "stop_prise", "take_profit", "Margin", "desk", "leverage"])
    assert told == [
        "column stop_prise is carried along unread: is it stop_price?",
        "column take_profit is carried along unread: is it take_profit_price?",
        "column Margin is carried along unread: is it margin?",
    ]


def test_unread__says_nothing_of_columns_that_are_read_or_of_other_words():
    assert unread(["position_id", "margin", "leverage", "stop_price", "strategy", "desk"]) == []


def test_far_entries__more_than_a_tenth_beyond_the_bar_of_the_entry():
    given = book(entry_price=[100.0, 115.4, 115.6, 86.5, 86.2], symbol=["BTCUSDT"] * 4 + ["ETHUSDT"])
    assert far_entries(given.positions, market()).tolist() == [False, False, True, False, True]


def test_book_warnings__of_a_book_in_other_units_and_over_the_limit():
    given = book(entry_price=[100.0, 1_000.0], leverage=[500.0, 5.0])
    with pytest.warns(InputWarning):
        outcomes = sweep(given, market(), Venue.load("binance"), leverage_limit="cap", tiers="nearest")
    assert book_warnings(given, market(), outcomes) == [
        "1 entry price more than 10 % beyond the mark's bar (first position 1, BTCUSDT at 1,000): "
        "are symbol, unit and time right?",
        "leverage lowered to the limit of the tier: 1 position",
    ]


def test_book_warnings__none_of_a_sound_book():
    given = book(entry_price=[100.0, 95.0])
    outcomes = sweep(given, market(), Venue.load("binance"), tiers="nearest")
    assert book_warnings(given, market(), outcomes) == []


@pytest.mark.parametrize(("message", "told"), [("positions: size", True), ("bars: low", False)])
def test_with_price_warnings__adds_to_a_refusal_of_positions_that_their_prices_are_far(message, told):
    given = book(entry_price=[1_000.0])
    with pytest.raises(DataError) as refused, with_price_warnings(given, market(), given=True):
        raise DataError(message)
    assert str(refused.value).startswith(message)
    assert ("; warning: 1 entry price more than 10 %" in str(refused.value)) is told


def test_with_price_warnings__says_nothing_of_a_synthetic_book():
    with (
        pytest.raises(DataError, match=r"^positions: size$"),
        with_price_warnings(book(entry_price=[1_000.0]), market(), given=False),
    ):
        raise DataError("positions: size")
