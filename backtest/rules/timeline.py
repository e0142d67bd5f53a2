"""Tier table of a position, by the time of its entry.

Tables are dated. ``"strict"`` uses the table in force at the entry and refuses positions opened when none was.
``"nearest"`` takes the table nearest in time instead, and a mapping names a substitute table for a symbol; results
then report "tiers of DATE, not in force".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from backtest.errors import ArgumentError
from backtest.kernel.types import Integers
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.arguments import checked

Tiers = str | Mapping[str, str]

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
    raise ArgumentError(f"tiers must be 'strict', 'nearest' or table names by symbol, is {tiers!r}")


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
