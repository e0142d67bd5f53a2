"""Charts: drawn on the caller's axes, true to the frames they are given, readable at their edges."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from backtest import amounts
from backtest.chart.liquidations.cascade_figures import (
    annotate_heaviest,
    cascade,
    liquidations,
    mark_price,
    missing,
)
from backtest.chart.style import theme
from backtest.chart.style.time_axis import days, tick_labels, time_axis, time_ticks

START = datetime(2021, 5, 19, tzinfo=UTC)
HOUR = timedelta(hours=1)


def random_flow(rows: int = 24, long: float = 1.0, short: float = 0.3, step: timedelta = HOUR) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    sides = {
        f"{side}_notional": rng.lognormal(15, 2, rows) * size for side, size in (("long", long), ("short", short))
    }
    frame = pl.DataFrame({"time": [START + step * n for n in range(rows)], **sides})
    frame = frame.with_columns(notional=pl.col("long_notional") + pl.col("short_notional"))
    return frame.with_columns(
        (pl.col(f"{part}notional") / 1e10).alias(f"{part}share") for part in ("long_", "short_", "")
    ).with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC")))


def random_bars(rows: int = 24, step: timedelta = HOUR) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    path = 40_000 * np.exp(np.cumsum(rng.normal(0, 0.01, rows + 1)))
    opening, close = path[:-1], path[1:]
    return pl.DataFrame(
        {
            "time": [START + step * n for n in range(rows)],
            "open": opening,
            "high": np.maximum(opening, close) * 1.01,
            "low": np.minimum(opening, close) * 0.99,
            "close": close,
        }
    )


def axes():
    return Figure().add_subplot()


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("measure", ["notional", "share"])
def test_liquidations__heights_are_the_flow_longs_up_and_shorts_down(measure):
    flow, ax = random_flow(), axes()
    assert liquidations(flow, ax, measure=measure) is ax
    longs, shorts = (patch.get_data() for patch in ax.patches)
    assert longs.values == pytest.approx(flow[f"long_{measure}"].to_numpy())
    assert shorts.values == pytest.approx(-flow[f"short_{measure}"].to_numpy())
    assert longs.edges == pytest.approx([days(START + HOUR * n) for n in range(25)])


def test_liquidations__show_every_bar_whole():
    flow, ax = random_flow(), axes()
    liquidations(flow, ax)
    low, high = ax.get_ylim()
    assert low < -flow["short_notional"].max()
    assert high > flow["long_notional"].max()


def test_liquidations__each_side_has_its_own_colour():
    ax = liquidations(random_flow(), axes())
    faces = [patch.get_facecolor() for patch in ax.patches]
    assert faces == [pytest.approx(rgba(colour)) for colour in theme.SIDE_COLOURS.values()]


def rgba(colour: str) -> tuple[float, ...]:
    return (*(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)), 1.0)


def test_liquidations__of_nothing_say_so():
    ax = liquidations(random_flow(long=0, short=0), axes())
    assert "no liquidations" in texts(ax)
    assert list(ax.get_yticks()) == [0]


def test_liquidations__name_the_interval_and_the_unit():
    assert liquidations(random_flow(), axes()).get_title(loc="left") == "Liquidated per hour, $"
    daily = random_flow(step=timedelta(days=1))
    assert (
        liquidations(daily, axes(), measure="share").get_title(loc="left") == "Liquidated per day, % of the book"
    )
    assert liquidations(daily, axes(), currency="BTC").get_title(loc="left") == "Liquidated per day, BTC"


def test_mark_price__is_drawn_from_open_to_close_with_the_range_behind_it():
    bars, ax = random_bars(), axes()
    assert mark_price(bars, ax, unit="USDT") is ax
    drawn = ax.lines[0].get_ydata()
    assert list(drawn) == pytest.approx(bars.select("open", "close").to_numpy().ravel())
    outline = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert outline.min() == pytest.approx(bars["low"].min())
    assert outline.max() == pytest.approx(bars["high"].max())
    assert ax.get_title(loc="left") == "Mark price, USDT"


def test_mark_price__breaks_where_bars_are_missing():
    bars = random_bars().filter(~pl.col("time").is_between(START + 5 * HOUR, START + 8 * HOUR))
    drawn = mark_price(bars, axes()).lines[0].get_ydata()
    assert list(np.flatnonzero(np.isnan(drawn))) == [10, 11]


@pytest.mark.parametrize(("last", "scale"), [(60_000.0, "linear"), (400_000.0, "log")])
def test_mark_price__is_logarithmic_only_over_a_wide_range(last, scale):
    bars = random_bars().with_columns(high=pl.Series([*random_bars()["high"][:-1], last]))
    assert mark_price(bars, axes()).get_yscale() == scale


def test_annotate_heaviest__writes_amount_time_and_side():
    flow = random_flow()
    ax = annotate_heaviest(flow, liquidations(flow, axes()))
    row = flow.sort("notional").row(-1, named=True)
    longer = "longs" if row["long_notional"] >= row["short_notional"] else "shorts"
    written = texts(ax)[-1]
    assert amounts.amount(row["notional"]) in written
    assert f"19 May 2021 {row['time']:%H:%M} UTC" in written
    assert written.endswith(longer)


def test_annotate_heaviest__of_nothing_writes_nothing():
    flow = random_flow(long=0, short=0)
    ax = liquidations(flow, axes())
    assert texts(annotate_heaviest(flow, ax)) == texts(ax)


def test_missing__shades_gaps():
    ax = missing(pl.DataFrame({"start": [START], "end": [START + HOUR]}), axes())
    assert ax.patches[0].get_width() == pytest.approx(1 / 24)


@pytest.mark.parametrize(
    ("flow", "bars"),
    [
        (random_flow(), random_bars()),
        (random_flow(long=0, short=0), random_bars()),
        (random_flow(short=0), random_bars()),
        (random_flow(long=0), random_bars()),
        (random_flow(1), random_bars(1)),
        (random_flow(2_000), random_bars(2_000)),
        (random_flow(300, step=timedelta(days=7)), random_bars(300, step=timedelta(days=7))),
    ],
)
@pytest.mark.parametrize("size", [(10.0, 6.25), (5.0, 7.0), (16.0, 9.0)])
def test_cascade__is_drawn_whole_whatever_the_flow(flow, bars, size):
    figure = cascade(
        flow,
        bars,
        title="Liquidations of BTCUSDT",
        subtitle="A sentence " * 12,
        notes=["a note " * 9] * 4,
        size=size,
    )
    figure.canvas.draw()
    upper, lower = figure.axes
    assert upper.get_xlim() == lower.get_xlim()
    frame = figure.bbox
    for text in (*figure.texts, *lower.texts, *lower.get_xticklabels(), *upper.get_yticklabels()):
        box = text.get_window_extent()
        assert box.x0 >= frame.x0 - 1, text
        assert box.x1 <= frame.x1 + 1, text
        assert box.y0 >= frame.y0 - 1, text
        assert box.y1 <= frame.y1 + 1, text


def test_cascade__labels_do_not_overlap():
    for step in (timedelta(minutes=15), HOUR, timedelta(days=1), timedelta(days=7)):
        figure = cascade(random_flow(300, step=step), random_bars(300, step=step), title="Liquidations")
        figure.canvas.draw()
        boxes = [label.get_window_extent() for label in figure.axes[1].get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_cascade__is_1600_by_1000_pixels_and_leaves_global_settings_alone(tmp_path):
    before = dict(rcParams)
    figure = cascade(random_flow(), random_bars(), title="Liquidations")
    figure.savefig(tmp_path / "cascade.svg")
    assert dict(rcParams) == before
    assert tuple(figure.get_size_inches() * figure.dpi) == (1600, 1000)


@pytest.mark.parametrize(
    "window",
    [
        timedelta(minutes=40),
        HOUR * 5,
        HOUR * 24,
        *(timedelta(days=count) for count in (3, 17, 60, 365, 2300, 9000)),
    ],
)
def test_time_ticks__are_few_round_moments_inside_the_window(window):
    start = datetime(2021, 5, 10, 7, 13, tzinfo=UTC)
    ticks = time_ticks(start, start + window)
    assert 3 <= len(ticks) <= 11
    assert all(start <= tick <= start + window for tick in ticks)
    assert len({later - earlier for earlier, later in pairwise(ticks)}) <= 4  # months differ in length


def test_tick_labels__write_the_year_once_and_when_it_changes():
    ticks = [
        datetime(2021, 11, 1, tzinfo=UTC),
        datetime(2021, 12, 1, tzinfo=UTC),
        datetime(2022, 1, 1, tzinfo=UTC),
    ]
    assert tick_labels(ticks) == ["Nov\n2021 UTC", "Dec\n", "Jan\n2022"]


def test_tick_labels__write_the_day_below_the_hour():
    ticks = [START + 12 * HOUR * count for count in range(3)]
    assert tick_labels(ticks) == ["00:00\n19 May 2021 UTC", "12:00\n", "00:00\n20 May"]


def test_time_axis__draws_on_the_axes_it_is_given():
    ax = axes()
    assert time_axis(ax, START, START + HOUR) is ax
    assert ax.get_xlim() == (days(START), days(START + HOUR))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.5, "$0.5"),
        (999.6, "$1 k"),
        (12_345, "$12.3 k"),
        (300e6, "$300 m"),
        (1.2e9, "$1.2 bn"),
        (9.999e9, "$10 bn"),
        (5e12, "$5 tn"),
        (-5e6, "\N{MINUS SIGN}$5 m"),
    ],
)
def test_amount__is_written_in_three_figures(value, written):
    assert amounts.amount(value) == written


def test_amount__of_a_coin_carries_its_name():
    assert amounts.amount(12.345, "BTC") == "12.3 BTC"
    assert amounts.amount(12_345, "") == "12.3 k"


@pytest.mark.parametrize(("value", "written"), [(0, "0 %"), (0.123, "12.3 %"), (0.00045, "0.045 %"), (1, "100 %")])
def test_percent__is_written_in_three_figures(value, written):
    assert amounts.percent(value) == written


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (timedelta(minutes=15), "per 15 minutes"),
        (HOUR, "per hour"),
        (HOUR * 4, "per 4 hours"),
        (timedelta(7), "per week"),
    ],
)
def test_per_interval__is_in_words(step, name):
    assert amounts.per_interval(step / timedelta(days=1)) == name
