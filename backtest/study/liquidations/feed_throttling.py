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

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.study import feed
from backtest.kernel.types import Floats, Integers, readonly
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import weight
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

#: Share of gaps between BTC liquidations under a second (Bybit, February 2026; one author's data, unreviewed).
GAPS_UNDER_A_SECOND = 0.76

#: Bybit, 3 February 2025: $333 m of $2.1 bn were seen. A share of notional; of counts only if the latest is shown.
BYBIT_VISIBLE_SHARE = 0.159

#: Expected notionals are rounded to this part of a unit: a rarely visible order is a small part of a cent.
EXPECTED = 1e-4

SECOND = timedelta(seconds=1)


def visible_share(rate: npt.ArrayLike, dispersion: float = 0.0) -> Floats:
    """Return the expected share of liquidations that is seen, by either rule.

    Parameters
    ----------
    rate : liquidations a second, zero or more
    dispersion : variance over mean of the counts a second, less one

    Returns
    -------
    As ``rate``; at rate zero the limit, one over the mean size of a cluster.

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import visible_share
    >>> visible_share([0.1, 1.0, 10.0]).round(3)
    array([0.952, 0.632, 0.1  ])
    >>> visible_share([0.1, 1.0, 10.0], dispersion=4.0).round(3)
    array([0.394, 0.331, 0.098])
    """
    rates = _checked("rate", rate)
    clusters = _clusters(dispersion)
    shares = np.full(rates.shape, clusters)
    np.divide(-np.expm1(-clusters * rates), rates, out=shares, where=rates > 0)
    return shares


def visible_notional_share(rate: npt.ArrayLike, sizes: npt.ArrayLike, dispersion: float = 0.0) -> Floats:
    """Return the expected share of notional that is seen where the largest order of a second is shown.

    Sizes are taken to be independent of the arrivals. With G(z) = (1 + dispersion (1 - z))^(-rate / dispersion)
    the generating function of the counts, none of a second's orders is among the i largest of n sizes with chance
    G(1 - i / n): the expected largest is the sum of size_i (G(1 - (i - 1) / n) - G(1 - i / n)).

    Parameters
    ----------
    rate : liquidations a second, zero or more
    sizes : (n,) notional, a sample of the sizes

    Returns
    -------
    As ``rate``; at rate zero the limit, the share seen of a single cluster.

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import visible_notional_share
    >>> visible_notional_share([0.1, 1.0, 10.0], sizes=[1.0, 2.0, 10.0]).round(3)
    array([0.974, 0.781, 0.224])
    """
    _clusters(dispersion)
    descending = -np.sort(-_checked("sizes", sizes).ravel())
    if not descending.size or descending[0] == 0:
        raise ArgumentError("must hold at least one above zero", argument="sizes")
    largest = np.linspace(0.0, 1.0, descending.size + 1)
    clusters = np.log1p(dispersion * largest) / dispersion if dispersion > 0 else largest

    def seen(rate: float) -> float:
        weights = np.diff(-np.expm1(-rate * clusters)) / rate if rate > 0 else np.diff(clusters)
        return float(descending @ weights / descending.mean())

    rates = _checked("rate", rate)
    return np.array([seen(each) for each in rates.flat]).reshape(rates.shape)


def implied_rate(share: npt.ArrayLike, dispersion: float = 0.0) -> Floats:
    """Return the liquidations a second at which a share of counts is seen: the inverse of ``visible_share``.

    Parameters
    ----------
    share : of the counts, above zero

    Returns
    -------
    As ``share``; NaN above the share seen of single clusters, which no rate reaches.

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import implied_rate
    >>> implied_rate([0.1, 0.5]).round(2)
    array([10.  ,  1.59])
    """
    shares = _checked("share", share)
    if (shares == 0).any():
        raise ArgumentError("must be above zero: every rate shows something", argument="share")
    clusters = _clusters(dispersion)
    relative = np.where(shares <= clusters, shares / clusters, np.nan)

    def excess(x: Floats) -> Floats:
        return -np.expm1(-x) - relative * x

    return _root(excess, lambda x: np.exp(-x) - relative, 1 / relative) / clusters


def dispersion_of_gaps(share: float) -> float:
    """Return the dispersion at which this share of gaps between liquidations is shorter than a second.

    In quiet times clusters are far apart, so that short gaps are those inside a cluster: of a mean number m of
    orders m - 1 follow another, hence 1 - share = 1 / m = ln(1 + dispersion) / dispersion. A cluster
    across two seconds counts as one: slightly more is seen in fact.

    Examples
    --------
    >>> from backtest.study.liquidations.feed_throttling import GAPS_UNDER_A_SECOND, dispersion_of_gaps
    >>> round(dispersion_of_gaps(GAPS_UNDER_A_SECOND), 2)
    9.99
    """
    if not 0 <= share < 1:
        raise ArgumentError(f"share of gaps must be at least 0 and below 1, is {share!r}")
    if share == 0:
        return 0.0
    apart = np.float64(1 - share)

    def excess(x: Floats) -> Floats:
        return np.log1p(x) - apart * x

    # ln(1 + x) <= sqrt(x): the start lies beyond the root
    return float(_root(excess, lambda x: 1 / (1 + x) - apart, np.asarray(apart**-2.0)))


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
    _clusters(dispersion)
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


def _clusters(dispersion: float) -> float:
    """Return clusters per order: one over the mean size of a cluster."""
    if not (math.isfinite(dispersion) and dispersion >= 0):
        raise ArgumentError(f"must be finite and not negative, is {dispersion!r}", argument="dispersion")
    return math.log1p(dispersion) / dispersion if dispersion > 0 else 1.0


def _checked(name: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ArgumentError(
            f"must be finite and not negative, holds {array[~(array >= 0)].ravel()[:1]}", argument=name
        )
    return array


def _root(excess: Callable[[Floats], Floats], slope: Callable[[Floats], Floats], start: Floats) -> Floats:
    """Return the upper root of a concave function by Newton's steps from beyond it, which never overshoot."""
    x = np.asarray(start, np.float64)
    for _ in range(100):  # errors halve at worst, where the two roots nearly meet
        falling = slope(x)
        x = x - np.divide(excess(x), falling, out=np.zeros_like(x), where=falling < 0)
    return x
