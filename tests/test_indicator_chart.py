"""The chart of indicators: every number of the frame where it belongs, readable at any size."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from backtest.chart.liquidations.indicators import areas
from backtest.chart.style import theme

NAN = float("nan")
AREAS = {"funding": (0.48, 0.42, 0.55), "crowding": (0.71, 0.66, 0.75), "at risk": (0.80, 0.77, 0.84)}
DIFFERENCES = {"funding": (-0.17, -0.24, -0.10), "crowding": (0.06, -0.01, 0.12), "at risk": (0.15, 0.11, 0.19)}


def scores(**columns: object) -> pl.DataFrame:
    rows = [
        {
            "indicator": name,
            **dict(zip(("area", "area_low", "area_high"), AREAS[name], strict=True)),
            "baseline": "realised volatility",
            "baseline_area": 0.65,
            "baseline_area_low": 0.61,
            "baseline_area_high": 0.68,
            **dict(zip(("difference", "difference_low", "difference_high"), DIFFERENCES[name], strict=True)),
            "quantile": 0.95,
            "horizon": timedelta(hours=1),
            "confidence": 0.95,
        }
        for name in AREAS
    ]
    return pl.DataFrame(rows).with_columns(pl.lit(value).alias(name) for name, value in columns.items())


def drawn(frame: pl.DataFrame, size: tuple[float, float] = theme.SIZE) -> Axes:
    figure = Figure(figsize=size, dpi=100)
    ax = areas(frame, figure.add_axes((0.05, 0.1, 0.9, 0.8)))
    figure.canvas.draw()
    return ax


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def dots(ax: Axes) -> list[Line2D]:
    return [line for line in ax.lines if line.get_marker() == "o"]


def test_areas__draw_on_the_axes_they_are_given():
    ax = Figure().add_subplot()
    before = dict(rcParams)
    assert areas(scores(), ax) is ax
    assert dict(rcParams) == before


def test_areas__stand_in_order_the_best_on_top_with_their_bands():
    ax = drawn(scores())
    placed = [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots(ax)]
    assert placed == [(0.48, 0), (0.71, 1), (0.80, 2)]
    segments = [
        segment for lines in ax.collections if hasattr(lines, "get_segments") for segment in lines.get_segments()
    ]
    level = sorted((a[1], a[0], b[0]) for a, b in segments if a[1] == b[1])
    assert level == [(0, 0.42, 0.55), (1, 0.66, 0.75), (2, 0.77, 0.84)]


def test_areas__run_the_baseline_and_one_half_through_all_rows():
    ax = drawn(scores())
    segments = [
        segment for lines in ax.collections if hasattr(lines, "get_segments") for segment in lines.get_segments()
    ]
    upright = {a[0] for a, b in segments if a[0] == b[0] and b[1] - a[1] > 2}
    assert {0.65, 0.5} <= upright
    assert "realised volatility: 0.650" in texts(ax)
    assert "no information" in texts(ax)


def test_areas__write_the_difference_with_its_band():
    ax = drawn(scores())
    assert "+0.150 (+0.110 to +0.190)" in texts(ax)
    assert "\N{MINUS SIGN}0.170 (\N{MINUS SIGN}0.240 to \N{MINUS SIGN}0.100)" in texts(ax)
    assert "difference (95 % band)" in texts(ax)


def test_areas__a_dot_is_full_where_the_band_of_the_difference_leaves_out_zero():
    faces = [to_hex(dot.get_markerfacecolor()).upper() for dot in dots(drawn(scores()))]
    assert faces == [theme.INK, theme.PAPER, theme.INK]


@pytest.mark.parametrize(
    ("horizon", "title"),
    [
        (timedelta(hours=1), "Area under the curve: next hour's liquidations above their 95 % quantile"),
        (timedelta(days=1), "Area under the curve: next day's liquidations above their 95 % quantile"),
        (timedelta(minutes=15), "Area under the curve: next 15 minutes' liquidations above their 95 % quantile"),
    ],
)
def test_areas__say_what_is_foretold(horizon, title):
    assert drawn(scores(horizon=horizon)).get_title(loc="left") == title


def test_areas__without_bands_say_so():
    unknown = {name: NAN for name in scores().columns if name.endswith(("_low", "_high"))}
    ax = drawn(scores(**unknown))
    assert "+0.150 (no band)" in texts(ax)
    assert {to_hex(dot.get_markerfacecolor()).upper() for dot in dots(ax)} == {theme.PAPER}


@pytest.mark.parametrize("count", [1, 3, 14])
@pytest.mark.parametrize("size", [(10.0, 6.25), (7.0, 6.0), (5.0, 6.0), (16.0, 9.0)])
def test_areas__words_stay_inside_and_clear_of_the_bands(count, size):
    frame = (
        pl.concat([scores()] * 5)
        .head(count)
        .with_columns(indicator=pl.format("liquidation at risk {}", pl.int_range(pl.len())))
    )
    ax = drawn(frame, size)
    frame_box = ax.figure.bbox
    bands = frame["area_low"].min(), max(frame["area_high"].max(), 0.68)  # the baseline's ends there
    left, right = ax.transData.transform([(x, 0) for x in bands])[:, 0]
    rows = [text for text in ax.texts if "at risk" in text.get_text() or "to" in text.get_text()]
    for text in ax.texts:
        box = text.get_window_extent()
        assert frame_box.x0 <= box.x0, text
        assert box.x1 <= frame_box.x1, text
        assert ax.bbox.y0 <= box.y0, text
    for text in rows:
        box = text.get_window_extent()
        assert box.x1 < left or box.x0 > right, text
    names = sorted(text.get_window_extent().y0 for text in rows if "at risk" in text.get_text())
    assert all(above - below > 10 for below, above in pairwise(names))


def test_areas__ticks_are_where_the_dots_are():
    ax = drawn(scores())
    ticks = list(ax.get_xticks())
    assert 3 <= len(ticks) <= 12
    assert min(ticks) >= 0.4
    assert max(ticks) <= 0.86


def test_areas__on_narrow_axes_leave_the_bands_of_differences_out():
    told = texts(drawn(scores(), (3.6, 3.0)))
    assert {"+0.150", "+0.060", "\N{MINUS SIGN}0.170", "difference"} <= set(told)
