"""Tests of margins: the published ranges, scipy's binomial, and likelihoods written out."""

import math
from itertools import pairwise

import numpy as np
import pytest

from backtest.errors import ArgumentError
from backtest.study.margins.exceedances import (
    coverage,
    exact_binomial,
    independence,
    kupiec,
    kupiec_range,
    traffic_light,
)


@pytest.mark.parametrize(
    ("windows", "probability", "accepted"),
    [(250, 0.01, (1, 6)), (1000, 0.01, (5, 16)), (1000, 0.005, (2, 9)), (2000, 0.01, (12, 29))],
)
def test_kupiec__accepts_the_published_counts(windows: int, probability: float, accepted: tuple[int, int]) -> None:
    assert kupiec_range(windows, probability) == accepted


def test_kupiec__has_the_published_value() -> None:
    assert kupiec(7, 250, 0.01) == pytest.approx(5.4970, abs=5e-5)
    assert kupiec(0, 250, 0.01) == pytest.approx(-2 * 250 * math.log(0.99))
    assert kupiec(250, 250, 0.01) == pytest.approx(-2 * 250 * math.log(0.01))


def test_the_exact_binomial__is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for windows, probability in ((20, 0.3), (250, 0.01), (2_000, 0.005)):
        for count in {0, 1, 3, 7, 12, 20}:
            expected = stats.binomtest(count, windows, probability).pvalue
            assert exact_binomial(count, windows, probability) == pytest.approx(expected, rel=1e-9)


def test_the_traffic_light__is_basels() -> None:
    """Of 250 days at 1 %: green up to four exceedances, yellow from five, red from ten."""
    lights = [traffic_light(count, 250, 0.01) for count in range(12)]
    assert lights == ["green"] * 5 + ["yellow"] * 5 + ["red"] * 2


def slow_independence(flags: list[bool]) -> float:
    pairs = list(pairwise(flags))
    counts = {(a, b): pairs.count((a, b)) for a in (False, True) for b in (False, True)}
    n00, n01, n10, n11 = counts[False, False], counts[False, True], counts[True, False], counts[True, True]
    whole = (n01 + n11) / len(pairs)
    after_none, after_one = n01 / max(n00 + n01, 1), n11 / max(n10 + n11, 1)
    together = (1 - whole) ** (n00 + n10) * whole ** (n01 + n11)
    apart = (1 - after_none) ** n00 * after_none**n01 * (1 - after_one) ** n10 * after_one**n11
    return -2 * math.log(together / apart)


def test_independence__is_the_ratio_of_the_likelihoods_written_out() -> None:
    rng = np.random.default_rng(3)
    for share in (0.0, 0.02, 0.3, 1.0):
        flags = (rng.random(120) < share).tolist()
        assert independence(flags) == pytest.approx(slow_independence(flags), abs=1e-9)
    clustered = ([False] * 40 + [True] * 5) * 4
    assert independence(clustered) == pytest.approx(slow_independence(clustered))
    assert independence(clustered) > 20
    assert math.isnan(independence([True]))


def test_coverage__puts_the_tests_together() -> None:
    stats = pytest.importorskip("scipy.stats")
    flags = np.zeros(250, bool)
    flags[[3, 4, 50, 51, 52, 100, 200]] = True
    found = coverage(flags, 0.01)
    assert (found["exceedances"], found["accepted_from"], found["accepted_to"], found["light"]) == (
        7,
        1,
        6,
        "yellow",
    )
    assert found["kupiec_p"] == pytest.approx(stats.chi2.sf(5.4970, 1), abs=1e-5)
    assert found["conditional"] == pytest.approx(found["kupiec"] + found["independence"])
    assert found["conditional_p"] == pytest.approx(stats.chi2.sf(found["conditional"], 2))
    with pytest.raises(ArgumentError, match="one window or more"):
        coverage([], 0.01)
    with pytest.raises(ArgumentError, match="0 < probability < 1: 1 of 2 at 1"):
        kupiec(1, 2, 1.0)
