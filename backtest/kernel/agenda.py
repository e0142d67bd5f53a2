"""What a replay is to do at which bar: entries, exits and adjustments, sorted by the bar they take effect in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel import formula, place
from backtest.kernel.arrays import NO_TIME, Bars, Funding, Positions, Rules
from backtest.kernel.changes import Actions
from backtest.kernel.compile import kernel
from backtest.kernel.records import Records
from backtest.kernel.types import Codes, Flags, Floats, Integers
from backtest.kernel.waterfall import whole


class Agenda(NamedTuple):
    """What happens at which opening, and the order bars are stepped in."""

    rows: Integers  #: (rows,) all bars in order of time, ties by symbol
    symbol: Codes  #: (rows,) of each row of bars
    after_gap: Flags  #: (rows,) opens after a long gap
    entry_first: Integers  #: (rows + 2,) into ``entry``; the last range enters after the last bar
    entry: Codes
    exit_first: Integers
    exit: Codes
    change_first: Integers
    change: Codes
    change_owner: Integers  #: (adjustments,) position of each
    change_made: Integers  #: (adjustments,) charges at or before it, absolute
    margin_change: Floats
    quantity_change: Floats
    deposit_time: Integers
    deposit: Integers  #: units


@kernel
def survey_entries(
    bars: Bars, funding: Funding, rules: Rules, positions: Positions, actions: Actions, book: Records,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write down where positions [start, stop) enter the market and when they plan to leave it."""
    for i in range(start, stop):
        y = whole(positions.symbol[i])
        entry_time, entry_price, quantity = (
            positions.entry_time[i],
            positions.entry_price[i],
            positions.quantity[i],
        )
        group = place.group_of(rules, y, entry_time)
        first_bar = place.first_bar_at_or_after(bars, y, entry_time)
        notional = formula.notional(rules.kind[group], quantity, entry_price)
        book[i]["quantity"], book[i]["entry_price"] = quantity, entry_price
        book[i]["margin"] = place.margin_of(positions, i, notional)
        book[i]["leverage"] = place.leverage_of(positions, i, notional)
        book[i]["stop_price"], book[i]["take_profit_price"] = actions.stop_price[i], actions.take_profit_price[i]
        book[i]["group"], book[i]["symbol"], book[i]["side"] = group, y, positions.side[i]
        book[i]["start"] = first_bar
        book[i]["made"] = funding.first[y] + place.charges_until(bars, funding, y, first_bar, entry_time)
        count = bars.first[y + 1] - bars.first[y]
        book[i]["lost"] = first_bar < count and place.end_of_knowledge(bars, y, first_bar, entry_time) == first_bar
        book[i]["inside"] = place.falls_inside_a_bar(bars, y, first_bar, entry_time)
        book[i]["exit_bar"] = count
        if actions.exit_time[i] != NO_TIME:
            exit_bar = place.first_bar_at_or_after(bars, y, actions.exit_time[i])
            book[i]["exit_bar"] = exit_bar
            book[i]["exit_made"] = funding.first[y] + place.charges_until(
                bars, funding, y, exit_bar, actions.exit_time[i]
            )
        book[i]["share"] = 1.0
        book[i]["spent_bar"], book[i]["extra"], book[i]["tier_rate"] = -1, -1, np.nan


@kernel
def place_changes(
    bars: Bars, funding: Funding, actions: Actions, book: Records, at: Integers, made: Integers
) -> None:
    """Write the row at which each adjustment takes effect (-1: never) and the charges made by then."""
    for j in range(actions.row.shape[0]):
        i = actions.row[j]
        y = whole(book[i]["symbol"])
        bar = place.first_bar_at_or_after(bars, y, actions.time[j])
        count = bars.first[y + 1] - bars.first[y]
        late = bar == count or (actions.exit_time[i] != NO_TIME and actions.time[j] > actions.exit_time[i])
        at[j] = -1 if late else bars.first[y] + bar
        made[j] = funding.first[y] + place.charges_until(bars, funding, y, bar, actions.time[j])


@kernel
def sort_by_row(at: Integers, first: Integers, order: Codes, rows: int) -> None:
    """Write entries ordered by row, ties in their own order, and where each row's begin; below 0: left out."""
    for j in range(at.shape[0]):
        if at[j] >= 0:
            first[at[j] + 1] += 1
    for row in range(rows):
        first[row + 1] += first[row]
    for j in range(at.shape[0]):
        if at[j] >= 0:
            order[first[at[j]]] = j
            first[at[j]] += 1
    for row in range(rows, 0, -1):
        first[row] = first[row - 1]
    first[0] = 0
