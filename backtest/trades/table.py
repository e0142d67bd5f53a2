"""Rows of a trade list, read column by column: numbers with their units, times with their zones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from backtest.errors import DataError
from backtest.market.sources.formats import delimited
from backtest.schemas.frames import Time
from backtest.schemas.times import with_zone
from backtest.schemas.validation import breaking, say

Dates = Literal["day_first", "month_first"]

#: A number with separators between thousands, and perhaps a unit.
GROUPED = r"^\s*[+-]?[1-9]\d{0,2}(?:[, ]\d{3})+(?:[^\d,]|$)"

#: A time that ends in a zone or an offset from UTC.
ZONED = r"T.*(?:[Zz]|UTC|[+-]\d{2}(?::?\d{2})?)$"

#: A date whose first two numbers could each be the month.
SLASHED = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})"

#: Forms of a time without a zone; midnight may be written as the day alone.
FORMS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one trade list as they are written, with what the reader says about them."""

    where: str  #: what messages call it
    rows: pl.DataFrame
    timezone: str | None = None  #: of times without an offset
    dates: Dates | None = None  #: order of day and month
    about: Mapping[str, Any] = field(default_factory=dict)  #: what a file says beside its rows
    names: Mapping[str, str] = field(init=False)  #: the rows' column by its name in small letters

    def __post_init__(self) -> None:
        """Note the columns by their names in small letters."""
        object.__setattr__(self, "names", {name.strip().lower(): name for name in self.rows.columns})

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.rows.height

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return all(name.lower() in self.names for name in names)

    def raw(self, name: str) -> pl.Series:
        """Return a column as it is written; nulls where there is none."""
        if not self.has(name):
            return pl.Series(name, [None] * self.height, dtype=pl.String)
        return self.rows[self.names[name.lower()]]

    def text(self, name: str) -> pl.Series:
        """Return a column as text, empty text as null."""
        found = self.raw(name).cast(pl.String).str.strip_chars()
        return found.set(found == "", None)

    def number(self, name: str) -> pl.Series:
        """Return a column as numbers: separators of thousands and a unit behind the number are left out.

        A comma elsewhere is refused: 1,5 would be 15.
        """
        found = self.raw(name)
        if found.dtype.is_numeric():
            return found.cast(pl.Float64)
        text = self.text(name)
        grouped = text.str.contains(GROUPED)
        bare = text.str.replace_all(r"\s", "").zip_with(~grouped, text.str.replace_all(r"[, ]", ""))
        without_unit = bare.str.replace(r"[A-Za-z][A-Za-z0-9]*$", "")
        read = bare.cast(pl.Float64, strict=False)
        read = read.fill_null(without_unit.cast(pl.Float64, strict=False))
        commas = text.str.contains(",").fill_null(False) & read.is_null()
        self.refuse(name, commas, "must be a number with a point before decimals", text)
        self.refuse(name, text.is_not_null() & read.is_null(), "must be a number", text)
        return read

    def number_or_null(self, name: str) -> pl.Series:
        """Return a column as numbers, nulls where there is no such column."""
        return self.number(name) if self.has(name) else pl.Series(name, [None] * self.height, dtype=pl.Float64)

    def flag(self, name: str) -> pl.Series:
        """Return a column of yes and no."""
        found = self.raw(name)
        if found.dtype == pl.Boolean:
            return found.fill_null(False)
        return self.text(name).str.to_lowercase().is_in(["true", "1", "yes"]).fill_null(False)

    def words(self, name: str, meanings: Mapping[str, str], kind: pl.Enum) -> pl.Series:
        """Return a column of few words, whatever their case, by their meanings."""
        text = self.text(name)
        found = text.str.to_lowercase().replace_strict(meanings, default=None, return_dtype=pl.String)
        sentence = f"must be one of {', '.join(dict.fromkeys(meanings))}"
        self.refuse(name, found.is_null(), sentence, text)
        return found.cast(kind)

    def time(self, name: str, *, naive: str | None = None) -> pl.Series:
        """Return a column as times in UTC.

        Parameters
        ----------
        name : of the column
        naive : the zone of times without an offset where the reader names none; None: they are refused
        """
        found = self.raw(name)
        zone = self.timezone or naive
        if isinstance(found.dtype, pl.Datetime):
            return _in_utc(self, name, found, zone)
        if found.dtype.is_float() or found.dtype.is_integer():
            return self._stamps(name, found.cast(pl.Int64))
        text = self.text(name)
        if text.drop_nulls().str.contains(r"^\d{9,}(\.0*)?$").all() and text.drop_nulls().len():
            return self._stamps(name, text.str.replace(r"\..*$", "").cast(pl.Int64))
        return self._written(name, text, zone)

    def refuse(self, name: str, bad: pl.Series, sentence: str, values: pl.Series) -> None:
        """Raise where any row of a column is marked as bad."""
        if bad.any():
            row = int(bad.arg_true()[0])
            counted = breaking(int(bad.sum()), bad.len())
            raise DataError(f"{self.where}: {name} {sentence}: {counted}, first row {row:,} ({say(values[row])})")

    def _stamps(self, name: str, found: pl.Series) -> pl.Series:
        present = found.drop_nulls()
        if present.is_empty():
            return found.cast(Time)
        bounds = (delimited.MILLISECONDS, delimited.MICROSECONDS, delimited.NANOSECONDS)
        low, high = int(present.min()), int(present.max())  # type: ignore[arg-type]
        unit = sum(low >= bound for bound in bounds)
        if unit != sum(high >= bound for bound in bounds) or low < 10**8:
            raise DataError(f"{self.where}: {name} must be in one unit since 1970, is {low:,} to {high:,}")
        return (found * 1000 if unit == 0 else found // 1000 ** (unit - 1)).cast(Time)

    def _written(self, name: str, text: pl.Series, zone: str | None) -> pl.Series:
        joined = text.str.replace(r"^(\S+)\s+", "${1}T").str.replace(r"^(\d{4})/(\d{1,2})/", "${1}-${2}-")
        if joined.str.contains(SLASHED).any():
            joined = self._ordered(name, joined)
        zoned = joined.str.contains(ZONED)
        if zoned.any() and not (zoned | text.is_null()).all():
            raise DataError(f"{self.where}: {name} must have an offset in all rows, or in none")
        if zoned.any():
            read = with_zone(joined, "ms").alias(name)
        else:
            tried = (joined.str.to_datetime(form, time_unit="ms", strict=False) for form in FORMS)
            read = pl.select(pl.coalesce(tried)).to_series().alias(name)
        self.refuse(name, text.is_not_null() & read.is_null(), "must be a time", text)
        return read if zoned.any() else _in_utc(self, name, read, zone)

    def _ordered(self, name: str, text: pl.Series) -> pl.Series:
        """Return dates like 03/04/2024 as 2024-04-03, or raise where they can be read two ways."""
        parts = text.str.extract_groups(SLASHED).struct.unnest()
        first, second = (parts[part].cast(pl.Int64).max() or 0 for part in ("1", "2"))
        order = self.dates or ("day_first" if first > 12 else "month_first" if second > 12 else None)  # type: ignore[operator]
        if order is None:
            raise DataError(
                f"{self.where}: {name} can be read with day or month first (first {say(text.drop_nulls()[0])}): "
                "say which",
                remedies=(("dates", "day_first"), ("dates", "month_first")),
            )
        swap = "${3}-${2}-${1}" if order == "day_first" else "${3}-${1}-${2}"
        return text.str.replace(SLASHED, swap)


def _in_utc(table: Table, name: str, found: pl.Series, zone: str | None) -> pl.Series:
    """Return times of any unit and zone as UTC milliseconds."""
    assert isinstance(found.dtype, pl.Datetime)
    if found.dtype.time_zone is not None:
        return found.dt.convert_time_zone("UTC").dt.cast_time_unit("ms")
    if found.null_count() == found.len():
        return found.dt.replace_time_zone("UTC").dt.cast_time_unit("ms")
    if zone is None:
        raise DataError(
            f"{table.where}: {name} has no offset from UTC (first {found.drop_nulls()[0]}): say which zone",
            remedies=(("timezone", "UTC"), ("timezone", "Asia/Shanghai")),
        )
    read = found.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    sentence = f"must be one moment in {zone}: clocks are set back or forward there"
    table.refuse(name, found.is_not_null() & read.is_null(), sentence, found)
    return read.dt.convert_time_zone("UTC").dt.cast_time_unit("ms")
