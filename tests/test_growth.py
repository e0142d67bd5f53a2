"""Work grows with the bars, not with symbols times bars: no row is read once for every symbol."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import backtest
from backtest import Venue, market
from backtest.__main__ import main
from backtest.chart.levels import Panel, small_multiples
from backtest.errors import ArgumentError
from backtest.rules.contract import Contract
from backtest.schemas.symbols import parts_of, rows_by_symbol
from backtest.study.levels import level_grid, levels_of

PACKAGE = Path(backtest.__file__).parent

#: Loops over symbols that filter by each of them, and why they may.
ALLOWED = {
    "scale/merge.py": "memory for one symbol at a time, from files",
}

VENUE = """
name = "any"
title = "Any"
settlement = "USDT"
[default]
[[default.tables]]
name = "any"
in_force = "always"
rows = [{ floor = 0, rate = 0.01, max_leverage = 50 }]
"""


def filters_in_loops(source: Path) -> list[int]:
    """Return the lines at which a loop over symbols or contracts compares a column with each of them."""
    found = []
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.For):
            over, body = ast.unparse(node.iter), node.body
        elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
            over, body = " ".join(ast.unparse(each.iter) for each in node.generators), [node]
        else:
            continue
        if "symbols" in over or "contracts" in over:
            inner = [each for part in body for each in ast.walk(part) if isinstance(each, ast.Compare)]
            words = [ast.unparse(each) for each in inner if isinstance(each.ops[0], ast.Eq)]
            found += [node.lineno for each in words if "'symbol'" in each]
    return found


def test_loops_over_symbols__do_not_filter_all_rows_for_each_of_them():
    found = {
        str(source.relative_to(PACKAGE)): lines
        for source in sorted(PACKAGE.rglob("*.py"))
        if (lines := filters_in_loops(source))
    }
    assert set(found) == set(ALLOWED), found


def bars(symbols: int, each: int = 30) -> pl.DataFrame:
    one = market.sample().bars.head(each).select("time", "open", "high", "low", "close")
    names = [f"S{number:03d}USDT" for number in range(symbols)]
    return pl.concat(one.select(pl.lit(name).alias("symbol"), pl.all()) for name in names)


def contracts_made(symbols: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many contracts a run over so many symbols checks."""
    bars(symbols).write_parquet(folder / "bars.parquet")
    (folder / "venue.toml").write_text(VENUE)
    made = []
    with monkeypatch.context() as patch:
        checks = Contract.__post_init__
        patch.setattr(Contract, "__post_init__", lambda contract: (made.append(1), checks(contract))[1])
        words = f"run --bars {folder}/bars.parquet --venue {folder}/venue.toml --count 200 --out {folder}/out"
        assert main(words.split()) == 0
    return len(made)


def test_contracts__are_made_once_for_each_symbol(tmp_path, monkeypatch, capsys):
    few, many = (contracts_made(symbols, tmp_path, monkeypatch) for symbols in (10, 20))
    assert many - few == 10, capsys.readouterr()


def test_contracts_of_a_default__are_the_same_each_time(tmp_path):
    (tmp_path / "venue.toml").write_text(VENUE)
    venue = Venue.load(tmp_path / "venue.toml")
    assert venue.contract("AUSDT") is venue.contract("AUSDT")
    assert venue.contract("AUSDT").symbol == "AUSDT"
    assert venue.with_(basis="entry").contract("AUSDT").basis == "entry"


def test_rows_by_symbol__are_those_of_a_filter():
    rng = np.random.default_rng(3)
    frame = pl.DataFrame({"symbol": rng.choice(["B", "A", "D", "C"], 200), "row": np.arange(200)})
    known = ("C", "A", "X", "B")
    for name, rows in zip(known, rows_by_symbol(frame["symbol"], known), strict=True):
        assert rows.tolist() == frame.filter(pl.col("symbol") == name)["row"].to_list()
    for (name,), part in parts_of(frame, "symbol").items():
        assert part.equals(frame.filter(pl.col("symbol") == name))
    assert [rows.size for rows in rows_by_symbol(frame["symbol"].clear(), known)] == [0, 0, 0, 0]


def test_levels__of_many_symbols_draw_those_with_the_most_notional(tmp_path, capsys):
    bars(25, each=300).write_parquet(tmp_path / "bars.parquet")
    (tmp_path / "venue.toml").write_text(VENUE)
    words = f"levels --bars {tmp_path}/bars.parquet --venue {tmp_path}/venue.toml --count 300 --out {tmp_path}/out"
    assert main(words.split()) == 0
    assert "multiples.png" in capsys.readouterr().out


def test_panels__without_room_are_refused():
    prices = market.sample().select(symbols=["BTCUSDT"]).resample("1h")
    held = backtest.population.synthetic(prices, "binance", count=50, seed=1)
    grid = level_grid(prices, "BTCUSDT", bins=20, columns=20)
    panel = Panel("any", levels_of(held, prices, "binance", grid), [])
    with pytest.raises(ArgumentError, match="1 x 30 panels have no room in a figure of"):
        small_multiples([panel] * 30, title="Thirty", across=30)
