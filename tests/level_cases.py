"""Small markets and books that the tests of levels, clusters and their charts share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from backtest import Market, Venue
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time

START = datetime(2021, 5, 19, tzinfo=UTC)
HOUR = 3_600_000
RATE = 0.005


def venue(kind: str = "linear") -> Venue:
    table = TierTable(name="one", rates=np.full(1, RATE))
    return Venue(name="one", title="One", contracts={"A": Contract(symbol="A", kind=kind, tables=(table,))})


def market(bars: int = 240, seed: int = 1, level: float = 100.0, daily: float = 0.01) -> Market:
    """Return random hourly bars with volume and open interest."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0, daily, bars)))
    opening = np.concatenate([[level], close[:-1]])
    times = pl.datetime_range(START, START + timedelta(hours=bars - 1), "1h", time_unit="ms", eager=True)
    columns = {
        "symbol": pl.repeat("A", bars, eager=True),
        "time": times.cast(Time),
        "open": opening,
        "high": np.maximum(opening, close) * (1 + rng.exponential(0.003, bars)),
        "low": np.minimum(opening, close) * (1 - rng.exponential(0.003, bars)),
        "close": close,
        "volume": rng.exponential(2_000, bars),
        "open_interest": 1_000 * np.exp(np.cumsum(rng.normal(0, 0.05, bars))),
    }
    return Market(pl.DataFrame(columns))


def funded(history: Market, seed: int = 5, scale: float = 0.003) -> Market:
    """Return a market with heavy funding of either sign, some stamps inside bars and some a little late."""
    rng = np.random.default_rng(seed)
    stamps = history.times[::8] + rng.choice([0, 300, HOUR // 2], history.times[::8].size)
    rates = rng.normal(0, scale, stamps.size)
    return Market(history.bars, pl.DataFrame({"symbol": "A", "time": pl.Series(stamps).cast(Time), "rate": rates}))


def positions(history: Market, count: int = 400, seed: int = 2) -> pl.DataFrame:
    """Return positions entered at openings and inside bars, some with stops, take-profits and exits."""
    rng = np.random.default_rng(seed)
    bars = history.bars
    row = rng.integers(0, bars.height, count)
    inside = np.where(rng.random(count) < 0.3, rng.integers(1, HOUR, count), 0)
    sides = rng.choice([1, -1], count)
    entry = bars["open"].to_numpy()[row]
    times = history.times[row] + inside

    def some(values: np.ndarray, share: float) -> pl.Series:
        return pl.Series(values).set(pl.Series(rng.random(count) > share), None)

    exits = pl.Series(times + rng.integers(1, 80 * HOUR, count)).cast(Time)
    return pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": pl.repeat("A", count, eager=True),
            "side": np.where(sides > 0, "long", "short"),
            "entry_time": pl.Series(times).cast(Time),
            "entry_price": entry,
            "quantity": rng.lognormal(0, 1, count),
            "leverage": rng.choice([3.0, 10.0, 25.0, 50.0], count),
            "weight": rng.choice([1.0, 2.5], count),
            "stop_price": some(entry * (1 - sides * 0.015), 0.2),
            "take_profit_price": some(entry * (1 + sides * 0.03), 0.2),
            "exit_time": exits.set(pl.Series(rng.random(count) > 0.3), None),
        }
    )


def waiting_only(rows: pl.DataFrame) -> pl.DataFrame:
    """Return positions whose holders do nothing."""
    return rows.drop("stop_price", "take_profit_price", "exit_time")
