"""Hawkes process: events that trigger further events, with an exponential kernel, fitted by likelihood.

The rate at time t is μ + Σ α e^(−β (t − t_i)) over the events before it: ``base_rate`` μ, ``jump`` α, ``decay`` β,
all a second. Each event triggers n = α / β others on average, the branching ratio.

Only for timestamps finer than the kernel, such as recorded liquidations in milliseconds. Outcomes of a sweep carry
the open time of their bar: a whole bar becomes one instant, and the likelihood grows without limit with the decay.
Such timestamps are refused; use ``branching`` instead. As there, a base rate that changes through time looks like
contagion (Wehrli and Sornette 2020).

References: Hawkes (1971); Ozaki (1979) for the likelihood; Ogata (1981) for its recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate, product
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked

__all__ = ["Hawkes", "fit", "log_likelihood", "seconds", "simulate"]
__dir__ = __all__.copy

#: More than this share of events at the timestamp of the one before: too coarse to separate causes from effects.
MOST_SHARED = 0.05

#: Timestamps on a grid coarser than this part of the median gap between them, likewise.
COARSEST_GRID = 0.1

#: Fewer gaps than this may be whole multiples of something by chance.
FEWEST_GAPS = 10

#: What to do instead.
REFUSED = "a likelihood needs timestamps finer than the kernel; for timestamps of bars use branching.side_by_side"

#: Fewest events for a fit.
LEAST_EVENTS = 50

MICROSECONDS = 1e6

#: Bound of the search, in logarithms and logits.
LARGEST = 30.0

#: Of the second differences that curvature is taken from, in logarithms and logits.
STEP = 1e-3


@dataclass(frozen=True)
class Hawkes:
    """A rate that each event raises, and that falls back exponentially.

    Raises
    ------
    ArgumentError
        For rates that are negative or zero (the jump may be zero), and a branching ratio of 1 or more.

    Examples
    --------
    >>> from backtest.study.liquidations.hawkes import Hawkes
    >>> Hawkes(base_rate=0.01, jump=0.25, decay=0.5).branching_ratio
    0.5
    """

    base_rate: float  #: μ, events a second that no other event triggered
    jump: float  #: α, what each event adds to the rate, a second
    decay: float  #: β, a second

    def __post_init__(self) -> None:
        if not (self.base_rate > 0 and self.decay > 0 and 0 <= self.jump < self.decay):
            raise ArgumentError(f"Hawkes needs base_rate > 0 and 0 <= jump < decay: {self}")

    @property
    def branching_ratio(self) -> float:
        """Number of events that one event directly triggers: n = α / β."""
        return self.jump / self.decay


@dataclass(frozen=True)
class Fit:
    """The process of highest likelihood, with its standard error."""

    process: Hawkes
    standard_error: float  #: of the branching ratio, from the curvature of the likelihood; NaN where it has none
    log_likelihood: float
    poisson_log_likelihood: float  #: of the best process in which no event triggers another
    events: int


@checked
def seconds(times: pl.Series) -> Floats:
    """Return timestamps as (n,) seconds after the first, ascending.

    Examples
    --------
    >>> from backtest.study.liquidations.hawkes import seconds
    >>> seconds(pl.Series([noon, noon + timedelta(milliseconds=1_500)]))
    array([0. , 1.5])
    """
    ordered = times.drop_nulls().sort().dt.epoch("us")
    return (ordered - ordered.min()).to_numpy() / MICROSECONDS


def log_likelihood(times: Floats, process: Hawkes, *, end: float) -> float:
    """Return the log likelihood of events in [0, end]: Σ ln rate(t_i) − ∫ rate, in one pass.

    The sum over earlier events at event i is A_i = e^(−β (t_i − t_(i−1))) (1 + A_(i−1)), A_1 = 0.

    Parameters
    ----------
    times : (n,) seconds, ascending, in [0, end]
    end : seconds; length of the observation

    Raises
    ------
    DataError
        For times out of order or out of [0, end], and for timestamps too coarse (see the module).

    Examples
    --------
    >>> from backtest.study.liquidations.hawkes import Hawkes, log_likelihood, simulate
    >>> process = Hawkes(base_rate=0.01, jump=0.25, decay=0.5)
    >>> events = simulate(process, end=10_000.0, rng=np.random.default_rng(1))
    >>> round(log_likelihood(events, process, end=10_000.0), 1)
    -769.1
    """
    _check_times(times, end)
    return _log_likelihood(times, process, end)


def fit(times: Floats, *, end: float) -> Fit:
    """Return the process of highest likelihood.

    Parameters
    ----------
    times : (n,) seconds, ascending, in [0, end]
    end : seconds; length of the observation

    Raises
    ------
    DataError
        As :func:`log_likelihood`, and for too few events.
    ArgumentError
        Where scipy is not installed.

    Examples
    --------
    >>> from backtest.study.liquidations.hawkes import Hawkes, fit, simulate
    >>> process = Hawkes(base_rate=0.01, jump=0.25, decay=0.5)
    >>> found = fit(simulate(process, end=100_000.0, rng=np.random.default_rng(1)), end=100_000.0)
    >>> round(found.process.branching_ratio, 2), round(found.standard_error, 2)
    (0.48, 0.02)
    """
    _check_times(times, end)
    if times.size < LEAST_EVENTS:
        raise DataError(f"a fit needs {LEAST_EVENTS} events: there are {times.size}")

    def loss(point: Floats) -> float:
        return -_log_likelihood(times, _process(point), end)

    rate = times.size / end
    start = np.log([rate / 2, 1.0, 1 / np.median(np.diff(times))])
    found = _scipy_optimize().minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-7})
    process = _process(found.x)
    return Fit(
        process=process,
        standard_error=_standard_error(loss, found.x, process.branching_ratio),
        log_likelihood=-float(found.fun),
        poisson_log_likelihood=times.size * (float(np.log(rate)) - 1),
        events=times.size,
    )


def simulate(process: Hawkes, *, end: float, rng: np.random.Generator) -> Floats:
    """Return (n,) event times in [0, end], ascending: each generation is the children of the one before.

    No event before time 0 has an effect, so the first few multiples of 1 / (β − α) hold too few events.

    Examples
    --------
    >>> from backtest.study.liquidations.hawkes import Hawkes, simulate
    >>> process = Hawkes(base_rate=0.01, jump=0.25, decay=0.5)
    >>> simulate(process, end=10_000.0, rng=np.random.default_rng(1)).size
    178
    """
    generation = rng.uniform(0, end, rng.poisson(process.base_rate * end))
    events = [generation]
    while generation.size:
        parents = np.repeat(generation, rng.poisson(process.branching_ratio, generation.size))
        children = parents + rng.exponential(1 / process.decay, parents.size)
        generation = children[children <= end]
        events.append(generation)
    return np.sort(np.concatenate(events))


def _process(point: Floats) -> Hawkes:
    """Return the process at ln μ, logit n, ln β, so that a search may go anywhere."""
    base_rate, decay = np.exp(np.clip(point[[0, 2]], -LARGEST, LARGEST))
    ratio = 1 / (1 + np.exp(-np.clip(point[1], -LARGEST, LARGEST)))
    return Hawkes(base_rate=float(base_rate), jump=float(ratio * decay), decay=float(decay))


def _log_likelihood(times: Floats, process: Hawkes, end: float) -> float:
    fallen = np.exp(-process.decay * np.diff(times)).tolist()
    raised = np.fromiter(accumulate(fallen, lambda sum_, part: part * (1 + sum_), initial=0.0), np.float64)
    rates = process.base_rate + process.jump * raised
    set_off = process.branching_ratio * -np.expm1(-process.decay * (end - times))
    return float(np.log(rates).sum() - process.base_rate * end - set_off.sum())


def _standard_error(loss: Callable[[Floats], float], point: Floats, ratio: float) -> float:
    """Return the standard error of the ratio: inverse curvature of the loss, through the logit's slope."""
    steps = STEP * np.eye(3)
    curvature = np.empty((3, 3))
    for (row, along), (column, across) in product(enumerate(steps), enumerate(steps)):
        rising = loss(point + along + across) - loss(point + along - across)
        falling = loss(point - along + across) - loss(point - along - across)
        curvature[row, column] = (rising - falling) / (4 * STEP**2)
    if not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).min() <= 0:
        return float("nan")
    return float(np.linalg.inv(curvature)[1, 1] ** 0.5 * ratio * (1 - ratio))


