"""Repairs made while a file is read: every kind there is, with its count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

#: Every kind of repair, and what is done. Readers count no others.
REPAIRS = {
    "microseconds": "times in microseconds, read as such",
    "clock": "times of another clock, moved to UTC",
    "shifted": "times of a period's start, moved to its end, when the value was known",
    "unsorted": "rows out of order, sorted",
    "duplicate": "rows that repeat another, left out",
    "doubled": "liquidations that the venue wrote twice, one kept",
    "conflicting": "rows whose time a later row repeats with other values, left out",
    "stale": "rows of a month's file that the day's own file has with other values, the day's taken",
    "impossible": "bars whose prices are no numbers, not above zero or out of order, left out",
    "blank": "empty values, set to null",
    "zero": "values of zero that are impossible, set to null",
    "off_grid": "bars that open off the others' grid and overlap the next or the one before, left out",
    "beside": "files of a zip that are no data, left out",
    "unfinished": "bars that had not closed yet, left out",
    "late": "funding stamps some seconds late, charged at the time they are for",
}


@dataclass(frozen=True)
class Repairs:
    """Number of rows that each repair changed (``blank``, ``zero``: values; ``beside``: files); absent: none."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.counts) - set(REPAIRS))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no repair: there are {', '.join(REPAIRS)}")
        kept = {name: int(self.counts[name]) for name in REPAIRS if self.counts.get(name)}
        object.__setattr__(self, "counts", kept)

    def __add__(self, other: Repairs) -> Repairs:
        names = {*self.counts, *other.counts}
        return Repairs({name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in names})

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        counted = (f"{REPAIRS[name]}: {count:,}" for name, count in self.counts.items())
        return "; ".join(counted) or "nothing to repair"

    def frame(self) -> pl.DataFrame:
        """Return repair, rows, meaning: one row for each kind of repair that was made."""
        return pl.DataFrame(
            {
                "repair": list(self.counts),
                "rows": list(self.counts.values()),
                "meaning": [REPAIRS[name] for name in self.counts],
            },
            schema={"repair": pl.String, "rows": pl.Int64, "meaning": pl.String},
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """The rows of a file, sorted and without duplicates, and the repairs made."""

    rows: pl.DataFrame
    repairs: Repairs = field(default_factory=Repairs)
