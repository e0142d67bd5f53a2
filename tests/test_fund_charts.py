"""The charts of the fund draw what they are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from backtest.chart import fund as charts
from backtest.schemas import Time
from backtest.study import insurance

START = datetime(2021, 5, 19, tzinfo=UTC)


@pytest.fixture
def fund() -> pl.DataFrame:
    times = [START + timedelta(hours=hour) for hour in range(6)]
    return pl.DataFrame(
        {
            "time": times,
            "fund": [100.0, 120.0, 60.0, 0.0, 0.0, 10.0],
            "paid_in": [0.0, 20.0, 0.0, 0.0, 0.0, 10.0],
            "paid_out": [0.0, 0.0, 60.0, 60.0, 0.0, 0.0],
        },
        schema_overrides={"time": Time},
    )


def test_fund_path__spans_the_history_and_marks_an_empty_fund(fund: pl.DataFrame) -> None:
    ax = charts.fund_path(fund, Figure().subplots())
    steps = next(part for part in ax.get_children() if isinstance(part, StepPatch))
    assert steps.get_data().values.tolist() == fund["fund"].to_list()
    assert any("empty" in text.get_text() for text in ax.texts)


def test_fund_flow__draws_in_above_and_out_below_zero(fund: pl.DataFrame) -> None:
    ax = charts.fund_flow(insurance.fund_flow(fund), Figure().subplots())
    paid_in, paid_out = [part.get_data().values for part in ax.get_children() if isinstance(part, StepPatch)]
    assert paid_in.tolist() == [0, 20, 0, 0, 0, 10]
    assert paid_out.tolist() == [0, 0, -60, -60, 0, 0]


def test_history_and_mark__differ_by_the_offset() -> None:
    times = [START + timedelta(minutes=minute) for minute in range(3)]
    bars = pl.DataFrame({"time": times, "close": [100.0, 99.0, 98.0]}, schema_overrides={"time": Time})
    impact = pl.DataFrame({"time": times, "offset": [0.0, -0.01, -0.02]}, schema_overrides={"time": Time})
    ax = charts.history_and_mark(bars, impact, Figure().subplots())
    history, mark = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(np.log(np.array(mark) / np.array(history)), [0, -0.01, -0.02])


def test_waterfall__has_a_bar_a_bearer_and_tells_gains() -> None:
    found = pl.DataFrame(
        {
            "bearer": ["margins", "fund", "backstop", "counterparties", "clawback", "nobody"],
            "amount": [100.0, -10.0, 0.0, 5.0, 2.0, 0.0],
        }
    )
    ax = charts.waterfall(found, Figure().subplots())
    assert [bar.get_width() for bar in ax.patches] == [100, -10, 0, 5, 2, 0]
    assert "gained $10" in [text.get_text() for text in ax.texts]
