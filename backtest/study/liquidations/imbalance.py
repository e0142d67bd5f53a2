"""Imbalance of liquidated longs and shorts, its persistence, and the forced share of falls in open interest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import require, weight
from backtest.study.liquidations.grouping import interval
from backtest.study.units import in_currency, total, whole_units

__all__ = ["autocorrelation", "by_interval", "forced_share", "imbalance"]
__dir__ = __all__.copy

#: Quantities are rounded to a hundred-millionth of the base currency before they are added up.
QUANTITY_UNIT = 1e-8


def imbalance(measure: str = "notional") -> pl.Expr:
    """Return (longs - shorts) / (longs + shorts), from -1 to 1, as ``imbalance``; null without liquidations.

    Parameters
    ----------
    measure : ``notional``, ``count`` or ``share``, columns of ``flow.by_interval``

    Examples
    --------
    >>> from backtest.study.liquidations import by_interval
    >>> from backtest.study.liquidations.imbalance import imbalance
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> hourly.select(imbalance().mean().round(2)).item()
    0.11
    """
    longs, shorts = pl.col(f"long_{measure}"), pl.col(f"short_{measure}")
    both = longs + shorts
    return pl.when(both > 0).then((longs - shorts) / both).alias("imbalance")


@checked
def by_interval(flow: pl.DataFrame, measure: str = "notional") -> pl.DataFrame:
    """Return ``time``, ``imbalance`` and the liquidated ``measure`` of every interval.

    Parameters
    ----------
    flow : as ``flow.by_interval`` returns it

    Examples
    --------
    >>> from backtest.study import liquidations
    >>> flow = liquidations.by_interval(outcomes, start=noon, end=noon + timedelta(hours=2))
    >>> liquidations.imbalance.by_interval(flow).select("time", pl.col("imbalance").round(2))
    shape: (3, 2)
    ┌─────────────────────────┬───────────┐
    │ time                    ┆ imbalance │
    │ ---                     ┆ ---       │
    │ datetime[ms, UTC]       ┆ f64       │
    ╞═════════════════════════╪═══════════╡
    │ 2021-05-19 12:00:00 UTC ┆ 1.0       │
    │ 2021-05-19 13:00:00 UTC ┆ 0.99      │
    │ 2021-05-19 14:00:00 UTC ┆ null      │
    └─────────────────────────┴───────────┘
    """
    return flow.select("time", imbalance(measure), measure)


@checked
def autocorrelation(flow: pl.DataFrame, lags: Sequence[int], measure: str = "notional") -> pl.DataFrame:
    """Return the autocorrelation of the imbalance at given lags.

    Pearson's, over the intervals in which something was liquidated both then and earlier; each pair's means are
    its own. Errors are not independent: for a band resample calendar blocks (``study.bootstrap``).

    Parameters
    ----------
    flow : as ``flow.by_interval`` returns it: evenly spaced
    lags : intervals, at least 1

    Returns
    -------
    ``lag``, ``autocorrelation`` (NaN where fewer than two pairs, or no variation, are left), ``pairs``.

    Examples
    --------
    >>> from backtest.study.liquidations import by_interval
    >>> from backtest.study.liquidations.imbalance import autocorrelation
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> autocorrelation(hourly, [1, 24]).with_columns(pl.col("autocorrelation").round(2))
    shape: (2, 3)
    ┌─────┬─────────────────┬───────┐
    │ lag ┆ autocorrelation ┆ pairs │
    │ --- ┆ ---             ┆ ---   │
    │ i32 ┆ f64             ┆ u32   │
    ╞═════╪═════════════════╪═══════╡
    │ 1   ┆ 0.43            ┆ 85    │
    │ 24  ┆ -0.06           ┆ 82    │
    └─────┴─────────────────┴───────┘
    """
    step(flow)
    if not lags or min(lags) < 1:
        raise ArgumentError(f"must be whole numbers of at least 1, are {list(lags)}", argument="lags")
    now = flow.lazy().select(now=imbalance(measure))
    rows = [
        now.with_columns(before=pl.col("now").shift(lag))
        .drop_nulls()
        .select(lag=pl.lit(lag), autocorrelation=pl.corr("now", "before"), pairs=pl.len())
        for lag in lags
    ]
    return pl.concat(rows).with_columns(pl.col("autocorrelation").fill_null(float("nan"))).collect()


@checked
def forced_share(outcomes: pl.DataFrame, bars: pl.DataFrame, every: str = "1h") -> pl.DataFrame:
    """Return the liquidated share of each fall in open interest, in base units, by symbol and interval.

    Both sides are added up. A liquidated position leaves open interest only where no other trader takes it over,
    so the share may exceed 1. In base units, since open interest in dollars falls with the price alone.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    bars : ``symbol, time, open_interest`` (base units), rows in order of time; a reading is that of its bar's end

    Returns
    -------
    ``symbol``, ``time``, ``liquidated_quantity``, ``open_interest_fall`` since the last reading of the interval
    before (null in the first) and ``forced_share``, null where open interest did not fall.

    Raises
    ------
    DataError
        Where the bars carry no open interest, or the outcomes no ``contract_kind``.

    Examples
    --------
    >>> from backtest.study.liquidations.imbalance import forced_share
    >>> falling = bars.with_columns(open_interest=100 - pl.col("time").rank() / 10)
    >>> forced_share(outcomes, falling, "1d").select("time", pl.col("forced_share").round(2)).head(3)
    shape: (3, 2)
    ┌─────────────────────────┬──────────────┐
    │ time                    ┆ forced_share │
    │ ---                     ┆ ---          │
    │ datetime[ms, UTC]       ┆ f64          │
    ╞═════════════════════════╪══════════════╡
    │ 2021-05-10 00:00:00 UTC ┆ null         │
    │ 2021-05-11 00:00:00 UTC ┆ 0.48         │
    │ 2021-05-12 00:00:00 UTC ┆ 1.0          │
    └─────────────────────────┴──────────────┘
    """
    if "open_interest" not in bars.columns:
        raise DataError(f"bars must have open_interest in base units: there are {', '.join(bars.columns)}")
    require(outcomes, "contract_kind")
    opening = pl.col("time").dt.truncate(every)
    readings = bars.lazy().group_by("symbol", opening, maintain_order=True).agg(pl.col("open_interest").last())
    gone = outcomes.lazy().with_columns(weight(outcomes)).filter("liquidated")
    units = whole_units(_base_quantity() * pl.col("weight"), QUANTITY_UNIT)
    closed = in_currency(total(units), QUANTITY_UNIT)
    liquidated = gone.group_by("symbol", interval(every)).agg(liquidated_quantity=closed)
    fall = pl.col("open_interest").shift(1).over("symbol") - pl.col("open_interest")
    share = pl.col("liquidated_quantity") / pl.col("open_interest_fall")
    return (
        readings.with_columns(open_interest_fall=fall)
        .join(liquidated, on=["symbol", "time"], how="left", maintain_order="left")
        .with_columns(pl.col("liquidated_quantity").fill_null(0.0))
        .with_columns(forced_share=pl.when(pl.col("open_interest_fall") > 0).then(share))
        .select("symbol", "time", "liquidated_quantity", "open_interest_fall", "forced_share")
        .collect()
    )


@checked
def step(flow: pl.DataFrame) -> timedelta:
    """Return the distance between the intervals of a flow.

    Raises
    ------
    ArgumentError
        Where they are fewer than two, or not evenly spaced: a gap of a week is not a lag of one hour.
    """
    steps = flow["time"].diff().drop_nulls().unique()
    if len(steps) != 1:
        found = f"{flow.height:,} of {len(steps):,} different lengths"
        raise ArgumentError(
            f"must hold evenly spaced intervals, as by_interval returns them, has {found}", argument="flow"
        )
    return timedelta(milliseconds=steps.dt.total_milliseconds().item())


def _base_quantity() -> pl.Expr:
    """Return the base units that were closed; the fill notional of an inverse contract is in coin already."""
    notional = pl.col("fill_notional")
    linear = pl.col("contract_kind") == "linear"
    return pl.when(linear).then(notional / pl.col("fill_price")).otherwise(notional)
