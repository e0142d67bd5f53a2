"""Tail laws of adverse moves: the move exceeded once in 1 / p periods, from which a margin is read.

- ``peaks``: a generalised Pareto law over the excess of cluster peaks above a threshold, m = u + sigma / xi
  ((zeta / p)^xi - 1), zeta the share of periods above u. Excesses at most ``run`` periods apart are one cluster;
  clusters over excesses is the extremal index;
- ``blocks``: a generalised extreme-value law of the maxima of n periods,
  m = mu + sigma / xi ((-n ln(1 - p))^-xi - 1);
- ``empirical``: the quantile of the moves;
- ``normal`` and ``student``: laws of the period's return from open to close, in common use; they miss the
  extreme inside the period.

Fits are scipy's maximum likelihood; it is imported only when one is requested.

References: McNeil and Frey (2000); Longin (1999).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Flags, Floats

#: Column of the adverse move of each side.
MOVES = {"long": "down", "short": "up"}

#: Fewer extremes than this fit nothing.
FEWEST_EXTREMES = 10

Moves = pl.DataFrame


@dataclass(frozen=True)
class Choices:
    """Data selection for the laws of extremes.

    Examples
    --------
    >>> from backtest.study import margins
    >>> margins.Choices(threshold=0.9)
    Choices(threshold=0.9, run=2, block=20)
    """

    threshold: float = 0.95  #: share of the moves below the threshold of ``peaks``
    run: int = 2  #: periods at or below the threshold that end a cluster
    block: int = 20  #: periods a maximum is taken over

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        if not (0 < self.threshold < 1 and self.run >= 1 and self.block >= 2):
            raise ArgumentError(f"extremes need 0 < threshold < 1, run of 1 and block of 2 or more, have {self}")


DEFAULT = Choices()


@dataclass(frozen=True)
class Fit:
    """A law fitted to the moves of one side, as the margin at each probability."""

    margin: Callable[[float], float]
    shape: float | None = None  #: xi of a law of extremes
    extremal_index: float | None = None  #: clusters over exceedances


def fit(moves: Moves, side: str, method: str, choices: Choices = DEFAULT) -> Fit:
    """Return one method fitted to the moves against one side.

    Raises
    ------
    ArgumentError
        For an unknown method, or one that needs scipy where it is not installed.
    DataError
        For too few extremes.

    Examples
    --------
    >>> from backtest.study import margins
    >>> moves = margins.period_moves(market, timedelta(hours=4))
    >>> round(margins.fit(moves, "long", "empirical").margin(0.01), 4)
    0.1274
    """
    if method not in METHODS or side not in MOVES:
        known = f"{', '.join(METHODS)} and a side of {', '.join(MOVES)}"
        raise ArgumentError(f"a margin needs a method of {known}, has {method!r} and {side!r}")
    return METHODS[method](moves, side, choices)


def _peaks(moves: Moves, side: str, choices: Choices) -> Fit:
    values = moves[MOVES[side]].to_numpy()
    threshold = float(np.quantile(values, choices.threshold))
    above = np.flatnonzero(values > threshold)
    peaks = cluster_peaks(values, values > threshold, choices.run)
    _require_extremes(peaks.size, "peaks above the threshold")
    shape, _, scale = _scipy_stats().genpareto.fit(peaks - threshold, floc=0)
    share = above.size / values.size

    def margin(probability: float) -> float:
        return float(threshold + scale * _box_cox(share / probability, shape))

    return Fit(margin, float(shape), peaks.size / above.size)


def _blocks(moves: Moves, side: str, choices: Choices) -> Fit:
    values = moves[MOVES[side]].to_numpy()
    whole = values[: values.size // choices.block * choices.block].reshape(-1, choices.block).max(axis=1)
    _require_extremes(whole.size, f"blocks of {choices.block} periods")
    # scipy's sign of the shape is the other one; a start near the answer keeps its search from wandering off
    shape, place, scale = _scipy_stats().genextreme.fit(whole, -0.2, loc=np.median(whole), scale=whole.std() * 0.7)

    def margin(probability: float) -> float:
        return float(place + scale * _box_cox(-1 / (choices.block * math.log1p(-probability)), -shape))

    return Fit(margin, float(-shape))


def _empirical(moves: Moves, side: str, choices: Choices) -> Fit:
    del choices
    values = moves[MOVES[side]].to_numpy()
    return Fit(lambda probability: float(np.quantile(values, 1 - probability)))


def _normal(moves: Moves, side: str, choices: Choices) -> Fit:
    del choices
    losses = _losses(moves, side)
    law = NormalDist(float(losses.mean()), float(losses.std(ddof=1)))
    return Fit(lambda probability: law.inv_cdf(1 - probability))


def _student(moves: Moves, side: str, choices: Choices) -> Fit:
    del choices
    law = _scipy_stats().t
    with np.errstate(all="ignore"):  # its search tries scales that overflow
        freedom, place, scale = law.fit(_losses(moves, side))
    return Fit(lambda probability: float(law.isf(probability, freedom, place, scale)))


METHODS: dict[str, Callable[[Moves, str, Choices], Fit]] = {
    "peaks": _peaks,
    "blocks": _blocks,
    "empirical": _empirical,
    "student": _student,
    "normal": _normal,
}


def cluster_peaks(values: Floats, above: Flags, run: int) -> Floats:
    """Return the highest value of each cluster: exceedances with fewer than ``run`` others between them."""
    at = np.flatnonzero(above)
    starts = np.flatnonzero(np.diff(at, prepend=-run - 2) > run)
    return np.maximum.reduceat(values[at], starts) if at.size else np.zeros(0)


def _losses(moves: Moves, side: str) -> Floats:
    change: Floats = moves["change"].to_numpy()
    return -change if side == "long" else change


def _box_cox(value: float, shape: float) -> float:
    """Return (value^shape - 1) / shape, its limit ln(value) at zero."""
    return math.expm1(shape * math.log(value)) / shape if abs(shape) > 1e-12 else math.log(value)


def _require_extremes(count: int, what: str) -> None:
    if count < FEWEST_EXTREMES:
        raise DataError(f"a law of extremes needs {FEWEST_EXTREMES} {what} or more, there are {count}")


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise ArgumentError(
            "fitting margins by peaks, blocks or student needs scipy: pip install 'liquidation-backtest[stats]'"
        ) from None
    return stats
