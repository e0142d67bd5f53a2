"""Charts of cascades: true to the frames they are given, readable at their edges, drawn on the caller's axes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from backtest.chart.liquidations.cascades import by_hour, cumulative, size_distribution, timeline
from backtest.chart.style import theme
from backtest.chart.style.time_axis import days
from backtest.schemas.frames import Time
from backtest.study.liquidations import tails
from backtest.study.liquidations.cascades import by_hour_of_day, running_totals

START = datetime(2021, 5, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)


def random_cascades(rows: int = 60, seed: int = 1, span: timedelta = timedelta(days=5)) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    starts = [START + float(part) * span for part in np.sort(rng.random(rows))]
    lengths = [timedelta(minutes=int(minutes)) for minutes in rng.integers(1, 90, rows)]
    return pl.DataFrame(
        {
            "start": starts,
            "end": [start + length for start, length in zip(starts, lengths, strict=True)],
            "notional": rng.lognormal(10, 3, rows),
            "long_share": rng.choice([0.0, 0.2, 0.99996, 1.0], rows),
        },
        schema_overrides={"start": Time, "end": Time},
    )


def random_flow(hours: int = 72, scale: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    longs, shorts = (scale * rng.lognormal(12, 2, hours).round(2) for _ in range(2))
    times = [START + HOUR * hour for hour in range(hours)]
    sides = {"long_notional": longs, "short_notional": shorts, "notional": longs + shorts}
    return pl.DataFrame({"time": times, **sides}, schema_overrides={"time": Time})


def axes(size: tuple[float, float] = (8, 5)) -> Axes:
    return Figure(figsize=size).add_subplot()


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_timeline__marks_start_and_notional_in_the_colour_of_the_side() -> None:
    cascades, ax = random_cascades(), axes()
    assert timeline(cascades, ax) is ax
    marks = [collection for collection in ax.collections if isinstance(collection, PathCollection)]
    sides = {"long": pl.col("long_share") >= 0.5, "short": pl.col("long_share") < 0.5}
    for (side, chosen), drawn in zip(sides.items(), marks, strict=True):
        its_own = cascades.filter(chosen)
        starts, sizes = np.array(drawn.get_offsets()).T
        assert starts == pytest.approx([days(start) for start in its_own["start"]])
        assert sizes == pytest.approx(its_own["notional"].to_numpy())
        assert to_hex(drawn.get_facecolor()[0]).upper() == theme.SIDE_COLOURS[side]
    assert ax.get_yscale() == "log"


def test_timeline__draws_lines_from_start_to_end() -> None:
    cascades, ax = random_cascades().with_columns(long_share=pl.lit(1.0)), axes()
    timeline(cascades, ax)
    lines = np.array(ax.collections[0].get_segments())
    assert lines[:, :, 0] == pytest.approx(np.array([[days(time) for time in row] for row in spans(cascades)]))


def spans(cascades: pl.DataFrame) -> list[tuple[datetime, datetime]]:
    return cascades.select("start", "end").rows()


def test_timeline__names_the_largest() -> None:
    cascades = random_cascades().with_columns(
        notional=pl.when(pl.int_range(pl.len()) == 7).then(9.5e8).otherwise("notional"),
        long_share=pl.when(pl.int_range(pl.len()) == 7).then(0.99996).otherwise("long_share"),
    )
    start = cascades["start"][7]
    assert f"$950 m, {start.day} May 2021 {start:%H:%M} UTC, 99 % longs" in texts(timeline(cascades, axes()))


def test_timeline__of_none_says_so() -> None:
    ax = timeline(random_cascades().clear(), axes())
    assert "no cascades" in texts(ax)


def test_cumulative__starts_at_nothing_and_ends_at_the_totals() -> None:
    totals, ax = running_totals(random_flow()), axes()
    assert cumulative(totals, ax) is ax
    for side, line in zip(theme.SIDE_COLOURS, ax.lines, strict=True):
        assert line.get_color() == theme.SIDE_COLOURS[side]
        assert line.get_ydata()[0] == 0
        assert line.get_ydata()[1:] == pytest.approx(totals[f"{side}_notional"].to_numpy())
        assert line.get_xdata()[[0, -1]] == pytest.approx([days(START), days(START + 72 * HOUR)])
    assert ax.get_ylim()[1] > totals.select(pl.max_horizontal("long_notional", "short_notional").max()).item()


def test_size_distribution__draws_the_shares_and_the_fitted_line() -> None:
    sizes = pl.Series(1e5 * (np.random.default_rng(3).pareto(1.2, 500) + 1))
    tail, observed, ax = tails.hill(sizes, 3e5), tails.exceedance(sizes), axes()
    assert size_distribution(observed, ax, tail=tail) is ax
    dots, line = ax.lines
    assert dots.get_xdata() == pytest.approx(observed["size"].to_numpy())
    assert dots.get_ydata() == pytest.approx(observed["share"].to_numpy())
    assert line.get_xdata() == pytest.approx([3e5, sizes.max()])
    assert line.get_ydata() == pytest.approx(tail.exceedance(line.get_xdata()))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    (written,) = texts(ax)
    assert f"{tail.exponent:.2f} ± {tail.standard_error:.2f}" in written
    assert "from $300 k on" in written


def test_size_distribution__labels_of_two_runs_do_not_overlap() -> None:
    ax = axes()
    for label, exponent, colour in (("history", 1.2, theme.INK), ("capped", 1.6, theme.MUTED)):
        sizes = pl.Series(1e5 * (np.random.default_rng(3).pareto(exponent, 500) + 1))
        tail = tails.hill(sizes, 3e5)
        size_distribution(tails.exceedance(sizes), ax, tail=tail, label=label, colour=colour)
    ax.figure.canvas.draw()
    first, second = (text.get_window_extent() for text in ax.texts)
    assert first.y1 <= second.y0
    assert [text.split("\n")[0] for text in texts(ax)] == ["history", "capped"]


def test_by_hour__draws_longs_up_and_shorts_down() -> None:
    hours, ax = by_hour_of_day(random_flow()), axes()
    assert by_hour(hours, ax) is ax
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[:24] == pytest.approx(hours["long_notional"].to_list())
    assert heights[24:] == pytest.approx((-hours["short_notional"]).to_list())
    assert [bar.get_x() for bar in ax.patches[:24]] == list(range(24))
    assert "mean of 3 days" in ax.get_xlabel()


def seen(axis: Axis) -> list[Text]:
    """Return the labels of the ticks between the ends of an axis."""
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
    return [label for at, label in ticks if low <= at <= high]


def all_panels(ax: list[Axes], currency: str = "USDT") -> None:
    sizes = pl.Series(1e5 * (np.random.default_rng(3).pareto(1.2, 500) + 1))
    timeline(random_cascades(), ax[0], currency=currency)
    cumulative(running_totals(random_flow()), ax[1], currency=currency)
    size_distribution(tails.exceedance(sizes), ax[2], tail=tails.fit(sizes), currency=currency)
    by_hour(by_hour_of_day(random_flow()), ax[3], currency=currency)


def test_every_panel__says_its_unit() -> None:
    panels = [axes() for _ in range(4)]
    all_panels(panels, currency="BTC")
    titles = [f"{ax.get_title(loc='left')} {ax.get_xlabel()}" for ax in panels]
    assert all("BTC" in title for title in titles), titles


def test_every_panel__leaves_global_settings_alone() -> None:
    before = dict(rcParams)
    all_panels([axes() for _ in range(4)])
    assert dict(rcParams) == before


@pytest.mark.parametrize("size", [(10.0, 6.25), (5.0, 4.0)])
def test_every_panel__is_drawn_whole(size: tuple[float, float]) -> None:
    panels = []
    for _ in range(4):
        figure = Figure(figsize=size, dpi=theme.DPI)
        panels += theme.stacked_panels(
            figure, heights=[1.0], title="Cascades", subtitle="of May", notes=["a note"]
        )
    all_panels(panels)
    for ax in panels:
        frame = ax.figure.bbox
        ax.figure.canvas.draw()
        for text in (*ax.texts, *seen(ax.xaxis), *seen(ax.yaxis)):
            box = text.get_window_extent()
            assert box.x0 >= frame.x0 - 1, text
            assert box.x1 <= frame.x1 + 1, text
            assert box.y0 >= frame.y0 - 1, text
            assert box.y1 <= frame.y1 + 1, text


@pytest.mark.parametrize("size", [(10.0, 6.25), (5.0, 4.0), (4.0, 2.8)])
def test_every_panel__keeps_its_words_apart(size: tuple[float, float]) -> None:
    panels = [Figure(figsize=size, dpi=110, layout="constrained").add_subplot() for _ in range(4)]
    all_panels(panels)
    for ax in panels:
        ax.figure.canvas.draw()
        for tick in seen(ax.xaxis):
            tick.set_text(tick.get_text().partition("\n")[0])  # the second lines are mostly empty
        names = [text for text in ax.texts if text.get_text() in ("longs", "shorts")]
        for beside in (seen(ax.xaxis), [ax._left_title, *names]):
            boxes = [text.get_window_extent() for text in beside]
            for one, other in combinations(boxes, 2):
                assert not one.overlaps(other), [text.get_text() for text in beside]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: timeline(random_cascades(1), ax),
        lambda ax: timeline(random_cascades(500, span=timedelta(days=900)), ax),
        lambda ax: timeline(random_cascades(20, span=timedelta(hours=2)), ax),
        lambda ax: cumulative(running_totals(random_flow(1)), ax),
        lambda ax: cumulative(running_totals(random_flow(scale=0.0)), ax),
        lambda ax: size_distribution(tails.exceedance(pl.Series([5.0])), ax),
        lambda ax: size_distribution(tails.exceedance(pl.Series([1.0, 1e15])), ax),
        lambda ax: by_hour(by_hour_of_day(random_flow(3)), ax),
        lambda ax: by_hour(by_hour_of_day(random_flow(scale=0.0)), ax),
    ],
)
def test_every_panel__is_drawn_at_its_edges(draw) -> None:
    ax = axes()
    draw(ax)
    ax.figure.canvas.draw()
    assert ax.get_title(loc="left")


@pytest.mark.parametrize("sizes", [[2.1e5, 2.4e5, 8e5], [1.0, 30.0, 4e3], [1.0, 1e12]])
def test_log_axes__have_ticks_however_close_or_far_the_sizes_are(sizes: list[float]) -> None:
    ax = size_distribution(tails.exceedance(pl.Series(sizes)), axes())
    ax.figure.canvas.draw()
    assert 2 <= len(seen(ax.xaxis)) <= 8
