"""Every chart of odd and of random histories and books: all that is drawn is shown, every word is readable."""

from __future__ import annotations

import numpy as np
import pytest
from chart_cases import ODD, OF_WORLDS, WORLDS, World, drawn
from drawn_data import hidden
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from text_boxes import problems, shown_texts

from backtest.chart.levels import level_heatmap, map_figure
from backtest.chart.levels.cells import cells_of
from backtest.chart.levels.figures import shown_prices
from backtest.errors import BacktestError

#: Charts whose axis is longer the longer the history.
THROUGH_TIME = (
    "cascade",
    "level_heatmap",
    "level_heatmap with totals",
    "multiples",
    "timeline",
    "cumulative",
    "imbalance",
    "fund",
    "moved_mark",
)

#: What cannot be drawn, and says so in one line.
REFUSED = {
    ("clusters", "one column"): "lies before the end of the first column of the grid",
    ("cluster_outcomes", "one column"): "lies before the end of the first column of the grid",
    ("survival", "nobody"): "curves must hold at least one row, there is none",
    ("account", "nobody"): "accounts must hold at least one row, there is none",
    ("alerts", "nobody"): "accounts must hold at least one row, there is none",
}

#: Size and pixels an inch; small, because more fits wrongly there.
SMALL = (5.0, 3.4)


def random_world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    return World(
        level=float(10 ** rng.uniform(-9, 7)),
        seed=seed,
        daily=float(10 ** rng.uniform(-4, -1)),
        bars=int(rng.integers(2, 600)),
        count=int(10 ** rng.uniform(0, 3)),
        side=[None, None, "long", "short"][rng.integers(4)],
        columns_of_grid=int(rng.integers(20, 300)),
    )


RANDOM = {f"random {seed}": random_world(seed) for seed in range(5)}


def figure_of(chart: str, world: str) -> Figure:
    return OF_WORLDS[chart]({**WORLDS, **RANDOM}[world], SMALL)


@pytest.mark.parametrize(
    ("chart", "world"),
    [(chart, world) for chart in OF_WORLDS for world in ODD if world != "six years" or chart in THROUGH_TIME],
)
def test_charts_of_odd_worlds__show_all_their_data_and_words_or_refuse_in_one_line(chart: str, world: str) -> None:
    reason = REFUSED.get((chart, world))
    if reason is not None:
        with pytest.raises(BacktestError, match=reason):
            figure_of(chart, world)
        return
    figure = figure_of(chart, world)
    assert [*problems(figure), *hidden(figure)] == []


@pytest.mark.parametrize("world", RANDOM)
@pytest.mark.parametrize("chart", OF_WORLDS)
def test_charts_of_random_data__hold_their_words_and_all_their_data(chart: str, world: str) -> None:
    try:
        figure = figure_of(chart, world)
    except BacktestError as error:
        assert "\n" not in str(error)  # noqa: PT017, a line is an answer too
        return
    assert [*problems(figure), *hidden(figure)] == []


def test_a_bar_alone__is_drawn_where_its_column_is() -> None:
    main = drawn("level_heatmap", "one bar", "usual").axes[0]
    (line,) = [line for line in main.lines if isinstance(line, Line2D) and line.get_gid() == "mark price"]
    low, high = main.get_xlim()
    assert low < line.get_xdata()[0] < high


def test_a_grid_that_misses_the_price__shows_the_price_and_says_that_nothing_is_open_there() -> None:
    world = WORLDS["grid above the price"]
    figure = level_heatmap(world.levels, world.columns, title="A")
    low, high = figure.axes[0].get_ylim()
    assert low < world.columns["low"].min() < world.columns["high"].max() < high
    assert (low, high) == shown_prices(world.levels, world.columns)
    assert "no open levels at these prices" in shown_texts(figure)
    assert not cells_of(figure.axes[0]).get_array().compressed().size


def test_an_empty_map__has_no_amounts_on_its_axes() -> None:
    figure = map_figure(WORLDS["nobody"].map, title="A")
    words = shown_texts(figure)
    assert "no open levels within reach" in words
    assert not [text for text in words if text.startswith("$")]
