"""Look-alikes of venues' public interfaces: rows by time, cut to a page, in the order and shape of each venue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from archive_server import Archive

MINUTE, HOUR = 60_000, 3_600_000
Row = list[Any]


def prices(time: int) -> list[str]:
    """Return open, high, low and close of a bar, which its time decides."""
    opening = 100 + time // MINUTE % 50
    return [f"{value}" for value in (opening, opening + 2.5, opening - 1.5, opening + 0.5)]


class Venue:
    """The times a venue has rows of, for each data set."""

    def __init__(self, archive: Archive, *, first: int, now: int, without: Iterable[int] = ()) -> None:
        self.archive, self.first, self.now, self.without = archive, first, now, set(without)

    def times(self, start: int, end: int, step: int) -> list[int]:
        """Return the times of rows from ``start`` to ``end`` inclusive, that venue's holes left out."""
        begin = max(self.first, -(-start // step) * step)
        return [time for time in range(begin, min(end, self.now) + 1, step) if time not in self.without]


def bybit(venue: Venue, symbol: str = "BTCUSDT") -> None:
    """Answer as Bybit: newest first, the newest ``limit`` rows of a window."""

    def answered(rows: Callable[[dict[str, str], int, int], list[Any]], most: int) -> Callable[..., Any]:
        def answer(query: dict[str, str]) -> Any:
            assert int(query["limit"]) <= most
            if query["symbol"] != symbol:
                return {"retCode": 10001, "retMsg": "params error: symbol invalid", "result": {}, "time": 0}
            start, end = (int(query.get(name) or query[f"{name}Time"]) for name in ("start", "end"))
            found = rows(query, start, end)[::-1][: int(query["limit"])]
            result = {"category": query["category"], "symbol": symbol, "list": found, "nextPageCursor": ""}
            return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 0}

        return answer

    def bars(query: dict[str, str], start: int, end: int) -> list[Any]:
        step = {"D": 24 * HOUR}.get(query["interval"]) or int(query["interval"]) * MINUTE
        return [[str(time), *prices(time)] for time in venue.times(start, end, step)]

    def traded(query: dict[str, str], start: int, end: int) -> list[Any]:
        return [[*row, "700", "7"] for row in bars(query, start, end)]

    def funding(_: dict[str, str], start: int, end: int) -> list[Any]:
        return [
            {"symbol": symbol, "fundingRate": "-0.0001", "fundingRateTimestamp": str(time)}
            for time in venue.times(start, end, 8 * HOUR)
        ]

    def interest(query: dict[str, str], start: int, end: int) -> list[Any]:
        assert query["intervalTime"] == "5min"
        return [{"openInterest": "90.00", "timestamp": str(time)} for time in venue.times(start, end, 5 * MINUTE)]

    venue.archive.answers |= {
        "v5/market/mark-price-kline": answered(bars, 1000),
        "v5/market/kline": answered(traded, 1000),
        "v5/market/funding/history": answered(funding, 200),
        "v5/market/open-interest": answered(interest, 200),
    }
