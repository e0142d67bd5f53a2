"""One position from Python: its prices are those of the margin functions and of the command."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime

import pytest

from backtest import Venue, position_prices
from backtest.__main__ import main
from backtest.errors import ArgumentError, RulesError, TiersError
from backtest.rules import margin
from backtest.shown import LINES, WIDTH

CRASH = datetime(2021, 5, 19, tzinfo=UTC)
OF_DOCUMENT = {"entry_price": 50_000, "quantity": 1, "leverage": 25, "margin": 5_000}


def test_prices__are_those_of_the_document_of_ascendex():
    held = position_prices(
        "ascendex", "BTCUSDT", side="long", entry_price=50_000, quantity=1, leverage=25, margin=5_000
    )
    assert (held.liquidation_price, held.bankruptcy_price) == (46_200, 45_000)
    assert held.takeover_price == pytest.approx(46_200 * 0.99)
    assert (held.rate, held.tier, held.currency, held.problems) == (0.024, 0, "USDT", [])
    assert held.table().rows() == [
        ("liquidation", 46_200.0, pytest.approx(-0.076)),
        ("bankruptcy", 45_000.0, pytest.approx(-0.1)),
        ("takeover", pytest.approx(45_738.0), pytest.approx(-0.08524)),
    ]


@pytest.mark.parametrize("side", [-1, "short"])
def test_side__is_a_word_or_a_sign_and_the_table_is_that_of_the_time(side):
    opened = {"side": side, "entry_price": 43_000, "quantity": 2, "leverage": 20}
    held = position_prices("binance", "BTCUSDT", **opened, time=CRASH)
    venue = Venue.load("binance")
    contract = venue.contract("BTCUSDT")
    table = contract.table("2021-03-18")
    given = {"side": -1, "quantity": 2.0, "entry_price": 43_000.0, "margin": 4_300.0, "leverage": 20.0}
    assert (held.tier_table.name, held.tier_source) == ("2021-03-18", "announced")
    assert held.liquidation_price == margin.liquidation_price(contract, table, **given)[0]
    assert held.takeover_price == margin.takeover_price(venue, contract, table, **given)[0]
    assert held.leverage_limit == 100
    naive = position_prices(venue, "BTCUSDT", **opened, time=datetime(2021, 5, 19))
    assert naive.liquidation_price == held.liquidation_price


def test_way__ends_at_the_liquidation_price_or_is_at_given_prices():
    held = position_prices(
        "ascendex", "BTCUSDT", side="short", entry_price=50_000, quantity=1, leverage=25, margin=5_000
    )
    way = held.way()
    assert way["mark_price"][-1] == held.liquidation_price == 53_800
    assert way["liquidated"].to_list() == [False] * 5 + [True]
    assert way.row(-1)[1:5] == (-3_800.0, 1_200.0, 1_200.0, 1.0)
    assert held.way([50_000, 54_000])["unrealised_result"].to_list() == [0.0, -4_000.0]
    assert held.table(daily_volatility=0.04)["days_of_volatility"][0] == pytest.approx(math.log(1.076) / 0.04)


def test_position_that_cannot_be_liquidated__has_no_price_and_says_so():
    held = position_prices(
        "binance", "BTCUSDT", side="long", entry_price=43_000, quantity=1, margin=60_000, time=CRASH
    )
    assert math.isnan(held.liquidation_price)
    assert held.problems == ["no positive price liquidates it: the margin covers the whole notional"]
    assert held.way().is_empty()
    assert held.leverage == pytest.approx(43_000 / 60_000)


def test_value__is_frozen_and_shows_itself_in_a_few_lines():
    held = position_prices("bybit", "BTCUSD", side="long", entry_price=8_000, quantity=10_000, leverage=10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        held.margin = 1.0
    lines = repr(held).split("\n")
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert "BTCUSD, long 10,000 from 8,000, 10x" in lines[0]
    assert "<table" in held._repr_html_()


def test_command__prints_the_same_prices(capsys):
    words = "price --venue binance --symbol XRPUSDT --side short --entry-price 2.8 --quantity 5000 --leverage 15"
    assert main([*words.split(), "--date", "2025-10-10"]) == 0
    printed = capsys.readouterr().out
    held = position_prices("binance", "XRPUSDT", side="short", entry_price=2.8, quantity=5_000, leverage=15,
                           time=datetime(2025, 10, 10, tzinfo=UTC))  # fmt: skip
    for row in held.table().iter_rows(named=True):
        (line,) = [
            line for line in printed.splitlines() if line.startswith(f"{row['name']} ") and "%" not in line
        ][:1]
        assert float(line.split()[1]) == pytest.approx(row["price"], rel=1e-6)


HELD = {
    "venue": "binance",
    "symbol": "BTCUSDT",
    "side": "long",
    "entry_price": 100.0,
    "quantity": 1.0,
    "leverage": 5.0,
}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"venue": "nowhere"}, RulesError, "venue 'nowhere' is neither a file nor one of"),
        ({"symbol": "NOCOIN"}, RulesError, "does not list 'NOCOIN'"),
        ({"side": "up"}, ArgumentError, "side must be long, short, .1 or -1, is 'up'"),
        ({"side": [1, -1]}, ArgumentError, "side must be long, short"),
        ({"entry_price": 0}, ArgumentError, "entry_price must be a finite number above zero, is 0"),
        ({"quantity": math.inf}, ArgumentError, "quantity must be a finite number above zero, is inf"),
        ({"margin": -1}, ArgumentError, "margin must be a finite number above zero, is -1"),
        ({"leverage": None}, ArgumentError, "leverage is needed, or a margin, or both"),
        ({"quantity": 1e9, "time": CRASH}, ArgumentError, "quantity 1,000,000,000 is beyond table '2021-03-18'"),
        ({"time": datetime(2025, 6, 15)}, TiersError, r"lies between the tables 2024-05-30 .* tiers='later'"),
        ({"tiers": "newest"}, ArgumentError, "tiers must be strict, earlier"),
        ({"colour": "red"}, ArgumentError, "colour"),
    ],
)
def test_argument_that_is_wrong__is_refused_by_its_name(change, error, said):
    with pytest.raises(error, match=said):
        position_prices(**(HELD | change))
