"""A book larger than memory: its rate beside one batch in memory, its peak memory, and where its time goes.

    python benchmarks/scale.py                         # 20 million positions, about two minutes
    python benchmarks/scale.py --positions 200000000 --write

Writes several gigabytes under ``--folder`` and removes them afterwards.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import population
from tables import Table, machine, require_equal, write

from backtest import Book, Market, Venue, scale, sweep, tiers_used
from backtest.rules.contract import Contract
from backtest.scale.kernel_jobs import sweeps
from backtest.scale.worker import COMPRESSION
from backtest.study.partial_sums.outcomes import coarsen, condense, condense_ends, pulses_of

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
ROWS_A_FILE = 4_000_000
REPEATS = 3
ABOUT = (
    f"{len(SYMBOLS)} symbols, a year of minutes, files of {ROWS_A_FILE:,} positions. One batch in memory is one "
    "file, read, swept and written by one process with both cores, which holds its market and adds up nothing; "
    "its row is the median of runs before and after the others. Batches are timed from the call to its return, "
    "with reading the list of files, comparing ids, starting workers and merging sums. Cores busy are CPU seconds "
    "a second. The peak is that of all processes together, with shared memory counted in each. The stages are "
    "shares of the workers' time."
)
STAGES = ("read", "sweep", "sums", "write")


def main() -> None:
    """Make the files, time one batch and the whole, and write the table."""
    options = arguments()
    where = machine()
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=options.folder))
    try:
        isolated(make, folder, options.positions)
        isolated(sweeps)
        table = Table(
            f"Books larger than memory ({options.positions:,} positions)",
            *("how", "positions a second", "ratio", "CPU seconds a million", "cores busy", "peak GB", *STAGES),
            about=ABOUT,
        )
        before = isolated(one_batch, folder)
        runs = {name: isolated(run, folder) for name, run in ways(options).items()}
        after = isolated(one_batch, folder)
        one = {name: before[0][name] + after[0][name] for name in before[0]}
        rate = ROWS_A_FILE / median(one["one batch in memory"]).wall
        for name, rounds in one.items():
            table.add(name, *median(rounds).cells(rate, max(before[1], after[1])))
        for name, (timed, peak) in runs.items():
            table.add(f"{name}, {timed.wall:.0f} s", *timed.cells(rate, peak))
        if options.write:
            write([table], where)
    finally:
        shutil.rmtree(folder)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=20_000_000)
    parser.add_argument("--batch-rows", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--ways", default="workers", help="of: workers, serial, cluster")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    return parser.parse_args()


class Timed(NamedTuple):
    """How long some positions took: seconds, of all CPUs, and of each stage."""

    positions: int
    wall: float
    cpu: float
    stages: dict[str, float]

    def cells(self, rate: float, peak: float) -> list[str]:
        """Return a row of the table, beside a rate."""
        own, total = self.positions / self.wall, sum(self.stages.values())
        numbers = f"{own:,.0f}", f"{own / rate:.2f}", f"{self.cpu * 1e6 / self.positions:.2f}"
        shares = [f"{self.stages.get(stage, 0.0) / total:.0%}" for stage in STAGES]
        return [*numbers, f"{self.cpu / self.wall:.1f}", f"{peak:.2f}", *shares]


def ways(options: argparse.Namespace) -> dict[str, Callable[[Path], Timed]]:
    """Return how the whole book is swept, by name."""
    every = {"workers": "two workers", "serial": "one process", "cluster": "dask, two workers"}
    return {every[name]: Run(name, options.batch_rows) for name in options.ways.split(",")}


class Run:
    """The sweep of the whole book in one way."""

    def __init__(self, way: str, batch_rows: int) -> None:
        self.way, self.batch_rows = way, batch_rows

    def __call__(self, folder: Path) -> Timed:
        """Return how long it took."""
        prices = scale.Prices(str(folder / "bars.parquet"), str(folder / "funding.parquet"), gap_limit=None)
        makers = {"serial": scale.Serial, "workers": lambda: scale.Processes(2)}
        makers["cluster"] = lambda: scale.Cluster("local", 2)
        executor = makers[self.way]()
        began, used = time.perf_counter(), cpu_seconds()
        result = scale.sweep(
            folder / "positions",
            prices,
            venue(),
            folder / "out",
            batch_rows=self.batch_rows,
            executor=executor,
            report=lambda at: print(f"\r{at.done:,} {at.seconds_left:.0f} s left ", end="", flush=True),
        )
        timed = Timed(result.positions, time.perf_counter() - began, cpu_seconds() - used, dict(result.seconds))
        require_same(folder)
        shutil.rmtree(folder / "out")
        return timed


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of those it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def make(folder: Path, count: int) -> None:
    """Write bars, funding and positions of several symbols, a file at a time."""
    (folder / "positions").mkdir()
    markets = {symbol: population.market(seed=population.SEED + number) for number, symbol in enumerate(SYMBOLS)}
    for kind in ("bars", "funding"):
        frames = [getattr(market, kind).with_columns(symbol=pl.lit(name)) for name, market in markets.items()]
        pl.concat(frames).write_parquet(folder / f"{kind}.parquet")
    for number, first in enumerate(range(0, count, ROWS_A_FILE)):
        rows = min(ROWS_A_FILE, count - first)
        symbol = SYMBOLS[first * len(SYMBOLS) // count]
        held = population.positions(markets[symbol], rows, ordered=True, seed=number)
        named = held.with_columns(pl.lit(symbol).alias("symbol"), pl.col("position_id") + first)
        named.write_parquet(folder / "positions" / f"{number:03d}.parquet")


def venue() -> Venue:
    """Return ten tiers for every symbol."""
    (table,) = population.binance().contracts["BTCUSDT"].tables
    contracts = {symbol: Contract(symbol=symbol, tables=(table,)) for symbol in SYMBOLS}
    return Venue(name="ten", title="Ten tiers", contracts=contracts)


def market_of_first(folder: Path) -> Market:
    own = pl.col("symbol") == SYMBOLS[0]
    bars, funding = (
        pl.scan_parquet(folder / f"{kind}.parquet").filter(own).collect() for kind in ("bars", "funding")
    )
    return Market(bars, funding, gap_limit=None)


def one_batch(folder: Path) -> dict[str, list[Timed]]:
    """Return rounds of one batch in memory: as it is, written as batches are, and adding up what they do."""
    market = market_of_first(folder)
    settings: dict[str, Any] = {
        "one batch in memory": {},
        "the same, written as in batches": COMPRESSION,
        "the same, with the same sums": COMPRESSION,
    }
    rounds: dict[str, list[Timed]] = {name: [] for name in settings}
    for repeat in range(REPEATS + 1):
        for name, setting in settings.items():
            began = time.process_time()
            times = [time.perf_counter()]
            book = Book(pl.read_parquet(folder / "positions" / "000.parquet").rechunk())
            times.append(time.perf_counter())
            outcomes = sweep(book, market, venue())
            times.append(time.perf_counter())
            outcomes.write_parquet(folder / "one.parquet", **setting)
            times.append(time.perf_counter())
            if name.endswith("sums"):
                add_up(book, market, outcomes)
            times.append(time.perf_counter())
            if repeat:  # the first finds kernels and files cold
                stages = dict(zip(("read", "sweep", "write", "sums"), np.diff(times).tolist(), strict=True))
                used = time.process_time() - began
                rounds[name].append(Timed(len(book), times[-1] - times[0], used, stages))
    return rounds


def add_up(book: Book, market: Market, outcomes: pl.DataFrame) -> None:
    """Make the sums that a batch leaves."""
    stamps = condense(outcomes, None)
    coarsen(stamps, "1h"), pulses_of(stamps), tiers_used(book, market, venue())
    condense_ends(outcomes, market)


def median(rounds: list[Timed]) -> Timed:
    """Return the round of median length."""
    return sorted(rounds, key=lambda found: found.wall)[len(rounds) // 2]


def require_same(folder: Path) -> None:
    """Stop unless the outcomes of the first file are those of one batch in memory."""
    book = Book(pl.read_parquet(folder / "positions" / "000.parquet").rechunk())
    theirs = sweep(book, market_of_first(folder), venue())
    ours = pl.scan_parquet(folder / "out" / "outcomes" / "00000-*.parquet").collect()
    for name in theirs.columns:
        same = ours[name].eq_missing(theirs[name]).to_numpy()
        require_equal(same, np.ones_like(same), name)


def isolated(function: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """Call a function in a process of its own; return its result and the peak memory of all its processes, GB."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=answer, args=(theirs, function, given))
    process.start()
    theirs.close()
    watch = Watch(process.pid)
    try:
        result = ours.recv()
    except EOFError:
        sys.exit(f"{function} failed")
    process.join()
    return result, watch.stop()


def answer(connection: Any, function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    connection.send(function(*given))
    connection.close()


class Watch(threading.Thread):
    """The most memory that a process and its descendants hold together, looked at ten times a second."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            self.most = max(self.most, sum(resident(pid) for pid in family(self.pid)))

    def stop(self) -> float:
        self.ended.set()
        return self.most / 1e9


def family(pid: int | None) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(pid or 0), *(found for child in children for found in family(int(child)))]


def resident(pid: int) -> int:
    """Return the bytes of memory a process holds; what it shares with others is counted in each."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    main()
