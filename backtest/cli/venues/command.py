"""``backtest venues``: the bundled venues, and every rule of one with its source."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterable, Iterator

from backtest.amounts import NOTHING, column, day, number
from backtest.cli.common.text import facts, paragraph, table
from backtest.rules.contract import Contract
from backtest.rules.tiers import ALWAYS_FROM, ALWAYS_UNTIL, TierTable
from backtest.rules.venue import Venue, venue_files
from backtest.rules.venue_file import VENUE_RULES


def run(options: Namespace) -> None:
    """Print all venues, or one with all its rules."""
    if options.name is None:
        print(listing())
        print("\nbacktest venues NAME prints every rule of a venue with its source, and what is not known.")
        return
    venue = Venue.load(options.name)
    if options.symbol is None:
        print(described(venue))
    else:
        print(tiers(venue.contract(options.symbol)))


def listing() -> str:
    """Return the bundled venues, one per line."""
    header = ["name", "title", "contracts", "kind", "basis", "tiers", "tables", "in force"]
    rows = []
    for name in venue_files():
        venue = Venue.load(name)
        tables = [own for contract in venue.contracts.values() for own in contract.tables]
        rows.append(
            [
                name,
                venue.title,
                ", ".join([*venue.contracts, *(["others"] if venue.default is not None else [])]),
                _every(contract.kind for contract in venue.contracts.values()),
                _every(contract.basis for contract in venue.contracts.values()),
                _every(own.model for own in tables),
                f"{len(tables)}",
                _span(tables),
            ]
        )
    return table(header, rows, left=6)


def _span(tables: list[TierTable]) -> str:
    """Return the first day that any table is known for, and the last."""
    first, last = min(own.start for own in tables), max(own.end for own in tables)
    if first <= ALWAYS_FROM:
        return "always"
    return f"from {day(first)}" if last >= ALWAYS_UNTIL else f"{day(first)} to {day(last)}"


def _currencies(venue: Venue) -> str:
    """Return the settlement currency of the venue, and the contracts with another."""
    others = [f"{symbol} in {own.settlement}" for symbol, own in venue.contracts.items() if own.settlement]
    return ", ".join([venue.settlement or "an unknown currency", *others])


def described(venue: Venue) -> str:
    """Return a venue's rules with their sources, its tables, and what is not known."""
    blocks = [f"{venue.title} ({venue.name}), settled in {_currencies(venue)}"]
    if venue.note:
        blocks.append(paragraph(venue.note))
    blocks.append(f"Rules\n{facts(_rules(venue))}")
    blocks.append(f"Tier tables\n{_tables(venue)}")
    if venue.default is not None:
        blocks.append(_others(venue, venue.default))
    if venue.unknown:
        blocks.append("Not known\n" + facts(("-", sentence) for sentence in venue.unknown))
    blocks.append(f"backtest venues {venue.name} --symbol SYMBOL prints every tier of a contract.")
    return "\n\n".join(blocks)


def _others(venue: Venue, default: Contract) -> str:
    """Return whose rules symbols that are not listed have."""
    if default.symbol in venue.contracts:
        return f"Symbols that are not listed use the rules of {default.symbol}, as a substitute."
    return "One set of rules is stated for every symbol."


def tiers(contract: Contract) -> str:
    """Return every tier of every table of a contract."""
    return "\n\n".join(f"{_name(contract, own)}\n{_rows(own)}" for own in contract.tables)


def _rules(venue: Venue) -> Iterator[tuple[str, str]]:
    """Yield each rule with its value and source; a contract's own after the venue's."""
    shared = next(iter(venue.contracts.values()), venue.default)
    for path, source in venue.provenance.items():
        *owner, rule = path.split(".")
        if owner == ["cross"]:
            value = getattr(venue.cross, rule)
            value = ", ".join(value) if rule == "steps" else value
        elif owner == ["procedure"]:
            value = getattr(venue.procedure, rule)
        elif owner:
            value = getattr(venue.contracts[owner[-1]], rule) if owner[-1] in venue.contracts else ""
        else:
            value = getattr(venue if rule in VENUE_RULES else shared, rule)
        read = ", ".join(part for part in (source.source, source.date, source.confidence) if part)
        yield path.replace("contracts.", ""), f"{value}  [{read}]"


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
    for symbol, contract in venue.contracts.items():
        for own in contract.tables:
            keyed = not own.by_size
            limit = float(own.max_leverages.max())
            rows.append(
                [
                    symbol,
                    own.name,
                    own.model,
                    own.period,
                    f"{len(own)}",
                    NOTHING if keyed else f"{100 * own.rates.min():.4g}",
                    NOTHING if keyed else f"{100 * own.rates.max():.4g}",
                    f"{limit:g}x" if math.isfinite(limit) else "unknown",
                    f"{own.cap:,.10g}" if math.isfinite(own.cap) else "no limit",
                ]
            )
    return table(header, rows, left=4)


def _rows(own: TierTable) -> str:
    if not own.by_size:
        return (
            f"  rate        {own.rate_factor:g} of the initial rate 1 / leverage, up to {own.max_leverages[0]:g}x"
        )
    unit = "notional from" if own.size == "notional" else "contracts from"
    ends = [*own.floors[1:], own.cap]
    amounts = column([0.0] * len(own) if own.amounts is None else [float(amount) for amount in own.amounts])
    rows = [
        [
            number(floor),
            number(end) if math.isfinite(end) else "no limit",
            f"{100 * rate:.6g}",
            amount,
            f"{leverage:g}" if math.isfinite(leverage) else "unknown",
        ]
        for floor, end, rate, amount, leverage in zip(
            own.floors, ends, own.rates, amounts, own.max_leverages, strict=True
        )
    ]
    return table([unit, "up to", "rate %", "less", "highest leverage"], rows, left=0)


def _name(contract: Contract, own: TierTable) -> str:
    sources = facts(
        (name, value)
        for name, value in (("source", own.source), ("confidence", own.confidence), ("note", own.note))
        if value
    )
    return f"{contract.symbol}, table {own.name}, {own.model}, {own.period}\n{sources}"


def _every(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))
