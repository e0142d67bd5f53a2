"""Trailing volatility, and the distance to liquidation in daily standard deviations.

Daily volatility at an open is the standard deviation of log returns from close to close over a trailing window,
scaled by the root of bars a day. Only bars that had closed by then count; returns across missing bars do not.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.schemas.arguments import checked

__all__ = ["distance_in_days", "entry_regime", "known_at_entry", "trailing_volatility"]
__dir__ = __all__.copy

DAY = timedelta(days=1)

#: Least number of returns for a volatility.
FEWEST_RETURNS = 20

Regime = pl.Enum(["calm", "middle", "turbulent"])


@checked
def trailing_volatility(market: Market, window: timedelta = 30 * DAY) -> pl.DataFrame:
    """Return the daily volatility known at each open.

    Returns
    -------
    ``symbol, time, volatility``; null before ``FEWEST_RETURNS`` returns lie in the window.

    Examples
    --------
    >>> from backtest.study.survival import volatility
    >>> known = volatility.trailing_volatility(market, timedelta(days=7))
    >>> round(known["volatility"].max(), 3)
    0.117
    """
    if window <= timedelta(0):
        raise ArgumentError(f"the window of a volatility must be above zero, is {window}")
    milliseconds = window // timedelta(milliseconds=1)
    steps = pl.DataFrame({"symbol": list(market.symbols), "interval": market.intervals})
    neighbours = pl.col("time").diff().over("symbol") == pl.col("interval").cast(pl.Duration("ms"))
    returns = pl.when(neighbours).then(pl.col("close").log().diff().over("symbol"))
    deviation = pl.col("step").rolling_std_by(
        "time", window_size=f"{milliseconds}ms", closed="left", min_samples=FEWEST_RETURNS
    )
    bars_a_day = DAY / timedelta(milliseconds=1) / pl.col("interval")
    return (
        market.bars.lazy()
        .select("symbol", "time", "close")
        .join(steps.lazy(), on="symbol", maintain_order="left")
        .with_columns(step=returns)
        .select("symbol", "time", volatility=deviation.over("symbol") * bars_a_day.sqrt())
        .collect()
    )


@checked
def known_at_entry(
    positions: pl.DataFrame, market: Market, window: timedelta = 30 * DAY
) -> pl.DataFrame:  # fmt: skip
    """Return positions or outcomes with the daily ``volatility`` known at the last open by their entry.

    Examples
    --------
    >>> from backtest.study.survival import volatility
    >>> found = volatility.known_at_entry(outcomes, market)
    >>> found["volatility"].null_count()
    48
    """
    known = trailing_volatility(market, window).sort("time")
    ordered = positions.with_row_index("row").sort("entry_time", maintain_order=True)
    joined = ordered.join_asof(
        known.rename({"time": "entry_time"}), on="entry_time", by="symbol", check_sortedness=False
    )
    return joined.sort("row").drop("row")


@checked
def distance_in_days(outcomes: pl.DataFrame, market: Market, window: timedelta = 30 * DAY) -> pl.DataFrame:
    """Return outcomes with the distance from entry to liquidation, in standard deviations of a day.

    Returns
    -------
    The outcomes with ``volatility`` and ``distance_days`` = abs(ln(liquidation price / entry price)) / volatility,
    null where either does not exist. The liquidation price is the outcome's, funding included.

    Examples
    --------
    >>> from backtest.study.survival import volatility
    >>> found = volatility.distance_in_days(outcomes, market)
    >>> found.group_by("liquidated").agg(pl.col("distance_days").median().round(2)).sort("liquidated").rows()
    [(False, 1.49), (True, 0.35)]
    """
    move = (pl.col("liquidation_price") / pl.col("entry_price")).log().abs()
    return known_at_entry(outcomes, market, window).with_columns(distance_days=move / pl.col("volatility"))


@checked
def entry_regime(outcomes: pl.DataFrame, market: Market, window: timedelta = 7 * DAY) -> pl.DataFrame:
    """Return outcomes with ``entry_regime``: the third of the history's volatilities that the entry's fell in.

    A label in hindsight: the volatility was known at the entry, the thirds are those of the whole history, of
    each symbol for itself. Null where no volatility was known.

    Examples
    --------
    >>> from backtest.study.survival import volatility
    >>> found = volatility.entry_regime(outcomes, market)
    >>> found.group_by("entry_regime").agg(pl.col("liquidated").mean().round(2)).sort("entry_regime").rows()
    [(None, 0.19), ('calm', 0.31), ('middle', 0.42), ('turbulent', 0.31)]
    """
    known = trailing_volatility(market, window).drop_nulls()
    thirds = known.group_by("symbol").agg(
        low=pl.col("volatility").quantile(1 / 3), high=pl.col("volatility").quantile(2 / 3)
    )
    found = known_at_entry(outcomes, market, window).join(thirds, on="symbol", how="left", maintain_order="left")
    regime = (
        pl.when(pl.col("volatility") <= pl.col("low"))
        .then(pl.lit("calm"))
        .when(pl.col("volatility") <= pl.col("high"))
        .then(pl.lit("middle"))
        .when(pl.col("volatility").is_not_null())
        .then(pl.lit("turbulent"))
    )
    return found.with_columns(entry_regime=regime.cast(Regime)).drop("low", "high", "volatility")
