"""Confidence bands, widened for few blocks of unequal weight.

References: Hesterberg (2015), "What Teachers Should Know About the Bootstrap", on the width of percentile
intervals for few observations; Kish (1965) on the effective number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist

from backtest.kernel.types import Floats


@dataclass(frozen=True)
class Band:
    """A statistic, its confidence band, and the blocks behind the band.

    ``low`` and ``high`` are NaN where any draw's statistic is NaN, the estimate where it cannot be computed.

    Examples
    --------
    >>> from backtest.study import stats
    >>> share, days = lambda frame: frame["liquidated"].mean(), timedelta(days=2)
    >>> found = stats.band(outcomes, share, time="entry_time", length=days, seed=1)
    >>> round(found.estimate, 3), found.blocks
    (0.334, 9)
    """

    estimate: float
    low: float
    high: float
    confidence: float  #: share of such bands that hold the true value, as far as blocks are independent
    draws: int
    length: timedelta  #: of a block
    blocks: int  #: calendar blocks, empty ones included
    effective_blocks: float  #: see :func:`effective_number`

    def __repr__(self) -> str:
        return (
            f"{self.estimate:.6g} ({100 * self.confidence:g} %: {self.low:.6g} to {self.high:.6g}; "
            f"{self.draws:,} draws of {self.blocks:,} blocks of {in_days(self.length)}, "
            f"{self.effective_blocks:.1f} effective)"
        )


def effective_number(weights: Floats) -> float:
    """Return the equivalent number of blocks of equal weight: (Σ w)² / Σ w² (Kish 1965).

    Examples
    --------
    >>> from backtest.study import stats
    >>> round(stats.effective_number(np.array([1.0, 1.0, 2.0])), 2)
    2.67
    """
    shares = weights / weights.max()
    return float(shares.sum() ** 2 / (shares**2).sum())


def tail(outside: float, effective: float) -> float:
    """Return the probability below a band's lower end: ``outside``, lowered for few blocks."""
    if effective <= 1:
        return 0.0
    normal = NormalDist()
    wide = (effective / (effective - 1)) ** 0.5 * _student_quantile(normal.inv_cdf(outside), effective - 1)
    return normal.cdf(wide)


def _student_quantile(z: float, freedom: float) -> float:
    """Return Student's quantile where the normal one is z: Abramowitz and Stegun 26.7.5, to its third term."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def in_days(length: timedelta) -> str:
    """Return the length of a block in words."""
    return f"{length / timedelta(days=1):g} days" if length >= timedelta(days=1) else str(length)
