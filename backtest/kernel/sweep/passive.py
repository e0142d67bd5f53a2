"""Positions that are opened and left alone: the sweep's main kernel.

Three phases over blocks of positions small enough for their intermediate values to stay in the first-level
cache: lookup and threshold of each; one search each; the direct formula, prices and money. Separate
phases let the processor overlap the searches of neighbouring positions (measured 4.5 times faster than one loop
that does everything for one position after another).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import NO_TIME, Bars, Forest, Funding, Outcomes, Positions, Rules
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, later_tables, lookup, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep import outcomes
from backtest.kernel.types import Floats, Integers

BLOCK = 1024


class Scratch(NamedTuple):
    """Intermediate values of a block, (BLOCK,) each; one set per thread."""

    limits: Floats  #: thresholds of the lowest relevant tier
    fundings: Floats  #: at the entry
    groups: Integers
    lows: Integers  #: relevant tiers
    highs: Integers
    starts: Integers  #: bars to test
    ends: Integers  #: of the table of the entry
    known: Integers  #: first bar that can no longer be tested
    hits: Integers


def scratch() -> Scratch:
    """Return room for one block."""
    return Scratch(*np.empty((2, BLOCK)), *np.empty((7, BLOCK), np.int64))


@helper
def held_by(rules: Rules, positions: Positions, i: int, group: int, entry_funding: float) -> Segment:
    """Return a position as it was opened."""
    quantity, entry_price = positions.quantity[i], positions.entry_price[i]
    entry_notional = formula.notional(rules.kind[group], quantity, entry_price)
    return position.begin(
        rules,
        group,
        np.int64(positions.symbol[i]),
        lookup.signed_side(positions, i),
        quantity,
        entry_price,
        lookup.margin_of(rules, group, positions, i),
        lookup.leverage_of(positions, i, entry_notional),
        entry_funding,
    )


@helper
def prepare(
    bars: Bars, funding: Funding, rules: Rules, forest: Forest, positions: Positions, room: Scratch, i: int, b: int
) -> None:
    """Look up the bars, funding and tiers of a position, and its threshold."""
    symbol = np.int64(positions.symbol[i])
    entry_time = positions.entry_time[i]
    group = lookup.group_of(rules, symbol, entry_time)
    start = lookup.first_bar_at_or_after(bars, symbol, entry_time)
    end = lookup.end_of_knowledge(bars, symbol, start, entry_time)
    made = lookup.charges_until(bars, funding, symbol, start, entry_time)
    entry_funding = funding.cumulative[funding.first[symbol] + made]
    held = held_by(rules, positions, i, group, entry_funding)
    low, high = held.first, held.last
    if start < end:
        low, high = position.relevant_tiers(rules, funding, held, funding.charged[bars.first[symbol] + start])
    room.limits[b] = position.threshold(rules, forest, held, low)
    room.fundings[b], room.groups[b] = entry_funding, group
    room.lows[b], room.highs[b], room.starts[b], room.known[b] = low, high, start, end
    room.ends[b] = min(end, lookup.table_bar(bars, rules, symbol, group))


@helper
def triggers_with_stamps(bars: Bars, funding: Funding, rules: Rules, held: Segment, bar: int) -> bool:
    """Return whether a position is liquidated at a bar's close once the stamps inside the bar are charged."""
    row, end = bars.first[held.symbol] + bar, bars.time[bars.first[held.symbol] + bar] + bars.interval[held.symbol]
    made = lookup.charges_until(bars, funding, held.symbol, bar + 1, end - 1)
    return position.triggers(rules, held, bars.close[row], funding.cumulative[funding.first[held.symbol] + made])


@helper
def finish(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    positions: Positions,
    test_entry_bar: bool,
    room: Scratch,
    out: Outcomes,
    i: int,
    b: int,
) -> None:
    """Confirm the search by the direct formula, and write prices and money."""
    held = held_by(rules, positions, i, room.groups[b], room.fundings[b])
    low, high, start, end, hit = room.lows[b], room.highs[b], room.starts[b], room.known[b], room.hits[b]
    rows, opened = bars.first[held.symbol], held
    if hit >= 0 or high > low:
        hit = position.confirmed(bars, funding, rules, forest, held, low, high, hit, start, room.ends[b])
    if hit < 0 and room.ends[b] < end:
        held, low, high, hit = later_tables.first_hit(bars, funding, rules, forest, held, low, high, end)
    later = hit >= 0
    entered_in = start - 1 if lookup.falls_inside_a_bar(bars, held.symbol, start, positions.entry_time[i]) else -1
    hidden, closes, saved = False, False, False
    if entered_in >= 0:
        row = rows + entered_in
        hidden = position.triggers(rules, opened, position.worst_price(bars, held, row), held.entry_funding)
        closes = hidden and position.triggers(rules, opened, bars.close[row], held.entry_funding)
        saved = closes and not triggers_with_stamps(bars, funding, rules, opened, entered_in)
    out.certainly_liquidated[i] = later or (closes and not saved)
    out.possibly_liquidated[i] = later or hidden
    out.ambiguous[i] = hidden and (saved or not closes)
    tested, opening = end - 1, held.entry_price
    if closes or (hidden and test_entry_bar):
        held, hit = opened, entered_in
        tested = entered_in
        low, high = held.first, held.last
    elif later:
        tested, opening = hit, bars.open[rows + hit]
    now = position.funding_at(bars, funding, held.symbol, tested) if tested >= start else held.entry_funding
    price = position.liquidation_price(rules, held, low, high, now)
    out.bankruptcy_price[i] = formula.or_nan(position.bankruptcy_price(held, now))
    if hit >= 0:
        row = rows + hit
        price = outcomes.no_worse(held.side, price, position.worst_price(bars, held, row))
        fill = outcomes.liquidation_fill(bars, row, held.side, opening, price)
        outcomes.write_close(
            out, i, held, OutcomeCode.LIQUIDATED, bars.time[row], fill, now, 0.0, held.margin, rules.returned
        )
        out.tier_rate[i] = position.triggering_rate(rules, held, low, high, now)
    elif end == bars.first[held.symbol + 1] - rows:
        outcomes.write_unfinished(out, i, held, OutcomeCode.OPEN, NO_TIME, now, 0.0)
    else:
        outcomes.write_unfinished(out, i, held, OutcomeCode.UNKNOWN, bars.time[rows + end], now, 0.0)
    out.liquidation_price[i] = formula.or_nan(price)


@kernel
def cross(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    positions: Positions,
    test_entry_bar: bool,
    room: Scratch,
    out: Outcomes,
    begin: int,
    stop: int,
) -> None:
    """Write the outcomes of positions [begin, stop)."""
    for block in range(begin, stop, BLOCK):
        size = min(BLOCK, stop - block)
        for b in range(size):
            prepare(bars, funding, rules, forest, positions, room, block + b, b)
        for b in range(size):
            i, low = block + b, room.lows[b]
            tree = rules.tree_long[low] if positions.side[i] == 0 else rules.tree_short[low]
            symbol = np.int64(positions.symbol[i])
            room.hits[b] = position.search(forest, symbol, tree, room.starts[b], room.ends[b], room.limits[b])
        for b in range(size):
            finish(bars, funding, rules, forest, positions, test_entry_bar, room, out, block + b, b)
