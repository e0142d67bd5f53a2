"""One position under one set of terms: where it stands in the market, and the first bar it cannot survive.

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

from backtest.kernel import formula
from backtest.kernel.arrays import (
    BY_CONTRACTS,
    BY_LEVERAGE,
    BY_NOTIONAL,
    MARGINAL,
    Bars,
    Forest,
    Funding,
    Positions,
    Rules,
)
from backtest.kernel.compile import helper
from backtest.kernel.min_tree import first_at_most
from backtest.kernel.types import INVERSE, Floats

ALLOWANCE = 2.0**-48
RANGE_ALLOWANCE = 2.0**-40


@helper
def signed_side(positions: Positions, i: int) -> float:
    """Return +1 for a long, -1 for a short."""
    return 1.0 - 2.0 * positions.side[i]


@helper
def margin_of(positions: Positions, i: int, entry_notional: float) -> float:
    """Return the margin put in at the entry."""
    return positions.margin[i] if positions.has_margin else entry_notional / positions.leverage[i]


@helper
def leverage_of(positions: Positions, i: int, entry_notional: float) -> float:
    """Return the selected leverage."""
    return positions.leverage[i] if positions.has_leverage else entry_notional / positions.margin[i]


@helper
def group_of(rules: Rules, symbol: int, entry_time: int) -> int:
    """Return the group of a symbol whose table applies to an entry."""
    group = rules.first[symbol]
    for later in range(group + 1, rules.first[symbol + 1]):
        group += 1 if entry_time >= rules.start[later] else 0
    return group


@helper
def first_bar_at_or_after(bars: Bars, symbol: int, moment: int) -> int:
    """Return the first bar of a symbol that opens at or after a moment; the number of bars where none does."""
    first, last = bars.first[symbol], bars.first[symbol + 1]
    if moment <= bars.time[first]:
        return 0
    if bars.regular[symbol]:
        interval = bars.interval[symbol]
        return min((moment - bars.time[first] + interval - 1) // interval, last - first)
    low, high = first, last
    while low < high:
        middle = (low + high) >> 1
        if bars.time[middle] < moment:
            low = middle + 1
        else:
            high = middle
    return low - first


@helper
def charges_until(bars: Bars, funding: Funding, symbol: int, bar: int, moment: int) -> int:
    """Return how many funding charges have an effective time at or before a moment.

    ``bar`` is the first bar that opens at or after the moment.
    """
    first, count = bars.first[symbol], bars.first[symbol + 1] - bars.first[symbol]
    opened = bar if bar < count and bars.time[first + bar] == moment else bar - 1
    made = funding.charged[first + opened] if opened >= 0 else 0
    while funding.time[funding.first[symbol] + made] <= moment:
        made += 1
    return made


@helper
def end_of_knowledge(bars: Bars, symbol: int, bar: int, entry_time: int) -> int:
    """Return the first bar that can no longer be tested: after a long gap, or after the last bar.

    ``bar`` is the first bar that opens at or after the entry. It lies beyond a long gap itself where too much is
    missing between the entry and its opening.
    """
    first = bars.first[symbol]
    for number in range(bars.gap_first[symbol], bars.gap_first[symbol + 1]):
        gap = bars.gap[number]
        if gap > bar:
            return gap
        if gap == bar:
            missing_from = max(entry_time, bars.time[first + bar - 1] + bars.interval[symbol])
            if bars.time[first + bar] - missing_from > bars.gap_limit:
                return bar
    return bars.first[symbol + 1] - first


@helper
def falls_inside_a_bar(bars: Bars, symbol: int, bar: int, entry_time: int) -> bool:
    """Return whether the bar before ``bar`` covers an entry that ``bar`` is the first to open at or after."""
    first = bars.first[symbol]
    if bar == 0:
        return False
    at_opening = first + bar < bars.first[symbol + 1] and bars.time[first + bar] == entry_time
    return not at_opening and entry_time < bars.time[first + bar - 1] + bars.interval[symbol]


@helper
def flat_tier(rules: Rules, group: int, size: float) -> int:
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
def table_size(rules: Rules, group: int, quantity: float, entry_notional: float) -> float:
    """Return a size in the unit the group's table is measured in."""
    if rules.keyed_by[group] == BY_CONTRACTS:
        return quantity / rules.contract_size[group]
    return entry_notional


@helper
def own_tiers(
    rules: Rules, group: int, quantity: float, entry_notional: float, leverage: float
) -> tuple[int, int]:
    """Return the first and last tier a position's requirement is taken from."""
    keyed_by = rules.keyed_by[group]
    if keyed_by == MARGINAL:
        return rules.tier_first[group], rules.tier_first[group + 1] - 1
    if keyed_by == BY_LEVERAGE:
        tier = rules.tier_first[group]
        if not rules.constant[group]:
            tier = flat_tier(rules, group, leverage)
        return tier, tier
    tier = flat_tier(rules, group, table_size(rules, group, quantity, entry_notional))
    return tier, tier


@helper
def constant_base(
    rules: Rules, group: int, first: int, last: int, entry_notional: float, leverage: float
) -> float:
    """Return the requirement at entry, before closing fees; 0 where the requirement varies."""
    if not rules.constant[group]:
        return 0.0
    if rules.keyed_by[group] == BY_LEVERAGE:
        return (rules.rate_factor[group] / max(leverage, 1.0)) * entry_notional
    return formula.tiered(rules.rate, rules.amount, first, last, entry_notional)


