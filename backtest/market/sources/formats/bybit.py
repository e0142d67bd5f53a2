"""Bybit's public files: single trades, klines for MetaTrader 4, and the index of 2019 and 2020. No checksums."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl

from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.formats import delimited, tidy
from backtest.market.sources.formats.klines import bars
from backtest.schemas.frames import Time

TRADE_COLUMNS = (
    "time",
    "symbol",
    "taker_side",
    "size",
    "price",
    "tick_direction",
    "trade_id",
    "gross_value",
    "quantity",
    "foreign_notional",
)
#: ``homeNotional`` is the base amount of linear and inverse contracts alike; ``size`` is not.
TRADES = delimited.Layout(
    "trades",
    TRADE_COLUMNS,
    {
        "time": pl.Float64,
        "taker_side": pl.String,
        "price": pl.Float64,
        "trade_id": pl.String,
        "quantity": pl.Float64,
    },
    "time",
    (frozenset({"timestamp"}), frozenset({"symbol"}), frozenset({"side"}), frozenset({"size"})),
    extra=1,  # newer files end in RPI
)

SPOT_TRADES = delimited.Layout(
    "trades",
    ("trade_id", "time", "price", "quantity", "taker_side"),
    {
        "trade_id": pl.String,
        "time": pl.Int64,
        "price": pl.Float64,
        "quantity": pl.Float64,
        "taker_side": pl.String,
    },
    "time",
    (
        frozenset({"id"}),
        frozenset({"timestamp"}),
        frozenset({"price"}),
        frozenset({"volume"}),
        frozenset({"side"}),
    ),
    extra=1,  # newer files end in rpi
)

INDEX = delimited.Layout(
    "index",
    ("time", "symbol", "period", *tidy.OHLC),
    {"time": pl.Int64, **dict.fromkeys(tidy.OHLC, pl.Float64)},
    "time",
    tuple(frozenset({name}) for name in ("start_at", "symbol", "period", *tidy.OHLC)),
)

KLINES = delimited.Layout(
    "klines",
    ("time", "open", "high", "low", "close", "volume"),
    {"time": pl.String, **dict.fromkeys((*tidy.OHLC, "volume"), pl.Float64)},
    "time",
)
AMOUNTS = (pl.col("price") > 0) & (pl.col("quantity") > 0)

#: As two public loaders found; nothing in the files says so.
METATRADER_CLOCK = timedelta(hours=3)


def read_trades(data: bytes, path: Path) -> Reading:
    """Return ``time, price, quantity, taker_side, trade_id``: one row a trade, in order of time.

    Files written from the newest trade backwards are turned round first, so that trades of one millisecond keep
    their order.
    """
    frame = delimited.table(data, TRADES, path)
    seconds = pl.col("time").is_between(delimited.MILLISECONDS / 1000, delimited.MILLISECONDS)
    rule = "time must be seconds since 1970, price and quantity above zero"
    delimited.refuse(frame, ~(seconds & AMOUNTS), rule, ["time", "price", "quantity"], path)
    return _ordered(frame, lambda times: (times * 1000).round().cast(pl.Int64).cast(Time))


def read_spot_trades(data: bytes, path: Path) -> Reading:
    """Return spot trades as :func:`read_trades`."""
    frame = delimited.table(data, SPOT_TRADES, path)
    rule = "price and quantity must be above zero"
    delimited.refuse(frame, ~AMOUNTS, rule, ["time", "price", "quantity"], path)
    return _ordered(frame, lambda times: delimited.stamps(times, path)[0])


def read_index(data: bytes, path: Path, *, positive: bool = True) -> Reading:
    """Return ``time, open, high, low, close`` of the index price, or of the premium, which may be negative."""
    return bars(delimited.table(data, INDEX, path), path, positive=positive)


def _ordered(frame: pl.DataFrame, milliseconds: Callable[[pl.Series], pl.Series]) -> Reading:
    """Return trades by time, each once."""
    backwards = frame.height > 1 and frame["time"][0] > frame["time"][-1]
    frame = frame.reverse() if backwards else frame
    unsorted = frame.height if backwards else int((frame["time"] < frame["time"].cum_max().shift(1)).sum())
    once = frame.unique("trade_id", keep="first", maintain_order=True).sort("time", maintain_order=True)
    rows = once.select("price", "quantity", pl.col("taker_side").str.to_lowercase(), "trade_id")
    counts = {"unsorted": unsorted, "duplicate": frame.height - once.height}
    return Reading(rows.insert_column(0, milliseconds(once["time"]).alias("time")), Repairs(counts))


def read_klines(data: bytes, path: Path, *, clock: timedelta = METATRADER_CLOCK) -> Reading:
    """Return ``time, open, high, low, close, volume`` of the traded price.

    Parameters
    ----------
    data, path : the file's contents and where they are from
    clock : how far the clock of the files is ahead of UTC
    """
    frame = delimited.table(data, KLINES, path)
    written = frame["time"].str.replace_all(".", "-", literal=True) + ":00"
    reading = bars(frame.with_columns(time=written), path)
    moved = reading.rows.with_columns((pl.col("time") - clock).cast(Time))
    return Reading(moved, reading.repairs + Repairs({"clock": moved.height if clock else 0}))
