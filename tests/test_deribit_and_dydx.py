"""Deribit's quadratic requirement as tangents, and dYdX's published prices."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtest import Accounts, Venue, account_prices, position_prices
from backtest.rules.timeline import timeline

sys.path.append(str(Path(__file__).parent.parent / "docs"))
import deribit_tiers

#: Base of the maintenance rate and its step a coin, as announced for before and from 2022-01-11.
ANNOUNCED = {
    ("BTC-PERPETUAL", "before 2022-01-11"): (0.00525, 0.00005),
    ("BTC-PERPETUAL", "2022-01-11"): (0.01, 0.00005),
    ("ETH-PERPETUAL", "before 2022-01-11"): (0.01, 0.000002),
    ("ETH-PERPETUAL", "2022-01-11"): (0.01, 0.000004),
}


@pytest.mark.parametrize(("which", "rates"), ANNOUNCED.items())
def test_deribit__tangents_are_never_above_and_under_a_basis_point_below(which, rates):
    table = Venue.load("deribit").contract(which[0]).table(which[1])
    size = np.linspace(0, table.cap, 200_001)[1:]
    needed = (table.rates[:, None] * size - table.amounts[:, None]).max(axis=0)
    error = (rates[0] * size + rates[1] * size**2 - needed) / size
    assert error.min() > -1e-12
    assert 0.9 * deribit_tiers.LARGEST_ERROR < error.max() < 1.0001 * deribit_tiers.LARGEST_ERROR < 1e-4


def test_deribit__tables_are_those_that_the_page_prints():
    for title, given in deribit_tiers.RATES.items():
        symbol, dated = title.split(", ")
        table = Venue.load("deribit").contract(symbol).table(
            "2022-01-11" if dated.startswith("from") else "before 2022-01-11"
        )  # fmt: skip
        written = [row.strip(" {},").split(", ") for row in deribit_tiers.rows(*given)]
        rows = [[float(part.split(" = ")[1]) for part in row] for row in written]
        assert np.column_stack([table.floors, table.rates, table.max_leverages]).tolist() == rows


def test_deribit__requirement_is_that_of_its_page_and_prices_are_an_accounts():
    # support.deribit.com 25944738177565: 25 BTC need 1.125 %, 0.28125 BTC; 350 BTC need 1 % + 350 x 0.005 %
    for size, needed in ((25.0, 0.28125), (350.0, 350 * 0.0275)):
        legs = pl.DataFrame({"account_id": [0], "symbol": ["BTC-PERPETUAL"], "side": ["long"],
                             "entry_time": [datetime(2025, 1, 1, tzinfo=UTC)], "entry_price": [100_000.0],
                             "quantity": [size * 100_000]})  # fmt: skip
        found = account_prices(Accounts({"account_id": [0], "wallet": [size / 5]}, legs), "deribit")
        assert found.accounts["maintenance_margin"][0] == pytest.approx(needed, abs=size * 5e-5)
        price = found.symbols["price_below"][0]
        notional = size * 100_000 / price
        equity = size / 5 + size - notional
        assert equity == pytest.approx(0.01 * notional + 0.00005 * notional**2, abs=notional * 1e-4)
    strict = timeline(Venue.load("deribit").contract("BTC-PERPETUAL"), "strict")
    assert strict.at(datetime(2021, 5, 19, tzinfo=UTC))[0] is None
    assert strict.at(datetime(2022, 5, 12, tzinfo=UTC))[0].name == "2022-01-11"


def test_dydx__liquidation_and_bankruptcy_prices_are_those_of_its_documents():
    # documents, liquidations: 1,000 deposited, 3 ETH short at 3,000, maintenance 5 %: (e - s p) / (|s| m - s)
    venue = Venue.load("dydx")
    own = venue.with_(rate_scale=0.05 / 0.03)
    legs = pl.DataFrame({"account_id": [0], "symbol": ["ETH-USD"], "side": ["short"],
                         "entry_time": [datetime(2023, 9, 30, tzinfo=UTC)], "entry_price": [3_000.0],
                         "quantity": [3.0]})  # fmt: skip
    found = account_prices(Accounts({"account_id": [0], "wallet": [1_000.0]}, legs), own)
    assert found.symbols["price_above"][0] == pytest.approx((1_000 + 9_000) / (3 * 0.05 + 3))
    held = position_prices(venue, "BTC-USD", side="long", entry_price=60_000, quantity=1, leverage=20,
                           time=datetime(2026, 3, 4, tzinfo=UTC))  # fmt: skip
    assert held.liquidation_price == pytest.approx((60_000 - 3_000) / (1 - 0.012))
    assert (venue.trigger_price, held.contract.trigger) == ("index", "<")
