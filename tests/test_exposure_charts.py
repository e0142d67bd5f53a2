"""Charts of exposure: true to the frames they are given, one panel, whole at every size."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from backtest.chart.liquidations import exposure
from backtest.chart.style import theme
from backtest.chart.style.time_axis import days

START = datetime(2021, 5, 19, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("ms", "UTC")
SIZES = [(10.0, 6.25), (5.0, 7.0), (16.0, 9.0)]


def risk_curve(moves=(0.05, 0.1, 0.2, 0.3)) -> pl.DataFrame:
    shares = np.linspace(0.01, 0.4, len(moves))
    return pl.DataFrame({"move": moves, "long_share": shares, "short_share": shares / 2})


def imbalances(rows: int = 48) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    values = [None if row % 5 == 0 else float(rng.uniform(-1, 1)) for row in range(rows)]
    times = [START + HOUR * row for row in range(rows)]
    notional = [0.0 if value is None else rng.lognormal(10, 2) for value in values]
    return pl.DataFrame(
        {"time": times, "imbalance": values, "notional": notional}, schema_overrides={"time": TIME}
    )


def visible_shares() -> pl.DataFrame:
    rates = np.geomspace(0.01, 100, 50)
    uniform = -np.expm1(-rates) / rates
    return pl.DataFrame({"rate": rates, "uniform": uniform, "clustered": 0.2 * uniform})


def price_paths(rows: int = 48, *, rising: bool = False) -> pl.DataFrame:
    history = np.linspace(30_000, 40_000, rows) if rising else np.linspace(40_000, 30_000, rows)
    times = [START + HOUR * row for row in range(rows)]
    removed = {f"{points} bp a million": history * (1 + points * 0.02) for points in (1, 5, 2)}
    return pl.DataFrame({"time": times, "history": history, **removed}, schema_overrides={"time": TIME})


def axes(size=theme.SIZE):
    return theme.stacked_panels(Figure(figsize=size), heights=(1.0,), title="Exposure", notes=("a note",))[0]


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_at_risk__draws_falls_to_the_left_and_rises_to_the_right():
    curve, ax = risk_curve(), axes()
    assert exposure.at_risk(curve, ax) is ax
    lines = [line for line in ax.lines if len(line.get_xdata()) == curve.height + 1]
    for line, sign, side in zip(lines, (-1, 1), ("long", "short"), strict=True):
        assert list(line.get_xdata()[1:]) == pytest.approx([sign * move for move in curve["move"]])
        assert list(line.get_ydata()[1:]) == pytest.approx(curve[f"{side}_share"].to_list())
        assert line.get_color() == theme.SIDE_COLOURS[side]
        assert line.get_ydata()[0] == 0


def test_at_risk__writes_the_shares_of_marked_moves():
    ax = exposure.at_risk(risk_curve(), axes(), marked=(0.1, 0.25))
    assert {"14 %", "7 %"} <= set(texts(ax))
    assert len([text for text in texts(ax) if text.endswith("%")]) == 2


def test_imbalance__is_drawn_in_the_colour_of_the_side_and_empty_intervals_are_background():
    frame, ax = imbalances(), axes()
    assert exposure.imbalance(frame, ax) is ax
    collection = ax.collections[0]
    there = frame.drop_nulls("imbalance")
    paths, colours = collection.get_paths(), collection.get_facecolors()
    assert len(paths) == there.height
    for row, path, colour in zip(there.iter_rows(named=True), paths, colours, strict=True):
        tip = max(path.vertices[:, 1], key=abs)
        assert tip == pytest.approx(row["imbalance"])
        assert path.vertices[:, 0].min() == pytest.approx(days(row["time"]))
        assert tuple(colour[:3]) == to_rgba(theme.SIDE_COLOURS["long" if row["imbalance"] >= 0 else "short"])[:3]
    darkest = int(np.argmax(colours[:, 3]))
    assert darkest == there["notional"].arg_max()
    assert colours[darkest, 3] == pytest.approx(1)


def test_imbalance__of_nothing_liquidated_is_an_empty_panel():
    frame = imbalances().with_columns(imbalance=pl.lit(None, pl.Float64), notional=0.0)
    assert len(exposure.imbalance(frame, axes()).collections[0].get_paths()) == 0


def test_throttle__draws_each_way_of_arriving_and_marks_what_was_published():
    curve, ax = visible_shares(), axes()
    implied = {"uniform": 6.28, "clustered": 3.7}
    assert exposure.throttle(curve, ax, published=0.159, source="on Bybit", implied=implied) is ax
    assert list(ax.lines[0].get_ydata()) == pytest.approx(curve["uniform"].to_list())
    assert list(ax.lines[1].get_ydata()) == pytest.approx(curve["clustered"].to_list())
    assert {"uniform", "clustered", "15.9 % on Bybit", "6.28 a second", "3.7 a second"} == set(texts(ax))
    assert ax.get_xscale() == "log"


def test_throttle__needs_no_published_share():
    assert set(texts(exposure.throttle(visible_shares(), axes()))) == {"uniform", "clustered"}


def test_removed_paths__range_spans_every_impact_and_the_history_stands_out():
    paths, ax = price_paths(), axes()
    assert exposure.removed_paths(paths, ax, unit="USDT") is ax
    outline = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert outline.max() == pytest.approx(paths["5 bp a million"].max())
    assert outline.min() == pytest.approx(paths["1 bp a million"].min())
    assert [line.get_label() for line in ax.lines] == [
        "5 bp a million",
        "2 bp a million",
        "1 bp a million",
        "history",
    ]
    assert list(ax.lines[-1].get_ydata()) == paths["history"].to_list()


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("size", [(10.0, 6.25), (5.0, 3.4)])
def test_removed_paths__legend_lies_below_every_line(rising, size):
    paths = price_paths(rising=rising)
    ax = exposure.removed_paths(paths, Figure(figsize=size).add_subplot())
    ax.figure.draw_without_rendering()
    lowest = paths.select(pl.min_horizontal(pl.exclude("time")).min()).item()
    assert ax.get_legend().get_window_extent().y1 <= ax.transData.transform((0.0, lowest))[1]


@pytest.mark.parametrize("size", SIZES)
def test_every_chart__is_drawn_whole_and_names_its_units(size):
    before = dict(rcParams)
    drawn = [
        exposure.at_risk(risk_curve(), axes(size)),
        exposure.imbalance(imbalances(), axes(size)),
        exposure.throttle(visible_shares(), axes(size), published=0.159, source="seen", implied={"uniform": 6.3}),
        exposure.removed_paths(price_paths(), axes(size), unit="USDT"),
        exposure.removed_paths(price_paths(1), axes(size)),
        exposure.imbalance(imbalances(1), axes(size)),
    ]
    for ax in drawn:
        figure = ax.figure
        figure.draw_without_rendering()
        assert ax.get_title(loc="left")
        drawn_in, frame = ax.get_tightbbox(), figure.bbox
        assert frame.x0 - 1 <= drawn_in.x0 < drawn_in.x1 <= frame.x1 + 1, ax.get_title(loc="left")
        assert frame.y0 - 1 <= drawn_in.y0 < drawn_in.y1 <= frame.y1 + 1, ax.get_title(loc="left")
    assert dict(rcParams) == before
