"""How long a grid of policies takes, beside a compiled scan that walks every position's bars for every policy.

    python benchmarks/policy.py [--positions 1000000] [--policies 200]

A year of minutes, positions four fifths of which are liquidated. Answers are compared before anything is timed.
The scan is measured on a part of the positions under each of some rules and scaled up: all of it would take hours.
What is compared with it is whole: books made under each cap, the sweep, settlement of fees and funds, shares, and
the writing of each cell.

The first row is a grid as one is asked for (sweeps shared by fees and funds), in the second every policy has a
sweep of its own. Below them stands the probability surface.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import population
import rivals

from backtest import Book, sweep
from backtest.engine import history
from backtest.engine.lifetimes import lifetimes
from backtest.kernel.compile import readonly
from backtest.scale import manifest
from backtest.study.policy import evaluate, wanted
from backtest.study.policy_grid import Grid, History, Rules, Wanted
from backtest.study.responses import under_cap
from backtest.study.surface import LEVERAGES, probability_surface

#: Positions the scan walks for each rule it is measured on, and rules it is measured on.
SAMPLE, MEASURED = 2_000, 4

CAPS = (None, 7.0, 6.5, 6.0, 5.5, 5.0, 4.5, 4.0, 3.5, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, default=1_000_000)
    parser.add_argument("--policies", type=int, default=200, help="a multiple of 20")
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Python {platform.python_version()}, numpy {np.__version__}\n")
    case = Case(options.positions)
    shared = Grid(
        caps=CAPS,
        rate_scales=(1.0, 1.5),
        responses=("same_size",),
        liquidation_fees=(0.0, 0.002),
        funds=tuple(1e6 * number for number in range(options.policies // 40)),
    )
    scales = tuple(1 + 0.02 * number for number in range(options.policies // 10))
    single = Grid(caps=CAPS, rate_scales=scales, responses=("same_size",))
    scan = case.scan(shared)
    print(f"{'grid':34} {'policies':>8} {'sweeps':>7} {'seconds':>8} {'ms a policy':>12} {'times the scan':>15}")
    for name, grid in (("caps, rates, fees and funds", shared), ("every policy its own sweep", single)):
        seconds = case.grid(grid)
        faster = scan * grid.policies / seconds
        print(
            f"{name:34} {grid.policies:8,} {len(grid.rules()):7,} {seconds:8.1f} "
            f"{1000 * seconds / grid.policies:12.1f} {faster:15,.0f}"
        )
    print(
        f"\nThe scan: {1e6 * scan / options.positions:,.1f} microseconds a position and policy, measured on "
        f"{SAMPLE:,} positions under {MEASURED} rules; all of the grid would take it "
        f"{scan * options.policies / 3600:,.1f} hours."
    )
    case.surface()


class Case:
    """A year of minutes, a book, and the answers two ways."""

    def __init__(self, positions: int) -> None:
        self.market = population.market()
        self.venue = population.binance().with_(remainder="returned")
        self.history = History("a year of minutes", self.market)
        self.book = Book(population.positions(self.market, positions, ordered=True))

    def scan(self, grid: Grid) -> float:
        """Return what the scan takes for all positions under one policy, after comparing its answers with ours."""
        rng = np.random.default_rng(0)
        rows = np.sort(rng.choice(len(self.book), min(SAMPLE, len(self.book)), replace=False))
        rules = grid.rules()
        seconds = []
        for chosen in [rules[number] for number in np.linspace(0, len(rules) - 1, MEASURED).astype(int)]:
            few = under_cap(Book(self.book.positions[rows]), chosen.cap, "same_size")
            ours = sweep(few, self.market, chosen.applied(self.venue))
            moments = ours["outcome_time"].to_physical().fill_null(0).to_numpy()
            expected = np.where(ours["liquidated"], (moments - population.FIRST) // population.MINUTE, -1)
            found = np.empty(len(few), np.int64)
            walk = self._walk(few, chosen, found)
            walk()
            if not np.array_equal(found, expected):
                sys.exit(f"the scan and the sweep differ under {chosen}")
            seconds.append(min(timed(walk) for _ in range(3)))
        return float(np.mean(seconds)) / rows.size * len(self.book)

    def _walk(self, few: Book, rules: Rules, found: np.ndarray) -> Callable[[], None]:
        table = rules.applied(self.venue).contract("BTCUSDT").tables[0]
        funding = history.funding_of(self.market, [self.venue.contract("BTCUSDT")])
        sums = funding.cumulative[funding.charged.astype(np.int64)]
        held = few.positions
        side = np.where(held["side"] == "long", 1.0, -1.0)
        price, quantity = held["entry_price"].to_numpy(), held["quantity"].to_numpy()
        margin = (quantity * price) / held["leverage"].to_numpy()
        starts = (held["entry_time"].to_physical().to_numpy() - population.FIRST) // population.MINUTE
        arrays = (
            self.market.prices("mark", "low"), self.market.prices("mark", "high"), sums, table.rates,
            table.amounts, side, quantity, price, margin, starts, sums[starts],
        )  # fmt: skip
        return lambda: rivals.full_scan(*(readonly(array) for array in arrays), found)

    def grid(self, grid: Grid) -> float:
        """Return how long a grid takes, its cells written to the disk."""
        few = self.small(grid)
        evaluate(self.history, few, self.venue, rules=grid.rules()[0], grid=grid)  # compiled, trees planted
        with tempfile.TemporaryDirectory() as folder, manifest.opened(Path(folder), "benchmark") as cells:
            began = time.perf_counter()
            book = wanted("book", self.book, self.history, self.venue, grid)
            for number, rules in enumerate(grid.rules()):
                frame = evaluate(self.history, book, self.venue, rules=rules, grid=grid)
                cells.finish(str(number), frame.write_parquet)
            return time.perf_counter() - began

    def small(self, grid: Grid) -> Wanted:
        return wanted("few", Book(self.book.positions.head(1_000)), self.history, self.venue, grid)

    def surface(self) -> None:
        """Time the search from every bar at every leverage on both sides, and the surface with its bands."""
        horizons = [timedelta(hours=1), timedelta(hours=8), timedelta(days=1), timedelta(days=7)]
        lifetimes(self.market, self.venue, leverages=[2.0])

        def drawn() -> object:
            return probability_surface(self.market, self.venue, leverages=LEVERAGES, horizons=horizons, seed=1)

        searched = min(timed(lambda: lifetimes(self.market, self.venue, leverages=LEVERAGES)) for _ in range(3))
        whole = min(timed(drawn) for _ in range(2))
        queries = 2 * len(LEVERAGES) * population.YEAR
        print(
            f"\nEvery bar of the year, {len(LEVERAGES)} leverages, both sides: {queries / 1e6:.1f} million "
            f"searches in {searched:.2f} s ({1e9 * searched / queries:.0f} ns each); the surface of "
            f"{len(horizons)} horizons with bands in {whole:.2f} s"
        )


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
