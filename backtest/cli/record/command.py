"""``backtest record``: every liquidation that a venue pushes, appended to a file."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from backtest.amounts import plain, plural
from backtest.errors import ArgumentError, FetchError
from backtest.market.sources.websocket import Websocket

TOPIC = "allLiquidation."

#: Seconds without a message after which the feed is asked for a sign of life; after so many unanswered, left.
QUIET, UNANSWERED = 20.0, 2

#: Seconds before a lost connection is made again, doubled up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def run(options: Namespace) -> None:
    """Record until the span is over or the command is stopped."""
    address = f"{options.address}/{_category(options.symbol)}"
    until = None if options.span is None else time.monotonic() + options.span.total_seconds()
    if not options.file.parent.is_dir():
        raise ArgumentError(f"--out {options.file} needs the folder {options.file.parent}, which does not exist")
    _Recorder(address, options.symbol, options.file, until).record()


def _category(symbols: Sequence[str]) -> str:
    """Return the category of symbols on the venue: inverse contracts end with USD."""
    inverse = {symbol.endswith("USD") for symbol in symbols}
    if len(inverse) > 1:
        raise ArgumentError("must all be linear, or all inverse: they are different feeds", argument="symbol")
    return "inverse" if inverse.pop() else "linear"


class _Recorder:
    """One feed and its file."""

    def __init__(self, address: str, symbols: Sequence[str], path: Path, until: float | None) -> None:
        self.address, self.symbols, self.path, self.until = address, list(symbols), path, until
        self.count, self.connected = 0, False
        self.lost: str | None = None  #: since when nothing came, of a connection that was lost

    def record(self) -> None:
        """Append messages, across lost connections."""
        pause = FIRST_PAUSE
        with self.path.open("a", encoding="utf-8") as file:
            try:
                while not self._is_over():
                    before = self.count
                    try:
                        with Websocket(self.address, patience=QUIET) as feed:
                            self._listen(feed, file)
                    except FetchError as error:
                        if not self.connected:
                            raise  # never reached, or refused
                        self.lost = self.lost or _now()
                        print(f"backtest: {error}; again in {plain(pause)} s", file=sys.stderr)
                        time.sleep(pause)
                        pause = FIRST_PAUSE if self.count > before else min(2 * pause, LONGEST_PAUSE)
                    else:
                        break
            finally:
                print(f"{plural(self.count, 'liquidation')} in {self.path}")

    def _listen(self, feed: Websocket, file: TextIO) -> None:
        feed.send(json.dumps({"op": "subscribe", "args": [f"{TOPIC}{symbol}" for symbol in self.symbols]}))
        unanswered = 0
        while not self._is_over():
            text = feed.receive()
            if text is None:
                unanswered += 1
                if unanswered > UNANSWERED:
                    raise FetchError(f"{self.address} is silent")
                feed.send(json.dumps({"op": "ping"}))
                continue
            unanswered = 0
            self._keep(text, file)

    def _keep(self, text: str, file: TextIO) -> None:
        """Write a message of liquidations; refuse where the venue refuses the subscription."""
        try:
            message = json.loads(text)
        except ValueError:
            message = {}
        if message.get("success") is False:
            self.connected = False
            raise FetchError(f"{self.address} refuses: {message.get('ret_msg') or text[:100]}")
        if not self.connected or self.lost is not None:
            state = {"op": "recording", "symbols": self.symbols, "from": _now(), "nothing_since": self.lost}
            file.write(json.dumps(state) + "\n")
            self.connected, self.lost = True, None
        if str(message.get("topic", "")).startswith(TOPIC):
            file.write(text.replace("\n", " ") + "\n")
            self.count += len(message.get("data") or ())
        file.flush()

    def _is_over(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
