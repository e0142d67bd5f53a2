"""Distance of a price in days of volatility."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from backtest.amounts import plain
from backtest.cli.common.inputs import require_symbol
from backtest.engine.accounts.account_view import COMMON
from backtest.errors import ArgumentError
from backtest.market import Market, load

DAY = timedelta(days=1)

#: Fewest returns of a volatility.
FEWEST_RETURNS = 20


@dataclass(frozen=True)
class Volatility:
    """Standard deviation of log returns, scaled to a day, over a window of bars."""

    daily: float
    returns: int
    start: datetime  #: close of the first return's earlier bar
    end: datetime  #: close of the last bar


def daily_volatility(path: Path, symbol: str, *, end: datetime | None, window: float) -> Volatility:
    """Return the volatility of one symbol's closes over the days before a moment.

    Parameters
    ----------
    path : bars
    end : only bars that closed by then count; None: all
    window : days

    Raises
    ------
    ArgumentError
        Where the bars do not hold the symbol, or the window too few returns.
    """
    market = load(path)
    closes, interval = _closes(market, symbol, end)
    return _volatility(closes, interval, symbol, window)


def closes_and_volatility(
    path: Path, symbols: Sequence[str], *, end: datetime | None, window: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the last closes of symbols, and their volatilities with that of the mean of their log returns.

    Raises
    ------
    ArgumentError
        Where the bars do not hold a symbol, or the window too few returns.
    """
    market = load(path)
    closes, daily, paths = {}, {}, []
    for symbol in symbols:
        own, interval = _closes(market, symbol, end)
        daily[symbol] = _volatility(own, interval, symbol, window).daily
        closes[symbol] = float(own["price"][-1])
        paths.append(own.select("time", pl.col("price").log().alias(symbol)))
    joined = paths[0]
    for other in paths[1:]:
        joined = joined.join(other, on="time")
    mean = joined.select("time", price=pl.mean_horizontal(symbols).exp())
    daily[COMMON] = _volatility(mean, interval, "all symbols at once", window).daily
    return closes, daily


def _closes(market: Market, symbol: str, end: datetime | None) -> tuple[pl.DataFrame, timedelta]:
    """Return the closes of a symbol by the time they are known at, and the interval of its bars."""
    require_symbol("symbol", symbol, market)
    interval = timedelta(milliseconds=int(market.intervals[market.symbols.index(symbol)]))
    closes = market.bars.filter(pl.col("symbol") == symbol).select(time=pl.col("time") + interval, price="close")
    return (closes if end is None else closes.filter(pl.col("time") <= end)), interval


def _volatility(closes: pl.DataFrame, interval: timedelta, symbol: str, window: float) -> Volatility:
    used = closes.filter(pl.col("time") >= pl.col("time").max() - DAY * window)
    returns = used.select(pl.col("price").log().diff()).to_series().drop_nulls().to_numpy()
    if len(returns) < FEWEST_RETURNS:
        raise ArgumentError(
            f"volatility needs at least {FEWEST_RETURNS} returns: a --window of {plain(window)} days holds "
            f"{len(returns)} of {symbol}, which has {closes.height:,} bars by then"
        )
    daily = float(returns.std(ddof=1)) * math.sqrt(DAY / interval)
    return Volatility(daily, len(returns), used["time"][0], used["time"][-1])
