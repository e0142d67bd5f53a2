"""Shares of open interest: what an interval liquidates over what was open when it began, against plain sums."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from test_standing import market, venue

from backtest import Book, population, sweep
from backtest.errors import ArgumentError
from backtest.study.liquidations.flow import shares_of_open_interest

HISTORY = market(7, ("A", "B"))
BOOK = population.from_volume(HISTORY, venue()).book
OUTCOMES = sweep(BOOK, HISTORY, venue())


@pytest.mark.parametrize("every", ["1h", "1d"])
@pytest.mark.parametrize("symbol", [None, "B"])
def test_shares__are_the_liquidated_over_what_was_open(every: str, symbol: str | None) -> None:
    found = shares_of_open_interest(OUTCOMES, BOOK, HISTORY, every=every, symbol=symbol)
    span = timedelta(hours=1) if every == "1h" else timedelta(days=1)
    gone = OUTCOMES.filter("liquidated").with_columns(left=pl.col("quantity") * pl.col("surviving_weight"))
    for row in found[5:200:7].iter_rows(named=True):
        for side in ("long", "short"):
            opened = liquidated = new = 0.0
            for name in ("A", "B") if symbol is None else (symbol,):
                bar = HISTORY.bars.filter(symbol=name, time=row["time"])
                price = bar["open"][0]
                opened += price * BOOK.open_interest.filter(symbol=name, time=row["time"])[side][0]
                inside = gone.filter(
                    pl.col("outcome_time") >= row["time"], pl.col("outcome_time") < row["time"] + span,
                    symbol=name, side=side,
                )  # fmt: skip
                liquidated += price * inside["left"].sum()
                new += price * inside.filter(pl.col("entry_time") > row["time"])["left"].sum()
            assert row[f"{side}_open"] == pytest.approx(opened)
            assert row[f"{side}_share"] == pytest.approx(liquidated / opened)
            assert row[f"{side}_share_new"] == pytest.approx(new / opened)
            assert liquidated - new <= opened * (1 + 1e-9)
        both = row["long_share"] * row["long_open"] + row["short_share"] * row["short_open"]
        assert row["share"] == pytest.approx(both / row["open"])


def test_within_a_bar__nothing_new_is_liquidated_and_no_more_than_was_open() -> None:
    found = shares_of_open_interest(OUTCOMES, BOOK, HISTORY, every="1h", symbol="A")
    assert found["share_new"].drop_nans().max() == 0
    assert found["long_share"].drop_nans().max() <= 1 + 1e-9
    assert found["share"].is_nan()[0], "nothing is open before the first bar"


def test_open_interest_of_a_book__is_that_of_its_flows_at_the_next_opening() -> None:
    flows = population.from_volume(HISTORY, venue()).flows.filter(symbol="A", side="short")
    assert BOOK.open_interest.filter(symbol="A")["short"].to_list() == [0.0, *flows["open_interest"]]


def test_book_that_does_not_know__is_refused() -> None:
    with pytest.raises(ArgumentError, match="book must be an estimated book, which knows what was open"):
        shares_of_open_interest(OUTCOMES, Book(BOOK.positions), HISTORY)
