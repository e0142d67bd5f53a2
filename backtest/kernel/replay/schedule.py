"""Schedule of a replay: entries, exits and adjustments, sorted by the bar they take effect in."""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.arrays import NO_TIME, Bars, Funding, Positions
from backtest.kernel.compile import kernel
from backtest.kernel.margin import lookup
from backtest.kernel.replay.state import whole
from backtest.kernel.sweep.adjustments import Actions
from backtest.kernel.types import Codes, Flags, Floats, Integers


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
    change_price: Floats
    deposit_time: Integers
    deposit: Integers  #: units


@kernel
def place_entries(
    bars: Bars, positions: Positions, exit_time: Integers, entry_at: Codes, exit_at: Codes, start: int, stop: int
) -> None:
    """Write at which rows positions [start, stop) enter (after all: never) and leave as planned (-1: never)."""
    rows = bars.first[bars.first.shape[0] - 1]
    for i in range(start, stop):
        y = whole(positions.symbol[i])
        first, count = bars.first[y], bars.first[y + 1] - bars.first[y]
        bar = lookup.first_bar_at_or_after(bars, y, positions.entry_time[i])
        entry_at[i] = first + bar if bar < count else rows
        if exit_at.shape[0] > 0:
            bar = lookup.first_bar_at_or_after(bars, y, exit_time[i]) if exit_time[i] != NO_TIME else count
            exit_at[i] = first + bar if bar < count else -1


@kernel
def place_changes(
    bars: Bars, funding: Funding, symbol: Codes, exit_time: Integers, changes: Actions, at: Codes, made: Integers
) -> None:
    """Write the row at which each adjustment takes effect (-1: never) and the charges made by then."""
    for j in range(changes.row.shape[0]):
        i = changes.row[j]
        y = whole(symbol[i])
        bar = lookup.first_bar_at_or_after(bars, y, changes.time[j])
        count = bars.first[y + 1] - bars.first[y]
        late = bar == count
        if exit_time.shape[0] > 0:
            late = late or (exit_time[i] != NO_TIME and changes.time[j] > exit_time[i])
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
