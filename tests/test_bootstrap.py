"""Bands: equal to a slow bootstrap in plain Python, and as wide as they claim where rows depend on one another."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError, DataError
from backtest.study.stats.bands import effective_number
from backtest.study.stats.bootstrap import Resampling, band, blocks, resampling

START = datetime(2021, 5, 1, 7, 30, tzinfo=UTC)
DAY = timedelta(days=1)
REPEATS, DRAWS = 600, 399


def random_rows(rows: int = 400, days: float = 60.0, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, int(days * 86_400), rows)
    return pl.DataFrame(
        {
            "time": [START + timedelta(seconds=int(second)) for second in seconds],
            "notional": rng.integers(1, 1_000, rows),
            "liquidated": rng.random(rows) < 0.3,
        },
        schema_overrides={"time": pl.Datetime("ms", "UTC")},
    )


def share(frame: pl.DataFrame) -> float:
    """Return the liquidated share of the notional."""
    return float(frame.select(pl.col("notional").filter("liquidated").sum() / pl.col("notional").sum()).item())


def slow_shares(frame: pl.DataFrame, length: timedelta, counts: np.ndarray) -> list[float]:
    """Return the share in each draw, by walking through all rows of all drawn blocks."""
    rows_of: dict[int, list[tuple[int, bool]]] = {}
    for time, notional, liquidated in frame.iter_rows():
        number = math.floor(time.timestamp() / length.total_seconds())
        rows_of.setdefault(number, []).append((notional, liquidated))
    first = min(rows_of)
    shares = []
    for count in counts:
        whole = part = 0
        for block, times in enumerate(count):
            for notional, liquidated in rows_of.get(first + block, []):
                whole += int(times) * notional
                part += int(times) * notional * liquidated
        shares.append(part / whole)
    return shares


def plan_of(blocks: int, **settings) -> Resampling:
    return Resampling(np.ones(blocks), **{"seed": 1, "draws": DRAWS, **settings})


def test_blocks__are_counted_from_1970_whatever_the_data_begin_with() -> None:
    times = [datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(1970, 1, 14, 23, tzinfo=UTC), START]
    frame = pl.DataFrame({"time": times}).select(blocks(pl.col("time")), day=blocks(pl.col("time"), DAY))
    assert frame["block"].to_list() == [-1, 0, (START - datetime(1970, 1, 1, tzinfo=UTC)) // (14 * DAY)]
    assert frame["day"].to_list() == [-1, 13, 18_748]


@pytest.mark.parametrize("length", [3 * DAY, timedelta(hours=60), 14 * DAY])
def test_a_band__equals_the_slow_bootstrap(length: timedelta) -> None:
    frame = random_rows()
    plan = resampling(frame["time"], seed=3, length=length, draws=60)
    slow = slow_shares(frame, length, plan.counts)
    assert plan.of_frame(frame, share, time="time") == pytest.approx(slow, rel=1e-12)
    amounts = [pl.col("notional"), pl.col("notional") * pl.col("liquidated")]
    sums = plan.block_sums(frame, amounts, time="time")
    assert plan.of_sums(sums, lambda drawn: drawn[:, 1] / drawn[:, 0]) == pytest.approx(slow, rel=1e-12)
    assert plan.band(np.array(slow)).estimate == pytest.approx(share(frame))


def test_draws__hold_as_many_blocks_as_history_and_each_equally_often() -> None:
    counts = plan_of(20, draws=4_000).counts
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 20).all()
    assert counts[1:].mean(axis=0) == pytest.approx(np.ones(20), abs=5 / math.sqrt(4_000))


def test_a_block_without_rows__is_drawn_as_an_empty_one() -> None:
    frame = random_rows().filter(~pl.col("time").is_between(START + 10 * DAY, START + 50 * DAY))
    plan = resampling(frame["time"], seed=1, length=5 * DAY, draws=50)
    assert plan.weights.size == 13
    assert (plan.weights == 0).sum() == 7
    sizes = plan.of_frame(frame, len, time="time")
    assert sizes == pytest.approx(plan.counts @ plan.weights)


def test_the_effective_number__is_that_of_equal_blocks_where_they_are_equal_and_one_where_one_has_all() -> None:
    assert effective_number(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_number(np.array([0.0, 5.0, 0.0])) == pytest.approx(1)
    assert effective_number(np.array([3.0, 1.0])) == pytest.approx(16 / 10)


def test_a_band__is_widened_as_much_as_student_asks_for() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    plan = Resampling(np.array([4.0, 1, 2, 2, 5, 1, 1, 3]), seed=1, draws=20_000, confidence=0.9)
    effective = plan.band(np.zeros(20_001)).effective_blocks
    t = scipy_stats.t(effective - 1).ppf(0.05)
    tail = NormalDist().cdf(math.sqrt(effective / (effective - 1)) * t)
    uniform = plan.band(np.concatenate([[0.5], np.linspace(0, 1, 20_000)]))
    assert uniform.low == pytest.approx(tail, rel=0.01)
    assert uniform.high == pytest.approx(1 - tail, rel=0.01)


def test_a_band__of_a_single_effective_block_is_all_there_is() -> None:
    plan = Resampling(np.array([0.0, 1.0]), seed=1, draws=99)
    values = np.arange(100.0)
    assert (plan.band(values).low, plan.band(values).high) == (1.0, 99.0)


def within_binomial_error(covered: int, nominal: float) -> bool:
    return abs(covered / REPEATS - nominal) <= 3.5 * math.sqrt(nominal * (1 - nominal) / REPEATS)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bands__cover_at_their_nominal_rate_where_neighbours_depend_on_each_other(confidence: float) -> None:
    rng = np.random.default_rng(11)
    hours, rho, many = 14 * 24, 0.9, 26  # blocks of a fortnight, a year of hours, correlation over ten of them
    series = np.empty((many * hours, REPEATS))
    series[0], shocks = rng.normal(size=REPEATS), rng.normal(size=series.shape) * math.sqrt(1 - rho**2)
    for hour in range(1, len(series)):
        series[hour] = rho * series[hour - 1] + shocks[hour]
    covered = independent = 0
    for repeat, sums in enumerate(series.reshape(many, hours, REPEATS).sum(axis=1).T):
        plan = plan_of(many, seed=repeat, confidence=confidence)
        found = plan.band(plan.of_sums(sums[:, None], lambda drawn: drawn[:, 0] / (many * hours)))
        covered += found.low <= 0 <= found.high
        independent += abs(found.estimate) <= -NormalDist().inv_cdf((1 - confidence) / 2) / math.sqrt(many * hours)
    assert within_binomial_error(covered, confidence)
    assert independent / REPEATS < confidence / 2


def test_bands__cover_at_their_nominal_rate_where_a_block_shares_its_fate() -> None:
    rng = np.random.default_rng(12)
    covered = independent = 0
    for repeat in range(REPEATS):
        rows = np.ceil(rng.lognormal(4, 0.7, 26))
        hit = rng.binomial(rows.astype(int), rng.beta(2, 4, 26))  # a third on average, by block more or less
        plan = Resampling(rows, seed=repeat, draws=DRAWS)
        found = plan.band(plan.of_sums(np.column_stack([rows, hit]), lambda drawn: drawn[:, 1] / drawn[:, 0]))
        covered += found.low <= 1 / 3 <= found.high
        error = math.sqrt(found.estimate * (1 - found.estimate) / rows.sum())
        independent += abs(found.estimate - 1 / 3) <= 1.96 * error
    assert within_binomial_error(covered, 0.95)
    assert independent / REPEATS < 0.5


def test_a_difference__over_the_same_blocks_has_a_narrower_band_than_over_different_ones() -> None:
    before = random_rows()
    after = before.with_columns(liquidated=pl.col("liquidated") & (pl.int_range(pl.len()) % 10 != 0))
    plan = resampling(before["time"], seed=1, length=3 * DAY)
    other = resampling(before["time"], seed=2, length=3 * DAY)
    first, second = (plan.of_frame(frame, share, time="time") for frame in (before, after))
    paired = plan.band(first - second)
    apart = plan.band(first - other.of_frame(after, share, time="time"))
    assert paired.estimate == pytest.approx(share(before) - share(after))
    assert paired.low > 0
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)


def test_the_same_seed__gives_the_same_bytes_and_another_seed_others() -> None:
    frame = random_rows()
    first, again, other = (band(frame, share, time="time", seed=seed, length=3 * DAY) for seed in (1, 1, 2))
    assert repr(first) == repr(again)
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert first == band(frame, share, time="time", seed=np.random.default_rng(1), length=3 * DAY)


def test_a_band__does_not_depend_on_the_order_of_rows() -> None:
    frame = random_rows()
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=5)
    assert band(frame, share, time="time", seed=1, length=3 * DAY) == band(
        shuffled, share, time="time", seed=1, length=3 * DAY
    )


def test_a_band__says_what_it_rests_on() -> None:
    text = repr(band(random_rows(), share, time="time", seed=1, length=3 * DAY))
    assert "95 %" in text
    assert "999 draws of 21 blocks of 3 days" in text
    assert "effective" in text


def test_a_band__is_nan_where_a_draw_has_no_answer() -> None:
    plan = plan_of(5)
    values = np.append(np.zeros(DRAWS), np.nan)
    assert math.isnan(plan.band(values).low)
    assert math.isnan(plan.band(values).high)
    assert plan.band(values).estimate == 0


def test_weights__decide_the_effective_number_of_blocks() -> None:
    frame = random_rows()
    heavy = (pl.col("time") < START + 3 * DAY).cast(pl.Int64) * 1_000_000 + 1
    weighted = resampling(frame["time"], seed=1, length=3 * DAY, weights=frame.select(heavy).to_series())
    assert weighted.band(np.zeros(1_000)).effective_blocks < 2.1
    assert resampling(frame["time"], seed=1, length=3 * DAY).band(np.zeros(1_000)).effective_blocks > 15


def test_fewer_than_two_blocks__are_refused() -> None:
    with pytest.raises(DataError, match="2 or more calendar blocks: all lie in one of 1000 days"):
        band(random_rows(), share, time="time", seed=1, length=1_000 * DAY)
    with pytest.raises(DataError, match="2 or more"):
        Resampling(np.ones(1), seed=1)


@pytest.mark.parametrize("length", [timedelta(0), -DAY, timedelta(microseconds=10)])
def test_a_length_that_is_not_positive__is_refused(length: timedelta) -> None:
    with pytest.raises(ArgumentError, match="must be positive"):
        band(random_rows(), share, time="time", seed=1, length=length)
    with pytest.raises(ArgumentError, match="must be positive"):
        blocks(pl.col("time"), length)


@pytest.mark.parametrize("settings", [{"confidence": 0.0}, {"confidence": 1.0}, {"draws": 0}])
def test_a_confidence_or_draws_that_make_no_band__are_refused(settings: dict) -> None:
    with pytest.raises(ArgumentError, match="0 < confidence < 1 and draws"):
        plan_of(5, **settings)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [np.nan, 1.0], [0.0, 0.0]])
def test_weights_that_weigh_nothing__are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights of blocks"):
        Resampling(np.array(weights), seed=1)


def test_sums_of_fractions__are_refused() -> None:
    frame = random_rows()
    plan = resampling(frame["time"], seed=1, length=3 * DAY)
    with pytest.raises(ArgumentError, match="whole numbers"):
        plan.block_sums(frame, [pl.col("notional") * 0.5], time="time")
    with pytest.raises(ArgumentError, match=r"\(21 blocks, k\), are \(20, 1\)"):
        plan.of_sums(np.ones((20, 1)), lambda drawn: drawn[:, 0])


def test_times_that_are_missing_or_outside_the_blocks__are_refused() -> None:
    frame = random_rows()
    plan = resampling(frame["time"], seed=1, length=3 * DAY)
    later = frame.with_columns(pl.col("time") + pl.duration(days=3))
    with pytest.raises(DataError, match="lie in none of the blocks drawn from"):
        plan.of_frame(later, share, time="time")
    with pytest.raises(DataError, match="1 of 400 are null"):
        resampling(pl.Series([None, *frame["time"][1:]]), seed=1)
    with pytest.raises(DataError, match="needs rows with times"):
        band(frame.clear(), share, time="time", seed=1)
