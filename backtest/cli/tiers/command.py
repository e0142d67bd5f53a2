"""``backtest tiers``: tables by venue and symbol, their changes, and imports."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import polars as pl

from backtest.cli.common.text import table
from backtest.cli.common.tier_tables import imported, one_table, tiers
from backtest.cli.tiers.changes import changes
from backtest.errors import ArgumentError
from backtest.rules.imported import imported_file, tiers_folder
from backtest.rules.releases import ReleaseFile, Releases
from backtest.rules.rule_files import venue_files
from backtest.rules.tier_import.importing import import_tiers
from backtest.rules.timeline import table_at
from backtest.rules.venue import Venue

#: Imported tables that are named; more are counted.
MOST_ROWS = 40


def run(options: Namespace) -> None:
    """Do what is asked for."""
    {"list": _list, "show": _show, "diff": _diff, "import": _import}[options.action](options)


def _list(options: Namespace) -> None:
    """Print the venues with what they carry, or the imported tables of one."""
    if options.venue is not None:
        print(_imported_tables(Venue.load(options.venue)))
        return
    bundled = list(venue_files())
    own = sorted(path.stem for path in tiers_folder().glob("*.parquet") if path.stem not in bundled)
    rows = [[*_carried(name), *_imported(name)] for name in bundled]
    rows += [[name, "", "", *_imported(name)] for name in own]
    header = ["venue", "symbols\ncarried", "tables\ncarried", "symbols\nimported", "tables\nimported", "seen"]
    print(f"{table(header, rows, left=1)}\n\nImported tables: {tiers_folder()}")


def _carried(name: str) -> list[str]:
    """Return a venue with its symbols and tables, imported ones left out."""
    contracts = Venue.load(name).contracts
    if not isinstance(contracts, Releases):
        return [name, f"{len(contracts):,}", f"{sum(len(own.tables) for own in contracts.values()):,}"]
    files = [file for file in contracts.files if not file.replaces]
    released = {symbol for file in files for symbol in file.spans} - set(contracts.listed)
    without = replace(contracts, files=tuple(files))
    tables = sum(len(without[symbol].tables) for symbol in contracts.listed)
    for file in files:
        own = file.tables.select("symbol", "first_seen", "last_seen").unique()
        tables += own.filter(pl.col("symbol").is_in(list(released))).height
    return [name, f"{len(contracts.listed) + len(released):,}", f"{tables:,}"]


def _imported(name: str) -> list[str]:
    path = imported_file(name)
    if path is None:
        return ["", "", ""]
    rows = ReleaseFile.read(path).tables
    first, last = rows["first_seen"].sort()[0], rows["last_seen"].sort()[-1]
    tables = rows.select("symbol", "table").unique().height
    return [f"{rows['symbol'].n_unique():,}", f"{tables:,}", f"{first}" if first == last else f"{first} to {last}"]


def _imported_tables(venue: Venue) -> str:
    path = imported_file(venue.name)
    if path is None:
        return f"No tables are imported for {venue.name}: backtest tiers import FILE --venue {venue.name}"
    rows = ReleaseFile.read(path).tables
    keys = ["symbol", "table", "first_seen", "last_seen", "source"]
    found = rows.group_by(keys, maintain_order=True).len()
    shown = [
        [
            row["symbol"],
            row["table"],
            f"{row['first_seen']}",
            f"{row['last_seen']}",
            row["source"],
            f"{row['len']}",
        ]
        for row in found.head(MOST_ROWS).iter_rows(named=True)
    ]
    more = found.height - len(shown)
    text = table(["symbol", "table", "first seen", "last seen", "source", "tiers"], shown, left=5)
    return f"{text}\n{f'and {more:,} more, ' if more > 0 else ''}in {path}"


def _show(options: Namespace) -> None:
    contract = Venue.load(options.venue).contract(options.symbol)
    if options.at is None:
        print(tiers(contract))
        return
    found, source = table_at(contract, options.at, options.tiers)
    print(one_table(contract, found))
    print(f"\nAt {options.at:%Y-%m-%d %H:%M} UTC: {source}")


def _diff(options: Namespace) -> None:
    contract = Venue.load(options.venue).contract(options.symbol)
    print(changes(contract, options.start, options.end))


def _import(options: Namespace) -> None:
    sizes = {}
    for symbol, size in options.contract_size:
        try:
            sizes[symbol] = float(size)
        except ValueError:
            sizes[symbol] = 0.0
        if not 0 < sizes[symbol] < float("inf"):
            raise ArgumentError(
                f"must be SYMBOL=SIZE with a size above zero, is {symbol}={size}", argument="contract_sizes"
            )
    found = import_tiers(
        options.file,
        options.venue,
        date=None if options.date is None else options.date.date(),
        symbol=options.symbol,
        name=options.name,
        model=options.model,
        contract_sizes=sizes,
    )
    print(imported(found))
