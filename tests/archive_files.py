"""Files of a look-alike archive, and how they are asked for and looked at in tests."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from archive_server import HEADER, Archive, kline_path, kline_rows, lines, milliseconds, zipped

from backtest.market import sources
from backtest.market.sources import Patience, Settings

HOUR = 3_600_000
NOW = datetime(2021, 6, 20, 12, tzinfo=UTC)
MAY, JUNE = date(2021, 5, 1), date(2021, 6, 1)
QUICK = Patience(first_pause=0.001, longest_pause=0.002, timeout=5)


def how(archive: Archive, folder: Path, **more: object) -> Settings:
    given = {"folder": folder, "hosts": archive.hosts, "patience": QUICK, "now": NOW, **more}
    return Settings(**given)


def fetch(archive: Archive, folder: Path, start: str, end: str, **more: object) -> sources.Fetched:
    return sources.fetch(
        "binance", "mark", "BTCUSDT", start, end, interval="1h", settings=how(archive, folder, **more)
    )


def stored(folder: Path, start: str, end: str) -> pl.DataFrame:
    return sources.scan("binance", "mark", "BTCUSDT", start, end, interval="1h", folder=folder).collect()


def hours(first: date, days: int) -> list[str]:
    """Return hourly mark prices: a day is the same whether its month is asked for or the day alone."""
    every = (kline_rows(first + timedelta(n), step=HOUR, volume=False) for n in range(days))
    return [line for day in every for line in day]


def put_month(archive: Archive, first: date = MAY, days: int = 31, without: tuple[int, ...] = ()) -> str:
    kept = [line for n, line in enumerate(hours(first, days)) if n // 24 + 1 not in without]
    return archive.put(kline_path("monthly", f"{first:%Y-%m}"), zipped(lines(HEADER, kept)))


def put_day(archive: Archive, day: date, **more: bool) -> str:
    return archive.put(kline_path("daily", f"{day}"), zipped(lines(HEADER, hours(day, 1))), **more)


def assert_hours(frame: pl.DataFrame, first: date, days: int) -> None:
    rows = [line.split(",") for line in hours(first, days)]
    assert frame["time"].dt.epoch("ms").to_list() == [int(row[0]) for row in rows]
    assert frame["close"].to_list() == [float(row[4]) for row in rows]


def outcomes(fetched: sources.Fetched) -> dict[str, str]:
    return dict(fetched.frame.select("period", "outcome").iter_rows())


def bybit_trades(day: date, count: int) -> str:
    second = milliseconds(day) // 1000
    header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
    return lines(header, [f"{second + n}.5,BTCUSD,Buy,1,50,ZeroPlusTick,id-{n},1,0.02,1" for n in range(count)])
