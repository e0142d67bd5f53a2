"""What the sweep is timed beside: the loops people write, the libraries they reach for, and the memory itself."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import polars as pl

from backtest.kernel.arrays import Forest, Outcomes, Positions
from backtest.kernel.compile import kernel
from backtest.kernel.margin import position
from backtest.kernel.sweep import passive
from backtest.kernel.types import Floats, Integers


@kernel
def query(forest: Forest, trees: Integers, starts: Integers, limits: Floats, end: int, found: Integers) -> None:
    """Search alone: the first bar at or after each start whose value is at most a limit."""
    for i in range(found.shape[0]):
        found[i] = position.search(forest, 0, trees[i], starts[i], end, limits[i])


@numba.njit(nogil=True)
def query_stream(trees: Integers, starts: Integers, limits: Floats, found: Integers) -> None:
    """Read what the search reads of each position and write what it writes: the memory's own speed."""
    for i in range(found.shape[0]):
        found[i] = starts[i] + trees[i] + np.int64(limits[i] > 0.0)


@numba.njit(nogil=True)
def query_scan(values: Floats, trees: Integers, starts: Integers, limits: Floats, found: Integers) -> None:
    """Walk along the values until one is low enough: the compiled early-exit scan."""
    for i in range(found.shape[0]):
        row = values[trees[i]]
        limit = limits[i]
        found[i] = -1
        for bar in range(starts[i], row.shape[0]):
            if row[bar] <= limit:
                found[i] = bar
                break


@numba.njit(nogil=True)
def full_stream(positions: Positions, out: Outcomes, begin: int, stop: int) -> None:
    """Read every array the full kernel reads of each position and write every one it writes."""
    for i in range(begin, stop):
        value = positions.entry_price[i] + positions.quantity[i] + positions.leverage[i]
        out.outcome[i] = positions.side[i] + positions.symbol[i]
        out.ambiguous[i] = value > 0.0
        out.time[i] = positions.entry_time[i]
        out.liquidation_price[i] = value
        out.bankruptcy_price[i] = value
        out.fill_price[i] = value
        out.fill_notional[i] = value
        out.funding_paid[i] = value
        out.equity_at_fill[i] = value
        out.shortfall[i] = value
        out.realised_pnl[i] = value
        out.tier_rate[i] = value


@numba.njit(nogil=True)
def full_scan(
    low: Floats,
    high: Floats,
    funding: Floats,
    rates: Floats,
    amounts: Floats,
    side: Floats,
    quantity: Floats,
    entry_price: Floats,
    margin: Floats,
    starts: Integers,
    paid: Floats,
    found: Integers,
) -> None:
    """Evaluate the margin formula bar by bar until it triggers: what a compiled per-position loop does."""
    for i in range(found.shape[0]):
        worst = low if side[i] > 0 else high
        signed = side[i] * quantity[i]
        found[i] = -1
        for bar in range(starts[i], worst.shape[0]):
            equity = (margin[i] + signed * (worst[bar] - entry_price[i])) - signed * (funding[bar] - paid[i])
            notional = quantity[i] * worst[bar]
            needed = rates[0] * notional - amounts[0]
            for tier in range(1, rates.shape[0]):
                needed = max(needed, rates[tier] * notional - amounts[tier])
            if equity <= needed:
                found[i] = bar
                break


def numpy_slices(values: Floats, trees: Integers, starts: Integers, limits: Floats) -> Integers:
    """Slice and ``argmax``, one position at a time."""
    found = np.empty(starts.size, np.int64)
    for i, (tree, start, limit) in enumerate(zip(trees, starts, limits, strict=True)):
        low_enough = values[tree, start:] <= limit
        first = int(low_enough.argmax()) if low_enough.size else 0
        found[i] = start + first if low_enough.size and low_enough[first] else -1
    return found


def polars_join(values: Floats, trees: Integers, starts: Integers, limits: Floats) -> Integers:
    """Join by inequality and take the minimum."""
    wanted = pl.DataFrame({"i": np.arange(starts.size), "tree": trees, "start": starts, "limit": limits})
    found = np.full(starts.size, -1)
    for tree in (0, 1):
        bars = pl.DataFrame({"bar": np.arange(values.shape[1]), "value": values[tree]})
        hits = (
            wanted.lazy()
            .filter(pl.col("tree") == tree)
            .join_where(bars.lazy(), pl.col("bar") >= pl.col("start"), pl.col("value") <= pl.col("limit"))
            .group_by("i")
            .agg(pl.col("bar").min())
            .collect()
        )
        found[hits["i"].to_numpy()] = hits["bar"].to_numpy()
    return found


def vectorbt_stops() -> Any:
    """Return vectorbt's stop-exit generator, or None where it is not installed."""
    try:
        from vectorbt.signals.nb import generate_ohlc_stop_ex_nb
    except ImportError:
        return None
    return generate_ohlc_stop_ex_nb


def one_block() -> passive.Scratch:
    """Return the scratch room of the full kernel."""
    return passive.scratch()


@numba.njit(nogil=True)
def replay_loop(
    low: Floats,
    high: Floats,
    funding: Floats,
    rates: Floats,
    amounts: Floats,
    order: Integers,
    side: Floats,
    quantity: Floats,
    entry_price: Floats,
    leverage: Floats,
    entry: Integers,
    leaves: Integers,
    first: int,
    stop: int,
    found: Integers,
) -> int:
    """Put every open position to the margin formula in every bar, and return how many pairs that were.

    ``order`` are the positions that live in bars [first, stop), by entry; linear contracts, marginal tiers.
    """
    is_open = np.empty(order.shape[0], np.int64)
    count = taken = pairs = 0
    for bar in range(first, stop):
        while taken < order.shape[0] and entry[order[taken]] <= bar:
            is_open[count] = order[taken]
            count += 1
            taken += 1
        at = 0
        while at < count:
            i = is_open[at]
            price = low[bar] if side[i] > 0 else high[bar]
            margin = quantity[i] * entry_price[i] / leverage[i]
            signed = side[i] * quantity[i]
            equity = (margin + signed * (price - entry_price[i])) - signed * (funding[bar] - funding[entry[i]])
            notional = quantity[i] * price
            needed = rates[0] * notional - amounts[0]
            for tier in range(1, rates.shape[0]):
                needed = max(needed, rates[tier] * notional - amounts[tier])
            pairs += 1
            over = leaves[i] <= bar
            if not over and equity <= needed:
                found[i] = bar
                over = True
            if over:
                count -= 1
                is_open[at] = is_open[count]
            else:
                at += 1
    return pairs
