"""Planned exits and adjustments of holders, and a position after an adjustment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import Bars, Funding, Rules
from backtest.kernel.compile import helper
from backtest.kernel.margin import formula, lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.types import Floats, Integers


class Actions(NamedTuple):
    """Planned exits and adjustments. NaN and the earliest time mean none."""

    exit_time: Integers  #: (n,)
    exit_price: Floats  #: (n,)
    stop_price: Floats  #: (n,)
    take_profit_price: Floats  #: (n,)
    row: Integers  #: (adjustments,) position each belongs to, ascending
    time: Integers  #: (adjustments,) ascending within a position
    margin_change: Floats  #: NaN: the initial margin of an addition
    quantity_change: Floats
    price: Floats  #: NaN: the mark's opening


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


class Changed(NamedTuple):
    """A position after a change by its holder."""

    held: Segment
    paid: float  #: funding until then
    put_in: float  #: margin, less what was paid out
    grown: float  #: notional of an addition


@helper
def traded_at(actions: Actions, change: int, mark: float) -> float:
    """Return the price of the part that a change adds or closes: its own, else the mark."""
    return mark if np.isnan(actions.price[change]) else actions.price[change]


@helper
def margin_added(
    rules: Rules, group: int, side: float, added: float, price: float, leverage: float, margin_change: float
) -> float:
    """Return the margin put in with an addition: as given, or at the selected leverage (NaN)."""
    if not np.isnan(margin_change):
        return margin_change
    return formula.initial_margin(rules.kind[group], side, added, price, leverage, rules.included_fee[group])


@helper
def after_change(
    bars: Bars, funding: Funding, rules: Rules, actions: Actions, held: Segment, change: int, bar: int, mark: float
) -> Changed:
    """Return a position after a change, which is done at ``mark`` unless it has a price of its own.

    ``bar`` is the first that opens at or after the change.
    """
    made = lookup.charges_until(bars, funding, held.symbol, bar, actions.time[change])
    changed_at = funding.cumulative[funding.first[held.symbol] + made]
    added, put_in = actions.quantity_change[change], actions.margin_change[change]
    paid = (held.side * held.quantity) * (changed_at - held.entry_funding)
    price = traded_at(actions, change, mark)
    quantity, entry_price, before, grown = held.quantity + added, held.entry_price, held.margin - paid, 0.0
    if added > 0.0:
        entry_price = formula.average_entry(held.kind, held.quantity, entry_price, added, price)
        put_in = margin_added(rules, held.group, held.side, added, price, held.leverage, put_in)
        grown = formula.notional(held.kind, added, price)
        margin = before + put_in
    else:
        realised = formula.result(held.kind, held.side, -added, entry_price, price)
        margin = formula.margin_kept(rules.pro_rata, before, quantity / held.quantity, realised) + put_in
        put_in -= formula.paid_out(rules.pro_rata, before, quantity / held.quantity, realised)
    changed = position.begin(
        rules, held.group, held.symbol, held.side, quantity, entry_price, margin, held.leverage, changed_at
    )
    return Changed(changed, paid, put_in, grown)
