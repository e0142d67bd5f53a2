"""Admission of a book before a sweep: refusals, and the trees that will be searched."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from backtest.kernel.arrays import Bars, Funding, Positions, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, lookup, position, tiers
from backtest.kernel.sweep.passive import held_by
from backtest.kernel.types import Bytes, Flags, Floats

#: Leverage derived from a rounded margin may exceed a limit by rounding alone.
LEVERAGE_ALLOWANCE = 1.0 + 1e-9


class Refusal(IntEnum):
    """Why a position is not swept, in the order that reasons are reported."""

    NONE = 0
    BEFORE_HISTORY = 1
    AFTER_HISTORY = 2
    NO_TABLE = 3
    BEYOND_TABLE = 4
    BEYOND_LEVERAGE = 5


@kernel
def survey(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    positions: Positions,
    refusals: Bytes,
    used: Flags,
    begin: int,
    stop: int,
) -> None:
    """Write the ``Refusal`` of each of the positions [begin, stop), and flag the trees that the others need."""
    for i in range(begin, stop):
        symbol = np.int64(positions.symbol[i])
        group = lookup.group_of(rules, symbol, positions.entry_time[i])
        refused = refusal_of(bars, rules, positions, symbol, group, i)
        refusals[i] = refused
        if refused == Refusal.NONE:
            flag_trees(bars, funding, rules, positions, used, group, i)


@helper
def refusal_of(bars: Bars, rules: Rules, positions: Positions, symbol: int, group: int, i: int) -> int:
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
    return refusal_by_size(rules, group, size, lookup.leverage_of(positions, i, entry_notional))


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
) -> None:
    """Flag the trees that a position's searches may need."""
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


@kernel
def cap(rules: Rules, positions: Positions, leverage: Floats, margin: Floats, begin: int, stop: int) -> int:
    """Write leverage and margin of the positions [begin, stop), leverage lowered to the limit of the tier.

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
        selected = lookup.leverage_of(positions, i, entry_notional)
        leverage[i], margin[i] = selected, lookup.margin_of(rules, group, positions, i)
        if selected > limit:
            leverage[i], margin[i] = (
                limit,
                max(margin[i], lookup.initial_margin(rules, group, positions, i, limit)),
            )
        beyond += 1 if selected > limit * LEVERAGE_ALLOWANCE else 0
    return beyond
