"""``backtest venues``: the bundled venues, and every rule of one with its source."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from backtest.amounts import NOTHING, day, plain
from backtest.cli.common.text import facts, paragraph, table
from backtest.cli.common.tier_tables import tiers
from backtest.errors import ArgumentError
from backtest.rules.contract import Contract
from backtest.rules.releases import Releases
from backtest.rules.rule_files import rule_files, venue_files
from backtest.rules.scaffold.fields import venue_fields
from backtest.rules.scaffold.writer import shared_contract, venue_text_of
from backtest.rules.tiers import ALWAYS_FROM, ALWAYS_UNTIL, TierTable
from backtest.rules.venue import Venue

#: Takes the place of a venue's name where a file is to be written.
NEW = "new"


def run(options: Namespace) -> None:
    """Print all venues, or one with all its rules."""
    if options.name is None:
        print(listing())
        print("\nbacktest venues NAME prints every rule of a venue with its source, and what is not known.")
        return
    if options.name == NEW:
        print(_written(options.file, options.like or "binance"))
        return
    if options.file is not None or options.like is not None:
        raise ArgumentError("FILE and --like are of `backtest venues new`: see backtest venues --help")
    venue = Venue.load(options.name)
    if options.symbol is None:
        print(described(venue, options.name))
    else:
        print(tiers(venue.contract(options.symbol)))


def _written(path: Path | None, like: str) -> str:
    """Write a venue file with the rules of another, and return what to do with it."""
    if path is None:
        raise ArgumentError("venues new needs a FILE to write")
    if path.exists():
        raise ArgumentError(f"exists already: {path} is not overwritten", argument="file")
    venue = Venue.load(like)
    tables = [file.name for file in rule_files(like).values() if file.suffix == ".parquet"]
    beside = [file for name, file in rule_files(like).items() if file.suffix == ".parquet"]
    releases = None
    if isinstance(venue.contracts, Releases) and any(not file.replaces for file in venue.contracts.files):
        releases = tables[0] if like in venue_files() else str(beside[0].resolve())
    text = venue_text_of(venue, name=path.stem, title=f"{venue.title}, changed", releases=releases)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return f"{path}: the rules of {venue.title}\nbacktest venues {path} prints them as they are applied."


def listing() -> str:
    """Return the bundled venues, one per line."""
    header = ["name", "title", "contracts", "kind", "basis", "tiers", "tables", "in force"]
    rows = []
    for name in venue_files():
        venue = Venue.load(name)
        contracts = _printed(venue)
        tables = [own for contract in contracts for own in contract.tables]
        released = _released(venue)
        rows.append(
            [
                name,
                venue.title,
                ", ".join(_symbols(venue)),
                _every(contract.kind for contract in contracts),
                _every(contract.basis for contract in contracts),
                _every(own.model for own in tables),
                f"{len(tables) + released.height:,}",
                _span(tables),
            ]
        )
    return table(header, rows, left=6)


def _printed(venue: Venue) -> list[Contract]:
    """Return the contracts whose tables are printed: those the venue's file lists."""
    listed = venue.contracts.listed if isinstance(venue.contracts, Releases) else venue.contracts
    return [venue.contract(symbol) for symbol in listed]


def _released(venue: Venue) -> pl.DataFrame:
    """Return the tables of the contracts that only a file of tables lists."""
    if not isinstance(venue.contracts, Releases):
        return pl.DataFrame(schema={"symbol": pl.String})
    own = list(venue.contracts.listed)
    return venue.contracts.released.filter(~pl.col("symbol").is_in(own))


def _symbols(venue: Venue) -> list[str]:
    """Return the symbols of the venue's file, and how many there are beside them."""
    printed = [contract.symbol for contract in _printed(venue)]
    more = _released(venue)["symbol"].n_unique()
    others = [f"{more:,} others"] if more else ["others"] if venue.default is not None else []
    return [*printed, *others]


def _span(tables: list[TierTable]) -> str:
    """Return the first day that any table is known for, and the last."""
    first, last = min(own.start for own in tables), max(own.end for own in tables)
    if first <= ALWAYS_FROM:
        return "always"
    return f"from {day(first)}" if last >= ALWAYS_UNTIL else f"{day(first)} to {day(last)}"


