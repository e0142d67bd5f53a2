"""One position under one set of terms: its thresholds, and the first bar that liquidates it.

Every isolated liquidation is "the first bar with X <= theta" (see ``docs/model.md`` for the formulas). A tier with
rate r triggers in bar i when equity at the worst price W is at most r N - a; divided by the quantity and sorted
by what depends on the bar, that is

    X_i = slope(r) * W_i - side * F_i  <=  theta = (anchor - side * q * F_e + level) / q

(inverse contracts: 1 / W for W). X depends on the market and one rate, theta on the position alone. Rounding may
move either by a few units in the last place, so theta is raised by an allowance that covers it, every hit is
only a candidate, and the direct formula decides; where it says no the search goes on.

The allowance is 2^-48 of the magnitudes involved; the largest error measured in ten million near-threshold cases
is a third of it.
"""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.arrays import Bars, Forest, Funding, Rules
from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula, tiers
from backtest.kernel.search.min_tree import first_at_most
from backtest.kernel.types import Floats

ALLOWANCE = 2.0**-48
RANGE_ALLOWANCE = 2.0**-40


class Segment(NamedTuple):
    """One position under one set of terms: between two changes by its holder."""

    group: int
    kind: int
    symbol: int
    side: float  #: +1 or -1
    quantity: float
    entry_price: float
    entry_notional: float
    margin: float
    leverage: float  #: the selected one
    entry_funding: float  #: cumulative funding when the segment began
    anchor: float
    first: int  #: tiers the requirement is taken from
    last: int
    constant: bool  #: the requirement is ``base``, whatever the price
    base: float
    reserved: float  #: closing fee at bankruptcy
    level: float  #: all of a constant requirement; else ``reserved``
    fee: float  #: closing fee at the mark


@helper
def begin(
    rules: Rules,
    group: int,
    symbol: int,
    side: float,
    quantity: float,
    entry_price: float,
    margin: float,
    leverage: float,
    entry_funding: float,
) -> Segment:
    """Return the terms of a position from a funding on."""
    kind, constant, fee = rules.kind[group], rules.constant[group], rules.fee[group]
    entry_notional = formula.notional(kind, quantity, entry_price)
    anchor = formula.anchor(kind, side, quantity, entry_price, margin)
    reserved = formula.reserved_fee(
        kind, side, quantity, anchor, rules.reserved_fee[group], rules.included_fee[group]
    )
    first, last = tiers.own_tiers(rules, group, quantity, entry_notional, leverage)
    base, level = 0.0, reserved
    if constant:
        base = tiers.constant_requirement(rules, group, first, last, entry_notional, leverage)
        level = formula.constant_level(kind, quantity, base, reserved, fee)
    return Segment(
        group, kind, symbol, side, quantity, entry_price, entry_notional, margin, leverage, entry_funding, anchor,
        first, last, constant, base, reserved, level, fee,
    )  # fmt: skip


@helper
def under(rules: Rules, held: Segment, group: int) -> Segment:
    """Return a position under another table, its money and quantity as they are."""
    return begin(
        rules, group, held.symbol, held.side, held.quantity, held.entry_price, held.margin, held.leverage,
        held.entry_funding,
    )  # fmt: skip


@helper
def relevant_tiers(rules: Rules, funding: Funding, held: Segment, charges: int) -> tuple[int, int]:
    """Return the tiers that can trigger at any funding the position may still see.

    ``charges`` counts those at or before the first tested bar.
    """
    entry = funding.first[held.symbol] + charges
    return tiers_between(rules, held, funding.lowest[entry], funding.highest[entry])


@helper
def tiers_between(rules: Rules, held: Segment, lowest: float, highest: float) -> tuple[int, int]:
    """Return the tiers that can trigger at any cumulative funding between two.

    The tier that triggers at funding F is the one its liquidation price at F lies in, and that price is monotone
    in F: the least and greatest F to come bound it. Whether it lies beyond the floor b of a tier is whether
    equity at notional b falls short there: v = -(anchor) - s q (F - F_e) - c against the tier's hurdle
    r b - a + f b -+ b, the same for every position.
    """
    if held.constant or held.first == held.last:
        return held.first, held.first
    signed = held.side * held.quantity
    start = -(held.anchor - signed * held.entry_funding) - held.reserved
    one, other = start - signed * lowest, start - signed * highest
    magnitude = abs(held.anchor) + held.entry_notional + abs(held.reserved)
    magnitude += held.quantity * (abs(held.entry_funding) + max(abs(lowest), abs(highest)))
    least = min(one, other) - RANGE_ALLOWANCE * magnitude
    most = max(one, other) + RANGE_ALLOWANCE * magnitude
    low = held.first
    rising = held.side if held.kind != ContractKind.INVERSE else -held.side
    hurdles = rules.hurdle_long if held.side > 0 else rules.hurdle_short
    if rising > 0:  # most positions are small: leaving early beats counting without branches
        while low < held.last and most <= hurdles[low + 1]:
            low += 1
        high = low
        while high < held.last and least <= hurdles[high + 1]:
            high += 1
    else:
        while low < held.last and least > hurdles[low + 1]:
            low += 1
        high = low
        while high < held.last and most > hurdles[high + 1]:
            high += 1
    return low, high


