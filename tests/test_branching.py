"""Branching ratios and Hawkes processes: recovered from processes whose truth is known."""

from __future__ import annotations

import math
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError, DataError
from backtest.schemas.frames import Side, Time
from backtest.study.liquidations import hawkes
from backtest.study.liquidations.branching import (
    bands,
    borel,
    branching_ratio,
    counts,
    family_sizes,
    reading,
    side_by_side,
)
from backtest.study.liquidations.cascades import find, pulses
from backtest.study.liquidations.hawkes import Hawkes, fit, log_likelihood, simulate
from backtest.study.liquidations.segmentation import GapRule

START = datetime(2021, 5, 1, tzinfo=UTC)
WATCHED = 1_000_000  # seconds
END = START + timedelta(seconds=WATCHED)
RATIOS = [0.2, 0.5, 0.8]


def outcomes_at(seconds: np.ndarray) -> pl.DataFrame:
    """Return outcomes with a liquidation at each moment, and as many rows that were not liquidated."""
    stamps = (START.timestamp() * 1_000 + np.round(np.asarray(seconds) * 1_000)).astype(np.int64)
    gone = pl.DataFrame({"outcome_time": stamps}).select(pl.col("outcome_time").cast(Time), liquidated=True)
    return pl.concat([gone, gone.with_columns(liquidated=pl.lit(False))])


def process(ratio: float, base_rate: float = 0.1) -> Hawkes:
    return Hawkes(base_rate=base_rate, jump=ratio, decay=1.0)


def slow_log_likelihood(times: list[float], model: Hawkes, end: float) -> float:
    """Return the log likelihood as it is defined, every pair of events looked at."""
    total = -model.base_rate * end
    for number, time in enumerate(times):
        rate = model.base_rate
        for earlier in times[:number]:
            rate += model.jump * math.exp(-model.decay * (time - earlier))
        total += math.log(rate) - model.jump / model.decay * (1 - math.exp(-model.decay * (end - time)))
    return total


