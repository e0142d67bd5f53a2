"""Candles of other tools and tables of any shape: ccxt and freqtrade, CSV and Parquet with a map of columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from backtest.errors import ArgumentError, DataError
from backtest.market.panics import UNREADABLE, quiet
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.formats import delimited, tidy
from backtest.market.sources.formats.klines import bars
from backtest.schemas.exact_numbers import is_exact_kind
from backtest.schemas.frames import BARS, FUNDING, Time
from backtest.schemas.validation import exact

CANDLE = ("time", *tidy.OHLC, "volume")
FEATHER, PARQUET = b"ARROW1", b"PAR1"

#: Names under which files of other tools hold the symbol.
SYMBOL_COLUMNS = ("symbol", "instrument_name", "instId", "instrument", "contract", "pair", "ticker", "coin")

#: What a column map may fill, and as what.
KNOWN = {column.name: column.dtype for column in (*BARS.columns, *FUNDING.columns)}


def read_candles(data: bytes, path: Path) -> Reading:
    """Return bars from a feather file with ``date, open, …`` or a JSON list of ``[time, open, …]``.

    Raises
    ------
    DataError
        For another shape, and for times without a zone.
    """
    if data[: len(FEATHER)] == FEATHER:
        frame = _feather(data, path)
        missing = sorted({"date", *CANDLE[1:]} - set(frame.columns))
        if missing:
            have = ", ".join(frame.columns)
            raise DataError(f"candles file {path} must have {', '.join(missing)} (there are {have})")
        frame = frame.select(pl.col("date").alias("time"), *CANDLE[1:])
    else:
        frame = _json(data, path)
    values = [pl.col(name).cast(pl.Float64, strict=False) for name in CANDLE[1:]]
    return bars(_read_times(frame.with_columns(values), path), path)


def read_table(data: bytes, path: Path, columns: Mapping[str, str] | None) -> Reading:
    """Return bars or funding from a CSV with a header, a Parquet or a feather file.

    Parameters
    ----------
    data, path : the file's contents and where they are from
    columns : the package's name of a column, and the file's; columns that are not named keep their names

    Raises
    ------
    ArgumentError, DataError
        For a map to names the package does not know or the file does not have; for values of another type.
    """
    if data[: len(FEATHER)] == FEATHER:
        frame = _feather(data, path)
    else:
        frame = _parquet(data, path) if data[: len(PARQUET)] == PARQUET else _csv(data, path)
    frame = _mapped(frame, dict(columns or {}), path)
    read = [_cast(frame[name], path) for name in frame.columns if name not in ("time", "symbol")]
    frame = _read_times(frame.with_columns(read), path)
    parts = frame.partition_by("symbol", maintain_order=True) if "symbol" in frame.columns else [frame]
    readings = [_tidied(part, path) for part in parts]
    whole = Repairs()
    for reading in readings:
        whole = whole + reading.repairs
    return Reading(pl.concat([reading.rows for reading in readings]), whole)


def _tidied(frame: pl.DataFrame, path: Path) -> Reading:
    if set(tidy.OHLC) <= set(frame.columns) and "rate" not in frame.columns:
        return bars(frame, path)
    if "rate" not in frame.columns:
        raise DataError(f"table file {path} must have open, high, low, close or rate after mapping")
    delimited.refuse(frame, ~pl.col("rate").is_finite(), "rate must be a finite number", ["rate"], path)
    times, microseconds = delimited.stamps(frame["time"], path)
    frame, ordered = tidy.in_order(frame.with_columns(time=times))
    return Reading(frame, Repairs({"microseconds": microseconds, **ordered}))


def _mapped(frame: pl.DataFrame, columns: dict[str, str], path: Path) -> pl.DataFrame:
    strangers = sorted(set(columns) - set(KNOWN))
    if strangers:
        raise ArgumentError(f"must name {', '.join(KNOWN)}: {strangers[0]!r} is none of them", argument="columns")
    kept = [column.name for column in FUNDING.columns] if "rate" in columns else list(KNOWN)
    columns = {name: columns.get(name, name) for name in kept if name in columns or name in frame.columns}
    columns.setdefault("time", "time")
    if "symbol" not in columns:
        found = [name for name in SYMBOL_COLUMNS if name in frame.columns]
        columns |= {"symbol": found[0]} if found else {}
    for name, own in columns.items():
        if own not in frame.columns:
            there = ", ".join(frame.columns) or "none"
            raise DataError(f"table file {path} has no column {own!r} for {name}: there are {there}")
    return frame.select(pl.col(own).alias(name) for name, own in columns.items())


def _cast(series: pl.Series, path: Path) -> pl.Series:
    if is_exact_kind(series.dtype):
        return exact(series, pl.Float64, f"table file {path}: {series.name}")
    read = series.cast(pl.Float64, strict=False)
    frame = pl.DataFrame({series.name: series, "read": read})
    delimited.refuse(frame, pl.col("read").is_null(), f"{series.name} must be a number", [series.name], path)
    return read


def _read_times(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return a frame whose times are whole numbers or text for ``bars``, or times already."""
    dtype = frame.schema["time"]
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            raise DataError(f"file {path}: times must have a zone (dt.replace_time_zone gives them one)")
        return frame.with_columns(pl.col("time").dt.convert_time_zone("UTC").cast(Time).dt.epoch("ms"))
    if dtype == pl.String and frame["time"].str.contains(r"^\d+$").all():
        return frame.with_columns(pl.col("time").cast(pl.Int64))
    return frame


def _csv(data: bytes, path: Path) -> pl.DataFrame:
    data = delimited.plain_lines(data)
    if data.lstrip()[:1] in (b"[", b"{"):
        raise DataError(f'table file {path} must be CSV, Parquet or feather, is JSON (kind "candles" reads lists)')
    if data[:1].isdigit():
        raise DataError(f"table file {path} must have a header: its first line begins with a number")
    try:
        with quiet():
            return pl.read_csv(data, infer_schema=False)
    except UNREADABLE as error:
        raise DataError(f"table file {path} cannot be read as CSV: {str(error).splitlines()[0]}") from None


def _parquet(data: bytes, path: Path) -> pl.DataFrame:
    try:
        with quiet():
            return pl.read_parquet(BytesIO(data))
    except UNREADABLE as error:
        raise DataError(f"table file {path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _feather(data: bytes, path: Path) -> pl.DataFrame:
    try:
        with quiet():
            return pl.read_ipc(BytesIO(data))
    except UNREADABLE as error:
        raise DataError(f"file {path} cannot be read as feather: {str(error).splitlines()[0]}") from None


def _json(data: bytes, path: Path) -> pl.DataFrame:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"candles file {path} cannot be read as JSON: {error}") from None
    if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) < len(CANDLE) for row in rows):
        raise DataError(f"candles file {path} must be a list of [time, open, high, low, close, volume]")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(CANDLE)}
    try:
        values = {name: pl.Series(columns[name], dtype=pl.Float64) for name in CANDLE[1:]}
        return pl.DataFrame({"time": pl.Series(columns["time"], dtype=pl.Int64), **values})
    except (TypeError, PolarsError) as error:
        raise DataError(f"candles file {path} must hold numbers: {str(error).splitlines()[0]}") from None
