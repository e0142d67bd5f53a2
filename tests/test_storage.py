"""What is kept, where, and what of it is read; and that every data set of the table gets there."""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from archive_files import HOUR, JUNE, MAY, bybit_trades, fetch, how, outcomes, put_month, stored
from archive_server import (
    LIQUIDATIONS_HEADER,
    METRICS_HEADER,
    Archive,
    gzipped,
    kline_path,
    kline_rows,
    lines,
    metrics_rows,
    milliseconds,
    serving,
    zipped,
)

from backtest.errors import DataError
from backtest.market import sources
from backtest.market.sources import ARCHIVES
from backtest.market.sources.archives import Period, path_of, series


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving() as archive:
        yield archive


def look_alike(kind: str, first: date, days: int) -> bytes:
    """Return a file of a kind, as its archive serves it."""
    begin, written = milliseconds(first), f"{first:%Y.%m.%d}"
    text = {
        "funding": lines("calc_time,funding_interval_hours,last_funding_rate", [f"{begin},8,0.0001"]),
        "metrics": lines(METRICS_HEADER, metrics_rows(first)),
        "coin_metrics": lines(METRICS_HEADER, metrics_rows(first, at_start=True)),
        "liquidations": lines(LIQUIDATIONS_HEADER, [f"{begin},SELL,LIMIT,IOC,5,60000,59990,FILLED,5,5"] * 2),
        "bybit_klines": f"{written} 12:00,1,2,0.5,1.5,10\n",
        "bybit_trades": bybit_trades(first, 3),
        "bybit_spot_trades": f"id,timestamp,price,volume,side,rpi\n1,{begin},50,0.1,buy,0\n",
        "bybit_index": f"start_at,symbol,period,open,high,low,close\n{begin // 1000},BTCUSD,1,1,2,0.5,1\n",
        "bybit_premium": f"start_at,symbol,period,open,high,low,close\n{begin // 1000},BTCUSD,1,0,0.1,-0.1,0\n",
    }.get(kind) or lines(kline_rows(first, days, step=HOUR))
    return gzipped(text) if kind.startswith("bybit") else zipped(text)


FILES = [key for key, archive in ARCHIVES.items() if not archive.asked]


@pytest.mark.parametrize(("venue", "data"), FILES, ids=[f"{venue} {data}" for venue, data in FILES])
def test_table__every_data_set_is_fetched_by_its_path_and_read_by_its_reader(archive, tmp_path, venue, data):
    symbol = {"binance": "BTCUSDT", "binance-coin": "BTCUSD_PERP", "bybit": "BTCUSD"}[venue]
    intervals = ARCHIVES[venue, data].intervals
    wanted = series(venue, data, symbol, "1h" if "1h" in intervals else "1m")
    for period in (Period.month(MAY), *(Period.day(MAY + timedelta(n - 1)) for n in range(32))):
        if wanted.archive.monthly if period.monthly else wanted.archive.daily:
            body = look_alike(wanted.archive.kind, period.first, len(period.days))
            archive.put(path_of(wanted, period), body, checksum=wanted.archive.checksum)
    interval = wanted.interval or "1m"
    fetched = sources.fetch(
        venue, data, symbol, "2021-05-01", "2021-05-03", interval=interval, settings=how(archive, tmp_path)
    )
    assert set(outcomes(fetched).values()) == {"fetched"}
    rows = sources.scan(
        venue, data, symbol, "2021-05-01", "2021-05-03", interval=interval, folder=tmp_path
    ).collect()
    assert rows.height > 0
    assert rows.columns[:2] == ["symbol", "time"]
    assert rows["symbol"].unique().to_list() == [symbol]


