"""Levels: against plain accumulation, against the sweep's own flow, and against the bars that reach them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from datetime import datetime, timedelta
from math import exp, inf

import numpy as np
import polars as pl
import pytest
from level_cases import HOUR, START, market, positions, venue, waiting_only

from backtest import Book, Market, population, sweep
from backtest.errors import ArgumentError
from backtest.schemas.frames import Time
from backtest.study.levels.grid import LevelGrid, column_bars, level_grid, milliseconds, moment_of, round_edges
from backtest.study.levels.levels import Levels, levels, levels_of, without_drift
from backtest.study.levels.open_levels import open_levels_at
from backtest.study.liquidations.flow import by_interval


def plain(outcomes: pl.DataFrame, grid: LevelGrid, side: str) -> np.ndarray:
    """Return the cells of one side by asking, cell by cell, which positions wait."""
    cells = np.zeros((grid.bins, grid.columns), np.int64)
    edges = list(grid.price_edges)
    for row in outcomes.filter(pl.col("side") == side).iter_rows(named=True):
        price = row["liquidation_price"]
        if price is None or not edges[0] <= price < edges[-1]:
            continue
        units = round(price * row["quantity"] * row["weight"] * 100)
        ended = inf if row["outcome_time"] is None else milliseconds(row["outcome_time"])
        for column, end in enumerate(grid.ends):
            if milliseconds(row["entry_time"]) <= end <= ended:
                cells[bisect_right(edges, price) - 1, column] += units
    return cells


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("columns", [240, 37, 1])
def test_cells__equal_plain_accumulation(logarithmic: bool, columns: int) -> None:
    history = market()
    outcomes = sweep(Book(positions(history)), history, venue(), leverage_limit="cap")
    assert outcomes["outcome"].n_unique() >= 4
    grid = level_grid(history, "A", bins=60, columns=columns, logarithmic=logarithmic)
    found = levels(outcomes, grid)
    for side, cells in (("long", found.long), ("short", found.short)):
        np.testing.assert_array_equal(cells, plain(outcomes, grid, side))
    assert found.long.sum() > 0 or columns == 1


def test_window__holds_what_was_entered_before_it() -> None:
    history = market()
    outcomes = sweep(Book(positions(history)), history, venue(), leverage_limit="cap")
    window = START + timedelta(hours=100), START + timedelta(hours=150)
    grid = level_grid(history, "A", window=window, bins=60)
    assert grid.window == window
    np.testing.assert_array_equal(levels(outcomes, grid).short, plain(outcomes, grid, "short"))


@pytest.mark.parametrize("columns", [50, 13, 7, 1])
def test_columns__end_with_the_window_and_hold_all_of_it(columns: int) -> None:
    history = market()
    window = START + timedelta(hours=100), START + timedelta(hours=150)
    grid = level_grid(history, "A", window=window, bins=60, columns=columns)
    assert grid.window[1] == window[1]
    assert window[0] - timedelta(milliseconds=grid.step) < grid.window[0] <= window[0]
    last = history.bars.filter(pl.col("time") < window[1]).row(-1, named=True)
    assert column_bars(history, grid)["close"][-1] == last["close"]


def test_triggered__is_what_the_sweep_liquidates_in_every_bar() -> None:
    history = market()
    book = Book(positions(history).drop("stop_price", "take_profit_price", "exit_time"))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A", bins=60)
    flow: dict[tuple[str, datetime], int] = defaultdict(int)
    for row in outcomes.filter("liquidated").iter_rows(named=True):
        amount = row["quantity"] * row["weight"] * row["liquidation_price"]
        flow[row["side"], row["outcome_time"]] += round(amount * 100)
    found = levels(outcomes, grid)
    openings = [moment_of(int(end) - HOUR) for end in grid.ends]
    for side in ("long", "short"):
        assert list(found.triggered[side]) == [flow[side, time] for time in openings]
        assert found.triggered[side].sum() > 0


def test_triggered__is_the_flow_that_the_study_of_flow_tells_of_the_same_sweep() -> None:
    history = market(daily=0.004)
    book = Book(waiting_only(positions(history)))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    found = levels_of(book, history, venue(), level_grid(history, "A", bins=60))
    told = by_interval(outcomes, start=START, end=history.bars["time"][-1])
    gapped = outcomes.filter("liquidated", pl.col("fill_price") != pl.col("liquidation_price"))["outcome_time"]
    at_level = ~told["time"].is_in(gapped.implode()).to_numpy()
    assert at_level.sum() > 200
    for side in ("long", "short"):
        flow = (told[f"{side}_notional"] * 100).round().cast(pl.Int64).to_numpy()
        np.testing.assert_array_equal(found.triggered[side][at_level], flow[at_level])


def test_book_without_new_levels__loses_in_every_bar_what_is_triggered() -> None:
    history = market()
    book = Book(
        positions(history).drop("stop_price", "take_profit_price", "exit_time").with_columns(entry_time=START)
        .with_columns(entry_price=pl.lit(100.0))
    )  # fmt: skip
    found = levels(sweep(book, history, venue(), leverage_limit="cap"), level_grid(history, "A", bins=60))
    for side, cells in (("long", found.long), ("short", found.short)):
        waiting = cells.sum(axis=0) + found.outside[side]
        np.testing.assert_array_equal(-np.diff(waiting), found.triggered[side][1:])


def reached(history: Market, grid: LevelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return whether a bar's range holds the whole of each bin, and whether the bin starts in the bar or later."""
    low, high = (history.bars[name].to_numpy() for name in ("low", "high"))
    edges = grid.price_edges
    return edges[1:, None] < high, edges[:-1, None] > low


