"""Times written with their zone, as ISO 8601 and near it: 2021-05-19T13:10:00Z, 2021-05-19 13:10 UTC."""

from __future__ import annotations

from typing import Literal

import polars as pl

#: A space inside a date or a time, which polars takes for a digit left out.
BROKEN = r"[:.T+-]\s|\s[:.]\d"

#: Ways to write a time and what polars reads: zone, separators, seconds left out, an offset of hours.
LOOSE = (
    (r"\s*(?:UTC|Z)$", "Z"),
    (r"^(\d{4})/(\d{1,2})/", "${1}-${2}-"),
    (r"^(\S+?)[\sT]+", "${1}T"),
    (r"\s+([+-]\d{2}:?\d{2})$", "${1}"),
    (r"T(\d{1,2}:\d{2})(Z|[+-]\d{2}(?::?\d{2})?)$", "T${1}:00${2}"),
    (r"(:\d{2}(?:\.\d+)?[+-]\d{2})$", "${1}:00"),
)


def with_zone(text: pl.Series, unit: Literal["ms", "us"]) -> pl.Series:
    """Return text as times in UTC; null where it is no time, or one without a zone."""
    read = _read(text, unit)
    broken = text.str.contains(BROKEN).fill_null(False)
    again = read.is_null() & text.is_not_null()
    if again.any():
        written = text.set(~again, None).str.strip_chars().str.to_uppercase()
        for pattern, plain in LOOSE:
            written = written.str.replace(pattern, plain)
        read = read.zip_with(~again, _read(written, unit))
        broken &= ~again | written.str.contains(BROKEN).fill_null(False)
    return read.set(broken, None) if broken.any() else read


def _read(text: pl.Series, unit: Literal["ms", "us"]) -> pl.Series:
    return text.str.to_datetime("%+", time_unit=unit, time_zone="UTC", strict=False)
