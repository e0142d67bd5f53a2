"""Schemas of frames and their checks: one error names argument, rule, how many rows break it, and the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from backtest.errors import DataError, kind_of, quoted
from backtest.schemas.conversion import closest
from backtest.schemas.exact_numbers import Numbers, as_numbers, is_exact_kind
from backtest.schemas.given_frames import as_frame
from backtest.schemas.rules import EARLIEST, LAST_TIME, Rule

#: What a side may be called, in any case, beside +1 and -1.
SIDES = {"long": "long", "buy": "long", "short": "short", "sell": "short"}

WORDS = {pl.Float64: "numbers", pl.Int64: "whole numbers", pl.String: "text"}


@dataclass(frozen=True)
class Column:
    """One column: its name, its type, the rule its values follow, whether it may be absent, null or text."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    rule: Rule | None = None
    required: bool = True
    nullable: bool = False
    or_text: bool = False  #: names of rows: whole numbers or text

    def fits(self, dtype: pl.DataType) -> bool:
        """Whether a column of this type is one as it is."""
        return dtype == self.dtype or (self.or_text and dtype == pl.String)


@dataclass(frozen=True)
class Schema:
    """The columns of a frame, and the sentences that must hold across columns of one row."""

    name: str
    columns: tuple[Column, ...]
    across: tuple[tuple[str, tuple[str, ...], pl.Expr], ...] = ()


def conform(given: Any, schema: Schema) -> pl.DataFrame:
    """Return a frame in the schema's own types where the same values merely stand in others, checked.

    Frames are read by :func:`~backtest.schemas.given_frames.as_frame`. Whole milliseconds in another unit or zone
    of time, float32, integers and decimals that float64 holds exactly, integers of other widths, text for
    categories, and the other names of a side (``Buy``, -1) are the same values; a polars time without a zone, or
    text that is no category, is not.

    Raises
    ------
    DataError
        As :func:`check`, which sees the frame afterwards.
    """
    frame = as_frame(given, schema.name)
    known = {column.name: column for column in schema.columns}
    converted = [
        series
        for name in frame.columns
        if name in known and (series := _converted(frame[name], known[name], schema.name)) is not None
    ]
    frame = frame.with_columns(converted) if converted else frame
    check(frame, schema)
    return frame


