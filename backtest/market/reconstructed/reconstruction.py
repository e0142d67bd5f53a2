"""The bundled sample: one-minute mark prices of May 2021, reconstructed between published figures.

Venues do not allow the real minutes to be redistributed, so they are simulated: each published interval (a day; an
hour on 19 May) is a path of clustered volatility from its open to its close that has exactly its high and low, and
the two symbols' paths are correlated. Prices are in USDT. Where an hour and the day of 19 May disagreed the
hours would win; as published, they agree. The same seed gives the same bytes wherever numpy draws the same
numbers from PCG64.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from backtest.kernel.types import Floats
from backtest.market.reconstructed.brownian_bridge import Pins, Pull, minute_prices, pinned_path, roughness

SEED = 20210519
START, END = datetime(2021, 5, 10, tzinfo=UTC), datetime(2021, 5, 27, tzinfo=UTC)

#: The minute of 19 May 2021 in which BTC and ETH marks were lowest.
LOWEST = datetime(2021, 5, 19, 13, 10, tzinfo=UTC)

#: Correlation of the symbols' steps between pins. Real spot minutes of these days: 0.84.
CORRELATION = 0.85

#: An assumption: what the funding formula gives while the premium is small, not the rates that were charged.
FUNDING_RATE = 0.0001
FUNDING_EVERY = timedelta(hours=8)

DAILY, HOURLY = "may_2021_daily_mark.csv", "may_19_2021_hourly_mark.csv"


def describe(seed: int = SEED) -> str:
    """Return the description of the sample, printed with every result."""
    return (
        "reconstruction: one-minute BTC and ETH mark prices, 10 to 26 May 2021, simulated between published "
        "daily (19 May: hourly) open, high, low and close; "
        f"funding {100 * FUNDING_RATE:g} % a period assumed; seed {seed}"
    )


def reconstruct(seed: int = SEED) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return one of the histories that fit the published figures, as bars and funding.

    The two frames follow their schemas; bars are sorted by symbol and time.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    figures = published()
    lowest_at = (LOWEST - START) // timedelta(minutes=1)
    rough = roughness(rng, (END - START) // timedelta(minutes=1))
    pull, frames = None, []
    for (symbol,), rows in figures.group_by("symbol", maintain_order=True):
        pins = _pins(rows)
        path = pinned_path(pins, rough, rng, lowest_at=lowest_at, pull=pull)
        pull = Pull(path, CORRELATION)
        frames.append(_bars(str(symbol), minute_prices(pins, path, rng)))
    bars = pl.concat(frames)
    return bars, _funding(bars["symbol"].unique(maintain_order=True))


def published() -> pl.DataFrame:
    """Return the published figures: days, and hours in place of a day that the hourly file holds.

    Columns symbol, time, minutes (the length), open, high, low, close; sorted by symbol and time.
    """
    days = pl.read_csv(data_file(DAILY)).select(
        "symbol",
        pl.col("date").str.to_datetime("%Y-%m-%d", time_unit="ms", time_zone="UTC").alias("time"),
        pl.lit(24 * 60, pl.Int64).alias("minutes"),
        *("open", "high", "low", "close"),
    )
    hours = pl.read_csv(data_file(HOURLY)).with_columns(
        pl.col("time").str.to_datetime("%+", time_unit="ms", time_zone="UTC"), minutes=pl.lit(60, pl.Int64)
    )
    replaced = hours.select("symbol", pl.col("time").dt.truncate("1d"))
    days = days.join(replaced, on=["symbol", "time"], how="anti")
    return pl.concat([days, hours.select(days.columns)]).sort("symbol", "time")


def data_file(name: str) -> Path:
    """Return a file of published figures: inside an installed package, or beside it in a source checkout."""
    package = Path(__file__).parents[2]
    inside = package / "_data" / name
    return inside if inside.is_file() else package.parent / "data" / name


def _pins(rows: pl.DataFrame) -> Pins:
    start = (rows["time"] - START).dt.total_minutes()
    prices = (rows[name].to_numpy() for name in ("open", "high", "low", "close"))
    return Pins(start.to_numpy(), rows["minutes"].to_numpy(), *prices)


def _bars(symbol: str, prices: dict[str, Floats]) -> pl.DataFrame:
    times = pl.datetime_range(START, END, "1m", closed="left", time_unit="ms", eager=True)
    return pl.DataFrame({"time": times, **prices}).select(pl.lit(symbol).alias("symbol"), "time", *prices)


def _funding(symbols: pl.Series) -> pl.DataFrame:
    """Return the assumed rate at 00, 08 and 16 o'clock of each day."""
    stamps = pl.datetime_range(START, END, FUNDING_EVERY, closed="left", time_unit="ms", eager=True)
    pairs = symbols.to_frame().join(stamps.alias("time").to_frame(), how="cross")
    return pairs.with_columns(rate=pl.lit(FUNDING_RATE))
