"""Prices inside bars: paths through each bar's open, high, low and close, drawn by their probability.

A path is a random walk in the logarithm of the price. Its variance in a bar lies between two estimates: of the
bar's own range (Parkinson) and of the ranges around it. How much the own range counts follows from the data:
ranges of one volatility vary by chance by a known amount (the standard deviation of a log range is 0.29), and
what they vary beyond that is volatility that changes from bar to bar.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.study import inside_bars as kernel
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Floats, Integers, readonly
from backtest.schemas.frames import PRICE_PREFIX, Time

#: Mean of the logarithm of a Brownian path's range over its standard deviation, and the deviation of that.
MEAN_LOG_RANGE, LOG_RANGE_DEVIATION = 0.43, 0.29

#: Bars on each side whose ranges are averaged.
AROUND = 12

#: The own range counts so many times the part of its variation that is not chance, at most wholly. Volatility
#: changes inside a bar of a crash as well, which no walk of one variance shows: 1 gives hours 0.3 to 0.4 of the
#: shortfall of the minutes, 2 gives 0.5 to 0.6 (BTC and ETH, May 2021, delays of a minute).
TRUST = 2.0

#: Levels to a standard deviation of a step, and the fewest and the most levels.
FINENESS, FEWEST, MOST = 1.0, 12, 128

#: Bars a thread draws at a time.
CHUNK = 64

#: Prices along paths that a market keeps for later calls, of one series and seed.
MOST_KEPT = 2**24

#: Steps that a bar may be cut into.
MOST_NODES = 10_000


class Bars(Protocol):
    """What of a market paths are drawn from."""

    @property
    def bars(self) -> pl.DataFrame:
        """The bars of all symbols."""

    @property
    def firsts(self) -> Integers:
        """(symbols + 1,) where each symbol's begin."""

    @property
    def times(self) -> Integers:
        """(bars,) openings, ms."""

    @property
    def intervals(self) -> Integers:
        """(symbols,) ms."""

    def has(self, series: str) -> bool:
        """Whether there are bars of a price."""

    def prices(self, series: str, part: str) -> Floats:
        """Return open, high, low or close of a price."""

    def kept(self, name: str, key: object) -> Any:
        """Return what was made before."""

    def keep(self, name: str, key: object, made: Any) -> Any:
        """Keep what was made."""


class Paths(NamedTuple):
    """Prices at equally distant times inside some bars."""

    rows: Integers  #: (bars,) which of the market's, ascending
    prices: Floats  #: (bars, nodes + 1), from the open to the close

    def at(self, row: Integers, place: Floats) -> Floats:
        """Return prices inside bars, at a part of the bar between 0 and 1; straight between nodes."""
        own = np.searchsorted(self.rows, row)
        scaled = np.clip(place, 0.0, 1.0) * (self.prices.shape[1] - 1)
        before = np.minimum(scaled.astype(np.int64), self.prices.shape[1] - 2)
        part = scaled - before
        return np.asarray((1 - part) * self.prices[own, before] + part * self.prices[own, before + 1])


def deviations(market: Bars, series: str) -> Floats:
    """Return (bars,) the standard deviation of the logarithm of the price over each bar."""
    kept = market.kept("deviations", series)
    if kept is not None:
        return np.asarray(kept)
    found = np.zeros(market.bars.height)
    with np.errstate(divide="ignore", invalid="ignore"):  # a price that stands still has no range
        ranges = np.log(np.log(market.prices(series, "high") / np.maximum(market.prices(series, "low"), 1e-300)))
    for first, last in zip(market.firsts[:-1], market.firsts[1:], strict=True):
        own = ranges[first:last]
        moves = np.isfinite(own)
        if moves.any():
            found[first:last][moves] = _smoothed(own[moves])
    market.keep("deviations", series, readonly(found))
    return found


def _smoothed(ranges: Floats) -> Floats:
    """Return deviations of log ranges, each between its own and that of the bars around it."""
    sums = np.concatenate([[0.0], np.cumsum(ranges)])
    place = np.arange(ranges.size)
    low, high = np.maximum(place - AROUND, 0), np.minimum(place + AROUND + 1, ranges.size)
    around = (sums[high] - sums[low]) / (high - low)
    by_chance = LOG_RANGE_DEVIATION**2 * (1 + 2 * math.sqrt(2 / ranges.size))  # two standard errors above its mean
    varies = max(float(np.square(ranges - around).mean()) - by_chance, 0.0)
    own = min(1.0, TRUST * varies / (varies + LOG_RANGE_DEVIATION**2))
    return np.asarray(np.exp(around + own * (ranges - around) - MEAN_LOG_RANGE))


def paths(market: Bars, series: str, rows: Integers, nodes: int, seed: int, threads: int | None = None) -> Paths:
    """Return paths inside some bars, ``nodes`` steps each, and perhaps inside others that were asked for before.

    The path of a bar depends on the market, the series, the nodes and the seed alone.
    """
    name = f"paths of {series} {seed}"
    known: Paths | None = market.kept(name, nodes)
    if known is None:
        known = Paths(np.zeros(0, np.int64), np.zeros((0, nodes + 1)))
    missing = np.setdiff1d(rows, known.rows)
    if not missing.size:
        return known
    drawn = np.concatenate([known.prices, _drawn(market, series, missing, nodes, seed, threads)])
    merged = np.concatenate([known.rows, missing])
    order = np.argsort(merged)
    found = Paths(readonly(merged[order]), readonly(drawn[order]))
    if found.prices.size <= MOST_KEPT:
        market.keep(name, nodes, found)
    return found


