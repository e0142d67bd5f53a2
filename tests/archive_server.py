"""A look-alike of a venue's archive on 127.0.0.1: files with every trap, and a server that can misbehave."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
OTHER_HEADER = "open_time,open,high,low,close,ignore,close_time,ignore,ignore,ignore,ignore,ignore"
METRICS_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
LIQUIDATIONS_HEADER = (
    "time,side,order_type,time_in_force,original_quantity,price,average_price,order_status,last_fill_quantity,"
    "accumulated_fill_quantity"
)
MOST_REQUESTS = 2_000
HOST_NAMES = (
    "binance-archive", "binance-futures", "binance-coin-futures", "binance-spot", "bybit-archive", "bybit", "okx",
    "hyperliquid",
)  # fmt: skip

#: What a request meets: ("drop", bytes), ("slow", seconds), ("status", code, headers), ("bytes", b""),
#: ("no range",), ("other range",)
Mood = tuple[Any, ...]


class Archive:
    """Files by path, what went wrong with them, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.moods: dict[str, list[Mood]] = defaultdict(list)
        self.answers: dict[str, Callable[[dict[str, str]], Any]] = {}
        self.requests: list[tuple[str, str, str]] = []  # method, path, range
        self.queries: list[dict[str, str]] = []  # of answers
        self.posted: list[Any] = []
        self.address = ""
        self.guard = threading.Lock()
        self.pause = 0.0  #: seconds that every answer takes
        self.busy = self.busiest = 0  #: requests at a time, during the pause

    @property
    def hosts(self) -> dict[str, str]:
        return dict.fromkeys(HOST_NAMES, self.address)

    def put(self, path: str, body: bytes, *, checksum: bool = True, wrong: bool = False) -> str:
        """Serve a file, and beside it its checksum; return the path."""
        self.files[path] = body
        if checksum:
            digest = hashlib.sha256(b"wrong" if wrong else body).hexdigest()
            self.files[f"{path}.CHECKSUM"] = f"{digest}  {path.rsplit('/', 1)[-1]}\n".encode()
        return path

    def asked(self, part: str = "") -> list[str]:
        """Return the paths asked for that hold a word."""
        return [path for _, path, _ in self.requests if part in path]


@contextmanager
def serving(archive: Archive | None = None) -> Iterator[Archive]:
    """Serve an archive until the block ends."""
    archive = archive or Archive()
    handler = type("Handler", (_Handler,), {"archive": archive})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that hangs up is no news
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    archive.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    archive: Archive

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._counted(body_wanted=False)

    def do_GET(self) -> None:
        self._counted(body_wanted=True)

    def do_POST(self) -> None:
        posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.archive.guard:
            self.archive.posted.append(posted)
        self.posted = posted
        self._counted(body_wanted=True)

    def _counted(self, *, body_wanted: bool) -> None:
        with self.archive.guard:
            self.archive.busy += 1
            self.archive.busiest = max(self.archive.busiest, self.archive.busy)
        time.sleep(self.archive.pause)
        with self.archive.guard:
            self.archive.busy -= 1
        self._answer(body_wanted=body_wanted)

    def _answer(self, *, body_wanted: bool) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path).lstrip("/")
        with self.archive.guard:
            self.archive.requests.append((self.command, path, self.headers.get("Range", "")))
            too_many = len(self.archive.requests) > MOST_REQUESTS
            mood = self.archive.moods[path].pop(0) if self.archive.moods[path] else ("fine",)
        if too_many:
            self._status(500, {})
        elif mood[0] == "status":
            self._status(mood[1], mood[2] if len(mood) > 2 else {})
        elif path in self.archive.answers:
            query: dict[str, Any] = {name: values[0] for name, values in parse_qs(address.query).items()}
            if self.command == "POST":
                query |= self.posted
            self.archive.queries.append(query)
            self._whole(json.dumps(self.archive.answers[path](query)).encode())
        elif path not in self.archive.files:
            self._status(404, {})
        else:
            self._file(mood[1] if mood[0] == "bytes" else self.archive.files[path], mood, body_wanted)

    def _file(self, body: bytes, mood: Mood, body_wanted: bool) -> None:
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if self.headers.get("If-None-Match") == etag:
            self._status(304, {"ETag": etag})
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and mood[0] != "no range":
            start = int(asked.removeprefix("bytes=").rstrip("-")) + (mood[0] == "other range")
            if start >= len(body):
                self._status(416, {"Content-Range": f"bytes */{len(body)}", "ETag": etag})
                return
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if body_wanted:
            self._send(body[start:], mood)

    def _send(self, body: bytes, mood: Mood) -> None:
        if mood[0] == "drop":
            self.wfile.write(body[: mood[1]])
        elif mood[0] == "slow":
            for begin in range(0, len(body), max(1, len(body) // 10)):
                self.wfile.write(body[begin : begin + max(1, len(body) // 10)])
                self.wfile.flush()
                time.sleep(mood[1] / 10)
        else:
            self.wfile.write(body)

    def _whole(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 304:
            self.send_header("Content-Length", "0")
        self.end_headers()


def zipped(text: str | bytes, name: str = "file.csv") -> bytes:
    """Return a zip with one file in it, the same bytes for the same text."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def milliseconds(moment: date | datetime) -> int:
    whole = datetime(moment.year, moment.month, moment.day, tzinfo=UTC) if type(moment) is date else moment
    return int(whole.timestamp() * 1000)


def kline_rows(
    first: date, days: int = 1, *, step: int = 60_000, price: float = 100.0, volume: bool = True, seed: int = 1
) -> list[str]:
    """Return lines of klines without their header, as a random walk of ticks of 0.01."""
    rng = np.random.default_rng([seed, first.toordinal()])
    count = days * 86_400_000 // step
    closes = np.maximum(np.round(price + np.cumsum(rng.integers(-5, 6, count)) / 100, 2), 1.0)
    opens = np.concatenate([[price], closes[:-1]])
    highs, lows = np.maximum(opens, closes) + 0.01, np.minimum(opens, closes) - 0.01
    begin = milliseconds(first)
    lines = []
    for row in range(count):
        time = begin + row * step
        amounts = (
            f"{row % 7 + 1}.5,{time + step - 1},{(row % 7 + 1.5) * price:.4f},{row % 9},{row % 7}.25,1.0"
            if volume
            else f"0,{time + step - 1},0,0,0,0"
        )
        lines.append(f"{time},{opens[row]:.2f},{highs[row]:.2f},{lows[row]:.2f},{closes[row]:.2f},{amounts},0")
    return lines


def lines(*parts: str | list[str]) -> str:
    return "\n".join(line for part in parts for line in ([part] if isinstance(part, str) else part)) + "\n"


def kline_path(
    files: str, period: str, folder: str = "markPriceKlines", symbol: str = "BTCUSDT", interval: str = "1h"
) -> str:
    return f"data/futures/um/{files}/{folder}/{symbol}/{interval}/{symbol}-{interval}-{period}.zip"


def metrics_rows(first: date, *, at_start: bool = False, interest: float = 50_000) -> list[str]:
    """Return a day of metrics, stamped at the end of each five minutes or at its start."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    return [
        f"{begin + timedelta(minutes=5 * (row + (not at_start))):%Y-%m-%d %H:%M:%S},BTCUSDT,{interest + row},"
        f"{(interest + row) * 100},1.5,1.2,1.1,0.9"
        for row in range(288)
    ]
