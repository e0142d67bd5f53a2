"""``backtest sweep``: the outcome of each position, as one file."""

from __future__ import annotations

from argparse import Namespace
from glob import has_magic
from pathlib import Path

from backtest.cli.common import assumptions, summary_file, tables
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.input_warnings import with_price_warnings
from backtest.cli.common.inputs import input_hashes, read_book, read_conventions, read_market
from backtest.cli.common.options import FILES
from backtest.cli.common.outputs import Later, outputs
from backtest.cli.common.progress import Clock
from backtest.cli.common.swept import Swept, one_currency
from backtest.cli.common.text import facts, paragraph
from backtest.cli.sweep import accounts, batches
from backtest.engine.sweep.sweep import sweep_with_tiers
from backtest.errors import ArgumentError


def run(options: Namespace) -> None:
    """Sweep the given positions or accounts and write their outcomes and a summary."""
    if options.accounts is not None and options.positions is None:
        if batches.is_requested(options):
            raise ArgumentError(
                "--batch-rows, --workers, --cluster, --storage and --no-outcomes are for positions"
            )
        accounts.run(options)
        return
    require_positions(options)
    if batches.is_requested(options):
        batches.run(options)
        return
    _require_no_folder(options.positions)
    clock = Clock()
    venue, conventions = read_venue(options), read_conventions(options)
    hashes = Later(lambda: input_hashes(options))
    with clock.stage("prices"):
        market = read_market(options)
    one_currency(venue, market.symbols)
    with clock.stage("positions"):
        book = read_book(options, market, venue, conventions)
    with clock.stage("sweep"), with_price_warnings(book, market, given=True):
        outcomes, used = sweep_with_tiers(book, market, venue, conventions=conventions, threads=options.threads)
    swept = Swept(market, venue, book, outcomes, used, synthetic=False)
    with outputs(options.out) as files:
        with clock.stage("files"):
            files.write_parquet("outcomes.parquet", outcomes)
            record = summary_file.summary(options, swept, conventions.tiers, clock, hashes)
            files.settle()
        files.write_summary({**record, "seconds": clock.rounded})
    print(tables.counts(swept))
    print(f"\n{paragraph(f'{tables.headline(swept)} {tables.caveats(swept)}')}\n")
    named = [
        *((f"tiers {symbol}", text) for symbol, text in assumptions.tiers(used)),
        ("prices", assumptions.prices(market, venue)),
        ("gaps", assumptions.gaps(market)),
        *(("warning", text) for text in swept.warnings),
        ("written", ", ".join(str(path) for path in files.written)),
        ("seconds", str(clock)),
    ]
    print(facts(named, indent=""))


def _require_no_folder(positions: Path | str) -> None:
    """Refuse a folder, a pattern and an address of positions outside a sweep in batches."""
    if isinstance(positions, Path) and positions.is_dir():
        what = "a folder: add --batch-rows N to sweep its files in batches"
    elif isinstance(positions, str):
        what = "an address of object storage: add --batch-rows N to sweep it in batches"
    elif has_magic(str(positions)) and not positions.exists():
        what = "a pattern: add --batch-rows N to sweep the files it fits in batches"
    else:
        return
    raise ArgumentError(f"--positions {positions} is {what}")


def require_positions(options: Namespace) -> None:
    """Refuse options of accounts together with positions, and the absence of both."""
    if options.positions is None:
        raise ArgumentError("--positions or --accounts must be given")
    for name in (*FILES, "convention", "profit", "hedged", "procedure"):
        if getattr(options, name):
            raise ArgumentError(f"--{name} is for accounts in cross margin: --positions gives isolated positions")
