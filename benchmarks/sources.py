"""What reading and fetching archives costs: a year of one-minute klines, a file a month, of fifty symbols.

Run ``python benchmarks/sources.py``; ``--symbols 5`` for a short one. First the rows that come out are compared
with the rows that went in; then every file is unzipped, read, tidied and stored in one thread under a profiler,
which tells whose time it is: the package's own Python, or that of polars, zlib, hashlib and the disk. Last,
archives of several sizes are fetched over HTTP from this machine, each by a process of its own, for time and peak
memory.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from datetime import UTC, date, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

import backtest
from backtest.market import sources
from backtest.market.sources import store
from backtest.market.sources.archives import Period, Series, path_of
from backtest.market.sources.formats import delimited
from backtest.market.sources.reader import READERS

MINUTE = 60_000
MONTHS = [Period.month(date(2021, month, 1)) for month in range(1, 13)]
DISTINCT = 4  # symbols with prices of their own; the others' files hold the same
OWN = str(Path(backtest.__file__).parent)
NOW = datetime(2022, 3, 1, tzinfo=UTC)
#: What the package may take of the time of reading and storing.
ALLOWED = 0.2


def klines(period: Period, seed: int) -> pl.DataFrame:
    """Return a month of klines as an archive writes them: twelve columns, two decimals."""
    rng = np.random.default_rng([seed, period.first.month])
    count = len(period.days) * 1440
    close = np.round(40_000 * np.exp(np.cumsum(rng.normal(0, 0.0008, count))), 2)
    opening = np.concatenate([close[:1], close[:-1]])
    first = int(datetime(period.first.year, period.first.month, 1, tzinfo=UTC).timestamp() * 1000)
    times = first + MINUTE * np.arange(count)
    volume = np.round(rng.exponential(50, count), 3)
    return pl.DataFrame(
        {
            "open_time": times,
            "open": opening,
            "high": np.round(np.maximum(opening, close) + rng.exponential(10, count), 2),
            "low": np.round(np.minimum(opening, close) - rng.exponential(10, count), 2),
            "close": close,
            "volume": volume,
            "close_time": times + MINUTE - 1,
            "quote_volume": np.round(volume * close, 5),
            "count": rng.integers(1, 5_000, count),
            "taker_buy_volume": np.round(volume / 2, 3),
            "taker_buy_quote_volume": np.round(volume * close / 2, 5),
            "ignore": 0,
        }
    )


def series(symbols: int) -> list[Series]:
    """Return the series of so many symbols."""
    return [Series("binance", "last", f"S{number:02d}USDT", "1m") for number in range(symbols)]


def make_archive(folder: Path, wanted: list[Series]) -> int:
    """Write the files and checksums of an archive, and return the size of the text in them."""
    size = 0
    for period in MONTHS:
        made: dict[int, Path] = {}
        for number, own in enumerate(wanted):
            path = folder / path_of(own, period)
            path.parent.mkdir(parents=True, exist_ok=True)
            if number < DISTINCT:
                written = klines(period, number).write_csv()
                with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                    archive.writestr(f"{path.stem}.csv", written)
                made[number] = path
                size += len(written) * len(wanted[number::DISTINCT])
            else:
                os.link(made[number % DISTINCT], path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return size


def require_right_rows(folder: Path, own: Series) -> None:
    """Compare what is read with what was written."""
    for period in MONTHS[:2]:
        wrote = klines(period, 0)
        reading = sources.read(folder / path_of(own, period), "klines")
        prices = reading.rows.select("open", "high", "low", "close", "volume", "taker_buy_volume")
        assert_frame_equal(prices, wrote.select(prices.columns))
        assert reading.rows["time"].dt.epoch("ms").equals(wrote["open_time"].rename("time"))
        assert not reading.repairs


def read_and_store(archive: Path, folder: Path, wanted: list[Series]) -> None:
    """Read and store every file of the archive, one after the other."""
    for own in wanted:
        for period in MONTHS:
            path = archive / path_of(own, period)
            reading = READERS[own.archive.kind](delimited.unpacked(path), path)
            store.write(folder, own, str(period), "month", reading.rows)


def profiled(archive: Path, folder: Path, wanted: list[Series]) -> tuple[float, float, list[tuple[float, str]]]:
    """Return seconds, the share of the package's own code in them, and what took the most."""
    profile = cProfile.Profile()
    profile.runcall(read_and_store, archive, folder, wanted)
    entries = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    times = {place: row[2] for place, row in entries.items()}
    total = sum(times.values())
    own = sum(seconds for (file, _, _), seconds in times.items() if file.startswith(OWN))
    most = sorted(
        ((seconds, f"{Path(file).name}:{name}") for (file, _, name), seconds in times.items()), reverse=True
    )
    return total, own / total, most[:6]


