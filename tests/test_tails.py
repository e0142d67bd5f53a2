"""Tails: recovered from simulated Pareto sizes, and equal to the formulas in plain Python."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError, DataError
from backtest.study.liquidations.tails import Tail, exceedance, fit, hill

EXPONENTS = [0.76, 1.5, 2.5]


def pareto(exponent: float, count: int, seed: int = 0) -> pl.Series:
    return pl.Series(1_000 * (np.random.default_rng(seed).pareto(exponent, count) + 1))


def slow_tail(sizes: list[float], least_size: float) -> tuple[float, float]:
    """Return the exponent and the Kolmogorov-Smirnov distance, looking at every size."""
    tail = [size for size in sizes if size >= least_size]
    exponent = len(tail) / sum(math.log(size / least_size) for size in tail)
    distance = 0.0
    for size in tail:
        fitted = (size / least_size) ** -exponent
        for observed in (sum(other >= size for other in tail), sum(other > size for other in tail)):
            distance = max(distance, abs(observed / len(tail) - fitted))
    return exponent, distance


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_hill__recovers_the_exponent_within_its_standard_error(exponent: float) -> None:
    found = [hill(pareto(exponent, 2_000, seed), 1_000.0) for seed in range(60)]
    errors = np.array([(tail.exponent - exponent) / tail.standard_error for tail in found])
    assert abs(errors.mean()) < 3 / math.sqrt(60) + 0.05
    assert 0.75 < errors.std() < 1.25


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_fit__recovers_the_exponent_below_which_sizes_are_something_else(exponent: float) -> None:
    rng = np.random.default_rng(1)
    body = pl.Series(rng.uniform(1, 1_000, 3_000))
    found = fit(pl.concat([body, pareto(exponent, 3_000)]))
    assert abs(found.exponent - exponent) < 4 * found.standard_error
    assert 700 < found.least_size < 2_000


def test_hill_and_fit__equal_looking_at_every_size() -> None:
    rng = np.random.default_rng(2)
    sizes = np.ceil(rng.pareto(1.2, 120) * 20 + 1)  # with ties
    found = hill(pl.Series(sizes), 15.0)
    assert (found.exponent, found.distance) == pytest.approx(slow_tail(sizes.tolist(), 15.0))
    assert found.standard_error == found.exponent / math.sqrt(found.tail_count)
    allowed = [size for size in set(sizes) if (sizes >= size).sum() >= 30]
    best = min(allowed, key=lambda size: slow_tail(sizes.tolist(), size)[1])
    fitted = fit(pl.Series(sizes), least_tail=30)
    assert fitted.least_size == best
    assert fitted == hill(pl.Series(sizes), best)


def test_fit__tries_at_most_as_many_least_sizes_as_asked() -> None:
    sizes = pareto(1.5, 2_000)
    coarse, fine = fit(sizes, candidates=2), fit(sizes, candidates=2_000)
    assert coarse.distance >= fine.distance
    assert coarse.least_size in (sizes.min(), sizes.sort(descending=True)[49])


def test_a_change_of_unit__changes_the_least_size_only() -> None:
    sizes = pareto(1.5, 500)
    first, second = fit(sizes), fit(sizes * 1_024)
    assert second.exponent == pytest.approx(first.exponent)
    assert second.least_size == pytest.approx(1_024 * first.least_size)


def test_exceedance__counts_the_sizes_at_least_as_large() -> None:
    table = exceedance(pl.Series([3.0, 1.0, 2.0, 2.0]))
    assert table.rows() == [(1.0, 1.0), (2.0, 0.75), (3.0, 0.25)]


def test_a_tail__joins_the_observed_share_where_it_begins_and_is_nan_below() -> None:
    sizes = pareto(1.5, 500)
    tail = hill(sizes, 2_000.0)
    shares = tail.exceedance(np.array([1_999.0, 2_000.0, 4_000.0]))
    assert math.isnan(shares[0])
    assert shares[1] == (sizes >= 2_000).sum() / 500
    assert shares[2] == pytest.approx(shares[1] * 2**-tail.exponent)


def test_a_tail__reads_as_a_sentence() -> None:
    tail = Tail(exponent=0.76, standard_error=0.031, least_size=1e6, tail_count=600, count=2_000, distance=0.021)
    assert repr(tail) == "exponent 0.76 ± 0.031 above 1e+06 (600 of 2,000 sizes, distance 0.021)"


@pytest.mark.parametrize("sizes", [[1.0, 0.0], [1.0, -2.0], [1.0, math.inf], [1.0, math.nan], [1.0, None]])
def test_sizes__that_are_none_are_refused(sizes: list[float | None]) -> None:
    with pytest.raises(DataError, match="positive and finite: 1 of 2 are not"):
        hill(pl.Series(sizes), 1.0)


def test_too_few_sizes__are_refused() -> None:
    with pytest.raises(DataError, match="needs 50 sizes, not all equal: there are 20"):
        fit(pareto(1.5, 20))
    with pytest.raises(DataError, match="not all equal"):
        fit(pl.Series([5.0] * 200))
    with pytest.raises(DataError, match="two different sizes at or above 9: 0 are there"):
        hill(pl.Series([5.0, 6.0]), 9.0)
    with pytest.raises(ArgumentError, match="least_size must be positive"):
        hill(pl.Series([5.0, 6.0]), 0.0)
