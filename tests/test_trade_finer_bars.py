"""Finer bars where they decide: the answers are those of the finer bars throughout."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtest import Market, trades
from backtest.__main__ import main
from backtest.errors import DataError
from backtest.market import sample

DECIDED = ["certainly_liquidated", "possibly_liquidated", "outcome"]


@pytest.fixture(scope="module")
def minutes() -> Market:
    return sample().select(["BTCUSDT"])


def random_trades(minutes: Market, seed: int, count: int = 150) -> pl.DataFrame:
    """Return trades that begin and end inside minutes, some of them still open."""
    rng = np.random.default_rng(seed)
    bars = minutes.bars
    first = rng.integers(0, bars.height - 3_000, count)
    last = first + rng.integers(5, 2_000, count)
    middle = (bars["low"] + bars["high"]) / 2
    inside = timedelta(seconds=30)
    is_open = pl.Series(rng.random(count) < 0.1)
    exits = pl.DataFrame(
        {"time": bars["time"].gather(pl.Series(last)) + inside, "price": middle.gather(pl.Series(last))}
    )
    exits = exits.select(pl.when(~is_open).then(pl.all()))
    return pl.DataFrame(
        {
            "symbol": "BTCUSDT",
            "side": rng.choice(["long", "short"], count),
            "entry_time": bars["time"].gather(pl.Series(first)) + inside,
            "entry_price": middle.gather(pl.Series(first)),
            "quantity": rng.uniform(0.1, 2.0, count),
            "exit_time": exits["time"],
            "exit_price": exits["price"],
        }
    )


@pytest.mark.parametrize("seed", range(2))
def test_finer_bars__of_windows_alone_decide_as_finer_bars_throughout(minutes: Market, seed: int) -> None:
    given = trades.read(random_trades(minutes, seed))
    asked = {"venues": ["binance"], "leverages": [15, 40]}
    coarse = trades.check(given, minutes.resample("1h"), **asked)
    windows = coarse.windows
    assert windows["trades"].sum() >= 5
    assert "inside of bars of 1 h; finer bars of" in coarse.notes[-1]
    inside = pl.any_horizontal(
        pl.col("time").is_between(row["start"], row["end"], closed="left") for row in windows.iter_rows(named=True)
    )
    kept = minutes.bars.filter(inside)
    found = trades.check(given, minutes.resample("1h"), finer=Market(kept), **asked)
    throughout = trades.check(given, minutes, **asked)
    assert found.rows.select(DECIDED).equals(throughout.rows.select(DECIDED))
    assert coarse.rows["possibly_liquidated"].sum() > found.rows["possibly_liquidated"].sum()
    assert found.windows.height == 0
    decided = coarse.rows["possibly_liquidated"] & ~coarse.rows["certainly_liquidated"]
    gone = pl.DataFrame({"a": found.rows["outcome_time"], "b": throughout.rows["outcome_time"]}).filter(decided)
    assert gone["a"].equals(gone["b"])
    for name in ("margin_that_holds", "highest_surviving_leverage"):
        ours, theirs = (rows.filter(decided)[name].to_numpy() for rows in (found.rows, throughout.rows))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_finer_bars__that_do_not_fill_a_window_decide_nothing(minutes: Market) -> None:
    given = trades.read(random_trades(minutes, 0))
    coarse = trades.check(given, minutes.resample("1h"), venues=["binance"], leverages=[40])
    start = coarse.windows["start"][0]
    kept = minutes.bars.filter((pl.col("time") < start) | (pl.col("time") > start + timedelta(minutes=5)))
    found = trades.check(given, minutes.resample("1h"), venues=["binance"], leverages=[40], finer=Market(kept))
    assert found.windows["start"][0] == start


def test_finer_bars__of_other_prices_are_refused(minutes: Market) -> None:
    given = trades.read(random_trades(minutes, 0))
    prices = ["open", "high", "low", "close"]
    other = Market(minutes.bars.select("symbol", "time", *(pl.col(name) * 1.02 for name in prices)))
    with pytest.raises(
        DataError, match=r"finer must be of the same prices: half of the .* finer bars .* 2 % or more"
    ):
        trades.check(given, minutes.resample("1h"), venues=["binance"], leverages=[40], finer=other)


def test_finer_bars__of_other_symbols_are_refused(minutes: Market) -> None:
    given = trades.read(random_trades(minutes, 0))
    other = Market(minutes.bars.with_columns(symbol=pl.lit("ETHUSDT")))
    with pytest.raises(DataError, match="finer has none of the symbols BTCUSDT: there are ETHUSDT"):
        trades.check(given, minutes.resample("1h"), venues=["binance"], leverages=[40], finer=other)


def test_finer_bars__of_a_trade_that_was_added_to_include_the_bar_of_the_addition(minutes: Market) -> None:
    hours = minutes.resample("1h")
    bars = minutes.bars
    places = [700, 900, 2_000]
    fills = {
        "symbol": "BTCUSDT", "side": ["buy", "buy", "sell"], "quantity": [1.0, 1.0, 2.0],
        "time": [bars["time"][n] + timedelta(seconds=30) for n in places],
        "price": [(bars["low"][n] + bars["high"][n]) / 2 for n in places],
    }  # fmt: skip
    given = trades.read(fills)
    for leverage in (20, 40, 60, 80, 100):
        asked = {"venues": ["binance"], "leverages": [leverage], "tiers": "nearest"}
        found = trades.check(given, hours, finer=minutes, **asked)
        throughout = trades.check(given, minutes, **asked)
        assert found.rows.select(DECIDED).equals(throughout.rows.select(DECIDED))


def test_check__refines_from_a_file_and_lists_the_windows(minutes: Market, tmp_path: Path, capsys) -> None:
    random_trades(minutes, 0).write_parquet(tmp_path / "mine.parquet")
    minutes.resample("1h").bars.write_parquet(tmp_path / "hours.parquet")
    minutes.bars.write_parquet(tmp_path / "minutes.parquet")
    asked = [
        "check",
        str(tmp_path / "mine.parquet"),
        "--prices",
        str(tmp_path / "hours.parquet"),
        "--leverage",
        "40",
    ]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    windows = pl.read_csv(tmp_path / "out" / "windows.csv")
    assert windows.columns == ["price_venue", "symbol", "start", "end", "trades"]
    assert windows.height
    assert main([*asked, "--refine", str(tmp_path / "absent.parquet"), "--out", str(tmp_path / "b")]) == 2
    assert re.search(r"error: bars file .*absent\.parquet does not exist\n$", capsys.readouterr().err)
    assert main([*asked, "--refine", str(tmp_path / "minutes.parquet"), "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "hung on the inside of bars of 1 h, bars of 1 min decided" in said
    assert pl.read_csv(tmp_path / "out" / "windows.csv").height == 0
