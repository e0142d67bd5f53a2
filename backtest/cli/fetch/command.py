"""``backtest fetch``: real prices, funding and open interest, checked and kept."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from backtest.amounts import plural, timestamp
from backtest.cli.common.outputs import outputs, require_folder
from backtest.cli.common.progress import ERASE_LINE
from backtest.cli.fetch import report
from backtest.cli.fetch.report import PRICES, Asked
from backtest.errors import ArgumentError, FetchError
from backtest.market.sources import data_folder, datasets, history, plan
from backtest.market.sources.fetcher import Settings, all_series, fetch_series

DATA = ("mark", "last", "funding")


def run(options: Namespace) -> None:
    """Fetch, and print what came, what had to be put right, and what is missing."""
    settings = _settings(options)
    if options.start >= settings.now:
        raise ArgumentError(f"--from must lie in the past, is {timestamp(options.start)}")
    span = plan.Span(options.start, options.end or settings.now)
    usual = tuple(name for name in DATA if name in datasets(options.venue))
    data = tuple(options.data or usual or DATA)
    wanted = all_series(options.venue, data, options.symbol, options.interval)
    asked = Asked(options.venue, data, tuple(options.symbol), span, options.interval, settings)
    if options.out is not None:
        require_folder(options.out)
        if not set(data) & set(PRICES):
            raise ArgumentError(f"--out needs prices among the data: {', '.join(PRICES)}")
    fetched = fetch_series(wanted, span, settings)
    _erase()
    found = report.quality_of(asked, fetched)
    blocks = [
        report.files(fetched, wanted),
        report.absent(fetched),
        report.repairs(fetched, wanted),
        found.text,
    ]
    print("\n\n".join(block for block in blocks if block))
    print(f"\nIn {settings.folder}")
    if fetched.failures:
        first = fetched.failures[0]
        raise FetchError(
            f"{len(fetched.failures):,} of {plural(len(fetched.files), 'file')} could not be had, the next call "
            f"tries again; first {first.series} {first.period or 'recent'}: {first.entry.note}"
        )
    if options.out is not None:
        print(f"Written: {', '.join(map(str, _write(options.out, asked, found.frame)))}")


def _settings(options: Namespace) -> Settings:
    return Settings(
        folder=options.folder or data_folder(),
        hosts=dict(options.host),
        refresh=options.refresh,
        with_recent=options.recent,
        offline=options.offline,
        parallel=options.parallel,
        now=datetime.now(UTC),
        progress=_progress,
        waiting=lambda: print("waiting for another fetch into this folder to end", file=sys.stderr),
    )


def _progress(done: int, total: int, received: int) -> None:
    """Tell how far it is, on a terminal only."""
    if sys.stderr.isatty():
        told = f"fetching: {done:,} of {plural(total, 'file')}, {received / 1e6:,.1f} MB"
        print(f"{ERASE_LINE}{told}", end="", file=sys.stderr, flush=True)


def _erase() -> None:
    if sys.stderr.isatty():
        print(ERASE_LINE, end="", file=sys.stderr, flush=True)


def _write(folder: Path, asked: Asked, found: pl.DataFrame) -> list[Path]:
    """Write bars and funding as `backtest run` reads them, and the quality report."""
    names = {"metrics": "open_interest"}
    also = [names.get(name, name) for name in asked.data]
    market = asked.market(asked.symbols, tuple(name for name in also if name in history.ALSO))
    with outputs(folder) as files:
        market.bars.write_parquet(files.path("bars.parquet"))
        if market.funding is not None:
            market.funding.write_parquet(files.path("funding.parquet"))
        found.write_parquet(files.path("quality.parquet"))
    return files.written
