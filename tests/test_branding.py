"""Names and watermarks on pictures and pages, and pages for a frame in another."""

from __future__ import annotations

import pytest
from chart_cases import OF_WORLDS, WORLDS
from level_cases import market, positions, venue
from matplotlib.backends.backend_agg import FigureCanvasAgg
from text_boxes import problems

from backtest import Book
from backtest.__main__ import main
from backtest.chart.levels import level_page
from backtest.chart.style import branded
from backtest.study.levels import column_bars, level_grid, levels_of

FIGURES = ("cascade", "level_heatmap", "map", "fund", "losses", "moved_mark", "clusters")


@pytest.mark.parametrize("size", [(10.0, 6.25), (5.0, 8.89)])
@pytest.mark.parametrize("chart", FIGURES)
def test_brand__lies_on_no_word_and_the_watermark_within_the_picture(chart: str, size) -> None:
    figure = branded(OF_WORLDS[chart](WORLDS["usual"], size), "example.org, liquidation levels", "draft")
    (mark,) = [text for text in figure.texts if text.get_gid() == "watermark"]
    FigureCanvasAgg(figure).draw()
    box = mark.get_window_extent()
    assert box.x0 > 0
    assert box.x1 < figure.bbox.x1
    mark.remove()  # it lies on words on purpose
    assert problems(figure) == []


def test_a_long_brand__becomes_smaller() -> None:
    figure = branded(OF_WORLDS["cascade"](WORLDS["usual"], (5.0, 3.4)), "a name of many words " * 12)
    assert problems(figure) == []
    before = len(figure.texts)
    assert len(branded(figure).texts) == before


def test_pages__carry_both_escaped_and_are_bare_in_a_frame() -> None:
    history = market()
    levels = levels_of(Book(positions(history)), history, venue(), level_grid(history, "A", bins=20, columns=20))
    html = level_page({"all": levels}, column_bars(history, levels.grid), title="A")
    marked = html.branded("<me>", "draft & more")
    assert "&lt;me&gt;" in marked
    assert "draft &amp; more" in marked
    assert '<body class="embed">' in marked.embedded()
    assert marked._repr_html_().startswith("<iframe ")
    assert html.branded() == html


def test_commands__write_both(tmp_path, capsys) -> None:
    window = ["--symbol", "BTCUSDT", "--from", "2021-05-19", "--until", "2021-05-20", "--count", "300"]
    more = ["--formats", "svg,html", "--brand", "example.org", "--watermark", "draft", "--embed"]
    assert main(["levels", *window, *more, "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    for name in ("levels.svg", "map.svg", "levels.html"):
        text = (tmp_path / "out" / name).read_text("utf-8")
        assert "example.org" in text
        assert "draft" in text
    assert '<body class="embed">' in (tmp_path / "out" / "levels.html").read_text("utf-8")
