"""Share of liquidations, and of their notional, that a feed of one order a second shows at a rate of arrival."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats

#: Share of gaps between BTC liquidations under a second (Bybit, February 2026; one author's data, unreviewed).
GAPS_UNDER_A_SECOND = 0.76

#: Bybit, 3 February 2025: $333 m of $2.1 bn were seen. A share of notional; of counts only if the latest is shown.
BYBIT_VISIBLE_SHARE = 0.159


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
    clusters = clusters_of(dispersion)
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
    clusters_of(dispersion)
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
    clusters = clusters_of(dispersion)
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


def clusters_of(dispersion: float) -> float:
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
