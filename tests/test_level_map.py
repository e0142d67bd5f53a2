"""Liquidation maps, sums of maps and what is exported of them: against the positions themselves."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from level_cases import START, market, positions, venue, waiting_only

from backtest import Book, Market, population
from backtest.errors import ArgumentError
from backtest.study.levels.cluster_tracks import track
from backtest.study.levels.clusters import clusters_at
from backtest.study.levels.combine import combined, relative_grids
from backtest.study.levels.export import heatmap_json, map_json
from backtest.study.levels.grid import LevelGrid, column_bars, level_grid
from backtest.study.levels.level_maps import LevelMap, level_map, mark_at
from backtest.study.levels.levels import levels, levels_of, without_drift
from backtest.study.levels.open_levels import open_levels_at
from backtest.study.levels.past_clusters import cluster_outcomes
from backtest.study.liquidations.flow import leverage_bucket

HISTORY = market(bars=300)
BOOK = Book(positions(HISTORY, count=2_000))
OUTCOMES = without_drift(BOOK, HISTORY, venue())


@pytest.mark.parametrize("hours", [1, 150, 299, None])
def test_map__holds_every_open_position_once(hours: int | None) -> None:
    moment = None if hours is None else START + timedelta(hours=hours)
    found = level_map(OUTCOMES, HISTORY, "A", moment)
    standing = open_levels_at(OUTCOMES, "A", found.moment)
    units = sum(round(amount * 100) for amount in standing["amount"])
    written = found.bars["notional"].sum() + found.overdue + found.beyond
    assert written == pytest.approx(units / 100, abs=1e-6)
    assert units > 0 or hours == 1


def test_no_long_stands_above_the_price_and_no_short_below() -> None:
    for hours in range(10, 300, 10):
        found = level_map(OUTCOMES, HISTORY, "A", START + timedelta(hours=hours))
        price = found.mark_price
        assert price == HISTORY.bars["close"][hours - 1]
        longs, shorts = (found.bars.filter(pl.col("side") == side) for side in ("long", "short"))
        assert (longs["price_high"] <= price * (1 + 1e-12)).all()
        assert (shorts["price_low"] >= price * (1 - 1e-12)).all()


def test_cumulative_lines__are_zero_at_the_price_and_add_up_what_lies_between() -> None:
    found = level_map(OUTCOMES, HISTORY, "A", START + timedelta(hours=200), bins=40)
    lines = found.cumulative
    at = (lines["price"] - found.mark_price).abs().arg_min()
    assert lines["price"][at] == pytest.approx(found.mark_price)
    assert (lines["long"][at], lines["short"][at]) == (0.0, 0.0)
    assert lines["long"].is_sorted(descending=True)
    assert lines["short"].is_sorted()
    for price, long, short in lines.iter_rows():
        for side, written, inside in (("long", long, pl.col("price_low") >= price * (1 - 1e-12)),
                                   ("short", short, pl.col("price_high") <= price * (1 + 1e-12))):  # fmt: skip
            own = found.bars.filter(pl.col("side") == side, inside)
            assert written == pytest.approx(own["notional"].sum(), abs=1e-6)


def test_leverage__is_that_of_the_positions_in_the_bin() -> None:
    found = level_map(OUTCOMES, HISTORY, "A", START + timedelta(hours=200), bins=20)
    standing = open_levels_at(OUTCOMES, "A", found.moment).with_columns(leverage_bucket(pl.col("leverage")))
    for row in found.bars.iter_rows(named=True):
        own = standing.filter(
            pl.col("side") == row["side"],
            pl.col("leverage_bucket") == row["leverage_bucket"],
            pl.col("liquidation_price").is_between(row["price_low"], row["price_high"], closed="left"),
        )
        assert row["notional"] == pytest.approx(own["amount"].sum(), abs=0.01 * own.height)
        mean = (own["leverage"] * own["amount"]).sum() / own["amount"].sum()
        assert row["mean_leverage"] == pytest.approx(mean, rel=1e-3)


def test_position_entered_inside_the_last_bar__may_be_overdue() -> None:
    bars = HISTORY.bars.head(2).with_columns(
        pl.Series("open", [100.0, 100.0]), pl.Series("high", [101.0, 101.0]),
        pl.Series("low", [99.0, 80.0]), pl.Series("close", [100.0, 80.0]),
    )  # fmt: skip
    late = waiting_only(positions(HISTORY, count=1)).with_columns(
        entry_time=pl.lit(START + timedelta(minutes=90)).cast(pl.Datetime("ms", "UTC")), entry_price=pl.lit(100.0),
        side=pl.lit("long"), leverage=pl.lit(10.0), quantity=pl.lit(1.0), weight=pl.lit(1.0),
    )  # fmt: skip
    for last, overdue in ((80.0, 0.0), (100.0, 90.45)):  # the price that triggers, at the last close
        prices = {f"last_{name}": pl.lit(last) for name in ("open", "high", "low", "close")}
        short = Market(bars.with_columns(**prices))
        found = level_map(without_drift(Book(late), short, venue(), trigger_price="last"), short, "A")
        assert found.bars.is_empty()
        assert found.overdue == pytest.approx(overdue, abs=0.01)


def test_thinning_book__waits_for_what_is_left() -> None:
    stood = population.from_open_interest(HISTORY, venue(), turnover=0.2)
    outcomes = without_drift(stood.book, HISTORY, venue())
    found = level_map(outcomes, HISTORY, "A", reach=0.9, survival=stood.book.survival)
    interest = HISTORY.bars["open_interest"][-1] * found.mark_price
    longs = found.bars.filter(pl.col("side") == "long")["notional"].sum() + found.overdue
    assert 0.2 * interest < longs <= interest


def test_maps__refuse_what_is_none() -> None:
    with pytest.raises(ArgumentError, match="symbol"):
        level_map(OUTCOMES, HISTORY, "B")
    with pytest.raises(ArgumentError, match="reach"):
        level_map(OUTCOMES, HISTORY, "A", reach=1.0)
    with pytest.raises(ArgumentError, match="no bar"):
        mark_at(HISTORY, "A", START)


def test_nothing_open__is_an_empty_map() -> None:
    found = level_map(OUTCOMES.clear(), HISTORY, "A")
    assert found.bars.is_empty()
    assert found.cumulative.select("long", "short").sum().row(0) == (0.0, 0.0)


def two_symbols() -> tuple[Market, Book]:
    """Return a second symbol that moves as the first does, at a thousandth of its price."""
    prices = ("open", "high", "low", "close")
    other = HISTORY.bars.with_columns(pl.lit("B").alias("symbol"), *(pl.col(name) / 1_000 for name in prices))
    own = positions(HISTORY, count=300)
    scaled = [pl.col(name) / 1_000 for name in ("entry_price", "stop_price", "take_profit_price")]
    twin = own.with_columns(
        pl.lit("B").alias("symbol"), pl.col("position_id") + 300, pl.col("quantity") * 1_000, *scaled
    )
    return Market(pl.concat([HISTORY.bars, other])), Book(pl.concat([own, twin]))


def test_combined__adds_symbols_by_distance_from_a_price() -> None:
    both, book = two_symbols()
    table = venue().contracts["A"]
    rules = type(venue())(
        name="two", title="Two", contracts={"A": table, "B": type(table)(symbol="B", tables=table.tables)}
    )
    grids = relative_grids(both, bins=50, columns=60)
    maps = [levels_of(book, both, rules, grid) for grid, _ in grids.values()]
    np.testing.assert_allclose(maps[0].long, maps[1].long, atol=2)
    whole = combined(maps, symbol="all", references=[price for _, price in grids.values()])
    np.testing.assert_array_equal(whole.long, maps[0].long + maps[1].long)
    np.testing.assert_array_equal(
        whole.triggered["short"], maps[0].triggered["short"] + maps[1].triggered["short"]
    )
    assert whole.grid.symbol == "all"
    assert whole.grid.price_edges[0] < 100 < whole.grid.price_edges[-1]


def test_combined__refuses_maps_that_do_not_lie_together() -> None:
    book = Book(positions(HISTORY, count=100))
    one, other = (levels_of(book, HISTORY, venue(), level_grid(HISTORY, "A", bins=bins)) for bins in (40, 15))
    shorter = levels_of(book, HISTORY, venue(), level_grid(HISTORY, "A", bins=40, columns=10))
    assert combined([one, one]).long.sum() == 2 * one.long.sum()
    for maps, words in (([one, other], "bins"), ([one, shorter], "column"), ([], "maps")):
        with pytest.raises(ArgumentError, match=words):
            combined(maps)


def test_heatmap_json__holds_every_cell_as_front_ends_expect_it() -> None:
    grid = level_grid(HISTORY, "A", bins=30, columns=50)
    found = levels_of(BOOK, HISTORY, venue(), grid)
    written = json.loads(json.dumps(heatmap_json(found, HISTORY), allow_nan=False))
    cells = np.zeros((grid.bins, grid.columns))
    for column, place, amount in written["liquidation_leverage_data"]:
        cells[place, column] = amount
    np.testing.assert_allclose(cells, found.amounts(), atol=0.005)
    assert len(written["y_axis"]) == grid.bins
    assert written["y_axis"] == sorted(written["y_axis"])
    assert all(
        low < price < high
        for low, price, high in zip(grid.price_edges, written["y_axis"], grid.price_edges[1:], strict=False)
    )
    candles = written["price_candlesticks"]
    bars = column_bars(HISTORY, grid)
    assert [row[0] for row in candles] == bars["time"].dt.epoch("s").to_list()
    assert [float(row[4]) for row in candles] == pytest.approx(bars["close"].to_list())
    mean = pl.mean_horizontal("open", "high", "low", "close")
    quote = HISTORY.bars.select((pl.col("volume") * mean).sum()).item()
    assert sum(float(row[5]) for row in candles) == pytest.approx(quote)
    assert all(isinstance(value, str) for row in candles for value in row[1:])
    assert written["update_time"] == int(grid.ends[-1]) // 1000


def test_map_json__is_price_to_entries_of_known_leverage() -> None:
    found = level_map(OUTCOMES, HISTORY, "A", START + timedelta(hours=200))
    written = json.loads(json.dumps(map_json(found), allow_nan=False))
    entries = [entry for entries in written.values() for entry in entries]
    assert sum(entry[1] for entry in entries) == pytest.approx(
        found.bars["notional"].sum(), abs=0.01 * len(entries)
    )
    for price, own in written.items():
        assert all(entry[0] == float(price) and entry[3] is None for entry in own)
        assert [entry[2] for entry in own] == sorted({entry[2] for entry in own})
    assert {entry[2] for entry in entries} == {5, 10, 25, 50}  # of positions at 3x, 10x, 25x and 50x


def test_map_json__has_one_entry_a_tier() -> None:
    amounts = {"notional": [1.0, 2.0, 4.0, 8.0], "mean_leverage": [3.2, 6.9, 84.0, 125.0]}
    bars = pl.DataFrame({"side": ["long"] * 4, "leverage_bucket": list("abcd"), **amounts})
    bars = bars.with_columns(price_low=pl.lit(99.0), price_high=pl.lit(101.0))
    found = LevelMap("A", START, 110.0, bars, pl.DataFrame(), 0.0, 0.0)
    assert map_json(found) == {"100": [[100.0, 3.0, 5, None], [100.0, 12.0, 100, None]]}
    assert map_json(found, in_base=True)["100"][1] == [100.0, 1200.0, 100, None]


def inverse() -> tuple[pl.DataFrame, LevelGrid]:
    """Return the outcomes of 300 longs of 100 dollars in an inverse contract, and a grid."""
    history = market(level=40_000.0)
    rows = waiting_only(positions(history)).head(300).with_columns(
        pl.lit("long").alias("side"), entry_time=pl.lit(history.bars["time"][0]), weight=pl.lit(1.0),
        entry_price=pl.lit(40_000.0), quantity=pl.lit(100.0), leverage=pl.lit(3.0),
    )  # fmt: skip
    return without_drift(Book(rows), history, venue("inverse")), level_grid(history, "A", prices=(2e4, 6e4))


def test_levels_of_inverse_contracts__are_coins_rounded_to_a_hundred_millionth() -> None:
    outcomes, grid = inverse()
    history, level = market(level=40_000.0), float(outcomes["liquidation_price"][0])
    right = 300 * round(100 / level, 8)
    found = level_map(outcomes, history, "A", reach=0.5)
    assert found.bars["notional"].sum() + found.beyond == pytest.approx(right)
    cells = levels(outcomes, grid)
    assert (cells.unit, cells.amounts()[:, -1].sum()) == (1e-8, pytest.approx(right))
    written = heatmap_json(cells, history, in_base=True)
    assert sum(
        row[2] for row in written["liquidation_leverage_data"] if row[0] == grid.columns - 1
    ) == pytest.approx(right * written["y_axis"][written["liquidation_leverage_data"][-1][1]], abs=0.01)


def test_quantities__name_their_columns_and_are_dollars_in_front_ends() -> None:
    grid = level_grid(HISTORY, "A", bins=30, columns=50)
    found = levels_of(BOOK, HISTORY, venue(), grid, measure="quantity")
    clusters = clusters_at(found, HISTORY, outcomes=OUTCOMES)
    assert "quantity" in clusters.columns
    assert "notional" not in clusters.columns
    first = clusters.row(0, named=True)
    inside = (grid.price_edges[:-1] >= first["price_low"]) & (grid.price_edges[1:] <= first["price_high"])
    assert first["quantity"] == pytest.approx(found.at(-1, first["side"])[inside].sum())
    followed = track(found, HISTORY)
    assert {"quantity_born", "quantity_peak", "quantity_last"} <= set(followed.clusters.columns)
    assert "quantity" in followed.seen.columns
    assert cluster_outcomes(clusters, OUTCOMES, "A", START + timedelta(hours=240))["open"].max() <= 1
    written = heatmap_json(found, HISTORY)
    column, place, amount = written["liquidation_leverage_data"][0]
    assert amount == pytest.approx(found.amounts()[place, column] * written["y_axis"][place], abs=0.01)


def test_column_bars__stand_still_where_bars_are_missing() -> None:
    holes = Market(HISTORY.bars.filter(~pl.int_range(pl.len()).is_between(10, 19)), gap_limit=None)
    written = column_bars(holes, level_grid(holes, "A"))
    assert written.height == 300
    still = written[10:20]
    assert still["close"].unique().to_list() == [HISTORY.bars["close"][9]]
    assert (still["high"] == still["low"]).all()
    assert written["covered"].to_list() == [not 10 <= row <= 19 for row in range(300)]
    assert written["close"][25] == HISTORY.bars["close"][25]
