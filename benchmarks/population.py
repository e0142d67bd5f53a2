"""The fixed population of the benchmarks: a year of minutes, and positions four fifths of which are liquidated."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest import Market, Venue
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time

YEAR = 525_600
FIRST = 1_609_459_200_000  # 2021-01-01, UTC milliseconds
MINUTE = 60_000
SEED = 20210519
PRICE = 40_000.0
VOLATILITY = 0.0011  # of a minute: 80 % a year
LEAST_LEVERAGE, MOST_LEVERAGE = 2.0, 8.0
ENTERED_BY = 0.35  # entries fall in the first third: 80 % are liquidated, after 92,000 bars on average


def market(bars: int = YEAR, seed: int = SEED) -> Market:
    """Return a random walk in minutes with funding every eight hours."""
    rng = np.random.default_rng(seed)
    step = VOLATILITY * np.sqrt(YEAR / bars)  # the same year in coarser or finer steps
    close = PRICE * np.exp(np.cumsum(rng.normal(0.0, step, bars)))
    opening = np.concatenate([[PRICE], close[:-1]])
    high = np.maximum(opening, close) * (1 + rng.exponential(step / 2, bars))
    low = np.minimum(opening, close) * (1 - rng.exponential(step / 2, bars))
    stamps = np.arange(0, bars, max(bars // 1_095, 1))
    return Market(
        pl.DataFrame(
            {
                "symbol": pl.repeat("BTCUSDT", bars, eager=True),
                "time": times(np.arange(bars)),
                "open": opening,
                "high": high,
                "low": low,
                "close": close,
            }
        ),
        pl.DataFrame(
            {
                "symbol": pl.repeat("BTCUSDT", stamps.size, eager=True),
                "time": times(stamps),
                "rate": rng.normal(1e-4, 1e-4, stamps.size),
            }
        ),
        gap_limit=None,
        description="random walk",
    )


def times(bars: np.ndarray) -> pl.Series:
    """Return the opening times of bars."""
    return pl.Series(FIRST + MINUTE * bars).cast(Time)


def positions(of: Market, count: int, *, ordered: bool, seed: int = SEED) -> pl.DataFrame:
    """Return positions entered at openings, log-uniform in leverage and lognormal in size, within the tiers."""
    rng = np.random.default_rng(seed + 1)
    opening = of.prices("mark", "open")
    bars = rng.integers(0, int(opening.size * ENTERED_BY), count)
    if ordered:
        bars.sort()
    notional = np.minimum(np.exp(rng.normal(np.log(5e3), 1.8, count)), 2e8)
    leverage = np.exp(rng.uniform(np.log(LEAST_LEVERAGE), np.log(MOST_LEVERAGE), count))
    table = binance().contracts["BTCUSDT"].tables[0]
    leverage = np.minimum(leverage, table.max_leverages[table.tier_of(notional)])
    return pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": pl.repeat("BTCUSDT", count, eager=True),
            "side": pl.Series(Side.categories, dtype=Side).gather(rng.integers(0, 2, count)),
            "entry_time": times(bars),
            "entry_price": opening[bars],
            "quantity": notional / opening[bars],
            "leverage": leverage,
        }
    )


def one_tier() -> Venue:
    """Return a venue with one tier of 0.4 %."""
    table = TierTable(name="one", rates=np.full(1, 0.004))
    return Venue(name="one", title="One tier", contracts={"BTCUSDT": Contract(symbol="BTCUSDT", tables=(table,))})


def binance() -> Venue:
    """Return Binance's ten tiers of May 2021, in force all year."""
    venue = Venue.load("binance")
    table = venue.contracts["BTCUSDT"].table("2021-03-18")
    always = TierTable(
        name="ten",
        floors=table.floors,
        rates=table.rates,
        amounts=table.amounts,
        max_leverages=table.max_leverages,
        cap=table.cap,
    )
    return Venue(
        name="ten", title="Ten tiers", contracts={"BTCUSDT": Contract(symbol="BTCUSDT", tables=(always,))}
    )
