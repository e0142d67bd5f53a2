"""Shortcut for accounts with one position: the first bar with X <= theta uses up the excess margin.

With one symbol and one side, V is a minimum over straight pieces whose slopes in the price all have the sign of
the side: low (long) or high is the worst price under every convention but closes. Piece k is used up where

    X_i = (s - r_k - f) W_i - s F_i  <=  theta = -(K + d_k) / Q,

the query that isolated positions are. Rounding may move either side by a few units in the last place, so theta is
raised by an allowance and every hit is put to V itself.
"""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.accounts import search
from backtest.kernel.accounts.search import Grid, Terms
from backtest.kernel.accounts.terms import Gathered
from backtest.kernel.arrays import Rules
from backtest.kernel.choices import AccountPrices
from backtest.kernel.compile import helper
from backtest.kernel.margin import tiers
from backtest.kernel.search.min_tree import first_at_most
from backtest.kernel.types import Floats, Integers

ALLOWANCE = 2.0**-46


class Shortcuts(NamedTuple):
    """Min-trees over X on the grid; those few accounts would use are not planted."""

    values: Floats
    base: Integers  #: (trees,) where each begins, -1 where it is not planted
    scale: Floats  #: (trees,) largest magnitude X is made of
    level: Integers  #: offsets of a tree's levels


@helper
def serves(rules: Rules, shortcuts: Shortcuts, grid: Grid, terms: Terms, held: Gathered, convention: int) -> bool:
    """Whether an account's terms are one position whose trees are planted."""
    if convention == AccountPrices.CLOSES or held.terms != 1 or terms.side[0] == 0.0 or not held.usable:
        return False
    for k in range(terms.piece[1]):
        if matters(rules, grid, terms, held, k) and shortcuts.base[tree_of(rules, terms, held, k)] < 0:
            return False
    return True


@helper
def tree_of(rules: Rules, terms: Terms, held: Gathered, piece: int) -> int:
    """Return the number of a piece's tree."""
    tier = held.tier + piece
    return rules.tree_long[tier] if terms.side[0] > 0.0 else rules.tree_short[tier]


@helper
def matters(rules: Rules, grid: Grid, terms: Terms, held: Gathered, piece: int) -> bool:
    """Whether a tier begins below the largest notional that the position can reach."""
    largest = terms.quantity[0] * grid.largest_price[terms.symbol[0]]
    return tiers.is_reached(rules, held.group, held.tier + piece, largest)


@helper
def first_bar_used_up(
    rules: Rules,
    shortcuts: Shortcuts,
    grid: Grid,
    terms: Terms,
    held: Gathered,
    strict: bool,
    convention: int,
    begin: int,
    stop: int,
) -> int:
    """Return the first bar of [begin, stop) that liquidates the position; -1 where there is none."""
    levels, per_unit = shortcuts.level.shape[0], 1.0 / terms.quantity[0]
    while True:
        best = stop
        for k in range(terms.piece[1]):
            if matters(rules, grid, terms, held, k):
                tree = tree_of(rules, terms, held, k)
                size = shortcuts.scale[tree] + (abs(held.constant) + abs(terms.level[k])) * per_unit
                limit = -(held.constant + terms.level[k]) * per_unit + ALLOWANCE * size
                found = first_at_most(
                    shortcuts.values, shortcuts.base[tree], shortcuts.level, 0, levels, begin, best, limit
                )
                best = found if found >= 0 else best
        if best >= stop:
            return -1
        remaining, _ = search.left_over(grid, terms, held.terms, held.constant, best, convention)
        if remaining < 0.0 or (remaining == 0.0 and not strict):
            return best
        begin = best + 1
