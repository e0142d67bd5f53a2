"""Tiers of a position: every function that depends on the key of a table."""

from __future__ import annotations

from backtest.kernel.arrays import Rules
from backtest.kernel.choices import KeyedBy
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula


@helper
def tier_at(rules: Rules, group: int, size: float) -> int:
    """Return the one tier a size falls in, by binary search on the floors."""
    low, high = rules.tier_first[group] + 1, rules.tier_first[group + 1]
    higher = rules.higher[group]
    while low < high:
        middle = (low + high) >> 1
        if rules.floor[middle] < size or (higher and rules.floor[middle] == size):
            low = middle + 1
        else:
            high = middle
    return low - 1


@helper
def size_at_entry(rules: Rules, group: int, quantity: float, entry_notional: float) -> float:
    """Return a size in the unit the group's table is measured in."""
    if rules.keyed_by[group] == KeyedBy.CONTRACTS:
        return quantity / rules.contract_size[group]
    return entry_notional


@helper
def size_now(rules: Rules, group: int, quantity: float, entry_notional: float, notional: float) -> float:
    """Return the size that decides the tier while a position is open, ``notional`` being that at the mark."""
    if follows_mark(rules, group):
        return notional
    return size_at_entry(rules, group, quantity, entry_notional)


@helper
def follows_mark(rules: Rules, group: int) -> bool:
    """Return whether a position moves from tier to tier with the mark price."""
    return rules.keyed_by[group] == KeyedBy.MARGINAL and not rules.constant[group]


@helper
def tier_by_size(rules: Rules, group: int, size: float) -> int:
    """Return the tier whose leverage limit applies to a size; tables keyed by leverage have one."""
    if rules.keyed_by[group] == KeyedBy.LEVERAGE:
        return rules.tier_first[group]
    return tier_at(rules, group, size)


@helper
def own_tiers(
    rules: Rules, group: int, quantity: float, entry_notional: float, leverage: float
) -> tuple[int, int]:
    """Return the first and last tier a position's requirement is taken from."""
    keyed = rules.keyed_by[group]
    if keyed == KeyedBy.MARGINAL:
        return rules.tier_first[group], rules.tier_first[group + 1] - 1
    if keyed == KeyedBy.LEVERAGE:
        tier = rules.tier_first[group]
        if not rules.constant[group]:
            tier = tier_at(rules, group, leverage)
        return tier, tier
    tier = tier_at(rules, group, size_at_entry(rules, group, quantity, entry_notional))
    return tier, tier


@helper
def constant_requirement(
    rules: Rules, group: int, first: int, last: int, entry_notional: float, leverage: float
) -> float:
    """Return a requirement that the mark price does not change, without the closing fee."""
    if rules.keyed_by[group] == KeyedBy.LEVERAGE:
        return (rules.rate_factor[group] / max(leverage, 1.0)) * entry_notional
    return formula.tiered(rules.rate, rules.amount, first, last, entry_notional)


@helper
def constant_rate(rules: Rules, group: int, first: int, entry_notional: float, leverage: float) -> float:
    """Return the rate of a requirement that the mark price does not change."""
    keyed = rules.keyed_by[group]
    if keyed == KeyedBy.LEVERAGE:
        return rules.rate_factor[group] / max(leverage, 1.0)
    return rules.rate[tier_at(rules, group, entry_notional) if keyed == KeyedBy.MARGINAL else first]


@helper
def is_reached(rules: Rules, group: int, tier: int, largest: float) -> bool:
    """Return whether a tier matters to a position whose notional is never above ``largest``."""
    if rules.keyed_by[group] != KeyedBy.MARGINAL or tier == rules.tier_first[group]:
        return True
    return rules.floor[tier] < largest
