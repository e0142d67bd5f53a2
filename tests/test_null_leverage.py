"""A null leverage beside a margin, or the reverse, stands for what follows from the other."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from test_large_amounts import START, TIME, VENUE, market

from backtest import Book, sweep
from backtest.errors import DataError
from backtest.study.policy.responses import under_cap


def positions(**changed: list[float | None]) -> pl.DataFrame:
    given = {
        "symbol": ["X"] * 3,
        "side": ["long"] * 3,
        "entry_time": pl.Series([START] * 3, dtype=TIME),
        "entry_price": [100.0] * 3,
        "quantity": [1.0] * 3,
        "margin": [10.0, 50.0, 20.0],
        "leverage": [10.0, 2.0, 5.0],
    }
    return pl.DataFrame(given | changed)


WHOLE = sweep(Book(positions()), market(), VENUE)


@pytest.mark.parametrize(
    "changed",
    [
        {"leverage": [10.0, None, 5.0]},
        {"leverage": [None, None, None]},
        {"margin": [None, 50.0, None]},
        {"margin": [None, 50.0, None], "leverage": [10.0, None, 5.0]},
    ],
)
def test_nulls__have_the_outcomes_of_what_they_stand_for(changed):
    assert_frame_equal(sweep(Book(positions(**changed)), market(), VENUE), WHOLE)


def test_rows_with_neither__are_refused():
    with pytest.raises(DataError, match=r"margin or leverage must be given, not null: 1 of 3 rows breaks this"):
        Book(positions(margin=[10.0, None, 20.0], leverage=[10.0, None, None]))
    with pytest.raises(DataError, match="leverage must be given, not null: 1 of 3"):
        Book(positions(leverage=[10.0, None, 5.0]).drop("margin"))


def test_caps__see_the_leverage_a_null_stands_for():
    capped = under_cap(Book(positions(leverage=[None, 2.0, 5.0])), VENUE, 4.0, "same_size")
    assert capped.positions["leverage"].to_list() == [4.0, 2.0, 4.0]
    assert capped.positions["margin"].to_list() == [25.0, 50.0, 25.0]
