"""One pass over a book before it is swept: what the rules refuse, and which trees will be searched."""

from __future__ import annotations

import numpy as np

from backtest.kernel.arrays import Bars, Funding, Positions, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, lookup, position, tiers
from backtest.kernel.sweep.passive import held_by
from backtest.kernel.types import Flags, Floats, Integers

BEFORE_HISTORY, AFTER_HISTORY, NO_TABLE, BEYOND_TABLE, BEYOND_LEVERAGE = range(5)
REASONS = 5
#: Leverage derived from a rounded margin may exceed a limit by rounding alone.
LEVERAGE_ALLOWANCE = 1.0 + 1e-9


@kernel
def survey(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    positions: Positions,
    counts: Integers,
    firsts: Integers,
    used: Flags,
    group_counts: Integers,
    begin: int,
    stop: int,
) -> None:
    """Count the positions refused for each reason, note the first, and flag the trees the others need."""
    for i in range(begin, stop):
        symbol = np.int64(positions.symbol[i])
        entry_time = positions.entry_time[i]
        first_row, end_row = bars.first[symbol], bars.first[symbol + 1]
        group = lookup.group_of(rules, symbol, entry_time)
        reason = -1
        if entry_time < bars.time[first_row]:
            reason = BEFORE_HISTORY
        elif entry_time > bars.time[end_row - 1] + bars.interval[symbol]:
            reason = AFTER_HISTORY
        elif not rules.known[group]:
            reason = NO_TABLE
        else:
            group_counts[group] += 1
            reason = refusal(rules, positions, group, i)
        if reason >= 0:
            counts[reason] += 1
            if firsts[reason] < 0:
                firsts[reason] = i
        if reason < 0 or reason == BEYOND_LEVERAGE:
            flag_trees(bars, funding, rules, positions, used, group, i)


@helper
def refusal(rules: Rules, positions: Positions, group: int, i: int) -> int:
    """Return why a position may not be opened under its table, or -1."""
    quantity = positions.quantity[i]
    entry_notional = formula.notional(rules.kind[group], quantity, positions.entry_price[i])
    size = tiers.size_at_entry(rules, group, quantity, entry_notional)
    if size > rules.cap[group]:
        return BEYOND_TABLE
    limit = leverage_limit(rules, group, size)
    if lookup.leverage_of(positions, i, entry_notional) > limit * LEVERAGE_ALLOWANCE:
        return BEYOND_LEVERAGE
    return -1


@helper
def leverage_limit(rules: Rules, group: int, size: float) -> float:
    """Return the highest leverage a size may be opened with."""
    return rules.max_leverage[tiers.tier_by_size(rules, group, size)]


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
def leverage_limits(rules: Rules, positions: Positions, limits: Floats, begin: int, stop: int) -> None:
    """Write the highest leverage each of the positions [begin, stop) may be opened with."""
    for i in range(begin, stop):
        group = lookup.group_of(rules, np.int64(positions.symbol[i]), positions.entry_time[i])
        quantity = positions.quantity[i]
        entry_notional = formula.notional(rules.kind[group], quantity, positions.entry_price[i])
        limits[i] = leverage_limit(rules, group, tiers.size_at_entry(rules, group, quantity, entry_notional))


@kernel
def admissible(rules: Rules, positions: Positions, allowed: Flags, begin: int, stop: int) -> None:
    """Write whether each of the positions [begin, stop) may be opened under its table."""
    for i in range(begin, stop):
        group = lookup.group_of(rules, np.int64(positions.symbol[i]), positions.entry_time[i])
        allowed[i] = refusal(rules, positions, group, i) < 0
