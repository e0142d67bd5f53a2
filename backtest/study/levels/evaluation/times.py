"""Sample times of an evaluation: known volatility before, bars over a whole horizon after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.levels.clusters import daily_volatility
from backtest.study.levels.grid import LevelGrid, moment_of

MILLISECOND = timedelta(milliseconds=1)


class SampleTime(NamedTuple):
    """One sample time, with the price range over the horizon that follows."""

    column: int  #: that ends then
    start: int  #: ms
    moment: datetime
    price: float  #: mark, at the close
    daily: float  #: volatility by then
    low: float  #: of the horizon
    high: float


@checked
def sample_times(
    grid: LevelGrid, market: Market, *, every: timedelta, horizon: timedelta, window: timedelta
) -> Iterator[SampleTime]:
    """Yield the moments, as many whole columns apart as fit.

    Parameters
    ----------
    every : between samples, a column at least
    horizon : that must be covered by bars
    window : before the sample, that volatility is measured over

    Raises
    ------
    ArgumentError
        For samples closer together than the columns of the map.
    """
    step = every // MILLISECOND // grid.step
    if step < 1:
        raise ArgumentError(
            f"must be a column of the map at least, {grid.step / 60_000:g} min, is {every}", argument="every"
        )
    bars = market.bars.filter(pl.col("symbol") == grid.symbol)
    times = bars["time"].to_physical().to_numpy()
    low, high, close = (bars[name].to_numpy() for name in ("low", "high", "close"))
    ahead = horizon // MILLISECOND
    for column in range(step - 1, grid.columns, step):
        start = int(grid.ends[column])
        first, stop = np.searchsorted(times, [start, start + ahead])
        if first == 0 or stop == first or times[-1] + grid.interval < start + ahead:
            continue
        moment = moment_of(start)
        daily = daily_volatility(market, grid.symbol, moment, window)
        if daily > 0:
            lowest, highest = float(low[first:stop].min()), float(high[first:stop].max())
            yield SampleTime(column, start, moment, float(close[first - 1]), daily, lowest, highest)
