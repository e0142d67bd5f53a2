"""Where a level stands while funding moves it: piece after piece of its life, a new one where its bin changes.

Funding is charged at openings, so a level stands still between them. A piece keeps the price the level had when it
came into its bin.
"""

from __future__ import annotations

import math

from backtest.kernel import formula, place, segment
from backtest.kernel.arrays import Bars, Funding, Positions, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.crossing import held_by
from backtest.kernel.levels import bin_of
from backtest.kernel.types import Floats, Integers

#: Instead of a bin: no positive price liquidates, and nothing was looked at yet.
NOWHERE, UNSEEN = -2, -3


@helper
def per_bin_of(edges: Floats, logarithmic: bool) -> float:
    """Return how many bins there are to a unit of price, or of its logarithm."""
    bins = edges.shape[0] - 1
    return bins / (math.log(edges[bins] / edges[0]) if logarithmic else edges[bins] - edges[0])


@kernel
def pieces(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    positions: Positions,
    end_time: Integers,
    charged_at: Integers,
    edges: Floats,
    logarithmic: bool,
    first: Integers,
    from_time: Integers,
    price: Floats,
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
    """
    per_bin = per_bin_of(edges, logarithmic)
    counting = price.shape[0] == 0
    for i in range(begin, stop):
        symbol = int(positions.symbol[i])
        entry = positions.entry_time[i]
        start = place.first_bar_at_or_after(bars, symbol, entry)
        charge = funding.first[symbol] + place.charges_until(bars, funding, symbol, start, entry)
        entry_funding = funding.cumulative[charge]
        held = held_by(rules, positions, i, place.group_of(rules, symbol, entry), entry_funding)
        at = first[i]
        count = 0
        moment = entry
        before = UNSEEN
        while True:
            now = funding.cumulative[charge]
            level = formula.or_nan(segment.liquidation_price(rules, held, held.first, held.last, now))
            found = bin_of(level, edges, logarithmic, per_bin) if level > 0.0 else NOWHERE
            if found != before:
                if not counting:
                    from_time[at + count], price[at + count] = moment, level
                count += 1
                before = found
            if charged_at[charge] >= end_time[i]:  # no cell shows where a charge in the last bar moves it
                break
            moment = charged_at[charge] + 1  # a cell at the opening itself is taken before the charge
            charge += 1
        if counting:
            first[i + 1] = count
