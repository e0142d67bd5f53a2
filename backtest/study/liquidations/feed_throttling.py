"""Feed throttling: estimated part of liquidations that a feed shows, at most one per symbol and second.

Venues throttled their feeds to that between April and September 2021. Which order of a second is shown is their
rule: Binance's documentation said ``latest`` until it was changed to ``largest``. Counts and notional are
separate: with the latest order both have the same expected share, with the largest more of the notional is seen.

Orders of a second are counted by a negative binomial law with mean ``rate`` and variance rate (1 + dispersion):
clusters arrive at random, their sizes follow the logarithmic law (Quenouille 1949), and a cluster falls within one
second. A second has no order with probability ``(1 + dispersion)^(-rate / dispersion)``, so the visible share of
counts is

    (1 - exp(-a rate)) / rate        a = ln(1 + dispersion) / dispersion, 1 / a the mean size of a cluster

Dispersion 0 is uniform arrival, a = 1: ``(1 - exp(-rate)) / rate``, an upper bound for every feed whose rate
varies at random from second to second, since exp is convex (Jensen). Real arrivals cluster. Evenly spaced
orders would be seen better; no such arrival has been reported.

The hidden part depends on the number of orders: in a synthetic book, on the number of positions chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.study import feed
from backtest.kernel.types import Integers, readonly
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import weight
from backtest.study.liquidations.visible_shares import (
    BYBIT_VISIBLE_SHARE,
    GAPS_UNDER_A_SECOND,
    clusters_of,
    dispersion_of_gaps,
    implied_rate,
    visible_notional_share,
    visible_share,
)
from backtest.study.units import WEIGHT_UNIT, in_currency, total, whole_units

__all__ = [
    "BYBIT_VISIBLE_SHARE",
    "GAPS_UNDER_A_SECOND",
    "RULES",
    "curve",
    "dispersion_of_gaps",
    "implied_rate",
    "shown",
    "visible",
    "visible_notional_share",
    "visible_share",
]

__dir__ = __all__.copy

Rule = Literal["latest", "largest"]

RULES = ("latest", "largest")

#: Expected notionals are rounded to this part of a unit: a rarely visible order is a small part of a cent.
EXPECTED = 1e-4

SECOND = timedelta(seconds=1)


@checked
def shown(
    outcomes: pl.DataFrame,
    *,
    bar: timedelta = timedelta(minutes=1),
    rule: Rule = "latest",
    dispersion: float = 0.0,
) -> pl.DataFrame:
    """Return the liquidated rows with the expected number that a feed shows as ``weight``.

    The n orders of a symbol and bar fall into its S seconds regardless of size: uniformly, each in any; clustered,
    as an urn where each draw of a second makes it likelier (Pólya), which is the negative binomial law given n,
    with k = n / (S dispersion) to a second. No order of W falls in a given second with chance

        (1 - 1 / S)^W        or        B(k (S - 1) + W, k) / B(k (S - 1), k)

    and S (1 - that) seconds are expected to hold one. The latest of a second is any of the n alike. An order is
    its second's largest where no larger one is in it: what is expected of W + w orders less what is of the W
    larger. Exact for whole weights, at most 1 in 2 S too high for parts of an order; never above the weight.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    bar : length of the bars that were swept, whole seconds; in longer ones arrival is smoother than it was
    rule : which order of a second is shown
    dispersion : variance over mean of the counts a second within a bar, less one; 0: uniform arrival

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import shown
    >>> seen = shown(outcomes, bar=timedelta(hours=1))
    >>> seen.height, round(seen["weight"].sum(), 1)
    (334, 333.9)
    """
    seconds = bar // SECOND
    if bar % SECOND or seconds < 2:
        raise ArgumentError(f"must be whole seconds, at least two, is {bar}", argument="bar")
    if rule not in RULES:
        raise ArgumentError(f"must be one of {', '.join(RULES)}, is {rule!r}", argument="rule")
    clusters_of(dispersion)
    gone = outcomes.lazy().with_columns(weight(outcomes)).filter("liquidated").collect()
    feeds, orders = _feeds(gone, bar), gone["weight"].to_numpy()
    units = gone.select(whole_units(pl.col("weight"), WEIGHT_UNIT).cast(pl.Float64)).to_series()
    together = np.bincount(feeds, units) * WEIGHT_UNIT  # of whole numbers, exact in any order
    given = [readonly(array) for array in (feeds, orders, together)]
    scratch, seen = np.zeros_like(together), np.zeros(gone.height)
    if rule == "latest":
        feed.latest(*given, scratch, seconds, float(dispersion), seen)
    else:
        alike = gone["weight"].min() == gone["weight"].max()
        keys = ["fill_notional"] if alike else ["fill_notional", "weight"]
        by_size = gone.select(pl.arg_sort_by(*keys, descending=True)).to_series()
        others = np.zeros((2, together.size))
        feed.largest(readonly(by_size.to_numpy()), *given, scratch, *others, seconds, float(dispersion), seen)
    return gone.with_columns(weight=pl.Series(seen))


@checked
def visible(
    outcomes: pl.DataFrame,
    by: Sequence[str | pl.Expr],
    *,
    bar: timedelta = timedelta(minutes=1),
    rule: Rule = "latest",
    dispersion: float = 0.0,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the liquidations, and the part that a feed is expected to show, by any keys.

    Parameters
    ----------
    by : columns, or expressions such as ``flow.interval``; the feed is cut by symbol whatever they are
    bar, rule, dispersion : as in :func:`shown`
    unit : settlement currency that amounts are rounded to before they are added up, expected ones finer

    Returns
    -------
    The keys in order, then ``count``, ``visible_count``, ``notional``, ``visible_notional``, ``count_share``,
    ``notional_share``. Groups in which nothing was liquidated are absent.

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import visible
    >>> found = visible(outcomes, ["side"], bar=timedelta(hours=1), dispersion=4.0)
    >>> found.select("side", "count", pl.col("visible_count").round(1), pl.col("count_share").round(2))
    shape: (2, 4)
    ┌───────┬───────┬───────────────┬─────────────┐
    │ side  ┆ count ┆ visible_count ┆ count_share │
    │ ---   ┆ ---   ┆ ---           ┆ ---         │
    │ enum  ┆ f64   ┆ f64           ┆ f64         │
    ╞═══════╪═══════╪═══════════════╪═════════════╡
    │ long  ┆ 201.0 ┆ 135.8         ┆ 0.68        │
    │ short ┆ 133.0 ┆ 96.1          ┆ 0.72        │
    └───────┴───────┴───────────────┴─────────────┘
    """
    whole = outcomes.with_columns(weight(outcomes).alias("_whole"))
    passed = shown(whole, bar=bar, rule=rule, dispersion=dispersion)
    keys = [pl.col(key) if isinstance(key, str) else key for key in by]
    names = [key.meta.output_name() for key in keys]
    sums = (
        passed.lazy()
        .group_by(keys)
        .agg(
            count=_sum(pl.col("_whole"), WEIGHT_UNIT),
            visible_count=_sum(pl.col("weight"), WEIGHT_UNIT),
            notional=_sum(pl.col("fill_notional") * pl.col("_whole"), unit),
            visible_notional=_sum(pl.col("fill_notional") * pl.col("weight"), unit * EXPECTED),
        )
    )
    shares = ((pl.col(f"visible_{name}") / pl.col(name)).alias(f"{name}_share") for name in ("count", "notional"))
    return sums.with_columns(shares).sort(names).collect()


