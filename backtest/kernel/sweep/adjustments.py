"""Planned exits and adjustments of holders, and a position after an adjustment."""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.arrays import Bars, Funding, Rules
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula, lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.types import Floats, Integers


class Actions(NamedTuple):
    """Planned exits and adjustments. NaN and the earliest time mean none."""

    exit_time: Integers  #: (n,)
    stop_price: Floats  #: (n,)
    take_profit_price: Floats  #: (n,)
    row: Integers  #: (adjustments,) position each belongs to, ascending
    time: Integers  #: (adjustments,) ascending within a position
    margin_change: Floats
    quantity_change: Floats


@helper
def first_adjustment(actions: Actions, i: int) -> int:
    """Return where the adjustments of a position begin."""
    low, high = 0, actions.row.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if actions.row[middle] < i:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def after_change(
    bars: Bars, funding: Funding, rules: Rules, actions: Actions, held: Segment, change: int, bar: int
) -> tuple[Segment, float, float]:
    """Return a position after a change at a bar's opening, the funding paid until then, and the margin put in."""
    made = lookup.charges_until(bars, funding, held.symbol, bar, actions.time[change])
    changed_at = funding.cumulative[funding.first[held.symbol] + made]
    closed, put_in = -actions.quantity_change[change], actions.margin_change[change]
    paid = (held.side * held.quantity) * (changed_at - held.entry_funding)
    opening = bars.mark_open[bars.first[held.symbol] + bar]
    realised = formula.result(held.kind, held.side, closed, held.entry_price, opening)
    left, before = held.quantity - closed, held.margin - paid
    margin = formula.margin_kept(rules.pro_rata, before, left / held.quantity, realised) + put_in
    put_in -= formula.paid_out(rules.pro_rata, before, left / held.quantity, realised)
    changed = position.begin(
        rules, held.group, held.symbol, held.side, left, held.entry_price, margin, held.leverage, changed_at
    )
    return changed, paid, put_in
