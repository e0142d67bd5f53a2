"""Levels of one side, and of a span of leverage: parts add up to the whole, moving levels included."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from backtest.__main__ import main

WINDOW = ["--symbol", "BTCUSDT", "--from", "2021-05-18", "--until", "2021-05-20", "--count", "3000", "--seed", "1"]


def frames(folder: Path, *more: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    assert main(["levels", *WINDOW, "--columns", "24", "--formats", "parquet", *more, "--out", str(folder)]) == 0
    return pl.read_parquet(folder / "levels.parquet"), pl.read_parquet(folder / "map.parquet")


@pytest.mark.parametrize("drift", [[], ["--drift"]])
def test_parts__add_up_to_the_whole(drift: list[str], tmp_path: Path, capsys) -> None:
    spans = {"low": "0.5-10", "middle": "10-50", "high": "50-"}
    whole = frames(tmp_path / "whole", *drift)
    parts = {name: frames(tmp_path / name, "--leverage", span, *drift) for name, span in spans.items()}
    longs = frames(tmp_path / "longs", "--side", "long", *drift)
    assert "longs alone" in capsys.readouterr().out
    for place in (0, 1):
        total = whole[place]["notional"].sum()
        assert sum(part[place]["notional"].sum() for part in parts.values()) == pytest.approx(total, rel=1e-9)
        assert all(0 < part[place]["notional"].sum() < total for part in parts.values())
        assert longs[place]["side"].cast(pl.String).unique().to_list() == ["long"]
        own = whole[place].filter(pl.col("side").cast(pl.String) == "long")["notional"].sum()
        assert longs[place]["notional"].sum() == pytest.approx(own, rel=1e-9)


def test_charts_of_a_part__say_which(tmp_path: Path, capsys) -> None:
    more = ["--side", "short", "--leverage", "20-50", "--formats", "svg,html"]
    assert main(["levels", *WINDOW, *more, "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    for name in ("levels.svg", "map.svg", "levels.html"):
        text = " ".join((tmp_path / "out" / name).read_text("utf-8").split())
        assert "shorts alone, leverage 20x to below 50x" in text
