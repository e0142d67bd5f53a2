"""Tier table of a position, by the time of its entry.

Tables are dated: by the venue's announcement (``from``, ``until``), or by copies of the table that show it on some
days (``seen``). Between the last day that shows one table and the first that shows another, neither is known to be
in force. ``"strict"`` refuses positions opened then; the other rules choose one of the two. The name of a table
takes it wherever a symbol has one of that name, and a mapping names a substitute table for a symbol.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from backtest.errors import ArgumentError, TiersError
from backtest.kernel.types import Integers
from backtest.rules.contract import Contract
from backtest.rules.strictest import stricter
from backtest.rules.tiers import DATED, TierTable
from backtest.schemas.arguments import checked
from backtest.schemas.conversion import meant

Tiers = str | Mapping[str, str]

#: Choices of tables by time alone.
RULES = ("strict", "earlier", "later", "strictest", "nearest")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_ALL = np.iinfo(np.int64).min

#: A table from a moment on, and how it comes to apply: one of ``DATED``, or the rule that chose it.
Piece = tuple[int, TierTable | None, str]


@dataclass(frozen=True, eq=False)
class Timeline:
    """The tables of one contract as intervals that cover all time."""

    starts: Integers  #: (n,) ms; interval i runs to starts[i + 1], the first is open at its start
    tables: tuple[TierTable | None, ...]  #: (n,) None where no table applies
    sources: tuple[str, ...]  #: (n,) how each comes to apply: ``DATED`` where it was in force, else the rule

    def at(self, moment: datetime) -> tuple[TierTable | None, str]:
        """Return the table of an entry and how it comes to apply."""
        number = int(np.searchsorted(self.starts, milliseconds(moment), side="right")) - 1
        return self.tables[number], self.sources[number]


@checked
def timeline(contract: Contract, tiers: Tiers = "strict") -> Timeline:
    """Return the table that applies in each period.

    Parameters
    ----------
    contract
        The contract and its dated tables.
    tiers : "strict", "earlier", "later", "strictest", "nearest", or table names by symbol
        Rule for periods without a table in force. Symbols that a mapping does not name are strict.

    Raises
    ------
    ArgumentError
        For any other choice.
    RulesError
        Where a substitute table does not exist, or neither of two tables is the stricter.
    """
    if isinstance(tiers, Mapping):
        substitute = tiers.get(contract.symbol)
        pieces = _pieces(contract, "strict") if substitute is None else _named(contract.table(substitute))
    elif tiers in RULES:
        pieces = _pieces(contract, tiers)
    else:
        raise ArgumentError(
            f"must be one of {', '.join(RULES)}, or table names by symbol, is {tiers!r}", argument="tiers"
        )
    starts, tables, sources = zip(*pieces, strict=True)
    return Timeline(np.array(starts, np.int64), tables, sources)


def is_in_force(source: str) -> bool:
    """Whether a table that applies for this reason was in force."""
    return source in DATED


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
            f"must be {', '.join(RULES)} or the name of a table, is {tiers!r}{meant(tiers, {*RULES, *names})} "
            f"(tables of {listed})",
            argument="tiers",
        )
    return having


def of_symbols(tiers: Tiers, symbols: Collection[str]) -> Tiers:
    """Return the choice for some symbols alone."""
    return tiers if isinstance(tiers, str) else {symbol: tiers[symbol] for symbol in tiers if symbol in symbols}


def not_in_force(sentence: str, contract: Contract, moment: int) -> TiersError:
    """Return the refusal of positions opened when no table was in force, the first at a moment (ms)."""
    before = [table for table in contract.tables if milliseconds(table.end) <= moment]
    after = [table for table in contract.tables if milliseconds(table.start) > moment]
    if before and after:
        return TiersError(
            f"{sentence}; it lies between the tables {_dated(before[-1])} and {_dated(after[0])} of "
            f"{contract.symbol}, which differ: take one of the two",
            remedies=tuple(("tiers", rule) for rule in ("earlier", "later", "strictest")),
        )
    edge, table = ("last", before[-1]) if before else ("first", after[0])
    return TiersError(
        f"{sentence}; it lies {'after' if before else 'before'} the {edge} table of {contract.symbol}, "
        f"{_dated(table)}: take the nearest, or one by its name",
        remedies=(("tiers", "nearest"), ("tiers", table.name)),
    )


def table_at(contract: Contract, moment: datetime, tiers: Tiers) -> tuple[TierTable, str]:
    """Return the table of an entry at a moment, and how it comes to apply.

    Raises
    ------
    TiersError
        Where the choice leaves the moment without a table; the message names the tables around it.
    """
    table, source = timeline(contract, by_symbol(tiers, [contract])).at(moment)
    if table is None:
        raise not_in_force(
            f"no tier table of {contract.symbol} is known to have been in force at {moment:%Y-%m-%d %H:%M} UTC",
            contract,
            milliseconds(moment),
        )
    return table, source


def milliseconds(moment: datetime) -> int:
    """Return a moment as UTC milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _dated(table: TierTable) -> str:
    return f"{table.name} ({table.period})"


def _named(table: TierTable) -> Iterator[Piece]:
    """Yield one table at all times."""
    yield BEFORE_ALL, table, "named"
    yield milliseconds(table.start), table, table.dated
    yield milliseconds(table.end), table, "named"


def _pieces(contract: Contract, rule: str) -> Iterator[Piece]:
    """Yield the tables in force, and what a rule puts into the gaps around them."""
    first = contract.tables[0]
    yield from _gap(rule, BEFORE_ALL, milliseconds(first.start), None, first)
    for table, after in pairwise([*contract.tables, None]):
        assert table is not None  # only the last pair ends in None
        yield milliseconds(table.start), table, table.dated
        end = np.iinfo(np.int64).max if after is None else milliseconds(after.start)
        yield from _gap(rule, milliseconds(table.end), end, table, after)


def _gap(rule: str, start: int, end: int, before: TierTable | None, after: TierTable | None) -> Iterator[Piece]:
    """Yield what a rule puts between two tables; seen before and after, the same table is in force throughout."""
    if start >= end:
        return
    if before and after and before.dated == after.dated == "seen" and before.same_as(after):
        yield start, before, "seen"
    elif rule == "nearest":
        yield start, before or after, rule
        if before and after:
            yield (start + end) // 2 + 1, after, rule
    elif rule == "strictest" and before and after:
        yield start, stricter(before, after), rule
    else:
        chosen = {"earlier": before, "later": after}.get(rule)
        yield start, chosen, rule if chosen else ""
