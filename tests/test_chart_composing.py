"""Charts on the caller's axes and with the caller's settings: shared axes, fonts, colours, zoom, frames."""

from __future__ import annotations

from datetime import timedelta

import pytest
from level_cases import START, market, positions, venue
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from text_boxes import problems

from backtest import Book
from backtest.chart.levels import heatmap, level_heatmap, profile
from backtest.chart.levels.cells import cells_of
from backtest.chart.levels.marks import mark_line
from backtest.chart.style import DARK, restyled
from backtest.chart.style.time_axis import days
from backtest.study.levels import column_bars, level_grid, levels_of

HISTORY = market()
BOOK = Book(positions(HISTORY, count=800))


def world(*, logarithmic: bool):
    levels = levels_of(
        BOOK, HISTORY, venue(), level_grid(HISTORY, "A", bins=80, columns=120, logarithmic=logarithmic)
    )
    return levels, column_bars(HISTORY, levels.grid)


@pytest.mark.parametrize("logarithmic", [True, False])
def test_profile__leaves_the_price_axis_of_the_heatmap_it_shares_as_it_is(logarithmic: bool) -> None:
    levels, bars = world(logarithmic=logarithmic)
    main, side = Figure(figsize=(9, 5)).subplots(1, 2, sharey=True)
    heatmap(levels, main)
    main.set_ylim(70.0, 110.0)
    before = [label.get_text() for label in main.get_yticklabels()]
    profile(levels, side, price=float(bars["close"][-1]))
    assert main.get_yscale() == side.get_yscale() == ("log" if logarithmic else "linear")
    assert main.get_ylim() == side.get_ylim() == (70.0, 110.0)
    assert [label.get_text() for label in main.get_yticklabels()] == before
    assert main.yaxis.get_tick_params()["labelleft"]
    assert not side.yaxis.get_tick_params()["labelleft"]


def test_ticks_of_prices_and_times__follow_a_zoom() -> None:
    levels, _ = world(logarithmic=True)
    ax = heatmap(levels, Figure(figsize=(9, 5)).add_subplot())
    wide = len([tick for tick in ax.get_yticks() if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]])
    ax.set_ylim(100.0, 101.0)
    ax.set_xlim(days(START), days(START + timedelta(hours=5)))
    inside = [tick for tick in ax.get_yticks() if 100.0 <= tick <= 101.0]
    assert wide >= 3
    assert len(inside) >= 3
    assert len(ax.get_xticks()) >= 4


def test_own_colours__are_taken() -> None:
    levels, _ = world(logarithmic=False)
    ax = heatmap(levels, Figure().add_subplot(), cmap="magma")
    assert cells_of(ax).get_cmap().name == "magma"


@pytest.mark.parametrize("family", ["monospace", "serif"])
def test_words__are_measured_in_the_font_of_the_settings(family: str) -> None:
    levels, bars = world(logarithmic=False)
    with rc_context({"font.family": family}):
        figure = level_heatmap(
            levels, bars, title="Liquidation levels of A, and more words than fit " * 2, size=(5, 3.4)
        )
        assert problems(figure) == []
        assert all(text.get_fontfamily() == [family] for text in figure.findobj(Text))


def test_own_figures__keep_their_paper_until_they_are_restyled() -> None:
    levels, bars = world(logarithmic=False)
    figure = Figure(facecolor="#fffff0")
    mark_line(bars, heatmap(levels, figure.add_subplot(), look=DARK), look=DARK)
    assert to_rgb(figure.get_facecolor()) == to_rgb("#fffff0")
    restyled(figure, DARK)
    assert to_rgb(figure.get_facecolor()) == to_rgb(DARK.paper)
    FigureCanvasAgg(figure).draw()


def test_pandas__is_taken_wherever_a_frame_is() -> None:
    pandas = pytest.importorskip("pandas")
    levels, bars = world(logarithmic=False)
    frame = pandas.DataFrame({name: bars[name].to_numpy() for name in bars.columns})
    frame["time"] = frame["time"].dt.tz_localize("UTC")
    figure = level_heatmap(levels, frame, title="A")
    assert len(figure.axes) == 3
