"""``backtest fetch``: download of prices, funding and open interest, with checks."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from backtest.amounts import plural, timestamp
from backtest.cli.common import summary_file
from backtest.cli.common.outputs import outputs
from backtest.cli.common.progress import ERASE_LINE
from backtest.cli.common.tier_tables import imported
from backtest.cli.fetch import report
from backtest.cli.fetch.report import PRICES, Request
from backtest.errors import ArgumentError, DataError, FetchError
from backtest.market.sources import data_folder, datasets, history, plan
from backtest.market.sources.archives import HOSTS
from backtest.market.sources.fetcher import Settings, all_series, fetch_series
from backtest.market.sources.http import Client
from backtest.market.sources.tier_answers import QUESTIONS, contract_size, fetch_tiers
from backtest.rules.rule_files import venue_files
from backtest.rules.tier_import.importing import import_tiers

DATA = ("mark", "last", "funding")

#: Takes the place of a venue where tiers are fetched.
TIERS = "tiers"


def run(options: Namespace) -> None:
    """Fetch, and print what was downloaded, what was repaired, and what is missing."""
    settings = _settings(options)
    if options.venue == TIERS:
        _fetch_tiers(options, settings)
        return
    if not options.symbol or options.start is None:
        missing = "--from" if options.symbol else "--symbol"
        raise ArgumentError(f"fetch {options.venue} needs {missing}")
    if options.start >= settings.now:
        raise ArgumentError(f"--from must lie in the past, is {timestamp(options.start)}")
    span = plan.Span(options.start, options.end or settings.now)
    usual = tuple(name for name in DATA if name in datasets(options.venue))
    data = tuple(options.data or usual or DATA)
    series = all_series(options.venue, data, options.symbol, options.interval)
    request = Request(options.venue, data, tuple(options.symbol), span, options.interval, settings)
    if options.out is not None and not set(data) & set(PRICES):
        raise ArgumentError(f"--out needs prices among the data: {', '.join(PRICES)}")
    fetched = fetch_series(series, span, settings)
    _erase()
    found = report.quality_of(request, fetched)
    blocks = [
        report.files(fetched, series),
        report.absent(fetched),
        report.repairs(fetched, series),
        found.text,
    ]
    print("\n\n".join(block for block in blocks if block))
    print(f"\nIn {settings.folder}")
    if fetched.failures:
        first = fetched.failures[0]
        raise FetchError(
            f"{len(fetched.failures):,} of {plural(len(fetched.files), 'file')} could not be downloaded; run "
            f"the command "
            f"again to retry; first {first.series} {first.period or 'recent'}: {first.entry.note}"
        )
    damaged = [file for file in fetched.files if file.entry.status == "damaged"]
    try:
        if options.out is not None:
            print(f"Written: {', '.join(map(str, _write(options, request, found.frame)))}")
    except DataError:  # nothing is stored of a series whose files are damaged
        if not damaged:
            raise
    if damaged:
        raise FetchError(
            f"{len(damaged):,} of {plural(len(fetched.files), 'file')} cannot be used as the venue serves them; "
            f"first {damaged[0].series} {damaged[0].period}: {damaged[0].entry.note}"
        )


def _fetch_tiers(options: Namespace, settings: Settings) -> None:
    """Fetch a venue's tiers of today, and import them where the venue is bundled."""
    if settings.offline:
        raise ArgumentError("fetch tiers asks the venue, which --offline forbids")
    if len(options.data) != 1:
        raise ArgumentError(f"fetch tiers needs one venue: {', '.join(QUESTIONS)}")
    (venue,) = options.data
    symbols = tuple(options.symbol or ())
    client = Client(settings.patience, {*HOSTS.values(), *settings.hosts.values()})
    answers = fetch_tiers(venue, symbols, settings.folder, settings.now, settings.hosts, client)
    for number, path in enumerate(answers):
        if venue not in venue_files():
            print(f"{path}\nbacktest tiers import {path} --venue FILE --date {settings.now:%Y-%m-%d}")
            continue
        sizes = {symbols[number]: contract_size(symbols[number], settings.hosts, client)} if venue == "okx" else {}
        print(imported(import_tiers(path, venue, date=settings.now.date(), contract_sizes=sizes)))


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
    """Print the progress on a terminal."""
    if sys.stderr.isatty():
        line = f"fetching: {done:,} of {plural(total, 'file')}, {received / 1e6:,.1f} MB"
        print(f"{ERASE_LINE}{line}", end="", file=sys.stderr, flush=True)


def _erase() -> None:
    if sys.stderr.isatty():
        print(ERASE_LINE, end="", file=sys.stderr, flush=True)


def _write(options: Namespace, request: Request, found: pl.DataFrame) -> list[Path]:
    """Write bars and funding as `backtest run` reads them, the quality report and a summary."""
    names = {"metrics": "open_interest"}
    also = [names.get(name, name) for name in request.data]
    market = request.market(request.symbols, tuple(name for name in also if name in history.ALSO))
    with outputs(options.out) as files:
        market.bars.write_parquet(files.path("bars.parquet"))
        if market.funding is not None:
            market.funding.write_parquet(files.path("funding.parquet"))
        found.write_parquet(files.path("quality.parquet"))
        files.write_summary({**summary_file.request(options), "prices": repr(market)})
    return files.written
