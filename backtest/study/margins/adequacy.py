"""Initial margin: share of the notional that covers the worst move within a liquidation period.

Moves are those within whole calendar periods that do not overlap, from the period's open to its low (long) or high
(short): the margin must survive the extreme inside, not the close. A margin m(p) is exceeded in a share p of
the periods; the laws it is read from are those of :mod:`backtest.study.margins.tail_laws`. Bands draw calendar
blocks.

References: Cotter and Longin (2007) on intraday extremes; Murphy, Vasios and Vause (2014) on procyclicality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.sweep.lifetimes import symbol_of
from backtest.errors import ArgumentError, DataError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.study.margins.exceedances import COVERED, coverage
from backtest.study.margins.tail_laws import DEFAULT, METHODS, MOVES, Choices, Moves, fit
from backtest.study.stats.bootstrap import FORTNIGHT, Seed, resampling

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)

PROBABILITIES = (0.05, 0.02, 0.01, 0.005, 0.001)

#: Numbers of periods over which rises of margin are measured.
RISES = (1, 5, 30)

MARGIN: dict[str, Any] = {
    "side": Side,
    "method": pl.String,
    **dict.fromkeys(("probability", "margin", "leverage", "shape", "extremal_index"), pl.Float64),
}
COVERAGE: dict[str, Any] = {"method": pl.String, "side": Side, **COVERED}


@checked
def period_moves(market: Market, period: timedelta = DAY, *, symbol: str | None = None) -> Moves:
    """Return the moves within whole calendar periods, counted from 1970, that do not overlap.

    Returns
    -------
    ``time`` (open time of the period), ``open``, ``down`` = 1 - low / open, ``up`` = high / open - 1, ``change`` =
    close / open - 1. Periods that miss any bar are left out.

    Raises
    ------
    ArgumentError
        For a period that is not whole bars.
    DataError
        Where no period is complete.

    Examples
    --------
    >>> from backtest.study import margins
    >>> round(margins.period_moves(market)["down"].max(), 3)
    0.31
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
        raise DataError(f"no period of {period} is complete: the bars of {name} are too few")
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
    """Return the margin each method requires at each probability, with bands over calendar blocks.

    Parameters
    ----------
    moves : as :func:`period_moves` returns them
    methods : of ``tail_laws.METHODS``; laws of extremes and Student's need scipy
    probabilities : of a move beyond the margin within one period
    length, draws, confidence, seed : of the bands; no draws, no bands. A draw that cannot be fitted has no margin,
        and makes the band NaN

    Returns
    -------
    ``side, method, probability, margin`` (fraction of the notional), ``leverage`` = 1 / margin, ``shape``,
    ``extremal_index`` and, with draws, ``low, high`` of the margin.

    Examples
    --------
    >>> from backtest.study import margins
    >>> moves = margins.period_moves(market, timedelta(hours=4))
    >>> found = margins.initial_margins(moves, methods=["empirical"], probabilities=[0.01], draws=0, seed=1)
    >>> found.select("side", pl.col("margin").round(3)).rows()
    [('long', 0.127), ('short', 0.102)]
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
    found = pl.DataFrame(rows, schema=MARGIN)
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
    """Return the margin known before each period, and whether the period's move exceeded it.

    Parameters
    ----------
    moves : as :func:`period_moves` returns them
    window : history a margin is fitted on, wholly before its period
    refit : periods for which a fit is kept

    Returns
    -------
    ``side, method, time, margin, move, exceeded``, from the first period preceded by a whole window.

    Raises
    ------
    DataError
        For a history no longer than the window.

    Examples
    --------
    >>> from backtest.study import margins
    >>> moves = margins.period_moves(market, timedelta(hours=4))
    >>> found = margins.rolling_margins(moves, "empirical", probability=0.05, window=timedelta(days=7))
    >>> found.group_by("side", maintain_order=True).agg(pl.len(), pl.col("exceeded").sum()).rows()
    [('long', 60, 8), ('short', 60, 8)]
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
    """Return the tests of rolling margins, a row a method and side: see :func:`exceedances.coverage`.

    Examples
    --------
    >>> from backtest.study import margins
    >>> moves = margins.period_moves(market, timedelta(hours=4))
    >>> rolling = margins.rolling_margins(moves, "empirical", probability=0.05, window=timedelta(days=7))
    >>> margins.coverage_table(rolling, 0.05).select("side", "exceedances", "expected", "light").rows()
    [('long', 8, 3.0, 'yellow'), ('short', 8, 3.0, 'yellow')]
    """
    rows = [
        {"method": method, "side": side, **coverage(part["exceeded"].to_numpy(), probability)}
        for (method, side), part in margins.group_by("method", "side", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=COVERAGE)


@checked
def procyclicality(margins: pl.DataFrame) -> pl.DataFrame:
    """Return how much margins moved with the market: the cost of a rule in calm, its rises in turbulence.

    Returns
    -------
    ``method, side, mean`` (its cost), ``peak_to_trough`` = highest / lowest, and for some numbers of periods
    ``rise_N``, the largest rise within so many, as a fraction of the notional.

    Examples
    --------
    >>> from backtest.study import margins
    >>> moves = margins.period_moves(market, timedelta(hours=4))
    >>> rolling = margins.rolling_margins(moves, "empirical", probability=0.05, window=timedelta(days=7))
    >>> margins.procyclicality(rolling).select("side", pl.col("peak_to_trough").round(2)).rows()
    [('long', 1.75), ('short', 2.41)]
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
