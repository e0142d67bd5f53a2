"""Levels that funding moves: against the margin formula asked anew at the end of every column."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import timedelta
from math import inf
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from level_cases import HOUR, RATE, START, funded, market, positions, venue, waiting_only

from backtest import Book, Market, sweep
from backtest.engine.sweep.level_drift import level_pieces
from backtest.errors import ArgumentError
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time
from backtest.study.levels.clusters import clusters_at
from backtest.study.levels.grid import LevelGrid, level_grid, milliseconds, moment_of
from backtest.study.levels.level_maps import level_map
from backtest.study.levels.levels import levels, levels_of, swept_levels
from backtest.study.levels.open_levels import open_levels_at
from backtest.study.levels.past_clusters import cluster_outcomes

Charges = list[tuple[int, int, float]]
Changes = list[tuple[int, float, float]]


class State(NamedTuple):
    level: float
    quantity: float


def state_at(
    row: dict, charges: Charges, changes: Changes, history: Market, moment: int, release: str, rate: float
) -> State:
    """Return the level just before a moment's own charge and changes, of a linear position under one rate."""
    sign = 1 if row["side"] == "long" else -1
    entry, quantity, since = row["entry_price"], row["quantity"], milliseconds(row["entry_time"])
    margin = entry * quantity / row["leverage"]
    for time, added, closed in changes:
        bar = bisect_left(list(history.times), time)
        if bar == len(history.times) or history.times[bar] >= moment:
            break
        paid = sum(amount for stamp, _, amount in charges if since < stamp <= time)
        margin -= sign * quantity * paid
        if release == "pro_rata":
            margin *= (quantity - closed) / quantity
        else:
            margin += sign * closed * (history.bars["open"][bar] - entry)
        margin += added
        quantity, since = quantity - closed, time
    paid = sum(amount for stamp, opening, amount in charges if stamp > since and opening < moment)
    return State((sign * (entry + paid) - margin / quantity) / (sign - rate), quantity)


def charges_of(history: Market) -> Charges:
    """Return each charge's effective stamp, the opening it is made at, and its amount a unit."""
    times = list(history.times)
    found: Charges = []
    if history.funding is None:
        return found
    for stamp, rate in history.funding.select(pl.col("time").dt.epoch("ms"), "rate").iter_rows():
        bar = bisect_right(times, stamp) - 1
        bar += 0 if stamp - times[bar] <= 1_000 else 1
        if bar < len(times):
            found.append((min(stamp, times[bar]), times[bar], rate * history.bars["open"][bar]))
    return found


def plain(
    outcomes: pl.DataFrame,
    history: Market,
    grid: LevelGrid,
    side: str,
    adjustments: pl.DataFrame,
    release: str = "pro_rata",
    doubled_at: float = inf,
) -> np.ndarray:
    """Return the millionths of a base unit in each cell, asking position by position and column by column."""
    cells, edges, charges = (
        np.zeros((grid.bins, grid.columns), np.int64),
        list(grid.price_edges),
        charges_of(history),
    )
    for row in outcomes.filter(pl.col("side") == side).iter_rows(named=True):
        ended = inf if row["outcome_time"] is None else milliseconds(row["outcome_time"])
        own = adjustments.filter(pl.col("position_id") == row["position_id"])
        changes = list(
            own.select(pl.col("time").dt.epoch("ms"), "margin_change", -pl.col("quantity_change")).iter_rows()
        )
        for column, end in enumerate(map(int, grid.ends)):
            if milliseconds(row["entry_time"]) <= end <= ended:
                rate = RATE if max(end, milliseconds(row["entry_time"]) + 1) <= doubled_at else 2 * RATE
                level, quantity = state_at(row, charges, changes, history, end, release, rate)
                if edges[0] <= level < edges[-1]:
                    cells[bisect_right(edges, level) - 1, column] += round(quantity * row["weight"] * 1e6)
    return cells


def no_changes() -> pl.DataFrame:
    schema = {"position_id": pl.Int64, "time": Time, "margin_change": pl.Float64, "quantity_change": pl.Float64}
    return pl.DataFrame(schema=schema)