@helper
def tree_of(rules: Rules, held: Segment, tier: int) -> int:
    """Return the number of the tree to search for a tier."""
    return rules.tree_long[tier] if held.side > 0 else rules.tree_short[tier]


@helper
def threshold(rules: Rules, forest: Forest, held: Segment, tier: int) -> float:
    """Return theta of one tier, with the rounding allowance."""
    return threshold_within(rules, held, tier, forest.scale[tree_of(rules, held, tier)])


@helper
def threshold_within(rules: Rules, held: Segment, tier: int, largest: float) -> float:
    """Return theta of one tier, with the rounding allowance; ``largest`` is the largest magnitude in X."""
    own = held.level if held.constant else held.level - rules.amount[tier]
    per_unit = 1.0 / held.quantity
    entry = 1.0 / held.entry_price if held.kind == ContractKind.INVERSE else held.entry_price
    magnitude = largest + (abs(held.margin) + abs(own)) * per_unit
    magnitude += entry + abs(held.entry_funding)
    exact = ((held.anchor - (held.side * held.quantity) * held.entry_funding) + own) * per_unit
    return exact + ALLOWANCE * magnitude


@helper
def search(forest: Forest, symbol: int, tree: int, start: int, end: int, threshold_: float) -> int:
    """Return the first bar in [start, end) whose X is at most the threshold, or -1."""
    levels = forest.level_first[symbol]
    return first_at_most(
        forest.values,
        forest.base[tree],
        forest.level,
        levels,
        forest.level_first[symbol + 1] - levels,
        start,
        end,
        threshold_,
    )


@helper
def worst_price(bars: Bars, held: Segment, row: int) -> float:
    """Return the low of a bar for a long, the high for a short."""
    return bars.low[row] if held.side > 0 else bars.high[row]


@helper
def requirement(rates: Floats, amounts: Floats, held: Segment, price: float) -> float:
    """Return the equity a position must keep at a price."""
    return formula.maintenance_margin(
        held.kind, held.quantity, price, rates, amounts, held.first, held.last, held.constant, held.base,
        held.reserved, held.fee,
    )  # fmt: skip


@helper
def could_not_open(rules: Rules, held: Segment) -> bool:
    """Return whether the margin of a position is below the maintenance margin at its entry price."""
    return held.margin < requirement(rules.rate, rules.amount, held, held.entry_price)


@helper
def triggers(rules: Rules, held: Segment, price: float, funding_: float) -> bool:
    """Return whether a position is liquidated at a price, by the direct formula: the definition."""
    equity = formula.equity(
        held.kind, held.side, held.quantity, held.entry_price, held.margin, held.entry_funding, price, funding_
    )
    needed = requirement(rules.rate, rules.amount, held, price)
    return equity < needed or (equity == needed and not rules.strict[held.group])


@helper
def funding_at(bars: Bars, funding: Funding, symbol: int, bar: int) -> float:
    """Return cumulative funding at a bar of a symbol."""
    return funding.cumulative[funding.first[symbol] + funding.charged[bars.first[symbol] + bar]]


@helper
def confirmed(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    held: Segment,
    low: int,
    high: int,
    candidate: int,
    start: int,
    end: int,
) -> int:
    """Return the first bar in [start, end) that liquidates, or -1.

    ``candidate`` is what a search of tier ``low`` over the range found; the tiers above it up to ``high`` are
    searched here, and every candidate is put to the direct formula.
    """
    rows = bars.first[held.symbol]
    next_tier = low + 1
    while True:
        best = candidate if candidate >= 0 else end
        for tier in range(next_tier, high + 1):
            limit = threshold(rules, forest, held, tier)
            found = search(forest, held.symbol, tree_of(rules, held, tier), start, best, limit)
            if found >= 0:
                best = found
        if best >= end:
            return -1
        paid = funding_at(bars, funding, held.symbol, best)
        if triggers(rules, held, worst_price(bars, held, rows + best), paid):
            return best
        start = best + 1
        candidate = -1
        next_tier = low


@helper
def liquidation_price(rules: Rules, held: Segment, first: int, last: int, funding_: float) -> float:
    """Return where equity meets the maintenance margin at a funding, taken over some tiers."""
    return formula.liquidation_price(
        held.kind, held.side, held.quantity, held.anchor, funding_ - held.entry_funding, rules.rate, rules.amount,
        first, last, held.constant, held.level, held.fee,
    )  # fmt: skip


@helper
def bankruptcy_price(held: Segment, funding_: float) -> float:
    """Return where equity is zero at a funding."""
    since = funding_ - held.entry_funding
    return formula.bankruptcy_price(held.kind, held.side, held.quantity, held.anchor, since)


@helper
def triggering_rate(rules: Rules, held: Segment, first: int, last: int, funding_: float) -> float:
    """Return the rate of the tier whose requirement meets equity at the liquidation price."""
    if held.constant:
        return tiers.constant_rate(rules, held.group, held.first, held.entry_notional, held.leverage)
    decisive = first
    best = liquidation_price(rules, held, first, first, funding_)
    for tier in range(first + 1, last + 1):
        price = liquidation_price(rules, held, tier, tier, funding_)
        if held.side * price > held.side * best:
            best = price
            decisive = tier
    return rules.rate[decisive]
