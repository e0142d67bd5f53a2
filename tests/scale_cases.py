"""A small book in files, and functions that workers can be sent: for the tests of batches and executors."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from backtest import Book, Market, Venue
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.scale import Prices
from backtest.schemas.frames import Side, Time

START = 1_609_459_200_000  # 2021-01-01
MINUTE = 60_000
BARS = 2_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@dataclass(frozen=True)
class Case:
    """Files of a book, and the same in memory."""

    folder: Path
    book: Book
    market: Market
    venue: Venue

    @property
    def positions(self) -> Path:
        return self.folder / "positions"

    @property
    def adjustments(self) -> Path:
        return self.folder / "adjustments.parquet"

    @property
    def prices(self) -> Prices:
        return Prices(str(self.folder / "bars.parquet"), str(self.folder / "funding.parquet"))


def case(folder: Path, count: int = 3_000, seed: int = 7) -> Case:
    """Write positions of three symbols in three files, each of two symbols, with holders who act."""
    rng = np.random.default_rng(seed)
    market = made_market(rng)
    positions = made_positions(market, count, rng)
    adjustments = made_adjustments(positions, rng)
    (folder / "positions").mkdir(parents=True)
    market.bars.write_parquet(folder / "bars.parquet")
    market.funding.write_parquet(folder / "funding.parquet")
    adjustments.write_parquet(folder / "adjustments.parquet")
    for number, first in enumerate(range(0, count, count // 3)):
        part = positions[first : first + count // 3]
        part.write_parquet(folder / "positions" / f"{number}.parquet", row_group_size=300)
    return Case(folder, Book(positions, adjustments), market, made_venue())


def made_market(rng: np.random.Generator) -> Market:
    """Return minutes with one long gap, and hourly funding."""
    kept = np.delete(np.arange(BARS), np.arange(900, 1_300))
    bars, funding = [], []
    for symbol in SYMBOLS:
        close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.01, kept.size)))
        opening = np.concatenate([[100.0], close[:-1]])
        prices = {"open": opening, "close": close}
        prices |= {"high": np.maximum(opening, close) * 1.004, "low": np.minimum(opening, close) * 0.996}
        bars.append(pl.DataFrame({"symbol": symbol, "time": moments(kept), **prices}))
        stamps = np.arange(0, BARS, 60)
        rates = rng.normal(0, 1e-3, stamps.size)
        funding.append(pl.DataFrame({"symbol": symbol, "time": moments(stamps), "rate": rates}))
    return Market(pl.concat(bars), pl.concat(funding))


def made_positions(market: Market, count: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return positions with stops, take-profits, exits and weights on some, in order of symbol but not of time."""
    symbol = np.sort(rng.integers(0, len(SYMBOLS), count))
    bar = rng.integers(0, 850, count)
    price = market.prices("mark", "open")[market.firsts[symbol] + bar]
    side = rng.integers(0, 2, count)
    away = np.where(side == 0, -1, 1) * rng.uniform(0.01, 0.3, count)
    stop = np.where(rng.random(count) < 0.2, price * (1 + away), np.nan)
    target = np.where(rng.random(count) < 0.2, price * (1 - away), np.nan)
    exits = pl.Series(moments(bar + rng.integers(100, 1_000, count)))
    return pl.DataFrame(
        {
            "position_id": rng.permutation(count) + 10,
            "symbol": np.array(SYMBOLS)[symbol],
            "side": pl.Series(Side.categories, dtype=Side).gather(side),
            "entry_time": moments(bar),
            "entry_price": price,
            "quantity": np.exp(rng.normal(3, 1.5, count)),
            "leverage": np.exp(rng.uniform(0.3, 3.9, count)),
            "weight": rng.integers(1, 5, count) / 4,
            "exit_time": pl.select(pl.when(pl.Series(rng.random(count) < 0.2)).then(exits)).to_series(),
            "stop_price": pl.Series(stop).fill_nan(None),
            "take_profit_price": pl.Series(target).fill_nan(None),
            "note": [f"trader {number % 17}" for number in range(count)],
        }
    )


def made_adjustments(positions: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Return margin added, parts closed and every third time added, some twice at one time, in no order."""
    rows = rng.integers(0, positions.height, positions.height // 5)
    own = positions[rows].select("position_id", "entry_time", "entry_price", "quantity")
    grows, unpriced = pl.int_range(pl.len()) % 3 == 0, pl.int_range(pl.len()) % 2 == 0
    later = pl.Series(rng.integers(1, 200, own.height) * MINUTE)
    return own.select(
        "position_id",
        time=(pl.col("entry_time").dt.epoch("ms") + later).cast(Time),
        margin_change=pl.when(~(grows & unpriced)).then(pl.Series(rng.uniform(0, 5, own.height))),
        quantity_change=pl.col("quantity") * pl.when(grows).then(0.5).otherwise(-0.05),
        price=pl.when(~unpriced).then("entry_price"),
    )


def made_venue() -> Venue:
    table = TierTable(
        name="always",
        floors=np.array([0.0, 5_000.0, 50_000.0]),
        rates=np.array([0.005, 0.01, 0.02]),
        max_leverages=np.array([50.0, 50.0, 50.0]),
    )
    return Venue(
        name="made", title="Made", contracts={name: Contract(symbol=name, tables=(table,)) for name in SYMBOLS}
    )


def moments(bars: np.ndarray) -> pl.Series:
    return pl.Series(START + MINUTE * bars.astype(np.int64)).cast(Time)


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    raise ValueError(f"{number} is not to be had")


def process_id() -> int:
    time.sleep(0.2)
    return os.getpid()


def die_once(marker: str) -> str:
    """Kill the process it runs in, the first time."""
    path = Path(marker)
    if not path.exists():
        path.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def settings_of_threads() -> tuple[int, str | None]:
    return pl.thread_pool_size(), os.environ.get("POLARS_MAX_THREADS")


HALF_A_DAY = timedelta(hours=12)
