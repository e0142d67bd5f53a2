"""Ends of positions whose holders act, and their outcomes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME, Bars, Outcomes, Rules
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep import outcomes
from backtest.kernel.sweep.adjustments import Changed
from backtest.kernel.sweep.bar_events import EXITED, LIQUIDATED, OPEN, UNKNOWN, Found


class Flows(NamedTuple):
    """Sums over the changes of a position."""

    put_in: float  #: the first margin and that added, less what was paid out
    paid: float  #: funding
    grown: float  #: notional of additions


@helper
def with_change(flows: Flows, changed: Changed) -> Flows:
    """Return the sums after one more change."""
    return Flows(flows.put_in + changed.put_in, flows.paid + changed.paid, flows.grown + changed.grown)


class End(NamedTuple):
    """How a position ended, or not, and everything that its outcome follows from."""

    held: Segment
    outcome: int
    bar: int  #: of the outcome
    ambiguous: bool
    price: float  #: liquidation price
    tested: float  #: funding that it is at
    fill: float
    now: float  #: funding of the outcome
    flows: Flows


@helper
def ended(found: Found, held: Segment, bar: int, ambiguous: bool, now: float, flows: Flows) -> End:
    """Return the end of a position by an event of a bar."""
    return End(held, found.event, bar, ambiguous or found.ambiguous, found.price, now, found.fill, now, flows)


@helper
def unended(
    rules: Rules, held: Segment, outcome: int, bar: int, ambiguous: bool, tested: float, flows: Flows
) -> End:
    """Return a position that is still open, or whose outcome cannot be known."""
    price = position.liquidation_price(rules, held, held.first, held.last, tested)
    return End(held, outcome, bar, ambiguous, price, tested, np.nan, tested, flows)


@helper
def left(
    bars: Bars, rules: Rules, held: Segment, bar: int, recorded: float, ambiguous: bool, tested: float, now: float,
    flows: Flows,
) -> End:  # fmt: skip
    """Return the end of a position by its exit, at the price recorded for it or at the opening of a bar.

    A recorded price liquidates where it is of the series that triggers.
    """
    row = bars.first[held.symbol] + bar
    beyond = not np.isnan(recorded) and position.triggers(rules, held, recorded, now)
    if beyond and bars.traded:
        price = position.liquidation_price(rules, held, held.first, held.last, now)
        price = outcomes.no_worse(held.side, price, recorded)
        fill = price
        if bars.replaced:
            fill = bars.fill_long[row] if held.side > 0 else bars.fill_short[row]
        return End(held, LIQUIDATED, bar, ambiguous, price, now, fill, now, flows)
    price = position.liquidation_price(rules, held, held.first, held.last, tested)
    fill = bars.mark_open[row] if np.isnan(recorded) else recorded
    return End(held, EXITED, bar, ambiguous or beyond, price, tested, fill, now, flows)


@helper
def write(bars: Bars, rules: Rules, out: Outcomes, i: int, end: End) -> None:
    """Write the outcome of a position."""
    held, row = end.held, bars.first[end.held.symbol] + end.bar
    if end.outcome == OPEN:
        outcomes.write_unfinished(out, i, held, end.outcome, NO_TIME, end.now, end.flows.paid)
    elif end.outcome == UNKNOWN:
        outcomes.write_unfinished(out, i, held, end.outcome, bars.time[row], end.now, end.flows.paid)
    else:
        outcomes.write_close(
            out, i, held, end.outcome, bars.time[row], end.fill, end.now, end.flows.paid, end.flows.put_in,
            rules.returned,
        )  # fmt: skip
    out.tier_rate[i] = np.nan
    if end.outcome == LIQUIDATED:
        out.tier_rate[i] = position.triggering_rate(rules, held, held.first, held.last, end.now)
    out.ambiguous[i] = end.ambiguous
    out.liquidation_price[i] = formula.or_nan(end.price)
    out.bankruptcy_price[i] = formula.or_nan(position.bankruptcy_price(held, end.tested))
    if out.grown.shape[0] > 0:
        out.grown[i] = end.flows.grown