def test_no_level__survives_a_bar_that_reached_it() -> None:
    history = market(daily=0.02)
    book = Book(positions(history, count=3_000).drop("stop_price", "take_profit_price", "exit_time"))
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A", bins=80)
    below, above = reached(history, grid)
    for column in range(grid.columns):  # only what waited before the bar can be reached in it
        opening = moment_of(int(grid.ends[column]) - HOUR)
        found = levels(outcomes.filter(pl.col("entry_time") <= opening), grid)
        assert not found.long[above[:, column], column].any()
        assert not found.short[below[:, column], column].any()


@pytest.mark.parametrize("half_life", [None, timedelta(hours=5)])
@pytest.mark.parametrize("turnover", [0.02, 0.4])
def test_thinning_cells__equal_plain_accumulation(half_life: timedelta | None, turnover: float) -> None:
    history = market(bars=120)
    book = population.from_open_interest(history, venue(), turnover=turnover).book
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A", bins=40, columns=60)
    found = levels(outcomes, grid, survival=book.survival, half_life=half_life)
    logs = {
        side: dict(zip(book.survival["time"].to_list(), book.survival[side], strict=True))
        for side in ("long", "short")
    }
    expected = {side: np.zeros((grid.bins, grid.columns)) for side in logs}
    for row in outcomes.iter_rows(named=True):
        price, own = row["liquidation_price"], logs[row["side"]]
        if price is None or not grid.price_edges[0] <= price < grid.price_edges[-1]:
            continue
        line = bisect_right(list(grid.price_edges), price) - 1
        for column, end in enumerate(map(int, grid.ends)):
            at = moment_of(end)
            if row["entry_time"] <= at and (row["outcome_time"] is None or row["outcome_time"] >= at):
                share = exp(own[at] - own[row["entry_time"]])
                if half_life is not None:
                    share *= 0.5 ** ((at - row["entry_time"]) / half_life)
                expected[row["side"]][line, column] += price * row["quantity"] * row["weight"] * share
    for side in logs:
        np.testing.assert_allclose(found.amounts(side), expected[side], atol=20.0, rtol=1e-6)
        assert expected[side].max() > 1e4


@pytest.mark.parametrize("turnover", [0.02, 0.4])
def test_thinning_book__never_waits_for_more_than_open_interest_and_triggers_what_the_flows_say(
    turnover: float,
) -> None:
    history = market()
    stood = population.from_open_interest(history, venue(), turnover=turnover)
    found = levels_of(stood.book, history, venue(), level_grid(history, "A"), measure="quantity")
    interest = history.bars["open_interest"].to_numpy()
    rows = stood.book.positions.height  # each is rounded to a millionth
    for side in ("long", "short"):
        waiting = found.totals()[side].to_numpy()
        assert (waiting <= interest + rows * found.unit).all()
        assert (waiting >= 0.97 * interest).all()  # the rest can lose more than the price holds
        flows = stood.flows.filter(pl.col("side") == side)["liquidated"].to_numpy()
        np.testing.assert_allclose(found.triggered[side] * found.unit, flows, atol=rows * found.unit)
        assert flows.max() > 1


def test_rows_in_another_order__change_nothing() -> None:
    history = market()
    book = population.from_open_interest(history, venue()).book
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A", bins=40)
    again = levels(outcomes.sample(fraction=1.0, shuffle=True, seed=3), grid, survival=book.survival)
    np.testing.assert_array_equal(again.long, levels(outcomes, grid, survival=book.survival).long)


