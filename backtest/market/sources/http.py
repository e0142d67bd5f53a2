"""HTTP downloads: resumed where they broke off, retried with growing pauses.

A pause is drawn between zero and a bound that doubles (full jitter), so that clients that failed together do not
retry together. All threads wait as long as a venue requests in ``Retry-After``.
"""

from __future__ import annotations

import errno
import http.client
import random
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from io import FileIO
from pathlib import Path
from typing import TypeVar

from backtest.errors import BacktestError, FetchError
from backtest.market.sources.redirects import Redirects
from backtest.market.whole_files import named

Result = TypeVar("Result")

NOT_FOUND, NOT_MODIFIED, RANGE_REFUSED, PARTIAL_CONTENT = 404, 304, 416, 206
#: Status codes that request a pause: the venue's own ban, too many requests, overload.
PAUSED = (418, 429, 503)
RETRIED = (*PAUSED, 408, 500, 502, 504)
CHUNK = 65_536

#: Bytes that a file may have, the largest of which are days of trades, and an answer that is kept in memory.
MOST_BYTES, MOST_ANSWER = 4 << 30, 64 << 20


class AbsentError(BacktestError):
    """The venue has no such file (404), which the manifest records."""


class UnreachableError(FetchError):
    """The host cannot be reached; most likely there is no connection."""


class DroppedError(OSError):
    """A connection ended before the whole file had arrived."""


class BusyError(OSError):
    """A venue answers that it was asked too often, or is overloaded."""


class UnwritableError(Exception):
    """A file cannot be written on this machine, which no further attempt mends; holds the system's error."""


class StoppedError(BacktestError):
    """The downloads were cancelled."""


@dataclass(frozen=True)
class Patience:
    """Numbers of attempts, pauses and timeouts; seconds."""

    attempts: int = 6
    attempts_unreachable: int = 2
    first_pause: float = 1.0
    longest_pause: float = 60.0
    longest_asked_pause: float = 600.0  #: where a venue requests a longer pause, the file fails
    timeout: float = 30.0  #: without a byte
    sleep: Callable[[float], None] | None = None  #: for tests; None: wait, until the downloads are cancelled
    clock: Callable[[], float] = time.time
    draw: Callable[[], float] = field(default_factory=lambda: random.Random().random)

    def pause(self, failures: int) -> float:
        """Return the pause after so many failures in a row."""
        return self.draw() * min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))


