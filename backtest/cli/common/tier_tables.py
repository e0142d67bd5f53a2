"""Tier tables as text: every tier of a table, under its name, period and source; what an import has added."""

from __future__ import annotations

import math

from backtest.amounts import column, number, plain, plural
from backtest.cli.common.text import facts, table
from backtest.rules.contract import Contract
from backtest.rules.tier_import.importing import Imported
from backtest.rules.tiers import TierTable

#: Symbols that are named; more are counted.
MOST_NAMED = 8


def tiers(contract: Contract) -> str:
    """Return every tier of every table of a contract."""
    return "\n\n".join(one_table(contract, own) for own in contract.tables)


def one_table(contract: Contract, own: TierTable) -> str:
    """Return every tier of a table, under its name, period and source."""
    return f"{_name(contract, own)}\n{_rows(own)}"


def _rows(own: TierTable) -> str:
    if not own.by_size:
        factor, limit = plain(own.rate_factor), plain(own.max_leverages[0])
        return f"  rate        {factor} of the initial rate 1 / leverage, up to {limit}x"
    unit = "notional from" if own.size == "notional" else "contracts from"
    ends = [*own.floors[1:], own.cap]
    amounts = column([0.0] * len(own) if own.amounts is None else [float(amount) for amount in own.amounts])
    rows = [
        [
            number(floor),
            number(end) if math.isfinite(end) else "no limit",
            plain(100 * rate, 6),
            amount,
            plain(leverage) if math.isfinite(leverage) else "unknown",
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


def imported(found: Imported) -> str:
    """Return what an import has added, and what it left out."""
    named = [
        ("format", found.format),
        ("seen", f"{found.day}"),
        ("imported", f"{plural(len(found.symbols), 'symbol')} of {found.venue}: {_names(found.symbols)}"),
        ("changed", f"{len(found.new):,}" + (f": {_names(found.new)}" if found.new else "")),
        *(("left out", f"{len(names):,} {reason}: {_names(names)}") for reason, names in found.left_out.items()),
        ("written", f"{found.path}"),
    ]
    return facts(named, indent="")


def _names(symbols: tuple[str, ...]) -> str:
    more = len(symbols) - MOST_NAMED
    return ", ".join(symbols[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
