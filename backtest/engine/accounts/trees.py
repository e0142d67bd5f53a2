"""Min-trees for accounts that hold one position: planted where enough of them would be searched."""

from __future__ import annotations

import numpy as np

from backtest.engine.accounts.bar_grid import GridBars
from backtest.engine.rulebook import Group, Rulebook
from backtest.kernel.accounts.search import LEAF
from backtest.kernel.accounts.single_position import Shortcuts
from backtest.kernel.accounts.terms import COIN, Holdings
from backtest.kernel.arrays import MARGINAL
from backtest.kernel.margin.lookup import keyed_by
from backtest.kernel.search import min_tree
from backtest.kernel.types import FACE_VALUE, Floats, Integers, aligned, readonly
from backtest.rules.contract import KINDS

#: A tree of n bars takes as long to plant as n / 32 accounts save by it (measured on a year of minutes).
BARS_AN_ACCOUNT = 32


def plant(bars: GridBars, rules: Rulebook, held: Holdings, *, allowed: bool = True) -> Shortcuts:
    """Return the trees that enough accounts of one position would use; none where they are not allowed."""
    uses = _uses(bars, rules, held) if allowed else np.zeros(len(rules.trees), np.int64)
    layout = min_tree.layout(bars.times.size)
    wanted = np.flatnonzero(uses * BARS_AN_ACCOUNT >= bars.times.size)
    base = np.full(uses.size, -1)
    base[wanted] = np.arange(wanted.size) * layout.size
    values, scale = aligned(max(wanted.size * layout.size, 1)), np.zeros(uses.size)
    for number in wanted:
        tree = rules.trees[number]
        group = next(group for group in rules.groups if group.symbol == tree.symbol)
        found, scale[number] = _crossing_values(bars, group, tree.side, tree.rate)
        values[base[number] : base[number] + found.size] = found
        min_tree.fill(values, base[number], layout.offsets, found.size)
    return Shortcuts(readonly(values), readonly(base), readonly(scale), layout.offsets)


def _uses(bars: GridBars, rules: Rulebook, held: Holdings) -> Integers:
    """Return how many accounts of one position may search each tree."""
    kind, symbol = held.kind, held.symbol
    first, last = held.first[:-1], held.first[1:] - 1
    changes = np.append(0, np.cumsum((kind[1:] != kind[:-1]) | (symbol[1:] != symbol[:-1])))
    single = first[(changes[first] == changes[last]) & (kind[first] != COIN)]
    uses = np.zeros(len(rules.trees), np.int64)
    for number, group in enumerate(rules.groups):
        if group.table.model == "leverage" and not group.contract.requirement_is_constant:
            continue  # a rate for each leverage: too many trees for what they save
        for side, trees in enumerate((rules.rules.tree_long, rules.rules.tree_short)):
            own = single[(held.group[single] == number) & (kind[single] == side)]
            tiers = slice(rules.rules.tier_first[number], rules.rules.tier_first[number + 1])
            if own.size:
                np.maximum.at(uses, trees[tiers][_reached(bars, group, held.quantity[own])], own.size)
    return uses


def _reached(bars: GridBars, group: Group, quantity: Floats) -> Integers:
    """Return the tiers that begin below the largest notional any of the positions can reach."""
    floors = group.rows.floor
    if keyed_by(group.table.model, group.table.size) != MARGINAL:
        return np.arange(floors.size)
    most = float(quantity.max()) * bars.arrays.largest_price[group.symbol]
    return np.flatnonzero((floors < most) | (np.arange(floors.size) == 0))


def _crossing_values(bars: GridBars, group: Group, side: int, rate: float) -> tuple[Floats, float]:
    """Return X over the grid's bars, and the largest magnitude in it."""
    count, fee = bars.times.size, group.contract.mark_fee_rate
    leaf = bars.arrays.leaf.reshape(-1, LEAF)[group.symbol * count : (group.symbol + 1) * count]
    worst, sums = leaf[:, 0 if side > 0 else 1], leaf[:, 3]
    slope = float(side) if KINDS[group.contract.kind] == FACE_VALUE else side - rate - fee
    largest = (1.0 + rate + fee) * float(worst.max()) + float(np.abs(sums).max())
    return slope * worst - side * sums, largest
