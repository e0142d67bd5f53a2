"""Holding periods until liquidation: every entry bar at every leverage, on one side.

The same search as the sweep's, by the same functions, over positions that need not exist as rows: one of a given
notional is opened at the opening of each bar at the mark price, at each leverage in turn. Query i is leverage
i // bars at bar i % bars, so that neighbouring queries walk the same part of the tree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel.arrays import Bars, Forest, Funding, Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, later_tables, lookup, position, tiers
from backtest.kernel.margin.position import Segment
from backtest.kernel.sweep.admission import Refusal, refusal_by_size
from backtest.kernel.types import Codes, Floats, Integers

BLOCK = 1024

#: Codes in place of a bar.
SURVIVED, NOT_ALLOWED, NO_TABLE = -1, -2, -3


class Trial(NamedTuple):
    """What is opened at every bar."""

    symbol: int
    side: float  #: +1 or -1
    notional: float  #: at the entry, settlement currency
    leverages: Floats  #: (leverages,)
    ends: Integers  #: (bars,) where the search ends: the horizon, a long gap, or the last bar


class Scratch(NamedTuple):
    """What passes from phase to phase, (BLOCK,) each; one set a thread."""

    limits: Floats
    lows: Integers
    highs: Integers
    ends: Integers  #: of the table of the entry
    hits: Integers


def scratch() -> Scratch:
    """Return room for one block."""
    return Scratch(np.empty(BLOCK), *np.empty((4, BLOCK), np.int64))


@kernel
def ends_of_knowledge(bars: Bars, symbol: int, ends: Integers) -> None:
    """Write, for an entry at each opening, the first bar that can no longer be tested."""
    first = bars.first[symbol]
    for bar in range(ends.shape[0]):
        ends[bar] = lookup.end_of_knowledge(bars, symbol, bar, bars.time[first + bar])


@helper
def opened(bars: Bars, funding: Funding, rules: Rules, trial: Trial, leverage: float, bar: int) -> Segment:
    """Return the position opened at a bar's opening."""
    row = bars.first[trial.symbol] + bar
    price, moment = bars.mark_open[row], bars.time[row]
    group = lookup.group_of(rules, trial.symbol, moment)
    kind = rules.kind[group]
    quantity = formula.quantity_of(kind, trial.notional, price)
    made = lookup.charges_until(bars, funding, trial.symbol, bar, moment)
    entry_funding = funding.cumulative[funding.first[trial.symbol] + made]
    margin = formula.initial_margin(kind, trial.side, quantity, price, leverage, rules.included_fee[group])
    return position.begin(
        rules, group, trial.symbol, trial.side, quantity, price, margin, leverage, entry_funding
    )  # fmt: skip


@helper
def obstacle(rules: Rules, held: Segment) -> int:
    """Return why a position could not have been opened, or SURVIVED."""
    if not rules.known[held.group]:
        return NO_TABLE
    size = tiers.size_at_entry(rules, held.group, held.quantity, held.entry_notional)
    refused = refusal_by_size(rules, held.group, size, held.leverage)
    if refused != Refusal.NONE or position.could_not_open(rules, held):
        return NOT_ALLOWED
    return SURVIVED


@helper
def prepare(
    bars: Bars, funding: Funding, rules: Rules, forest: Forest, trial: Trial, room: Scratch, i: int, b: int
) -> None:
    """Note a query's threshold and relevant tiers, or why it cannot be served."""
    bar = i % trial.ends.shape[0]
    held = opened(bars, funding, rules, trial, trial.leverages[i // trial.ends.shape[0]], bar)
    room.hits[b] = obstacle(rules, held)
    if room.hits[b] == SURVIVED:
        row = bars.first[trial.symbol] + bar
        room.lows[b], room.highs[b] = position.relevant_tiers(rules, funding, held, funding.charged[row])
        room.limits[b] = position.threshold(rules, forest, held, room.lows[b])
        room.ends[b] = min(trial.ends[bar], lookup.table_bar(bars, rules, trial.symbol, held.group))


@kernel
def first_bars(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    trial: Trial,
    room: Scratch,
    found: Codes,
    begin: int,
    stop: int,
) -> None:
    """Write the bar that liquidates each of the queries [begin, stop), or why there is none."""
    count = trial.ends.shape[0]
    for block in range(begin, stop, BLOCK):
        size = min(BLOCK, stop - block)
        for b in range(size):
            prepare(bars, funding, rules, forest, trial, room, block + b, b)
        for b in range(size):
            if room.hits[b] == SURVIVED:
                bar, low = (block + b) % count, room.lows[b]
                tree = rules.tree_long[low] if trial.side > 0 else rules.tree_short[low]
                room.hits[b] = position.search(forest, trial.symbol, tree, bar, room.ends[b], room.limits[b])
        for b in range(size):
            hit, i, low, high = room.hits[b], block + b, room.lows[b], room.highs[b]
            bar = i % count
            goes_on = hit >= SURVIVED and room.ends[b] < trial.ends[bar]
            if hit >= 0 or goes_on or (hit == SURVIVED and high > low):
                held = opened(bars, funding, rules, trial, trial.leverages[i // count], bar)
                hit = position.confirmed(
                    bars, funding, rules, forest, held, low, high, hit, bar, room.ends[b]
                )  # fmt: skip
                if hit < 0 and goes_on:
                    hit = later_tables.first_hit(
                        bars, funding, rules, forest, held, low, high, trial.ends[bar]
                    ).hit  # fmt: skip
            found[i] = hit
