"""Random markets, venues and books to try policies on."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from backtest import Book, Market, Venue, population
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time

START = datetime(2021, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def random_market(bars: int = 24 * 40, seed: int = 0, last: bool = False) -> Market:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(3, bars) * 0.008))
    opening = np.append(100.0, close[:-1]) * np.exp(rng.normal(0, 0.002, bars))  # bars open off the last close
    prices = {
        "open": opening,
        "high": np.maximum(opening, close) * 1.003,
        "low": np.minimum(opening, close) * 0.996,
        "close": close,
    }
    if last:
        prices |= {f"last_{name}": values for name, values in prices.items()} | {"last_low": prices["low"] * 0.98}
    times = int(START.timestamp()) * 1000 + 3_600_000 * np.arange(bars)
    columns = {"symbol": pl.repeat("X", bars, eager=True), "time": pl.Series(times).cast(Time), **prices}
    return Market(pl.DataFrame(columns))


def venue(cap: float = 1e9) -> Venue:
    table = TierTable(
        name="three",
        floors=np.array([0.0, 1e4, 1e5]),
        rates=np.array([0.005, 0.02, 0.3]),
        max_leverages=np.array([100.0, 20.0, 2.0]),
        cap=cap,
    )
    return Venue(name="x", title="x", contracts={"X": Contract(symbol="X", tables=(table,))}, settlement="USDT")


def random_book(market: Market, count: int = 800, seed: int = 1, **changes) -> Book:
    return population.synthetic(market, venue(), count=count, seed=seed, median_size=2_000.0, **changes)
