"""Screener: nearest crowds of several symbols, the chance that they are touched, and their change."""

from __future__ import annotations

import math
from datetime import timedelta

import level_cases
import numpy as np
import polars as pl
import pytest

from backtest import Book
from backtest.__main__ import main
from backtest.study.levels import clusters_at, level_grid, levels_of
from backtest.study.levels.clusters import Crowding
from backtest.study.levels.screening import chance_of_touch, screen

DAY = timedelta(days=1)


def test_chance__is_that_of_random_walks() -> None:
    rng = np.random.default_rng(7)
    paths = np.cumsum(rng.normal(0, math.sqrt(1 / 2_000), (4_000, 2_000)), axis=1)
    for days in (0.2, 0.7, 1.5):
        touched = (paths.max(axis=1) >= days).mean()
        assert chance_of_touch(days, DAY) == pytest.approx(touched, abs=0.03)
    assert chance_of_touch(0.0, DAY) == 1.0
    assert chance_of_touch(2.0, 4 * DAY) == pytest.approx(chance_of_touch(1.0, DAY))
    assert math.isnan(chance_of_touch(math.nan, DAY))


def test_rows__are_the_largest_clusters_of_each_side_with_their_nearest_edge() -> None:
    history, venue = level_cases.market(), level_cases.venue()
    levels = levels_of(Book(level_cases.positions(history, count=2_000)), history, venue, level_grid(history, "A"))
    found = screen([levels], history, reach=0.1)
    clusters = clusters_at(levels, history, rule=Crowding(reach=0.1))
    assert set(found["side"]) == set(clusters["side"].cast(pl.String))
    for row in found.iter_rows(named=True):
        largest = clusters.filter(pl.col("side").cast(pl.String) == row["side"]).row(0, named=True)
        assert (row["price_low"], row["price_high"]) == (largest["price_low"], largest["price_high"])
        edge = row["price_high"] if row["side"] == "long" else row["price_low"]
        assert row["distance"] == pytest.approx(edge / row["mark_price"] - 1, abs=1e-12)
        assert abs(row["distance"]) <= abs(largest["distance"]) + 1e-12
        assert row["chance"] == pytest.approx(chance_of_touch(row["days"], DAY))
        edges = levels.grid.price_edges
        own = (edges[:-1] >= row["price_low"] - 1e-9) & (edges[1:] <= row["price_high"] + 1e-9)
        now, then = (levels.at(column, row["side"])[own].sum() for column in (-1, levels.grid.columns - 25))
        if then > 0:
            assert row["change"] == pytest.approx(now / then - 1)
    assert found["chance"].is_sorted(descending=True)
    assert screen([], history).is_empty()


def test_symbols__of_unknown_volatility_come_last() -> None:
    venue = level_cases.venue()
    maps = []
    for bars in (240, 3):
        history = level_cases.market(bars=bars)
        book = Book(level_cases.waiting_only(level_cases.positions(history, count=300)))
        maps.append((levels_of(book, history, venue, level_grid(history, "A")), history))
    found = screen([maps[1][0]], maps[1][1], reach=0.1)
    assert found["chance"].is_nan().all()
    assert found["change"].is_nan().all()


def test_the_command__prints_and_writes_it_for_several_symbols_alone(tmp_path, capsys) -> None:
    window = ["--from", "2021-05-18", "--until", "2021-05-21", "--count", "4000", "--formats", "csv"]
    assert main(["levels", *window, "--out", str(tmp_path / "two")]) == 0
    assert "Screener" in capsys.readouterr().out
    found = pl.read_csv(tmp_path / "two" / "screener.csv")
    assert set(found["symbol"]) <= {"BTCUSDT", "ETHUSDT"}
    assert (found["distance"].abs() <= 0.03).all()
    assert main(["levels", *window, "--symbol", "BTCUSDT", "--out", str(tmp_path / "one")]) == 0
    assert "Screener" not in capsys.readouterr().out
    assert not (tmp_path / "one" / "screener.csv").exists()
