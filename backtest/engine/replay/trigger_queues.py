"""Bucket queues at the start of a replay: one per symbol, side and rate, and two per symbol for orders."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtest.engine.sweep.prepare import Prepared
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin import formula
from backtest.kernel.replay import records
from backtest.kernel.types import Floats, readonly
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.rules.rulebook import Tree
from backtest.schemas.frames import PRICE_PREFIX

#: Buckets of all queues together, and of one.
MOST_BUCKETS, BUCKETS = 2**22, (256, 32_768)


def queues_of(
    prepared: Prepared, impact: Impact, symbols: records.Records, count: int
) -> tuple[records.Records, Any, Any, int]:
    """Return the queues, symbol by symbol (longs, shorts, watched low, watched high), and their empty buckets."""
    trees, groups = prepared.rules.trees, prepared.rules.groups
    fees = {group.symbol: group.contract.mark_fee_rate for group in groups}
    total = len(trees) + 2 * symbols.size
    buckets = BUCKETS[0]
    while buckets < BUCKETS[1] and 2 * buckets * total <= MOST_BUCKETS and 8 * buckets < count:
        buckets *= 2
    queues = np.zeros(total, records.QUEUE)
    tree_queue = np.zeros(max(len(trees), 1), np.int32)
    next_queue = 0
    stretch = float(np.exp(impact.largest_offset)) if impact.mark > 0 else 1.0
    for number in range(symbols.size):
        for place, side in enumerate((1, -1)):
            symbols[number]["queue"][place] = next_queue
            for tree_number, tree in enumerate(trees):
                if tree.symbol == number and tree.side == side:
                    tree_queue[tree_number] = next_queue
                    queues[next_queue] = _queue(tree, prepared, fees[number], stretch, buckets)
                    next_queue += 1
        for place in (2, 3):
            symbols[number]["queue"][place] = next_queue
            queues[next_queue] = _watched_queue(prepared.market, number, place == 2, stretch, buckets)
            next_queue += 1
    queues["first"] = buckets - 1
    return queues, readonly(tree_queue), np.full(total * buckets, -1, np.int32), buckets


def _queue(tree: Tree, prepared: Prepared, fee: float, stretch: float, buckets: int) -> Any:
    bars, funding = prepared.bars, prepared.funding
    rows = slice(int(bars.first[tree.symbol]), int(bars.first[tree.symbol + 1]))
    kind = next(ContractKind.code(g.contract.kind) for g in prepared.rules.groups if g.symbol == tree.symbol)
    slope = float(formula.slope(kind, float(tree.side), tree.rate, fee))
    ends = np.array([bars.low[rows].min() / stretch, bars.high[rows].max() * stretch])
    sums = funding.cumulative[funding.first[tree.symbol] : funding.first[tree.symbol + 1]]
    sums = np.array([sums.min(), sums.max()])
    if kind == ContractKind.INVERSE:
        ends = 1.0 / ends
    found = (slope * ends)[:, None] - tree.side * (sums * stretch)[None, :]
    largest = (1.0 + tree.rate + fee) * float(ends.max()) + stretch * float(np.abs(sums).max())
    return _queue_record(found, slope, largest, float(tree.side), buckets)


def _watched_queue(market: Market, number: int, low: bool, stretch: float, buckets: int) -> Any:
    rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
    prices = [market.prices(series, part)[rows] for series in PRICE_PREFIX if market.has(series)
              for part in ("low", "high")]  # fmt: skip
    ends = np.array([min(part.min() for part in prices) / stretch, max(part.max() for part in prices) * stretch])
    return _queue_record(ends if low else -ends, 1.0, 0.0, 1.0 if low else -1.0, buckets)


def _queue_record(found: Floats, slope: float, largest: float, side: float, buckets: int) -> Any:
    top, span = float(found.max()), float(found.max() - found.min())
    scale = (buckets - 1) / span if span > 0 else 0.0
    record = np.zeros((), records.QUEUE)
    record["slope"], record["top"], record["scale"] = slope, top, scale
    record["largest"], record["side"] = largest, side
    return record
