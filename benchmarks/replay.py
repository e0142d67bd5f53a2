"""The replay against the sweep and a loop over every bar and position: equal answers first, then times as ratios.

    flock /tmp/heavy.lock python -m benchmarks.replay [--positions 1000000] [--bars 525600] [--repeats 3]

Funding every eight hours, Binance tiers, planned exits. Every line is the best of several in one
run; read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest import Book, Impact, Market, Venue, replay, sweep
from backtest.schemas import Side, Time

START = datetime(2021, 4, 1, tzinfo=UTC)


def history(bars: int, rng: np.random.Generator) -> Market:
    returns = rng.standard_t(4, bars) * 6e-4
    close = 40_000 * np.exp(np.cumsum(returns - returns.mean()))
    opening = np.append(40_000.0, close[:-1])
    high = np.maximum(opening, close) * np.exp(rng.exponential(2e-4, bars))
    low = np.minimum(opening, close) * np.exp(-rng.exponential(2e-4, bars))
    times = pl.datetime_range(
        START, START + timedelta(minutes=bars - 1), "1m", time_unit="ms", time_zone="UTC", eager=True
    )
    columns = {"open": opening, "high": high, "low": low, "close": close, "volume": rng.exponential(50, bars)}
    frame = pl.DataFrame({"symbol": pl.repeat("BTCUSDT", bars, eager=True), "time": times, **columns})
    stamps = times.gather_every(480)
    rates = rng.normal(1e-4, 2e-4, stamps.len())
    funding = pl.DataFrame(
        {"symbol": pl.repeat("BTCUSDT", stamps.len(), eager=True), "time": stamps, "rate": rates}
    )
    return Market(frame, funding)


def positions(market: Market, count: int, rng: np.random.Generator) -> Book:
    bars = market.bars.height
    entry = np.sort(rng.integers(0, bars - 10, count))
    opening = market.prices("mark", "open")[entry]
    leverage = np.clip(np.exp(rng.normal(2.7, 0.8, count)), 1.2, 100)
    notional = np.clip(rng.lognormal(6.8, 2.0, count), 10, 40_000)
    holding = np.maximum(1, rng.lognormal(np.log(720), 1.4, count)).astype(np.int64)
    exits = np.minimum(entry + holding, bars + 10)
    start = int(START.timestamp() * 1000)
    return Book(
        pl.DataFrame(
            {
                "position_id": np.arange(count),
                "symbol": pl.repeat("BTCUSDT", count, eager=True),
                "side": pl.Series(["long", "short"], dtype=Side).gather(rng.integers(0, 2, count)),
                "entry_time": pl.Series(start + entry * 60_000).cast(Time),
                "entry_price": opening,
                "quantity": notional / opening,
                "leverage": leverage,
                "exit_time": pl.Series(start + exits * 60_000).cast(Time),
            }
        )
    )


def best(
    run: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    seconds, found = [], None
    for _ in range(repeats):
        began = clock()
        found = run()
        seconds.append(clock() - began)
    return min(seconds), found


def loop_seconds(market: Market, book: Book) -> float:
    """Return what comparing every open position with every bar costs, measured on a part of the bars."""
    low, high = market.prices("mark", "low"), market.prices("mark", "high")
    count, bars = len(book), min(200, market.bars.height)
    level = book.positions["entry_price"].to_numpy() * 0.9
    is_long = (book.positions["side"] == "long").to_numpy()
    began = time.perf_counter()
    for bar in range(bars):
        np.count_nonzero(np.where(is_long, low[bar] <= level, high[bar] >= 2.2 * level))
    return (time.perf_counter() - began) / bars * market.bars.height * (count / max(len(level), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=1_000_000)
    parser.add_argument("--bars", type=int, default=525_600)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(7)
    market = history(options.bars, rng)
    book = positions(market, options.positions, rng)
    venue = Venue.load("binance").with_(adl_trigger="never", rounds=0)
    rules: dict[str, Any] = {"tiers": "nearest", "leverage_limit": "cap", "threads": 1}

    base, outcomes = best(lambda: sweep(book, market, venue, **rules), options.repeats)
    plain, found = best(lambda: replay(book, market, venue, fund=1e9, **rules), options.repeats)
    for name in ("outcome", "outcome_time", "liquidation_price", "fill_price", "ambiguous"):
        same = found.outcomes[name].cast(pl.String) if name == "outcome" else found.outcomes[name]
        assert same.equals(outcomes[name].cast(same.dtype), null_equal=True), name
    lines = [("sweep, one thread", base), ("replay, nothing coupled", plain)]
    cases = {
        "replay, feedback": (venue, {"impact": Impact(mark=2e-12, half_life_seconds=600, permanent=0.5)}),
        "replay, partial": (venue.with_(step="fraction", step_fraction=0.25), {}),
        "replay, ADL storm (fund of zero)": (
            venue.with_(adl_trigger="fund_empty", adl_rank="profit_leverage"),
            {"impact": Impact(linear=4e-6), "fund": 0.0},
        ),
    }
    for name, (rule, more) in cases.items():
        given = {"fund": 1e9, **more}
        seconds, found = best(
            lambda: replay(book, market, rule, exogenous=True, **given, **rules), options.repeats
        )
        assert int(found.ledger["total"].sum()) == 0
        lines.append((f"{name} ({found.adl.height:,} deleveragings)", seconds))
    lines.append(("loop over bars and positions (extrapolated)", loop_seconds(market, book)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{options.positions:,} positions x {options.bars:,} bars, best of {options.repeats}")
    print("\n".join(f"{name:55} {seconds:9.3f} s  {seconds / base:8.1f} x the sweep" for name, seconds in lines))
    print(f"highest memory of the process: {memory / options.positions:,.0f} bytes a position")


if __name__ == "__main__":
    main()
