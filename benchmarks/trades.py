"""A check of 100,000 trades against a year of minutes, at five leverages on three venues: time and memory.

``python -m benchmarks.trades`` from the repository. The answer is asserted first: each trade is liquidated exactly
where its margin is at most the margin that holds.
"""

from __future__ import annotations

import resource
import time

import numpy as np
import polars as pl

from backtest import Venue, trades
from backtest.engine.conventions import Conventions
from backtest.trades.checking import Stages
from benchmarks import population

TRADES, LONGEST = 100_000, 10_000
VENUES = ("binance", "bybit", "hyperliquid")
LEVERAGES = (3.0, 5.0, 10.0, 20.0, 50.0)


def trade_list(bars: pl.DataFrame, count: int, seed: int = population.SEED) -> pl.DataFrame:
    """Return trades at opens of bars, held for up to a week."""
    rng = np.random.default_rng(seed)
    first = np.sort(rng.integers(0, bars.height - LONGEST - 1, count))
    last = first + rng.integers(30, LONGEST, count)
    return pl.DataFrame(
        {
            "symbol": pl.repeat("BTC/USDT:USDT", count, eager=True),
            "side": np.where(rng.random(count) < 0.5, "long", "short"),
            "entry_time": bars["time"].gather(first),
            "entry_price": bars["open"].gather(first),
            "quantity": rng.uniform(0.01, 3.0, count),
            "exit_time": bars["time"].gather(last),
            "exit_price": bars["open"].gather(last),
        }
    )


def main() -> None:
    """Print seconds and memory, first and again."""
    market = population.market()
    log = trades.read(trade_list(market.bars, TRADES))
    venues = [Venue.load(name) for name in VENUES]
    for name in ("first", "again", "again"):
        began, worked = time.perf_counter(), time.process_time()
        stages = Stages(log, market, venues, LEVERAGES, "size", None, Conventions(tiers="nearest"), None)
        rows = 0
        for part in stages.parts():
            own = part.filter(pl.col("outcome") != "rejected")
            wrong = own.filter((pl.col("margin") <= pl.col("margin_that_holds")) != pl.col("certainly_liquidated"))
            assert wrong.is_empty(), wrong
            rows += part.height
        seconds, processor = time.perf_counter() - began, time.process_time() - worked
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name}: {rows:,} answers in {seconds:.1f} s ({processor:.1f} s of processor), {memory:,.0f} MiB")


if __name__ == "__main__":
    main()