def fetched(address: str, symbols: int) -> dict[str, float]:
    """Fetch an archive in a process of its own, and return its seconds and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--fetch", address, "--folder", folder, "--symbols", str(symbols)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def fetch(address: str, folder: Path, symbols: int) -> None:
    """Fetch, and print what it took."""
    settings = sources.Settings(folder=folder, hosts={"binance-archive": address}, now=NOW)
    names = [own.symbol for own in series(symbols)]
    began = time.perf_counter()
    found = sources.fetch("binance", "last", names, "2021-01-01", "2022-01-01", settings=settings)
    seconds = time.perf_counter() - began
    assert len(found.files) == 12 * symbols
    assert {file.outcome for file in found.files} == {"fetched"}
    again = time.perf_counter()
    sources.fetch("binance", "last", names, "2021-01-01", "2022-01-01", settings=settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "again": time.perf_counter() - again, "peak": peak}))


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Make an archive, read it, fetch it, and print a table of what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--fetch", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fetch:
        fetch(options.fetch, options.folder, options.symbols)
        return
    wanted = series(options.symbols)
    with tempfile.TemporaryDirectory() as name:
        archive, folder = Path(name) / "archive", Path(name) / "data"
        size = make_archive(archive, wanted)
        require_right_rows(archive, wanted[0])
        report_reading(archive, folder, wanted, size)
        report_fetching(archive, options.symbols)


def report_reading(archive: Path, folder: Path, wanted: list[Series], size: int) -> None:
    """Print what reading and storing took, and whose time it was."""
    files, rows = len(wanted) * 12, len(wanted) * 525_600
    seconds, share, most = profiled(archive, folder, wanted)
    packed = sum(path.stat().st_size for path in archive.rglob("*.zip"))
    stored = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    assert share < ALLOWED
    print(f"read and stored, one thread: {files:,} files, {rows:,} bars in {seconds:.1f} s under the profiler")
    print(
        f"  {1e3 * seconds / files:.1f} ms a file; text {size / 1e6:,.0f} MB, zip {packed / 1e6:,.0f} MB, ", end=""
    )
    print(f"Parquet {stored / 1e6:,.0f} MB")
    print(f"  the package's own code: {100 * share:.2f} % of the time (allowed: {100 * ALLOWED:.0f} %)")
    for spent, what in most:
        print(f"  {100 * spent / seconds:5.1f} %  {what}")


def report_fetching(archive: Path, symbols: int) -> None:
    """Print what fetching took, for several sizes of the archive."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archive)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    print("fetched over HTTP from this machine, six at a time, checksums verified:")
    print("  files  seconds  ms a file  second call s  peak MB")
    for count in sorted({max(1, symbols // 10), max(1, symbols // 3), symbols}):
        told = fetched(address, count)
        each = 1e3 * told["seconds"] / (12 * count)
        print(
            f"  {12 * count:5,}  {told['seconds']:7.1f}  {each:9.1f}  {told['again']:13.2f}  {told['peak']:7,.0f}"
        )
    server.shutdown()


if __name__ == "__main__":
    main()
