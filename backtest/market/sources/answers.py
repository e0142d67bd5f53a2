"""Questions and answers of venues' public interfaces: Bybit.

Rows are ``(time, open, high, low, close[, volume])``, ``(time, rate)`` and ``(time, base, quote)`` of open
interest; times in milliseconds, amounts in base units, open interest of one side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from backtest.market.sources.archives import Endpoint, Series

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Answers:
    """The interface of one venue."""

    question: Callable[[Series, Endpoint, int, int], tuple[str, bytes | None]]  #: address and body of a window
    rows: Callable[[Series, Any], list[Row]]  #: the rows of an answer
    code: Callable[[Any], str] = lambda _: ""  #: its code of errors; 0 or nothing where there is none
    refusal: Callable[[Any], str] = str  #: its reason of a refusal
    busy: tuple[str, ...] = ()  #: codes of a venue that is to be asked again
    shift: timedelta = timedelta(0)  #: how much later than its stamp open interest was known


#: Contracts of Bybit that pay in the coin: perpetual, and with a date of expiry.
INVERSE = re.compile(r"[A-Z0-9]+USD(?:[FGHJKMNQUVXZ]\d\d)?")
BYBIT_INTERVALS = {"1h": "60", "2h": "120", "4h": "240", "6h": "360", "12h": "720", "1d": "D"}


def _bybit_question(series: Series, endpoint: Endpoint, start: int, end: int) -> tuple[str, None]:
    times = ("start", "end") if series.interval else ("startTime", "endTime")
    asked: dict[str, Any] = {
        "category": "inverse" if INVERSE.fullmatch(series.symbol) else "linear",
        "symbol": series.symbol,
        times[0]: start,
        times[1]: end - 1,
        "limit": endpoint.limit,
    }
    if series.interval:
        asked["interval"] = BYBIT_INTERVALS.get(series.interval, series.interval.removesuffix("m"))
    if series.dataset == "metrics":
        asked["intervalTime"] = "5min"
    return f"{endpoint.path}?{urlencode(asked)}", None


def _bybit_rows(series: Series, answer: Any) -> list[Row]:
    """Return rows; of inverse contracts volume and open interest are in dollars, the turnover is in the coin."""
    rows, inverse = answer["result"]["list"], INVERSE.fullmatch(series.symbol)
    if series.dataset == "funding":
        return [(int(row["fundingRateTimestamp"]), float(row["fundingRate"])) for row in rows]
    if series.dataset == "metrics":  # the sum of both sides
        halves = [(int(row["timestamp"]), float(row["openInterest"]) / 2) for row in rows]
        return [(time, None, half) if inverse else (time, half, None) for time, half in halves]
    places = (1, 2, 3, 4, 6 if inverse else 5)[: 5 if series.dataset == "last" else 4]
    return [(int(row[0]), *(float(row[place]) for place in places)) for row in rows]


ANSWERS: Mapping[str, Answers] = {
    "bybit": Answers(
        _bybit_question,
        _bybit_rows,
        code=lambda answer: str(answer["retCode"]) if isinstance(answer, dict) and "retCode" in answer else "",
        refusal=lambda answer: f"{answer['retCode']} {answer.get('retMsg', '')}",
        busy=("10006", "10016", "10018"),
    ),
}
