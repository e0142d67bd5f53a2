"""Mixes fitted to recorded days: the model is the sweep, a known mix is found again, ranks are those of days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from test_standing import START, venue

from backtest import Market, population, sweep
from backtest.errors import ArgumentError, DataError
from backtest.population import MixBySide, SideMix, load_mix
from backtest.population.flows import VolumeLaw
from backtest.study.calibration import baselines, by_day, daily_records, fit, scores, validate
from backtest.study.calibration.model import DailyModel
from backtest.study.liquidations import flow
from backtest.study.stats import resampling

DAYS = 40
TRUE = MixBySide.of(SideMix(8.0, 0.8), SideMix(15.0, 0.6))


def traded(days: int = DAYS, seed: int = 4) -> Market:
    """Return hours with crashes and calm, and volume that follows them."""
    rng = np.random.default_rng(seed)
    count = 24 * days
    calm = np.repeat(rng.choice([0.002, 0.006, 0.02], days, p=[0.5, 0.35, 0.15]), 24)
    close = 100 * np.exp(np.cumsum(rng.normal(0, calm)))
    opening = np.concatenate([[100.0], close[:-1]])
    times = pl.datetime_range(START, START + timedelta(hours=count - 1), "1h", time_unit="ms", eager=True)
    bars = {
        "symbol": ["A"] * count, "time": times, "open": opening, "close": close,
        "high": np.maximum(opening, close) * (1 + rng.exponential(calm / 4)),
        "low": np.minimum(opening, close) * (1 - rng.exponential(calm / 4)),
        "volume": rng.exponential(1.0, count) * 1e5 * calm,
    }  # fmt: skip
    return Market(pl.DataFrame(bars))


HISTORY = traded()


def recorded_of(mix: MixBySide, history: Market = HISTORY, first: int = 5) -> pl.DataFrame:
    """Return what the book of a mix loses a day, by the whole pipeline, from the sixth day on."""
    book = population.from_volume(history, venue(), leverage_mix=mix).book
    outcomes = sweep(book, history, venue())
    start, end = history.bars["time"][0], history.bars["time"][-1]
    daily = flow.by_interval(outcomes, start=start, end=end, every="1d")
    return daily.select("time", "long_notional", "short_notional")[first:]


def test_model__is_the_estimated_book_swept_and_added_up_by_day() -> None:
    law = VolumeLaw(0.05, 30.0, 6.0, bounded=False)
    for mix in (TRUE, TRUE.changed(START + timedelta(20), SideMix(3.0, 1.5), SideMix(30.0, 0.4))):
        expected = recorded_of(mix)
        model = DailyModel.of(HISTORY, venue(), expected["time"], law, tiers="strict", threads=1)
        for side in ("long", "short"):
            shares = mix.shares(side, HISTORY.times + 3_600_000)
            found = model.daily(side, shares)
            np.testing.assert_allclose(found, expected[f"{side}_notional"], rtol=1e-6, atol=1.0)


@pytest.fixture(scope="module")
def fitted():
    return fit(recorded_of(TRUE), HISTORY, venue(), seed=1, draws=99, offset=1_000.0)


def test_fit__finds_the_mix_that_made_the_records(fitted, tmp_path) -> None:
    for side, true in (("long", TRUE.eras[0].long), ("short", TRUE.eras[0].short)):
        found = getattr(fitted.mix.eras[0], side)
        assert found.typical == pytest.approx(true.typical, rel=0.05)
        assert found.spread == pytest.approx(true.spread, abs=0.05)
        own = fitted.bands.filter(side=side)
        for name in ("typical", "spread"):
            row = own.filter(parameter=name).row(0, named=True)
            assert row["low"] <= getattr(true, name) * 1.2
            assert row["high"] >= getattr(true, name) / 1.2
            assert not row["at_edge"]
    np.testing.assert_allclose(fitted.daily["long_book"], fitted.daily["long_notional"], rtol=0.1, atol=2_000)
    assert fitted.mix.provenance.startswith("fitted to 35 recorded days of A, 2021-05-24 to 2021-06-27; ")
    assert "0.05 of the volume opens, held 30 h, re-opening damped for 6 h" in fitted.mix.provenance
    fitted.mix.save(tmp_path / "mix.toml")
    assert load_mix(tmp_path / "mix.toml") == fitted.mix


def test_profile__is_the_least_loss_over_the_other_parameter(fitted) -> None:
    for name in ("typical", "spread"):
        least = fitted.surface.group_by("side", pl.col(name).alias("value")).agg(pl.min("loss"))
        both = fitted.profile.filter(parameter=name).join(least, on=["side", "value"], how="inner")
        assert both.height == fitted.profile.filter(parameter=name).height
        assert both["loss"].to_list() == both["loss_right"].to_list()


def test_fit__says_what_the_records_do_not_bound() -> None:
    """Nothing was liquidated: any low leverage agrees, down to the lowest of the grid."""
    nothing = recorded_of(TRUE).with_columns(pl.col("long_notional", "short_notional") * 0)
    found = fit(nothing, HISTORY, venue(), seed=1, draws=49, offset=1_000.0)
    assert found.bands.filter(parameter="typical")["at_edge"].all()
    assert found.daily.select(pl.col("long_book", "short_book").max()).row(0) < (1.0, 1.0)


def test_validate__judges_ranks_sums_and_factors() -> None:
    recorded = recorded_of(TRUE)
    found = validate(TRUE, recorded, HISTORY, venue(), seed=1, draws=99)
    assert found["correlation"].to_list() == pytest.approx([1.0, 1.0])
    assert found["book"].to_list() == pytest.approx(found["recorded"].to_list(), rel=1e-6)
    assert found["within_two"].to_list() == pytest.approx(
        [(recorded[f"{side}_notional"] > 0).mean() for side in ("long", "short")]
    )
    assert found["typical_factor"].to_list() == pytest.approx([1.0, 1.0], rel=1e-3)
    assert (found["lead"] >= 0).all()
    assert (found["lead_low"] <= found["lead"]).all()


def test_validate__takes_twice_the_amounts_for_twice_the_amounts() -> None:
    doubled = recorded_of(TRUE).with_columns(pl.col("long_notional", "short_notional") * 3)
    found = validate(TRUE, doubled, HISTORY, venue(), seed=1, draws=9)
    assert (found["recorded"] / found["book"]).to_list() == pytest.approx([3.0, 3.0], rel=1e-6)
    assert found["typical_factor"].to_list() == pytest.approx([3.0, 3.0], rel=1e-3)
    assert found["within_two"].to_list() == [0.0, 0.0]


def test_baselines__are_sums_over_the_hours_of_a_day() -> None:
    found = baselines(HISTORY, recorded_of(TRUE)[::2])
    bars = HISTORY.bars.filter(pl.col("time").dt.date() == date(2021, 5, 25)).to_dicts()
    row = found.filter(pl.col("time").dt.date() == date(2021, 5, 25)).row(0, named=True)
    notional = [bar["volume"] * bar["close"] for bar in bars]
    falls = [(bar["open"] - bar["low"]) / bar["open"] for bar in bars]
    rises = [(bar["high"] - bar["open"]) / bar["open"] for bar in bars]
    assert row["long_hourly_product"] == pytest.approx(np.dot(notional, falls))
    assert row["short_hourly_product"] == pytest.approx(np.dot(notional, rises))
    squared = sum(np.log(bar["close"] / bar["open"]) ** 2 for bar in bars)
    assert row["long_squared_returns"] == row["short_squared_returns"] == pytest.approx(squared)
    assert row["long_range_volume"] == pytest.approx(np.dot(notional, np.add(falls, rises)))
    yesterday = recorded_of(TRUE).filter(pl.col("time").dt.date() == date(2021, 5, 24))
    assert row["long_yesterday"] == yesterday["long_notional"][0]
    unknown = found.filter(pl.col("time").dt.date() == date(2021, 5, 26)).row(0, named=True)
    assert unknown["long_yesterday"] is None


def test_scores__rank_by_side_period_and_year() -> None:
    first, last = datetime(2020, 11, 1, tzinfo=UTC), datetime(2021, 2, 28, tzinfo=UTC)
    times = pl.datetime_range(first, last, "1d", eager=True)
    rng = np.random.default_rng(1)
    amounts = rng.exponential(1.0, times.len())
    recorded = pl.DataFrame({"time": times, "long_notional": amounts, "short_notional": amounts[::-1]})
    noise = rng.exponential(1.0, times.len())
    predicted = pl.DataFrame(
        {
            "time": times,
            "long_book": amounts * 7, "short_book": -amounts[::-1],
            "long_hourly_product": amounts * noise, "short_hourly_product": amounts[::-1],
        }
    )  # fmt: skip
    split = datetime(2021, 1, 15, tzinfo=UTC)
    found = scores(recorded, predicted, seed=1, by="year", throttled_from=split, draws=99)
    periods = found["period"].unique(maintain_order=True).to_list()
    assert periods == ["all", "unthrottled", "throttled", "2020", "2021"]
    for period, days in (("all", 120), ("unthrottled", 75), ("throttled", 45), ("2020", 61), ("2021", 59)):
        own = found.filter(period=period)
        assert own["days"].unique().to_list() == [days]
        longs = {row["predictor"]: row for row in own.filter(side="long").iter_rows(named=True)}
        book, plain = longs["book"], longs["hourly_product"]
        assert book["correlation"] == book["low"] == pytest.approx(1.0)
        assert book["lead"] == pytest.approx(1.0 - plain["correlation"])
        assert np.isnan(plain["lead"])
        assert own.filter(side="short", predictor="book")["correlation"][0] == pytest.approx(-1.0)
    whole = found.filter(period="all", side="long", predictor="hourly_product").row(0, named=True)
    plan = resampling(times, seed=1, length=timedelta(days=7), draws=99)
    joined = recorded.join(predicted, on="time")
    both = pl.corr("long_notional", "long_hourly_product", method="spearman")
    band = plan.band(plan.of_frame(joined, lambda days: days.select(both).item(), time="time"))
    expected = (band.estimate, band.low, band.high)
    assert (whole["correlation"], whole["low"], whole["high"]) == pytest.approx(expected)


def test_scores__leave_out_periods_that_are_too_short() -> None:
    recorded = recorded_of(TRUE)
    early = recorded["time"][3]
    found = scores(recorded, baselines(HISTORY), seed=1, throttled_from=early, draws=9)
    assert found["period"].unique(maintain_order=True).to_list() == ["all", "throttled"]


def test_daily_records__are_one_form_of_dates_texts_and_finer_times() -> None:
    noon = datetime(2021, 5, 19, 12, tzinfo=UTC)
    expected = {"time": [datetime(2021, 5, 19, tzinfo=UTC)], "long_notional": [3.0], "short_notional": [7.0]}
    amounts = {"long_usd": [1.0, 2.0], "short_usd": [3, 4]}
    for days in (["2021-05-19"] * 2, [date(2021, 5, 19)] * 2, [noon, noon + timedelta(hours=3)]):
        assert daily_records({"date": days, **amounts}).to_dict(as_series=False) == expected


BAD_RECORDS = {
    "recorded must have a column time or date (there are day, long_usd, short_usd)": ({"day": ["2021-05-19"]}, {}),
    "recorded: date must be dates like 2021-05-19: 1 of 2 are not, first '19 May'": (
        {"date": ["2021-05-19", "19 May"]}, {"long_usd": [1.0, 1.0], "short_usd": [1.0, 1.0]}
    ),
    "recorded: date must be dates or times in UTC, is Int64": ({"date": [3]}, {}),
    "recorded: long_usd must be finite and zero or more: 1 of 1 are not, first -1.0": (
        {"date": ["2021-05-19"]}, {"long_usd": [-1.0]}
    ),
    "recorded: short_usd must be numbers, is String": ({"date": ["2021-05-19"]}, {"short_usd": ["1"]}),
    "recorded: short_usd must be finite and zero or more: 1 of 1 are not, first None": (
        {"date": ["2021-05-19"]}, {"short_usd": pl.Series([None], dtype=pl.Float64)}
    ),
    "recorded: date must not be null: 1 of 1 are": ({"date": pl.Series([None], dtype=pl.Date)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD_RECORDS)
def test_bad_records__are_refused(sentence: str) -> None:
    days, amounts = BAD_RECORDS[sentence]
    with pytest.raises(DataError) as caught:
        daily_records({**days, "long_usd": [1.0], "short_usd": [1.0], **amounts})
    assert str(caught.value) == sentence


def test_by_day__is_what_a_sweep_loses_by_side_with_empty_days() -> None:
    outcomes = sweep(population.from_volume(HISTORY, venue(), leverage_mix=TRUE).book, HISTORY, venue())
    found = by_day(outcomes, HISTORY, name="mine")
    assert found.columns == ["time", "long_mine", "short_mine"]
    assert found.height == DAYS
    lost = (
        outcomes.filter("liquidated")
        .group_by("side")
        .agg((pl.col("fill_notional") * pl.col("surviving_weight")).sum())
    )
    for side, total in lost.rows():
        assert found[f"{side}_mine"].sum() == pytest.approx(total, rel=1e-6)


def test_bad_fits__are_refused() -> None:
    recorded = recorded_of(TRUE)
    with pytest.raises(DataError, match="a fit needs 20 recorded days or more, has 5"):
        fit(recorded[:5], HISTORY, venue(), seed=1)
    with pytest.raises(DataError, match="the bars, 2021-05-19 to 2021-06-27: 35 of 35 do not, first 2022"):
        fit(recorded.with_columns(pl.col("time").dt.offset_by("1y")), HISTORY, venue(), seed=1)
    with pytest.raises(DataError, match="bars need the column volume"):
        fit(recorded, Market(HISTORY.bars.drop("volume")), venue(), seed=1)
    with pytest.raises(DataError, match="A is an inverse contract: mixes are fitted to linear ones only"):
        fit(recorded, HISTORY, venue("inverse"), seed=1)
    with pytest.raises(ArgumentError, match="offset must be above 0, is 0"):
        fit(recorded, HISTORY, venue(), seed=1, offset=0.0)
    with pytest.raises(DataError, match="B is not in the market, which holds A"):
        fit(recorded, HISTORY, venue(), seed=1, symbol="B")
    with pytest.raises(ArgumentError, match="baseline must be one of hourly_product, squared_returns"):
        scores(recorded, baselines(HISTORY), seed=1, baseline="yesterday")
    with pytest.raises(DataError, match="have no day in common"):
        scores(recorded, baselines(traded(3)), seed=1)
