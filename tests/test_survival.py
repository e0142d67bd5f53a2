"""Survival: equal to walking through lives one by one, to lifelines, and to sums done by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, sweep
from backtest.errors import ArgumentError, DataError
from backtest.schemas.frames import Outcome, Side, Time
from backtest.study.survival.survival import CAUSES, End, aalen_johansen, kaplan_meier, lives, restricted_mean
from backtest.study.survival.survival_bands import bands

START = datetime(2021, 5, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def random_lives(rows: int = 400, seed: int = 0, distinct: bool = False) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    hours = rng.permutation(10 * rows)[:rows] + 1 if distinct else rng.integers(0, 30, rows)
    ended = rng.choice(End.categories.to_numpy(), rows, p=[0.35, 0.1, 0.1, 0.2, 0.25])
    return pl.DataFrame(
        {
            "entry_time": [START + timedelta(hours=int(hour)) for hour in rng.integers(0, 24 * 60, rows)],
            "side": rng.choice(["long", "short"], rows),
            "weight": rng.integers(1, 5, rows) / 2,
            "duration": [timedelta(hours=int(hour)) for hour in hours],
            "ended": ended,
        },
        schema_overrides={"entry_time": Time, "duration": pl.Duration("ms"), "ended": End, "side": Side},
    )


def slow_curves(frame: pl.DataFrame, cause: str) -> dict[timedelta, tuple[float, float, dict[str, float]]]:
    """Return by duration the survival of one cause, of all, and each cause's incidence, one life after another."""
    rows = frame.select("duration", "ended", "weight").rows()
    alone = together = 1.0
    incidence = dict.fromkeys(CAUSES, 0.0)
    found = {}
    for duration in sorted({row[0] for row in rows}):
        at_risk = sum(weight for lasted, _, weight in rows if lasted >= duration)
        gone = {
            name: sum(weight for lasted, ended, weight in rows if lasted == duration and ended == name)
            for name in CAUSES
        }
        for name in CAUSES:
            incidence[name] += together * gone[name] / at_risk
        alone *= 1 - gone[cause] / at_risk
        together *= 1 - sum(gone.values()) / at_risk
        found[duration] = alone, together, dict(incidence)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_curves__equal_walking_through_lives_with_ties_and_weights(seed: int) -> None:
    frame = random_lives(200, seed)
    slow = slow_curves(frame, "liquidated")
    curve, competing = kaplan_meier(frame), aalen_johansen(frame)
    assert curve["duration"].to_list() == competing["duration"].to_list() == list(slow)
    assert curve["survival"].to_list() == pytest.approx([alone for alone, _, _ in slow.values()], abs=1e-12)
    assert competing["survival"].to_list() == pytest.approx([both for _, both, _ in slow.values()], abs=1e-12)
    for cause in CAUSES:
        expected = [incidence[cause] for _, _, incidence in slow.values()]
        assert competing[cause].to_list() == pytest.approx(expected, abs=1e-12)
    whole = competing.select(pl.sum_horizontal("survival", *CAUSES)).to_series()
    assert whole.to_list() == pytest.approx([1.0] * whole.len(), abs=1e-12)


def test_groups__are_curves_of_their_own() -> None:
    frame = random_lives()
    both = kaplan_meier(frame, by=["side"])
    for side in ("long", "short"):
        own = kaplan_meier(frame.filter(pl.col("side") == side))
        assert both.filter(pl.col("side") == side).drop("side").equals(own)
    mean = restricted_mean(both, 20 * HOUR, by=["side"])
    expected = restricted_mean(kaplan_meier(frame.filter(pl.col("side") == "long")), 20 * HOUR)
    assert mean.filter(pl.col("side") == "long")["mean_days"].item() == pytest.approx(expected.item(), abs=1e-12)


def in_hours(frame: pl.DataFrame) -> np.ndarray:
    return frame["duration"].dt.total_hours().to_numpy().astype(float)


def lifelines_of(name: str):
    return getattr(pytest.importorskip("lifelines", exc_type=ImportError), name)


@pytest.mark.parametrize("seed", range(3))
def test_kaplan_meier__equals_lifelines(seed: int) -> None:
    fitter = lifelines_of("KaplanMeierFitter")()
    frame = random_lives(500, seed).with_columns(weight=pl.lit(1.0))
    fitter.fit(in_hours(frame), (frame["ended"] == "liquidated").to_numpy())
    curve = kaplan_meier(frame)
    theirs = fitter.survival_function_at_times(in_hours(curve)).to_numpy()
    assert np.abs(curve["survival"].to_numpy() - theirs).max() < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_aalen_johansen__equals_lifelines_without_ties(seed: int) -> None:
    fitter = lifelines_of("AalenJohansenFitter")(calculate_variance=False)
    frame = random_lives(300, seed, distinct=True).with_columns(weight=pl.lit(1.0))
    codes = frame["ended"].to_physical().to_numpy().astype(int) + 1
    codes[codes == len(CAUSES) + 1] = 0
    curve = aalen_johansen(frame)
    for number, cause in enumerate(CAUSES, start=1):
        fitter.fit(in_hours(frame), codes, event_of_interest=number)
        theirs = fitter.cumulative_density_.iloc[:, 0]
        assert np.abs(curve[cause].to_numpy() - theirs.loc[in_hours(curve)].to_numpy()).max() < 1e-12


