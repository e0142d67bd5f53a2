"""Levels that funding moves: against the margin formula asked anew at the end of every column."""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from math import inf

import numpy as np
import polars as pl
import pytest
from level_cases import RATE, START, funded, market, positions, venue, waiting_only

from backtest import Book, Market, sweep
from backtest.engine.drift import level_pieces
from backtest.errors import ArgumentError
from backtest.study.grid import Grid, grid_of, milliseconds
from backtest.study.levels import levels, levels_of


def level_at(row: dict, charges: list[tuple[int, int, float]], moment: int) -> float:
    """Return the liquidation price just before a moment's own charge, of a linear position under one rate."""
    sign = 1 if row["side"] == "long" else -1
    entry = milliseconds(row["entry_time"])
    paid = sum(amount for stamp, opening, amount in charges if stamp > entry and opening < moment)
    margin = row["entry_price"] * row["quantity"] / row["leverage"]
    return (sign * (row["entry_price"] + paid) - margin / row["quantity"]) / (sign - RATE)


def charges_of(history: Market) -> list[tuple[int, int, float]]:
    """Return each charge's effective stamp, the opening it is made at, and its amount a unit."""
    times = list(history.times)
    found = []
    for stamp, rate in history.funding.select(pl.col("time").dt.epoch("ms"), "rate").iter_rows():
        bar = bisect_right(times, stamp) - 1
        bar += 0 if stamp - times[bar] <= 1_000 else 1
        if bar < len(times):
            found.append((min(stamp, times[bar]), times[bar], rate * history.bars["open"][bar]))
    return found


def plain(outcomes: pl.DataFrame, history: Market, grid: Grid, side: str) -> np.ndarray:
    """Return the millionths of a base unit in each cell, asking position by position and column by column."""
    cells, edges, charges = (
        np.zeros((grid.bins, grid.columns), np.int64),
        list(grid.price_edges),
        charges_of(history),
    )
    for row in outcomes.filter(pl.col("side") == side).iter_rows(named=True):
        units = round(row["quantity"] * row["weight"] * 1e6)
        ended = inf if row["outcome_time"] is None else milliseconds(row["outcome_time"])
        for column, end in enumerate(map(int, grid.ends)):
            price = level_at(row, charges, end)
            if milliseconds(row["entry_time"]) <= end <= ended and edges[0] <= price < edges[-1]:
                cells[bisect_right(edges, price) - 1, column] += units
    return cells


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("columns", [120, 17])
def test_drifting_cells__equal_the_formula_asked_anew(logarithmic: bool, columns: int) -> None:
    history = funded(market(bars=120))
    book = Book(positions(history, count=150))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = grid_of(history, "A", bins=60, columns=columns, logarithmic=logarithmic)
    found = levels_of(book, history, venue(), grid, drift=True, measure="quantity")
    for side, cells in (("long", found.long), ("short", found.short)):
        np.testing.assert_array_equal(cells, plain(outcomes, history, grid, side))
        assert cells.any()
    assert not np.array_equal(found.long, levels_of(book, history, venue(), grid, measure="quantity").long)


def test_erased_levels__are_worth_what_the_sweep_says_they_were_reached_at() -> None:
    history = funded(market())
    book = Book(waiting_only(positions(history)))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = grid_of(history, "A")
    found = levels_of(book, history, venue(), grid, drift=True)
    value = (pl.col("liquidation_price") * pl.col("quantity") * pl.col("weight") * 100).round().cast(pl.Int64)
    for side in ("long", "short"):
        own = outcomes.filter("liquidated", pl.col("side") == side)
        by_bar = dict(own.group_by("outcome_time").agg(value.sum()).iter_rows())
        assert [by_bar.get(time, 0) for time in history.bars["time"]] == list(found.erased[side])


def test_pieces__begin_only_where_the_bin_changes() -> None:
    history = funded(market())
    book = Book(waiting_only(positions(history)))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    edges = grid_of(history, "A", bins=60).price_edges
    pieces = level_pieces(book, outcomes, history, venue(), edges)
    place = np.searchsorted(edges, pieces["price"].fill_null(0.0).to_numpy(), side="right")
    same_row = np.diff(pieces["row"].to_numpy()) == 0
    assert same_row.sum() > 300
    assert (np.diff(place)[same_row] != 0).all()
    assert pieces.filter("last").height == outcomes.height
    entries = outcomes["entry_time"][pieces.filter(pl.col("row").is_first_distinct())["row"]]
    assert entries.to_list() == pieces.filter(pl.col("row").is_first_distinct())["from_time"].to_list()


def test_no_funding__means_one_piece_a_position_and_the_same_cells() -> None:
    history = market()
    silent = Market(history.bars, pl.DataFrame({"symbol": ["A"], "time": [START], "rate": [0.0]}).cast(
        {"time": pl.Datetime("ms", "UTC")}))  # fmt: skip
    book, grid = Book(positions(history)), grid_of(history, "A")
    still, moved = (levels_of(book, silent, venue(), grid, drift=drift) for drift in (False, True))
    np.testing.assert_array_equal(still.long, moved.long)
    np.testing.assert_array_equal(still.erased["short"], moved.erased["short"])


def test_adjusted_books__are_refused_with_drift_too() -> None:
    history = funded(market())
    rows = waiting_only(positions(history))
    change = pl.DataFrame(
        {"position_id": [0], "time": [rows["entry_time"][0] + timedelta(hours=2)], "margin_change": [1.0]}
    ).cast({"time": pl.Datetime("ms", "UTC")})
    with pytest.raises(ArgumentError, match="adjustments"):
        levels_of(Book(rows, change), history, venue(), grid_of(history, "A"), drift=True)


def test_too_fine_a_unit__is_refused() -> None:
    history = market(bars=30)
    outcomes = sweep(Book(positions(history)), history, venue(), leverage_limit="cap")
    with pytest.raises(ArgumentError, match="unit must be larger"):
        levels(outcomes, grid_of(history, "A"), unit=1e-17)