@helper
def constant_rate(rules: Rules, group: int, tier: int, entry_notional: float, leverage: float) -> float:
    """Return the rate of a constant requirement: the one at the entry size; ``tier`` is the flat one."""
    keyed = rules.keyed_by[group]
    if keyed == BY_LEVERAGE:
        return rules.rate_factor[group] / max(leverage, 1.0)
    return rules.rate[flat_tier(rules, group, entry_notional) if keyed == MARGINAL else tier]


@helper
def relevant_tiers(
    rules: Rules,
    funding: Funding,
    group: int,
    symbol: int,
    charges: int,
    first: int,
    last: int,
    side: float,
    quantity: float,
    entry_price: float,
    anchored: float,
    entry_funding: float,
    reserved: float,
) -> tuple[int, int]:
    """Return the tiers that can trigger at any funding the position may still see.

    The tier that triggers at funding F is the one its liquidation price at F lies in, and that price is monotone
    in F: the least and greatest F to come bound it. Whether it lies beyond the floor b of a tier is whether
    equity at notional b falls short there: v = -(anchor) - s q (F - F_e) - c against the tier's hurdle
    r b - a + f b -+ b, the same for every position. ``charges`` counts those at or before the first tested bar.
    """
    if first == last:
        return first, last
    entry = funding.first[symbol] + charges
    lowest, highest = funding.lowest[entry], funding.highest[entry]
    signed = side * quantity
    start = -(anchored - signed * entry_funding) - reserved
    one, other = start - signed * lowest, start - signed * highest
    size = quantity / entry_price if rules.kind[group] == INVERSE else quantity * entry_price
    magnitude = abs(anchored) + size + abs(reserved)
    magnitude += quantity * (abs(entry_funding) + max(abs(lowest), abs(highest)))
    least = min(one, other) - RANGE_ALLOWANCE * magnitude
    most = max(one, other) + RANGE_ALLOWANCE * magnitude
    low = first
    rising = side if rules.kind[group] != INVERSE else -side
    hurdles = rules.hurdle_long if side > 0 else rules.hurdle_short
    if rising > 0:  # most positions are small: leaving early beats counting without branches
        while low < last and most <= hurdles[low + 1]:
            low += 1
        high = low
        while high < last and least <= hurdles[high + 1]:
            high += 1
    else:
        while low < last and least > hurdles[low + 1]:
            low += 1
        high = low
        while high < last and most > hurdles[high + 1]:
            high += 1
    return low, high


@helper
def threshold(
    rules: Rules,
    forest: Forest,
    group: int,
    tier: int,
    tree: int,
    side: float,
    quantity: float,
    entry_price: float,
    margin: float,
    anchored: float,
    entry_funding: float,
    level: float,
) -> float:
    """Return theta of one tier, with the rounding allowance; ``level`` is without the tier's amount."""
    own = level if rules.constant[group] else level - rules.amount[tier]
    per_unit = 1.0 / quantity
    entry = 1.0 / entry_price if rules.kind[group] == INVERSE else entry_price
    magnitude = forest.scale[tree] + (abs(margin) + abs(own)) * per_unit + entry + abs(entry_funding)
    exact = ((anchored - (side * quantity) * entry_funding) + own) * per_unit
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
def triggers(
    rules: Rules,
    group: int,
    first: int,
    last: int,
    side: float,
    quantity: float,
    entry_price: float,
    margin: float,
    entry_funding: float,
    base: float,
    reserved: float,
    price: float,
    funding_: float,
) -> bool:
    """Return whether a position is liquidated at a price, by the direct formula: the definition."""
    kind = rules.kind[group]
    held = formula.equity(kind, side, quantity, entry_price, margin, entry_funding, price, funding_)
    needed = formula.maintenance_margin(
        kind,
        quantity,
        price,
        rules.rate,
        rules.amount,
        first,
        last,
        rules.constant[group],
        base,
        reserved,
        rules.fee[group],
    )
    return held < needed or (held == needed and not rules.strict[group])


@helper
def confirmed(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    symbol: int,
    group: int,
    first: int,
    last: int,
    low: int,
    high: int,
    side: float,
    quantity: float,
    entry_price: float,
    margin: float,
    anchored: float,
    entry_funding: float,
    base: float,
    reserved: float,
    level: float,
    candidate: int,
    start: int,
    end: int,
) -> int:
    """Return the first bar in [start, end) that liquidates, or -1.

    ``candidate`` is what a search of tier ``low`` over the range found; the tiers above it up to ``high`` are
    searched here, and every candidate is put to the direct formula.
    """
    rows = bars.first[symbol]
    worst: Floats = bars.low if side > 0 else bars.high
    trees = rules.tree_long if side > 0 else rules.tree_short
    next_tier = low + 1
    while True:
        best = candidate if candidate >= 0 else end
        for tier in range(next_tier, high + 1):
            limit = threshold(
                rules, forest, group, tier, trees[tier], side, quantity, entry_price, margin, anchored,
                entry_funding, level,
            )  # fmt: skip
            found = search(forest, symbol, trees[tier], start, best, limit)
            if found >= 0:
                best = found
        if best >= end:
            return -1
        paid = funding.cumulative[funding.first[symbol] + funding.charged[rows + best]]
        if triggers(
            rules, group, first, last, side, quantity, entry_price, margin, entry_funding, base, reserved,
            worst[rows + best], paid,
        ):  # fmt: skip
            return best
        start = best + 1
        candidate = -1
        next_tier = low


def keyed_by(model: str, size: str) -> int:
    """Return the code of what decides a position's tier."""
    if model == "marginal":
        return MARGINAL
    if model == "leverage":
        return BY_LEVERAGE
    return BY_CONTRACTS if size == "contracts" else BY_NOTIONAL
