"""Indicators of liquidations to come, each strictly from the past.

A value uses bars up to and including one, and funding stamps up to its close. It carries that close as
``known_at``, so that :mod:`backtest.study.prediction.evaluate` can compare it with the next interval. Indicators
computed from a book are in :mod:`backtest.study.prediction.crowding`.

Statistics are expressions over the rows of one symbol in order of time; ``from_bars`` and ``from_funding`` turn
them into values::

    volatility = from_bars(market, realised_volatility())
    stretched = from_bars(market, open_interest_over_volume("futures"))
    funding = from_funding(market, funding_z_score())

The caller must make sure that a bar contains only the past: open interest interpolated between two daily figures
already contains, at noon, the next midnight's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.schemas.rules import IN_RANGE
from backtest.schemas.validation import Column, Schema, check
from backtest.shown import shown

__all__ = ["from_bars", "from_funding", "funding_z_score", "open_interest_over_volume", "realised_volatility"]
__dir__ = __all__.copy

DAY = timedelta(days=1)
MONTH = timedelta(days=30)

#: Funding stamps older than this are not used.
STALE = timedelta(days=1)

#: Rates are quoted to eight decimals: deviations below one are rounding.
QUOTED_RATE = 1e-8

NOT_COMPUTED = float("nan")

VALUES = Schema("values", (Column("known_at", Time, IN_RANGE), Column("value", pl.Float64)))


@dataclass(frozen=True, eq=False)
@shown()
class Indicator:
    """One indicator through time.

    Raises
    ------
    DataError
        For values without ``known_at`` and ``value``, null values, times that do not rise.
    """

    name: str
    values: pl.DataFrame  #: ``known_at`` (the close of the bar it looks back from), ``value`` (NaN: not computed)
    books: frozenset[str] = frozenset()  #: fingerprints of the books it was computed from; none: the market alone

    def __post_init__(self) -> None:
        check(self.values, VALUES)
        if not self.values.select((pl.col("known_at").diff().drop_nulls() > timedelta(0)).all()).item():
            raise DataError(f"values of {self.name}: known_at must rise from row to row")


def realised_volatility(window: timedelta = DAY) -> pl.Expr:
    """Return the root mean square of log returns from close to close over a window, per bar.

    Examples
    --------
    >>> from backtest.study.prediction import indicators
    >>> found = indicators.from_bars(market, indicators.realised_volatility())
    >>> round(found.values["value"].drop_nans().max(), 3)
    0.035
    """
    returns = (pl.col("close") / pl.col("close").shift(1)).log()
    return _covered(window, returns.pow(2).rolling_mean_by("time", window).sqrt()).alias("realised_volatility")


def open_interest_over_volume(of: Literal["spot", "futures"] = "spot", window: timedelta = DAY) -> pl.Expr:
    """Return open interest over the window's mean volume: the bars it would take to turn it over.

    Parameters
    ----------
    of : whose volume: ``spot_volume``, or the contract's own ``volume`` as a substitute, named so

    Returns
    -------
    ``open_interest_over_spot_volume`` or ``open_interest_over_futures_volume``; NaN where there was no volume.

    Examples
    --------
    >>> from backtest.study.prediction import indicators
    >>> indicators.open_interest_over_volume("futures").meta.output_name()
    'open_interest_over_futures_volume'
    """
    if of not in ("spot", "futures"):
        raise ArgumentError(f"must be spot or futures, is {of!r}", argument="of")
    volume = pl.col("spot_volume" if of == "spot" else "volume").rolling_mean_by("time", window)
    ratio = pl.when(volume > 0).then(pl.col("open_interest") / volume).otherwise(NOT_COMPUTED)
    return _covered(window, ratio).alias(f"open_interest_over_{of}_volume")


def funding_z_score(window: timedelta = MONTH) -> pl.Expr:
    """Return by how many standard deviations funding exceeds the window's mean; NaN where rates are constant.

    Examples
    --------
    >>> from backtest.study.prediction import indicators
    >>> days = pl.datetime_range(noon, noon + timedelta(days=3), "1d", eager=True)
    >>> funding = pl.DataFrame({"time": days, "rate": [1e-4, 1e-4, 1e-4, 7e-4]})
    >>> round(funding.select(indicators.funding_z_score(timedelta(days=3))).to_series()[-1], 2)
    1.15
    """
    rate = pl.col("rate")
    deviation = rate.rolling_std_by("time", window)
    score = (rate - rate.rolling_mean_by("time", window)) / deviation
    varies = pl.when(deviation > QUOTED_RATE).then(score).otherwise(NOT_COMPUTED)
    return _covered(window, varies).alias("funding_z_score")


@checked
def from_bars(market: Market, statistic: pl.Expr, *, name: str = "") -> Indicator:
    """Return a statistic of the bars of a market of one symbol.

    Parameters
    ----------
    statistic : of each bar and those before it
    name : by default the statistic's own, in words

    Raises
    ------
    ArgumentError
        For a market of several symbols.
    DataError
        For bars without a column the statistic needs.

    Examples
    --------
    >>> from backtest.study.prediction import indicators
    >>> found = indicators.from_bars(market, indicators.realised_volatility(timedelta(hours=8)))
    >>> found.name, found.values.height
    ('realised volatility', 408)
    """
    missing = [column for column in statistic.meta.root_names() if column not in market.bars.columns]
    if missing:
        raise DataError(f"bars need the column {' and '.join(missing)} for this indicator")
    values = market.bars.lazy().select(_close(market), value=statistic).fill_null(NOT_COMPUTED)
    return Indicator(name or _words(statistic), values.collect())


@checked
def from_funding(market: Market, statistic: pl.Expr, *, name: str = "") -> Indicator:
    """Return a statistic of a market's funding, at each bar's close that of the last stamp at or before it.

    Parameters
    ----------
    statistic : of each stamp and those before it
    name : by default the statistic's own, in words

    Returns
    -------
    NaN where the last stamp is older than a day.

    Raises
    ------
    ArgumentError
        For a market of several symbols.
    DataError
        For a market without funding.

    Examples
    --------
    >>> from backtest.study.prediction import indicators
    >>> indicators.from_funding(market, indicators.funding_z_score(timedelta(days=7))).values.columns
    ['known_at', 'value']
    """
    if market.funding is None:
        raise DataError("the market needs funding for this indicator")
    own = market.funding.lazy().filter(pl.col("symbol") == market.symbols[0])
    values = (
        market.bars.lazy()
        .select(_close(market))
        .join_asof(own.select("time", value=statistic), left_on="known_at", right_on="time", tolerance=STALE)
        .select("known_at", pl.col("value").fill_null(NOT_COMPUTED))
    )
    return Indicator(name or _words(statistic), values.collect())


@checked
def bar_length(market: Market) -> timedelta:
    """Return the length of a market's bars.

    Raises
    ------
    ArgumentError
        For a market of several symbols: indicators describe one at a time.
    """
    if len(market.symbols) != 1:
        raise ArgumentError(
            f"an indicator describes one symbol: the market holds {', '.join(market.symbols)}, keep one's bars"
        )
    return timedelta(milliseconds=int(market.intervals[0]))


def _close(market: Market) -> pl.Expr:
    return (pl.col("time") + bar_length(market)).alias("known_at")


def _covered(window: timedelta, value: pl.Expr) -> pl.Expr:
    """Return a value from the first row on that has a whole window of history before it."""
    return pl.when(pl.col("time") - pl.col("time").first() >= window).then(value).otherwise(NOT_COMPUTED)


def _words(statistic: pl.Expr) -> str:
    return statistic.meta.output_name().replace("_", " ")
