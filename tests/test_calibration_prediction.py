"""Predictive distributions of days, and how often they hold what is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from test_calibration import HISTORY, TRUE, recorded_of
from test_standing import venue

from backtest.errors import ArgumentError, DataError
from backtest.study.calibration import coverage, fit, predict

RECORDED = recorded_of(TRUE)


def noisy(spread: float, seed: int = 1) -> pl.DataFrame:
    """Return the records with lognormal noise on each day and side."""
    noise = np.exp(np.random.default_rng(seed).normal(0, spread, (RECORDED.height, 2)))
    return RECORDED.with_columns(
        long_notional=pl.col("long_notional") * noise[:, 0], short_notional=pl.col("short_notional") * noise[:, 1]
    )


@pytest.fixture(scope="module")
def fitted():
    return fit(noisy(0.3), HISTORY, venue(), seed=1, draws=49, offset=1.0)


def test_bands__are_as_wide_as_the_residuals_of_the_fit_and_hold_as_many_days(fitted) -> None:
    days = RECORDED["time"].to_list()
    found = predict([fitted], days, HISTORY, venue(), seed=1, inside=0.8)
    assert found.columns == ["time", "side", "median", "low", "high", "rank"]
    assert found.height == 2 * len(days)
    assert (found["low"] <= found["median"]).all()
    assert (found["median"] <= found["high"]).all()
    heavy = found.filter(pl.col("median") > 100_000)
    width = np.log(heavy["high"] / heavy["low"])
    assert np.median(width) == pytest.approx(2 * 1.2816 * 0.3, rel=0.3)
    held = coverage(found, noisy(0.3, seed=2), seed=1)
    assert held["days"].to_list() == [35, 35]
    for row in held.iter_rows(named=True):
        assert row["low"] <= row["inside"] <= row["high"]
        assert row["inside"] + row["below"] + row["above"] == pytest.approx(1.0)
        assert 0.55 < row["inside"] <= 1.0
    for side in ("long", "short"):
        own = found.filter(side=side)
        assert own["rank"].to_list() == own["median"].rank("min", descending=True).to_list()


def test_several_fits__are_drawn_from_alike(fitted) -> None:
    days = RECORDED["time"].to_list()
    other = fit(noisy(0.3), HISTORY, venue(), seed=1, draws=49, offset=1.0, opening_share=0.1)
    assert other.law.opening_share == 0.1
    one, both = (
        predict(fits, days, HISTORY, venue(), seed=1).filter(pl.col("median") > 100_000)
        for fits in ([fitted], [fitted, other])
    )
    assert np.median(both["high"] / both["low"]) > 0.9 * np.median(one["high"] / one["low"])


def test_amounts__are_not_claimed_of_throttled_days(fitted) -> None:
    cut = RECORDED["time"][20]
    found = predict([fitted], RECORDED["time"].to_list(), HISTORY, venue(), seed=1, throttled_from=cut)
    later = found.filter(pl.col("time") >= cut)
    assert later.select(pl.col("median", "low", "high").null_count()).row(0) == (later.height,) * 3
    assert later["rank"].null_count() == 0
    assert found.filter(pl.col("time") < cut)["median"].null_count() == 0
    assert coverage(found, RECORDED, seed=1)["days"].to_list() == [20, 20]


def test_coverage__is_counted_by_plain_comparison() -> None:
    times = pl.datetime_range(
        datetime(2021, 1, 4, tzinfo=UTC), datetime(2021, 1, 31, tzinfo=UTC), "1d", eager=True
    )
    amounts = np.arange(28.0)
    recorded = pl.DataFrame({"time": times, "long_notional": amounts, "short_notional": amounts})
    bands = pl.DataFrame({"time": times, "side": "long", "median": 10.0, "low": 5.0, "high": 20.0})
    row = coverage(bands, recorded, seed=1).row(0, named=True)
    assert (row["inside"], row["below"], row["above"]) == pytest.approx((16 / 28, 5 / 28, 7 / 28))
    assert row["effective_blocks"] == pytest.approx(28**2 / (3**2 + 3 * 7**2 + 4**2))
    assert 0 <= row["low"] < row["inside"] < row["high"] <= 1


def test_bad_predictions__are_refused(fitted) -> None:
    days = RECORDED["time"].to_list()
    with pytest.raises(ArgumentError, match="fits must hold one or more"):
        predict([], days, HISTORY, venue(), seed=1)
    with pytest.raises(ArgumentError, match=r"inside must lie between 0 and 1, is 1\.0"):
        predict([fitted], days, HISTORY, venue(), seed=1, inside=1.0)
    with pytest.raises(ArgumentError, match="days must be starts of days, rising, each once"):
        predict([fitted], [days[0], days[0]], HISTORY, venue(), seed=1)
    with pytest.raises(DataError, match="must lie within the bars"):
        predict([fitted], [days[0] + timedelta(days=900)], HISTORY, venue(), seed=1)
    late, found = (
        RECORDED.with_columns(pl.col("time").dt.offset_by("1y")),
        predict([fitted], days, HISTORY, venue(), seed=1),
    )
    with pytest.raises(DataError, match="no day in common"):
        coverage(found, late, seed=1)
