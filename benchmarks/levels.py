"""Time the accumulation of levels beside the sweep whose outcomes it is given, in turns within one run.

``python benchmarks/levels.py`` prints the table: 10 million positions over 525,600 bars into 1,000 x 2,000 cells.
``--count`` and ``--bars`` make it smaller. The erased notional is first held against the sweep's own liquidations,
column by column, and the cells against what outcomes say waits at some moments.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import population

from backtest import Book, Market, sweep
from backtest.study.levels.grid import LevelGrid, level_grid, moment_of
from backtest.study.levels.levels import Levels, levels
from backtest.study.levels.open_levels import open_levels_at

BINS, COLUMNS = 1_000, 2_000
REPEATS = 3


def check(outcomes: pl.DataFrame, grid: LevelGrid, found: Levels) -> None:
    """Assert that what was erased and what waits are what the outcomes say."""
    units = (pl.col("quantity") * pl.col("liquidation_price") * 100).round().cast(pl.Int64)
    column = (pl.col("outcome_time").dt.epoch("ms") - grid.start) // grid.step
    for side in ("long", "short"):
        own = outcomes.filter("liquidated", pl.col("side") == side)
        flow = own.group_by(column.alias("column")).agg(units.sum().alias("units"))
        expected = np.zeros(grid.columns, np.int64)
        expected[flow["column"].to_numpy()] = flow["units"].to_numpy()
        difference = np.abs(expected - found.triggered[side]).sum()
        assert difference <= own.height * 1e-4, difference  # halves of a cent may round either way
    for at in (10, grid.columns // 3, grid.columns - 1):
        total = found.totals().row(at, named=True)
        waiting = open_levels_at(outcomes, grid.symbol, moment_of(int(grid.ends[at])))["amount"].sum()
        assert abs(total["long"] + total["short"] - waiting) <= 1e-9 * waiting


def main(count: int, bars: int) -> None:
    """Print the table."""
    market = population.market(bars)
    still = Market(market.bars, gap_limit=None)
    book, venue = Book(population.positions(market, count, ordered=False)), population.one_tier()
    outcomes = sweep(book, still, venue)
    grid = level_grid(still, "BTCUSDT", bins=BINS, columns=COLUMNS, prices=(5_000.0, 200_000.0), logarithmic=True)
    assert (grid.bins, grid.columns) == (BINS, -(-bars // -(-bars // COLUMNS)))
    check(outcomes, grid, levels(outcomes, grid))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    jobs: dict[str, Callable[[], object]] = {
        "sweep": lambda: sweep(book, still, venue),
        "levels, given outcomes": lambda: levels(outcomes, grid),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(REPEATS):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            best[name] = min(best[name], time.perf_counter() - began)
    print(f"{count:,} positions, {bars:,} bars, {grid.bins:,} x {grid.columns:,} cells, {market!r}")
    for name, seconds in best.items():
        print(f"  {name:24} {seconds:7.3f} s  {seconds / best['sweep']:5.2f} of the sweep")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"  peak memory grew by {grown / 1024:,.0f} MB in the timed runs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--bars", type=int, default=population.YEAR)
    options = parser.parse_args()
    main(options.count, options.bars)
