"""The insurance fund's path and size, and who bore what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.errors import ArgumentError
from backtest.schemas.frames import Time
from backtest.study.fund import insurance

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2021, 5, 1, tzinfo=UTC)


def fund(*moves: tuple[float, float, float]) -> pl.DataFrame:
    """Return a fund of 100 from hours, amounts in and amounts out."""
    hours, paid_in, paid_out = zip(*moves, strict=True)
    left = 100 + np.cumsum(np.array(paid_in) - np.array(paid_out))
    return pl.DataFrame(
        {"time": [START + hour * HOUR for hour in hours], "fund": left, "paid_in": paid_in, "paid_out": paid_out},
        schema_overrides={"time": Time, "paid_in": pl.Float64, "paid_out": pl.Float64},
    )


def hourly(values: list[float]) -> pl.DataFrame:
    times = [START + hour * HOUR for hour in range(len(values))]
    return pl.DataFrame({"time": times, "flow": values}, schema_overrides={"time": Time, "flow": pl.Float64})


def test_fund_flow__holds_every_interval() -> None:
    flow = insurance.fund_flow(fund((0, 5, 0), (3, 0, 20), (3.5, 1, 0)))
    assert flow["flow"].to_list() == [5, 0, 0, -19]


def test_drawdown__counts_from_the_highest_so_far() -> None:
    path = insurance.drawdown(fund((0, 10, 0), (1, 0, 30), (2, 50, 0)))
    assert path["drawdown"].to_list() == [0, 30, 0]


def test_drawdown__counts_from_what_the_fund_began_with() -> None:
    path = insurance.drawdown(fund((0, 0, 40), (1, 10, 0), (2, 50, 0)))
    assert path["highest"].to_list() == [100, 100, 120]
    assert path["drawdown"].to_list() == [40, 30, 0]


def test_need__is_how_far_the_running_sum_falls() -> None:
    assert insurance.need(np.array([3.0, -5.0, -1.0, 10.0])) == 3
    assert insurance.need(np.array([1.0, 2.0])) == 0


def test_need__counts_no_rounding() -> None:
    assert insurance.need(np.array([0.3, -0.1, -0.2])) == 0.0
    assert insurance.need(np.array([1e9, -1e9, -1e-2])) == pytest.approx(1e-2)


def test_fund_size__of_a_steady_drain_is_the_drain() -> None:
    size = insurance.fund_size(hourly([-2.0] * 240), horizon=DAY, confidence=0.9)
    assert (size.rolling, size.bootstrap, size.low, size.high, size.worst) == (48, 48, 48, 48, 48)
    assert size.windows == 217
    assert size.independent == 10


def test_fund_size__grows_with_confidence_and_repeats_with_its_seed() -> None:
    rng = np.random.default_rng(1)
    flow = hourly(list(rng.normal(0.1, 5, 600)))
    one, other = (insurance.fund_size(flow, horizon=2 * DAY, confidence=p, seed=3) for p in (0.9, 0.99))
    assert one.rolling < other.rolling <= other.worst
    assert one.bootstrap < other.bootstrap
    assert one == insurance.fund_size(flow, horizon=2 * DAY, confidence=0.9, seed=3)


def test_fund_size__refuses_what_the_history_does_not_hold() -> None:
    with pytest.raises(ArgumentError, match="confidence"):
        insurance.fund_size(hourly([1.0] * 48), horizon=DAY, confidence=1.0)
    with pytest.raises(ArgumentError, match="within the history"):
        insurance.fund_size(hourly([1.0] * 48), horizon=3 * DAY)
    with pytest.raises(ArgumentError, match="whole intervals"):
        insurance.fund_size(hourly([1.0] * 48), horizon=timedelta(hours=24, minutes=20))
    with pytest.raises(ArgumentError, match="whole intervals"):
        insurance.fund_size(hourly([1.0] * 48), horizon=DAY, block=timedelta(minutes=90))
    with pytest.raises(ArgumentError, match="at least two"):
        insurance.fund_size(hourly([1.0]), horizon=DAY)


def test_cover__adds_up_the_holders_that_cost_most() -> None:
    outcomes = pl.DataFrame({"position_id": [1, 2, 3], "account_id": [7, 7, 8], "fund_effect": [-5.0, -6.0, 4.0]})
    assert insurance.cover(outcomes) == 6
    assert insurance.cover(outcomes, largest=2) == 11
    assert insurance.cover(outcomes, by="account_id") == 11
    with pytest.raises(ArgumentError, match="column"):
        insurance.cover(outcomes, by="trader")


def test_adequacy__compares_the_fund_at_its_start() -> None:
    outcomes = pl.DataFrame({"position_id": [1, 2], "fund_effect": [-20.0, 5.0]})
    found = insurance.fund_adequacy(fund((0, 5, 0), (3, 0, 25)), outcomes, open_interest=1_000.0).row(
        0, named=True
    )
    assert found["fund"] == 100
    assert found["over_open_interest"] == 0.1
    assert found["worst_day"] == 20
    assert found["over_worst_day"] == 5
    assert (found["cover_1"], found["cover_2"]) == (20, 20)
