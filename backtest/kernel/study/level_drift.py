"""Liquidation levels moved by funding and by their holders: one piece per price.

Funding is charged, margin added or a part closed, and a new table of tiers applied, at openings, so a level is
constant between them. A new
piece begins where its bin or its quantity changes, and keeps the price the level had then.
"""

from __future__ import annotations

import math

from backtest.kernel.arrays import Bars, Funding, Positions, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, lookup, position
from backtest.kernel.study.levels import bin_of
from backtest.kernel.sweep.adjustments import Actions, after_change, first_adjustment
from backtest.kernel.sweep.passive import held_by
from backtest.kernel.types import Floats, Integers

#: Instead of a bin: no positive price liquidates, and nothing was looked at yet.
NOWHERE, UNSEEN = -2, -3

#: Beyond all times.
NEVER = (2**63 - 1) // 4


@helper
def per_bin_of(edges: Floats, logarithmic: bool) -> float:
    """Return how many bins there are to a unit of price, or of its logarithm."""
    bins = edges.shape[0] - 1
    return bins / (math.log(edges[bins] / edges[0]) if logarithmic else edges[bins] - edges[0])


@helper
def change_bar(bars: Bars, actions: Actions, symbol: int, i: int, change: int) -> int:
    """Return the bar at whose opening the next change of a position takes effect; the number of bars for none."""
    if change < actions.row.shape[0] and actions.row[change] == i:
        return lookup.first_bar_at_or_after(bars, symbol, actions.time[change])
    return bars.first[symbol + 1] - bars.first[symbol]


@kernel
def pieces(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    positions: Positions,
    actions: Actions,
    end_time: Integers,
    charged_at: Integers,
    edges: Floats,
    logarithmic: bool,
    first: Integers,
    from_time: Integers,
    price: Floats,
    quantity: Floats,
    begin: int,
    stop: int,
) -> None:
    """Count the pieces of positions [begin, stop), or write them where there is room.

    Parameters
    ----------
    end_time : (n,) ms, opening of the bar that each position's outcome falls in
    charged_at : laid out as ``funding.time``: opening each charge is made at; the last entry of a symbol lies
        beyond all times
    edges : (bins + 1,) rising
    first : (n + 1,) where each position's pieces begin; while ``price`` is empty, their numbers are written here,
        one place on
    from_time : (pieces,) ms; a piece lasts until the next one begins
    price : (pieces,) NaN where no positive price liquidates
    quantity : (pieces,) what is left of the position
    """
    per_bin = per_bin_of(edges, logarithmic)
    counting = price.shape[0] == 0
    for i in range(begin, stop):
        symbol = int(positions.symbol[i])
        rows, count = bars.first[symbol], bars.first[symbol + 1] - bars.first[symbol]
        entry = positions.entry_time[i]
        start = lookup.first_bar_at_or_after(bars, symbol, entry)
        charge = funding.first[symbol] + lookup.charges_until(bars, funding, symbol, start, entry)
        group = lookup.group_of(rules, symbol, entry)
        held = held_by(rules, positions, i, group, funding.cumulative[charge])
        change = first_adjustment(actions, i)
        at, found = first[i], 0
        moment, before, held_before = entry, UNSEEN, held.quantity
        while True:
            now = funding.cumulative[charge]
            level = formula.or_nan(position.liquidation_price(rules, held, held.first, held.last, now))
            place_now = bin_of(level, edges, logarithmic, per_bin) if level > 0.0 else NOWHERE
            if place_now != before or held.quantity != held_before:
                if not counting:
                    from_time[at + found], price[at + found], quantity[at + found] = moment, level, held.quantity
                found += 1
                before, held_before = place_now, held.quantity
            changes_in = change_bar(bars, actions, symbol, i, change)
            begins = lookup.table_bar(bars, rules, symbol, held.group)
            moved_in = min(changes_in, begins)
            opening = min(charged_at[charge], bars.time[rows + moved_in] if moved_in < count else NEVER)
            if opening >= end_time[i]:  # no cell shows where the last bar's own opening moves it
                break
            while begins < count and bars.time[rows + begins] == opening:
                held = position.under(rules, held, rules.successor[held.group])
                begins = lookup.table_bar(bars, rules, symbol, held.group)
            while changes_in < count and bars.time[rows + changes_in] == opening:
                opening_mark = bars.mark_open[rows + changes_in]
                held = after_change(bars, funding, rules, actions, held, change, changes_in, opening_mark).held
                change += 1
                changes_in = change_bar(bars, actions, symbol, i, change)
            while charged_at[charge] == opening:
                charge += 1
            moment = opening + 1  # a cell at the opening itself is taken before it
        if counting:
            first[i + 1] = found
