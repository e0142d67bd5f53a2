"""Reading frames from Parquet and CSV files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException

from backtest.errors import DataError
from backtest.market.panics import UNREADABLE, quiet
from backtest.schemas.forks import require_threads
from backtest.schemas.times import with_zone
from backtest.schemas.validation import Column, Schema, breaking, conform, say

FORMATS = {".parquet": "Parquet", ".csv": "CSV"}


def read_frame(path: str | Path, schema: Schema) -> pl.DataFrame:
    """Read a file whose columns follow a schema; other columns are kept.

    Times in CSV files are ISO 8601 with a zone ("2021-05-19T13:10:00Z"), or UTC milliseconds since 1970.

    Raises
    ------
    DataError
        For a file that is absent, of another kind, damaged, or breaks the schema.
    """
    require_threads()
    if "://" in str(path):
        raise DataError(f"{schema.name} file {path} is an address: it must be a file of this machine")
    path = Path(path)
    file = f"{schema.name} file {path}"
    if not path.is_file():
        raise DataError(f"{file} is a folder, not a file" if path.is_dir() else f"{file} does not exist")
    if path.suffix not in FORMATS:
        raise DataError(f"{file} must end in {' or '.join(FORMATS)}")
    with readable(file, FORMATS[path.suffix]):
        frame = pl.read_parquet(path, glob=False) if path.suffix == ".parquet" else _read_csv(path, schema)
    return conform(frame, schema)


@contextmanager
def readable(file: str, kind: str) -> Iterator[None]:
    """Turn an error of polars while it reads a file into one line that names the file."""
    try:
        with quiet():
            yield
    except UNREADABLE as error:
        raise DataError(f"{file} cannot be read as {kind}: {_reason(error)}") from None


def _read_csv(path: Path, schema: Schema) -> pl.DataFrame:
    """Read every known column as text, then convert it to its type, so that no type is guessed from a sample."""
    known = {column.name: column for column in schema.columns}
    header = pl.read_csv(path, n_rows=0, glob=False).columns
    for name in known:
        if f"{name}_duplicated_0" in header:  # what polars calls the second column of a name
            raise DataError(f"{schema.name}: there must be one column {name}, there are several")
    texts = {name: pl.String for name in header if name in known}
    frame = pl.read_csv(path, schema_overrides=texts, infer_schema_length=None, glob=False)
    return frame.with_columns(_from_text(frame[name], known[name], schema.name) for name in texts)


def _from_text(text: pl.Series, column: Column, argument: str) -> pl.Series:
    dtype = column.dtype
    named = column.or_text and not text.drop_nulls().str.contains(r"^-?(0|[1-9]\d{0,17})$").all()
    if isinstance(dtype, pl.Enum) or dtype == pl.String or named:
        return text
    if not isinstance(dtype, pl.Datetime):
        read = text.cast(dtype, strict=False)
    elif text.drop_nulls().str.contains(r"^\d+$").all():
        read = text.cast(pl.Int64, strict=False).cast(dtype)
    else:
        read = with_zone(text, "us")
    wrong = read.is_null() & text.is_not_null()
    if wrong.any():
        row = int(wrong.arg_true()[0])
        counted = breaking(int(wrong.sum()), text.len())
        raise DataError(
            f"{argument}: {text.name} must be {_wanted(dtype)}: {counted}, "
            f"first row {row:,} ({text.name}={say(text[row])})"
        )
    return read


def _wanted(dtype: pl.DataType | type[pl.DataType]) -> str:
    if isinstance(dtype, pl.Datetime):
        return "a time with its zone, like 2021-05-19T13:10:00Z"
    return "a whole number" if dtype == pl.Int64 else "a number"


def _reason(error: BaseException) -> str:
    """Return the reason polars gives, in one line."""
    if isinstance(error, PanicException):
        return "it is damaged"
    reason = str(getattr(error, "strerror", None) or error).strip().split("\n", 1)[0]
    if "NoSuchKey" in str(error) or "NoSuchBucket" in str(error) or re.search(r"\b404\b", reason):
        return "there is no such file"
    if "more fields than defined" in reason:
        return "a line has more cells than the header"
    return reason.removeprefix("parquet: File out of specification: ")
