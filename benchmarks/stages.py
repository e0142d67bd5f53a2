"""From a file of positions to every table: how long each stage takes, and what memory a finer table costs.

``python benchmarks/stages.py`` prints both; ``--write`` puts them into ``benchmarks/README.md``. Stages run in the
order a study would take them, the whole course several times, of which the best of each stage counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import population
from tables import Table, machine, write

from backtest import Book, Market, sweep
from backtest.book import load
from backtest.study.liquidations import branching, cascades, feed_throttling, flow, imbalance, tails
from backtest.study.liquidations.segmentation import GapRule, PeakRule, ThresholdRule
from backtest.study.prediction import liquidation_at_risk
from backtest.study.stats.bands import Band
from backtest.study.stats.bootstrap import resampling

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

#: Windows of a table through time, and how many of them a year of minutes holds.
INTERVALS = {"1d": 365, "1h": 8_760, "1m": 525_600}

ROUNDS = 3

RULES = {
    "gap": GapRule(5 * MINUTE, bar=MINUTE),
    "threshold": ThresholdRule(0.95, bar=MINUTE),
    "peak": PeakRule(0.1, bar=MINUTE),
}


class Stages:
    """Least seconds of each stage, in the order they first ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, job: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = job()
        self.seconds[name] = min(time.perf_counter() - began, self.seconds.get(name, float("inf")))
        return done


def bench_stages(count: int) -> Table:
    """Time every stage from a Parquet file of positions to every table, in one run."""
    title = f"From Parquet to every table ({count:,} positions, {population.YEAR:,} bars)"
    table = Table(title, "stage", "seconds", "times the sweep")
    market = population.market()
    stage = Stages()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "positions.parquet"
        population.positions(market, count, ordered=True).write_parquet(path)
        for _ in range(ROUNDS):
            course(stage, path, market)
    for name, seconds in stage.seconds.items():
        table.add(name, f"{seconds:.2f}", f"{seconds / stage.seconds['sweep']:.2f}")
    whole = sum(stage.seconds.values())
    table.add("all of it", f"{whole:.2f}", f"{whole / stage.seconds['sweep']:.2f}")
    return table


def course(stage: Stages, path: Path, market: Market) -> None:
    """Run every stage once."""
    book = stage("read and check", lambda: load(path))
    outcomes = stage("sweep", lambda: sweep(book, market, population.one_tier()))
    _flow_tables(stage, outcomes, market)
    _cascade_tables(stage, outcomes, market)
    stage("band of the liquidated share", lambda: share_band(outcomes))
    stage("write outcomes", lambda: outcomes.write_parquet(path.with_name("outcomes.parquet"), compression="lz4"))


def bench_intervals(count: int) -> Table:
    """Measure what memory a table through time takes, the finer its intervals are."""
    title = f"Memory of a flow table beyond the outcomes ({count:,} positions)"
    table = Table(title, "intervals", "bytes a position")
    for every, rise in memory_by_interval(count).items():
        table.add(f"{INTERVALS[every]:,}", f"{rise:.0f}")
    return table


def memory_by_interval(count: int) -> dict[str, float]:
    """Return how far a flow table raises peak memory over the outcomes it is of, bytes a position, by interval.

    Each in a process of its own, since freed memory is not given back.
    """
    market, venue = population.market(), population.one_tier()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.parquet"
        sweep(Book(population.positions(market, count, ordered=True)), market, venue).write_parquet(path)
        rises = {}
        for every in INTERVALS:
            command = [sys.executable, __file__, "--memory", str(path), every]
            rises[every] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return rises


def share_band(outcomes: pl.DataFrame) -> Band:
    """Return the liquidated share with its band over fortnights of entry."""
    plan = resampling(outcomes["entry_time"], seed=1)
    sums = plan.block_sums(outcomes, [pl.col("liquidated"), pl.lit(1)], time="entry_time")
    return plan.band(plan.of_sums(sums, lambda drawn: drawn[:, 0] / drawn[:, 1]))


def _flow_tables(stage: Stages, outcomes: pl.DataFrame, market: Market) -> None:
    first, last = _window(market)
    hourly = stage("flow by hour", lambda: flow.by_interval(outcomes, start=first, end=last, every="1h"))
    stage("flow by minute", lambda: flow.by_interval(outcomes, start=first, end=last, every="1m"))
    by = [flow.leverage_bucket(flow.leverage(outcomes)), pl.col("side")]
    stage("flow by leverage and side", lambda: flow.liquidated(outcomes, by))
    stage("flow by price", lambda: flow.liquidated(outcomes, [flow.price_bin(100.0), "side"]))
    stage("summary", lambda: (flow.summary(outcomes), flow.tally(outcomes)))
    stage("ranks and runs", lambda: (flow.ranks(hourly), flow.run_ranks(hourly)))
    stage("imbalance", lambda: (imbalance.by_interval(hourly), imbalance.autocorrelation(hourly, [1, 6, 24])))
    by_hour = [flow.interval("1h")]
    for rule in feed_throttling.RULES:
        for name, dispersion in (("uniform", 0.0), ("clustered", feed_throttling.dispersion_of_gaps(0.76))):
            told = {"rule": rule, "dispersion": dispersion}
            stage(
                f"what a feed shows, {rule}, {name}",
                lambda told=told: feed_throttling.visible(outcomes, by_hour, **told),
            )
    middle = first + (last - first) / 4
    stage("at risk by move", lambda: liquidation_at_risk.by_move(outcomes, market.bars, middle))
    stage("at risk by horizon", lambda: liquidation_at_risk.by_horizon(hourly, timedelta(days=1)))


def _cascade_tables(stage: Stages, outcomes: pl.DataFrame, market: Market) -> None:
    first, last = _window(market)
    pulses = stage("pulses", lambda: cascades.pulses(outcomes))
    found = {
        name: stage(f"cascades by {name}", lambda rule=rule: cascades.find(pulses, rule))
        for name, rule in RULES.items()
    }
    stage("price moves of cascades", lambda: cascades.with_price_moves(found["gap"], market.bars))
    stage("tail of sizes", lambda: tails.fit(found["gap"]["notional"]))
    window = {"window": HOUR, "start": first, "end": last}
    stage("branching ratio", lambda: branching.side_by_side(outcomes, outcomes, **window))


def _window(market: Market) -> tuple[datetime, datetime]:
    return market.bars["time"][0], market.bars["time"][-1]


def _rise(path: Path, every: str) -> float:
    """Return the rise of this process's peak memory in bytes a position."""
    outcomes = pl.read_parquet(path)
    first, last = _window(population.market())
    small = outcomes.head(1_000)
    flow.by_interval(small, start=first, end=last, every=every)
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    table = flow.by_interval(outcomes, start=first, end=last, every=every)
    rise = _resident("VmHWM") - before
    assert table["count"].sum() > 0
    return rise * 1024 / outcomes.height


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])


def main() -> None:
    """Run both, or measure one memory for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=float, default=1e7)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory:
        print(_rise(Path(asked.memory[0]), asked.memory[1]))
        return
    where = machine()
    print(where)
    found = [job(int(asked.positions)) for job in (bench_stages, bench_intervals)]
    if asked.write:
        write(found, where)


if __name__ == "__main__":
    main()