def _drawn(market: Bars, series: str, rows: Integers, nodes: int, seed: int, threads: int | None) -> Floats:
    """Return the prices along the paths inside some bars, ascending."""
    opening, high, low, close = (market.prices(series, part)[rows] for part in ("open", "high", "low", "close"))
    prices = np.repeat(opening[:, None], nodes + 1, axis=1)
    deviation = deviations(market, series)[rows] / np.sqrt(nodes)
    moves = np.flatnonzero((high > low) & (low > 0) & (deviation > 0))
    wide = np.log(high[moves] / low[moves])
    levels = np.clip(np.ceil(FINENESS * wide / deviation[moves]), FEWEST, MOST).astype(np.int64)

    def level_of(price: Floats) -> Integers:
        """Return the nearest level; the outermost ones are the extremes alone."""
        found = np.rint((levels - 1) * np.log(price / low[moves]) / wide).astype(np.int64)
        found = np.where(price > low[moves], np.maximum(found, 1), 0)
        return np.asarray(np.where(price < high[moves], np.minimum(found, levels - 2), levels - 1))

    bridges = kernel.Bridges(
        number=readonly(rows[moves]),
        levels=readonly(levels),
        first=readonly(level_of(opening[moves])),
        last=readonly(level_of(close[moves])),
        deviation=readonly(deviation[moves] / wide * (levels - 1)),
    )
    walked = np.empty(moves.size * (nodes + 1), np.int64)

    def run(begin: int, stop: int) -> None:
        room = kernel.scratch(nodes, MOST)
        kernel.walk(bridges, nodes, seed, room, walked, begin, stop)

    in_chunks(run, moves.size, threads, size=CHUNK)
    level = walked.reshape(moves.size, nodes + 1)
    drawn = low[moves, None] * np.exp(wide[:, None] * level / (levels - 1)[:, None])
    drawn[level == 0] = np.broadcast_to(low[moves, None], level.shape)[level == 0]
    highest = level == (levels - 1)[:, None]
    drawn[highest] = np.broadcast_to(high[moves, None], level.shape)[highest]
    stuck = (level < 0).any(axis=1)  # no walk of so small steps goes through: straight lines do
    drawn[stuck] = _straight(opening[moves], high[moves], low[moves], close[moves], nodes)[stuck]
    drawn[:, 0], drawn[:, -1] = opening[moves], close[moves]
    prices[moves] = drawn
    still = np.setdiff1d(np.arange(rows.size), moves)
    prices[still] = _straight(opening[still], high[still], low[still], close[still], nodes)
    return prices


def _straight(opening: Floats, high: Floats, low: Floats, close: Floats, nodes: int) -> Floats:
    """Return straight lines from the open to the nearer extreme, the other one, and the close."""
    low_first = opening - low < high - opening
    corners = np.stack([opening, np.where(low_first, low, high), np.where(low_first, high, low), close])
    place = 3 * np.arange(nodes + 1) / nodes
    before = np.minimum(place.astype(np.int64), 2)
    part = place - before
    found = (1 - part)[:, None] * corners[before] + part[:, None] * corners[before + 1]
    found[nodes // 3], found[(2 * nodes) // 3] = corners[1], corners[2]
    return np.asarray(found.T)


def finer_bars(market: Bars, nodes: int, seed: int) -> pl.DataFrame:
    """Return each bar as finer bars along its path; see :meth:`~backtest.market.market.Market.refined`."""
    require_whole(nodes, seed)
    if (market.intervals % nodes).any():
        interval = int(market.intervals[np.argmax(market.intervals % nodes != 0)])
        raise ArgumentError(
            f"must divide a bar into whole milliseconds: {interval:,} ms do not fall into {nodes:,}",
            argument="nodes",
        )
    rows = np.arange(market.bars.height)
    step = np.repeat(market.intervals // nodes, np.diff(market.firsts))
    time = market.times[:, None] + step[:, None] * np.arange(nodes)
    columns = {"symbol": market.bars["symbol"].gather(np.repeat(rows, nodes)), "time": time.ravel()}
    for series, prefix in PRICE_PREFIX.items():
        if market.has(series):
            drawn = _drawn(market, series, rows, nodes, seed, None)
            before, after = drawn[:, :-1], drawn[:, 1:]
            columns |= {
                f"{prefix}open": before.ravel(),
                f"{prefix}high": np.maximum(before, after).ravel(),
                f"{prefix}low": np.minimum(before, after).ravel(),
                f"{prefix}close": after.ravel(),
            }
    for name in ("volume", "taker_buy_volume", "spot_volume", "open_interest"):
        if name in market.bars.columns:
            share = 1 if name == "open_interest" else nodes
            columns[name] = np.repeat(market.bars[name].to_numpy() / share, nodes)
    return pl.DataFrame(columns).with_columns(pl.col("time").cast(Time))


def require_whole(nodes: object, seed: object) -> None:
    """Refuse steps and seeds that are not whole, or out of range."""
    for name, value, least, most in (("nodes", nodes, 2, MOST_NODES), ("seed", seed, 0, 2**32 - 1)):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ArgumentError(f"must be a whole number from {least} to {most:,}, is {value!r}", argument=name)
