"""Progress of long work: shown on a terminal, timed in any case."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

ERASE_LINE = "\r\x1b[K"


def notices_above_progress() -> None:
    """Print log messages over the progress line on a terminal instead of after it."""
    import logging

    logger = logging.getLogger("backtest")
    if sys.stderr.isatty() and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"{ERASE_LINE}%(message)s"))
        logger.addHandler(handler)


class Line:
    """A progress line on the error stream of a terminal; nothing elsewhere."""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.show("")

    def show(self, text: str) -> None:
        """Replace the line."""
        if sys.stderr.isatty():
            print(f"{ERASE_LINE}{text}", end="", file=sys.stderr, flush=True)


class Clock:
    """Times of the stages of a command, in seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; on a terminal its name is shown until it ends."""
        watched = sys.stderr.isatty()
        if watched:
            print(f"{name} ...", end="", file=sys.stderr, flush=True)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            if watched:
                print(ERASE_LINE, end="", file=sys.stderr, flush=True)

    @property
    def rounded(self) -> dict[str, float]:
        """The seconds to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())


class Progress:
    """Progress of many equal steps: one line on the error stream of a terminal; nothing elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self._done = self._worked = 0
        self._began = time.perf_counter()
        self._watched = sys.stderr.isatty()

    def step(self, *, worked: bool = True) -> None:
        """Count a step as done; ``worked``: now, not in an earlier run."""
        self._done += 1
        self._worked += worked
        if self._watched:
            end = "" if self._done < self.total else ERASE_LINE
            print(f"{ERASE_LINE}{self}{end}", end="", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        left = ""
        if self._worked:
            each = (time.perf_counter() - self._began) / self._worked
            left = f", about {each * (self.total - self._done):,.0f} s left"
        return f"{self.what} {self._done:,} of {self.total:,}{left}"