def changes_of(history: Market, rows: pl.DataFrame, seed: int = 6) -> pl.DataFrame:
    """Return margin added and taken and parts closed, at openings, inside bars and at funding stamps."""
    rng = np.random.default_rng(seed)
    held = rows[rng.integers(0, rows.height, rows.height // 2)].sort("position_id")
    entered = held["entry_time"].dt.epoch("ms").to_numpy()
    last = int(history.times[-1])
    on_bars = rng.choice(history.times, held.height)
    times = np.maximum(
        np.where(rng.random(held.height) < 0.6, on_bars, on_bars + rng.integers(1, HOUR)), entered + 1
    )
    worth = (held["entry_price"] * held["quantity"] / held["leverage"]).to_numpy()
    parts = np.where(rng.random(held.height) < 0.4, -0.3 * held["quantity"].to_numpy(), 0.0)
    frame = pl.DataFrame(
        {
            "position_id": held["position_id"],
            "time": pl.Series(np.minimum(times, last + HOUR - 1)).cast(Time),
            "margin_change": worth * rng.uniform(-0.1, 0.5, held.height),
            "quantity_change": parts,
        }
    )
    return frame.unique(["position_id", "time"], maintain_order=True).filter(
        pl.int_range(pl.len()).over("position_id") < 2
    ).sort("position_id", "time")  # fmt: skip


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("columns", [120, 17])
def test_drifting_cells__equal_the_formula_asked_anew(logarithmic: bool, columns: int) -> None:
    history = funded(market(bars=120))
    book = Book(positions(history, count=150))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A", bins=60, columns=columns, logarithmic=logarithmic)
    found = levels_of(book, history, venue(), grid, drift=True, measure="quantity")
    for side, cells in (("long", found.long), ("short", found.short)):
        np.testing.assert_array_equal(cells, plain(outcomes, history, grid, side, no_changes()))
        assert cells.any()
    assert not np.array_equal(found.long, levels_of(book, history, venue(), grid, measure="quantity").long)


def test_triggered_levels__are_worth_what_the_sweep_says_they_were_reached_at() -> None:
    history = funded(market())
    book = Book(waiting_only(positions(history)))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A")
    found = levels_of(book, history, venue(), grid, drift=True)
    value = (pl.col("liquidation_price") * pl.col("quantity") * pl.col("weight") * 100).round().cast(pl.Int64)
    for side in ("long", "short"):
        own = outcomes.filter("liquidated", pl.col("side") == side)
        by_bar = dict(own.group_by("outcome_time").agg(value.sum()).iter_rows())
        assert [by_bar.get(time, 0) for time in history.bars["time"]] == list(found.triggered[side])


def test_pieces__begin_only_where_the_bin_changes() -> None:
    history = funded(market())
    book = Book(waiting_only(positions(history)))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    edges = level_grid(history, "A", bins=60).price_edges
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
    book, grid = Book(positions(history)), level_grid(history, "A")
    still, moved = (levels_of(book, silent, venue(), grid, drift=drift) for drift in (False, True))
    np.testing.assert_array_equal(still.long, moved.long)
    np.testing.assert_array_equal(still.triggered["short"], moved.triggered["short"])


@pytest.mark.parametrize(("drift", "release"), [(False, "keep"), (True, "keep"), (True, "pro_rata")])
def test_adjusted_books__move_as_the_formula_asked_anew_says(drift: bool, release: str) -> None:
    rules = venue().with_(release=release)
    history = funded(market(bars=120))
    rows = positions(history, count=200)
    changes = changes_of(history, rows)
    assert changes.height > 60
    book = Book(rows, changes)
    prices = history if drift else history.without_funding()
    outcomes = sweep(book, prices, rules, leverage_limit="cap")
    grid = level_grid(history, "A", bins=80, columns=60)
    found = levels_of(book, history, rules, grid, drift=drift, measure="quantity")
    for side, cells in (("long", found.long), ("short", found.short)):
        np.testing.assert_array_equal(cells, plain(outcomes, prices, grid, side, changes, release))
    still = levels_of(Book(rows), history, rules, grid, drift=drift, measure="quantity")
    assert not np.array_equal(found.long, still.long)


@pytest.mark.parametrize(("drift", "adjusted"), [(False, False), (True, False), (True, True)])
def test_a_new_table__moves_the_levels_of_open_positions(drift: bool, adjusted: bool) -> None:
    history = funded(market(bars=120))
    rows = positions(history, count=200)
    changes = changes_of(history, rows) if adjusted else no_changes()
    begins = history.bars["time"][60]
    two = (TierTable(name="one", rates=np.full(1, RATE), end=begins),
           TierTable(name="two", rates=np.full(1, 2 * RATE), start=begins))  # fmt: skip
    rules = venue().with_(tables=two, tiers_apply="always")
    book = Book(rows, changes if adjusted else None)
    prices = history if drift else history.without_funding()
    outcomes = sweep(book, prices, rules, leverage_limit="cap")
    grid = level_grid(history, "A", bins=80, columns=60)
    found = levels_of(book, history, rules, grid, drift=drift, measure="quantity")
    doubled_at = milliseconds(begins)
    for side, cells in (("long", found.long), ("short", found.short)):
        np.testing.assert_array_equal(cells, plain(outcomes, prices, grid, side, changes, doubled_at=doubled_at))
    kept = levels_of(book, history, rules.with_(tiers_apply="entry"), grid, drift=drift, measure="quantity")
    assert not np.array_equal(found.long, kept.long)


def test_maps_and_clusters_of_moving_levels__stand_where_the_heatmap_does() -> None:
    history = funded(market())
    rows = positions(history, count=1_500)
    book = Book(rows, changes_of(history, rows))
    grid = level_grid(history, "A", bins=100)
    outcomes, pieces = swept_levels(book, history, venue(), grid, drift=True)
    found = levels_of(book, history, venue(), grid, drift=True)
    for column in (50, 150, 239):
        at = moment_of(int(grid.ends[column]))
        told = level_map(outcomes, history, "A", at, reach=0.9, pieces=pieces)
        total = told.bars["notional"].sum() + told.overdue + told.beyond
        totals = found.totals().row(column, named=True)
        assert total == pytest.approx(totals["long"] + totals["short"], abs=0.02 * rows.height)
        clusters = clusters_at(found, history, at, outcomes=outcomes, pieces=pieces)
        for row in clusters.iter_rows(named=True):
            standing = open_levels_at(outcomes, "A", at, pieces=pieces).filter(
                pl.col("side") == row["side"],
                pl.col("liquidation_price").is_between(row["price_low"], row["price_high"], closed="left"),
            )
            assert standing["amount"].sum() == pytest.approx(row["notional"], abs=0.02 * standing.height)
        became = cluster_outcomes(clusters, outcomes, "A", START + timedelta(hours=240), pieces=pieces)
        np.testing.assert_allclose(
            became.select(pl.sum_horizontal("triggered", "closed", "open")).to_series(), 1.0
        )


def test_too_fine_a_unit__is_refused() -> None:
    history = market(bars=30)
    outcomes = sweep(Book(positions(history)), history, venue(), leverage_limit="cap")
    with pytest.raises(ArgumentError, match="unit must be larger"):
        levels(outcomes, level_grid(history, "A"), unit=1e-17)
