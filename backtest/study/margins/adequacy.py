"""Initial margin: how much of the notional covers the worst move within a liquidation period.

Moves are those within whole calendar periods that do not overlap, from the period's open to its low (long) or high
(short): what a margin must survive is the extreme inside, not the close. A margin m(p) is exceeded in a share p of
the periods; the laws it is read from are those of :mod:`backtest.study.margins.tail_laws`. Bands draw calendar
blocks.

References: Cotter and Longin (2007) on intraday extremes; Murphy, Vasios and Vause (2014) on procyclicality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.engine.sweep.lifetimes import symbol_of
from backtest.errors import ArgumentError, DataError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.study.margins.exceedances import Light, coverage
from backtest.study.margins.tail_laws import DEFAULT, METHODS, MOVES, Choices, Moves, fit
from backtest.study.stats.bootstrap import FORTNIGHT, Seed, resampling

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)

PROBABILITIES = (0.05, 0.02, 0.01, 0.005, 0.001)

#: Periods of a rise of margin that is looked for.
RISES = (1, 5, 30)


@checked
def period_moves(market: Market, period: timedelta = DAY, *, symbol: str | None = None) -> Moves:
    """Return the moves within whole calendar periods, counted from 1970, that do not overlap.

    Returns
    -------
    ``time`` (opening of the period), ``open``, ``down`` = 1 - low / open, ``up`` = high / open - 1, ``change`` =
    close / open - 1. Periods that miss any bar are left out.

    Raises
    ------
    ArgumentError
        For a period that is not whole bars.
    DataError
        Where no period is whole.
    """
    name = symbol_of(market, symbol)
    interval = timedelta(milliseconds=int(market.intervals[market.symbols.index(name)]))
    if period < interval or period % interval:
        raise ArgumentError(f"must be whole bars of {interval}, is {period}", argument="period")
    bars = market.bars.lazy().filter(pl.col("symbol") == name).sort("time")
    start = pl.from_epoch(pl.col("time").dt.epoch("ms") // (period // MILLISECOND) * (period // MILLISECOND), "ms")
    opening = pl.col("open").first()
    found = (
        bars.group_by(start.dt.replace_time_zone("UTC").cast(Time).alias("time"), maintain_order=True)
        .agg(
            opening,
            down=(1 - pl.col("low").min() / opening).clip(0),
            up=(pl.col("high").max() / opening - 1).clip(0),
            change=pl.col("close").last() / opening - 1,
            bars=pl.len(),
        )
        .filter(pl.col("bars") == period // interval)
        .drop("bars")
        .collect()
    )
    if found.is_empty():
        raise DataError(f"no period of {period} is whole: the bars of {name} are too few")
    return found


def initial_margins(
    moves: Moves,
    *,
    seed: Seed,
    methods: Sequence[str] = tuple(METHODS),
    probabilities: Sequence[float] = PROBABILITIES,
    choices: Choices = DEFAULT,
    length: timedelta = FORTNIGHT,
    draws: int = 199,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return the margin each method asks for at each probability, with bands over calendar blocks.

    Parameters
    ----------
    moves : as :func:`period_moves` returns them
    methods : of those the module tells; laws of extremes and Student's need scipy
    probabilities : of a move beyond the margin within one period
    length, draws, confidence, seed : of the bands; no draws, no bands. A draw that cannot be fitted has no margin,
        and makes the band NaN

    Returns
    -------
    ``side, method, probability, margin`` (fraction of the notional), ``leverage`` = 1 / margin, ``shape``,
    ``extremal_index`` and, with draws, ``low, high`` of the margin.
    """
    for probability in probabilities:
        if not 0 < probability < 1:
            raise ArgumentError(f"must lie between 0 and 1, one is {probability!r}", argument="probabilities")
    fits = {(side, name): fit(moves, side, name, choices) for side in MOVES for name in methods}
    rows = [
        {
            "side": side,
            "method": name,
            "probability": probability,
            "margin": (margin := fits[side, name].margin(probability)),
            "leverage": 1 / margin,
            "shape": fits[side, name].shape,
            "extremal_index": fits[side, name].extremal_index,
        }
        for side, name in fits
        for probability in probabilities
    ]
    floats = {"shape": pl.Float64, "extremal_index": pl.Float64}
    found = pl.DataFrame(rows, schema_overrides=floats).cast({"side": Side})
    if not draws:
        return found
    plan = resampling(moves["time"], seed=seed, length=length, draws=draws, confidence=confidence)
    drawn = np.array(
        [
            [margin for side, name in fits for margin in _margins(part, side, name, choices, probabilities)]
            for part in plan.frames(moves, time="time")
        ]
    )
    bands = [plan.band(column) for column in drawn.T]
    return found.with_columns(low=np.array([band.low for band in bands]), high=np.array([b.high for b in bands]))


