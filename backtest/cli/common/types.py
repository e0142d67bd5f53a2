"""Types of command-line arguments, with error messages."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backtest.errors import ArgumentError, require_folder_of_this_machine

#: First year of a time: the first of Unix time.
EARLIEST = 1970

#: A number with commas between thousands, not before decimals: 40,000 but not 1,5, which some write for 1.5.
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(?![\d,])")


def word(text: str) -> str:
    """Return text that is not empty, as an unset variable of a script is."""
    if not text.strip():
        raise ArgumentTypeError(f"must not be empty, is {text!r}")
    return text


def file(text: str) -> Path:
    """Return a file of this machine to read or write."""
    if "://" in text:
        raise ArgumentTypeError(f"must be a file of this machine, is the address {text!r}")
    return Path(word(text))


def source(text: str) -> Path | str:
    """Return a path, or an address of object storage as it is."""
    return text if "://" in text else file(text)


def folder(text: str) -> Path:
    """Return a folder to write to."""
    word(text)
    try:
        require_folder_of_this_machine(text, "")
    except ArgumentError as error:
        raise ArgumentTypeError(error.sentence) from None
    return Path(text)


def setting(text: str) -> tuple[str, str]:
    """Return a name and a value from NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ArgumentTypeError(f"must be like NAME=VALUE, is {text!r}")
    return name, value


def positive(text: str) -> float:
    """Return a finite number above zero."""
    value = number(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"must be a finite number above zero, is {text!r}")
    return value


def finite(text: str) -> float:
    """Return a finite number."""
    value = number(text)
    if not abs(value) < float("inf"):
        raise ArgumentTypeError(f"must be a finite number, is {text!r}")
    return value


def amount(text: str) -> float:
    """Return a finite number, zero or more."""
    value = number(text)
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"must be a finite number, zero or more, is {text!r}")
    return value


def leverage(text: str) -> float:
    """Return a number above zero, written with or without its x."""
    return positive(text.removesuffix("x"))


def side_mix(text: str) -> tuple[float, float]:
    """Return the typical leverage and the spread of a side, like ``10x:0.8``."""
    typical, colon, spread = text.partition(":")
    if not colon:
        raise ArgumentTypeError(f"must be TYPICAL:SPREAD like 10x:0.8, is {text!r}")
    return leverage(typical), positive(spread)


def leverage_span(text: str) -> tuple[float, float]:
    """Return the lowest leverage and that from which it ends, which may be left out."""
    low, dash, high = text.partition("-")
    try:
        ends = leverage(low), leverage(high) if high else math.inf
    except ArgumentTypeError:
        dash = ""
    if not dash or not ends[0] < ends[1]:
        raise ArgumentTypeError(f"must be like 20-50 or 50-, is {text!r}")
    return ends


def share(text: str) -> float:
    """Return a share between zero and one."""
    value = number(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"must lie between 0 and 1, is {text!r}")
    return value


def part(text: str) -> float:
    """Return a part of a whole, zero or more and below one."""
    value = share(text)
    if value >= 1:
        raise ArgumentTypeError(f"must be at least 0 and below 1, is {text!r}")
    return value


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    value = _whole(text)
    if value < 1:
        raise ArgumentTypeError(f"must be at least 1, is {text!r}")
    return value


def seed(text: str) -> int:
    """Return a whole number, zero or more."""
    value = _whole(text)
    if value < 0:
        raise ArgumentTypeError(f"must not be negative, is {text!r}")
    return value


def gap_limit(text: str) -> timedelta | None:
    """Return a time span from hours, or None from ``none``."""
    if text == "none":
        return None
    hours = number(text)
    if not 0 <= hours < 1e9:  # a timedelta ends at 2.4e10 hours
        raise ArgumentTypeError(f"must be hours, zero or more, or none, is {text!r}")
    return timedelta(hours=hours)


def time(text: str) -> datetime:
    """Return a moment in UTC from a date or a time; without a zone it is UTC already."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"must be a date or a time like 2021-05-19 or 2021-05-19T13:10, is {text!r}"
        ) from None
    if moment.year < EARLIEST:
        raise ArgumentTypeError(f"must lie in {EARLIEST} or later, is {text!r}")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def time_or_now(text: str) -> datetime | None:
    """Return a moment as :func:`time` does, or None from ``now``: the end of the history."""
    return None if text == "now" else time(text)


def timezone(text: str) -> str:
    """Return the name of a time zone."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ArgumentTypeError(f"must be a zone like UTC or Europe/Berlin, is {text!r}") from None
    return text


def span(text: str) -> timedelta:
    """Return a time span: 12h, 7d, 4w."""
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    count, which = text[:-1], text[-1:]
    if not (count.isdigit() and 0 < int(count) < 10**6 and which in unit):
        raise ArgumentTypeError(f"must be like 12h, 7d or 4w, is {text!r}")
    return timedelta(**{unit[which]: int(count)})


def reach(text: str) -> float:
    """Return a part of the price, above zero and below one."""
    value = number(text)
    if not 0 < value < 1:
        raise ArgumentTypeError(f"must lie between 0 and 1, is {text!r}")
    return value


def interval(text: str) -> str:
    """Return an interval as polars writes it: 15m, 1h, 1d, 1w."""
    count, unit = text[:-1], text[-1:]
    if not (count.isdigit() and int(count) > 0 and unit in ("m", "h", "d", "w")):
        raise ArgumentTypeError(f"must be like 15m, 1h, 1d or 1w, is {text!r}")
    return text


def number(text: str) -> float:
    """Return a number, which may be infinite or none."""
    try:
        return float(_ungrouped(text))
    except ValueError:
        raise ArgumentTypeError(f"must be a number{_point(text)}, is {text!r}") from None


def _whole(text: str) -> int:
    try:
        return int(_ungrouped(text))
    except ValueError:
        raise ArgumentTypeError(f"must be a whole number, is {text!r}") from None


def _ungrouped(text: str) -> str:
    """Return a number without its separators of thousands; a comma elsewhere stays, and is no number."""
    return text.replace(",", "") if GROUPED.match(text.strip()) else text


def _point(text: str) -> str:
    return ", with a point before decimals" if "," in text else ""
