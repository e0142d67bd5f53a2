"""Order of events inside a bar of which only open, high, low and close are known."""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import Intrabar, OutcomeCode
from backtest.kernel.compile import helper
from backtest.kernel.sweep import outcomes


@helper
def path_position(opening: float, low: float, high: float, price: float) -> float:
    """Return how far along open, nearer extreme, other extreme a price is met: 0 to 1, then 1 to 2."""
    nearer, other = (low, high) if opening - low < high - opening else (high, low)
    if min(opening, nearer) <= price <= max(opening, nearer):
        return (opening - price) / (opening - nearer)
    return 1.0 + (nearer - price) / (nearer - other)


@helper
def first_event(
    side: float,
    liquidated: bool,
    stopped: bool,
    profited: bool,
    liquidation_price: float,
    stop_price: float,
    target_price: float,
    opening: float,
    low: float,
    high: float,
    watched_open: float,
    watched_low: float,
    watched_high: float,
    same_series: bool,
    intrabar: int,
) -> tuple[int, bool]:
    """Return which of a bar's events comes first, and whether a rule had to decide."""
    if liquidated and outcomes.reached_at_open(side, opening, liquidation_price):
        return OutcomeCode.LIQUIDATED, False
    if stopped and side * watched_open <= side * stop_price:
        return OutcomeCode.STOPPED, False
    if profited and side * watched_open >= side * target_price:
        return OutcomeCode.TOOK_PROFIT, False
    if same_series and liquidated and stopped:
        liquidated = side * stop_price <= side * liquidation_price
        stopped = not liquidated
    if int(liquidated) + int(stopped) + int(profited) == 1:
        return (
            OutcomeCode.LIQUIDATED if liquidated else OutcomeCode.STOPPED if stopped else OutcomeCode.TOOK_PROFIT,
            False,
        )
    if intrabar == Intrabar.PESSIMISTIC:
        return OutcomeCode.LIQUIDATED if liquidated else OutcomeCode.STOPPED, True
    if intrabar == Intrabar.OPTIMISTIC:
        return OutcomeCode.TOOK_PROFIT if profited else OutcomeCode.STOPPED, True
    first, earliest = OutcomeCode.LIQUIDATED, np.inf
    if liquidated:
        earliest = path_position(opening, low, high, liquidation_price)
    if stopped:
        met = path_position(watched_open, watched_low, watched_high, stop_price)
        if met < earliest:
            first, earliest = OutcomeCode.STOPPED, met
    if profited:
        met = path_position(watched_open, watched_low, watched_high, target_price)
        if met < earliest:
            first, earliest = OutcomeCode.TOOK_PROFIT, met
    return first, True
