"""Conventions: checked when they are made, one set of fields everywhere, keywords as changes over them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_type_hints

import numpy as np
import polars as pl
import pytest
from level_cases import market, positions
from polars.testing import assert_frame_equal

from backtest import Book, Conventions, Market, Venue, population, replay, sweep, tiers_used
from backtest.engine.conventions import Changes
from backtest.errors import ArgumentError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.study.levels.grid import level_grid
from backtest.study.levels.levels import levels_of


def venue(*names: str, symbol: str = "A") -> Venue:
    """Return a venue with a table a name, a year each from 2030 on, none in force in the market's days."""
    tables = tuple(
        TierTable(
            name=name,
            rates=np.full(1, 0.005 * (number + 1)),
            start=datetime(2030 + number, 1, 1, tzinfo=UTC),
            end=datetime(2031 + number, 1, 1, tzinfo=UTC),
        )
        for number, name in enumerate(names)
    )
    return Venue(name="own", title="Own", contracts={symbol: Contract(symbol=symbol, tables=tables)})


RULES = venue("2030", "2031")


def held() -> Book:
    return Book(positions(market()).drop("weight"))


def test_keywords__are_the_fields_of_conventions_with_their_types():
    assert get_type_hints(Changes) == get_type_hints(Conventions)
    assert Changes.__total__ is False


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"intrabar": "paht"},
            "intrabar must be one of pessimistic, optimistic, path, is .* did you mean path\\?",
        ),
        ({"trigger_price": "spot"}, "trigger_price must be one of mark, last, index or None, is 'spot'"),
        ({"stop_trigger": 1}, "stop_trigger must be one of mark, last, index or None, is 1"),
        ({"fill_price": None}, "fill_price must be one of .*, is None"),
        ({"entry_bar": "test"}, "entry_bar must be one of untested, tested, is 'test', did you mean tested\\?"),
        ({"leverage_limit": "caps"}, "leverage_limit must be one of .*, is 'caps', did you mean cap\\?"),
        ({"tiers": 5}, "tiers must be text or a mapping, is 5"),
        ({"gap_limit": "6h"}, "gap_limit must be a timedelta, one of market or None, is '6h'"),
        ({"gap_limit": timedelta(-1)}, "gap_limit must not be below zero"),
    ],
)
def test_values_that_are_no_choice__are_refused_with_the_nearest(changes, said):
    for make in (Conventions, Conventions().with_):
        with pytest.raises(ArgumentError, match=said) as caught:
            make(**changes)
        assert caught.value.argument in changes


def test_unknown_keywords__are_refused_with_the_nearest():
    with pytest.raises(ArgumentError, match="no argument leverage_limits, did you mean leverage_limit\\?"):
        sweep(held(), market(), RULES, leverage_limits="cap")
    with pytest.raises(ArgumentError, match="replay has no argument fnud, did you mean fund\\?"):
        replay(held(), market(), RULES, fnud=1.0)
    with pytest.raises(ArgumentError, match="Conventions has no argument theads"):
        Conventions().with_(theads=2)
    with pytest.raises(ArgumentError, match="conventions must be a Conventions, is 'nearest'"):
        sweep(held(), market(), RULES, conventions="nearest")


def test_keywords__change_the_conventions_given():
    given = Conventions(tiers="nearest", leverage_limit="cap", intrabar="optimistic")
    expected = sweep(held(), market(), RULES, tiers="nearest", leverage_limit="cap", intrabar="path")
    assert_frame_equal(sweep(held(), market(), RULES, conventions=given, intrabar="path"), expected)
    assert_frame_equal(
        sweep(held(), market(), RULES, conventions=given),
        sweep(held(), market(), RULES, conventions=given.with_(intrabar="optimistic")),
    )


def test_the_name_of_a_table__is_taken_by_the_symbols_that_have_one():
    for name in ("2030", "2031"):
        named = sweep(held(), market(), RULES, tiers=name)
        assert_frame_equal(named, sweep(held(), market(), RULES, tiers={"A": name}))
        assert tiers_used(held(), market(), RULES, tiers=name)["table"].to_list() == [name]
    assert population.synthetic(market(), RULES, count=10, seed=1, tiers="2031").positions.height == 10
    grid = level_grid(market(), "A", bins=5, columns=5)
    found = levels_of(held(), market(), RULES, grid, tiers="2031")
    np.testing.assert_array_equal(found.long, levels_of(held(), market(), RULES, grid, tiers={"A": "2031"}).long)


def test_the_name_of_no_table_of_the_symbols_held__is_refused_with_those_there_are():
    said = r"tiers must be strict, earlier, .* or .*, is 'neares', did you mean nearest\? .*A: 2030, 2031"
    single = Book(held().positions.drop("weight", strict=False))
    for call in (sweep, replay, tiers_used):
        with pytest.raises(ArgumentError, match=said):
            call(single, market(), RULES, tiers="neares")
    with pytest.raises(ArgumentError, match=r"tables of A: 2030, 2031"):
        population.synthetic(market(), RULES, count=10, seed=1, tiers="2029")


def test_a_gap_limit__replaces_the_markets_own():
    bars = market().bars.with_row_index().filter(~pl.col("index").is_between(100, 109)).drop("index")
    for limit in (timedelta(hours=3), timedelta(hours=24), None):
        own = sweep(held(), Market(bars, gap_limit=limit), RULES, tiers="nearest")
        assert_frame_equal(sweep(held(), Market(bars), RULES, tiers="nearest", gap_limit=limit), own)
    assert (sweep(held(), Market(bars), RULES, tiers="nearest", gap_limit=None)["outcome"] != "unknown").all()
    assert (sweep(held(), Market(bars), RULES, tiers="nearest")["outcome"] == "unknown").any()
