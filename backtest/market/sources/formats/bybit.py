"""Bybit's public files: single trades, klines for MetaTrader 4, and the index of 2019 and 2020. No checksums."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl

from backtest.errors import DataError
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
    "home_notional",
    "foreign_notional",
)
#: ``size`` and ``home_notional`` are base units of linear contracts and dollars of inverse ones, but for the
#: oldest files: which of the two notionals is the base amount follows from the price.
TRADES = delimited.Layout(
    "trades",
    TRADE_COLUMNS,
    {
        "time": pl.Float64,
        "symbol": pl.String,
        "taker_side": pl.String,
        "price": pl.Float64,
        "trade_id": pl.String,
        "home_notional": pl.Float64,
        "foreign_notional": pl.Float64,
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
    {"time": pl.Int64, "symbol": pl.String, **dict.fromkeys(tidy.OHLC, pl.Float64)},
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

#: How far the two notionals of a trade may be from one another's price, as printed with a few digits.
ROUNDING = 0.01

#: As two public loaders found; nothing in the files says so.
METATRADER_CLOCK = timedelta(hours=3)


def read_trades(data: bytes, path: Path) -> Reading:
    """Return ``time, price, quantity, taker_side, trade_id`` and the file's ``symbol``: one row a trade, by time.

    ``quantity`` is in base units, of linear and inverse contracts alike. Files written from the
    newest trade backwards are turned round first, so that trades of one millisecond keep their order.
    """
    frame = delimited.table(data, TRADES, path)
    seconds = pl.col("time").is_between(delimited.MILLISECONDS / 1000, delimited.MILLISECONDS)
    amounts = (pl.col(name) > 0 for name in ("price", "home_notional", "foreign_notional"))
    rule = "time must be seconds since 1970, price and notionals above zero"
    names = ["time", "price", "home_notional", "foreign_notional"]
    delimited.refuse(frame, ~pl.all_horizontal(seconds, *amounts), rule, names, path)
    frame = _in_base(frame, path)
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


def _in_base(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return trades with their ``quantity`` in base units: the notional that times the price is the other one."""
    home, foreign, price = pl.col("home_notional"), pl.col("foreign_notional"), pl.col("price")
    off_home, off_foreign = (home * price / foreign).log().abs(), (foreign * price / home).log().abs()
    found = frame.with_columns(
        quantity=pl.when(off_home <= off_foreign).then(home).otherwise(foreign),
        off=pl.min_horizontal(off_home, off_foreign),
    )
    typical = found["off"].median()
    if isinstance(typical, float) and typical > ROUNDING:
        raise DataError(
            f"trades file {path}: one of homeNotional and foreignNotional must be the other times the price, in "
            f"half of {found.height:,} rows they are {100 * typical:.2g} % off"
        )
    return found.drop("home_notional", "foreign_notional", "off")


def _ordered(frame: pl.DataFrame, milliseconds: Callable[[pl.Series], pl.Series]) -> Reading:
    """Return trades by time, each once."""
    backwards = frame.height > 1 and frame["time"][0] > frame["time"][-1]
    frame = frame.reverse() if backwards else frame
    unsorted = frame.height if backwards else int((frame["time"] < frame["time"].cum_max().shift(1)).sum())
    once = frame.unique("trade_id", keep="first", maintain_order=True).sort("time", maintain_order=True)
    own = [name for name in ("symbol",) if name in once.columns]
    rows = once.select(*own, "price", "quantity", pl.col("taker_side").str.to_lowercase(), "trade_id")
    counts = {"unsorted": unsorted, "duplicate": frame.height - once.height}
    times = milliseconds(once["time"]).alias("time")
    return Reading(rows.insert_column(0, times), Repairs(counts))


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
