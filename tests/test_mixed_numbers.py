"""Whole numbers among fractions in a grid are the same axis: a table has one type a column."""

from __future__ import annotations

import polars as pl
import pytest
from test_large_amounts import VENUE, book, market

from backtest.study import policy


def test_a_book_smaller_than_the_unit__has_no_shares_and_no_traceback():
    history, grid = policy.History("any", market()), policy.Grid(responses=("same_size",))
    held = policy.intended("book", book(1e-9), history, VENUE, grid)
    found = policy.evaluate(history, held, VENUE, rules=grid.rules()[0], grid=grid)
    assert found["notional_kept"].is_nan().all()


@pytest.mark.parametrize("axis", [{"rate_scales": (1, 1.5)}, {"funds": (0, 2.5)}, {"caps": (None, 20, 7.5)}])
def test_axes_of_whole_numbers_and_fractions__give_one_table(axis):
    history, grid = policy.History("any", market()), policy.Grid(responses=("same_size",), **axis)
    held = policy.intended("book", book(1.0), history, VENUE, grid)
    found = [policy.evaluate(history, held, VENUE, rules=rules, grid=grid) for rules in grid.rules()]
    whole = pl.concat(found)
    assert whole.schema["rate_scale"] == whole.schema["fund"] == whole.schema["cap"] == pl.Float64
