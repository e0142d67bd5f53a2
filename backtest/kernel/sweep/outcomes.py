"""Outcome of a position: its fill, and the money that follows from it."""

from __future__ import annotations

import numpy as np

from backtest.kernel.arrays import Bars, Outcomes
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula
from backtest.kernel.margin.position import Segment


@helper
def no_worse(side: float, price: float, worst: float) -> float:
    """Return the liquidation price where a price triggered, no further away than that price."""
    return max(price, worst) if side > 0 else min(price, worst)


@helper
def reached_at_open(side: float, opening: float, price: float) -> bool:
    """Return whether a bar opened at or beyond a price on the losing side."""
    return side * opening <= side * price


@helper
def liquidation_fill(bars: Bars, row: int, side: float, opening: float, price: float) -> float:
    """Return the fill price of a liquidation: its price, the open beyond it, or the substitute price."""
    if bars.replaced:
        return bars.fill_long[row] if side > 0 else bars.fill_short[row]
    return opening if reached_at_open(side, opening, price) else price


@helper
def write_close(
    out: Outcomes,
    i: int,
    held: Segment,
    outcome: int,
    moment: int,
    fill: float,
    funding_: float,
    paid_before: float,
    put_in: float,
    returned: bool,
) -> None:
    """Write the fill of a position that ended, and the money that follows from it."""
    equity = formula.equity(
        held.kind, held.side, held.quantity, held.entry_price, held.margin, held.entry_funding, fill, funding_
    )
    out.outcome[i] = outcome
    out.time[i] = moment
    out.fill_price[i] = fill
    out.fill_notional[i] = formula.notional(held.kind, held.quantity, fill)
    out.funding_paid[i] = paid_before + (held.side * held.quantity) * (funding_ - held.entry_funding)
    out.equity_at_fill[i] = equity
    out.shortfall[i] = max(0.0, -equity)
    kept = outcome != OutcomeCode.LIQUIDATED or returned
    out.realised_pnl[i] = (max(equity, 0.0) if kept else 0.0) - put_in


@helper
def write_unfinished(
    out: Outcomes, i: int, held: Segment, outcome: int, moment: int, funding_: float, paid_before: float
) -> None:
    """Write a position that is still open, or whose outcome cannot be known."""
    out.outcome[i] = outcome
    out.time[i] = moment
    out.fill_price[i] = np.nan
    out.fill_notional[i] = np.nan
    out.funding_paid[i] = paid_before + (held.side * held.quantity) * (funding_ - held.entry_funding)
    out.equity_at_fill[i] = np.nan
    out.shortfall[i] = np.nan
    out.realised_pnl[i] = np.nan
    out.tier_rate[i] = np.nan
