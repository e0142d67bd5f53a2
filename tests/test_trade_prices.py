"""Prices of trades from a venue's archive: their contracts and days, from the disk or fetched when asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import polars as pl
import pytest
from archive_server import Archive, kline_path, kline_rows, lines, milliseconds, serving, zipped

from backtest import trades
from backtest.__main__ import main
from backtest.errors import DataError, FetchError
from backtest.trades.archive_prices import prices_within

MAY = date(2021, 5, 1)
HOUR = 3_600_000
NOW = datetime(2021, 6, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with serving() as archive:
        for folder in ("markPriceKlines", "klines"):
            text = lines(kline_rows(MAY, 31, step=HOUR, seed=1))
            archive.put(kline_path("monthly", "2021-05", folder), zipped(text))
        stamps = [f"{milliseconds(MAY) + n * 8 * HOUR},8,0.0001" for n in range(93)]
        text = lines("calc_time,funding_interval_hours,last_funding_rate", stamps)
        archive.put("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2021-05.zip", zipped(text))
        yield archive


def opens() -> list[float]:
    return [float(row.split(",")[1]) for row in kline_rows(MAY, 31, step=HOUR, seed=1)]


def rows(symbol: str = "BTC/USDT:USDT") -> dict[str, object]:
    """Return two trades at the opens of hourly bars."""
    price = opens()
    return {
        "symbol": symbol, "side": ["long", "short"], "quantity": 0.1, "leverage": 5.0,
        "entry_time": [datetime(2021, 5, 10, 4, tzinfo=UTC), datetime(2021, 5, 12, 1, tzinfo=UTC)],
        "entry_price": [price[9 * 24 + 4], price[11 * 24 + 1]],
        "exit_time": [datetime(2021, 5, 10, 9, tzinfo=UTC), datetime(2021, 5, 13, 2, tzinfo=UTC)],
        "exit_price": [price[9 * 24 + 9], price[12 * 24 + 2]],
    }  # fmt: skip


def test_prices_of__fetches_the_days_of_the_trades_and_what_is_there_is_checked(archive, tmp_path, monkeypatch):
    given = {"interval": "1h", "folder": tmp_path / "kept", "now": NOW}
    with pytest.raises(FetchError, match="files are not in"):
        trades.prices_of(trades.read(rows()), "binance", offline=True, **given)
    found = trades.prices_of(trades.read(rows()), "binance", hosts=archive.hosts, **given)
    assert found.symbols == ("BTCUSDT",)
    assert found.bars["time"].dt.date().unique().sort().to_list() == [date(2021, 5, n) for n in range(9, 15)]
    assert found.funding is not None
    monkeypatch.setenv("BACKTEST_DATA", str(tmp_path / "kept"))
    pl.DataFrame(rows()).write_parquet(tmp_path / "mine.parquet")
    asked = ["check", str(tmp_path / "mine.parquet"), "--prices", "binance", "--interval", "1h"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    checked = pl.read_parquet(tmp_path / "out" / "trades.parquet")
    assert checked["price_venue"][0].startswith("binance")


def test_prices_of__what_is_not_there_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BACKTEST_DATA", str(tmp_path / "empty"))
    pl.DataFrame(rows()).write_parquet(tmp_path / "mine.parquet")
    asked = ["check", str(tmp_path / "mine.parquet"), "--out", str(tmp_path / "out")]
    assert main([*asked, "--prices", "binance"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "backtest fetch binance mark --symbol BTCUSDT --from 2021-05-09" in said
    assert said.rstrip().endswith("or --fetch")
    assert main([*asked, "--fetch"]) == 2
    assert (
        "--fetch needs --prices with an archive: binance, binance-coin, bybit, okx, hyperliquid"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_prices_of__a_venue_without_the_contracts_is_refused():
    with pytest.raises(DataError, match=r"archive of binance has none of the contracts BTC/USD:BTC"):
        trades.prices_of(trades.read(rows("BTC/USD:BTC")), "binance", offline=True, now=NOW)


def test_prices_within__reads_the_days_of_windows_alone(archive, tmp_path):
    windows = pl.DataFrame(
        {
            "symbol": "BTC/USDT:USDT",
            "start": [datetime(2021, 5, n, 23, tzinfo=UTC) for n in (3, 4, 20)],
            "end": [datetime(2021, 5, n, 0, tzinfo=UTC) for n in (4, 6, 21)],
        }
    ).cast({"start": pl.Datetime("ms", "UTC"), "end": pl.Datetime("ms", "UTC")})
    found = prices_within(windows, "binance", interval="1h", folder=tmp_path, hosts=archive.hosts)
    assert found.bars["time"].dt.day().unique().sort().to_list() == [3, 4, 5, 20]
