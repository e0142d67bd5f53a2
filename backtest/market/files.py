"""Reading frames from Parquet and CSV files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from backtest.errors import DataError
from backtest.schemas import Schema, conform


def read_frame(path: str | Path, schema: Schema) -> pl.DataFrame:
    """Read a file whose columns follow a schema; other columns are kept.

    Times in CSV files are ISO 8601 with a zone ("2021-05-19T13:10:00Z"), or UTC milliseconds since 1970.

    Raises
    ------
    DataError
        For a file that is absent, of another kind, damaged, or breaks the schema.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{schema.name} file {path} does not exist")
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        elif path.suffix == ".csv":
            frame = _read_csv(path, schema)
        else:
            raise DataError(f"{schema.name} file {path} must end in .parquet or .csv")
    except PolarsError as error:
        raise DataError(f"{schema.name} file {path} cannot be read: {_first_line(error)}") from None
    try:
        return conform(frame.rechunk(), schema)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_csv(path: Path, schema: Schema) -> pl.DataFrame:
    """Read every known column as text and turn it into its own type, so that nothing is guessed from a sample."""
    known = {column.name: column.dtype for column in schema.columns}
    header = pl.read_csv(path, n_rows=0).columns
    frame = pl.read_csv(path, schema_overrides={name: pl.String for name in header if name in known})
    return frame.with_columns(
        _from_text(frame[name], known[name], schema.name) for name in header if name in known
    )


def _from_text(text: pl.Series, dtype: pl.DataType | type[pl.DataType], argument: str) -> pl.Series:
    if isinstance(dtype, pl.Enum) or dtype == pl.String:
        return text
    if not isinstance(dtype, pl.Datetime):
        read = text.cast(dtype, strict=False)
    elif text.drop_nulls().str.contains(r"^\d+$").all():
        read = text.cast(pl.Int64, strict=False).cast(dtype)
    else:
        read = text.str.to_datetime("%+", time_unit="ms", time_zone="UTC", strict=False)
    wrong = read.is_null() & text.is_not_null()
    if wrong.any():
        row = wrong.arg_true()[0]
        wanted = "a time with its zone" if isinstance(dtype, pl.Datetime) else "a number"
        raise DataError(
            f"{argument}: {text.name} must be {wanted}: {wrong.sum():,} of {text.len():,} rows are not, "
            f"first row {row:,} ({text[row]!r})"
        )
    return read


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