def test_a_tie_of_causes__is_shared_out_by_hand() -> None:
    """Of ten, two are liquidated and three exit at once, then one of five is liquidated: 2/10 + (1/2)(1/5)."""
    ended = ["liquidated"] * 2 + ["exited"] * 3 + ["liquidated"] + ["censored"] * 4
    hours = [1] * 5 + [2] + [3] * 4
    frame = pl.DataFrame(
        {"duration": [timedelta(hours=hour) for hour in hours], "ended": ended},
        schema={"duration": pl.Duration("ms"), "ended": End},
    )
    assert aalen_johansen(frame)["liquidated"].to_list() == pytest.approx([0.2, 0.3, 0.3], abs=1e-15)
    assert aalen_johansen(frame)["exited"].to_list() == pytest.approx([0.3, 0.3, 0.3], abs=1e-15)
    assert kaplan_meier(frame)["survival"].to_list() == pytest.approx([0.8, 0.64, 0.64], abs=1e-15)
    # 1 h at 1, 1 h at 0.8, 1 h at 0.64
    assert restricted_mean(kaplan_meier(frame), 3 * HOUR).item() * 24 == pytest.approx(2.44)
    assert np.isnan(restricted_mean(kaplan_meier(frame), 4 * HOUR).item())
    with pytest.raises(ArgumentError, match="horizon of a restricted mean"):
        restricted_mean(kaplan_meier(frame), timedelta(0))


def test_greenwoods_error__is_the_textbooks() -> None:
    """Kaplan and Meier's own small sample: events at 0.8, 3.1, 5.4, 9.2 with losses at 1.0, 2.7, 7.0, 12.1."""
    hours = [0.8, 1.0, 2.7, 3.1, 5.4, 7.0, 9.2, 12.1]
    gone = [True, False, False, True, True, False, True, False]
    frame = pl.DataFrame(
        {
            "duration": [timedelta(hours=hour) for hour in hours],
            "ended": ["liquidated" if event else "censored" for event in gone],
        },
        schema={"duration": pl.Duration("ms"), "ended": End},
    )
    curve = kaplan_meier(frame)
    assert curve["survival"][-1] == pytest.approx(7 / 8 * 4 / 5 * 3 / 4 * 1 / 2)
    variance = 1 / (8 * 7) + 1 / (5 * 4) + 1 / (4 * 3) + 1 / (2 * 1)
    assert curve["standard_error"][-1] == pytest.approx(curve["survival"][-1] * variance**0.5)


def test_bands__equal_kaplan_meier_of_the_drawn_rows() -> None:
    frame = random_lives(300, 5)
    horizons = [timedelta(hours=hour) for hour in (0, 3, 12, 40)]
    found = bands(frame, horizons, seed=3, length=10 * DAY, draws=40)
    from backtest.study.stats.bootstrap import resampling

    plan = resampling(frame["entry_time"], seed=3, length=10 * DAY, draws=40)

    def survival(drawn: pl.DataFrame, horizon: timedelta) -> float:
        curve = kaplan_meier(drawn).filter(pl.col("duration") <= horizon)
        return curve["survival"][-1] if curve.height else 1.0

    for row, horizon in zip(found.iter_rows(named=True), horizons, strict=True):
        drawn = plan.of_frame(frame, lambda part, at=horizon: survival(part, at), time="entry_time")
        slow = plan.band(drawn)
        assert (row["survival"], row["low"], row["high"]) == pytest.approx((slow.estimate, slow.low, slow.high))
    by_side = bands(frame, horizons, ["side"], seed=3, length=10 * DAY, draws=5)
    assert by_side["side"].to_list() == [
        side for side in frame["side"].unique(maintain_order=True) for _ in horizons
    ]


def test_lives__end_with_their_bar_their_gap_or_the_history() -> None:
    minutes = [0, 1, 2, 3, 500, 501]
    price = [100.0, 100.0, 100.0, 50.0, 100.0, 100.0]
    market = Market(
        pl.DataFrame(
            {
                "symbol": ["X"] * 6,
                "time": [START + timedelta(minutes=minute) for minute in minutes],
                "open": [100.0] * 6,
                "high": [100.0] * 6,
                "low": price,
                "close": [100.0] * 6,
            }
        )
    )
    positions = pl.DataFrame(
        {
            "position_id": [0, 1, 2, 3],
            "symbol": ["X"] * 4,
            "side": pl.Series(["long", "long", "short", "short"], dtype=Side),
            "entry_time": [START, START, START, START + timedelta(minutes=500)],
            "entry_price": [100.0] * 4,
            "quantity": [1.0] * 4,
            "leverage": [10.0, 1.5, 10.0, 10.0],
            "exit_time": [None, START + timedelta(minutes=2), None, None],
        }
    )
    outcomes = sweep(Book(positions), market, Venue.load("binance").with_(like="BTCUSDT"), tiers="nearest")
    frame = lives(outcomes, market)
    assert frame["ended"].to_list() == ["liquidated", "exited", "censored", "censored"]
    assert [lasted // timedelta(minutes=1) for lasted in frame["duration"]] == [4, 2, 4, 2]
    assert frame.select(outcomes.columns).equals(outcomes)
    with pytest.raises(DataError, match="decay before they end"):
        lives(outcomes.with_columns(surviving_weight=1.0), market)
    assert set(Outcome.categories) - {"open", "unknown", "rejected"} == set(CAUSES)
