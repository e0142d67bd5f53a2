"""Symbols of a market on one grid of bars, as the arrays the account kernels take.

The grid's values are mark prices; of inverse contracts 1 / price, with funding sums of the other sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from backtest.errors import DataError
from backtest.kernel.accounts.search import CLOSE, FUNDING, HIGH, LEAF, LOW, NODE, Grid
from backtest.kernel.arrays import Funding
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.schemas.validation import say

#: A block of a level covers 2**shift bars. Measured on hedged accounts: 8 and 16 children are equal, 32 lose.
SHIFTS = (0, 4, 8, 12, 16, 20)


@dataclass(frozen=True, eq=False)
class GridBars:
    """Open times of a grid, and the place of each symbol's bars in it."""

    times: Integers  #: (bars,) ms
    own: tuple[Integers, ...]  #: grid bar of each of a symbol's bars
    arrays: Grid
    marks: dict[int, Floats]  #: (bars, 3) low, high and close, of each symbol whose values are not these prices

    def price_of(self, symbol: Integers, bar: Integers, value: Floats) -> Floats:
        """Return the mark prices that values of symbols in bars were taken at, (n,); NaN where the value is."""
        found = np.array(value)
        for number, marks in self.marks.items():
            rows = np.flatnonzero((symbol == number) & np.isfinite(value))
            prices = marks[bar[rows]]
            found[rows] = prices[np.arange(rows.size), np.argmax(1 / prices == value[rows, None], axis=1)]
        return found


