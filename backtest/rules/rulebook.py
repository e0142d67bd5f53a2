"""The contracts of a market's symbols under their tier tables, as arrays for kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from backtest.errors import ArgumentError
from backtest.kernel.arrays import Rules
from backtest.kernel.choices import ContractKind
from backtest.kernel.types import Codes, Floats, Integers, readonly
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import Tiers, is_in_force, timeline

#: Rates keyed by leverage need one tree a distinct leverage where the requirement follows the mark.
MOST_LEVERAGES = 1_000

_NOTHING = TierTable(name="none in force", model="flat", rates=np.full(1, 0.5))


class Rows(NamedTuple):
    """Tiers of a group, (k,) each."""

    floor: Floats
    rate: Floats
    amount: Floats
    max_leverage: Floats


@dataclass(frozen=True, eq=False)
class Group:
    """One contract under one table, from a start time."""

    symbol: int
    contract: Contract
    table: TierTable
    rows: Rows
    start: int  #: ms
    source: str = ""  #: how the table comes to apply, see ``timeline.Timeline``; empty: no table does

    @property
    def known(self) -> bool:
        """Whether a table applies."""
        return self.source != ""

    @property
    def tier_source(self) -> str:
        """How the table comes to apply; that of another symbol's contract is a substitute."""
        return f"like {self.contract.like}" if self.contract.like else self.source

    @property
    def is_substitute(self) -> bool:
        """Whether the table was not in force, or is another symbol's."""
        return self.known and not is_in_force(self.tier_source)


@dataclass(frozen=True)
class Tree:
    """Symbol, side and rate that the values of one min-tree depend on."""

    symbol: int
    side: int
    rate: float


@dataclass(frozen=True, eq=False)
class Rulebook:
    """Groups, their arrays for kernels, and the trees that their tiers use."""

    groups: tuple[Group, ...]
    trees: tuple[Tree, ...]
    rules: Rules


def rulebook(
    contracts: Sequence[Contract],
    *,
    returned: bool,
    pro_rata: bool,
    always: bool,
    tiers: Tiers,
    first_time: Sequence[int],
    last_time: Sequence[int],
    leverages: dict[str, Floats],
) -> Rulebook:
    """Return the rules that entries between two times a symbol may fall under, of the contract of each symbol.

    ``leverages`` are the distinct selected leverages of each symbol, needed where a varying requirement is keyed
    by them. ``always``: a new table applies to open positions as well.
    """
    groups = [
        group
        for number, contract in enumerate(contracts)
        for group in _groups(number, contract, tiers, first_time[number], last_time[number])
    ]
    groups = [_by_distinct_leverage(group, leverages.get(group.contract.symbol)) for group in groups]
    for group in groups:
        _require_few(group)
    trees: dict[Tree, int] = {}
    long_trees = [number for group in groups for number in _tree_numbers(group, 1, trees)]
    short_trees = [number for group in groups for number in _tree_numbers(group, -1, trees)]
    rules = _rules_of(groups, len(contracts), long_trees, short_trees)
    rules = rules._replace(returned=returned, pro_rata=pro_rata)
    if always:
        rules = rules._replace(successor=_integers([_successor(groups, number) for number in range(len(groups))]))
    return Rulebook(tuple(groups), tuple(trees), rules)


def groups_of(rules: Rules, symbol: Codes, entry_time: Integers) -> Integers:
    """Return the group of rules that each entry falls under."""
    group = np.zeros(symbol.size, np.int64)
    parts = list(zip(rules.first[:-1], rules.first[1:], strict=True))
    for number, (first, stop) in enumerate(parts):
        rows = slice(None) if len(parts) == 1 else symbol == number
        starts = rules.start[first + 1 : stop]
        group[rows] = first + np.searchsorted(starts, entry_time[rows], side="right") if starts.size else first
    return group


def groups_after(rules: Rules, group: Integers, moment: Integers) -> Integers:
    """Return the groups whose tables apply at some moments to positions entered under groups."""
    found, has_successor = group.copy(), rules.successor >= 0
    taken_over = np.where(has_successor, rules.start[rules.successor], 0)
    open_ = np.flatnonzero(has_successor[group] & (taken_over[group] <= moment))
    while open_.size:
        found[open_] = rules.successor[found[open_]]
        now = found[open_]
        open_ = open_[has_successor[now] & (taken_over[now] <= moment[open_])]
    return found


def rules_of(contract: Contract, table: TierTable, leverages: Floats) -> Rules:
    """Return the rules of one contract under one table for positions of some leverages; without trees."""
    keyed = None if table.by_size else np.unique(leverages)
    group = _by_distinct_leverage(Group(0, contract, table, _rows(table), 0, table.dated), keyed)
    none = np.zeros(group.rows.rate.size)
    return _rules_of([group], 1, none, none)


