"""Charts as files: text stays text, titles and descriptions are there, and every look can be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest
from chart_cases import OF_WORLDS, OTHERS, WORLDS, drawn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from text_boxes import shown_texts

from backtest.chart.liquidations import cascade
from backtest.chart.style import DARK, SIZES, VENDOR_DARK, VENDOR_LIGHT, Look, in_timezone, restyled, save
from backtest.chart.style.restyle import ON_CELLS
from backtest.chart.style.time_axis import days, tick_labels, time_axis, time_ticks
from backtest.errors import ArgumentError

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = sorted({**OF_WORLDS, **OTHERS})


def of(figure: Figure, folder) -> ElementTree.Element:
    save(figure, folder / "chart.svg")
    return ElementTree.parse(folder / "chart.svg").getroot()


@pytest.mark.parametrize("chart", CHARTS)
def test_svg__keeps_every_word_as_text_and_says_what_it_shows(chart: str, tmp_path) -> None:
    figure = drawn(chart, "usual", "usual")
    root = of(figure, tmp_path)
    written = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    wanted = [line for text in shown_texts(figure) for line in text.split("\n") if line.strip()]
    assert not [line for line in wanted if line.strip() not in " ".join(written)]
    if figure.axes and hasattr(figure, "heading"):
        title, description, *_ = root
        assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title desc")
        assert title.text == figure.heading.title == "Liquidations of A, 19 to 28 May 2021"
        assert description.text.startswith("12.2 % of the A book was liquidated. prices: a random walk.")


def contrast(one, other) -> float:
    def luminance(colour):
        parts = np.array(to_rgb(colour))
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (
            0.2126,
            0.7152,
            0.0722,
        )

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("look", [DARK, VENDOR_DARK, VENDOR_LIGHT], ids=["dark", "vendor dark", "vendor light"])
@pytest.mark.parametrize("chart", [chart for chart in CHARTS if chart != "film"])  # a film is dark by itself
def test_words__are_read_on_their_paper_in_every_look(chart: str, look: Look) -> None:
    figure = restyled(drawn(chart, "usual", "usual"), look)
    FigureCanvasAgg(figure).draw()
    assert to_rgb(figure.get_facecolor()) == to_rgb(look.paper)
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible() and text.get_gid() != ON_CELLS:
            faint = (text.get_alpha() or 1.0) < 1  # dominated policies are faint on purpose
            least = 1.2 if faint else 2.2 if look is VENDOR_LIGHT else 3.0
            box = text.get_bbox_patch() if text.get_gid() == "price tag" else None
            ground = look.paper if box is None else box.get_facecolor()
            assert contrast(text.get_color(), ground) >= least, text.get_text()


def test_restyled__exchanges_colours_once_and_leaves_the_light_look_alone() -> None:
    world = WORLDS["usual"]
    figure = cascade(world.flow, world.prices, title="A")
    before = [patch.get_facecolor() for ax in figure.axes for patch in ax.patches]
    assert restyled(figure, VENDOR_LIGHT.from_given("light", "look")) is figure
    assert [patch.get_facecolor() for ax in figure.axes for patch in ax.patches] == before
    for _ in range(2):
        restyled(figure, DARK)
        colours = {patch.get_facecolor()[:3] for patch in figure.axes[0].patches}
        assert {to_rgb(colour) for colour in DARK.sides.values()} <= colours
        assert to_rgb(figure.axes[0].get_ygridlines()[0].get_color()) == to_rgb(DARK.faint)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_files__are_the_same_bytes_again_and_hold_title_and_description(kind: str, tmp_path) -> None:
    world = WORLDS["usual"]
    files = []
    for name in ("one", "two"):
        words = {"title": "12 % was <liquidated>", "subtitle": "A & B", "notes": ["no gaps"]}
        save(cascade(world.flow, world.prices, **words), tmp_path / f"{name}.{kind}")
        files.append((tmp_path / f"{name}.{kind}").read_bytes())
    assert files[0] == files[1]
    if kind == "png":
        with Image.open(tmp_path / "one.png") as picture:
            assert picture.text["Title"] == "12 % was <liquidated>"
            assert picture.text["Description"] == "A & B. no gaps."
    if kind == "svg":
        title, description, *_ = ElementTree.parse(tmp_path / "one.svg").getroot()
        assert (title.text, description.text) == ("12 % was <liquidated>", "A & B. no gaps.")


def test_mistakes__are_one_line(tmp_path) -> None:
    world = WORLDS["usual"]
    with pytest.raises(ArgumentError, match=r"path must end with .png, .svg or .pdf, is 'chart.bmp'"):
        save(Figure(), tmp_path / "chart.bmp")
    assert not list(tmp_path.iterdir())
    for given, line in (
        ({"size": "poster"}, "size must be one of screen, slide, print, square, portrait, or width and height"),
        ({"size": (3.0, -1.0)}, "size must be one of"),
        ({"look": "sepia"}, "look must be a Look or one of light, dark, is 'sepia'"),
        ({"timezone": "Berlin"}, "timezone must be a zone like UTC or Europe/Berlin, is 'Berlin'"),
    ):
        with pytest.raises(ArgumentError, match=line):
            cascade(world.flow, world.prices, title="A", **given)
    with pytest.raises(ArgumentError, match="ax must have an axis of times"):
        in_timezone(Figure().add_subplot(), "UTC")


@pytest.mark.parametrize(("name", "pixels"), [("screen", (1600, 1000)), ("portrait", (1080, 1920))])
def test_sizes__are_named_in_pixels(name: str, pixels: tuple[int, int]) -> None:
    world = WORLDS["usual"]
    figure = cascade(world.flow, world.prices, title="A", size=name)
    assert FigureCanvasAgg(figure).get_width_height() == pixels
    assert SIZES[name].inches == tuple(figure.get_size_inches())


def test_times__are_round_in_their_zone_also_where_summer_time_begins() -> None:
    ax = Figure(figsize=(10, 4)).add_subplot()
    start = datetime(2021, 3, 27, 12, tzinfo=UTC)
    time_axis(ax, start, start + timedelta(hours=30), timezone="Europe/Berlin")
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["18:00\n27 Mar 2021 CET/CEST", "00:00\n28 Mar", "06:00\n", "12:00\n", "18:00\n"]
    hours = np.diff(ax.get_xticks()) * 24
    assert hours.round(6).tolist() == [6.0, 5.0, 6.0, 6.0]  # at two the clock goes on to three


def test_ticks__follow_a_zoom() -> None:
    ax = Figure(figsize=(10, 4)).add_subplot()
    start = datetime(2021, 5, 1, tzinfo=UTC)
    time_axis(ax, start, start + timedelta(days=300))
    assert ax.get_xticklabels()[1].get_text().startswith("Jun")
    ax.set_xlim(days(start), days(start + timedelta(hours=6)))
    labels = [label.get_text().split("\n")[0] for label in ax.get_xticklabels()]
    assert labels == ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00", "06:00"]
    in_timezone(ax, "America/Sao_Paulo")
    assert ax.get_xticklabels()[0].get_text() == "21:00\n30 Apr 2021 UTC-03"
    ax.set_xlim(-1e9, 1e9)
    assert list(ax.get_xticks()) == []


def test_times__far_from_whole_days_stay_inside_the_window() -> None:
    start = datetime(2021, 5, 10, 7, 13, tzinfo=UTC)
    for zone in ("Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns"):
        ticks = time_ticks(start, start + timedelta(days=17), zone=__import__("zoneinfo").ZoneInfo(zone))
        assert all(start <= tick <= start + timedelta(days=17) for tick in ticks)
        assert {(tick.hour, tick.minute) for tick in ticks} == {(0, 0)}
    assert tick_labels([]) == []
