"""Schedule of a replay: entries, exits and adjustments, sorted by the bar they take effect in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME, Bars, Funding, Positions
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import lookup
from backtest.kernel.replay.state import whole
from backtest.kernel.sweep.adjustments import Actions
from backtest.kernel.types import Codes, Flags, Integers


class Agenda(NamedTuple):
    """What happens at which opening, and the order bars are stepped in."""

    rows: Integers  #: (rows,) all bars in order of time, ties by symbol
    symbol: Codes  #: (rows,) of each row of bars
    after_gap: Flags  #: (rows,) opens after a long gap
    entry_first: Integers  #: (rows + 2,) into ``entry``; the last range enters after the last bar
    entry: Codes
    exit_first: Integers
    exit: Codes
    inside_first: Integers
    inside: Codes  #: whose exit lies strictly inside a bar
    change_first: Integers
    change: Codes
    change_made: Integers  #: (adjustments,) charges at or before each, absolute
    deposit_time: Integers
    deposit: Integers  #: units


@kernel
def place_entries(
    bars: Bars, positions: Positions, actions: Actions, entry_at: Codes, exit_at: Codes, inside_at: Codes,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write at which rows positions [start, stop) enter (after all: never), leave, and leave inside (-1: never).

    An exit inside a bar that has a price takes place there, any other at the next opening.
    """
    rows = bars.first[bars.first.shape[0] - 1]
    for i in range(start, stop):
        y = whole(positions.symbol[i])
        first, count = bars.first[y], bars.first[y + 1] - bars.first[y]
        bar = lookup.first_bar_at_or_after(bars, y, positions.entry_time[i])
        entry_at[i] = first + bar if bar < count else rows
        if exit_at.shape[0] > 0:
            exit_at[i] = inside_at[i] = -1
            exit_time = actions.exit_time[i]
            if exit_time == NO_TIME:
                continue
            bar = lookup.first_bar_at_or_after(bars, y, exit_time)
            if lookup.falls_inside_a_bar(bars, y, bar, exit_time):
                inside_at[i] = first + bar - 1
            if bar < count and not leaves_inside(actions, inside_at, i):
                exit_at[i] = first + bar


@helper
def leaves_inside(actions: Actions, inside_at: Codes, i: int) -> bool:
    """Return whether a position leaves inside a bar, at a price of its own."""
    return inside_at[i] >= 0 and actions.exit_price.shape[0] > 0 and not np.isnan(actions.exit_price[i])


@kernel
def place_changes(
    bars: Bars, funding: Funding, symbol: Codes, changes: Actions, inside_at: Codes, at: Codes, made: Integers
) -> None:
    """Write the row at which adjustments take effect (-1: never, or with an exit inside), and the charges."""
    for j in range(changes.row.shape[0]):
        i = changes.row[j]
        y = whole(symbol[i])
        bar = lookup.first_bar_at_or_after(bars, y, changes.time[j])
        count = bars.first[y + 1] - bars.first[y]
        late = bar == count
        if changes.exit_time.shape[0] > 0 and changes.exit_time[i] != NO_TIME:
            with_exit = leaves_inside(changes, inside_at, i) and inside_at[i] == bars.first[y] + bar - 1
            late = late or with_exit or changes.time[j] > changes.exit_time[i]
        at[j] = -1 if late else bars.first[y] + bar
        made[j] = funding.first[y] + lookup.charges_until(bars, funding, y, bar, changes.time[j])


@kernel
def sort_by_row(at: Codes, first: Integers, order: Codes, rows: int) -> None:
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
