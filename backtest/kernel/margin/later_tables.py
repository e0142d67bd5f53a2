"""Tables that take over open positions: the search goes on under each, from the bar that it begins with."""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.arrays import Bars, Forest, Funding, Rules
from backtest.kernel.compile import helper
from backtest.kernel.margin import lookup, position
from backtest.kernel.margin.position import Segment


class Later(NamedTuple):
    """A position under the last table it met, and the bar that liquidates it."""

    held: Segment
    low: int  #: relevant tiers
    high: int
    hit: int  #: -1: none does


@helper
def first_hit(
    bars: Bars, funding: Funding, rules: Rules, forest: Forest, held: Segment, low: int, high: int, end: int
) -> Later:
    """Return the first bar before ``end`` that liquidates a position under a table later than its present one."""
    rows, hit = bars.first[held.symbol], -1
    start = lookup.table_bar(bars, rules, held.symbol, held.group)
    while hit < 0 and start < end:
        held = position.under(rules, held, rules.successor[held.group])
        following = lookup.table_bar(bars, rules, held.symbol, held.group)
        until = min(following, end)
        if start < until:
            low, high = position.relevant_tiers(rules, funding, held, funding.charged[rows + start])
            limit = position.threshold(rules, forest, held, low)
            tree = position.tree_of(rules, held, low)
            hit = position.search(forest, held.symbol, tree, start, until, limit)
            hit = position.confirmed(bars, funding, rules, forest, held, low, high, hit, start, until)
        start = following
    return Later(held, low, high, hit)
