"""Mistakes are named as what they are, and scripts print help where it is asked for."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from bad_kinds import VENUE
from test_cli import refusal

from backtest.__main__ import main
from backtest.cli.common import types
from backtest.errors import DataError
from backtest.market import sample
from backtest.trades.table import Table

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
    printed = refusal(capsys)
    assert said in printed
    assert "prices and positions" not in printed


def test_run__takes_of_the_bars_what_the_venue_lists(tmp_path, capsys):
    assert main(["run", "--venue", "bybit", "--count", "300", "--out", str(tmp_path / "out")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "without ETHUSDT, which bybit does not list" in text
    assert pl.read_parquet(tmp_path / "out" / "outcomes.parquet")["symbol"].unique().to_list() == ["BTCUSDT"]
    given = ["--symbol", "ETHUSDT", "--out", str(tmp_path / "other")]
    assert main(["run", "--venue", "bybit", "--count", "300", *given]) == 2
    assert "does not list 'ETHUSDT'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [("40,000", 40_000), ("1,000,000.5", 1_000_000.5), ("-1,000", -1_000), ("1e5", 1e5), ("1.5", 1.5)],
)
def test_numbers__may_have_commas_between_thousands(text, value):
    assert types.number(text) == value
    assert Table("trades", pl.DataFrame({"price": [text]})).number("price").to_list() == [value]


@pytest.mark.parametrize("text", ["1,5", "0,001", "1,23", "1,000,00", "1.234,5", "12,3456"])
def test_numbers__with_a_comma_before_decimals_are_refused(text):
    """They were read as 15, 1, 123 ..."""
    with pytest.raises(ArgumentTypeError, match="must be a number, with a point before decimals, is"):
        types.number(text)
    with pytest.raises(DataError, match="price must be a number with a point before decimals"):
        Table("trades", pl.DataFrame({"price": [text]})).number("price")


def test_numbers__as_a_percentage_are_refused():
    with pytest.raises(DataError, match="price must be a number: 1 of 1 rows"):
        Table("trades", pl.DataFrame({"price": ["5%"]})).number("price")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--leg BTCUSDT long 5x 40000", "--leg quantity must be a number, is '5x'"),
        ("--leg BTCUSDT long 0,5 40000", "--leg quantity must be a number, with a point before decimals"),
        ("--leg BTCUSDT long 1 -40000", "--leg entry_price must be a finite number above zero, is '-40000'"),
        ("--leg BTCUSDT long 1 40000 nan", "--leg leverage must be a finite number above zero, is 'nan'"),
        ("--leg BTCUSDT long 1 40000 --mark BTCUSDT=nan", "--mark of BTCUSDT must be a finite number above zero"),
    ],
)
def test_price__refuses_numbers_of_a_leg_in_one_line(capsys, words, said):
    assert main(["price", "--venue", "binance", "--date", "2021-05-19", "--wallet", "9", *words.split()]) == 2
    assert said in refusal(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "run --bars s3://bucket/bars.parquet",
            "file s3://bucket/bars.parquet is an address: it must be",
        ),
        ("price --venue okx --bars https://x/y.csv", "--bars: must be a file of this machine, is the address"),
        ("levels --recorded https://x/y.csv", "--recorded: must be a file of this machine, is the address"),
        ("run --like btcusdt", "--like must be a symbol that venue 'binance' lists, is 'btcusdt'"),
        ("run --venue BINANCE", "dydx, hyperliquid, mexc, okx, primexbt, did you mean binance?"),
        ("run --from 0001-01-01", "argument --from: must lie in 1970 or later, is '0001-01-01'"),
        ("check trades.csv --timezone UTC", "trades: entry_time must lie in the years 2009 to 9999: 1 of 1 rows"),
        ("check trades.csv", "trades: entry_time must lie in the years 2009 to 9999: 1 of 1 rows"),
        ("check good.csv --refine trades.csv", "bars must have the columns symbol, time, open, high, low, close"),
        ("check good.csv --refine notes.txt", "bars file notes.txt must end in .parquet or .csv"),
        ("venues unnamed.toml", "venue file unnamed.toml has 1 problem: name: must not be empty"),
    ],
)
def test_mistakes__in_files_and_names_are_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    head = "symbol,side,entry_time,entry_price,quantity,exit_time,leverage\n"
    Path("trades.csv").write_text(f"{head}BTCUSDT,long,,40000,0.1,2021-05-19 14:00Z,10\n")
    opening = sample().select(["BTCUSDT"], datetime(2021, 5, 19, 11, tzinfo=UTC)).bars["open"][0]
    rest = f"{opening},0.1,2021-05-19 14:00Z,1"
    Path("good.csv").write_text(f"{head}BTCUSDT,long,2021-05-19 11:00Z,{rest}\n")
    Path("notes.txt").write_text("notes")
    Path("unnamed.toml").write_text(VENUE.replace('name = "example"', 'name = ""'))
    assert main(words.split()) == 2
    assert said in refusal(capsys)