def _rules_of(groups: list[Group], symbols: int, long_trees: Any, short_trees: Any) -> Rules:
    tables = [group.table for group in groups]
    contracts = [group.contract for group in groups]
    return Rules(
        first=_integers(np.searchsorted([group.symbol for group in groups], np.arange(symbols + 1))),
        start=_integers([group.start for group in groups]),
        known=readonly(np.array([group.known for group in groups])),
        successor=_integers([-1] * len(groups)),
        kind=_integers([ContractKind.code(contract.kind) for contract in contracts]),
        constant=readonly(np.array([contract.requirement_is_constant for contract in contracts])),
        strict=readonly(np.array([contract.trigger == "<" for contract in contracts])),
        fee=_floats([contract.mark_fee_rate for contract in contracts]),
        reserved_fee=_floats([contract.bankruptcy_fee_rate for contract in contracts]),
        included_fee=_floats([contract.included_fee_rate for contract in contracts]),
        keyed_by=_integers([table.keyed_by for table in tables]),
        higher=readonly(np.array([table.boundary == "higher" or not table.by_size for table in tables])),
        contract_size=_floats([table.contract_size for table in tables]),
        rate_factor=_floats([table.rate_factor for table in tables]),
        cap=_floats([table.cap for table in tables]),
        tier_first=_integers(np.cumsum([0, *(group.rows.rate.size for group in groups)])),
        floor=_joined([group.rows.floor for group in groups]),
        rate=_joined([group.rows.rate for group in groups]),
        amount=_joined([group.rows.amount for group in groups]),
        max_leverage=_joined([group.rows.max_leverage for group in groups]),
        hurdle_long=_joined([_hurdles(group, 1.0) for group in groups]),
        hurdle_short=_joined([_hurdles(group, -1.0) for group in groups]),
        tree_long=_integers(long_trees),
        tree_short=_integers(short_trees),
        returned=False,
        pro_rata=False,
    )


def _successor(groups: list[Group], number: int) -> int:
    """Return the next group of a symbol with a table of its own, unlike this one's; -1 for none."""
    own = groups[number]
    for later in range(number + 1, len(groups)):
        if groups[later].symbol != own.symbol:
            break
        if groups[later].known and not groups[later].table.same_as(own.table):
            return later
    return -1


def _require_few(group: Group) -> None:
    """Refuse more distinct leverages than trees can be built for."""
    count = group.rows.rate.size
    if not group.table.by_size and count > MOST_LEVERAGES:
        raise ArgumentError(
            f"{group.contract.symbol}: rates keyed by leverage on the mark notional need few distinct leverages: "
            f"there are {count:,}, at most {MOST_LEVERAGES:,} can be served (round them)"
        )


def _groups(symbol: int, contract: Contract, tiers: Tiers, first_time: int, last_time: int) -> list[Group]:
    """Return the tables that entries in [first_time, last_time] may fall under; gaps are marked unknown."""
    found = timeline(contract, tiers)
    ends = np.append(found.starts[1:], np.iinfo(np.int64).max)
    return [
        Group(symbol, contract, table or _NOTHING, _rows(table or _NOTHING), int(start), source)
        for start, end, table, source in zip(found.starts, ends, found.tables, found.sources, strict=True)
        if end > first_time and start <= last_time
    ]


def _rows(table: TierTable) -> Rows:
    amounts = np.zeros(len(table)) if table.amounts is None else table.amounts
    return Rows(table.floors, table.rates, amounts, table.max_leverages)


def _by_distinct_leverage(group: Group, leverages: Floats | None) -> Group:
    """Return a group keyed by leverage with a row per distinct leverage where its requirement follows the mark."""
    if group.table.by_size or group.contract.requirement_is_constant or leverages is None:
        return group
    rates = group.table.rate_factor / np.maximum(leverages, 1.0)
    return replace(
        group,
        rows=Rows(
            leverages,
            rates,
            np.zeros(leverages.size),
            np.repeat(group.table.max_leverages[:1], leverages.size),
        ),
    )


def _tree_numbers(group: Group, side: int, trees: dict[Tree, int]) -> list[int]:
    """Return the tree of each tier, numbering new ones; a constant requirement has one tree for all tiers."""
    rates = group.rows.rate
    if group.contract.requirement_is_constant:
        rates = np.zeros(rates.size)
    return [trees.setdefault(Tree(group.symbol, side, float(rate)), len(trees)) for rate in rates]


def _hurdles(group: Group, side: float) -> Floats:
    """Return the equity without price result, at each tier's floor, below which the tier matters."""
    table, contract = group.table, group.contract
    if not contract.follows_mark(table):
        return np.zeros(group.rows.rate.size)
    rising = -side if contract.kind == "inverse" else side
    floors, rates, amounts, _ = group.rows
    needed = rates[:-1] * floors[1:] - amounts[:-1]
    hurdles = (needed + contract.mark_fee_rate * floors[1:]) - rising * floors[1:]
    return np.concatenate([[0.0], hurdles])


def _integers(values: object) -> Integers:
    return readonly(np.asarray(values, np.int64))


def _floats(values: object) -> Floats:
    return readonly(np.asarray(values, np.float64))


def _joined(parts: list[Floats]) -> Floats:
    return readonly(np.concatenate(parts).astype(np.float64))
