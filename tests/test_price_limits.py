"""Prices that contracts cannot have: above 1 of odds, zero of others, 1 / price; and the zero of odds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from backtest import Market, Venue, replay, sweep
from backtest.book import Accounts, Book
from backtest.engine.accounts.cross_prices import account_prices
from backtest.engine.accounts.sweep import sweep_accounts
from backtest.errors import DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable

START = datetime(2024, 3, 1, tzinfo=UTC)
TABLE = TierTable(name="all", model="flat", rates=[0.05], dated="always")


def venue(kind: str) -> Venue:
    contract = Contract(symbol="YES", tables=(TABLE,), kind=kind)
    return Venue(name="example", title="Example", contracts={"YES": contract})


def bars(*rows: tuple[float, float, float, float], **more: Any) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["open", "high", "low", "close"], orient="row").cast(pl.Float64)
    times = [START + timedelta(hours=number) for number in range(len(rows))]
    return frame.with_columns(symbol=pl.lit("YES"), time=pl.Series(times).cast(pl.Datetime("ms", "UTC")), **more)


ODDS = bars((0.5, 0.6, 0.4, 0.5), (0.5, 0.5, 0.1, 0.1), (0.0, 0.2, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
DEAR = bars(*[(40_000, 40_100, 39_900, 40_000)] * 4)


def positions(**changes: Any) -> dict[str, list[Any]]:
    held = {"side": "long", "entry_price": 0.5, "quantity": 100.0, "margin": 90.0, "symbol": "YES", **changes}
    return {name: [value] for name, value in {"entry_time": START, **held}.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_price": 40_000.0},
        {"exit_price": 2.0, "exit_time": START + timedelta(hours=2)},
    ],
    ids=lambda changes: next(name for name in changes if name.endswith("price")),
)
def test_face_value__no_price_of_a_position_is_above_1(changes):
    name = next(name for name in changes if name.endswith("price"))
    with pytest.raises(DataError, match=f"positions: {name} must be at most 1 for a face-value contract"):
        sweep(Book(positions(**changes)), Market(ODDS), venue("face_value"))
    with pytest.raises(DataError, match=f"positions: {name} must be at most 1 for a face-value contract"):
        replay(Book(positions(**changes)), Market(ODDS), venue("face_value"))


def test_face_value__no_price_of_an_adjustment_or_a_leg_is_above_1():
    part = {"position_id": [0], "time": [START + timedelta(hours=1)], "quantity_change": [-50.0], "price": [1.25]}
    with pytest.raises(DataError, match="adjustments: price must be at most 1 for a face-value contract"):
        sweep(Book(positions(), part), Market(ODDS), venue("face_value"))
    legs = {name: value for name, value in positions(entry_price=1.5).items() if name != "margin"}
    accounts = Accounts({"account_id": [0], "wallet": [9.0]}, {"account_id": [0], **legs})
    refused = pytest.raises(DataError, match="legs: entry_price must be at most 1 for a face-value contract")
    with refused:
        sweep_accounts(accounts, Market(ODDS), venue("face_value"))
    with refused:
        account_prices(accounts, venue("face_value"), {"YES": 0.5})


def test_face_value__an_exit_and_a_part_may_be_filled_at_zero():
    exit_ = {"exit_time": START + timedelta(hours=1, minutes=30), "exit_price": 0.0}
    found = sweep(Book(positions(margin=100.0, **exit_)), Market(ODDS), venue("face_value"))
    assert found.select("outcome", "fill_price", "realised_pnl").row(0) == ("exited", 0.0, -50.0)
    part = {"position_id": [0], "time": [START + timedelta(hours=1)], "quantity_change": [-50.0], "price": [0.0]}
    found = sweep(Book(positions(margin=100.0, **exit_), part), Market(ODDS), venue("face_value"))
    assert found["realised_pnl"][0] == -50.0


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_others__no_fill_is_at_zero(kind):
    entered = positions(entry_price=40_000.0, exit_price=0.0, exit_time=START + timedelta(hours=2), margin=1e5)
    with pytest.raises(
        DataError, match=r"exit_price must be above zero for (a linear|an inverse) contract: 1 of 1 rows"
    ):
        sweep(Book(entered), Market(DEAR), venue(kind))
    part = {"position_id": [0], "time": [START + timedelta(hours=1)], "quantity_change": [-50.0], "price": [0.0]}
    with pytest.raises(
        DataError, match=r"adjustments: price must be above zero for (a linear|an inverse) contract"
    ):
        sweep(Book(positions(entry_price=40_000.0, margin=1e5), part), Market(DEAR), venue(kind))


def test_bars__every_series_in_use_has_prices_that_the_contract_can_have():
    last = {f"last_{name}": pl.col(name) for name in ("open", "high", "low", "close")}
    odds = ODDS.with_columns(**{name: 3 * value + 0.5 for name, value in last.items()})
    held = Book(positions())
    for conventions in ({"trigger_price": "last"}, {"fill_price": "last_close"}):
        with pytest.raises(DataError, match="last_high must be at most 1 for a face-value contract"):
            sweep(held, Market(odds), venue("face_value"), **conventions)
    dear = ODDS.with_columns(**{name: value + 1 for name, value in last.items()})
    with pytest.raises(DataError, match="low must be above zero for an inverse contract"):
        sweep(held, Market(dear), venue("inverse"), trigger_price="last")


def test_replay__takes_back_as_facts_what_it_recorded_at_zero():
    book, market = Book(positions(margin=30.0, entry_time=START + timedelta(hours=1))), Market(ODDS)
    flow = replay(book, market, venue("face_value"), record_flow=True).flow
    at_zero = flow.with_columns(price=pl.lit(0.0))
    assert not flow.is_empty()
    for facts in (flow, at_zero):
        assert replay(book, market, venue("face_value"), facts=facts).outcomes["liquidated"].to_list() == [True]
    with pytest.raises(DataError, match="facts: price must be at most 1 for a face-value contract"):
        replay(book, market, venue("face_value"), facts=flow.with_columns(price=pl.lit(1.5)))


def test_warning__says_where_entry_prices_are_1_over_the_price():
    with pytest.warns(UserWarning, match="beyond the mark's bar .* are they 1 / price"):
        sweep(Book(positions(entry_price=1 / 40_000, quantity=1.0)), Market(DEAR), venue("inverse"))
