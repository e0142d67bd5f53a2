"""Silence over panics of polars: its threads print them with their stacks before Python hears of the error."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from polars.exceptions import PanicException, PolarsError

#: What polars raises over files that are damaged or cannot be read; a panic is no Exception.
UNREADABLE = (PolarsError, PanicException, OSError)

STDERR = 2


class _Silence:
    """The process's error stream, kept in a file while any thread reads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._readers, self._failed = 0, False
        self._stream: int | None = None
        self._kept: IO[bytes] | None = None

    def begin(self) -> None:
        with self._guard:
            self._readers += 1
            if self._readers == 1:
                with suppress(OSError, ValueError, AttributeError):  # there may be no stream, and no place for it
                    sys.stderr.flush()
                    self._kept = tempfile.TemporaryFile()  # noqa: SIM115 (open until the last reader ends)
                    self._stream = os.dup(STDERR)
                    os.dup2(self._kept.fileno(), STDERR)

    def end(self, *, failed: bool) -> None:
        with self._guard:
            self._readers -= 1
            self._failed |= failed
            if self._readers == 0:
                self._restore()

    def _restore(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        if self._stream is not None:
            os.dup2(self._stream, STDERR)
            os.close(self._stream)
        if self._kept is not None:
            self._kept.seek(0)
            if self._stream is not None and not self._failed and (text := self._kept.read()):
                os.write(STDERR, text)
            self._kept.close()
        self._stream, self._kept, self._failed = None, None, False


_silence = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Print what is written to the error stream meanwhile afterwards, unless reading fails: the error says it."""
    failed = False
    _silence.begin()
    try:
        yield
    except UNREADABLE:
        failed = True
        raise
    finally:
        _silence.end(failed=failed)
