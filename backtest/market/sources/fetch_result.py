"""Result of ``fetch``: every file of the span, with its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from backtest.market.repairs import Repairs
from backtest.market.sources.archives import Period, Series
from backtest.market.sources.manifest import Entry
from backtest.schemas.frames import Time

#: ``kept``: on the disk already, or known to be missing. ``failed``: not available now, the next call tries again.
Outcome = Literal["fetched", "kept", "missing", "damaged", "failed"]


@dataclass(frozen=True)
class File:
    """One file, or a page of the venue's interface (which has no period)."""

    series: Series
    period: Period | None
    outcome: Outcome
    entry: Entry

    @property
    def has_days(self) -> bool:
        """Whether it is a month that is also kept by days."""
        return self.period is not None and self.period.monthly and self.series.archive.daily


@dataclass(frozen=True)
class Fetched:
    """The files of a span."""

    folder: Path
    files: tuple[File, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """One row a file: venue, data, symbol, period, outcome, size, rows, first and last time, repairs."""
        return pl.DataFrame(
            [_row(file) for file in self.files],
            schema={
                "venue": pl.String,
                "data": pl.String,
                "symbol": pl.String,
                "period": pl.String,
                "outcome": pl.String,
                "status": pl.String,
                "verified": pl.Boolean,
                "bytes": pl.Int64,
                "rows": pl.Int64,
                "first": Time,
                "last": Time,
                "repairs": pl.String,
                "note": pl.String,
            },
            orient="row",
        )

    @property
    def repairs(self) -> Repairs:
        """Repairs in all files together."""
        return sum((file.entry.repairs for file in self.files), start=Repairs())

    def repairs_of(self, symbol: str, name: str | None = None) -> Repairs:
        """Return the repairs in the files of a symbol, of all its series or of one by name."""
        files = (file for file in self.files if file.series.symbol == symbol and name in (None, file.series.name))
        return sum((file.entry.repairs for file in files), start=Repairs())

    @property
    def wanting(self) -> tuple[File, ...]:
        """The files missing or damaged at the venue; of a missing month with daily files, the days.

        A missing day whose bars its month has is wanted no more.
        """
        months = {
            (file.series, file.period): set(file.entry.short_days)
            for file in self.files
            if file.period is not None and file.period.monthly and file.entry.status == "stored"
        }

        def is_wanting(file: File) -> bool:
            if file.outcome == "failed" or file.entry.status != "missing":
                return file.outcome != "failed" and file.entry.status == "damaged"
            day = file.period
            if day is None or day.monthly:
                return not file.has_days
            short = months.get((file.series, Period.month(day.first)))
            return short is None or day.first in short

        return tuple(file for file in self.files if is_wanting(file))

    @property
    def failures(self) -> tuple[File, ...]:
        """The files that could not be fetched; the next call tries them again."""
        return tuple(file for file in self.files if file.outcome == "failed")

    def __repr__(self) -> str:
        counts = {name: sum(file.outcome == name for file in self.files) for name in get_args(Outcome)}
        files = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        return f"Fetched({files or 'no files'}; {self.folder})"


def _row(file: File) -> tuple[object, ...]:
    entry = file.entry
    return (
        file.series.venue,
        file.series.name,
        file.series.symbol,
        "recent" if file.period is None else str(file.period),
        file.outcome,
        entry.status,
        entry.verified,
        entry.bytes,
        entry.rows,
        entry.first,
        entry.last,
        str(entry.repairs) if entry.repairs else "",
        entry.note,
    )
