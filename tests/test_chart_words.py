"""Words of every chart: none on another, none cut off; amounts in the unit they are counted in."""

from __future__ import annotations

import numpy as np
import pytest
from chart_cases import OF_WORLDS, OTHERS, WORLDS, cases, drawn
from drawn_data import hidden
from level_cases import venue
from matplotlib.figure import Figure
from matplotlib.text import Text
from text_boxes import problems

from backtest.chart.levels import cluster_figure, film, level_heatmap, small_multiples
from backtest.chart.levels.figures import Panel
from backtest.chart.style import theme
from backtest.chart.style.figure import new_figure
from backtest.chart.style.words import label, make_room, text_width, wrapped
from backtest.study import levels


@pytest.mark.parametrize(("chart", "world", "size"), list(cases()))
def test_words__lie_on_no_others_and_within_the_picture_and_axes_show_all_data(
    chart: str, world: str, size: str
) -> None:
    figure = drawn(chart, world, size)
    assert [*problems(figure), *hidden(figure)] == []


def test_cases__are_all_the_charts_of_the_package() -> None:
    assert len({**OF_WORLDS, **OTHERS}) == 37


def texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_quantities__are_never_written_as_money() -> None:
    world = WORLDS["usual"]
    found = levels.levels_of(world.book, world.market, venue(), world.levels.grid, measure="quantity")
    clusters = levels.clusters_at(found, world.market, rule=levels.Crowding(times=1.3), outcomes=world.outcomes)
    heatmap = level_heatmap(found, world.columns, title="A", clusters=clusters)
    moving = film(found, world.columns, title="A", pictures=2).draw(1)
    multiples = small_multiples([Panel("A", found, [world.columns])], title="A")
    table = cluster_figure(clusters, title="A")
    for figure in (heatmap, moving, multiples, table):
        written = texts(figure)
        assert not [text for text in written if "$" in text]
        assert any("quantity (base)" in text.replace("\n", " ") for text in written)
        assert not [text for text in written if "notional" in text]
    assert any(text.startswith("Open now (base)") for text in texts(heatmap))


def test_small_figures__keep_their_pixels() -> None:
    made = new_figure((5.0, 3.4), dpi=100, paper="white")
    assert made.canvas.get_width_height() == (500, 340)
    assert made.get_figwidth() == pytest.approx(7.0)
    assert made._repr_png_()[1]["width"] == 480
    same = new_figure((10.0, 6.25), dpi=160, paper="white")
    assert (same.dpi, tuple(same.get_size_inches())) == (160, (10.0, 6.25))


def test_labels__stay_within_their_axes() -> None:
    ax = Figure(figsize=(4, 3), dpi=100).add_subplot()
    ax.set_xlim(0, 1)
    for x in (0.0, 0.5, 1.0):
        for toward in (-1, 0, 1):
            label(ax, "a label of several words", (x, 0.5), toward=toward)
            box = ax.texts[-1].get_window_extent()
            assert ax.bbox.x0 <= box.x0
            assert box.x1 <= ax.bbox.x1


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_room__is_free_beyond_what_is_shown(scale: str) -> None:
    ax = Figure(dpi=72).add_subplot()
    ax.set_yscale(scale)
    ax.set_ylim(1.0, 100.0)
    make_room(ax, above=20.0, below=10.0)
    low, high = (ax.transData.transform((0.0, value))[1] for value in (1.0, 100.0))
    assert ax.bbox.y1 - high == pytest.approx(20.0)
    assert low - ax.bbox.y0 == pytest.approx(10.0)


def test_wrapped__fits_and_loses_no_word() -> None:
    text = "Mark price (USDT) over open liquidation levels\nand a second line"
    lines = wrapped(text, 120.0)
    assert lines.split() == text.split()
    assert all(text_width(line) <= 120.0 for line in lines.split("\n"))
    assert np.isclose(text_width("ab", 18.0), 2 * text_width("ab", 9.0))


def test_titles__are_written_in_their_own_size_beside_names() -> None:
    ax = theme.side_names(theme.dress(Figure(figsize=(5, 3.4)).add_subplot(), "Liquidated, % of open notional"))
    assert ax.get_title(loc="left") == "Liquidated, % of open notional"
    assert {text.get_fontsize() for text in (ax._left_title, *ax.texts)} == {theme.TEXT}
