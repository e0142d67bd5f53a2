"""Time the sweep beside what people use instead, after checking that the answers are equal.

``python benchmarks/run.py`` prints the tables; ``--write`` puts them into ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import population
import rivals
from tables import Table, in_turns, machine, require_equal, write

from backtest import Book, Market, Venue, sweep
from backtest.engine import market_arrays, outcomes
from backtest.engine.conventions import USUAL
from backtest.engine.sweep import admission
from backtest.engine.sweep.prepare import prepare
from backtest.kernel.arrays import Outcomes
from backtest.kernel.sweep import passive
from backtest.kernel.threads import in_chunks, thread_count
from backtest.kernel.types import readonly

ABOUT = """The population is fixed (`population.py`): a random walk of a year of minutes at 80 % volatility with
funding every eight hours. Positions enter at opens in its first third with leverage 2 to 8 times; 80 % are
liquidated, after 92,000 bars on average.

- "The bare scan" walks along one precomputed column until a number is low enough. It knows neither tiers nor
  prices; no loop can be faster.
- "The formula scan" evaluates the margin formula in each bar, which gives the same answer as the full kernel.
- "The memory stream" reads and writes the same arrays as the kernel and does nothing else.

Both scans are compiled and stop at the first hit. They are timed on sampled positions, and their time is
divided by the number of threads given to ours."""
SAMPLE = 10_000  # positions a scan is timed on; its time a position does not depend on how many there are
MILLION = 1_000_000


class Case:
    """A market, a book and a venue, prepared for the kernels to be called directly."""

    def __init__(self, market: Market, venue: Venue, count: int, *, ordered: bool) -> None:
        self.market, self.venue, self.count = market, venue, count
        self.frame = population.positions(market, count, ordered=ordered)
        self.prepared = prepare(Book(self.frame), market, venue, USUAL)
        admitted = admission.admit(Book(self.frame), self.prepared, "error", None)
        self.positions = admitted.positions
        self.forest = market_arrays.forest_of(
            market, self.prepared.bars, self.prepared.funding, self.prepared.rules, admitted.used, "mark"
        )
        self.out = Outcomes(**outcomes.empty(Outcomes._fields, count, grown=0))

    def full(self, threads: int) -> None:
        """Run the full kernel."""
        shared = (self.prepared.bars, self.prepared.funding, self.prepared.rules.rules, self.forest)

        def run(begin: int, stop: int) -> None:
            passive.cross(*shared, self.positions, False, passive.scratch(), self.out, begin, stop)

        in_chunks(run, self.count, threads)

    def full_stream(self, threads: int) -> None:
        """Touch the full kernel's arrays."""

        def run(begin: int, stop: int) -> None:
            rivals.full_stream(self.positions, self.out, begin, stop)

        in_chunks(run, self.count, threads)

    def hits(self) -> np.ndarray:
        """Return the bar of each liquidation the full kernel found, -1 for none."""
        bars = (self.out.time - population.FIRST) // population.MINUTE
        return np.where(self.out.outcome == 0, bars, -1)

    def scanned(self, rows: np.ndarray) -> tuple[Callable[[], object], np.ndarray]:
        """Return the formula scan of some positions, and where it writes the bars it finds."""
        bars, funding, rules = self.prepared.bars, self.prepared.funding, self.prepared.rules.rules
        held = self.frame[rows]
        price, quantity = held["entry_price"].to_numpy(), held["quantity"].to_numpy()
        margin = (quantity * price) / held["leverage"].to_numpy()
        side = 1.0 - 2.0 * held["side"].to_physical().to_numpy()
        starts = (held["entry_time"].to_physical().to_numpy() - population.FIRST) // population.MINUTE
        sums = funding.cumulative[funding.charged]
        found = np.empty(rows.size, np.int64)
        return (
            lambda: rivals.full_scan(
                bars.low, bars.high, sums, rules.rate, rules.amount, side, quantity, price, margin, starts,
                sums[starts], found,
            ),
            found,
        )  # fmt: skip