def rolling_margins(
    moves: Moves,
    method: str,
    *,
    probability: float = 0.01,
    window: timedelta = 365 * DAY,
    refit: int = 7,
    choices: Choices = DEFAULT,
) -> pl.DataFrame:
    """Return the margin that was known before each period, and what came of it.

    Parameters
    ----------
    moves : as :func:`period_moves` returns them
    window : that a margin is fitted on, wholly before the period it is for
    refit : periods that a fit serves

    Returns
    -------
    ``side, method, time, margin, move, exceeded``, from the first period a whole window lies before.

    Raises
    ------
    DataError
        For a history no longer than the window.
    """
    times = moves["time"].dt.epoch("ms").to_numpy()
    step = window // MILLISECOND
    first = int(np.searchsorted(times, times[0] + step))
    if first >= times.size or refit < 1:
        raise DataError(
            f"rolling margins need moves over more than the window of {window}, and a refit of 1 or more"
        )
    parts = []
    for side, column in MOVES.items():
        margins = np.empty(times.size - first)
        for begin in range(first, times.size, refit):
            known = moves[int(np.searchsorted(times, times[begin] - step)) : begin]
            margins[begin - first : begin - first + refit] = fit(known, side, method, choices).margin(probability)
        parts.append(
            moves[first:].select(
                side=pl.lit(side).cast(Side), method=pl.lit(method), time="time", margin=margins, move=column
            )
        )
    return pl.concat(parts).with_columns(exceeded=pl.col("move") > pl.col("margin"))


@checked
def coverage_table(margins: pl.DataFrame, probability: float) -> pl.DataFrame:
    """Return the tests of rolling margins, a row a method and side: see :func:`exceedances.coverage`."""
    rows = [
        {"method": method, "side": side, **coverage(part["exceeded"].to_numpy(), probability)}
        for (method, side), part in margins.group_by("method", "side", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema_overrides={"side": Side, "light": Light})


@checked
def procyclicality(margins: pl.DataFrame) -> pl.DataFrame:
    """Return how much margins moved with the market: what a rule costs in calm, and asks for in a storm.

    Returns
    -------
    ``method, side, mean`` (its cost), ``peak_to_trough`` = highest / lowest, and for some numbers of periods
    ``rise_N``, the largest rise within so many, as a fraction of the notional.
    """
    margin = pl.col("margin")
    rises = {f"rise_{periods}": (margin - margin.shift(periods)).max() for periods in RISES}
    return margins.group_by("method", "side", maintain_order=True).agg(
        mean=margin.mean(), peak_to_trough=margin.max() / margin.min(), **rises
    )


def _margins(
    moves: Moves, side: str, method: str, choices: Choices, probabilities: Sequence[float]
) -> Iterator[float]:
    try:
        fitted = fit(moves, side, method, choices)
    except DataError:
        yield from [math.nan] * len(probabilities)
    else:
        yield from map(fitted.margin, probabilities)
