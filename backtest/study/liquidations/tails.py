"""Power-law tail of a size distribution: P(size > x) ∝ x^−exponent above a least size.

The exponent is that of the exceedance probability, as in Hill (1975). The least size is chosen as in Clauset,
Shalizi and Newman (2009), whose exponent is that of the density: one more. Below 1 the mean is infinite, below 2
the variance. The standard error holds for independent sizes and a least size given in advance: for sizes of one
history it is too small, and a band over calendar blocks (``bootstrap.band`` of this exponent) belongs beside it. A
fitted tail is a description; nothing here shows that another law would fit worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked

__all__ = ["Tail", "exceedance", "fit", "hill"]
__dir__ = __all__.copy

#: Fewest sizes above the least one for a fit (Clauset et al. find about 50 necessary).
LEAST_TAIL = 50

#: Least sizes tried: 0.5 s for 100,000 sizes. On samples of 5,000, trying all moves the exponent by a fraction of
#: its standard error.
CANDIDATES = 1_000


@dataclass(frozen=True)
class Tail:
    """A power law fitted to the sizes above a least one.

    Examples
    --------
    >>> from backtest.study.liquidations.tails import hill
    >>> found = hill(outcomes.filter("liquidated")["fill_notional"], 10_000)
    >>> found.tail_count, found.exceedance(np.array([20_000.0])).round(3)
    (25, array([0.043]))
    """

    exponent: float  #: of P(size > x)
    standard_error: float  #: of the exponent, for independent sizes: exponent / √tail_count
    least_size: float  #: where the tail begins
    tail_count: int  #: sizes at or above it
    count: int  #: all sizes
    distance: float  #: Kolmogorov-Smirnov, between the tail's sizes and the fit

    def __repr__(self) -> str:
        return (
            f"exponent {self.exponent:.3g} ± {self.standard_error:.2g} above {self.least_size:,.6g} "
            f"({self.tail_count:,} of {self.count:,} sizes, distance {self.distance:.2g})"
        )

    def exceedance(self, sizes: Floats) -> Floats:
        """Return the fitted share of all sizes that are at least as large; NaN below the least size."""
        share = self.tail_count / self.count * (sizes / self.least_size) ** -self.exponent
        return np.where(sizes >= self.least_size, share, np.nan)


@checked
def hill(sizes: pl.Series, least_size: float) -> Tail:
    """Return the tail above a least size given: exponent = n / Σ ln(size / least size), the maximum likelihood.

    Raises
    ------
    DataError
        For sizes that are not positive and finite, and fewer than two different ones in the tail.

    Examples
    --------
    >>> from backtest.study.liquidations.tails import hill
    >>> hill(outcomes.filter("liquidated")["fill_notional"], 10_000)
    exponent 0.804 ± 0.16 above 10,000 (25 of 334 sizes, distance 0.15)
    """
    if not least_size > 0:
        raise ArgumentError(f"hill: least_size must be positive, is {least_size}")
    return _fitted(_checked(sizes), float(least_size))


@checked
def fit(sizes: pl.Series, *, least_tail: int = LEAST_TAIL, candidates: int = CANDIDATES) -> Tail:
    """Return the tail above the least size at which it fits best, by the smallest Kolmogorov-Smirnov distance.

    Parameters
    ----------
    sizes : positive, such as the notional of cascades
    least_tail : a tail holds at least so many sizes
    candidates : at most so many different sizes are tried as the least, evenly by rank

    Raises
    ------
    DataError
        As :func:`hill`, and for fewer different sizes than a tail needs.

    Examples
    --------
    >>> from backtest.study.liquidations.tails import fit
    >>> fit(outcomes.filter("liquidated")["fill_notional"])
    exponent 0.564 ± 0.044 above 349.68 (167 of 334 sizes, distance 0.056)
    """
    ordered = _checked(sizes)
    starts = np.unique(ordered[: max(ordered.size - least_tail + 1, 0)])
    starts = starts[starts < ordered[-1:]]
    if starts.size == 0:
        raise DataError(f"fit: a tail needs {least_tail} sizes, not all equal: there are {ordered.size:,}")
    tried = starts[np.unique(np.linspace(0, starts.size - 1, candidates).round().astype(np.int64))]
    return min((_fitted(ordered, float(start)) for start in tried), key=lambda tail: tail.distance)


@checked
def exceedance(sizes: pl.Series) -> pl.DataFrame:
    """Return each different ``size`` with the ``share`` of sizes that are at least as large, in order.

    Examples
    --------
    >>> from backtest.study.liquidations.tails import exceedance
    >>> exceedance(pl.Series([1.0, 2.0, 2.0, 4.0]))
    shape: (3, 2)
    ┌──────┬───────┐
    │ size ┆ share │
    │ ---  ┆ ---   │
    │ f64  ┆ f64   │
    ╞══════╪═══════╡
    │ 1.0  ┆ 1.0   │
    │ 2.0  ┆ 0.75  │
    │ 4.0  ┆ 0.25  │
    └──────┴───────┘
    """
    counts = pl.DataFrame({"size": sizes}).lazy().group_by("size").len("count").sort("size")
    share = pl.col("count").cum_sum(reverse=True) / pl.col("count").sum()
    return counts.select("size", share=share).collect()


def _fitted(ordered: Floats, least_size: float) -> Tail:
    tail = ordered[np.searchsorted(ordered, least_size) :]
    if tail.size < 2 or tail[0] == tail[-1]:
        raise DataError(f"a tail needs two different sizes at or above {least_size:g}: {tail.size} are there")
    exponent = tail.size / float(np.log(tail / least_size).sum())
    return Tail(
        exponent=exponent,
        standard_error=exponent / tail.size**0.5,
        least_size=least_size,
        tail_count=tail.size,
        count=ordered.size,
        distance=_distance(tail, exponent, least_size),
    )


def _distance(tail: Floats, exponent: float, least_size: float) -> float:
    """Return the largest difference between fitted and observed share, of sizes at or above and above each."""
    fitted = (tail / least_size) ** -exponent
    observed = np.arange(tail.size, -1, -1) / tail.size
    return float(max(np.abs(observed[:-1] - fitted).max(), np.abs(observed[1:] - fitted).max()))


def _checked(sizes: pl.Series) -> Floats:
    wrong = sizes.null_count() + int((~(sizes.is_finite() & (sizes > 0))).sum())
    if wrong:
        raise DataError(f"sizes must be positive and finite: {wrong:,} of {sizes.len():,} are not")
    return np.sort(sizes.cast(pl.Float64).to_numpy())
