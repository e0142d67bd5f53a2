"""Whole commands beside the compiled loop over bars: `backtest sweep` of a year of minutes, Parquet to Parquet.

``python benchmarks/commands.py`` prints the table; ``--write`` puts it into ``benchmarks/README.md``. Its
time is that of the process, from its start to its end: starting Python, importing, reading, admission, sweep,
warnings, hashes, and writing of outcomes and summary.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import population
from run import Case
from tables import Table, machine, require_equal, write

from backtest import Market
from backtest.kernel.threads import thread_count

SAMPLE, ROUNDS = 2_000, 5

VENUE = """\
name = "one"
title = "One tier"
settlement = "USDT"
[contracts.BTCUSDT]
[[contracts.BTCUSDT.tables]]
name = "one"
in_force = "always"
rows = [{ floor = 0, rate = 0.004 }]
"""


def written(folder: Path, market: Market, count: int) -> list[str]:
    """Write prices, positions and rules, and return the command's words."""
    market.bars.write_parquet(folder / "bars.parquet")
    assert market.funding is not None
    market.funding.write_parquet(folder / "funding.parquet")
    population.positions(market, count, ordered=True).write_parquet(folder / "positions.parquet")
    (folder / "one.toml").write_text(VENUE)
    files = "--bars bars.parquet --funding funding.parquet --positions positions.parquet --venue one.toml"
    return [sys.executable, "-m", "backtest", "sweep", *files.split(), "--gap-limit", "none", "--out", "out"]


def timed(words: list[str], folder: Path) -> tuple[float, float]:
    """Return wall and processor seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, cwd=folder, env=os.environ, capture_output=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench_sweep(count: int) -> Table:
    """Time the command in turns with the compiled loop, after its liquidations are found to be the loop's."""
    table = Table(
        f"A whole sweep, Parquet to Parquet ({population.YEAR:,} bars, one tier)",
        "positions", "wall, s", "processors, s", "million positions a second",
        "times faster than the formula scan", "by processor time", "the scan, microseconds a position",
    )  # fmt: skip
    market, threads = population.market(), thread_count(None)
    case = Case(market, population.one_tier(), count, ordered=True)
    rows = np.random.default_rng(0).integers(0, count, SAMPLE)
    scan, found = case.scanned(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = written(folder, market, count)
        timed(words, folder), scan()
        outcomes = pl.read_parquet(folder / "out" / "outcomes.parquet", columns=["liquidated", "outcome_time"])
        bars = (outcomes["outcome_time"].to_physical() - population.FIRST) // population.MINUTE
        hits = np.where(outcomes["liquidated"].to_numpy(), bars.fill_null(-1).to_numpy(), -1)
        require_equal(hits[rows], found, "the command against the formula scan")
        best = {"wall": np.inf, "processors": np.inf, "scan": np.inf}
        for _ in range(ROUNDS):
            wall, processors = timed(words, folder)
            began = time.thread_time()
            scan()
            for what, seconds in (
                ("wall", wall),
                ("processors", processors),
                ("scan", time.thread_time() - began),
            ):
                best[what] = min(best[what], seconds)
    each = best["scan"] / SAMPLE
    table.add(
        f"{count:,}", f"{best['wall']:.2f}", f"{best['processors']:.2f}", f"{1e-6 * count / best['wall']:.2f}",
        f"{each * count / threads / best['wall']:.0f}", f"{each * count / best['processors']:.0f}",
        f"{1e6 * each:.0f}",
    )  # fmt: skip
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=float, default=4e6)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked = parser.parse_args()
    where = machine()
    table = bench_sweep(int(asked.positions))
    if asked.write:
        write([table], where)


if __name__ == "__main__":
    main()
