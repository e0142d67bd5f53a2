"""Namespace of the examples in docstrings: hours of the bundled sample, a venue, a book and its outcomes."""

from __future__ import annotations

import atexit
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

import backtest
from backtest.study.levels import level_grid, levels_of


@cache
def world() -> dict[str, Any]:
    """Return the names that examples may use without saying where they come from."""
    sample = backtest.market.sample()
    bars = sample.bars.filter(symbol="BTCUSDT")
    market = backtest.Market(bars, sample.funding, description=sample.description).resample("1h")
    venue = backtest.Venue.load("binance")
    book = backtest.population.synthetic(market, venue, count=1_000, seed=1)
    wallets = book.positions.with_columns(margin=pl.col("entry_price") * pl.col("quantity") / 20)
    impact = backtest.Impact(linear=1e-9)
    folder = Path(mkdtemp())
    atexit.register(rmtree, folder, ignore_errors=True)
    market.bars.write_parquet(folder / "bars.parquet")
    book.positions.write_parquet(folder / "positions.parquet")
    grid = level_grid(market, "BTCUSDT", bins=40, columns=48)
    return {
        "UTC": UTC,
        "datetime": datetime,
        "timedelta": timedelta,
        "np": np,
        "pl": pl,
        "bars": market.bars,
        "market": market,
        "venue": venue,
        "contract": venue.contract("BTCUSDT"),
        "table": venue.contract("BTCUSDT").table("2021-03-18"),
        "book": book,
        "folder": folder,
        "outcomes": backtest.sweep(book, market, venue),
        "accounts": backtest.Accounts.isolated(wallets.head(100)),
        "impact": impact,
        "replayed": backtest.replay(book, market, venue, fund=1e5, impact=impact),
        "strained": backtest.replay(
            book, market.with_last_price(), venue, fund=1e5, fill_price="last_extreme", impact=impact
        ),
        "grid": grid,
        "open_levels": levels_of(book, market, venue, grid),
        "noon": datetime(2021, 5, 19, 12, tzinfo=UTC),
    }


def names() -> dict[str, Any]:
    """Return the world, with empty axes to draw on."""
    return {**world(), "ax": Figure().subplots()}
