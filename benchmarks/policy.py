"""How long a grid of policies takes, beside a compiled scan that walks every position's bars for every policy.

``python benchmarks/policy.py`` prints the tables; ``--write`` puts them into ``benchmarks/README.md``.

A year of minutes, positions four fifths of which are liquidated. Answers are compared before anything is timed.
The scan is measured on a part of the positions under each of some rules and scaled up: all of it would take hours.
What is compared with it is whole: books made under each cap, the sweep, settlement of fees and funds, shares, and
the writing of each cell; of the command also start, reading of files, tables, charts and report. Policies settled
by replays are compared with one call of ``replay`` a policy, measured on some and scaled up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import population
import rivals
from tables import Table, in_turns, machine, require_equal, write

from backtest import Book, Venue, replay, sweep
from backtest.engine import market_arrays
from backtest.engine.sweep.lifetimes import lifetimes
from backtest.kernel.types import readonly
from backtest.scale import manifest
from backtest.study.policy import replay_settlement
from backtest.study.policy.evaluations import evaluate, intended
from backtest.study.policy.grid import Grid, History, Intended, Rules
from backtest.study.policy.replay_settlement import Replayed, procedure_of
from backtest.study.policy.responses import under_cap
from backtest.study.policy.settlement import Run, Terms
from backtest.study.survival.surface import LEVERAGES, probability_surface

#: Positions the scan walks for each rule it is measured on, and rules it is measured on.
SAMPLE, MEASURED = 2_000, 4

GRID = """
venue = "binance"
tiers = { BTCUSDT = "2021-03-18" }
[[histories]]
name = "a year of minutes"
bars = "bars.parquet"
funding = "funding.parquet"
gap_limit_hours = 1e5
[[books]]
name = "book"
positions = "positions.parquet"
"""

FILL = ("liquidation_price",)

#: What is replayed: 200 policies.
REPLAYED = Grid(
    caps=(None, 6.0, 5.0, 4.0, 3.0),
    fills=("worst_price",),
    responses=("same_size",),
    liquidation_fees=(None, 0.002),
    funds=(0.0, 1e5, 1e6, 1e9),
    procedures=("returned", "binance", "ascend", "mexc", "primexbt"),
)

CAPS = (None, 7.0, 6.5, 6.0, 5.5, 5.0, 4.5, 4.0, 3.5, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, default=1_000_000)
    parser.add_argument("--policies", type=int, default=200, help="a multiple of 40")
    parser.add_argument("--replayed", type=int, default=100_000, help="positions whose policies are replayed")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    options = parser.parse_args()
    where = machine()
    case = Case(options.positions)
    tables = [compare(case, options.policies), replays(Case(options.replayed)), surface(case)]
    if options.write:
        write(tables, where)


def compare(case: Case, policies: int) -> Table:
    """Time a grid as one is asked for, as a command and as cells, and one whose policies share no sweep."""
    shared = Grid(
        caps=CAPS,
        rate_scales=(1.0, 1.5),
        fills=FILL,
        responses=("same_size",),
        liquidation_fees=(0.0, 0.002),
        funds=tuple(1e6 * number for number in range(policies // 40)),
    )
    scales = tuple(1 + 0.02 * number for number in range(policies // 10))
    single = Grid(caps=CAPS, rate_scales=scales, fills=FILL, responses=("same_size",))
    scan = case.scan(shared)
    positions = len(case.book)
    table = Table(
        f"A grid of policies ({positions:,} positions, 525,600 bars, ten tiers)",
        "what", "policies", "sweeps", "seconds", "ms a policy", "times faster than the formula scan",
        about=(
            f"The scan evaluates the margin formula along every position's bars for every policy: "
            f"{1e6 * scan / positions:,.0f} microseconds a position, measured on {SAMPLE:,} positions under "
            f"{MEASURED} rules and scaled up: {policies:,} policies would take it "
            f"{scan * policies / 3600:,.0f} hours."
        ),
    )  # fmt: skip
    for name, grid, run in (
        ("`backtest policy`, the whole command", shared, case.command),
        ("its cells alone", shared, case.grid),
        ("every policy its own sweep", single, case.grid),
    ):
        seconds = run(grid)
        each = seconds / grid.policies
        table.add(
            name, f"{grid.policies:,}", f"{len(grid.rules()):,}", f"{seconds:.1f}", f"{1000 * each:.0f}",
            f"{scan / each:,.0f}",
        )  # fmt: skip
    return table


def replays(case: Case) -> Table:
    """Time policies settled by replays, after comparing them with the fund path where nothing is coupled."""
    grid, positions = REPLAYED, len(case.book)
    named = [name for name in grid.procedures if name != "returned"]
    settlement = Replayed({name: procedure_of(Venue.load(name)) for name in named})
    book = intended("book", case.book, case.history, case.venue, grid)
    played: list[float] = []
    cell = partial(evaluate, case.history, venue=case.venue, grid=grid, settlement=settlement)
    with counted(played):
        cell(case.small(grid), rules=grid.rules()[0])  # compiled
        played.clear()
        began = time.perf_counter()
        frames = [cell(book, rules=rules) for rules in grid.rules()]
        seconds = time.perf_counter() - began
    ours = pl.concat(frames).filter(procedure="returned", liquidation_fee=0.002, fund=1e9)
    simple = Grid(
        caps=grid.caps, fills=grid.fills, responses=grid.responses, liquidation_fees=(0.002,), funds=(1e9,)
    )
    theirs = pl.concat(
        [evaluate(case.history, book, case.venue, rules=rules, grid=simple) for rules in simple.rules()]
    )
    for name in ("traders_losses", "returned", "fees", "shortfall", "fund_end"):
        apart = (ours[name] - theirs[name]).abs().to_numpy().max()
        if apart > 0.005 * positions:
            sys.exit(f"{name}: the replay and the fund path are {apart} apart")
    single = alone(case, settlement, grid)
    table = Table(
        f"Policies settled by replays ({positions:,} positions, 525,600 bars, ten tiers)",
        "what", "policies", "replays", "seconds", "ms a policy",
        about=(
            "Five caps, five procedures, two fees, four funds, filled at the worst price of the bar. Funds that "
            "never ran dry share one replay, and replays of other procedures and fees run side by side. "
            f"One call of `replay` per policy is measured on {len(grid.procedures)} procedures and scaled up; it "
            "writes every frame."
        ),
    )  # fmt: skip
    table.add(
        "the cells of a grid", f"{grid.policies}", f"{len(played)}", f"{seconds:.1f}",
        f"{1000 * seconds / grid.policies:.0f}",
    )  # fmt: skip
    table.add("`replay` for each", f"{grid.policies}", f"{grid.policies}", f"{single * grid.policies:.0f}",
              f"{1000 * single:.0f}")  # fmt: skip
    return table


@contextmanager
def counted(played: list[float]) -> Iterator[None]:
    """Count the replays that settlements make."""
    own = replay_settlement.play

    def play(*given: Any) -> Any:
        played.append(1.0)
        return own(*given)

    replay_settlement.play = play
    try:
        yield
    finally:
        replay_settlement.play = own


def alone(case: Case, settlement: Replayed, grid: Grid) -> float:
    """Return what one call of ``replay`` takes on average, a procedure each."""
    rules = [settlement.rules(Run(case.book, case.market, case.venue, pl.DataFrame()), Terms(None, 1e6, name))
             for name in grid.procedures]  # fmt: skip
    replay(case.small(grid).book, case.market, rules[0])
    worst = case.market.with_last_price()
    how = {"fund": 1e6, "fill_price": "last_extreme"}
    seconds = [timed(partial(replay, case.book, worst, venue, **how)) for venue in rules]
    return sum(seconds) / len(seconds)


def surface(case: Case) -> Table:
    """Time the search from every bar at every leverage on both sides, and the surface with its bands."""
    horizons = [timedelta(hours=1), timedelta(hours=8), timedelta(days=1), timedelta(days=7)]

    leverages = (*LEVERAGES, 110.0, 120.0)  # twenty

    def searched() -> object:
        return lifetimes(case.market, case.venue, leverages=leverages)

    def banded() -> object:
        return probability_surface(case.market, case.venue, leverages=leverages, horizons=horizons, seed=1)

    queries = 2 * len(leverages) * population.YEAR
    table = Table(
        f"From every bar ({queries / 1e6:.1f} million searches: a year, {len(leverages)} leverages, both sides)",
        "what", "seconds", "ns a search",
    )  # fmt: skip
    names = ("the bar that liquidates", f"probabilities at {len(horizons)} horizons, with bands")
    for name, seconds in zip(names, in_turns(searched, banded, repeats=3), strict=True):
        table.add(name, f"{seconds:.2f}", f"{1e9 * seconds / queries:.0f}")
    return table


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
            few = under_cap(Book(self.book.positions[rows]), self.venue, chosen.cap, "same_size")
            ours = sweep(few, self.market, chosen.applied(self.venue))
            moments = ours["outcome_time"].to_physical().fill_null(0).to_numpy()
            expected = np.where(ours["liquidated"], (moments - population.FIRST) // population.MINUTE, -1)
            found = np.empty(len(few), np.int64)
            walk = self._walk(few, chosen, found)
            walk()
            require_equal(expected, found, f"sweep against scan under {chosen}")
            seconds.append(min(timed(walk) for _ in range(3)))
        return float(np.mean(seconds)) / rows.size * len(self.book)

    def _walk(self, few: Book, rules: Rules, found: np.ndarray) -> Callable[[], None]:
        table = rules.applied(self.venue).contract("BTCUSDT").tables[0]
        funding = market_arrays.funding_of(self.market, [self.venue.contract("BTCUSDT")])
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
            book = intended("book", self.book, self.history, self.venue, grid)
            for number, rules in enumerate(grid.rules()):
                frame = evaluate(self.history, book, self.venue, rules=rules, grid=grid)
                cells.finish(str(number), frame.write_parquet)
            return time.perf_counter() - began

    def command(self, grid: Grid) -> float:
        """Return how long the command takes on a grid, in a process of its own."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.market.bars.write_parquet(folder / "bars.parquet")
            self.market.funding.write_parquet(folder / "funding.parquet")
            self.book.positions.write_parquet(folder / "positions.parquet")
            axes = {
                "caps": ["none" if cap is None else cap for cap in grid.caps],
                "rate_scales": list(grid.rate_scales),
                "fills": list(grid.fills),
                "responses": list(grid.responses),
                "liquidation_fees": list(grid.liquidation_fees),
                "funds": list(grid.funds),
            }
            lists = "\n".join(f"{axis} = {json.dumps(values)}" for axis, values in axes.items())
            (folder / "grid.toml").write_text(f"{GRID}\n[grid]\n{lists}\n")
            words = [
                sys.executable,
                "-m",
                "backtest",
                "policy",
                str(folder / "grid.toml"),
                "--out",
                str(folder / "out"),
            ]
            return timed(lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL))

    def small(self, grid: Grid) -> Intended:
        return intended("few", Book(self.book.positions.head(1_000)), self.history, self.venue, grid)


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
