"""On real hourly marks, 2019 to 2026, with funding: nothing coupled is the sweep, and the ledger closes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from test_replay_sweep import assert_closes, assert_equal

from backtest import Book, Market, Venue, population, replay, sweep

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (DATA / "mark_1h.parquet").exists(), reason="the real data are not beside the repository"
    ),
]


@pytest.fixture(scope="module")
def market() -> Market:
    bars = pl.read_parquet(DATA / "mark_1h.parquet").filter(pl.col("symbol") == "BTCUSDT")
    return Market(bars, pl.read_parquet(DATA / "funding_8h.parquet").filter(pl.col("symbol") == "BTCUSDT"))


@pytest.fixture(scope="module")
def book(market: Market) -> Book:
    drawn = population.synthetic(market, Venue.load("binance"), count=20_000, seed=1, tiers="nearest")
    with_stops = drawn.positions.with_columns(
        stop_price=pl.when(pl.col("position_id") % 3 == 0).then(
            pl.col("entry_price") * pl.when(pl.col("side") == "long").then(0.97).otherwise(1.03)
        )
    )
    cut = with_stops.filter(pl.col("position_id") % 5 == 0).select(
        "position_id",
        time=pl.col("entry_time").dt.offset_by("3h"),
        margin_change=pl.col("quantity") * pl.col("entry_price") * 0.01,
        quantity_change=-pl.col("quantity") / 4,
    )
    late = with_stops.select("position_id", "exit_time").join(cut, on="position_id")
    kept = late.filter(pl.col("exit_time").is_null() | (pl.col("time") < pl.col("exit_time"))).drop("exit_time")
    return Book(with_stops, kept)


def test_replay__equals_the_sweep_on_real_marks(market: Market, book: Book) -> None:
    venue = Venue.load("binance").with_(adl_trigger="never", rounds=0)
    expected = sweep(book, market, venue, tiers="nearest")
    found = replay(book, market, venue, tiers="nearest")
    assert_equal(expected, found, "real hourly marks")
    assert expected["outcome"].n_unique() >= 4
    assert_closes(found)


@pytest.mark.parametrize(
    "name",
    ["ascendex", "ascend", "mexc", "primexbt", "binance", "bybit", "okx", "bitmex", "hyperliquid"],
)
def test_replay__closes_under_every_procedure_on_real_marks(market: Market, book: Book, name: str) -> None:
    told = Venue.load(name)
    rules = {rule: getattr(told, rule) for rule in ("takeover_price", "takeover_discount", "remainder")}
    venue = Venue.load("binance").with_(procedure=told.procedure, **rules)
    found = replay(book, market, venue, tiers="nearest", fund=1e4)
    assert_closes(found)
    assert (found.fund["fund"] >= 0).all()
