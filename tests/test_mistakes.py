"""Mistakes are named as what they are, and scripts print help where it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from test_cli import refusal

from backtest.__main__ import main

ROOT = Path(__file__).parents[1]
SCRIPTS = [
    path
    for folder in ("docs", "benchmarks", "tests")
    for path in sorted((ROOT / folder).glob("*.py"))
    if 'if __name__ == "__main__":' in path.read_text("utf-8")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts__that_write_or_run_long_read_their_arguments(script):
    """So that ``--help`` prints help: it wrote a page anew."""
    text = script.read_text("utf-8")
    assert "ArgumentParser" in text or script.name in ("trades.py",), script


def test_scripts__help_writes_nothing():
    page = ROOT / "docs" / "venue_file.md"
    before = page.stat().st_mtime_ns
    ran = subprocess.run(
        [sys.executable, "docs/venue_file.py", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.stdout.startswith("usage: venue_file.py")
    assert page.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("levels --window -3d", "argument --window: must be like 12h, 7d or 4w, is '-3d'"),
        (
            "price --venue binance --side long --entry-price -1e5",
            "--entry-price: must be a finite number above",
        ),
        ("run --count -1,000", "argument --count: must be at least 1, is '-1,000'"),
        (
            "run --from 2022-01-01",
            "--from leaves no bars: those of BTCUSDT, ETHUSDT open from 2021-05-10 00:00",
        ),
        ("tiers show SOLUSD", "does not list 'SOLUSD' (is SOLUSDT meant?): it lists BTCUSDT"),
    ],
)
def test_mistakes__are_named_as_what_they_are(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    told = refusal(capsys)
    assert said in told
    assert "prices and positions" not in told


def test_run__takes_of_the_bars_what_the_venue_lists(tmp_path, capsys):
    assert main(["run", "--venue", "bybit", "--count", "300", "--out", str(tmp_path / "out")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "without ETHUSDT, which bybit does not list" in text
    assert pl.read_parquet(tmp_path / "out" / "outcomes.parquet")["symbol"].unique().to_list() == ["BTCUSDT"]
    given = ["--symbol", "ETHUSDT", "--out", str(tmp_path / "other")]
    assert main(["run", "--venue", "bybit", "--count", "300", *given]) == 2
    assert "does not list 'ETHUSDT'" in capsys.readouterr().err