def test_later_bars__change_no_earlier_cell() -> None:
    history = market()
    window = START, START + timedelta(hours=100)
    shorter = Market(history.bars.filter(pl.col("time") < window[1]))
    book = positions(shorter).drop("exit_time")
    grid = level_grid(shorter, "A")
    cells = [levels_of(Book(book), prices, venue(), grid).long for prices in (history, shorter)]
    np.testing.assert_array_equal(*cells)


def test_ties_on_an_edge__belong_to_the_upper_bin() -> None:
    edges = np.array([80.0, 90.0, 100.0])
    for logarithmic in (False, True):
        grid = LevelGrid("A", edges, logarithmic, milliseconds(START), HOUR, 1, 2)
        found = levels(at_prices([80.0, 90.0, np.nextafter(90.0, 0), 100.0, 79.9, 1e-9, 1e12]), grid)
        np.testing.assert_array_equal((found.long > 0).sum(axis=1), [2, 2])
        np.testing.assert_array_equal(found.long[:, 0], [17_000, 9_000])
        assert found.outside["long"][0] == 10_000 + 7_990 + 100_000_000_000_000


def at_prices(prices: list[float]) -> pl.DataFrame:
    """Return open long outcomes with given levels, one base each."""
    history, count = market(bars=2), len(prices)
    frame = pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": ["A"] * count,
            "side": ["long"] * count,
            "entry_time": [START] * count,
            "entry_price": [100.0] * count,
            "quantity": [1.0] * count,
            "leverage": [2.0] * count,
        },
        schema_overrides={"entry_time": Time},
    )
    return sweep(Book(frame), history, venue()).with_columns(liquidation_price=pl.Series(prices))


@pytest.mark.parametrize("level", [1e-7, 1.0, 60_000.0])
@pytest.mark.parametrize("daily", [0.001, 0.15])
def test_prices_of_any_size_and_moves_of_any_size__count_every_level(level: float, daily: float) -> None:
    history = market(bars=60, level=level, daily=daily)
    book = Book(positions(history).drop("exit_time"))
    found = levels_of(book, history, venue(), level_grid(history, "A", bins=50))
    waiting = (found.long.sum(axis=0) + found.outside["long"])[-1]
    standing = open_levels_at(
        sweep(book, history, venue(), leverage_limit="cap"), "A", moment_of(int(found.grid.ends[-1]))
    )
    own = standing.filter(pl.col("side") == "long")
    assert waiting == sum(round(amount * 100) for amount in own["amount"])


def test_a_single_bar_and_empty_sides__are_served() -> None:
    history = market(bars=1)
    shorts = positions(history, count=20).filter(pl.col("side") == "short").drop("exit_time")
    book = Book(shorts.with_columns(entry_time=pl.lit(START).cast(Time)))
    found = levels_of(book, history, venue(), level_grid(history, "A"))
    assert found.grid.columns == 1
    assert not found.long.any()
    assert found.to_frame()["side"].unique().to_list() in ([], ["short"])


def test_to_frame__holds_every_cell_that_is_not_zero() -> None:
    history = market()
    found = levels_of(Book(positions(history)), history, venue(), level_grid(history, "A", bins=40, columns=50))
    frame = found.to_frame()
    assert frame.columns == ["time", "price_low", "price_high", "side", "notional"]
    assert frame.height == np.count_nonzero(found.long) + np.count_nonzero(found.short)
    assert frame["notional"].sum() == pytest.approx((found.long.sum() + found.short.sum()) / 100)


def test_halves_of_a_cent__go_to_the_even_one_as_in_the_study_of_flow() -> None:
    grid = LevelGrid("A", np.array([0.001, 1.0]), False, milliseconds(START), HOUR, 1, 2)
    for price, cents in ((0.005, 0), (0.015, 2), (0.025, 2), (0.035, 4), (0.0351, 4), (0.0049, 0)):
        found = levels(at_prices([price]), grid)
        assert found.long[0, 0] == cents == round(price * 1.0 * 100)


def test_quantities__are_named_as_such() -> None:
    history = market(bars=20)
    found = levels_of(
        Book(positions(history, count=50)), history, venue(), level_grid(history, "A"), measure="quantity"
    )
    assert found.to_frame().columns[-1] == "quantity"
    for wrong in ({"measure": "value"}, {"unit": 0.0}):
        with pytest.raises(ArgumentError, match="must be"):
            levels_of(Book(positions(history, count=50)), history, venue(), found.grid, **wrong)


