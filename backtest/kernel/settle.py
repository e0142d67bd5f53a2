"""Writing down what became of a position: prices in closed form, the fill, and the money."""

from __future__ import annotations

import numpy as np

from backtest.kernel import formula
from backtest.kernel.arrays import LIQUIDATED, Bars, Outcomes, Rules
from backtest.kernel.compile import helper
from backtest.kernel.segment import constant_rate


@helper
def within_bar(side: float, price: float, worst: float) -> float:
    """Return the liquidation price of a bar that triggered, no further away than the bar's worst price."""
    return max(price, worst) if side > 0 else min(price, worst)


@helper
def reached_at_open(side: float, opening: float, price: float) -> bool:
    """Return whether a bar opened at or beyond a price on the losing side."""
    return side * opening <= side * price


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
        return constant_rate(rules, group, first, entry_notional, leverage)
    if low == high:
        return rules.rate[low]
    kind, fee = rules.kind[group], rules.fee[group]
    best = -side * np.inf
    decisive = low
    for tier in range(low, high + 1):
        price = formula.crossing_price(
            kind, side, quantity, anchored, funding_since_entry, level - rules.amount[tier],
            formula.slope(kind, side, rules.rate[tier], fee),
        )  # fmt: skip
        if side * price > side * best:
            best = price
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
