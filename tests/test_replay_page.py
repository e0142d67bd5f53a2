"""The page that explores a replay: its columns, and what a browser makes of it."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from browser import driven
from level_cases import market, positions, venue

import backtest
from backtest import Book, Impact
from backtest.__main__ import main
from backtest.chart.venues import replay_page
from backtest.errors import ArgumentError

HISTORY = market(bars=600)
SINGLES = Book(positions(HISTORY, count=500).drop("weight").with_columns(pl.col("quantity") * 1e4))
REPLAYED = backtest.replay(
    SINGLES, HISTORY, venue(), fund=1e5, impact=Impact(linear=1e-9, mark=1e-9), exogenous=True
)


def data_of(html: str) -> dict:
    return json.loads(re.search(r'id="series">(.*?)</script>', html, re.DOTALL)[1])


@pytest.mark.parametrize("most", [1_500, 100])
def test_columns__hold_what_their_bars_hold(most: int, monkeypatch) -> None:
    monkeypatch.setattr("backtest.chart.venues.pages.MOST_COLUMNS", most)
    html = replay_page(REPLAYED, HISTORY, title="A", currency="USDT")
    own = data_of(html)["symbols"]["A"]
    each = 600 // len(own["ends"])
    assert each == (1 if most == 1_500 else 6)
    assert ("bars are joined into each column" in html) == (each > 1)
    assert own["ends"][-1] == (HISTORY.bars["time"][-1] + timedelta(hours=1)).timestamp() * 1000
    for key, column in (("long_executed", "long_executed"), ("short_adl", "short_deleveraged")):
        assert sum(own[key]) == pytest.approx(REPLAYED.impact[column].sum(), rel=1e-6)
    assert own["close"] == pytest.approx(HISTORY.bars["close"].to_numpy()[each - 1 :: each], rel=1e-6)
    moved = HISTORY.bars["close"].to_numpy() * np.exp(REPLAYED.impact.sort("time")["offset"].to_numpy())
    assert own["moved"] == pytest.approx(moved[each - 1 :: each], rel=1e-6)
    assert own["fund"][-1] == pytest.approx(REPLAYED.fund.sort("time")["fund"][-1], rel=1e-6)
    assert own["fund"][0] == pytest.approx(1e5, rel=0.2)


@pytest.mark.parametrize("size", ["1440,900", "500,844"])
def test_in_a_browser__what_is_pointed_at_is_the_frame_s(size: str, tmp_path) -> None:
    html = replay_page(REPLAYED, HISTORY, title="A replay", currency="USDT", timezone="Asia/Tokyo")
    assert "http" not in html
    found = driven(html, "drive_replay_page.js", tmp_path, size)
    assert found["failures"] == []
    impact = REPLAYED.impact.sort("time")
    for each in found["hovers"]:
        assert each["close"] == pytest.approx(HISTORY.bars["close"][each["column"]], rel=1e-6)
        assert each["long_executed"] == pytest.approx(impact["long_executed"][each["column"]], rel=1e-6)
    assert len({each["column"] for each in found["hovers"]}) == 10
    assert all((tick["ms"] / 3_600_000 + 9) % 24 == 0 for tick in found["ticks"])  # midnights in Tokyo
    assert found["names"][:3] == ["mark", "with liquidations", "fund"]
    assert "mark" in found["readings"][0]
    assert "fund" in found["without"]
    assert "   mark " not in found["without"]
    assert found["zoomed"] < found["columns"] == found["home"]
    assert found["hash"].startswith("#A;")
    assert 0 < found["rows"] <= 12


def test_shares__are_of_what_was_opened_and_no_money_is_written() -> None:
    html = replay_page(REPLAYED, HISTORY, title="A")
    assert "$" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert data_of(html)["whole"] == pytest.approx(REPLAYED.outcomes["entry_notional"].sum())
    with pytest.raises(ArgumentError, match="colours must be one of ours, vendor"):
        replay_page(REPLAYED, HISTORY, title="A", colours="theirs")


def test_the_command__writes_the_page(tmp_path, capsys) -> None:
    window = ["--symbol", "BTCUSDT", "--from", "2021-05-19", "--until", "2021-05-20", "--count", "300"]
    assert main(["replay", *window, "--formats", "html", "--out", str(tmp_path / "out")]) == 0
    assert "replay.html" in capsys.readouterr().out
    assert data_of((tmp_path / "out" / "replay.html").read_text("utf-8"))["money"] is None
    assert not list((tmp_path / "out").glob("*.png"))
