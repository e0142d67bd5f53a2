"""Questions and answers of venues' public interfaces: Bybit, OKX, Hyperliquid.

Rows are ``(time, open, high, low, close[, volume])``, ``(time, rate)`` and ``(time, base, quote)`` of open
interest; times in milliseconds, amounts in base units, open interest of one side.
"""

from __future__ import annotations

import json
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
    period: timedelta = timedelta(minutes=5)  #: of open interest
    spacing: float = 0.02  #: seconds between two questions, as the venue's limits ask for
    row_spacing: float = 0.0  #: more seconds for each row that a question may be answered with
    hint: str = ""  #: added to errors: what a venue does not say by itself


#: Contracts of Bybit that pay in the coin: perpetual, and with a date of expiry.
INVERSE = re.compile(r"[A-Z0-9]+USD(?:[FGHJKMNQUVXZ]\d\d)?")
#: How other venues spell a perpetual contract of OKX or Hyperliquid: ``BTCUSDT``.
SPELLED = re.compile(r"(?P<base>[A-Za-z0-9]+?)(?P<quote>USDT|USDC|USD)")
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


OKX_INTERVALS = {"1h": "1H", "2h": "2H", "4h": "4H", "6h": "6Hutc", "12h": "12Hutc", "1d": "1Dutc"}
#: Rows a page of OKX: one more than a window has, so that it does not matter whether its ends are part of it.
OKX_PAGE = 100


def _okx_question(series: Series, endpoint: Endpoint, start: int, end: int) -> tuple[str, None]:
    symbol = SPELLED.fullmatch(series.symbol)
    asked: dict[str, Any] = {
        "instId": f"{symbol['base']}-{symbol['quote']}-SWAP" if symbol else series.symbol,
        "limit": OKX_PAGE,
    }
    if series.dataset == "metrics":
        asked |= {"period": "1H", "begin": start - 1, "end": end}
    else:
        asked |= {"before": start - 1, "after": end}
    if series.interval:
        asked["bar"] = OKX_INTERVALS.get(series.interval, series.interval)
    return f"{endpoint.path}?{urlencode(asked)}", None


def _okx_rows(series: Series, answer: Any) -> list[Row]:
    """Return rows; bars that are not confirmed are left out, amounts are those in the coin, not in contracts."""
    rows = answer["data"]
    if series.dataset == "funding":
        rates = ((row["fundingTime"], row.get("realizedRate") or row["fundingRate"]) for row in rows)
        return [(int(time), float(rate)) for time, rate in rates]
    if series.dataset == "metrics":
        return [(int(time), float(coin), float(dollars)) for time, _, coin, dollars in rows]
    places = (1, 2, 3, 4, 6)[: 5 if series.dataset == "last" else 4]
    return [(int(row[0]), *(float(row[place]) for place in places)) for row in rows if row[-1] == "1"]


def _hyperliquid_question(series: Series, endpoint: Endpoint, start: int, end: int) -> tuple[str, bytes]:
    symbol = SPELLED.fullmatch(series.symbol)
    window: dict[str, Any] = {
        "coin": symbol["base"] if symbol else series.symbol,
        "startTime": start,
        "endTime": end - 1,
    }
    if series.dataset == "funding":
        return endpoint.path, json.dumps({"type": "fundingHistory", **window}).encode()
    asked = {"type": "candleSnapshot", "req": {**window, "interval": series.interval}}
    return endpoint.path, json.dumps(asked).encode()


def _hyperliquid_rows(series: Series, answer: Any) -> list[Row]:
    if series.dataset == "funding":
        return [(int(row["time"]), float(row["fundingRate"])) for row in answer]
    return [(int(row["t"]), *(float(row[name]) for name in "ohlcv")) for row in answer]


ANSWERS: Mapping[str, Answers] = {
    "bybit": Answers(
        _bybit_question,
        _bybit_rows,
        code=lambda answer: str(answer["retCode"]) if isinstance(answer, dict) and "retCode" in answer else "",
        refusal=lambda answer: f"{answer['retCode']} {answer.get('retMsg', '')}",
        busy=("10006", "10016", "10018"),
    ),
    "okx": Answers(
        _okx_question,
        _okx_rows,
        code=lambda answer: str(answer["code"]) if isinstance(answer, dict) and "code" in answer else "",
        refusal=lambda answer: f"{answer['code']} {answer.get('msg', '')}",
        busy=("50001", "50004", "50011", "50013", "50026"),
        shift=timedelta(hours=1),
        period=timedelta(hours=1),
        spacing=0.2,
    ),
    "hyperliquid": Answers(
        _hyperliquid_question,
        _hyperliquid_rows,
        spacing=1.0,  # 1,200 a minute: a question costs 20, and 1 more for 20 rows of funding or 60 bars
        row_spacing=0.0025,
        hint="; so it may also answer about a coin that it does not list",
    ),
}
