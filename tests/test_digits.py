"""Prices to a venue's own digits: on its tick by its rounding, for display and nothing else."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtest import Venue, position_prices
from backtest.__main__ import main
from backtest.amounts import plain
from backtest.cli.replay.trace import narrated
from backtest.errors import RulesError
from backtest.rules import Contract, TierTable
from backtest.rules.contract import decimals, is_whole, on_tick, shown_prices

TABLE = TierTable(name="own", rates=[0.005], dated="always")


def contract(**rules) -> Contract:
    return Contract(symbol="BTCUSDT", tables=(TABLE,), **rules)


@pytest.mark.parametrize(
    ("rules", "price", "side", "shown"),
    [
        ({}, 5_739.0835, 1, 5_739.0835),
        ({"tick": 0.1}, 33_599.4041, 1, 33_599.4),
        ({"tick": 0.1}, 33_599.45, -1, 33_599.5),
        ({"tick": 0.5, "tick_rounding": "against_holder"}, 5_739.0835, 1, 5_739.5),
        ({"tick": 0.5, "tick_rounding": "against_holder"}, 7_773.9, -1, 7_773.5),
        ({"tick": 0.1, "tick_rounding": "against_holder"}, 0.1 * 3, 1, 0.3),
        ({"tick": 10.0, "tick_rounding": "against_holder"}, 101.0, 1, 110.0),
    ],
)
def test_on_tick__rounds_as_the_venue_does(rules, price, side, shown):
    assert on_tick(contract(**rules), price, side).tolist() == [shown]


def test_on_tick__takes_many_prices_and_leaves_nan():
    own = contract(tick=0.001, tick_rounding="against_holder")
    found = on_tick(own, np.array([1.23456, 1.23456, math.nan]), np.array([1, -1, 1]))
    assert found[:2].tolist() == [1.235, 1.234]
    assert math.isnan(found[2])
    assert [decimals(step) for step in (0.5, 0.001, 1e-7, 10.0, 0.25)] == [1, 3, 7, 0, 2]


def test_quantity__that_is_no_whole_number_of_contracts_is_a_problem():
    assert is_whole(contract(), 0.123)
    assert is_whole(contract(lot=0.1), 0.1 * 3)
    assert not is_whole(contract(lot=0.1), 0.25)
    assert not is_whole(contract(lot=0.1), 1e-11)
    held = position_prices("okx", "ETHUSDT", side="long", entry_price=2_000, quantity=0.25, leverage=10)
    assert held.problems == ["0.25 is no whole number of contracts of 0.1: the venue would refuse it"]


def test_price__shows_the_liquidation_price_on_the_tick_and_says_how(capsys):
    words = "price --venue bybit --symbol BTCUSD --side long --entry-price 8000 --quantity 10000 --margin 0.5"
    assert main(words.split()) == 0
    text = capsys.readouterr().out
    assert "liquidation  5,739.500      -28.26" in text
    assert "takeover     5,718.571" in text
    assert "0.5: liquidation prices are shown rounded up for a long" in text
    held = position_prices("bybit", "BTCUSD", side="long", entry_price=8_000, quantity=10_000, margin=0.5)
    assert held.liquidation_price == pytest.approx(5_739.0835, abs=1e-4)
    assert held.table()["price"][0] == held.liquidation_price
    words = "price --venue bybit --leg BTCUSD long 10000 8000 --wallet 0.5"
    assert main(words.split()) == 0
    text = capsys.readouterr().out
    assert ["BTCUSD", "8,000", "5,739.5", "-28.26", "-", "-"] in [line.split() for line in text.splitlines()]
    assert "BTCUSD 0.5: liquidation prices are shown rounded up" in text


def test_tables_and_traces__show_liquidation_prices_on_the_tick():
    rows = {"symbol": ["A", "B", "A", "A"], "side": ["long", "short", "short", "long"],
            "liquidation_price": [1.26, 1.26, 1.26, None]}  # fmt: skip
    ticks = {"A": contract(tick=0.1, tick_rounding="against_holder"), "B": contract()}
    found = shown_prices(pl.DataFrame(rows), ticks.__getitem__)
    assert found["liquidation_price"].to_list() == [1.3, 1.26, 1.2, None]
    step = {"step": ["triggered", "filled"], "price": [94.7368] * 2, "quantity": [1.0] * 2, "held": [0.0] * 2,
            "equity": [0.0, 0.0], "maintenance_margin": [0.0, 0.0], "fund": [0.0, 0.0],
            "time": [pl.datetime(2021, 5, 19)] * 2}  # fmt: skip
    trace = pl.select(**{name: pl.concat_list(values).explode() if name == "time" else pl.Series(values)
                         for name, values in step.items()})  # fmt: skip
    own = contract(tick=0.5, tick_rounding="against_holder")
    lines = narrated(trace, "USDT", lambda price: float(on_tick(own, price, 1)[0])).splitlines()
    assert "triggered at 95:" in lines[1]
    assert "94.7368" in lines[2]


def test_tick_and_lot__are_rules_of_a_venue_file():
    rows = [{"floor": 0, "rate": 0.005}]
    tables = [{"name": "own", "in_force": "always", "rows": rows}]
    file = {
        "name": "own",
        "title": "Own",
        "rules": {"tick": 0.1},
        "contracts": {"B": {"lot": 0.01, "tables": tables}},
    }
    own = Venue.from_dict(file).contract("B")
    assert (own.tick, own.tick_rounding, own.lot) == (0.1, "nearest", 0.01)
    assert Venue.load("binance").with_(tick=0.1).contract("BTCUSDT").tick == 0.1
    with pytest.raises(RulesError, match="tick: must be finite, zero or more, is -1"):
        contract(tick=-1.0)
    file["rules"]["tick_rounding"] = "up"
    with pytest.raises(RulesError, match="tick_rounding: must be one of nearest, against_holder, is 'up'"):
        Venue.from_dict(file)


@pytest.mark.parametrize(
    ("value", "figures", "text"),
    [
        (46_851.2, 4, "46,850"),
        (46_851_234_567.0, 10, "46,851,234,570"),
        (5e10, 10, "50,000,000,000"),
        (1.23e-5, 10, "0.0000123"),
        (-0.5, 10, "-0.5"),
        (100 * 0.07, 10, "7"),
        (0.0, 10, "0"),
        (math.inf, 10, "inf"),
    ],
)
def test_plain__has_no_exponent(value, figures, text):
    assert plain(value, figures) == text


def test_commands__write_no_number_in_a_format_that_may_have_an_exponent():
    """But a strength, which is written as it is given (1e-10), and a number that is read again."""
    files = [*Path("backtest/cli").rglob("*.py"), *Path("backtest/trades").rglob("*.py")]
    found = {
        (path.name, line.strip())
        for path in files
        for line in path.read_text().splitlines()
        if re.search(r"[:\d,]g\}", line)
    }
    assert {name for name, _ in found} == {"policy.py", "report.py"}
    assert len(found) == 2


def test_price__writes_the_factor_of_all_prices_without_an_exponent(capsys):
    words = "price --venue binance --date 2021-05-19 --leg BTCUSDT short 0.000001 40000 --wallet 1900"
    assert main(words.split()) == 0
    text = capsys.readouterr().out
    assert "x 47,310" in text  # (1,900 / 0.000001 + 40,000) / 1.004 over the mark of 40,000, in four figures
    assert "0.000001" in text
    assert "e+" not in text
    assert "e-0" not in text
