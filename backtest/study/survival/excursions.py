"""Excursions: largest price moves from each open within a horizon, and the leverage they allow.

An excursion is the largest move against a position opened at a bar's open: down, 1 - lowest low / open, to a long;
up, highest high / open - 1, to a short. From it follow the probability of touching a price at a given distance,
the largest move of a crash, and the least leverage that a move liquidates under one maintenance rate m on the
notional at the mark:

    long   L* = 1 / (1 - (1 - m) (1 - move))        short   L* = 1 / ((1 + m) (1 + move) - 1)

the second being the threshold of Alexander, Deng and Zou (2023), move = (1 / L - m) / (1 + m).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.sweep.lifetimes import symbol_of
from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.study.stats.bootstrap import FORTNIGHT, Seed
from backtest.study.stats.rates import Rate, banded_rates

__all__ = ["crashes", "critical_leverage", "excursions", "touching"]
__dir__ = __all__.copy

HORIZONS = (timedelta(hours=1), timedelta(hours=8), timedelta(days=1), timedelta(days=7))
CRASH_WINDOW = timedelta(hours=48)
MILLISECOND = timedelta(milliseconds=1)

CRASH: dict[str, Any] = {
    "name": pl.String,
    "start": pl.Datetime("us", "UTC"),
    "horizon": pl.Duration("us"),
    "fall": pl.Float64,
    "fall_from": Time,
    "fall_to": Time,
    "long_leverage": pl.Float64,
    "rise": pl.Float64,
    "rise_from": Time,
    "rise_to": Time,
    "short_leverage": pl.Float64,
}


@checked
def excursions(
    market: Market, horizon: timedelta, *, symbol: str | None = None, whole: bool = True
) -> pl.DataFrame:
    """Return the largest moves of the mark price from each open within a horizon.

    Parameters
    ----------
    market : mark prices
    horizon : from the open on; bars that open before its end count whole
    whole : leave out opens whose horizon runs into a long gap or beyond the history

    Returns
    -------
    ``time, open, down, up`` (fractions of the open), ``low_time, high_time`` (open times of the bars of the first
    extremes).

    Examples
    --------
    >>> from backtest.study.survival import excursions
    >>> found = excursions.excursions(market, timedelta(days=1))
    >>> round(found["down"].max(), 3), round(found["up"].max(), 3)
    (0.348, 0.256)
    """
    name = symbol_of(market, symbol)
    number = market.symbols.index(name)
    rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
    times = market.times[rows]
    until, observed = windows(market, number, horizon)
    opening = market.prices("mark", "open")[rows]
    lowest = first_lowest(market.prices("mark", "low")[rows], until)
    highest = first_lowest(-market.prices("mark", "high")[rows], until)
    frame = pl.DataFrame(
        {
            "time": pl.Series(times).cast(Time),
            "open": opening,
            "down": np.maximum(1 - market.prices("mark", "low")[rows][lowest] / opening, 0.0),
            "up": np.maximum(market.prices("mark", "high")[rows][highest] / opening - 1, 0.0),
            "low_time": pl.Series(times[lowest]).cast(Time),
            "high_time": pl.Series(times[highest]).cast(Time),
        }
    )
    return frame.filter(pl.Series(observed)) if whole else frame


@checked
def touching(
    market: Market,
    distances: Sequence[float],
    horizons: Sequence[timedelta] = HORIZONS,
    *,
    seed: Seed,
    symbol: str | None = None,
    length: timedelta = FORTNIGHT,
    draws: int = 999,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return how often the mark price moved a distance against a position, from any open, within each horizon.

    Parameters
    ----------
    distances : fractions of the price at the open
    length, draws, confidence, seed : of the bands over calendar blocks; no draws, no bands

    Returns
    -------
    ``side, distance, horizon, openings, touched, chance`` and, with draws, ``low, high, effective_blocks``.

    Examples
    --------
    >>> from backtest.study.survival import excursions
    >>> found = excursions.touching(market, [0.05], [timedelta(days=1)], draws=0, seed=1)
    >>> found.select("side", pl.col("chance").round(2)).rows()
    [('long', 0.62), ('short', 0.39)]
    """
    rates = []
    for horizon in horizons:
        moved = excursions(market, horizon, symbol=symbol)
        block_times = moved["time"].to_physical().to_numpy()
        for side, column in (("long", "down"), ("short", "up")):
            move = moved[column].to_numpy()
            for distance in distances:
                keys = {"side": side, "distance": float(distance), "horizon": horizon}
                rates.append(Rate(keys, block_times, move >= distance))
    found = banded_rates(rates, seed=seed, length=length, draws=draws, confidence=confidence)
    return found.rename({"cases": "openings", "events": "touched", "rate": "chance"}).cast({"side": Side})