def test_metrics__known_at_midnight_come_with_the_file_of_the_day_before(archive, tmp_path):
    for n in range(-1, 2):
        day = JUNE + timedelta(n)
        path = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{day}.zip"
        archive.put(path, zipped(lines(METRICS_HEADER, metrics_rows(day))))
    fetched = sources.fetch(
        "binance", "metrics", "BTCUSDT", "2021-06-01", "2021-06-02", settings=how(archive, tmp_path)
    )
    assert list(outcomes(fetched)) == ["2021-05-31", "2021-06-01"]
    rows = sources.scan("binance", "metrics", "BTCUSDT", "2021-06-01", "2021-06-02", folder=tmp_path).collect()
    assert rows["time"].to_list() == [
        datetime(2021, 6, 1, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(288)
    ]


def test_bybit__the_last_hours_of_a_month_stand_in_the_next_months_file(archive, tmp_path):
    wanted = series("bybit", "metatrader", "BTCUSDT", "1h")
    for first, count in ((date(2021, 4, 1), 30 * 24), (MAY, 31 * 24)):
        clock = (datetime(first.year, first.month, 1) + timedelta(hours=n) for n in range(count))
        text = "".join(f"{written:%Y.%m.%d %H:%M},1,2,0.5,1.5,10\n" for written in clock)
        archive.put(path_of(wanted, Period.month(first)), gzipped(text), checksum=False)
    settings = how(archive, tmp_path)
    fetched = sources.fetch(
        "bybit", "metatrader", "BTCUSDT", "2021-04-10", "2021-05-01", interval="1h", settings=settings
    )
    assert outcomes(fetched) == {"2021-04": "fetched", "2021-05": "fetched"}
    rows = sources.scan(
        "bybit", "metatrader", "BTCUSDT", "2021-04-10", "2021-05-01", interval="1h", folder=tmp_path
    ).collect()
    assert rows.height == 21 * 24
    assert rows["time"][-1] == datetime(2021, 4, 30, 23, tzinfo=UTC)


def test_storage__of_one_symbol_and_span_touches_no_other_file(archive, tmp_path):
    for folder in ("markPriceKlines", "klines"):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            for year, months in ((2020, (11, 12)), (2021, (1, 5))):
                for month in months:
                    first = date(year, month, 1)
                    rows = kline_rows(first, len(Period.month(first).days), step=HOUR)
                    archive.put(kline_path("monthly", f"{first:%Y-%m}", folder, symbol), zipped(lines(rows)))
    spans = [("2020-11-01", "2021-02-01"), ("2021-05-01", "2021-06-01")]
    for span in spans:
        sources.fetch(
            "binance",
            ["mark", "last"],
            ["BTCUSDT", "ETHUSDT"],
            *span,
            interval="1h",
            settings=how(archive, tmp_path),
        )
    own = tmp_path / "venue=binance/dataset=mark-1h/symbol=BTCUSDT/year=2021/2021-05.parquet"
    for part in tmp_path.rglob("*.parquet"):
        if part != own:
            part.write_bytes(b"not to be read")
    assert stored(tmp_path, "2021-05-10", "2021-05-12").height == 48
    lazy = sources.scan("binance", "mark", "BTCUSDT", "2021-05-10", "2021-05-12", interval="1h", folder=tmp_path)
    plan = lazy.filter(pl.col("time") < datetime(2021, 5, 11, tzinfo=UTC)).select("time", "close").explain()
    assert plan.count("SELECTION") == 1
    assert "FILTER" not in plan
    with pytest.raises(DataError, match="nothing is stored of binance mark-1h BTCUSDT from 2022"):
        stored(tmp_path, "2022-05-10", "2022-05-12")


@pytest.mark.parametrize("symbol", ["币安人生USDT", "BTC-26NOV21", "BTCUSDT_210625"])
def test_storage__symbols_are_called_as_the_venue_calls_them(archive, tmp_path, symbol):
    archive.put(kline_path("daily", "2021-06-01", symbol=symbol), zipped(lines(kline_rows(JUNE, step=HOUR))))
    settings = how(archive, tmp_path)
    fetched = sources.fetch(
        "binance", "mark", symbol, "2021-06-01", "2021-06-02", interval="1h", settings=settings
    )
    assert outcomes(fetched) == {"2021-06-01": "fetched"}
    rows = sources.scan("binance", "mark", symbol, "2021-06-01", "2021-06-02", interval="1h", folder=tmp_path)
    assert rows.collect()["symbol"].to_list() == [symbol] * 24


def test_storage__folders_may_have_any_name(archive, tmp_path):
    folder = tmp_path / "data [1] *"
    put_month(archive)
    assert outcomes(fetch(archive, folder, "2021-05-01", "2021-06-01")) == {"2021-05": "fetched"}
    assert outcomes(fetch(archive, folder, "2021-05-01", "2021-06-01")) == {"2021-05": "kept"}
    assert stored(folder, "2021-05-01", "2021-06-01").height == 31 * 24


def test_storage__is_a_data_set_of_parquet_like_any_other(archive, tmp_path):
    put_month(archive)
    fetch(archive, tmp_path, "2021-05-01", "2021-06-01")
    every = pl.scan_parquet(tmp_path / "venue=*" / "**" / "*.parquet", hive_partitioning=True).collect()
    assert every.select("venue", "dataset", "symbol", "year").unique().row(0) == (
        "binance",
        "mark-1h",
        "BTCUSDT",
        2021,
    )
    assert every.height == 31 * 24


@pytest.mark.skipif(sys.platform != "linux", reason="folders of Linux")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "/home/me/.cache/backtest/data"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/backtest/data"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/backtest/data"),
        ({"BACKTEST_DATA": "/mine", "XDG_CACHE_HOME": "/cache"}, "/mine"),
    ],
)
def test_folder__is_the_platforms_own_or_the_one_asked_for(monkeypatch, variables, expected):
    for name in ("BACKTEST_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert sources.data_folder() == Path(expected)
