"""The charts of the fund, of who bore the losses and of the moved mark draw what they are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from backtest.chart.venues import loss_waterfall, moved_mark
from backtest.chart.venues.fund import fund_figure, fund_path, paid_in, paid_out
from backtest.schemas.frames import Time
from backtest.study.fund import insurance

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
    ax = fund_path(fund, Figure().subplots())
    steps = next(part for part in ax.get_children() if isinstance(part, StepPatch))
    assert steps.get_data().values.tolist() == fund["fund"].to_list()
    assert any("empty" in text.get_text() for text in ax.texts)


def test_fund_path__marks_the_lowest_where_it_is_not_empty(fund: pl.DataFrame) -> None:
    ax = fund_path(fund.with_columns(pl.col("fund") + 5), Figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["lowest $5"]


def test_paid_in_and_drawn__have_a_scale_of_their_own_each(fund: pl.DataFrame) -> None:
    flow = insurance.fund_flow(fund)
    for draw, expected, total in (
        (paid_in, [0, 20, 0, 0, 0, 10], "$30 in total"),
        (paid_out, [0, 0, 60, 60, 0, 0], "$120 in total"),
    ):
        ax = draw(flow, Figure().subplots())
        (steps,) = (part.get_data().values for part in ax.get_children() if isinstance(part, StepPatch))
        assert steps.tolist() == expected
        assert ax.get_ylim() == pytest.approx((0, 1.15 * max(expected)))
        assert [text.get_text() for text in ax.texts] == [total]


def test_figures__are_drawn_where_nothing_flowed_or_was_lost(fund: pl.DataFrame) -> None:
    still = fund.with_columns(paid_in=pl.lit(0.0), paid_out=pl.lit(0.0), fund=pl.lit(0.0))
    window = (fund["time"][0], fund["time"][-1])
    fund_figure(still, insurance.fund_flow(still), window, title="still").canvas.draw()
    nothing = pl.DataFrame({"bearer": list(loss_waterfall.BEARERS), "amount": [0.0] * 6})
    loss_waterfall.waterfall_figure(nothing, title="nothing").canvas.draw()
    flat = pl.DataFrame(
        {"time": fund["time"], "close": 100.0, "offset": 0.0, "long_executed": 0.0, "short_executed": 0.0}
    )
    moved_mark.moved_mark_figure(flat, flat, window, title="flat").canvas.draw()


def test_history_and_mark__differ_by_the_offset() -> None:
    times = [START + timedelta(minutes=minute) for minute in range(3)]
    bars = pl.DataFrame({"time": times, "close": [100.0, 99.0, 98.0]}, schema_overrides={"time": Time})
    impact = pl.DataFrame({"time": times, "offset": [0.0, -0.01, -0.02]}, schema_overrides={"time": Time})
    ax = moved_mark.history_and_mark(bars, impact, Figure().subplots())
    history, mark = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(np.log(np.array(mark) / np.array(history)), [0, -0.01, -0.02])


def test_waterfall__has_a_bar_a_bearer_and_tells_gains() -> None:
    found = pl.DataFrame(
        {
            "bearer": ["margins", "fund", "backstop", "counterparties", "clawback", "nobody"],
            "amount": [100.0, -10.0, 0.0, 5.0, 2.0, 0.0],
        }
    )
    ax = loss_waterfall.waterfall(found, Figure().subplots())
    assert [bar.get_width() for bar in ax.patches] == [100, -10, 0, 5, 2, 0]
    assert "gained $10" in [text.get_text() for text in ax.texts]


def test_losses_as_one__are_margins_and_what_lay_beyond_them() -> None:
    found = pl.DataFrame({"bearer": ["margins", "fund", "nobody"], "amount": [96.0, -10.0, 4.0]})
    ax = loss_waterfall.losses_as_one(found, Figure().subplots())
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 96), (96, 4)]
    assert [text.get_text() for text in ax.texts] == ["holders' margins $96, 96 %", "beyond margins $4, 4 %"]


def test_offset__is_told_in_per_cent_with_its_furthest() -> None:
    times = [START + timedelta(minutes=minute) for minute in range(3)]
    impact = pl.DataFrame({"time": times, "offset": [0.0, -0.02, -0.01]}, schema_overrides={"time": Time})
    ax = moved_mark.offset(impact, Figure().subplots())
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 100 * np.expm1([0, -0.02, -0.01]))
    assert [text.get_text() for text in ax.texts] == ["\N{MINUS SIGN}1.98 %"]


def test_executed__adds_up_what_falls_into_a_bar_longs_above() -> None:
    times = [START + timedelta(minutes=minute) for minute in range(4)]
    impact = pl.DataFrame(
        {"time": times, "long_executed": [1.0, 2.0, 3.0, 4.0], "short_executed": [0.0, 0.0, 5.0, 0.0]},
        schema_overrides={"time": Time},
    )
    ax = moved_mark.executed(impact, Figure().subplots(), every="1m")
    longs, shorts = (part.get_data().values for part in ax.get_children() if isinstance(part, StepPatch))
    assert longs.tolist() == [1, 2, 3, 4]
    assert shorts.tolist() == [0, 0, -5, 0]
    (above, below) = (
        part.get_data().values
        for part in moved_mark.executed(impact, Figure().subplots(), every="5m").get_children()
        if isinstance(part, StepPatch)
    )
    assert (above.tolist(), below.tolist()) == ([10], [-5])


@pytest.mark.parametrize(("hours", "every"), [(2, "1m"), (24, "15m"), (24 * 16, "2h"), (24 * 365 * 6, "7d")])
def test_length_of__keeps_bars_few_enough_to_be_told_apart(hours: int, every: str) -> None:
    assert moved_mark.length_of((START, START + timedelta(hours=hours))) == every


@pytest.mark.parametrize(("margins", "where"), [(100.0, "left"), (1.0, "right")])
def test_losses_as_one__are_named_inside_their_bar_only_where_there_is_room(margins: float, where: str) -> None:
    found = pl.DataFrame({"bearer": ["margins", "nobody"], "amount": [margins, 60.0]})
    ax = loss_waterfall.losses_as_one(found, Figure().subplots())
    assert ax.texts[0].get_text().startswith("holders' margins")
    assert ax.texts[0].get_horizontalalignment() == where
