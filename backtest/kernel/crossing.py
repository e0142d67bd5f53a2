"""Positions that are opened and left alone: the sweep's main kernel.

Three phases over blocks of positions small enough for their intermediate values to stay in the first-level
cache: where each stands and its threshold; one search each; the direct formula, prices and money. Separate
phases let the processor overlap the searches of neighbouring positions (measured 4.5 times faster than one loop
that does everything for one position after another).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtest.kernel import formula, segment, settle
from backtest.kernel.arrays import (
    LIQUIDATED,
    NO_TIME,
    OPEN,
    UNKNOWN,
    Bars,
    Forest,
    Funding,
    Outcomes,
    Positions,
    Rules,
)
from backtest.kernel.compile import kernel
from backtest.kernel.types import Floats, Integers

BLOCK = 1024


class Scratch(NamedTuple):
    """What passes from phase to phase, (BLOCK,) each; one set a thread."""

    limits: Floats
    margins: Floats
    anchors: Floats
    fundings: Floats
    bases: Floats
    reserves: Floats
    groups: Integers
    lows: Integers
    highs: Integers
    starts: Integers
    ends: Integers
    hits: Integers


def scratch() -> Scratch:
    """Return room for one block."""
    floats, integers = np.empty((6, BLOCK)), np.empty((6, BLOCK), np.int64)
    return Scratch(*floats, *integers)


@kernel
def cross(
    bars: Bars,
    funding: Funding,
    rules: Rules,
    forest: Forest,
    positions: Positions,
    test_entry_bar: bool,
    scratch: Scratch,
    out: Outcomes,
    begin: int,
    stop: int,
) -> None:
    """Write the outcomes of positions [begin, stop)."""
    limits, margins, anchors = scratch.limits, scratch.margins, scratch.anchors
    fundings, bases, reserves = scratch.fundings, scratch.bases, scratch.reserves
    groups, lows, highs = scratch.groups, scratch.lows, scratch.highs
    starts, ends, hits = scratch.starts, scratch.ends, scratch.hits
    for block in range(begin, stop, BLOCK):
        size = min(BLOCK, stop - block)

        for b in range(size):  # where each stands, and its threshold
            i = block + b
            symbol = np.int64(positions.symbol[i])
            side = segment.signed_side(positions, i)
            quantity, entry_price = positions.quantity[i], positions.entry_price[i]
            entry_time = positions.entry_time[i]
            group = segment.group_of(rules, symbol, entry_time)
            kind = rules.kind[group]
            entry_notional = formula.notional(kind, quantity, entry_price)
            margin = segment.margin_of(positions, i, entry_notional)
            leverage = segment.leverage_of(positions, i, entry_notional)
            bar = segment.first_bar_at_or_after(bars, symbol, entry_time)
            end = segment.end_of_knowledge(bars, symbol, bar, entry_time)
            made = segment.charges_until(bars, funding, symbol, bar, entry_time)
            entry_funding = funding.cumulative[funding.first[symbol] + made]
            anchored = formula.anchor(kind, side, quantity, entry_price, margin)
            reserved = formula.reserved_fee(kind, side, quantity, anchored, rules.reserved_fee[group])
            first, last = segment.own_tiers(rules, group, quantity, entry_notional, leverage)
            base = segment.constant_base(rules, group, first, last, entry_notional, leverage)
            level = reserved
            low, high = first, first
            if rules.constant[group]:
                level = formula.constant_level(kind, quantity, base, reserved, rules.fee[group])
            elif bar < end:
                charges = funding.charged[bars.first[symbol] + bar]
                low, high = segment.relevant_tiers(
                    rules, funding, group, symbol, charges, first, last, side, quantity, entry_price, anchored,
                    entry_funding, reserved,
                )  # fmt: skip
            else:
                high = last
            tree = rules.tree_long[low] if side > 0 else rules.tree_short[low]
            limits[b] = segment.threshold(
                rules, forest, group, low, tree, side, quantity, entry_price, margin, anchored, entry_funding,
                level,
            )  # fmt: skip
            margins[b], anchors[b], fundings[b] = margin, anchored, entry_funding
            bases[b], reserves[b] = base, reserved
            groups[b], lows[b], highs[b], starts[b], ends[b] = group, low, high, bar, end

        for b in range(size):  # one search each
            i = block + b
            tree = rules.tree_long[lows[b]] if positions.side[i] == 0 else rules.tree_short[lows[b]]
            hits[b] = segment.search(forest, np.int64(positions.symbol[i]), tree, starts[b], ends[b], limits[b])

        for b in range(size):  # the direct formula, prices and money
            i = block + b
            symbol = np.int64(positions.symbol[i])
            side = segment.signed_side(positions, i)
            quantity, entry_price = positions.quantity[i], positions.entry_price[i]
            group, margin, anchored, entry_funding = groups[b], margins[b], anchors[b], fundings[b]
            low, high, base, reserved = lows[b], highs[b], bases[b], reserves[b]
            start, end = starts[b], ends[b]
            kind = rules.kind[group]
            constant = rules.constant[group]
            rows = bars.first[symbol]
            entry_notional = formula.notional(kind, quantity, entry_price)
            leverage = segment.leverage_of(positions, i, entry_notional)
            first, last = segment.own_tiers(rules, group, quantity, entry_notional, leverage)
            level = reserved
            if constant:
                level = formula.constant_level(kind, quantity, base, reserved, rules.fee[group])
            hit = hits[b]
            if hit >= 0 or high > low:
                hit = segment.confirmed(
                    bars, funding, rules, forest, symbol, group, first, last, low, high, side, quantity,
                    entry_price, margin, anchored, entry_funding, base, reserved, level, hit, start, end,
                )  # fmt: skip
            in_entry_bar = False
            if segment.falls_inside_a_bar(bars, symbol, start, positions.entry_time[i]):
                row = rows + start - 1
                worst = bars.low[row] if side > 0 else bars.high[row]
                in_entry_bar = segment.triggers(
                    rules, group, first, last, side, quantity, entry_price, margin, entry_funding, base,
                    reserved, worst, entry_funding,
                )  # fmt: skip
            out.ambiguous[i] = in_entry_bar
            opening = entry_price
            tested = end - 1
            if in_entry_bar and test_entry_bar:
                hit = tested = start - 1
                now = entry_funding
                low, high = first, last
            else:
                if hit >= 0:
                    tested = hit
                    opening = bars.open[rows + hit]
                now = entry_funding
                if tested >= start:
                    now = funding.cumulative[funding.first[symbol] + funding.charged[rows + tested]]
            price = formula.liquidation_price(
                kind, side, quantity, anchored, now - entry_funding, rules.rate, rules.amount, low, high,
                constant, level, rules.fee[group],
            )  # fmt: skip
            bankrupt = formula.bankruptcy_price(kind, side, quantity, anchored, now - entry_funding)
            out.bankruptcy_price[i] = formula.or_nan(bankrupt)
            if hit >= 0:
                row = rows + hit
                price = settle.within_bar(side, price, bars.low[row] if side > 0 else bars.high[row])
                fill = settle.liquidation_fill(bars, row, side, opening, price)
                settle.write_close(
                    out, i, LIQUIDATED, bars.time[row], kind, side, quantity, entry_price, margin,
                    entry_funding, now, 0.0, margin, fill, rules.returned,
                )  # fmt: skip
                out.tier_rate[i] = settle.triggering_rate(
                    rules, group, first, low, high, side, quantity, anchored, now - entry_funding,
                    level, entry_notional, leverage,
                )  # fmt: skip
            else:
                known = end == bars.first[symbol + 1] - rows
                settle.write_unfinished(
                    out, i, OPEN if known else UNKNOWN, NO_TIME if known else bars.time[rows + end], side,
                    quantity, entry_funding, now, 0.0,
                )  # fmt: skip
                out.tier_rate[i] = np.nan
            out.liquidation_price[i] = formula.or_nan(price)
