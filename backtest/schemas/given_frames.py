"""Frames as they are given: polars, pandas, anything of the Arrow stream interface, columns by name, rows.

Pandas is taken column by column through numpy, so that it needs no pyarrow, and is never imported here. Times
without a zone are UTC outside polars; what pandas or numpy calls missing (NaN, NaT, NA) becomes null.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import DataError, kind_of
from backtest.schemas.categories import KindOfContract, Outcome, ReplayOutcome, Side

#: Columns of outcomes whose text is one of few words.
CATEGORIES = {
    "side": (Side,),
    "outcome": (Outcome, ReplayOutcome),
    "leg_outcome": (Outcome,),
    "contract_kind": (KindOfContract,),
}
#: The column of outcomes whose text may all be missing.
PRICE_VENUE = "price_venue"


def as_frame(given: Any, name: str) -> pl.DataFrame:
    """Return a polars frame of what was given as one.

    Parameters
    ----------
    given
        A polars DataFrame (returned as it is) or LazyFrame (collected), a pandas DataFrame (a named index becomes
        a column), an object with ``__arrow_c_stream__``, a mapping of column names to values, a list of rows by
        column name.
    name
        Of the argument, for messages.

    Raises
    ------
    DataError
        For anything else, and for columns that cannot be read.
    """
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    try:
        return _categories(_utc(_read(given, name)))
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).strip().split("\n", 1)[0]
        raise DataError(f"{name}: {kind_of(given)} cannot be read as a frame: {reason}") from error


def owned(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a copy whose memory nobody else has: a frame may share that of a caller's numpy arrays."""
    if frame.height < 2:
        return frame[list(range(frame.height))]
    return pl.concat([frame.head(1), frame.slice(1)], rechunk=True)


def as_given(given: Any, kind: Any, name: str) -> Any:
    """Return what an argument that wants something of polars is given; NotImplemented for others."""
    plain = given is None or isinstance(given, str | int | float)
    if isinstance(given, kind) or (kind is pl.LazyFrame and isinstance(given, pl.DataFrame)):
        return given
    if kind is pl.DataFrame and not plain:
        return as_frame(given, name)
    if kind is pl.Series and hasattr(given, "__len__") and not plain and not isinstance(given, Mapping):
        return as_frame({name: given}, name).to_series()
    return NotImplemented


def _read(given: Any, name: str) -> pl.DataFrame:
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(given, pandas.DataFrame):
        return _from_pandas(given, name)
    if hasattr(given, "__arrow_c_stream__") and not isinstance(given, pl.Series):
        return pl.DataFrame(given)
    if isinstance(given, Mapping) and given:
        return pl.DataFrame([_column(str(key), values) for key, values in _broadcast(given).items()])
    rows = isinstance(given, Sequence) and bool(given) and all(isinstance(row, Mapping) for row in given)
    if rows:
        return pl.DataFrame(given, infer_schema_length=None)
    sentence = f"must be a frame (polars or pandas, columns by name, or rows by column name), is {kind_of(given)}"
    raise DataError(sentence, argument=name)


def _broadcast(columns: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return columns of one length; a single value is that of every row."""
    single = {key for key, values in columns.items() if isinstance(values, str) or not hasattr(values, "__len__")}
    count = max((len(values) for key, values in columns.items() if key not in single), default=1)
    return {key: [values] * count if key in single else values for key, values in columns.items()}


def _from_pandas(frame: Any, name: str) -> pl.DataFrame:
    if any(level is not None for level in frame.index.names):
        frame = frame.reset_index([level for level in frame.index.names if level is not None])
    twice = [str(column) for column in frame.columns[frame.columns.duplicated()]]
    if twice:
        raise DataError(f"{name}: there must be one column {twice[0]}, there are several")
    return pl.DataFrame([_column(str(label), frame[label]) for label in frame.columns])


def _column(name: str, values: Any) -> pl.Series:
    """Return a column of polars, numpy, pandas or plain values."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if hasattr(values, "isna"):
        values = _plain(values)
    elif not isinstance(values, np.ndarray):
        values = list(values)
    if isinstance(values, np.ndarray) and values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] != "ns":
        values = values.astype("datetime64[us]")
    if isinstance(values, np.ndarray) and values.dtype.kind in "OU":
        values = values.tolist()
    series = pl.Series(name, values, nan_to_null=True)
    return series.fill_nan(None) if series.dtype.is_float() else series


def _plain(values: Any) -> Any:
    """Return a column of pandas as numpy or a list has it."""
    missing = values.isna().to_numpy()
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if getattr(values.dtype, "kind", "O") == "M":
        return values.to_numpy()
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf":
        return values.to_numpy()
    return [None if gone else value for gone, value in zip(missing, values.tolist(), strict=True)]


def _utc(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose times are in UTC, milliseconds where they are whole."""
    changed = []
    for series in frame.iter_columns():
        if isinstance(series.dtype, pl.Datetime):
            zoned = series.dt.replace_time_zone("UTC") if series.dtype.time_zone is None else series
            zoned = zoned.dt.convert_time_zone("UTC")
            whole = zoned.dt.cast_time_unit("ms")
            exact = (whole.dt.cast_time_unit(series.dtype.time_unit) == zoned).all()
            changed.append(whole if exact else zoned)
    return frame.with_columns(changed)


def _categories(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with text as categories where all of it is of one set; text that is all missing is text."""
    empty = frame.schema.get(PRICE_VENUE) == pl.Null
    changed = [frame[PRICE_VENUE].cast(pl.String)] if empty else []
    for name, sets in CATEGORIES.items():
        if name in frame.columns and isinstance(frame.schema[name], pl.String | pl.Categorical):
            words = frame[name].cast(pl.String)
            fitting = [kind for kind in sets if words.drop_nulls().is_in(kind.categories.to_list()).all()]
            changed += [words.cast(kind) for kind in fitting[:1]]
    return frame.with_columns(changed)