def numbered(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return a frame with a column of ids first, its rows numbered from 0 where it has none."""
    ids = pl.int_range(pl.len(), dtype=pl.Int64).alias(name)
    return frame if name in frame.columns else frame.select(ids, pl.all())


def named_alike(frame: pl.DataFrame, name: str, ids: pl.DataType) -> pl.DataFrame:
    """Return a frame whose ids are of the type of those they belong to: numbers as text, or text as numbers."""
    if frame.schema[name] == ids:
        return frame
    alike = frame[name].cast(ids, strict=False)
    unknown = alike.is_null() & frame[name].is_not_null()
    _refuse_values(
        frame[name], unknown, f"{name} must be one of those there are, which are {WORDS[ids.base_type()]}"
    )
    return frame.with_columns(alike)


def check(frame: pl.DataFrame, schema: Schema) -> None:
    """Raise unless a frame follows its schema; columns the schema does not know are left alone.

    Raises
    ------
    DataError
        For no frame at all, missing columns, wrong types, nulls, values or rows that break a rule.
    """
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"{schema.name} must be a polars DataFrame, is {kind_of(frame)}")
    _check_columns(frame, schema)
    present = [column for column in schema.columns if column.name in frame.columns]
    hints = {column.name: column.rule.hint for column in present if column.rule is not None}
    rules: list[tuple[str, pl.Expr, tuple[str, ...]]] = [
        (*_column_rule(column), (column.name,)) for column in present
    ]
    rules += [
        (sentence, holds, names) for sentence, names, holds in schema.across if set(names) <= set(frame.columns)
    ]
    broken = frame.lazy().select((~holds).sum().alias(str(number)) for number, (_, holds, _) in enumerate(rules))
    for (sentence, holds, names), count in zip(rules, broken.collect().row(0), strict=True):
        if count:
            first = frame[names[0]].to_physical().filter(frame.select(~holds).to_series())[0]
            hint = hints[names[0]](first) if len(names) == 1 and names[0] in hints and first is not None else ""
            raise DataError(offence(frame, schema.name, sentence, ~holds, names) + hint)


def offence(frame: pl.DataFrame, argument: str, sentence: str, bad: pl.Expr, names: Iterable[str]) -> str:
    """Return the message for rows that break a rule: what, how many of how many, and the first one."""
    broken = frame.select(bad.fill_null(False)).to_series()
    row = int(broken.arg_true()[0])
    known = ("position_id", "leg_id", "account_id", "symbol", "time")
    shown = [name for name in known if name in frame.columns and name not in names]
    values = ", ".join(f"{name}={say(_value(frame[name], row))}" for name in [*shown, *names])
    return f"{argument}: {sentence}: {breaking(int(broken.sum()), frame.height)}, first row {row:,} ({values})"


def breaking(count: int, total: int) -> str:
    """Return how many rows break a rule: "1 of 48 rows breaks this"."""
    return f"{count:,} of {total:,} rows {'breaks' if count == 1 else 'break'} this"


def say(value: object) -> str:
    """Return a value as it stands in messages: times without their machinery, numbers in full."""
    if isinstance(value, datetime):
        part = value.microsecond
        fraction = "" if not part else f".{part:06d}" if part % 1000 else f".{part // 1000:03d}"
        return f"{value:%Y-%m-%d %H:%M:%S}{fraction} UTC"
    return "null" if value is None else quoted(value)


def require_order(frame: pl.DataFrame, argument: str) -> None:
    """Raise unless times rise strictly within each symbol: unsorted and duplicate times are refused."""
    time, keys = pl.col("time"), ("symbol", "time")
    before = time.shift(1).over("symbol") if frame["symbol"].n_unique() > 1 else time.shift(1)
    sentences = {
        "times must rise within each symbol": time < before,
        "times must not repeat within each symbol": time == before,
    }
    found = frame.lazy().select(**{sentence: wrong.any() for sentence, wrong in sentences.items()}).collect()
    for sentence, wrong in sentences.items():
        if found[sentence].item():
            raise DataError(offence(frame, argument, sentence, wrong, keys))


def _value(series: pl.Series, row: int) -> object:
    """Return one value; a time that Python has no name for as its number."""
    if isinstance(series.dtype, pl.Datetime):
        number = series.to_physical()[row]
        unit = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[series.dtype.time_unit]
        if number is not None and not EARLIEST.timestamp() <= number / unit < LAST_TIME.timestamp():
            return number
    return series[row]


def _check_columns(frame: pl.DataFrame, schema: Schema) -> None:
    missing = [column.name for column in schema.columns if column.required and column.name not in frame.columns]
    if missing:
        needed = ", ".join(column.name for column in schema.columns if column.required)
        raise DataError(
            f"{schema.name} must have the columns {needed}: missing {', '.join(missing)} "
            f"(there are {', '.join(frame.columns) or 'none'}){_misspelt(missing, frame, schema)}"
        )
    for column in schema.columns:
        if column.name in frame.columns and not column.fits(frame.schema[column.name]):
            raise DataError(
                f"{schema.name}: {column.name} must be {_wanted_type(column)}, "
                f"is {_given_type(frame.schema[column.name])}"
            )


def _misspelt(missing: Sequence[str], frame: pl.DataFrame, schema: Schema) -> str:
    """Return which of a frame's other columns may be the ones it lacks."""
    strange = [name for name in frame.columns if name not in {column.name for column in schema.columns}]
    alike = {name: closest(name, strange) for name in missing}
    found = [f"is {other} meant to be {name}?" for name, other in alike.items() if other]
    return f": {' '.join(found)}" if found else ""


def _converted(series: pl.Series, column: Column, argument: str) -> pl.Series | None:
    """Return a column in the type its schema wants, or None where it is in it already or cannot be."""
    have, want = series.dtype, column.dtype
    if column.fits(have):
        return None
    if have == pl.Null and (column.nullable or series.is_empty()):
        return series.cast(want)
    if isinstance(want, pl.Datetime):
        if not isinstance(have, pl.Datetime) or have.time_zone is None:
            return None
        series = series.dt.convert_time_zone("UTC")
        milliseconds = series.dt.cast_time_unit("ms")
        split = milliseconds.dt.cast_time_unit(have.time_unit) != series
        _refuse_values(series, split, f"{argument}: {column.name} must be whole milliseconds")
        return milliseconds
    if isinstance(want, pl.Enum):
        return _as_category(series, column, want, argument)
    if isinstance(have, pl.Categorical | pl.Enum) and (want == pl.String or column.or_text):
        return series.cast(pl.String)
    if want in (pl.Float64, pl.Int64) and is_exact_kind(have):
        return exact(series, want, f"{argument}: {column.name}")
    return series.cast(want) if want == pl.Float64 and have == pl.Float32 else None


def exact(series: pl.Series, want: Numbers, named: str) -> pl.Series:
    """Return integers or decimals as float64 or int64; raise where that type does not hold a value."""
    numbers, lost = as_numbers(series, want)
    kind = f"{WORDS[pl.Int64]} below 2^63" if want == pl.Int64 else "numbers that float64 holds exactly"
    _refuse_values(series, lost, f"{named} must be {kind} (a cast rounds them)")
    return numbers


def _as_category(series: pl.Series, column: Column, want: pl.Enum, argument: str) -> pl.Series | None:
    choices, is_side = want.categories.to_list(), column.name == "side"
    if is_side and series.dtype.is_numeric():
        text = series.cast(pl.Float64).replace_strict(
            {1: "long", -1: "short"}, default=None, return_dtype=pl.String
        )
    elif not isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum):
        return None
    else:
        text = series.cast(pl.String)
        text = text.str.to_lowercase().replace_strict(SIDES, default=None) if is_side else text
    wrong = series.is_not_null() & (text.is_null() | ~text.is_in(choices))
    also = " (or buy, sell, +1, -1)" if is_side else ""
    _refuse_values(series, wrong, f"{argument}: {column.name} must be one of {', '.join(choices)}{also}")
    return text.cast(want)


