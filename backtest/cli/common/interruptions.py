"""Signals that end a process, taken as an interrupt from the keyboard: half-written files are removed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Sent by `kill`, by the system as it shuts down, and where a terminal closes (not everywhere).
ENDING = ("SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """The process was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Raise where the process is asked to end, unless its caller has arranged something else."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        known = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        before = {number: signal.signal(number, _end) for number in known if _is_usual(number)}
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of shells: 128 and the number of the signal."""
    return 128 + (interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT)


def _is_usual(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_DFL


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)
