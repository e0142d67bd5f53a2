"""Daily open interest as a column of finer bars: dollars to coins, drawn out or held, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from test_standing import START, market, venue

from backtest import Market
from backtest.errors import ArgumentError, DataError
from backtest.population import from_volume, with_open_interest

HISTORY = Market(market(bars=72).bars.drop("open_interest"))
DAYS = {"date": ["2021-05-19", "2021-05-20", "2021-05-21"], "open_interest": [900.0, 300.0, 600.0]}


def test_linear__is_drawn_out_between_the_ends_of_days() -> None:
    found = with_open_interest(HISTORY, DAYS).bars
    hours = np.arange(1, 73)
    np.testing.assert_allclose(found["open_interest"], np.interp(hours, [24, 48, 72], [900.0, 300.0, 600.0]))
    assert found["close"].to_list() == HISTORY.bars["close"].to_list()


def test_previous__is_known_at_the_beginning_of_a_day() -> None:
    found = with_open_interest(HISTORY, DAYS, between="previous").bars["open_interest"]
    assert found[24:48].to_list() == [900.0] * 24
    assert found[48:].to_list() == [300.0] * 24


@pytest.mark.parametrize("name", ["open_interest_usd", "open_interest_quote"])
def test_dollars__are_turned_to_coins_by_the_close_of_their_day(name: str) -> None:
    closes = HISTORY.bars.group_by(pl.col("time").dt.date(), maintain_order=True).agg(pl.last("close"))["close"]
    dollars = {"date": [date(2021, 5, 21), date(2021, 5, 19), date(2021, 5, 20)]}
    dollars[name] = [600.0 * closes[2], 900.0 * closes[0], 300.0 * closes[1]]
    expected = with_open_interest(HISTORY, DAYS).bars["open_interest"]
    np.testing.assert_allclose(with_open_interest(HISTORY, dollars).bars["open_interest"], expected)


def test_market__keeps_its_funding_and_descriptions_and_bounds_a_book() -> None:
    funding = pl.DataFrame({"symbol": "A", "time": [START], "rate": [0.01]})
    given = Market(HISTORY.bars, funding, gap_limit=timedelta(hours=2), description="mine", price_venue="okx")
    found = with_open_interest(given, DAYS)
    assert (found.description, found.price_venue, found.gap_limit) == ("mine", "okx", timedelta(hours=2))
    assert found.funding.equals(given.funding)
    flows = from_volume(found, venue(), opening_share=1.0, bounded=True).flows
    assert flows["open_interest"].max() <= 900.0 * (1 + 1e-9)


def test_market_of_several__needs_a_symbol() -> None:
    both = Market(market(symbols=("A", "B"), bars=72).bars)
    with pytest.raises(ArgumentError, match="symbol must say which of A, B"):
        with_open_interest(both, DAYS)
    with pytest.raises(ArgumentError, match="symbol must be one of A, B, is 'C'"):
        with_open_interest(both, DAYS, symbol="C")
    assert with_open_interest(both, DAYS, symbol="B").symbols == ("B",)


@pytest.mark.parametrize(
    ("daily", "message"),
    [
        (
            {"date": ["2021-05-19"]},
            r"daily must have date or time, and one of open_interest, .* \(there are date\)",
        ),
        ({"open_interest": [1.0]}, "daily must have date or time"),
        ({"date": ["2021-05-19"] * 2, "open_interest": [1.0, 2.0]}, "each once, .*: 1 of 2 rows are not"),
        ({"date": ["19 May"], "open_interest": [1.0]}, "a row a day, .*: 1 of 1 rows are not"),
        ({"date": ["2021-05-19"], "open_interest": [-1.0]}, "zero or more: 1 of 1 rows are not"),
        ({"date": ["2021-05-19"], "open_interest": ["much"]}, "date must be dates and open_interest numbers"),
        ({"date": ["2031-05-19"], "open_interest_usd": [1.0]}, "no day has bars"),
        ({"date": [], "open_interest": []}, "a row a day"),
    ],
)
def test_bad_days__are_refused(daily: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_open_interest(HISTORY, daily)