def grid_of(market: Market, funding: Funding, whole: Market, inverse: Sequence[bool]) -> GridBars:
    """Return every symbol of a market on one grid; missing bars are flat ones at the last close.

    ``whole`` is the market the symbols were taken from, whose bars span the grid: what becomes of an account
    must not depend on what others hold. ``inverse``: whether the contract of each symbol is.

    Raises
    ------
    DataError
        For symbols whose bars do not share an interval, or stand between one another's.
    """
    times, interval = _openings(whole)
    rows = [slice(a, b) for a, b in zip(market.firsts[:-1], market.firsts[1:], strict=True)]
    own = tuple((market.times[part] - times[0]) // interval for part in rows)
    leaves = [_leaf(market, funding, symbol, own[symbol], times.size) for symbol in range(len(own))]
    marks = {number: readonly(leaves[number][:, :FUNDING].copy()) for number in np.flatnonzero(inverse).tolist()}
    for number in marks:
        leaves[number] = _reciprocal(leaves[number])
    stale = [_stale_runs(bars, times.size, interval, market.gap_limit) for bars in own]
    factor = _factor([leaf[:, 2] for leaf in leaves])
    levels = [_blocks(leaves, factor, 1 << shift) for shift in SHIFTS if shift == 0 or 1 << shift <= times.size]
    nodes, factors = [node for node, _ in levels], [extremes for _, extremes in levels]
    counts = [extremes.shape[0] for extremes in factors]
    arrays = Grid(
        bars=times.size,
        leaf=readonly(np.concatenate(leaves).reshape(-1)),
        shift=readonly(np.array(SHIFTS[: len(levels)], np.int64)),
        first=readonly(np.cumsum([0, *(node.shape[0] for node in nodes[:-1])])),
        blocks=readonly(np.array(counts, np.int64)),
        node=readonly(np.concatenate(nodes).reshape(-1)),
        factor_first=readonly(np.cumsum([0, *counts[:-1]])),
        factor=readonly(np.concatenate(factors).reshape(-1)),
        largest_price=readonly(np.array([leaf[:, :CLOSE].max() for leaf in leaves])),
        largest_funding=readonly(np.array([np.abs(leaf[:, 3]).max() for leaf in leaves])),
        stale_first=readonly(np.cumsum([0, *(start.size for start, _ in stale)])),
        stale_start=readonly(np.concatenate([start for start, _ in stale])),
        stale_stop=readonly(np.concatenate([stop for _, stop in stale])),
    )
    return GridBars(readonly(times), own, arrays, marks)


def _openings(market: Market) -> tuple[Integers, int]:
    """Return every opening between the first and the last bar, and the interval."""
    first, interval = market.times[market.firsts[:-1]].min(), int(market.intervals.min())
    off = (market.times - first) % interval != 0
    if (market.intervals != interval).any() or off.any():
        lengths = ", ".join(
            f"{symbol} {timedelta(milliseconds=int(length))}"
            for symbol, length in zip(market.symbols, market.intervals, strict=True)
        )
        row = int(np.argmax(off)) if off.any() else int(market.firsts[np.argmax(market.intervals != interval)])
        raise DataError(
            f"bars: symbols of accounts must share one grid of openings (intervals are {lengths}): first row off "
            f"it {row:,} (symbol={market.bars['symbol'][row]!r}, time={say(market.bars['time'][row])}); "
            "resample them"
        )
    return np.arange(first, int(market.times.max()) + 1, interval, dtype=np.int64), interval


def _leaf(market: Market, funding: Funding, symbol: int, own: Integers, bars: int) -> Floats:
    """Return (bars, 4) low, high, close and F of a symbol; before its first bar its first open."""
    rows = slice(int(market.firsts[symbol]), int(market.firsts[symbol + 1]))
    leaf = np.empty((bars, LEAF))
    before = np.searchsorted(own, np.arange(bars), side="right") - 1
    close = market.prices("mark", "close")[rows]
    leaf[:, :3] = close[np.maximum(before, 0), None]
    leaf[own, 0], leaf[own, 1] = market.prices("mark", "low")[rows], market.prices("mark", "high")[rows]
    leaf[: own[0], :3] = market.prices("mark", "open")[rows][0]
    leaf[:, 3] = 0.0
    sums = funding.cumulative[funding.first[symbol] + funding.charged[rows].astype(np.int64)]
    leaf[own[0] :, 3] = sums[before[own[0] :]]
    return leaf


def _reciprocal(leaf: Floats) -> Floats:
    """Return the values of an inverse contract's bars, (bars, 4): 1 / price, and -F."""
    return np.concatenate([1 / leaf[:, :FUNDING], -leaf[:, FUNDING:]], axis=1)


def _stale_runs(own: Integers, bars: int, interval: int, limit: timedelta | None) -> tuple[Integers, Integers]:
    """Return from which to which bar more of a symbol is missing than the limit allows."""
    if limit is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    allowed = int(limit / timedelta(milliseconds=1)) // interval
    start, stop = own + allowed + 1, np.append(own[1:], bars)
    runs = start < stop
    return start[runs], stop[runs]


def _factor(closes: list[Floats]) -> Floats:
    """Return a positive number a bar that symbols move along with: the geometric mean of their closes."""
    positive = [np.log(close) for close in closes if close.min() > 0]
    return np.exp(np.mean(positive, axis=0)) if positive else np.ones_like(closes[0])


def _blocks(leaves: list[Floats], factor: Floats, size: int) -> tuple[Any, Any]:
    """Return (symbols * blocks, 6) extremes of price, F, price over the factor, and (blocks, 2) of the factor."""
    if size == 1:  # a bar is tested, not bounded
        return np.empty((0, NODE)), np.empty((0, 2))
    starts = np.arange(0, factor.size, size)
    nodes = []
    for leaf in leaves:
        low, high = np.minimum(leaf[:, LOW], leaf[:, HIGH]), np.maximum(leaf[:, LOW], leaf[:, HIGH])
        parts = (low, high, leaf[:, 3], leaf[:, 3], low / factor, high / factor)
        nodes.append(
            np.stack(
                [
                    (np.maximum if number % 2 else np.minimum).reduceat(part, starts)
                    for number, part in enumerate(parts)
                ],
                axis=-1,
            )
        )
    ends = np.stack([np.minimum.reduceat(factor, starts), np.maximum.reduceat(factor, starts)], axis=-1)
    return np.concatenate(nodes), ends