def _check_times(times: Floats, end: float) -> None:
    gaps = np.diff(times)
    if times.size == 0 or not (times[0] >= 0 and times[-1] <= end and (gaps >= 0).all()):
        raise DataError(f"times must ascend within [0, end]: {times.size:,} events, end {end:g} s")
    shared = float((gaps == 0).sum()) / times.size
    if shared > MOST_SHARED:
        raise DataError(
            f"times: {100 * shared:.0f} % of {times.size:,} events share the timestamp of the one before, at most "
            f"{100 * MOST_SHARED:g} % may: {REFUSED}"
        )
    if gaps.size >= FEWEST_GAPS and _grid(gaps) > COARSEST_GRID * float(np.median(gaps)):
        raise DataError(
            f"times: timestamps are whole multiples of {_grid(gaps):g} s, {np.median(gaps):g} s apart: {REFUSED}"
        )


def _grid(gaps: Floats) -> float:
    """Return the largest step that all gaps are whole multiples of, to the microsecond, in seconds."""
    return float(np.gcd.reduce(np.rint(gaps * MICROSECONDS).astype(np.int64)) / MICROSECONDS)


def _scipy_optimize() -> Any:
    try:
        return import_module("scipy.optimize")
    except ImportError:
        raise ArgumentError("hawkes.fit needs scipy: install the extra liquidation-backtest[stats]") from None
