"""Writing down what became of a position: prices in closed form, the fill, and the money."""

from __future__ import annotations

import numpy as np

from backtest.kernel import formula
from backtest.kernel.arrays import LIQUIDATED, Bars, Outcomes, Rules
from backtest.kernel.compile import helper
from backtest.kernel.segment import constant_rate
from backtest.kernel.types import INVERSE


@helper
def or_nan(price: float) -> float:
    """Return a price, or NaN where it is not positive."""
    return price if price > 0.0 else np.nan


@helper
def within_bar(side: float, price: float, worst: float) -> float:
    """Return the liquidation price of a bar that triggered, no further away than the bar's worst price."""
    if price <= 0.0:
        return price
    return max(price, worst) if side > 0 else min(price, worst)


@helper
def reached_at_open(side: float, opening: float, price: float) -> bool:
    """Return whether a bar opened at or beyond a price on the losing side; any open is beyond no price (0)."""
    return price <= 0.0 or side * opening <= side * price


@helper
def liquidation_fill(bars: Bars, row: int, side: float, opening: float, price: float) -> float:
    """Return what a liquidation gets: its price, the open beyond it, or what replaces both."""
    if bars.replaced:
        return bars.fill_long[row] if side > 0 else bars.fill_short[row]
    return opening if reached_at_open(side, opening, price) else price


@helper
def triggering_rate(
    rules: Rules,
    group: int,
    first: int,
    last: int,
    low: int,
    high: int,
    side: float,
    quantity: float,
    anchored: float,
    funding_since_entry: float,
    level: float,
    entry_notional: float,
    leverage: float,
) -> float:
    """Return the rate of the tier whose requirement meets equity at the liquidation price."""
    if rules.constant[group]:
        return constant_rate(rules, group, first, last, entry_notional, leverage)
    if low == high:
        return rules.rate[low]
    kind, fee = rules.kind[group], rules.fee[group]
    reached_first = side if kind != INVERSE else -side
    best = 0.0
    decisive = low
    for tier in range(low, high + 1):
        value = formula.crossing_value(
            kind, side, quantity, anchored, funding_since_entry, level - rules.amount[tier],
            formula.slope(kind, side, rules.rate[tier], fee),
        )  # fmt: skip
        if tier == low or reached_first * value > reached_first * best:
            best = value
            decisive = tier
    return rules.rate[decisive]


@helper
def write_close(
    out: Outcomes,
    i: int,
    outcome: int,
    moment: int,
    kind: int,
    side: float,
    quantity: float,
    entry_price: float,
    margin: float,
    entry_funding: float,
    funding_: float,
    paid_before: float,
    put_in: float,
    fill: float,
    returned: bool,
) -> None:
    """Write the fill of a position that ended, and the money that follows from it."""
    held = formula.equity(kind, side, quantity, entry_price, margin, entry_funding, fill, funding_)
    out.outcome[i] = outcome
    out.time[i] = moment
    out.fill_price[i] = fill
    out.fill_notional[i] = formula.notional(kind, quantity, fill)
    out.funding_paid[i] = paid_before + (side * quantity) * (funding_ - entry_funding)
    out.equity_at_fill[i] = held
    out.shortfall[i] = max(0.0, -held)
    kept = held
    if outcome == LIQUIDATED:
        kept = max(held, 0.0) if returned else 0.0
    out.realised_pnl[i] = kept - put_in


@helper
def write_unfinished(
    out: Outcomes,
    i: int,
    outcome: int,
    moment: int,
    side: float,
    quantity: float,
    entry_funding: float,
    funding_: float,
    paid_before: float,
) -> None:
    """Write a position that is still open, or whose end cannot be known."""
    out.outcome[i] = outcome
    out.time[i] = moment
    out.fill_price[i] = np.nan
    out.fill_notional[i] = np.nan
    out.funding_paid[i] = paid_before + (side * quantity) * (funding_ - entry_funding)
    out.equity_at_fill[i] = np.nan
    out.shortfall[i] = np.nan
    out.realised_pnl[i] = np.nan

