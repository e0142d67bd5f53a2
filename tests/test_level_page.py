"""The page that explores a heatmap: its cells, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from html import unescape
from typing import Any

import level_cases
import numpy as np
import polars as pl
import pytest
from browser import driven

from backtest import Book
from backtest.__main__ import main
from backtest.chart.levels import level_page
from backtest.errors import ArgumentError, DataError
from backtest.study.levels import clusters_at, column_bars, level_grid, levels_of, without_drift
from backtest.study.levels.combine import levels_by_leverage
from backtest.study.levels.levels import Levels

DRIVER = "drive_level_page.js"


def world(bins: int = 40, columns: int = 60) -> tuple[dict[str, Levels], pl.DataFrame, Levels]:
    history, venue = level_cases.market(), level_cases.venue()
    book = Book(level_cases.positions(history))
    grid = level_grid(history, history.symbols[0], bins=bins, columns=columns)
    groups = levels_by_leverage(without_drift(book, history, venue), grid)
    return groups, column_bars(history, grid), levels_of(book, history, venue, grid)


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, Levels], pl.DataFrame, Levels]:
    return world()


def data_of(html: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="levels">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]


def cells_of(data: dict[str, Any], group: int, side: int) -> np.ndarray:
    codes = np.frombuffer(zlib.decompress(b64decode(data["cells"][group][side])), "<u2").astype(float)
    amounts = data["least"] * np.exp((codes - 1) * np.log(data["most"] / data["least"]) / 65_534)
    return np.where(codes > 0, amounts, 0.0).reshape(len(data["edges"]) - 1, len(data["ends"]))


def test_groups__add_up_to_the_whole_heatmap(made):
    groups, _, whole = made
    assert list(groups) == ["below 10x", "10x to 50x", "50x and more"]
    for side in ("long", "short"):
        assert (sum(getattr(own, side) for own in groups.values()) == getattr(whole, side)).all()
        assert all(getattr(own, side).any() for own in groups.values())


def test_cells__are_kept_within_a_thousandth(made):
    groups, bars, _ = made
    data = data_of(level_page(groups, bars, title="x"))
    for number, own in enumerate(groups.values()):
        for place, side in enumerate(("long", "short")):
            np.testing.assert_allclose(cells_of(data, number, place), own.amounts(side), rtol=1e-3)
    assert data["ends"] == next(iter(groups.values())).grid.ends.tolist()
    assert data["close"] == pytest.approx(bars["close"].to_list(), rel=1e-8)


def test_a_page__asks_nothing_of_the_network_and_ends_no_script_early(made):
    groups, bars, _ = made
    html = level_page(groups, bars, title="</script><b>", notes=["<i>assumed</i>"])
    assert "http" not in html
    assert "<b>" not in html
    assert "&lt;i&gt;assumed" in html


def test_a_large_page__shows_fewer_columns_and_says_so(made, monkeypatch):
    groups, bars, _ = made
    monkeypatch.setattr("backtest.chart.levels.pages.LARGEST", 500)
    html = level_page(groups, bars, title="x")
    data = data_of(html)
    assert len(data["ends"]) < bars.height
    assert data["ends"][-1] == next(iter(groups.values())).grid.ends[-1]
    assert re.search(r"every \d columns are shown as one", html)
    np.testing.assert_allclose(cells_of(data, 0, 0)[:, -1], next(iter(groups.values())).at(-1, "long"), rtol=1e-3)


def test_mistakes__are_one_line(made):
    groups, bars, _ = made
    other = world(bins=20)[0]["below 10x"]
    for given, line in (
        (({}, bars), "groups must hold levels of at least one group"),
        ((groups | {"more": other}, bars), "groups must lie on one grid"),
        ((groups, bars.head(3)), "bars must be one a column of the grid, 60: there are 3"),
    ):
        with pytest.raises(ArgumentError, match=line):
            level_page(*given, title="x")
    with pytest.raises(ArgumentError, match="look must be one of light, dark"):
        level_page(groups, bars, title="x", look="sepia")


@pytest.mark.parametrize("size", ["1440,900", "500,844"])
def test_in_a_browser__what_is_pointed_at_is_the_frame_s(made, tmp_path, size):
    groups, bars, whole = made
    history = level_cases.market()
    clusters = clusters_at(whole, history)
    found = driven(
        level_page(groups, bars, title="Levels", clusters=clusters, currency="USDT"), DRIVER, tmp_path, size
    )
    assert found["failures"] == []
    assert len(found["hovers"]) == 10
    ends = [*whole.grid.ends.tolist()]
    starts = [whole.grid.start, *ends[:-1]]
    hours = np.diff([tick["ms"] for tick in found["ticks"]]) / 3_600_000
    assert len(found["ticks"]) >= 2
    assert set(hours) <= {24.0, 48.0, 168.0}
    for tick in found["ticks"]:
        assert tick["ms"] % 86_400_000 == 0
        column = int(tick["column"])
        assert starts[column] <= tick["ms"] <= ends[min(column, len(ends) - 1)]
    assert found["options"] == ["UTC", ""]
    middle = int(found["cumulative"]["long"][0][0])
    assert found["cumulative"]["long"][-1][1] == pytest.approx(whole.at(-1, "long")[: middle + 1].sum(), rel=1e-3)
    assert found["cumulative"]["short"][-1][1] == pytest.approx(whole.at(-1, "short")[middle:].sum(), rel=1e-3)
    for each in found["hovers"]:
        for side in ("long", "short"):
            expected = whole.at(each["column"], side)[each["bin"]]
            assert each[side] == pytest.approx(expected, rel=1e-3)
    sums = {side: whole.amounts(side).sum() for side in ("long", "short")}
    low = {side: groups["below 10x"].amounts(side).sum() for side in ("long", "short")}
    assert found["whole"] == pytest.approx(sums["long"] + sums["short"], rel=1e-3)
    assert found["without_longs"] == pytest.approx(sums["short"], rel=1e-3)
    assert found["without_lowest"] == pytest.approx(sum(sums.values()) - sum(low.values()), rel=1e-3)
    assert found["zoomed"] < found["columns"] == found["home"]
    assert found["hash"].startswith("#")
    assert found["rows"] == clusters.height
    assert "from the mark" in found["reading"]


def test_bubbles_and_zone__are_in_the_page_and_the_zone_decides_what_is_round(made, tmp_path):
    groups, bars, _ = made
    amounts = {"price": [100.0, 101.0, 99.0], "notional": [1e5, 3e5, 0.0]}
    events = pl.DataFrame({"time": [bars["time"][30]] * 3, **amounts, "side": ["long", "short", "long"]})
    html = level_page(groups, bars, title="Levels", events=events, timezone="Asia/Kathmandu", colours="vendor")
    data = data_of(html)
    assert [event[1:] for event in data["events"]] == [[101.0, 3e5, "short"], [100.0, 1e5, "long"]]
    assert data["looks"]["light"]["ground"] == "#2B0A3D"
    found = driven(html, DRIVER, tmp_path)
    assert found["failures"] == []
    assert found["options"] == ["UTC", "Asia/Kathmandu", ""]
    assert all((tick["ms"] / 60_000 + 345) % 1440 == 0 for tick in found["ticks"])  # midnights at +05:45
    with pytest.raises(DataError, match="events need time, price and notional: price is missing"):
        level_page(groups, bars, title="x", events=events.drop("price"))


def test_open_levels__are_counted_at_all_prices_as_in_the_subtitle(made):
    groups, bars, whole = made
    data = data_of(level_page(groups, bars, title="x"))
    totals = whole.totals()
    for place, side in enumerate(("long", "short")):
        inside = sum(cells_of(data, number, place).sum(axis=0) for number in range(3))
        outside = sum(np.array(pair[place]) for pair in data["outside"])
        np.testing.assert_allclose(inside + outside, totals[side].to_numpy(), rtol=1e-3)


def test_a_notebook__shows_the_page_in_a_frame(made):
    groups, bars, _ = made
    html = level_page(groups, bars, title='A "page"')
    framed = html._repr_html_()
    inside = unescape(re.search(r'srcdoc="(.*?)"', framed, re.DOTALL)[1])
    assert inside == html
    assert framed.startswith("<iframe ")


def test_the_command__writes_the_page(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["levels", "--count", "2000", "--formats", "html", "--out", str(out)]) == 0
    assert "levels.html" in capsys.readouterr().out
    assert data_of((out / "levels.html").read_text("utf-8"))["money"] is None  # synthetic: shares
