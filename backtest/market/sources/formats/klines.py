"""Klines: bars of the traded, mark, index or premium price, as the archives write them.

Twelve columns by position. The header is absent from spot files and old futures files; where there is one it has
several forms, one of which names six columns ``ignore``. COIN-M files count ``volume`` in contracts, and hold the
base amount where the others hold the quote amount, whatever their header says.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from backtest.errors import DataError
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.formats import delimited, tidy

COLUMNS = (
    "time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
HEADER = tuple(
    frozenset(names.split("|"))
    for names in (
        "open_time|opentime|open time|timestamp|time",
        "open",
        "high",
        "low",
        "close",
        "volume|ignore",
        "close_time|closetime|close time",
    )
)
PRICES: dict[str, delimited.DataType] = {"time": pl.Int64, **dict.fromkeys(tidy.OHLC, pl.Float64)}

#: Which file column each amount of the result is read from. Amounts are in base units.
AMOUNTS = {
    "klines": {"volume": "volume", "taker_buy_volume": "taker_buy_volume"},
    "coin_klines": {"volume": "quote_volume", "taker_buy_volume": "taker_buy_quote_volume"},
    "mark_klines": {},
    "index_klines": {},
    "premium_klines": {},
}


def read(data: bytes, path: Path, kind: str) -> Reading:
    """Return ``time, open, high, low, close``, and ``volume, taker_buy_volume, trades`` of traded prices."""
    amounts: dict[str, str] = AMOUNTS[kind]
    wanted = PRICES | dict.fromkeys(amounts.values(), pl.Float64)
    if amounts:
        wanted["trades"] = pl.Int64
    layout = delimited.Layout("klines", COLUMNS, wanted, "time", HEADER)
    frame = delimited.table(data, layout, path).rename({old: new for new, old in amounts.items()})
    return bars(frame, path, positive=kind != "premium_klines")


def bars(frame: pl.DataFrame, path: Path, *, positive: bool = True) -> Reading:
    """Return bars whose times are still as written, tidied."""
    if frame["time"].null_count():
        delimited.refuse(frame, pl.col("time").is_null(), "every bar must have a time", ["time"], path)
    times, microseconds = delimited.stamps(frame["time"], path)
    frame = frame.with_columns(time=times)
    counts = {"microseconds": microseconds}
    for name in ("volume", "taker_buy_volume"):
        if name in frame.columns:
            delimited.refuse(
                frame, pl.col(name) < 0, f"{name} must not be negative or empty", ["time", name], path
            )
    rows = frame.height
    frame, impossible = tidy.possible_bars(frame, positive=positive)
    if rows and frame.is_empty():
        raise DataError(
            f"file {path}: prices must be above zero with low <= open, close <= high: none of {rows:,} rows is "
            'such a bar (funding kept as candles: kind "table" with columns={"time": "date", "rate": "open"})'
        )
    frame, ordered = tidy.in_order(frame)
    frame, off_grid = tidy.without_overlaps(frame)
    return Reading(frame, Repairs(counts | impossible | ordered | off_grid))


def closed(frame: pl.DataFrame, *, interval: int, now: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the bars that had closed by a moment, and how many had not; both in milliseconds."""
    kept = frame.filter(pl.col("time").dt.epoch("ms") + interval <= now)
    return kept, {"unfinished": frame.height - kept.height}


def milliseconds(interval: str) -> int:
    """Return how long an interval of an archive is: ``1m``, ``4h``, ``1d``."""
    sizes = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
    return int(interval[:-1]) * sizes[interval[-1]]