def test_open_levels_at__is_the_column_that_ends_then() -> None:
    history = market()
    book = population.from_open_interest(history, venue()).book
    outcomes = sweep(book, history, venue(), leverage_limit="cap")
    grid = level_grid(history, "A")
    totals = levels(outcomes, grid, survival=book.survival).totals()
    for column in (0, 100, 239):
        rows = open_levels_at(outcomes, "A", moment_of(int(grid.ends[column])), survival=book.survival)
        for side in ("long", "short"):
            amount = rows.filter(pl.col("side") == side)["amount"].sum()
            assert amount == pytest.approx(totals[side][column], abs=20.0)


def test_funding__is_left_out_by_levels_of_and_refused_by_levels() -> None:
    history = market()
    funding = pl.DataFrame(
        {"symbol": ["A"] * 3, "time": [START + timedelta(hours=8 * n) for n in (1, 2, 3)], "rate": [0.01] * 3},
        schema_overrides={"time": Time},
    )
    paying, grid = Market(history.bars, funding), level_grid(history, "A")
    book = Book(positions(history))
    with pytest.raises(ArgumentError, match="without funding"):
        levels(sweep(book, paying, venue(), leverage_limit="cap"), grid)
    drifted, plainly = (levels_of(book, prices, venue(), grid) for prices in (paying, history))
    np.testing.assert_array_equal(drifted.long, plainly.long)


def test_adjusted_books__have_no_outcomes_whose_levels_stand_still() -> None:
    history = market()
    rows = waiting_only(positions(history))
    change = pl.DataFrame(
        {"position_id": [0], "time": [rows["entry_time"][0] + timedelta(hours=2)], "margin_change": [1.0]},
        schema_overrides={"time": Time},
    )
    with pytest.raises(ArgumentError, match="adjustments"):
        without_drift(Book(rows, change), history, venue())


@pytest.mark.parametrize("kind", ["inverse", "face_value"])
def test_other_contracts__count_in_their_settlement_currency(kind: str) -> None:
    history = market(level=0.5, bars=50, daily=0.002)
    book = Book(positions(history, count=50).drop("exit_time").with_columns(leverage=pl.lit(3.0)))
    outcomes = sweep(book, history, venue(kind), leverage_limit="cap")
    found = levels(outcomes, level_grid(history, "A"))
    value = pl.col("quantity") if kind == "face_value" else pl.col("quantity") / pl.col("liquidation_price")
    standing = open_levels_at(outcomes, "A", moment_of(int(found.grid.ends[-1])))
    scale = 100 if kind == "face_value" else 1e8  # cents, or the smallest part of a coin
    expected = standing.select(((value * pl.col("weight")) * scale).round().sum()).item()
    assert found.totals().select((pl.col("long") + pl.col("short")).last() * scale).item() == pytest.approx(
        expected
    )


def test_grid__refuses_what_is_none() -> None:
    history = market()
    for given, words in (
        ({"symbol": "B"}, "symbol"),
        ({"symbol": "A", "window": (START - timedelta(days=9), START - timedelta(days=8))}, "no bars"),
        ({"symbol": "A", "prices": (3.0, 2.0)}, "range"),
    ):
        with pytest.raises(ArgumentError, match=words):
            level_grid(history, **given)
    with pytest.raises(ArgumentError, match="rise"):
        LevelGrid("A", np.array([2.0, 1.0]), False, 0, 1, 1, 1)
    with pytest.raises(ArgumentError, match="half_life"):
        levels_of(Book(positions(history)), history, venue(), level_grid(history, "A"), half_life=timedelta(0))
    with pytest.raises(ArgumentError, match="first column"):
        level_grid(history, "A").column_at(START)


def test_round_edges__cover_the_range_at_multiples_of_a_round_width() -> None:
    for low, high, bins in ((25_130.7, 68_534.2, 300), (1.2e-7, 1.9e-7, 50), (99.0, 101.0, 1)):
        edges = round_edges(low, high, bins)
        width = edges[1] - edges[0]
        assert edges[0] <= low * (1 + 1e-9) or edges[0] == pytest.approx(width)
        assert edges[-1] >= high * (1 - 1e-9)
        assert len(edges) - 1 <= bins + 2


def test_levels__read_as_a_line() -> None:
    history = market()
    found = levels_of(Book(positions(history)), history, venue(), level_grid(history, "A"))
    assert isinstance(found, Levels)
    assert repr(found).startswith("Levels(A: ")
