"""How amounts are written on charts and in headlines: three figures and a unit."""

from __future__ import annotations

import math
from datetime import datetime

THOUSANDS = ((1e12, " tn"), (1e9, " bn"), (1e6, " m"), (1e3, " k"))

#: Currencies worth a dollar are written with its sign.
DOLLARS = ("USD", "USDT", "USDC", "BUSD")

MINUS = "\N{MINUS SIGN}"


def amount(value: float, currency: str = "USDT") -> str:
    """Return an amount of money in three figures: ``$1.23 bn``, ``$300 m``, ``12.5 BTC``, ``0``."""
    if value == 0:
        return "0"
    size, unit = next(((size, unit) for size, unit in THOUSANDS if abs(value) >= 0.9995 * size), (1.0, ""))
    sign, written = MINUS if value < 0 else "", f"{three_figures(abs(value) / size)}{unit}"
    return f"{sign}${written}" if currency in DOLLARS else f"{sign}{written} {currency}".rstrip()


def percent(value: float) -> str:
    """Return a fraction as per cent in three figures: ``12.3 %``, ``0.045 %``, ``0``."""
    return "0" if value == 0 else f"{three_figures(value * 100)} %"


def three_figures(value: float) -> str:
    """Return a number in three figures, without zeros that say nothing: 1,230, 12.3, 0.5."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def currency_name(currency: str) -> str:
    """Return how a currency is named on an axis."""
    return "$" if currency in DOLLARS else currency


def significant(price: float, figures: int = 4) -> str:
    """Return a price in so many figures, without an exponent: 41,680, 0.00001234."""
    if price == 0 or not math.isfinite(price):
        return f"{price:g}"
    decimals = figures - 1 - math.floor(math.log10(abs(price)))
    return f"{round(price, decimals):,.{max(0, decimals)}f}"


def plain(value: float) -> str:
    """Return a number in up to ten figures, without an exponent: 41,500, 0.0000123."""
    text = f"{value:,.10g}"
    if "e-" not in text:
        return text
    decimals = 9 - math.floor(math.log10(abs(value)))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def moment(time: datetime) -> str:
    """Return a moment in UTC: 19 May 2021 13:10 UTC."""
    return f"{time.day} {time:%b %Y %H:%M} UTC"
