"""Delimited text as the archives write it, with or without a header, read by a full schema.

Nothing is guessed from a sample of rows. A file has a header when its first byte is neither a digit nor a sign;
columns are taken by position, so a header that repeats a name does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from backtest.errors import DataError
from backtest.market import panics
from backtest.schemas.frames import Time
from backtest.schemas.times import with_zone
from backtest.schemas.validation import breaking, say

DataType = pl.DataType | type[pl.DataType]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NUMBER_STARTS = b"0123456789-+."

#: Stamps above these are milliseconds, microseconds, nanoseconds; below the first, seconds. Each holds from 1973
#: to 5138.
MILLISECONDS, MICROSECONDS, NANOSECONDS = 10**11, 10**14, 10**17


@dataclass(frozen=True)
class Layout:
    """The columns of a file by position: all names, the types of those wanted, and the column of times."""

    name: str
    columns: tuple[str, ...]
    wanted: dict[str, DataType]
    time: str
    #: names the first columns of a header may have, position by position, in small letters
    header: tuple[frozenset[str], ...] = ()
    #: columns beyond the last that newer files have, ignored
    extra: int = 0


def table(data: bytes, layout: Layout, path: Path) -> pl.DataFrame:
    """Return the wanted columns of a file, times still as they are written.

    Raises
    ------
    DataError
        For a header or a number of columns that the layout does not know, and cells of the wrong type.
    """
    data = plain_lines(data).lstrip(b"\n")
    first = data[: _line_end(data, 0)]
    headed = bool(first) and first[:1] not in NUMBER_STARTS
    cells = first.decode("utf-8", "replace").split(",")
    if headed:
        _check_header([cell.strip(' "').lower() for cell in cells], layout, path)
        first = data[len(first) + 1 : _line_end(data, len(first) + 1)]
        cells = first.decode("utf-8", "replace").split(",") if first.strip() else cells
    if first.strip() and not 0 <= len(cells) - len(layout.columns) <= layout.extra:
        raise DataError(f"{layout.name} file {path} must have {len(layout.columns)} columns, has {len(cells)}")
    _require_whole(data, len(cells), layout, path)
    extra = [f"extra_{number}" for number in range(len(cells) - len(layout.columns))]
    return _parsed(data, layout, path, [*layout.columns, *extra], headed, cells)


def plain_lines(data: bytes) -> bytes:
    """Return text without a byte order mark, whose lines end in a line feed alone."""
    data = data.removeprefix(BYTE_ORDER_MARK)
    if b"\r" not in data[:65_536]:
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def stamps(times: pl.Series, path: Path) -> tuple[pl.Series, int]:
    """Return written times as UTC milliseconds, and how many were written in microseconds or nanoseconds.

    The unit of whole numbers follows from their size. Text is ``2021-05-19 13:10:00`` in UTC, or a day.

    Raises
    ------
    DataError
        For text that is no time, units that change within a file, times before 1973.
    """
    if times.dtype == pl.String:
        return _from_text(times, path), 0
    low, high = times.min(), times.max()
    if not (isinstance(low, int) and isinstance(high, int)):
        return times.cast(Time), 0
    bounds = (MILLISECONDS, MICROSECONDS, NANOSECONDS)
    unit = sum(low >= bound for bound in bounds)
    if unit != sum(high >= bound for bound in bounds) or low < 10**8:
        raise DataError(f"file {path}: times must be in one unit since 1970, are {low:,} to {high:,}")
    scaled = times * 1000 if unit == 0 else times // 1000 ** (unit - 1)
    return scaled.cast(Time), times.len() if unit > 1 else 0


def refuse(frame: pl.DataFrame, bad: pl.Expr, sentence: str, names: Sequence[str], path: Path) -> None:
    """Raise where rows of a file break a rule."""
    broken = frame.select(bad.fill_null(True)).to_series()
    if broken.any():
        row = int(broken.arg_true()[0])
        values = ", ".join(f"{name}={say(frame[name][row])}" for name in names)
        counted = breaking(int(broken.sum()), frame.height)
        raise DataError(f"file {path}: {sentence}: {counted}, first row {row:,} ({values})")


def _parsed(
    data: bytes, layout: Layout, path: Path, names: list[str], headed: bool, cells: list[str]
) -> pl.DataFrame:
    schema: dict[str, DataType] = {name: layout.wanted.get(name, pl.String) for name in names}
    numbered = cells[names.index(layout.time)].strip(' "').isdigit() if len(cells) == len(names) else False
    if layout.wanted[layout.time] == pl.Int64 and not numbered:
        schema[layout.time] = pl.String
    try:
        with panics.quiet():
            frame = pl.read_csv(
                data,
                has_header=False,
                skip_rows=int(headed),
                schema=schema,
                columns=[names.index(name) for name in layout.wanted],
                raise_if_empty=False,
            )
    except panics.UNREADABLE as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise DataError(f"{layout.name} file {path} cannot be read: {reason}") from None
    return frame.select(list(layout.wanted))


def _line_end(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end


def _require_whole(data: bytes, cells: int, layout: Layout, path: Path) -> None:
    """Refuse text that breaks off inside its last line: a price cut short is still a number."""
    last = data[data.rstrip(b"\n").rfind(b"\n") + 1 :]
    found = last.count(b",") + 1
    if last.strip() and found != cells:
        raise DataError(
            f"{layout.name} file {path} breaks off: its last line has {found} columns, its first {cells}"
        )


def _check_header(names: list[str], layout: Layout, path: Path) -> None:
    for position, (name, known) in enumerate(zip(names, layout.header, strict=False), start=1):
        if name not in known:
            raise DataError(
                f"{layout.name} file {path}: column {position} of its header must be "
                f"{' or '.join(sorted(known))}, is {name!r}"
            )


def _from_text(times: pl.Series, path: Path) -> pl.Series:
    first = times.drop_nulls().head(1)
    sample = str(first[0]) if len(first) else ""
    zoned = "T" in sample or "+" in sample or sample.endswith("Z")
    read = with_zone(times, "ms") if zoned else _in_utc(times)
    frame = pl.DataFrame({"time": times, "read": read})
    refuse(frame, pl.col("read").is_null(), "times must be like 2021-05-19 13:10:00, in UTC", ["time"], path)
    return read


def _in_utc(times: pl.Series) -> pl.Series:
    """Return times without a zone as UTC; midnight may be written as the day alone."""
    forms = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    tried = (times.str.to_datetime(form, time_unit="ms", time_zone="UTC", strict=False) for form in forms)
    return pl.select(pl.coalesce(tried)).to_series()