class Client:
    """Requests from several threads; ``hosts`` are addresses that may be led to besides that of a request."""

    def __init__(self, patience: Patience | None = None, hosts: Collection[str] = ()) -> None:
        self.patience = patience or Patience()
        self._opener = urllib.request.build_opener(Redirects(hosts))
        self._guard, self._stopped = threading.Lock(), threading.Event()
        self._not_before = 0.0

    def stop(self) -> None:
        """Cancel every request, also those waiting for another attempt."""
        self._stopped.set()

    def download(self, address: str, partial: Path, received: Callable[[int], None] = lambda _: None) -> str:
        """Download a file, resuming where ``partial`` ends, and return its etag.

        Raises
        ------
        AbsentError
            Where the venue has no such file.
        FetchError
            Where it cannot be fetched.
        OSError
            Where it cannot be written; nothing of it is left.
        """
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._insist(address, lambda: self._append(address, partial, received))
        except UnwritableError as error:
            partial.unlink(missing_ok=True)
            raise named(error.args[0], partial) from None

    def get(
        self, address: str, body: bytes | None = None, accept: Callable[[bytes], None] = lambda _: None
    ) -> bytes:
        """Return a small file, or the answer to a posted JSON; where ``accept`` raises ``OSError``, ask again."""

        def answer() -> bytes:
            headers = {} if body is None else {"Content-Type": "application/json"}
            with self._open(address, headers, "GET" if body is None else "POST", body) as response:
                data: bytes = response.read(MOST_ANSWER + 1)
                _require_bounded(address, len(data), MOST_ANSWER)
                _require_whole(response, len(data))
                accept(data)
                return data

        return self._insist(address, answer)

    def changed(self, address: str, etag: str) -> bool:
        """Whether a file differs from the one that had this etag; nothing of it is read."""

        def ask() -> bool:
            try:
                with self._open(address, {"If-None-Match": etag}, method="HEAD") as response:
                    return str(response.headers.get("ETag", "")) != etag
            except urllib.error.HTTPError as error:
                if error.code != NOT_MODIFIED:
                    raise
                error.close()
                return False

        return self._insist(address, ask)

    def _insist(self, address: str, attempt: Callable[[], Result]) -> Result:
        """Return the result of an attempt, trying again after errors that may pass."""
        failures = 0
        while True:
            self._wait_for_turn()
            asked: float | None = None
            try:
                return attempt()
            except urllib.error.HTTPError as error:
                reason, asked = self._read_refusal(error, address)
                unreachable = False
            except (OSError, http.client.HTTPException) as error:
                cause = getattr(error, "reason", error)
                unreachable = _is_unreachable(cause)
                reason = str(cause) or type(cause).__name__
            failures += 1
            if failures >= (self.patience.attempts_unreachable if unreachable else self.patience.attempts):
                kind = UnreachableError if unreachable else FetchError
                raise kind(f"{address} could not be fetched in {failures} attempts: {reason}")
            self._rest(self.patience.pause(failures) if asked is None else asked, everyone=asked is not None)

    def _append(self, address: str, partial: Path, received: Callable[[int], None]) -> str:
        """Download the missing part of a file, or all of it where the venue does not resume."""
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            response = self._open(address, headers)
        except urllib.error.HTTPError as error:
            if error.code != RANGE_REFUSED or not have:
                raise
            error.close()
            total = str(error.headers.get("Content-Range", "")).rpartition("/")[2]
            if total == str(have):  # all of it was here already
                return str(error.headers.get("ETag", ""))
            partial.unlink()
            raise DroppedError("the part on the disk is not the beginning of the file") from None
        with response, partial.open("ab", buffering=0) as file:
            if not _goes_on(response, have):
                file.truncate(0)
                if response.status == PARTIAL_CONTENT:
                    raise DroppedError("the venue sent another part of the file than the one requested")
                have = 0
            size = have
            promised = response.headers.get("Content-Length")
            _require_bounded(address, have + int(promised or 0), MOST_BYTES, partial)
            while chunk := response.read1(CHUNK):  # as it arrives, so that a stall loses nothing
                self._require_going()
                _write(file, chunk)
                size += len(chunk)
                _require_bounded(address, size, MOST_BYTES, partial)
                received(len(chunk))
            _require_whole(response, size - have)
            return str(response.headers.get("ETag", ""))

    def _open(
        self, address: str, headers: Mapping[str, str], method: str = "GET", body: bytes | None = None
    ) -> http.client.HTTPResponse:
        headers = {"User-Agent": "backtest", **headers}
        request = urllib.request.Request(address, body, headers, method=method)
        response: http.client.HTTPResponse = self._opener.open(request, timeout=self.patience.timeout)
        return response

    def _read_refusal(self, error: urllib.error.HTTPError, address: str) -> tuple[str, float | None]:
        """Return the reason of a refusal that may pass, and the pause it requests; raise for others."""
        with error:
            answer = error.read(200).decode("utf-8", "replace") if error.code == 400 else ""
        if error.code == NOT_FOUND:
            raise AbsentError(f"{address} is not there")
        reason = " ".join(f"{error.code} {error.reason} {answer}".split())
        if error.code not in RETRIED:
            raise FetchError(f"{address} was refused: {reason}")
        asked = self._asked_pause(error.headers.get("Retry-After")) if error.code in PAUSED else None
        if asked is not None and asked > self.patience.longest_asked_pause:
            raise FetchError(f"{address} was refused: {reason}, again only in {asked:,.0f} s")
        return reason, asked

    def _asked_pause(self, header: str | None) -> float | None:
        """Return the seconds of ``Retry-After``, written as seconds or as a date."""
        if header is None:
            return None
        if header.strip().isdigit():
            return float(header)
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - self.patience.clock())

    def _rest(self, seconds: float, *, everyone: bool) -> None:
        if everyone:
            with self._guard:
                self._not_before = max(self._not_before, self.patience.clock() + seconds)
        else:
            self.sleep(seconds)

    def _wait_for_turn(self) -> None:
        """Wait until the pause that a venue requested is over."""
        with self._guard:
            seconds = self._not_before - self.patience.clock()
        if seconds > 0:
            self.sleep(seconds)
        self._require_going()

    def sleep(self, seconds: float) -> None:
        """Wait, until the downloads are cancelled."""
        if self.patience.sleep is None:
            self._stopped.wait(seconds)
        else:
            self.patience.sleep(seconds)

    def _require_going(self) -> None:
        if self._stopped.is_set():
            raise StoppedError("the downloads were cancelled")


def _write(file: FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        try:
            left = left[file.write(left) :]
        except OSError as error:
            raise UnwritableError(error) from None


def _require_bounded(address: str, size: int, most: int, partial: Path | None = None) -> None:
    """Refuse more bytes than may come, and leave nothing of them."""
    if size > most:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise FetchError(f"{address} was refused: it has more than {most:,} bytes")


def _is_unreachable(cause: object) -> bool:
    """Whether a host cannot be reached, so that its other files need not be tried either."""
    if isinstance(cause, socket.gaierror | ConnectionRefusedError | ssl.SSLCertVerificationError):
        return True
    return isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def _goes_on(response: http.client.HTTPResponse, have: int) -> bool:
    """Whether an answer begins where the file on the disk ends."""
    given = str(response.headers.get("Content-Range", ""))
    return response.status == PARTIAL_CONTENT and given.startswith(f"bytes {have}-")


def _require_whole(response: http.client.HTTPResponse, size: int) -> None:
    promised = response.headers.get("Content-Length")
    if promised is not None and size < int(promised):
        raise DroppedError(f"the connection ended after {size:,} of {int(promised):,} bytes")
