"""Tier table of a position, by the time of its entry.

Tables are dated. ``"strict"`` uses the table in force at the entry and refuses positions opened when none was.
``"nearest"`` takes the table nearest in time instead; the name of a table takes it wherever a symbol has one of
that name, and a mapping names a substitute table for a symbol. Results then report "tiers of DATE, not in force".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from backtest.errors import ArgumentError, TiersError
from backtest.kernel.types import Integers
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.arguments import checked, meant

Tiers = str | Mapping[str, str]

#: Choices of tables by time alone.
RULES = ("strict", "nearest")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_ALL = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Timeline:
    """The tables of one contract as intervals that cover all time."""

    starts: Integers  #: (n,) ms; interval i runs to starts[i + 1], the first is open at its start
    tables: tuple[TierTable | None, ...]  #: (n,) None where no table applies


@checked
def timeline(contract: Contract, tiers: Tiers = "strict") -> Timeline:
    """Return the table that applies in each period.

    Parameters
    ----------
    contract
        The contract and its dated tables.
    tiers : "strict", "nearest", or table names by symbol
        Rule for periods without a table in force. Symbols that a mapping does not name are strict.

    Raises
    ------
    ArgumentError
        For any other choice.
    RulesError
        Where a substitute table does not exist.
    """
    if isinstance(tiers, Mapping):
        substitute = tiers.get(contract.symbol)
        if substitute is not None:
            return Timeline(np.array([BEFORE_ALL]), (contract.table(substitute),))
        return _dated(contract)
    if tiers == "strict":
        return _dated(contract)
    if tiers == "nearest":
        return _nearest(contract)
    raise ArgumentError(f"must be 'strict', 'nearest' or table names by symbol, is {tiers!r}", argument="tiers")


def by_symbol(tiers: Tiers, contracts: Sequence[Contract]) -> Tiers:
    """Return the name of a table as a mapping of the symbols that have it; any other choice as it is.

    Raises
    ------
    ArgumentError
        Where none of the contracts has a table of that name.
    """
    if not isinstance(tiers, str) or tiers in RULES:
        return tiers
    having = {each.symbol: tiers for each in contracts if any(table.name == tiers for table in each.tables)}
    if not having:
        listed = "; ".join(f"{each.symbol}: {', '.join(t.name for t in each.tables)}" for each in contracts)
        names = {table.name for each in contracts for table in each.tables}
        raise ArgumentError(
            f"must be strict, nearest or the name of a table, is {tiers!r}{meant(tiers, {*RULES, *names})} "
            f"(tables of {listed})",
            argument="tiers",
        )
    return having


def of_symbols(tiers: Tiers, symbols: Collection[str]) -> Tiers:
    """Return the choice for some symbols alone."""
    return tiers if isinstance(tiers, str) else {symbol: tiers[symbol] for symbol in tiers if symbol in symbols}


def not_in_force(sentence: str, contract: Contract) -> TiersError:
    """Return the refusal of positions opened when no table was in force, with the tables there are."""
    return TiersError(
        f"{sentence}; the tables of {contract.symbol} are {contract.dated_tables}: take the nearest, or one by "
        "its name",
        remedies=(("tiers", "nearest"), ("tiers", contract.tables[-1].name)),
    )


def milliseconds(moment: datetime) -> int:
    """Return a moment as UTC milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _dated(contract: Contract) -> Timeline:
    starts: list[int] = [BEFORE_ALL]
    tables: list[TierTable | None] = [None]
    for table in contract.tables:
        start, end = milliseconds(table.start), milliseconds(table.end)
        if starts[-1] == start:
            tables[-1] = table
        else:
            starts.append(start)
            tables.append(table)
        starts.append(end)
        tables.append(None)
    return Timeline(np.array(starts, np.int64), tuple(tables))


def _nearest(contract: Contract) -> Timeline:
    """Each gap between two tables is shared at its middle; the earlier table has the middle itself."""
    starts: list[int] = [BEFORE_ALL]
    tables: list[TierTable | None] = [contract.tables[0]]
    for before, after in zip(contract.tables, contract.tables[1:], strict=False):
        end, start = milliseconds(before.end), milliseconds(after.start)
        starts.append(start if end >= start else (end + start) // 2 + 1)
        tables.append(after)
    return Timeline(np.array(starts, np.int64), tuple(tables))