def critical_leverage(move: Floats | float, maintenance_rate: float, side: str = "long") -> Floats:
    """Return the least leverage that a move against a position liquidates, opened at the start of the move.

    Parameters
    ----------
    move : fraction of the opening price, from 0, below 1 for a long
    maintenance_rate : of the notional at the mark, the same at all sizes

    Returns
    -------
    As many as moves; infinite where no leverage is liquidated.

    Examples
    --------
    >>> from backtest.study.survival import excursions
    >>> excursions.critical_leverage(np.array([0.05, 0.31]), 0.004).round(1)
    array([18.6,  3.2])
    """
    moves = np.asarray(move, np.float64)
    if side not in ("long", "short") or not 0 < maintenance_rate < 1:
        raise ArgumentError(
            "critical_leverage needs the side long or short and a rate between 0 and 1, has "
            f"{side!r} and {maintenance_rate!r}"
        )
    if not ((moves >= 0) & ((moves < 1) | (side == "short"))).all():
        raise ArgumentError(f"a move must be 0 or more, below 1 for a long, is {move!r}")
    if side == "long":
        return np.asarray(1 / (1 - (1 - maintenance_rate) * (1 - moves)))
    return np.asarray(1 / ((1 + maintenance_rate) * (1 + moves) - 1))


@checked
def crashes(
    market: Market,
    spans: Mapping[str, tuple[datetime, datetime]],
    *,
    maintenance_rate: float,
    symbol: str | None = None,
    horizon: timedelta = CRASH_WINDOW,
) -> pl.DataFrame:
    """Return the largest fall and rise within each span, and the least leverage each of them liquidates.

    Parameters
    ----------
    spans : first and last moment of each by name; a move begins at an open inside and ends within ``horizon``
    maintenance_rate : see :func:`critical_leverage`

    Returns
    -------
    ``name, start, horizon``; of the largest fall from a bar's opening to a later low ``fall, fall_from, fall_to``
    (bars' openings) and ``long_leverage``; of the largest rise likewise ``rise`` ... ``short_leverage``.

    Raises
    ------
    DataError
        For a span in which no bar opens.

    Examples
    --------
    >>> from backtest.study.survival import excursions
    >>> span = {"midday crash": (noon - timedelta(hours=6), noon + timedelta(hours=6))}
    >>> found = excursions.crashes(market, span, maintenance_rate=0.004)
    >>> found.select(pl.col("fall").round(3), pl.col("long_leverage").round(1)).row(0)
    (0.27, 3.7)
    """
    moved = excursions(market, horizon, symbol=symbol, whole=False)
    rows = []
    for name, (start, end) in spans.items():
        inside = moved.filter(pl.col("time").is_between(start, end))
        if inside.is_empty():
            raise DataError(f"crashes: no bar opens in {name}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
        fall = inside.row(int(np.argmax(inside["down"].to_numpy())), named=True)
        rise = inside.row(int(np.argmax(inside["up"].to_numpy())), named=True)
        rows.append(
            {
                "name": name,
                "start": start,
                "horizon": horizon,
                "fall": fall["down"],
                "fall_from": fall["time"],
                "fall_to": fall["low_time"],
                "long_leverage": float(critical_leverage(fall["down"], maintenance_rate)),
                "rise": rise["up"],
                "rise_from": rise["time"],
                "rise_to": rise["high_time"],
                "short_leverage": float(critical_leverage(rise["up"], maintenance_rate, "short")),
            }
        )
    return pl.DataFrame(rows, schema=CRASH)


@checked
def windows(market: Market, symbol: int, horizon: timedelta) -> tuple[Integers, np.ndarray]:
    """Return (bars,) the first bar that opens at or after each window's end, and whether all of it is known."""
    if horizon < MILLISECOND:
        raise ArgumentError(f"a horizon must be above zero, is {horizon}")
    times = market.times[market.firsts[symbol] : market.firsts[symbol + 1]]
    end = times + horizon // MILLISECOND
    gaps = np.append(market.long_gaps(symbol, market.gap_limit), times.size)
    known = gaps[np.searchsorted(gaps, np.arange(times.size), side="right")]
    until = np.minimum(np.searchsorted(times, end), known)
    return until, end <= times[known - 1] + market.intervals[symbol]


def first_lowest(values: Floats, until: Integers) -> Integers:
    """Return the first index of the lowest value in [i, until_i) for each i, by minima over powers of two."""
    count = values.size
    best = np.arange(count)
    found = np.arange(count)
    width = until - np.arange(count)
    reach = 1
    while True:
        done = (width >= reach) & (width < 2 * reach)
        at = np.flatnonzero(done)
        found[at] = _lower(values, best[at], best[until[at] - reach])
        reach *= 2
        if reach > width.max(initial=1):
            return found
        best[: count - reach // 2] = _lower(values, best[: count - reach // 2], best[reach // 2 :])


def _lower(values: Floats, first: Integers, second: Integers) -> Integers:
    """Return which of two indices holds the lower value, the first where they are equal."""
    return np.where(values[second] < values[first], second, first)
