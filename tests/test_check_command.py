"""``backtest check``: the answer on screen, the files, one line for what cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
import trade_logs

from backtest.__main__ import main
from backtest.cli.check import report
from backtest.market import sample

ROOT = Path(__file__).parent.parent
BUNDLED = ROOT / "data" / "trades.json"


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    given = ["check", str(BUNDLED), "--venue", "binance,mexc", "--leverage", "3,25,200", "--tiers", "nearest"]
    assert main([*given, "--out", str(folder)]) == 0
    return folder


def test_check__answers_for_the_bundled_trades(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(BUNDLED), "--out", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "6 of 71 trades would have been liquidated at their own leverage on Binance USD-M futures" in said
    assert "fills lie at the open of their stamped bar of 1 hour" in said


def test_check__writes_a_row_a_trade_venue_and_leverage(checked: Path) -> None:
    rows = pl.read_parquet(checked / "trades.parquet")
    assert rows.height == 71 * 2 * 3
    text = pl.read_csv(checked / "trades.csv", infer_schema_length=None)
    assert text.columns == rows.columns
    assert text.height == rows.height
    summary = json.loads((checked / "summary.json").read_text())
    counted = {(row["venue"], row["leverage"]): row for row in summary["counts"]}
    own = rows.filter(venue="mexc", leverage=25.0)
    assert counted["mexc", 25.0]["certainly_liquidated"] == own["certainly_liquidated"].sum()
    assert counted["binance", 200.0]["rejected"] == 71
    assert len(summary["sentences"]) == 2


def test_check__the_report_stands_alone_and_has_a_path_for_each_row(checked: Path) -> None:
    page = (checked / "report.html").read_text()
    assert len(page) < 5e6
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    found = re.search(r'<script type="application/json" id="paths">(.*?)</script>', page, re.DOTALL)
    assert found
    paths = json.loads(found[1])
    rows = re.findall(r'data-name="([^"]+)"', page)
    assert set(rows) == set(paths)
    assert {name.split("/")[0] for name in rows} >= {"liquidated", "nearest"}
    gone = pl.read_parquet(checked / "trades.parquet").filter("certainly_liquidated", venue="mexc", leverage=25.0)
    assert sum(name.startswith("liquidated/mexc/") for name in rows) == gone.height
    one = paths[f"liquidated/mexc/{gone['trade_id'][0]}"]
    assert one["liquidation"] == gone["liquidation_price"][0]
    assert all(low <= high for low, high in zip(one["low"], one["high"], strict=True))


def test_check__a_page_that_would_be_too_large_shows_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["check", str(BUNDLED), "--venue", "binance,mexc", "--leverage", "25", "--tiers", "nearest"]
    monkeypatch.setattr(report, "LARGEST", 60_000)
    assert main([*asked, "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert len(page.encode()) <= 60_000
    assert "The first" in page
    assert set(re.findall(r'data-name="liquidated/([a-z]+)/', page)) == {"binance", "mexc"}


def test_check__takes_a_folder_of_freqtrade_s_candles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hours = sample().select(["BTCUSDT"]).resample("1h").bars
    folder = tmp_path / "futures"
    folder.mkdir()
    candles = hours.select(pl.col("time").alias("date"), "open", "high", "low", "close", volume=pl.lit(1.0))
    candles.write_ipc(folder / "BTC_USDT_USDT-1h-mark.feather")
    candles.head(5).write_ipc(folder / "BTC_USDT_USDT-8h-mark.feather")
    candles.gather_every(8).with_columns(open=pl.lit(1e-4)).write_ipc(
        folder / "BTC_USDT_USDT-8h-funding_rate.feather"
    )
    given = ["check", str(BUNDLED), "--prices", str(folder), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert "6 of 71 trades" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "mark prices of freqtrade&#x27;s candles in futures" in page
    assert main(["check", str(BUNDLED), "--prices", str(tmp_path / "out"), "--out", str(tmp_path / "b")]) == 2
    assert "holds no candles of futures" in capsys.readouterr().err


def test_check__the_bundled_trades_are_made_at_the_sample_s_opens() -> None:
    trades = json.loads(BUNDLED.read_text())["strategy"]["Invented"]["trades"]
    opens = dict(sample().bars.filter(symbol="BTCUSDT").select(pl.col("time").dt.epoch("ms"), "open").iter_rows())
    assert all(opens[trade["open_timestamp"]] == trade["open_rate"] for trade in trades)
    assert all(opens[trade["close_timestamp"]] == trade["close_rate"] for trade in trades)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["absent.csv"], "trades file absent.csv does not exist"),
        (["{}/binance_trades.csv", "--leverage", "5"], r"Time has no offset.*\(--timezone UTC or"),
        (["{}/backtesting.csv", "--leverage", "5"], r"names no symbol.*\(--symbol BTCUSDT\)"),
        (["{}/vectorbt.csv"], "--leverage must be given: the trades do not say"),
        (["{}/trades.csv", "--leverage", "5", "--prices", "bybit=x.csv"], "--prices names bybit"),
        (["{}/trades.csv", "--leverage", "x"], "argument --leverage: must be a number"),
        (["{}/trades.csv", "--leverage", "5", "--venue", "binanse"], "venue 'binanse' is neither"),
        (["{}/trades.csv", "--leverage", "5", "--source", "binance"], "--source must be one of"),
        (["{}/trades.csv", "--leverage", "5"], "prices of the trades are not those of the bars"),
    ],
)
def test_check__refuses_in_one_line_that_names_the_option(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for make, _ in trade_logs.LOGS.values():
        make(tmp_path)
    given = [text.format(tmp_path) for text in options]
    assert main(["check", *given, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said), said
    assert not (tmp_path / "out").exists()
