"""Rows on the disk: Parquet by ``venue=/dataset=/symbol=/year=``, a part for each file of the archive.

A part is written under another name and renamed, so it is complete or absent. A month and its days may hold the
same bars: each time is read once, the day's row before the month's (venues mend days, and leave months as they
were), the month's before a recent one from the venue's interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import uuid4

import polars as pl

from backtest.errors import DataError
from backtest.market.panics import UNREADABLE, quiet
from backtest.market.sources.archives import Period, Series
from backtest.market.sources.manifest import Entry
from backtest.market.whole_files import whole

Origin = Literal["month", "day", "recent"]
#: How a part's column ``rank`` names the origin of its rows.
RANKS: dict[Origin, int] = {"month": 0, "day": 1, "recent": 2}
#: Where several parts hold the same time, the first of these origins wins.
PRECEDENCE: tuple[Origin, ...] = ("day", "month", "recent")

#: Age at which a broken download is removed: by then its month is published.
FORGOTTEN = timedelta(days=7)

#: How far the rows of a file may lie outside the days in its name.
ASIDE = timedelta(days=2)

PARTITIONS = {"venue": pl.String, "dataset": pl.String, "symbol": pl.String, "year": pl.Int32}


def write(folder: Path, series: Series, part: str, origin: Origin, rows: pl.DataFrame) -> None:
    """Store the rows of one file as a part, in the year each row lies in; a part of that name is replaced."""
    ranked = rows.select(pl.exclude("symbol"), pl.lit(RANKS[origin], pl.Int8).alias("rank"))
    before = set(folder_of(folder, series).glob(f"year=*/{part}.parquet"))
    for (year,), rows_of_year in ranked.group_by(pl.col("time").dt.year(), maintain_order=True):
        place = folder_of(folder, series) / f"year={year}"
        place.mkdir(parents=True, exist_ok=True)
        partial = place / f".{part}.{uuid4().hex}.partial"
        with whole(partial, place / f"{part}.parquet"):
            rows_of_year.write_parquet(partial, compression="zstd", statistics=True)
        before.discard(place / f"{part}.parquet")
    for outdated in before:  # in a year of which no row is left
        outdated.unlink()


def holds(folder: Path, series: Series, period: Period, entry: Entry) -> bool:
    """Whether the rows of a file of the archive are still on the disk."""
    if entry.status != "stored" or not entry.rows:
        return True
    return any(folder_of(folder, series).glob(f"year=*/{period}.parquet"))


def stale(folder: Path, series: Series, day: Period) -> int:
    """Return how many rows the file of a day's month has with other values than the day's own file."""
    month = _part(folder, series, Period.month(day.first))
    own = _part(folder, series, day)
    if month is None or own is None:
        return 0
    both = own.join(month, on="time", how="semi")
    return both.height - both.join(month, on=both.columns, how="semi", nulls_equal=True).height


def _part(folder: Path, series: Series, period: Period) -> pl.DataFrame | None:
    """Return the rows of a file without their rank; None where it is not stored."""
    parts = sorted(folder_of(folder, series).glob(f"year=*/{period}.parquet"))
    if not parts:
        return None
    return pl.concat((_rows_of(part) for part in parts), how="diagonal")


def _rows_of(part: Path) -> pl.DataFrame:
    """Return the rows of a part without their rank.

    Raises
    ------
    DataError
        For a part that is damaged.
    """
    try:
        with quiet():
            return pl.read_parquet(part, glob=False, hive_partitioning=False).drop("rank")
    except UNREADABLE as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise DataError(f"stored rows {part} cannot be read ({reason}): remove and fetch them again") from None


def extend(folder: Path, series: Series, rows: pl.DataFrame) -> None:
    """Add recent rows to those already stored; a row of the same time is replaced."""
    kept = [_rows_of(part) for part in sorted(folder_of(folder, series).glob("year=*/recent.parquet"))]
    merged = pl.concat([*kept, rows.select(pl.exclude("symbol"))])
    write(folder, series, "recent", "recent", merged.unique("time", keep="last").sort("time"))


def folder_of(folder: Path, series: Series) -> Path:
    """Return the folder of a series' parts."""
    return folder / f"venue={series.venue}" / f"dataset={series.name}" / f"symbol={series.symbol}"


def scan(folder: Path, wanted: Sequence[Series], start: datetime, end: datetime) -> pl.LazyFrame:
    """Return the rows of some series of one data set from ``start`` up to ``end``, by symbol and time.

    Only parts of these symbols that may hold rows of the span are opened, and of those only the row groups and
    columns that are needed.

    Raises
    ------
    DataError
        Where no rows of these series and years are stored.
    """
    last = end.year if end > datetime(end.year, 1, 1, tzinfo=end.tzinfo) else end.year - 1
    parts = [
        part
        for series in wanted
        for year in range(start.year, last + 1)
        for part in sorted((folder_of(folder, series) / f"year={year}").glob("*.parquet"))
        if _may_hold(part.stem, start, end)
    ]
    if not parts:
        names = ", ".join(str(series) for series in wanted[:3])
        raise DataError(f"nothing is stored of {names} from {start:%Y-%m-%d} to {end:%Y-%m-%d} in {folder}")
    rows = pl.scan_parquet(
        parts, glob=False, hive_partitioning=True, hive_schema=PARTITIONS, try_parse_hive_dates=False
    )
    inside = rows.filter(pl.col("time").is_between(start, end, closed="left"))
    rank = pl.col("rank").replace({RANKS[origin]: place for place, origin in enumerate(PRECEDENCE)})
    once = inside.sort("symbol", "time", rank).unique(["symbol", "time"], keep="first", maintain_order=True)
    return once.select("symbol", pl.exclude("symbol", "rank", *PARTITIONS))


def read(folder: Path, wanted: Sequence[Series], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the rows of :func:`scan`.

    Raises
    ------
    DataError
        Where nothing is stored, and where a part is damaged.
    """
    try:
        with quiet():
            return scan(folder, wanted, start, end).collect()
    except UNREADABLE as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise DataError(
            f"the stored rows of {wanted[0]} cannot be read ({reason}): remove {folder_of(folder, wanted[0])} and "
            "fetch them again"
        ) from None


def _may_hold(part: str, start: datetime, end: datetime) -> bool:
    """Whether a part, named by its month or day, may hold rows of a span; rows may lie a day outside it."""
    first, last = (f"{moment:%Y-%m-%d}"[: len(part)] for moment in (start - ASIDE, end + ASIDE))
    return part == "recent" or first <= part <= last


def sweep_up(folder: Path, now: datetime) -> None:
    """Remove half-written files of a process that died, and abandoned downloads.

    Only the holder of the folder's lock may call this.
    """
    for download in folder.glob("downloads/*.partial"):
        if download.stat().st_mtime < (now - FORGOTTEN).timestamp():
            download.unlink()
    for partial in folder.glob("venue=*/dataset=*/symbol=*/year=*/.*.partial"):
        partial.unlink(missing_ok=True)
