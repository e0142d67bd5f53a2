"""What a reader had to put right in a file, counted: nothing is repaired without standing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

#: Every repair there is, and what was done. A reader cannot count any other.
REPAIRS = {
    "microseconds": "stamps in microseconds, taken as such",
    "clock": "stamps of another clock, moved to UTC",
    "shifted": "stamps of a period's start, moved to its end, when the value was known",
    "unsorted": "rows out of order, sorted",
    "duplicate": "rows that repeat another, left out",
    "doubled": "liquidations written twice by the venue, one kept",
    "conflicting": "rows of a time that a later row gives again with other values, left out",
    "impossible": "bars whose prices are none, not above zero or out of order, left out",
    "blank": "empty values, null",
    "zero": "values of zero that cannot be, null",
    "unfinished": "bars that had not closed yet, left out",
}


@dataclass(frozen=True)
class Repairs:
    """How many rows (of ``blank`` and ``zero``: values) each repair touched; what is not there touched none."""

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
        told = (f"{REPAIRS[name]}: {count:,}" for name, count in self.counts.items())
        return "; ".join(told) or "nothing to repair"

    def frame(self) -> pl.DataFrame:
        """Return repair, rows, meaning: one row for each kind that happened."""
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
    """The rows of a file, sorted and each there once, and what was put right to get them."""

    rows: pl.DataFrame
    repairs: Repairs = field(default_factory=Repairs)
