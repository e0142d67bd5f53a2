"""Titles of charts of levels: what is true of the book, in shares, of the sides that there are."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from backtest.__main__ import main

WINDOW = ["--symbol", "BTCUSDT", "--from", "2021-05-18", "--until", "2021-05-20", "--count", "3000", "--seed", "1"]


def titles(out: Path, *more: str) -> dict[str, str]:
    assert main(["levels", *WINDOW, "--formats", "svg,parquet", *more, "--out", str(out)]) == 0
    return {path.stem: ElementTree.parse(path).getroot()[0].text or "" for path in out.glob("*.svg")}


def test_titles__say_the_largest_clusters_and_what_a_move_would_trigger(tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    found = titles(out, "--since", "2021-05-19")
    capsys.readouterr()
    clusters = pl.read_parquet(out / "clusters.parquet")
    first = clusters.row(0, named=True)
    assert f"{100 * first['share']:.0f} % of the {first['side']}s cluster" in found["levels"]
    assert f"{100 * abs(first['distance']):.1f} % " in found["levels"]
    levels = pl.read_parquet(out / "map.parquet").with_columns(pl.col("side").cast(pl.String))
    mark = first["mark_price"]
    longs = levels.filter(pl.col("side") == "long")
    whole = longs.filter(pl.col("price_low") >= 0.95 * mark)["notional"].sum() / longs["notional"].sum()
    written = float(found["map"].split("would trigger ")[1].split(" %")[0].replace("less than ", ""))
    assert written == pytest.approx(100 * whole, abs=3)  # a bin is divided at five per cent
    past = pl.read_parquet(out / "cluster_outcomes.parquet")
    triggered = (past["notional"] * past["triggered"]).sum() / past["notional"].sum()
    assert found["cluster_outcomes"].startswith(f"{100 * triggered:.0f} % of the clusters")
    assert not [title for title in found.values() if "$" in title]
    subjects = ("Liquidation levels of", "Liquidation map of", "Liquidation clusters of", "Score of")
    assert not [title for title in found.values() if title.startswith(subjects)]  # a finding, not a label


def test_titles_of_a_part__speak_of_it_alone(tmp_path: Path, capsys) -> None:
    longs = titles(tmp_path / "longs", "--side", "long")
    nobody = titles(tmp_path / "nobody", "--leverage", "300-")
    capsys.readouterr()
    assert "shorts" not in longs["map"]
    assert "shorts" not in longs["levels"]
    assert nobody["map"] == "No levels of BTCUSDT are open within 25 % of the price"
    assert nobody["levels"] == "No open liquidation levels of BTCUSDT crowd within 25 % of the price"