def _currencies(venue: Venue) -> str:
    """Return the settlement currency of the venue, and the contracts with another."""
    others = [f"{own.symbol} in {own.settlement}" for own in _printed(venue) if own.settlement]
    return ", ".join([venue.settlement or "an unknown currency", *others])


def described(venue: Venue, given: str) -> str:
    """Return a venue's rules with their sources, its tables, and what is not known; ``given`` is its name."""
    blocks = [f"{venue.title} ({venue.name}), settled in {_currencies(venue)}"]
    if venue.note:
        blocks.append(paragraph(venue.note))
    blocks.append(f"Rules\n{facts(_rules(venue))}")
    blocks.append(f"Tier tables\n{_tables(venue)}")
    if released := _of_others(_released(venue)):
        blocks.append(released)
    if venue.default is not None:
        blocks.append(_others(venue, venue.default))
    if venue.unknown:
        blocks.append("Not known\n" + facts(("-", sentence) for sentence in venue.unknown))
    blocks.append(f"backtest venues {given} --symbol SYMBOL prints every tier of a contract.")
    return "\n\n".join(blocks)


def _of_others(released: pl.DataFrame) -> str:
    """Return how many symbols a file of tables lists besides, and the days it covers."""
    if released.is_empty():
        return ""
    first, last = released["first_seen"].sort()[0], released["last_seen"].sort()[-1]
    return paragraph(
        f"Tables of {released['symbol'].n_unique():,} other symbols: {released.height:,}, seen {first} to {last}. "
        "Between two tables that differ neither is known to be in force."
    )


def _others(venue: Venue, default: Contract) -> str:
    """Return whose rules symbols that are not listed have."""
    if default.symbol in venue.contracts:
        return f"Symbols that are not listed use the rules of {default.symbol}, as a substitute."
    return "One set of rules is stated for every symbol."


def _rules(venue: Venue) -> Iterator[tuple[str, str]]:
    """Yield each rule as it is applied, with its source; a contract's own after the venue's."""
    shared = shared_contract(venue, _printed(venue))
    owners = {"rules": (venue, shared), "cross": (venue.cross,), "procedure": (venue.procedure,)}
    for field in venue_fields():
        if field.section in owners:
            owner = next(own for own in owners[field.section] if hasattr(own, field.name))
            path = field.name if field.section == "rules" else f"{field.section}.{field.name}"
            yield path, f"{_value(getattr(owner, field.name))}  [{_source(venue, path)}]"
    for path in venue.provenance:
        if path.startswith(("contracts.", "default.")):
            *_, symbol, rule = path.split(".")
            own = venue.contracts.get(symbol, venue.default)
            yield path.removeprefix("contracts."), f"{_value(getattr(own, rule))}  [{_source(venue, path)}]"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return plain(value) if math.isfinite(value) else "no limit"
    return str(value)


def _source(venue: Venue, path: str) -> str:
    """Return where a rule was read; a rule that the file leaves out is at its default."""
    source = venue.provenance.get(path)
    if source is None:
        return "default: not in the file"
    read = ", ".join(part for part in (source.source, source.date, source.confidence) if part)
    return read if source.source else "no source stated"


def _tables(venue: Venue) -> str:
    header = [
        "contract",
        "table",
        "model",
        "in force",
        "tiers",
        "lowest\nrate %",
        "highest\nrate %",
        "highest\nleverage",
        "covers up to",
    ]
    rows = []
    for contract in _printed(venue):
        for own in contract.tables:
            keyed = not own.by_size
            limit = float(own.max_leverages.max())
            rows.append(
                [
                    contract.symbol,
                    own.name,
                    own.model,
                    own.period,
                    f"{len(own)}",
                    NOTHING if keyed else plain(100 * own.rates.min(), 4),
                    NOTHING if keyed else plain(100 * own.rates.max(), 4),
                    f"{plain(limit)}x" if math.isfinite(limit) else "unknown",
                    plain(own.cap) if math.isfinite(own.cap) else "no limit",
                ]
            )
    return table(header, rows, left=4)


def _every(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))
