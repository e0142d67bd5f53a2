"""Text of numbers, money, shares and times in charts, tables, messages and headlines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

THOUSANDS = ((1e12, " tn"), (1e9, " bn"), (1e6, " m"), (1e3, " k"))

#: Currencies worth a dollar are written with its sign.
DOLLARS = ("USD", "USDT", "USDC", "BUSD")

MINUS = "\N{MINUS SIGN}"

#: Text of a missing value in a table.
NOTHING = "-"

#: Figures of a price or an amount in a table.
FIGURES = 7

#: Names of intervals, by their minutes.
INTERVALS = {1: "minute", 60: "hour", 1440: "day", 10080: "week"}


@dataclass(frozen=True)
class Share:
    """In place of a currency: amounts are written as shares of a whole, as those of a synthetic book."""

    whole: float
    of: str  #: its name


def amount(value: float, currency: str | Share = "USDT") -> str:
    """Return an amount of money in three figures: ``$1.23 bn``, ``$300 m``, ``12.5 BTC``, ``0``."""
    if value == 0:
        return "0"
    if isinstance(currency, Share):
        return percent(value / currency.whole)
    size, unit = next(((size, unit) for size, unit in THOUSANDS if abs(value) >= 0.9995 * size), (1.0, ""))
    sign, written = MINUS if value < 0 else "", f"{three_figures(abs(value) / size)}{unit}"
    return f"{sign}${written}" if currency in DOLLARS else f"{sign}{written} {currency}".rstrip()


def currency_name(currency: str | Share) -> str:
    """Return the name of a currency on an axis."""
    if isinstance(currency, Share):
        return f"% of {currency.of}"
    return "$" if currency in DOLLARS else currency


def one(currency: str | Share) -> float:
    """Return the amount that is written as one, of which ticks are round multiples."""
    return currency.whole if isinstance(currency, Share) else 1.0


def percent(value: float) -> str:
    """Return a fraction as per cent in three figures: ``12.3 %``, ``0.045 %``, ``0 %``."""
    return f"{three_figures(value * 100)} %"


def percentage(value: float | None, decimals: int = 2) -> str:
    """Return a fraction as per cent without the sign ``%``, which the header holds; a dash for None."""
    return number(None if value is None else 100 * value, decimals)


def percentage_decimals(largest: float) -> int:
    """Return the number of decimals of a column of percentages, given its largest fraction."""
    return 2 if largest >= 0.01 or largest == 0 else 3 if largest >= 0.001 else 4


def sign(value: float) -> str:
    """Return the sign of a change: ``+``, a minus as long as that, nothing for zero."""
    return "+" if value > 0 else MINUS if value < 0 else ""


def signed(value: float, form: str) -> str:
    """Return a number in a format that has a sign, with a minus as long as the plus."""
    return f"{value:{form}}".replace("-", MINUS)


def distance(value: float) -> str:
    """Return a distance from the price as per cent, signed: ``+4.2 %``."""
    return f"{sign(value)}{abs(100 * value):.1f} %"


def three_figures(value: float) -> str:
    """Return a number in three figures, without trailing zeros: 1,230, 12.3, 0.5."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def significant(price: float, figures: int = 4) -> str:
    """Return a price in so many figures, without an exponent: 41,680, 0.00001234."""
    if price == 0 or not math.isfinite(price):
        return f"{price:g}"
    decimals = figures - 1 - math.floor(math.log10(abs(price)))
    return f"{round(price, decimals):,.{max(0, decimals)}f}"


def plain(value: float, figures: int = 10) -> str:
    """Return a number in up to so many figures, without an exponent: 41,500, 46,850,000,000, 0.0000123."""
    text = significant(value, figures)
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number with separators of thousands, or a dash for None and NaN."""
    return NOTHING if value is None or value != value else f"{value:,.{decimals}f}"


def price(value: float | None) -> str:
    """Return a price or an amount in seven figures at most, without trailing zeros."""
    return column([value])[0]


def column(values: Sequence[float | None]) -> list[str]:
    """Return numbers of one column, all with the decimals that show the largest in seven figures."""
    present = [abs(value) for value in values if value is not None and value == value]
    digits = len(f"{max(present, default=0.0):.0f}") if max(present, default=0.0) >= 1 else 0
    written = [number(value, max(0, FIGURES - digits)) for value in values]
    numbers = [text for text in written if text != NOTHING]
    while numbers and "." in numbers[0] and all(text.endswith(("0", ".")) for text in numbers):
        written = [text if text == NOTHING else text[:-1] for text in written]
        numbers = [text[:-1] for text in numbers]
    return written


def plural(count: float, noun: str) -> str:
    """Return a count with its noun: "1 gap", "2 gaps"."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def moment(time: datetime) -> str:
    """Return a time with the name of its zone: 19 May 2021 13:10 UTC."""
    return f"{time.day} {time:%b %Y %H:%M} {zone_name(time)}"


def zone_name(time: datetime) -> str:
    """Return the name of a time's zone: UTC, CEST, UTC-03; a time without one is UTC."""
    name = f"{time:%Z}" or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def timestamp(time: datetime) -> str:
    """Return a time to the minute, or to the second if its seconds are not 0: 2021-05-19 13:10."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time.second else f"{time:%Y-%m-%d %H:%M}"


def day(time: datetime) -> str:
    """Return the day of a time: 2021-05-19."""
    return f"{time:%Y-%m-%d}"


def days(first: datetime, last: datetime) -> str:
    """Return the days from a first to a last: "10 to 26 May 2021", "28 Dec 2019 to 5 May 2026"."""
    end = f"{last.day} {last:%b %Y}"
    if first.date() == last.date():
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {end}"
    return f"{first.day} {first:%b}{'' if first.year == last.year else f' {first.year}'} to {end}"


def duration(span: timedelta) -> str:
    """Return a time span in its two largest units: "4 h 45 min", "2 d 3 h"; below a minute "30 s"."""
    if timedelta(0) < span < timedelta(minutes=1):
        return f"{three_figures(span.total_seconds())} s"
    minutes = round(span.total_seconds() / 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count:,} {unit}" for count, unit in [part for part in parts if part[0]][:2]) or "0 min"


def per_interval(step: float) -> str:
    """Return the name of an interval of so many days on an axis: ``per hour``, ``per 15 minutes``."""
    minutes = round(step * 1440)
    if minutes in INTERVALS:
        return f"per {INTERVALS[minutes]}"
    unit = max(size for size in INTERVALS if minutes % size == 0)
    return f"per {minutes // unit} {INTERVALS[unit]}s"


def of_interval(time: datetime, step: float) -> str:
    """Return the time of an interval of so many days: to the minute below a day, else the date."""
    if step < 1:
        return moment(time)
    date = f"{time.day} {time:%b %Y}"
    return date if step == 1 else f"from {date}"
