"""What is written and drawn over heatmaps and maps: candles, bubbles, tags, labels with lines, shares, roots."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from level_cases import START, market, positions, venue
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from text_boxes import problems

from backtest import Book
from backtest.chart.levels import heatmap, level_heatmap, map_figure, profile, small_multiples
from backtest.chart.levels.cells import cells_of
from backtest.chart.levels.clusters import cluster_figure
from backtest.chart.levels.figures import Panel
from backtest.chart.levels.level_map import is_lopsided, root_ticks
from backtest.chart.levels.marks import MOST_CANDLES, bubbles, candles, price_tag
from backtest.chart.levels.units import whole_of
from backtest.chart.style.placing import APART, Box, box_of, crosses, free_place, in_points
from backtest.chart.style.words import spread
from backtest.errors import ArgumentError, DataError
from backtest.study.levels import clusters_at, column_bars, level_grid, level_map, levels_of, without_drift
from backtest.study.levels.clusters import Crowding

HISTORY = market()
BOOK = Book(positions(HISTORY, count=3_000))
OUTCOMES = without_drift(BOOK, HISTORY, venue())
LEVELS = levels_of(BOOK, HISTORY, venue(), level_grid(HISTORY, "A", bins=80, columns=240))
BARS = column_bars(HISTORY, LEVELS.grid)
CLUSTERS = clusters_at(LEVELS, HISTORY, rule=Crowding(times=1.2), outcomes=OUTCOMES)


def axes():
    return heatmap(LEVELS, Figure(figsize=(8, 5), dpi=80).add_subplot())


def of_gid(ax, gid):
    return [found for found in ax.get_children() if found.get_gid() == gid]


def test_candles__join_bars_and_keep_every_wick() -> None:
    ax = candles(BARS, axes(), most=60)
    (wicks,), (bodies,) = of_gid(ax, "wicks"), of_gid(ax, "bodies")
    ends = np.array(wicks.get_segments())[:, :, 1]
    assert len(ends) == 60
    assert ends[:, 1].max() == BARS["high"].max()
    assert ends[:, 0].min() == BARS["low"].min()
    first = BARS.head(4)
    assert ends[0].tolist() == [first["low"].min(), first["high"].max()]
    corners = bodies.get_paths()[0].vertices[:2, 1]
    assert corners.tolist() == [first["open"][0], first["close"][-1]]
    assert len(of_gid(candles(BARS, axes()), "bodies")[0].get_paths()) <= MOST_CANDLES


def test_bubbles__have_areas_by_notional_and_add_up_near_ones() -> None:
    at = START + timedelta(hours=50)
    events = pl.DataFrame(
        {
            "time": [at, at, at + timedelta(hours=100), at + timedelta(days=900)],
            "price": [100.0, 100.01, 95.0, 100.0],
            "notional": [300.0, 100.0, 100.0, 9e9],
            "side": ["long", "long", "short", "long"],
        }
    )
    ax = axes()
    found = bubbles(events, ax)
    assert found["notional"].to_list() == [400.0, 100.0]  # the last lies outside what is shown
    assert found["price"][0] == pytest.approx(100.0025)
    (drawn,) = of_gid(ax, "recorded liquidations")
    across = drawn.get_widths()
    assert across[0] / across[1] == pytest.approx(2.0)
    assert bubbles(events.drop("side").head(1), axes())["side"].to_list() == [None]
    assert bubbles(events.tail(1), axes()).is_empty()
    with pytest.raises(DataError, match="events need time, price and notional: notional is missing"):
        bubbles(events.drop("notional"), ax)


def test_price_tag__takes_the_place_of_labels_it_would_lie_on() -> None:
    ax = axes()
    for price in np.linspace(*ax.get_ylim(), 40)[1:-1]:
        figure = level_heatmap(LEVELS, BARS.with_columns(close=pl.lit(price)), title="A", size=(8.0, 5.0))
        assert problems(figure) == []
        (tag,) = [text for text in figure.axes[0].texts if text.get_gid() == "price tag"]
        assert float(tag.get_text().replace(",", "")) == pytest.approx(price, rel=1e-4)
    price_tag(ax, -1.0)
    FigureCanvasAgg(ax.figure).draw()  # outside the axes: not drawn
    assert [label.get_text() for label in ax.get_yticklabels()]


def test_labels_of_clusters__lead_to_their_bars_and_none_is_lost_where_there_is_room() -> None:
    figure = level_heatmap(LEVELS, BARS, title="A", clusters=CLUSTERS)
    side = figure.axes[1]
    labels = [text for text in side.texts if text.get_gid() == "cluster"]
    low, high = side.get_ylim()
    inside = CLUSTERS.head(5).filter(pl.col("centre").is_between(low, high))
    assert sorted(label.xy[1] for label in labels) == sorted(inside["centre"])
    for label in labels:
        place = np.searchsorted(LEVELS.grid.price_edges, label.xy[1], side="right") - 1
        assert label.xy[0] == LEVELS.at(-1)[place]
    assert problems(figure) == []


@pytest.mark.parametrize("seed", range(25))
def test_labels_of_maps__lie_on_no_line_no_bar_and_no_other_label(seed: int) -> None:
    history = market(seed=seed, daily=0.02)
    book = Book(positions(history, count=60, seed=seed))
    found = level_map(without_drift(book, history, venue()), history, "A", bins=10 + 4 * seed)
    figure = map_figure(found, title="A", price_unit="USDT", size=(5.0, 8.89) if seed % 2 else (8.0, 5.0))
    assert problems(figure) == []
    FigureCanvasAgg(figure).draw()
    ax, twin = figure.axes
    lines = [in_points(twin, np.column_stack(line.get_data())) for line in twin.lines]
    largest = [text for text in twin.texts if text.get_gid() == "largest"]
    for text in largest:
        assert not any(crosses(line, shrunk(box_of(text, ax))) for line in lines)
    mark = next(text for text in ax.texts if text.get_text().startswith("mark"))
    (line,) = [line for line in ax.lines if line.get_gid() == "price"]
    top = line.get_transform().transform((found.mark_price, line.get_ydata()[1]))[1]
    assert top <= Text.get_window_extent(mark).y0 + 1  # the line ends below its label


def shrunk(box: Box) -> Box:
    return Box(box.left + APART, box.low + APART, box.right - APART, box.high - APART)


def test_free_place__is_the_nearest_and_none_where_all_is_taken() -> None:
    inside = Box(0.0, 0.0, 200.0, 100.0)
    assert free_place((100.0, 50.0), (20.0, 10.0), inside) == pytest.approx((100.0, 61.0))
    over = [Box(80.0, 51.0, 120.0, 100.0)]
    x, y = free_place((100.0, 50.0), (20.0, 10.0), inside, boxes=over)
    assert not (x + 10 > 80 and x - 10 < 120 and y + 5 > 51)
    assert free_place((100.0, 50.0), (20.0, 10.0), inside, boxes=[inside]) is None
    line = np.array([[0.0, 60.0], [200.0, 62.0]])
    x, y = free_place((100.0, 50.0), (20.0, 10.0), inside, lines=[line])
    assert not crosses(line, Box(x - 10, y - 5, x + 10, y + 5))


def test_spread__keeps_order_and_ends_and_moves_no_more_than_needed() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        count = rng.integers(1, 8)
        wanted, sizes = rng.uniform(-10, 110, count).tolist(), rng.uniform(2, 12, count).tolist()
        places = spread(wanted, sizes, 0.0, 100.0)
        order = sorted(range(count), key=lambda at: wanted[at])
        ends = [(places[at] - sizes[at] / 2, places[at] + sizes[at] / 2) for at in order]
        assert ends[0][0] >= -1e-9
        assert ends[-1][1] <= 100 + 1e-9
        assert all(after[0] >= before[1] - 1e-9 for before, after in pairwise(ends))
    assert spread([5.0, 50.0], [4.0, 4.0], 0.0, 100.0) == [5.0, 50.0]
    assert spread([1.0, 1.0], [60.0, 60.0], 0.0, 100.0) is None


def test_threshold__leaves_small_cells_empty_and_the_colour_bar_begins_there() -> None:
    figure = level_heatmap(LEVELS, BARS, title="A", threshold=0.25)
    main, _, bar = figure.axes
    mesh = cells_of(main)
    least = 0.25 * mesh.norm.vmax
    assert np.ma.min(mesh.get_array()) >= least
    assert np.ma.count(mesh.get_array()) == (LEVELS.amounts() >= least).sum()
    assert bar.get_ylim()[0] == pytest.approx(least)
    assert "left out" in bar.get_ylabel().replace("\n", " ")
    for wrong in (-0.1, 1.0):
        with pytest.raises(ArgumentError, match="threshold must lie between 0 and 1"):
            heatmap(LEVELS, axes(), threshold=wrong)


def test_shares__are_of_what_is_open_and_no_money_is_written() -> None:
    share = f"{100 * LEVELS.at(-1).max() / whole_of(LEVELS):.3g}"
    assert whole_of(LEVELS) == pytest.approx(LEVELS.at(-1).sum())
    found = level_map(OUTCOMES, HISTORY, "A")
    for figure in (
        level_heatmap(LEVELS, BARS, title="A", clusters=CLUSTERS, currency=None),
        map_figure(found, title="A", currency=None),
        cluster_figure(CLUSTERS, title="A", currency=None),
        small_multiples([Panel("A", LEVELS, [BARS])], title="A", currency=None),
    ):
        FigureCanvasAgg(figure).draw()
        words = [text.get_text() for text in figure.findobj(Text)]
        assert not [text for text in words if "$" in text]
        assert [text for text in words if "%" in text]
    assert float(share) > 0
    ends = [text.get_text() for text in map_figure(found, title="A", currency=None).axes[1].texts]
    sides = [float(text.split()[1]) for text in ends if text.startswith(("longs", "shorts"))]
    assert sum(sides) == pytest.approx(100, abs=0.2)


def test_roots__are_taken_where_one_bin_holds_over_half_and_the_axis_says_so() -> None:
    price = float(HISTORY.bars["close"][-1])
    rows = positions(HISTORY, count=40).with_columns(
        entry_price=pl.lit(price), entry_time=HISTORY.bars["time"][-2]
    )
    one = rows.with_columns(
        pl.when(pl.int_range(40) == 0).then(1e6).otherwise(pl.col("quantity")).alias("quantity"),
        leverage=pl.lit(5.0),
    )
    plain = rows.drop("stop_price", "take_profit_price", "exit_time")
    one = one.drop("stop_price", "take_profit_price", "exit_time")
    for given, expected in ((plain, False), (one, True)):
        found = level_map(without_drift(Book(given), HISTORY, venue()), HISTORY, "A", bins=200)
        ax = map_figure(found, title="A").axes[0]
        assert (ax.get_yscale() == "function") == ("root scale" in ax.get_ylabel()) == is_lopsided(found)
        assert is_lopsided(found) or not expected
    for bins, title in ((2, "Open now, root scale"), (80, "Open now")):
        grid = level_grid(HISTORY, "A", bins=bins, columns=240)
        side = profile(levels_of(BOOK, HISTORY, venue(), grid), Figure().add_subplot(), price=price)
        assert side.get_title(loc="left") == title
    assert root_ticks(12.0, 300.0) == [0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert root_ticks(0.0, 300.0) == [0.0]


def test_totals__are_those_of_all_prices_longs_above_zero() -> None:
    figure = level_heatmap(LEVELS, BARS, title="A", totals=True)
    (ax,) = [ax for ax in figure.axes if "at all prices" in ax.get_title(loc="left")]
    main, totals = figure.axes[0], LEVELS.totals()
    longs, shorts = (of_gid(ax, side)[0].get_data().values for side in ("long", "short"))
    assert longs.tolist() == totals["long"].to_list()
    assert (-shorts).tolist() == totals["short"].to_list()
    (line,) = of_gid(ax, "difference")
    assert line.get_ydata() == pytest.approx((totals["long"] - totals["short"]).to_numpy())
    assert ax.get_xlim() == pytest.approx(main.get_xlim())
    assert ax.get_position().x0 == pytest.approx(main.get_position().x0)
    assert ax.get_position().x1 == pytest.approx(main.get_position().x1)
