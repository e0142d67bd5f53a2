"""A venue as the text of a venue file, every rule under a comment of what it means: a file to begin from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime, timedelta

from backtest.rules.contract import Contract
from backtest.rules.releases import Releases
from backtest.rules.scaffold.fields import Field, toml, venue_fields
from backtest.rules.settings import Provenance
from backtest.rules.tiers import ALWAYS_FROM, ALWAYS_UNTIL, TierTable
from backtest.rules.venue import Venue
from backtest.rules.venue_file import CONTRACT_RULES, VENUE_RULES

DAY = timedelta(days=1)
USUAL = {item.name: item for item in fields(TierTable)}


def venue_text_of(venue: Venue, *, name: str, title: str, releases: str | None = None) -> str:
    """Return a venue file with the rules of a venue, under another name.

    Parameters
    ----------
    venue
        The venue, whose imported tables are left out: they join the venue of their name alone.
    name, title
        Those of the new file.
    releases
        File of tables beside the venue's file, where it has one.

    Returns
    -------
    str
        A file that :meth:`Venue.load` reads back to the same rules.
    """
    listed = venue.contracts.listed if isinstance(venue.contracts, Releases) else venue.contracts
    shared = shared_contract(venue, list(listed.values()))
    alias = venue.contracts.alias if isinstance(venue.contracts, Releases) else ""
    head = [
        f"# A venue file with the rules of {venue.title}. docs/venue_file.md explains every field;",
        "# backtest venues FILE prints the rules as they are applied.",
        "",
        f"name = {toml(name)}",
        f"title = {toml(title)}",
        *([f"settlement = {toml(venue.settlement)}"] if venue.settlement else []),
        *([f"releases = {toml(releases)}"] if releases else []),
        *([f"alias = {toml(alias)}"] if alias else []),
        *(["unknown = [", *(f"  {toml(each)}," for each in venue.unknown), "]"] if venue.unknown else []),
        *([f"note = {toml(venue.note)}"] if venue.note else []),
    ]
    rules = {rule: getattr(shared, rule) for rule in CONTRACT_RULES}
    rules |= {rule: getattr(venue, rule) for rule in VENUE_RULES}
    blocks = ["\n".join(head), "\n".join(["[rules]", *_rules("rules", "", rules, venue)])]
    for section, made in (("cross", venue.cross), ("procedure", venue.procedure)):
        own = {field.name: getattr(made, field.name) for field in venue_fields() if field.section == section}
        blocks.append("\n".join([f"[{section}]", *_rules(section, f"{section}.", own, venue)]))
    for symbol, contract in listed.items():
        blocks += _contract(symbol, contract, shared, venue)
    if venue.default is not None and venue.default.symbol in listed:
        blocks.append(f"[default]\nlike = {toml(venue.default.symbol)}")
    elif venue.default is not None and not _for_all(venue, listed):
        blocks += _contract("default", venue.default, shared, venue)
    return "\n\n".join(blocks) + "\n"


def shared_contract(venue: Venue, listed: list[Contract]) -> Contract:
    """Return a contract whose rules are those of the venue: one that overrides none, where there is one."""
    changed = {path.split(".")[1] for path in venue.provenance if path.startswith("contracts.")}
    plain = [contract for contract in listed if contract.symbol not in changed]
    found = next(iter([*plain, *listed]), venue.default)
    return found if found is not None else next(iter(venue.contracts.values()))


def _for_all(venue: Venue, listed: Mapping[str, Contract]) -> bool:
    """Whether the rules of every symbol are those of a listed contract."""
    default = venue.default
    return default is not None and any(own.tables == default.tables for own in listed.values())


def _rules(section: str, prefix: str, values: dict[str, object], venue: Venue) -> Iterator[str]:
    """Yield each rule under its meaning; those that are at their default and have no source as a comment."""
    for field in venue_fields():
        if field.section != section or field.name not in values:
            continue
        value, source = values[field.name], venue.provenance.get(f"{prefix}{field.name}")
        written = toml(value)
        yield f"# {_meaning(field)}"
        if written == "no limit":
            yield f"# {field.name} = {field.example}"
        elif source is None and written == field.default:
            yield f"# {field.name} = {written}"
        else:
            yield f"{field.name} = {_sourced(written, source)}"


def _meaning(field: Field) -> str:
    unit = f" ({field.unit})" if field.unit else ""
    choices = f" One of {', '.join(field.choices)}." if field.choices else ""
    return f"{field.meaning}{unit}{choices}"


def _sourced(written: str, source: Provenance | None) -> str:
    """Return a rule with its source, where it has one."""
    if source is None or not source.source:
        return written
    parts = {"source": source.source, "date": source.date, "confidence": source.confidence}
    given = ", ".join(f"{name} = {toml(value)}" for name, value in parts.items() if value)
    return f"{{ value = {written}, {given} }}"


def _contract(symbol: str, contract: Contract, shared: Contract, venue: Venue) -> Iterator[str]:
    path = f"contracts.{symbol if symbol.replace('_', '').replace('-', '').isalnum() else toml(symbol)}"
    path = "default" if symbol == "default" else path
    lines = [f"[{path}]"]
    if venue.default is not None and venue.default.symbol == "all" and contract.tables == venue.default.tables:
        lines.append('symbols = "all"')
    for name in ("settlement", "note"):
        lines += [f"{name} = {toml(getattr(contract, name))}"] if getattr(contract, name) else []
    for rule in CONTRACT_RULES:
        source = venue.provenance.get(f"contracts.{symbol}.{rule}")
        if source is not None or getattr(contract, rule) != getattr(shared, rule):
            lines.append(f"{rule} = {_sourced(toml(getattr(contract, rule)), source)}")
    yield "\n".join(lines)
    for table in contract.tables:
        yield "\n".join([f"[[{path}.tables]]", *_table(table)])


def _table(table: TierTable) -> Iterator[str]:
    yield f"name = {toml(table.name)}"
    defaults = {
        "model": "marginal",
        "size": "notional",
        "contract_size": 1.0,
        "boundary": "lower",
        "rate_factor": 0.0,
    }
    for name, default in defaults.items():
        if getattr(table, name) != default:
            yield f"{name} = {toml(getattr(table, name))}"
    if table.cap < float("inf"):
        yield f"cap = {toml(float(table.cap))}"
    yield from _dates(table)
    for name in ("source", "confidence", "note"):
        if getattr(table, name) and getattr(table, name) != "unknown":
            yield f"{name} = {toml(getattr(table, name))}"
    if not table.by_size:
        yield f"rows = [{{ max_leverage = {toml(float(table.max_leverages[0]))} }}]"
        return
    yield "rows = ["
    assert table.amounts is not None  # filled in by the table
    for floor, rate, amount, leverage in zip(
        table.floors, table.rates, table.amounts, table.max_leverages, strict=True
    ):
        row = {"floor": floor, "rate": rate}
        row |= {"amount": amount} if table.model == "marginal" else {}
        row |= {"max_leverage": leverage} if leverage < float("inf") else {}
        yield f"  {{ {', '.join(f'{name} = {toml(float(value))}' for name, value in row.items())} }},"
    yield "]"


def _dates(table: TierTable) -> Iterator[str]:
    """Yield when a table was in force: as announced, by the days of its copies, always, or not at all."""
    if table.dated == "always":
        yield 'in_force = "always"'
    elif table.dated == "announced":
        yield from [f"from = {toml(table.start)}"] if table.start > ALWAYS_FROM else []
        yield from [f"until = {toml(table.end)}"] if table.end < ALWAYS_UNTIL else []
    elif table.dated == "seen":
        last = table.end - DAY if _midnight(table.end) else table.start
        yield f"seen = [{table.start:%Y-%m-%d}, {last:%Y-%m-%d}]"
        yield from [] if _midnight(table.start) else [f"from = {toml(table.start)}"]
        yield from [] if _midnight(table.end) else [f"until = {toml(table.end)}"]


def _midnight(moment: datetime) -> bool:
    return (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)