class Queries:
    """The searches of a case alone: one tree a side, a start and a limit a position."""

    def __init__(self, case: Case) -> None:
        bars, funding = case.prepared.bars, case.prepared.funding
        rate = case.prepared.rules.rules.rate[0]
        sums = funding.cumulative[funding.charged]
        self.values = np.stack([(1 - rate) * bars.low - sums, (-1 - rate) * bars.high + sums])
        held = case.frame
        side = 1.0 - 2.0 * held["side"].to_physical().to_numpy()
        price, quantity = held["entry_price"].to_numpy(), held["quantity"].to_numpy()
        margin = (quantity * price) / held["leverage"].to_numpy()
        times = held["entry_time"].to_physical().to_numpy()
        self.starts = readonly((times - population.FIRST) // population.MINUTE)
        signed = side * quantity
        self.limits = readonly((-margin + signed * price - signed * sums[self.starts]) / quantity)
        self.trees = readonly((side < 0).astype(np.int64))
        self.forest = market_arrays._plant(case.market, [(row, 0.0) for row in self.values], [0, 0])
        self.found = np.empty(case.count, np.int64)

    def run(self, threads: int) -> None:
        """Search for every position."""
        self._chunked(
            lambda part: rivals.query(
                self.forest, self.trees[part], self.starts[part], self.limits[part], self.values.shape[1],
                self.found[part],
            ),
            threads,
        )  # fmt: skip

    def stream(self, threads: int) -> None:
        """Touch the arrays of every search."""
        self._chunked(
            lambda part: rivals.query_stream(
                self.trees[part], self.starts[part], self.limits[part], self.found[part]
            ),
            threads,
        )

    def _chunked(self, run: Callable[[slice], object], threads: int) -> None:
        in_chunks(lambda begin, stop: run(slice(begin, stop)), self.found.size, threads)


def bench_query(counts: list[int]) -> Table:
    table = Table(
        "The search alone (one tier, 525,600 bars)",
        "positions", "order", "threads", "ours, ns", "million a second", "times the memory stream",
        "times faster than the bare scan", "than numpy slices", about=ABOUT,
    )  # fmt: skip
    market = population.market()
    for count in counts:
        for ordered in (True, False):
            queries = Queries(Case(market, population.one_tier(), count, ordered=ordered))
            rows = np.random.default_rng(0).integers(0, count, SAMPLE)
            args = queries.trees[rows], queries.starts[rows], queries.limits[rows]
            scanned = np.empty(SAMPLE, np.int64)
            queries.run(1)
            rivals.query_scan(queries.values, *args, scanned)
            require_equal(queries.found[rows], scanned, "search against scan")
            few = tuple(column[:500] for column in args)
            require_equal(queries.found[rows[:500]], rivals.numpy_slices(queries.values, *few), "numpy slices")
            for threads in sorted({1, thread_count(None)}):
                ours, stream, scan, slices = in_turns(
                    lambda: queries.run(threads),
                    lambda: queries.stream(threads),
                    lambda: rivals.query_scan(queries.values, *args, scanned),
                    lambda: rivals.numpy_slices(queries.values, *few),
                )
                each, scan_each, slices_each = ours / count, scan / SAMPLE / threads, slices / 500 / threads
                table.add(
                    f"{count:,}", "by entry" if ordered else "random", threads, f"{each * 1e9:.0f}",
                    f"{1e-6 / each:.0f}", f"{ours / stream:.1f}", f"{scan_each / each:,.0f}",
                    f"{slices_each / each:,.0f}",
                )  # fmt: skip
    return table


def bench_full(counts: list[int]) -> Table:
    table = Table(
        "The full kernel: bar, prices, fill, funding, money (525,600 bars)",
        "positions", "tiers", "order", "threads", "ours, ns", "times the memory stream",
        "times faster than the formula scan", "than the bare scan", "sweep frame to frame, s", "times the kernel",
    )  # fmt: skip
    market = population.market()
    for count in counts:
        for name, venue in (("1", population.one_tier()), ("10", population.binance())):
            for ordered in (True, False):
                case = Case(market, venue, count, ordered=ordered)
                rows = np.random.default_rng(0).integers(0, count, SAMPLE // 5)
                scan, found = case.scanned(rows)
                case.full(1)
                scan()
                require_equal(case.hits()[rows], found, "full kernel against the formula scan")
                queries = Queries(case)
                args = queries.trees[rows], queries.starts[rows], queries.limits[rows]
                bare = np.empty(rows.size, np.int64)
                frame_job = lambda: sweep(Book(case.frame), market, venue, threads=threads)  # noqa: E731
                for threads in sorted({1, thread_count(None)}):
                    ours, stream, formula, plain, frames = in_turns(
                        lambda: case.full(threads),
                        lambda: case.full_stream(threads),
                        scan,
                        lambda: rivals.query_scan(queries.values, *args, bare),
                        frame_job,
                        repeats=3,
                    )
                    each = ours / count
                    table.add(
                        f"{count:,}", name, "by entry" if ordered else "random", threads, f"{each * 1e9:.0f}",
                        f"{ours / stream:.1f}", f"{formula / rows.size / threads / each:,.0f}",
                        f"{plain / rows.size / threads / each:,.0f}", f"{frames:.2f}", f"{frames / ours:.1f}",
                    )  # fmt: skip
    return table


def bench_length(count: int) -> Table:
    table = Table("Sixteen times the bars (full kernel, one thread, by entry)", "bars", "ns a position", "ratio")
    cases = [
        Case(population.market(bars), population.one_tier(), count, ordered=True)
        for bars in (population.YEAR // 16, population.YEAR, population.YEAR * 16)
    ]
    times = in_turns(*(lambda case=case: case.full(1) for case in cases))
    for case, taken, before in zip(cases, times, [None, *times], strict=False):
        bars = case.market.bars.height
        table.add(f"{bars:,}", f"{taken / count * 1e9:.0f}", f"{taken / before:.2f}" if before else "")
    return table


def bench_libraries() -> Table:
    table = Table(
        "Beside libraries (43,200 bars without funding, all cores each)",
        "method", "positions", "microseconds a position", "times our search alone", "times our sweep",
        about="Methods whose time grows with the square of the input are timed on few positions, ours on a "
        "million.",
    )  # fmt: skip
    market, venue = Market(population.market(43_200).bars), population.one_tier()
    many, few = (Case(market, venue, count, ordered=True) for count in (MILLION, 2_000))
    searched, queries = Queries(many), Queries(few)
    args = queries.trees, queries.starts, queries.limits
    scanned = np.empty(few.count, np.int64)
    few.full(1)
    queries.run(1)
    ours: dict[str, Callable[[], Any]] = {
        "this package: search alone": lambda: searched.run(thread_count(None)),
        "this package: sweep, frame to frame": lambda: sweep(Book(many.frame), market, venue),
    }
    others: dict[str, Callable[[], Any]] = {
        "compiled early-exit scan (one thread)": lambda: rivals.query_scan(queries.values, *args, scanned),
        "numpy slice and argmax (one thread)": lambda: rivals.numpy_slices(queries.values, *args),
        "polars join_where and min": lambda: rivals.polars_join(queries.values, *args),
    }
    for number, (method, job) in enumerate(others.items()):
        found = job()
        require_equal(queries.found, scanned if number == 0 else found, method)
    require_equal(queries.found, few.hits(), "search against full kernel")
    stops = rivals.vectorbt_stops()
    if stops is not None:
        others["vectorbt generate_ohlc_stop_ex_nb"] = vectorbt_job(stops, few)
    times = in_turns(*ours.values(), *others.values(), repeats=3)
    counts = [many.count] * len(ours) + [few.count] * len(others)
    each = [taken / count for taken, count in zip(times, counts, strict=True)]
    for method, count, one in zip([*ours, *others], counts, each, strict=True):
        ratios = [f"{one / each[number]:,.{1 if one < 10 * each[number] else 0}f}" for number in (0, 1)]
        table.add(method, f"{count:,}", f"{one * 1e6:.3g}", *ratios)
    return table


def vectorbt_job(stops: Any, case: Case) -> Callable[[], Any]:
    """Return vectorbt's stop exits at the same distances, after checking that they are the same bars."""
    bars, side = case.prepared.bars, case.frame["side"].to_physical().to_numpy()
    entries = (case.frame["entry_time"].to_physical().to_numpy() - population.FIRST) // population.MINUTE
    close = case.market.prices("mark", "close")
    distance = np.abs(case.out.liquidation_price / case.frame["entry_price"].to_numpy() - 1.0)
    series = [column[:, None] for column in (case.prepared.bars.open, bars.high, bars.low, close)]
    jobs = []
    for short in (False, True):
        own = np.flatnonzero(side == int(short))
        flags = np.zeros((close.size, own.size), np.bool_)
        flags[entries[own], np.arange(own.size)] = True
        arguments = (flags, *series, np.nan, np.full((1, 1), -1), distance[own][None, :])
        jobs.append(lambda given=arguments, short=short: stops(
            given[0], given[1], given[2], given[3], given[4], np.full(given[0].shape, np.nan),
            np.full(given[0].shape, -1), given[7], False, np.nan, short, True, 0, True, False, True, True,
        ))  # fmt: skip
        exits = jobs[-1]()
        require_equal(case.hits()[own], np.where(exits.any(axis=0), exits.argmax(axis=0), -1), "vectorbt")
    return lambda: [job() for job in jobs]


def bench_memory(count: int) -> Table:
    table = Table("Memory beyond the inputs, outcomes included", "positions", "tiers", "bytes a position")
    for tiers in ("1", "10"):
        command = [sys.executable, __file__, "--memory", str(count), tiers]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        table.add(f"{count:,}", tiers, f"{float(told):.0f}")
    return table


def measure_memory(count: int, tiers: str) -> float:
    """Return the rise of this process's peak memory over its inputs, a position."""
    market = population.market()
    venue = population.one_tier() if tiers == "1" else population.binance()
    sweep(Book(population.positions(market, 10_000, ordered=True)), market, venue)  # compile, and touch the trees
    frame = population.positions(market, count, ordered=True)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    outcomes = sweep(Book(frame), market, venue)
    rise = resident("VmHWM") - before
    assert outcomes.height == count
    return rise * 1024 / count


def resident(name: str) -> int:
    """Return a figure of this process's memory, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])


def main() -> None:
    """Run the benchmarks asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--only", nargs="+", choices=["query", "full", "length", "libraries", "memory"])
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory:
        print(measure_memory(int(asked.memory[0]), asked.memory[1]))
        return
    counts = [int(count) for count in asked.positions]
    jobs = {
        "query": lambda: bench_query(counts),
        "full": lambda: bench_full(counts),
        "length": lambda: bench_length(MILLION),
        "libraries": bench_libraries,
        "memory": lambda: bench_memory(max(counts)),
    }
    where = machine()
    print(where)
    tables = [job() for name, job in jobs.items() if not asked.only or name in asked.only]
    if asked.write:
        write(tables, where)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