def test_counts__equal_counting_one_by_one() -> None:
    rng = np.random.default_rng(1)
    seconds = rng.uniform(-100, 1_100, 300)
    table = counts(
        outcomes_at(seconds), window=timedelta(seconds=90), start=START, end=START + timedelta(seconds=1_000)
    )
    counted = Counter(int(round(second, 3) // 90) for second in seconds)
    assert table["count"].to_list() == [counted[number] for number in range(11)]
    assert table["time"].to_list() == [START + timedelta(seconds=90 * number) for number in range(11)]


def test_branching_ratio__equals_the_formula_in_plain_python() -> None:
    values = np.random.default_rng(2).negative_binomial(3, 0.2, 50).tolist()
    mean = sum(values) / 50
    variance = sum((value - mean) ** 2 for value in values) / 49
    found = pl.DataFrame({"count": values}).select(branching_ratio()).item()
    assert found == pytest.approx(1 - 1 / math.sqrt(variance / mean))


@pytest.mark.parametrize("ratio", RATIOS)
def test_side_by_side__recovers_the_ratio_and_finds_none_in_the_uncoupled_run(ratio: float) -> None:
    rng = np.random.default_rng(3)
    coupled = outcomes_at(simulate(process(ratio), end=WATCHED, rng=rng))
    uncoupled = outcomes_at(simulate(process(0.0, 0.1 / (1 - ratio)), end=WATCHED, rng=rng))
    table = side_by_side(coupled, uncoupled, window=timedelta(seconds=1_000), start=START, end=END)
    assert table["run"].to_list() == ["coupled", "uncoupled"]
    assert table["windows"].to_list() == [1_000, 1_000]
    for found, truth in zip(table["branching_ratio"], (ratio, 0.0), strict=True):
        # the variance of w windows has a relative error of √(2 / w), the ratio (1 − n) / 2 of it
        assert abs(found - truth) < 3 * (1 - truth) / 2 * math.sqrt(2 / 1_000) + 0.003
    assert table["variance_ratio"][0] == pytest.approx(1 / (1 - table["branching_ratio"][0]) ** 2)


@pytest.mark.parametrize(("ratio", "read"), [(0.2, 0.183), (0.5, 0.458), (0.8, 0.738)])
def test_side_by_side__is_biased_low_by_as_much_as_stated_in_short_windows(ratio: float, read: float) -> None:
    coupled = outcomes_at(simulate(process(ratio), end=WATCHED, rng=np.random.default_rng(4)))
    window, kernel = timedelta(seconds=10), timedelta(seconds=1)
    table = side_by_side(coupled, coupled, window=window, start=START, end=END)
    assert table["branching_ratio"][0] == pytest.approx(read, abs=0.006)
    assert reading(ratio, window=window, kernel=kernel) == pytest.approx(read, abs=0.002)


def test_reading__tends_to_the_truth_in_long_windows_and_to_none_in_short_ones() -> None:
    ratios, kernel = np.array([0.0, *RATIOS]), timedelta(seconds=1)
    windows = [timedelta(seconds=10**power) for power in range(-2, 7)]
    read = np.array([reading(ratios, window=window, kernel=kernel) for window in windows])
    assert read[0] == pytest.approx(0, abs=0.12)
    assert read[-1] == pytest.approx(ratios, abs=1e-4)
    assert (np.diff(read[:, 1:], axis=0) > 0).all()
    assert (read <= ratios).all()


def test_reading__refuses_what_is_no_ratio_and_no_time() -> None:
    for ratio, window in ((1.0, timedelta(seconds=1)), (-0.1, timedelta(seconds=1)), (0.5, timedelta(0))):
        with pytest.raises(ArgumentError, match="reading needs ratios in"):
            reading(ratio, window=window, kernel=timedelta(seconds=1))


def test_bands__hold_the_truth_and_tell_the_runs_apart() -> None:
    rng = np.random.default_rng(5)
    coupled, uncoupled = (outcomes_at(simulate(process(ratio), end=WATCHED, rng=rng)) for ratio in (0.5, 0.0))
    window, length = timedelta(seconds=1_000), timedelta(hours=6)
    found = bands(coupled, uncoupled, window=window, start=START, end=END, seed=1, length=length)
    table = side_by_side(coupled, uncoupled, window=window, start=START, end=END)
    assert found["coupled"].estimate == pytest.approx(table["branching_ratio"][0])
    assert found["uncoupled"].estimate == pytest.approx(table["branching_ratio"][1])
    assert found["coupled"].low < 0.5 < found["coupled"].high
    assert found["uncoupled"].low < 0 < found["uncoupled"].high
    assert 0.3 < found["difference"].low < found["difference"].high < 0.7
    assert found["difference"].length == length


def test_side_by_side__has_no_ratio_where_nothing_was_liquidated() -> None:
    none = outcomes_at(np.array([]))
    table = side_by_side(none, none, window=timedelta(hours=1), start=START, end=END)
    assert table["mean_count"].to_list() == [0, 0]
    assert all(math.isnan(ratio) for ratio in table["branching_ratio"])


@pytest.mark.parametrize("window", [timedelta(0), timedelta(days=6)])
def test_counts__refuse_windows_that_do_not_fit_twice(window: timedelta) -> None:
    with pytest.raises(ArgumentError, match="fit twice between"):
        counts(outcomes_at(np.array([1.0])), window=window, start=START, end=END)


def test_borel__has_the_published_probabilities() -> None:
    assert borel(np.arange(1, 6), 0.5) == pytest.approx([0.60653, 0.18394, 0.08367, 0.04511, 0.02672], abs=1e-5)
    assert borel(np.arange(1, 4), 0.0).tolist() == [1, 0, 0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_borel__has_the_mean_and_variance_of_families(ratio: float) -> None:
    sizes = np.arange(1, 3_000)
    probabilities = borel(sizes, ratio)
    mean = (sizes * probabilities).sum()
    assert probabilities.sum() == pytest.approx(1)
    assert mean == pytest.approx(1 / (1 - ratio))
    assert ((sizes - mean) ** 2 * probabilities).sum() == pytest.approx(ratio / (1 - ratio) ** 3)


@pytest.mark.parametrize("ratio", [0.0, *RATIOS])
def test_family_sizes__are_distributed_as_borel_says(ratio: float) -> None:
    families = 40_000
    found = Counter(family_sizes(families, ratio, np.random.default_rng(6)).tolist())
    for size, probability in zip(range(1, 8), borel(np.arange(1, 8), ratio), strict=True):
        error = math.sqrt(families * probability * (1 - probability))
        assert abs(found[size] - families * probability) <= 4 * error


@pytest.mark.parametrize("ratio", RATIOS)
def test_cascades__of_families_far_apart_are_distributed_as_borel_says(ratio: float) -> None:
    # one family in 10,000 s, a second from cause to effect, a gap of 30 s: 1 in 300 families runs into the next
    times = simulate(process(ratio, base_rate=1e-4), end=1e8, rng=np.random.default_rng(12))
    positions = outcomes_at(times).with_columns(
        symbol=pl.lit("BTCUSDT"), side=pl.lit("long", Side), fill_notional=pl.lit(1.0)
    )
    counted = find(pulses(positions), GapRule(timedelta(seconds=30), bar=timedelta(0)))["count"]
    assert counted.mean() == pytest.approx(1 / (1 - ratio), rel=0.05)
    found = Counter(counted.cast(pl.Int64).to_list())
    for size, probability in zip(range(1, 6), borel(np.arange(1, 6), ratio), strict=True):
        error = math.sqrt(probability * (1 - probability) / counted.len())
        assert abs(found[size] / counted.len() - probability) <= 4 * error + 1 / 300


@pytest.mark.parametrize("ratio", [1.0, -0.1, math.nan])
def test_families__that_never_end_are_refused(ratio: float) -> None:
    with pytest.raises(ArgumentError, match="where families end"):
        borel(np.arange(1, 3), ratio)
    with pytest.raises(ArgumentError, match="where families end"):
        family_sizes(10, ratio, np.random.default_rng(0))


@pytest.mark.parametrize("model", [process(0.5), process(0.0), Hawkes(base_rate=2.0, jump=3.0, decay=30.0)])
def test_log_likelihood__equals_looking_at_every_pair(model: Hawkes) -> None:
    times = simulate(model, end=120.0, rng=np.random.default_rng(7))
    expected = slow_log_likelihood(times.tolist(), model, 120.0)
    assert log_likelihood(times, model, end=120.0) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("ratio", RATIOS)
def test_fit__recovers_the_process_within_its_standard_error(ratio: float) -> None:
    pytest.importorskip("scipy")
    end = 30_000.0
    found = fit(simulate(process(ratio), end=end, rng=np.random.default_rng(8)), end=end)
    assert abs(found.process.branching_ratio - ratio) < 3 * found.standard_error
    assert found.standard_error < 0.03
    assert found.process.base_rate == pytest.approx(0.1, rel=0.1)
    assert found.process.decay == pytest.approx(1.0, rel=0.15)
    assert found.log_likelihood > found.poisson_log_likelihood + 20


def test_fit__finds_no_contagion_in_a_poisson_process() -> None:
    pytest.importorskip("scipy")
    times = simulate(process(0.0), end=10_000.0, rng=np.random.default_rng(9))
    found = fit(times, end=10_000.0)
    assert 0 <= found.log_likelihood - found.poisson_log_likelihood < 5
    poisson = Hawkes(base_rate=times.size / 10_000, jump=0.0, decay=1.0)
    assert found.poisson_log_likelihood == pytest.approx(log_likelihood(times, poisson, end=10_000.0))


def test_fit__says_what_to_install_where_scipy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ArgumentError, match=r"liquidation-backtest\[stats\]"):
        fit(simulate(process(0.2), end=2_000.0, rng=np.random.default_rng(1)), end=2_000.0)


def test_stamps_of_bars__are_refused() -> None:
    times = simulate(process(0.5), end=20_000.0, rng=np.random.default_rng(10))
    with pytest.raises(DataError, match=r"share the timestamp of the one before.*branching\.side_by_side"):
        fit(np.floor(times / 60) * 60, end=20_000.0)
    with pytest.raises(DataError, match="whole multiples of 60 s"):
        log_likelihood(np.unique(np.floor(times / 60) * 60), process(0.5), end=20_000.0)
    assert math.isfinite(log_likelihood(np.round(times, 3), process(0.5), end=20_000.0))


def test_times__out_of_order_or_out_of_sight_are_refused() -> None:
    for times in ([], [2.0, 1.0], [-1.0, 2.0], [1.0, 11.0], [1.0, math.nan]):
        with pytest.raises(DataError, match="must ascend within"):
            log_likelihood(np.array(times), process(0.5), end=10.0)
    with pytest.raises(DataError, match="a fit needs 50 events: there are 3"):
        fit(np.array([1.0, 2.0, 4.0]), end=10.0)


def test_seconds__are_counted_from_the_first_stamp() -> None:
    stamps = outcomes_at(np.array([7.25, 1.5, 3.0])).filter("liquidated")["outcome_time"]
    assert hawkes.seconds(stamps).tolist() == [0.0, 1.5, 5.75]


@pytest.mark.parametrize("rates", [(0.0, 0.5, 1.0), (0.1, 1.0, 1.0), (0.1, -0.1, 1.0), (math.nan, 0.1, 1.0)])
def test_a_process__that_cannot_be_is_refused(rates: tuple[float, float, float]) -> None:
    base_rate, jump, decay = rates
    with pytest.raises(ArgumentError, match="0 <= jump < decay"):
        Hawkes(base_rate=base_rate, jump=jump, decay=decay)


def test_simulate__has_as_many_events_as_the_ratio_says() -> None:
    times = simulate(process(0.8), end=100_000.0, rng=np.random.default_rng(11))
    mean = 0.1 * 100_000 / 0.2
    assert abs(times.size - mean) < 4 * math.sqrt(mean) / 0.2
    assert (np.diff(times) >= 0).all()
    assert times[-1] <= 100_000
