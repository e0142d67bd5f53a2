"""How much of a position one step of a procedure closes, and whether it is enough."""

from __future__ import annotations

import numpy as np

from backtest.kernel.arrays import BY_LEVERAGE, MARGINAL
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula, lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay.codes import ALL, BY_LAST, FRACTION, TIER
from backtest.kernel.replay.state import World, equity_at, requirement_at, rules_of, terms, unrealised, whole

#: Orders close at least this share of the quantity at the trigger: impact could make them ever smaller.
SMALLEST_STEP = 0.001

#: Of a tier's floor a step keeps this much, so that no last digit leaves the position in its old tier.
JUST_BELOW = 1.0 - 1e-12


@part
def step_lots(w: World, i: int, partial: bool, tau: float, base: float, now: float) -> int:
    """Return how many lots the next order is to close."""
    lots = w.book[i]["lots"]
    step = w.settings[0]["step"]
    if not partial or step == ALL:
        return lots
    if step == FRACTION:
        wanted = whole(np.ceil(w.book[i]["begun"] * w.settings[0]["step_fraction"]))
        return min(lots, max(whole(1), wanted))
    own = terms(w.groups, w.tiers, w.book, i)
    wanted = tier_lots(w, own, lots, tau) if step == TIER else enough_lots(w, own, lots, tau, base, now)
    least = whole(np.ceil(w.book[i]["begun"] * SMALLEST_STEP))
    return min(lots, max(wanted, least))


@part
def tier_lots(w: World, own: Segment, lots: int, tau: float) -> int:
    """Return how many lots lead down as many tiers as a step does; all of a position that takes no step."""
    if takes_no_step(w, own, tau):
        return lots
    rules, group = rules_of(w.groups, w.tiers), own.group
    size = size_in_table(w, own, tau)
    tier = lookup.flat_tier(rules, group, size)
    lowered = max(tier - w.settings[0]["tier_step"], rules.tier_first[group]) + 1
    kept = whole(np.floor(lots * (rules.floor[lowered] / size) * JUST_BELOW))
    return min(lots, max(whole(1), lots - max(kept, whole(0))))


@part
def takes_no_step(w: World, own: Segment, tau: float) -> bool:
    """Return whether a position is too low in its table to be led down by tiers."""
    rules, group = rules_of(w.groups, w.tiers), own.group
    if rules.keyed_by[group] == BY_LEVERAGE:
        return True
    tier = lookup.flat_tier(rules, group, size_in_table(w, own, tau))
    return tier - rules.tier_first[group] < w.settings[0]["whole_tiers"]


@helper
def ends_by_tier(w: World, own: Segment, tau: float) -> bool:
    """Return whether the last rule is due because no step leads down from a position's tier."""
    settings = w.settings[0]
    return settings["step"] == TIER and settings["in_lowest"] == BY_LAST and takes_no_step(w, own, tau)


@part
def size_in_table(w: World, own: Segment, tau: float) -> float:
    """Return a position's size as its table of tiers measures it."""
    rules, group = rules_of(w.groups, w.tiers), own.group
    if rules.keyed_by[group] == MARGINAL and not own.constant:
        return formula.notional(own.kind, own.quantity, tau)
    return lookup.table_size(rules, group, own.quantity, own.entry_notional)


@part
def enough_lots(w: World, own: Segment, lots: int, tau: float, base: float, now: float) -> int:
    """Return the fewest lots whose closing at the order's price leaves a position healthy; all if none does."""
    low, high = whole(1), lots
    paid = (own.side * own.quantity) * (now - own.entry_funding)
    while low < high:
        middle = (low + high) >> 1
        closed = own.quantity * (middle / lots)
        margin = (own.margin - paid) + unrealised(own.kind, own.side, closed, own.entry_price, base)
        margin -= w.settings[0]["liquidation_fee_rate"] * formula.notional(own.kind, closed, base)
        left = position.begin(
            rules_of(w.groups, w.tiers), own.group, own.symbol, own.side, own.quantity * ((lots - middle) / lots),
            own.entry_price, margin, own.leverage, now,
        )  # fmt: skip
        if healthy(w, left, tau, now):
            high = middle
        else:
            low = middle + 1
    return low


@part
def healthy(w: World, own: Segment, tau: float, now: float) -> bool:
    """Return whether equity at the mark exceeds what ends a procedure."""
    equity = equity_at(own, tau, now)
    needed = requirement_at(w.tiers, own, tau)
    if w.settings[0]["until"] != 0:
        needed = max(needed, formula.notional(own.kind, own.quantity, tau) / own.leverage)
    return equity > needed
