"""Rules of single values: conditions as sentences and as polars expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

#: Python's own limits, and the first year with prices of a cryptocurrency.
EARLIEST, LAST_TIME = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
FIRST_TIME, LATEST_PLAUSIBLE = datetime(2009, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

#: What turns a time read in the wrong unit into milliseconds, and the unit it was written in.
OTHER_UNITS = ((1e3, "seconds"), (1e6, "seconds"), (1e-3, "microseconds"), (1e-6, "nanoseconds"))


@dataclass(frozen=True)
class Rule:
    """A condition on one value, as a sentence and as a polars expression that is true where it holds.

    ``hint`` gives the likely mistake behind a physical value that breaks the rule, empty where there is none.
    """

    sentence: str
    holds: Callable[[pl.Expr], pl.Expr]
    hint: Callable[[Any], str] = lambda _: ""


def unit_hint(milliseconds: int) -> str:
    """Return the unit that a time outside the range was written in, where one puts it inside."""
    first, last = FIRST_TIME.timestamp() * 1e3, LATEST_PLAUSIBLE.timestamp() * 1e3
    found = [unit for factor, unit in OTHER_UNITS if first <= milliseconds * factor < last]
    return f": they look like {found[0]}, give milliseconds since 1970 or ISO 8601" if found else ""


#: Products of a few numbers must not overflow, so that the margin formula always has an answer.
SMALLEST, LARGEST = 1e-50, 1e50

POSITIVE = Rule("must be above zero (and below 1e50)", lambda value: value.is_between(SMALLEST, LARGEST))

#: Prices of fills: a face-value contract may be worth nothing, which engines allow no other.
FILL_PRICE = Rule(
    "must be above zero (and below 1e50), or 0 of a face-value contract",
    lambda value: (value == 0) | value.is_between(SMALLEST, LARGEST),
)

NOT_NEGATIVE = Rule("must be finite and not negative", lambda value: value.is_between(0, LARGEST))

FRACTION = Rule("must lie between 0 and 1", lambda value: value.is_between(0, 1))

FINITE = Rule("must be a finite number", lambda value: value.is_between(-LARGEST, LARGEST))

#: Another unit mistaken for milliseconds leads out of these years.
IN_RANGE = Rule(
    "must lie in the years 2009 to 9999", lambda value: value.is_between(FIRST_TIME, LAST_TIME), unit_hint
)
