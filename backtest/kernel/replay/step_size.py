"""Size of one step of a procedure, and whether it is enough."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import InLowest, Step, Until
from backtest.kernel.compile import helper, part
from backtest.kernel.margin import formula, position, tiers
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay.proportions import raised_part
from backtest.kernel.replay.state import World, equity_at, requirement_at, rules_of, terms, whole

#: Orders close at least one in so many of the lots at the trigger: impact could make them ever smaller.
SMALLEST_STEP = 1_000

#: Least share of a position that procedure and ADL may leave: repeated fractions of one would never end.
LEAST_LEFT = 0.001

#: Share of the notional that equity must exceed a requirement by: at a trigger they are equal but for rounding.
CLEARLY = 1e-10

#: Of a tier's floor a step keeps this much, so that no last digit leaves the position in its old tier.
JUST_BELOW = 1.0 - 1e-12


@part
def step_lots(w: World, i: int, partial: bool, tau: float, base: float, now: float) -> int:
    """Return how many lots the next order is to close; everything where it would leave next to nothing."""
    lots = w.book[i]["lots"]
    if not partial:
        return lots
    wanted = partial_lots(w, i, lots, tau, base, now)
    return lots if w.book[i]["share"] * ((lots - wanted) / lots) < LEAST_LEFT else wanted


@part
def partial_lots(w: World, i: int, lots: int, tau: float, base: float, now: float) -> int:
    """Return how many lots a step closes by its rule."""
    step = w.settings[0]["step"]
    if step == Step.FRACTION:
        fraction = w.settings[0]["step_fraction"]
        return min(lots, max(whole(1), raised_part(w.book[i]["begun"], fraction[0], fraction[1])))
    own = terms(w.groups, w.tiers, w.book, i)
    wanted = tier_lots(w, own, lots, tau) if step == Step.TIER else enough_lots(w, own, lots, tau, base, now)
    return min(lots, max(wanted, raised_part(w.book[i]["begun"], 1, SMALLEST_STEP)))


@part
def tier_lots(w: World, own: Segment, lots: int, tau: float) -> int:
    """Return how many lots lead down as many tiers as a step does; all of a position that takes no step."""
    if takes_no_step(w, own, tau):
        return lots
    rules, group = rules_of(w.groups, w.tiers), own.group
    size = size_in_table(w, own, tau)
    tier = tiers.tier_at(rules, group, size)
    lowered = max(tier - w.settings[0]["tier_step"], rules.tier_first[group]) + 1
    kept = whole(np.floor(lots * (rules.floor[lowered] / size) * JUST_BELOW))
    return min(lots, max(whole(1), lots - max(kept, whole(0))))


@part
def takes_no_step(w: World, own: Segment, tau: float) -> bool:
    """Return whether a position is too low in its table to be led down by tiers."""
    rules, group = rules_of(w.groups, w.tiers), own.group
    tier = tiers.tier_by_size(rules, group, size_in_table(w, own, tau))
    return tier - rules.tier_first[group] < w.settings[0]["whole_tiers"]


@helper
def ends_by_tier(w: World, own: Segment, tau: float) -> bool:
    """Return whether the last rule is due because no step leads down from a position's tier."""
    settings = w.settings[0]
    return settings["step"] == Step.TIER and settings["in_lowest"] == InLowest.LAST and takes_no_step(w, own, tau)


@part
def size_in_table(w: World, own: Segment, tau: float) -> float:
    """Return a position's size as its table of tiers measures it."""
    rules, group = rules_of(w.groups, w.tiers), own.group
    notional = formula.notional(own.kind, own.quantity, tau)
    return tiers.size_now(rules, group, own.quantity, own.entry_notional, notional)


@part
def enough_lots(w: World, own: Segment, lots: int, tau: float, base: float, now: float) -> int:
    """Return the fewest lots whose closing at the order's price leaves a position healthy; all if none does."""
    low, high = whole(1), lots
    paid = (own.side * own.quantity) * (now - own.entry_funding)
    while low < high:
        middle = (low + high) >> 1
        closed = own.quantity * (middle / lots)
        margin = (own.margin - paid) + formula.result(own.kind, own.side, closed, own.entry_price, base)
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
    needed = requirement_at(w.tiers, own, tau)
    if w.settings[0]["until"] == Until.INITIAL:
        needed = max(needed, formula.notional(own.kind, own.quantity, tau) / own.leverage)
    return clears(own, needed, tau, now)


@helper
def clears(own: Segment, needed: float, tau: float, now: float) -> bool:
    """Return whether equity at the mark exceeds a requirement by more than rounding could."""
    return equity_at(own, tau, now) > needed + CLEARLY * formula.notional(own.kind, own.quantity, tau)
