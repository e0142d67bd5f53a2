"""Min-trees for accounts that hold one position: built where enough accounts would search them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backtest.engine.accounts.bar_grid import GridBars
from backtest.engine.market_arrays import crossing_values
from backtest.kernel.accounts.search import FUNDING, HIGH, LEAF, LOW
from backtest.kernel.accounts.single_position import Shortcuts
from backtest.kernel.accounts.terms import COIN, Holdings
from backtest.kernel.margin.tiers import is_reached
from backtest.kernel.search import min_tree
from backtest.kernel.types import Floats, Integers, aligned, readonly
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook, Tree

#: A tree of n bars takes as long to build as n / 32 accounts save by it (measured on a year of minutes).
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
        found, scale[number] = _crossing_values(bars, group.contract, tree)
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
        if group.contract.needs_leverages and not group.table.by_size:
            continue  # a rate for each leverage: too many trees for what they save
        for side, trees in enumerate((rules.rules.tree_long, rules.rules.tree_short)):
            own = single[(held.group[single] == number) & (kind[single] == side)]
            if own.size:
                np.maximum.at(uses, trees[_reached(bars, rules, number, held.quantity[own])], own.size)
    return uses


def _reached(bars: GridBars, rules: Rulebook, number: int, quantity: Floats) -> Integers:
    """Return the tiers that begin below the largest notional any of the positions can reach."""
    most = float(quantity.max()) * bars.arrays.largest_price[rules.groups[number].symbol]
    first, end = rules.rules.tier_first[number : number + 2]
    return np.array([tier for tier in range(first, end) if is_reached(rules.rules, number, tier, most)])


def _crossing_values(bars: GridBars, contract: Contract, tree: Tree) -> tuple[Floats, float]:
    """Return X over the grid's bars, and the largest magnitude in it; in the grid's values, inverse is linear."""
    count = bars.times.size
    leaf = bars.arrays.leaf.reshape(-1, LEAF)[tree.symbol * count : (tree.symbol + 1) * count]
    inverse = contract.kind == "inverse"
    contract = replace(contract, kind="linear") if inverse else contract
    least = HIGH if inverse else LOW
    worst = leaf[:, least if tree.side > 0 else LOW + HIGH - least]
    return crossing_values(tree, contract, worst, leaf[:, FUNDING])
