"""Admission of a book before a sweep: refusals, and the trees that will be searched."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME, Bars, Funding, Positions, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, lookup, position, tiers
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep.adjustments import Actions, first_adjustment, traded_at
from backtest.kernel.sweep.passive import held_by
from backtest.kernel.types import Bytes, Flags, Floats

#: Leverage derived from a rounded margin may exceed a limit by rounding alone.
LEVERAGE_ALLOWANCE = 1.0 + 1e-9


class Refusal(IntEnum):
    """Why a position is not swept, in the order that reasons are reported. The last is an outcome, no error."""

    NONE = 0
    BEFORE_HISTORY = 1
    AFTER_HISTORY = 2
    NO_TABLE = 3
    BEYOND_TABLE = 4
    BEYOND_LEVERAGE = 5
    GROWS_BEYOND_TABLE = 6
    GROWS_BEYOND_LEVERAGE = 7
    BELOW_MAINTENANCE = 8


class Growth(NamedTuple):
    """What the additions to a position come to."""

    covered: bool  #: every size is one that the table covers
    limit: float  #: lowest limit of leverage among the sizes, infinite without additions


@kernel
def survey(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    positions: Positions,
    actions: Actions,
    refusals: Bytes,
    used: Flags,
    begin: int,
    stop: int,
) -> None:
    """Write the ``Refusal`` of each of the positions [begin, stop), and flag the trees that the others need."""
    for i in range(begin, stop):
        symbol = np.int64(positions.symbol[i])
        group = lookup.group_of(rules, symbol, positions.entry_time[i])
        refused = refusal_of(bars, rules, positions, actions, symbol, group, i)
        refusals[i] = refused
        if refused == Refusal.NONE:
            held = flag_trees(bars, funding, rules, positions, used, group, i)
            if position.could_not_open(rules, held):
                refusals[i] = Refusal.BELOW_MAINTENANCE


@helper
def refusal_of(
    bars: Bars, rules: Rules, positions: Positions, actions: Actions, symbol: int, group: int, i: int
) -> int:
    """Return the ``Refusal`` of a position."""
    entry_time, last_row = positions.entry_time[i], bars.first[symbol + 1] - 1
    if entry_time < bars.time[bars.first[symbol]]:
        return Refusal.BEFORE_HISTORY
    if entry_time > bars.time[last_row] + bars.interval[symbol]:
        return Refusal.AFTER_HISTORY
    if not rules.known[group]:
        return Refusal.NO_TABLE
    quantity = positions.quantity[i]
    entry_notional = formula.notional(rules.kind[group], quantity, positions.entry_price[i])
    size = tiers.size_at_entry(rules, group, quantity, entry_notional)
    leverage = lookup.leverage_of(positions, i, entry_notional)
    refused = refusal_by_size(rules, group, size, leverage)
    if refused != Refusal.NONE:
        return refused
    growth = growth_of(bars, rules, positions, actions, group, i)
    if not growth.covered:
        return Refusal.GROWS_BEYOND_TABLE
    too_high = leverage > growth.limit * LEVERAGE_ALLOWANCE
    return Refusal.GROWS_BEYOND_LEVERAGE if too_high else Refusal.NONE


@helper
def in_bar_of_exit(bars: Bars, actions: Actions, symbol: int, i: int, bar: int) -> bool:
    """Return whether a change that would take effect at a bar is done with an exit inside the bar before."""
    exit_time = actions.exit_time[i]
    if exit_time == NO_TIME or np.isnan(actions.exit_price[i]):
        return False
    opening = lookup.first_bar_at_or_after(bars, symbol, exit_time)
    return opening == bar and lookup.falls_inside_a_bar(bars, symbol, opening, exit_time)


@helper
def growth_of(bars: Bars, rules: Rules, positions: Positions, actions: Actions, group: int, i: int) -> Growth:
    """Return what the additions come to that take effect before the exit."""
    change, symbol = first_adjustment(actions, i), np.int64(positions.symbol[i])
    quantity, entry_price, kind = positions.quantity[i], positions.entry_price[i], rules.kind[group]
    covered, limit = True, np.inf
    while change < actions.row.shape[0] and actions.row[change] == i:
        bar = lookup.first_bar_at_or_after(bars, symbol, actions.time[change])
        exit_time = actions.exit_time[i]
        late = exit_time != NO_TIME and actions.time[change] > exit_time
        with_exit = not late and in_bar_of_exit(bars, actions, symbol, i, bar)
        if late or (bar == bars.first[symbol + 1] - bars.first[symbol] and not with_exit):
            break
        part = actions.quantity_change[change]
        while lookup.table_bar(bars, rules, symbol, group) <= (bar - 1 if with_exit else bar):
            group = rules.successor[group]
        if part > 0.0:
            mark = actions.exit_price[i] if with_exit else bars.mark_open[bars.first[symbol] + bar]
            price = traded_at(actions, change, mark)
            entry_price = formula.average_entry(kind, quantity, entry_price, part, price)
            notional = formula.notional(kind, quantity + part, entry_price)
            size = tiers.size_at_entry(rules, group, quantity + part, notional)
            covered = covered and size <= rules.cap[group]
            limit = min(limit, rules.max_leverage[tiers.tier_by_size(rules, group, size)])
        quantity += part
        change += 1
    return Growth(covered, limit)


@helper
def refusal_by_size(rules: Rules, group: int, size: float, leverage: float) -> int:
    """Return the ``Refusal`` of a size and leverage under a table."""
    if size > rules.cap[group]:
        return Refusal.BEYOND_TABLE
    limit = rules.max_leverage[tiers.tier_by_size(rules, group, size)]
    return Refusal.BEYOND_LEVERAGE if leverage > limit * LEVERAGE_ALLOWANCE else Refusal.NONE


@helper
def flag_trees(
    bars: Bars, funding: Funding, rules: Rules, positions: Positions, used: Flags, group: int, i: int
) -> Segment:
    """Flag the trees that a position's searches may need, and return the position as it is opened."""
    symbol = np.int64(positions.symbol[i])
    entry_time = positions.entry_time[i]
    start = lookup.first_bar_at_or_after(bars, symbol, entry_time)
    made = lookup.charges_until(bars, funding, symbol, start, entry_time)
    held = held_by(rules, positions, i, group, funding.cumulative[funding.first[symbol] + made])
    low, high = held.first, held.last
    if start < bars.first[symbol + 1] - bars.first[symbol]:
        low, high = position.relevant_tiers(rules, funding, held, funding.charged[bars.first[symbol] + start])
    for tier in range(low, high + 1):
        used[position.tree_of(rules, held, tier)] = True
    flag_later_tables(bars, funding, rules, used, held)
    return held