def _refuse_values(series: pl.Series, wrong: pl.Series, rule: str) -> None:
    """Raise where any value of a column is marked as wrong."""
    if wrong.any():
        row = wrong.arg_true()[0]
        counted = breaking(int(wrong.sum()), series.len())
        raise DataError(f"{rule}: {counted}, first row {row:,} ({series.name}={say(_value(series, row))})")


def _column_rule(column: Column) -> tuple[str, pl.Expr]:
    value = pl.col(column.name)
    present = value.is_not_null()
    if column.rule is None:
        holds = pl.lit(True) if column.nullable else present
        return f"{column.name} must not be null", holds
    good = column.rule.holds(value)
    sentence = f"{column.name} {column.rule.sentence}"
    return (sentence, good | ~present) if column.nullable else (sentence, good.fill_null(False))


def _wanted_type(column: Column) -> str:
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return "times in UTC (Datetime with the zone UTC)"
    if isinstance(dtype, pl.Enum):
        return f"one of {', '.join(dtype.categories)} (text or Enum)"
    return f"{WORDS[dtype.base_type()]}{' or text' if column.or_text else ''} ({dtype})"


def _given_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return "times without a zone (dt.replace_time_zone gives them one)"
    return "nothing but nulls" if dtype == pl.Null else str(dtype)
