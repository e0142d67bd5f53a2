"""Tiers of many positions at once, in numpy: what ``kernel/margin/tiers.py`` does for one position."""

from __future__ import annotations

from typing import Literal

import numpy as np

from backtest.kernel.arrays import Rules
from backtest.kernel.choices import KeyedBy
from backtest.kernel.types import Floats, Integers
from backtest.rules.tiers import TierTable


def constant_requirement(table: TierTable, *, notional: Floats, size: Floats, leverage: Floats) -> Floats:
    """Return requirements that the mark price does not change, (n,), without the closing fee.

    Parameters
    ----------
    notional : (n,) at the entry
    size : (n,) as the table counts it
    leverage : (n,) selected
    """
    if table.keyed_by == KeyedBy.LEVERAGE:
        return table.rate_factor / np.maximum(leverage, 1.0) * notional
    assert table.amounts is not None
    rates, amounts = np.asarray(table.rates)[:, None], np.asarray(table.amounts)[:, None]
    if table.keyed_by == KeyedBy.MARGINAL:
        return np.asarray((rates * notional - amounts).max(axis=0))
    return np.asarray(rates[table.tier_of(size), 0] * notional)


def line_levels(table: TierTable, tiers: int, size: Floats) -> Floats:
    """Return (tiers, n) levels of the lines of requirements that follow the mark.

    Minus infinity where a tier does not apply.

    Parameters
    ----------
    tiers : how many of the table count
    size : (n,) as the table counts it
    """
    assert table.amounts is not None
    if table.keyed_by == KeyedBy.MARGINAL:
        return np.broadcast_to(-np.asarray(table.amounts)[:tiers, None], (tiers, size.size))
    return np.where(table.tier_of(size) == np.arange(tiers)[:, None], 0.0, -np.inf)


def table_sizes(rules: Rules, group: Integers, quantity: Floats, size: Floats) -> Floats:
    """Return sizes in the units of each group's table; ``size`` in settlement currency."""
    by_contracts = rules.keyed_by[group] == KeyedBy.CONTRACTS
    return np.where(by_contracts, quantity / rules.contract_size[group], size)


def own_tiers(rules: Rules, group: Integers, quantity: Floats, size: Floats) -> tuple[Integers, Integers]:
    """Return the first and the last tier that each requirement is taken from."""
    first, stop = rules.tier_first[group], rules.tier_first[group + 1]
    keyed = rules.keyed_by[group]
    single = (keyed != KeyedBy.MARGINAL) & (keyed != KeyedBy.LEVERAGE)
    counted = table_sizes(rules, group, quantity, size)
    own = first.copy()
    for number in np.unique(group[single]):
        rows = np.flatnonzero(single & (group == number))
        begin, end = rules.tier_first[number : number + 2]
        side: Literal["left", "right"] = "right" if rules.higher[number] else "left"
        own[rows] = begin + np.maximum(np.searchsorted(rules.floor[begin:end], counted[rows], side=side) - 1, 0)
    return own, np.where(keyed == KeyedBy.MARGINAL, stop - 1, own)


def requirement_rates(rules: Rules, group: Integers, first: Integers, leverage: Floats) -> Floats:
    """Return the rate of each requirement's first tier, at the selected leverage where that decides it."""
    by_leverage = rules.keyed_by[group] == KeyedBy.LEVERAGE
    return np.where(by_leverage, rules.rate_factor[group] / np.maximum(leverage, 1.0), rules.rate[first])