@helper
def flag_later_tables(bars: Bars, funding: Funding, rules: Rules, used: Flags, held: Segment) -> None:
    """Flag the trees that a position's searches may need under the tables that take over."""
    first, count = bars.first[held.symbol], bars.first[held.symbol + 1] - bars.first[held.symbol]
    bar = lookup.table_bar(bars, rules, held.symbol, held.group)
    while bar < count:
        held = position.under(rules, held, rules.successor[held.group])
        low, high = position.relevant_tiers(rules, funding, held, funding.charged[first + bar])
        for tier in range(low, high + 1):
            used[position.tree_of(rules, held, tier)] = True
        bar = lookup.table_bar(bars, rules, held.symbol, held.group)


@kernel
def cap(
    bars: Bars,
    rules: Rules,
    positions: Positions,
    actions: Actions,
    leverage: Floats,
    margin: Floats,
    begin: int,
    stop: int,
) -> int:
    """Write leverage and margin of the positions [begin, stop), leverage lowered to the lowest limit of its tiers.

    A margin below the initial margin at the limit is raised to it. Returns how many positions were beyond their
    limit by more than rounding.
    """
    beyond = 0
    for i in range(begin, stop):
        group = lookup.group_of(rules, np.int64(positions.symbol[i]), positions.entry_time[i])
        quantity = positions.quantity[i]
        entry_notional = formula.notional(rules.kind[group], quantity, positions.entry_price[i])
        size = tiers.size_at_entry(rules, group, quantity, entry_notional)
        limit = rules.max_leverage[tiers.tier_by_size(rules, group, size)]
        limit = min(limit, growth_of(bars, rules, positions, actions, group, i).limit)
        selected = lookup.leverage_of(positions, i, entry_notional)
        leverage[i], margin[i] = selected, lookup.margin_of(rules, group, positions, i)
        if selected > limit:
            leverage[i], margin[i] = (
                limit,
                max(margin[i], lookup.initial_margin(rules, group, positions, i, limit)),
            )
        beyond += 1 if selected > limit * LEVERAGE_ALLOWANCE else 0
    return beyond
