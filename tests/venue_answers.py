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


def okx(venue: Venue, symbol: str = "BTC-USDT-SWAP") -> None:
    """Answer as OKX: newest first; ``after`` is earlier than, ``before`` is later than a time."""

    def answered(rows: Callable[[dict[str, str], int, int], list[Any]]) -> Callable[..., Any]:
        def answer(query: dict[str, str]) -> Any:
            assert int(query["limit"]) <= 100
            if query["instId"] != symbol:
                return {"code": "51001", "msg": "Instrument ID does not exist", "data": []}
            after, before = (
                int(query.get(one) or query[other]) for one, other in (("after", "end"), ("before", "begin"))
            )
            return {
                "code": "0",
                "msg": "",
                "data": rows(query, before + 1, after - 1)[::-1][: int(query["limit"])],
            }

        return answer

    def bars(amounts: list[str]) -> Callable[[dict[str, str], int, int], list[Any]]:
        def rows(query: dict[str, str], start: int, end: int) -> list[Any]:
            step = {"1m": MINUTE, "1H": HOUR, "1Dutc": 24 * HOUR}[query["bar"]]
            return [
                [str(time), *prices(time), *amounts, str(int(time + step <= venue.now))]
                for time in venue.times(start, end, step)
            ]

        return rows

    def funding(_: dict[str, str], start: int, end: int) -> list[Any]:
        return [
            {"instId": symbol, "fundingRate": "0.5", "realizedRate": "-0.0001", "fundingTime": str(time)}
            for time in venue.times(start, end, 4 * HOUR)
        ]

    def interest(query: dict[str, str], start: int, end: int) -> list[Any]:
        assert query["period"] == "1H"
        return [[str(time), "4500", "45", "99000"] for time in venue.times(start, end, HOUR)]

    venue.archive.answers |= {
        "api/v5/market/history-mark-price-candles": answered(bars([])),
        "api/v5/market/history-candles": answered(bars(["70000", "700", "7000000"])),
        "api/v5/public/funding-rate-history": answered(funding),
        "api/v5/rubik/stat/contracts/open-interest-history": answered(interest),
    }


def hyperliquid(venue: Venue, symbol: str = "BTC", newest: int = 5000) -> None:
    """Answer as Hyperliquid: one address, oldest first, of bars the newest 5,000 alone."""

    def answer(asked: dict[str, Any]) -> Any:
        request = asked.get("req", asked)
        if request["coin"] != symbol:
            return None
        start, end = request["startTime"], request["endTime"]
        if asked["type"] == "fundingHistory":
            times = venue.times(start, end, HOUR)[:500]
            return [{"coin": symbol, "fundingRate": "-0.0001", "premium": "0", "time": time} for time in times]
        step = {"1m": MINUTE, "1h": HOUR, "1d": 24 * HOUR}[request["interval"]]
        bars = []
        for time in venue.times(max(start, venue.now - newest * step), end, step):
            opening, high, low, close = prices(time)
            amounts = {"v": "700", "n": 3, "s": symbol, "i": request["interval"], "t": time, "T": time + step - 1}
            bars.append({**amounts, "o": opening, "h": high, "l": low, "c": close})
        return bars

    venue.archive.answers["info"] = answer
