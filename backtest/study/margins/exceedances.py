"""Backtests of a margin: number of exceedances, and their independence.

Kupiec's test of the count, the exact binomial beside it (Kupiec's is an approximation for many windows), the Basel
traffic light, and Christoffersen's tests of independence and of both. Windows must not overlap.

References: Kupiec (1995); Christoffersen (1998); Basel Committee (1996) for the lights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Flags, Floats

__all__ = ["coverage", "exact_binomial", "independence", "kupiec", "kupiec_range", "traffic_light"]
__dir__ = __all__.copy

#: A count is yellow from this probability of fewer, red from the next.
YELLOW, RED = 0.95, 0.9999
Light = pl.Enum(["green", "yellow", "red"])

#: The columns of :func:`coverage`.
COVERED: dict[str, Any] = {
    "windows": pl.Int64,
    "exceedances": pl.Int64,
    "rate": pl.Float64,
    "expected": pl.Float64,
    "accepted_from": pl.Int64,
    "accepted_to": pl.Int64,
    "kupiec": pl.Float64,
    "kupiec_p": pl.Float64,
    "exact_p": pl.Float64,
    "light": Light,
    **dict.fromkeys(("independence", "independence_p", "conditional", "conditional_p"), pl.Float64),
}

#: Probabilities nearer than this, relative, count as equal in the exact test.
EQUAL = 1e-7


def coverage(exceeded: Flags | Sequence[bool], probability: float) -> dict[str, float | int | str]:
    """Return the tests of one margin.

    Parameters
    ----------
    exceeded : (windows,) in order of time, whether each window's move went beyond the margin
    probability : with which it was to be exceeded

    Returns
    -------
    ``windows, exceedances, rate, expected`` (probability x windows), ``accepted_from, accepted_to`` (counts that
    Kupiec's test does not refuse at 95 %), ``kupiec, kupiec_p, exact_p, light``, Christoffersen's
    ``independence, independence_p, conditional, conditional_p``. Statistics are likelihood ratios; those of
    independence are NaN for fewer than two windows.

    Examples
    --------
    >>> from backtest.study import margins
    >>> found = margins.exceedances.coverage([False] * 98 + [True] * 2, 0.01)
    >>> found["light"], found["accepted_to"]
    ('green', 3)
    """
    flags = np.asarray(exceeded, np.bool_)
    count, total = int(flags.sum()), flags.size
    if not total:
        raise ArgumentError("coverage needs one window or more, has none")
    low, high = kupiec_range(total, probability)
    ratio, independent = kupiec(count, total, probability), independence(flags)
    return {
        "windows": total,
        "exceedances": count,
        "rate": count / total,
        "expected": probability * total,
        "accepted_from": low,
        "accepted_to": high,
        "kupiec": ratio,
        "kupiec_p": _beyond_one(ratio),
        "exact_p": exact_binomial(count, total, probability),
        "light": traffic_light(count, total, probability),
        "independence": independent,
        "independence_p": _beyond_one(independent),
        "conditional": ratio + independent,
        "conditional_p": math.exp(-(ratio + independent) / 2),
    }


def kupiec(count: int, windows: int, probability: float) -> float:
    """Return Kupiec's likelihood ratio of a count, chi-squared with one degree of freedom.

    Examples
    --------
    >>> from backtest.study import margins
    >>> round(margins.exceedances.kupiec(5, 250, 0.01), 2)
    1.96
    """
    _check(count, windows, probability)
    rate = count / windows
    return -2 * (_likelihood(count, windows, probability) - _likelihood(count, windows, rate))


def kupiec_range(windows: int, probability: float) -> tuple[int, int]:
    """Return the least and greatest count that Kupiec's test at 95 % accepts; (-1, -1) where it refuses all.

    Examples
    --------
    >>> from backtest.study import margins
    >>> margins.exceedances.kupiec_range(250, 0.01)
    (1, 6)
    """
    limit = NormalDist().inv_cdf(0.975) ** 2
    kept = [count for count in range(windows + 1) if kupiec(count, windows, probability) <= limit]
    return (kept[0], kept[-1]) if kept else (-1, -1)


def exact_binomial(count: int, windows: int, probability: float) -> float:
    """Return the two-sided p-value: the probability of all counts that are no likelier than this one.

    Examples
    --------
    >>> from backtest.study import margins
    >>> round(margins.exceedances.exact_binomial(5, 250, 0.01), 3)
    0.108
    """
    _check(count, windows, probability)
    chances = _binomial(windows, probability)
    return float(min(chances[chances <= chances[count] * (1 + EQUAL)].sum(), 1.0))


def traffic_light(count: int, windows: int, probability: float) -> str:
    """Return green, yellow or red: by the binomial probability of at most this count.

    Examples
    --------
    >>> from backtest.study import margins
    >>> [margins.exceedances.traffic_light(count, 250, 0.01) for count in (4, 5, 10)]
    ['green', 'yellow', 'red']
    """
    _check(count, windows, probability)
    below = float(_binomial(windows, probability)[: count + 1].sum())
    return "green" if below < YELLOW else "yellow" if below < RED else "red"


def independence(exceeded: Flags | Sequence[bool]) -> float:
    """Return Christoffersen's likelihood ratio: whether an exceedance is likelier after another one.

    Examples
    --------
    >>> from backtest.study import margins
    >>> apart, together = [False] * 100, [False] * 100
    >>> apart[10::20], together[10:15] = [True] * 5, [True] * 5
    >>> [round(margins.exceedances.independence(flags), 1) for flags in (apart, together)]
    [0.5, 23.5]
    """
    flags = np.asarray(exceeded, np.bool_)
    if flags.size < 2:
        return math.nan
    before, after = flags[:-1], flags[1:]
    following = [after[before == state] for state in (False, True)]
    apart = sum(_likelihood(int(part.sum()), part.size, part.mean() if part.size else 0.0) for part in following)
    return max(-2 * (_likelihood(int(after.sum()), after.size, after.mean()) - apart), 0.0)


def _likelihood(count: int, windows: int, probability: float) -> float:
    """Return the logarithm of p^x (1 - p)^(n - x), with 0 ln 0 = 0."""
    return _times_log(count, probability) + _times_log(windows - count, 1 - probability)


def _times_log(times: int, value: float) -> float:
    return times * math.log(value) if times else 0.0


def _binomial(windows: int, probability: float) -> Floats:
    """Return the probability of each count from 0 to the number of windows."""
    logs = np.array([math.lgamma(count + 1) for count in range(windows + 1)])
    counts = np.arange(windows + 1)
    ways = logs[-1] - logs - logs[::-1]
    chances = np.exp(ways + counts * math.log(probability) + (windows - counts) * math.log1p(-probability))
    return np.asarray(chances, np.float64)


def _beyond_one(ratio: float) -> float:
    """Return the probability beyond a value of chi-squared with one degree of freedom."""
    return math.erfc(math.sqrt(max(ratio, 0.0) / 2)) if ratio == ratio else math.nan


def _check(count: int, windows: int, probability: float) -> None:
    if not (0 <= count <= windows and windows >= 1 and 0 < probability < 1):
        raise ArgumentError(
            "coverage needs 0 <= exceedances <= windows and 0 < probability < 1: "
            f"{count} of {windows} at {probability!r}"
        )