def curve(rates: npt.ArrayLike, dispersion: float) -> pl.DataFrame:
    """Return the visible share of counts at each ``rate``, ``uniform`` and ``clustered``.

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import curve
    >>> curve([0.1, 1.0, 10.0], dispersion=4.0).select(pl.all().round(3))
    shape: (3, 3)
    ┌──────┬─────────┬───────────┐
    │ rate ┆ uniform ┆ clustered │
    │ ---  ┆ ---     ┆ ---       │
    │ f64  ┆ f64     ┆ f64       │
    ╞══════╪═════════╪═══════════╡
    │ 0.1  ┆ 0.952   ┆ 0.394     │
    │ 1.0  ┆ 0.632   ┆ 0.331     │
    │ 10.0 ┆ 0.1     ┆ 0.098     │
    └──────┴─────────┴───────────┘
    """
    shares = {"uniform": visible_share(rates), "clustered": visible_share(rates, dispersion)}
    return pl.DataFrame({"rate": np.asarray(rates, np.float64), **shares})


def _feeds(gone: pl.DataFrame, bar: timedelta) -> Integers:
    """Return (n,) the number of each row's symbol and bar, from zero."""
    stamps = gone["outcome_time"].to_physical().to_numpy()
    times: Integers = stamps // (bar // timedelta(milliseconds=1))
    if not times.size:
        return np.zeros(0, np.int64)
    numbers = {symbol: number for number, symbol in enumerate(gone["symbol"].unique().sort())}
    bars: Integers = times - times.min()
    if len(numbers) == 1:
        return bars
    symbols: Integers = gone["symbol"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    return symbols * (int(bars.max()) + 1) + bars


def _sum(amount: pl.Expr, unit: float) -> pl.Expr:
    return in_currency(total(whole_units(amount, unit)), unit)
