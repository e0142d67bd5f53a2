"""Lock of a folder that one process works in; the system releases it when its holder ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from backtest.errors import ArgumentError


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file, on file systems that have locks.

    Raises
    ------
    ArgumentError
        With the refusal, where another process holds it.
    """
    from filelock import FileLock, Timeout

    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(path, blocking=False))
        except Timeout:
            raise ArgumentError(refusal) from None
        except NotImplementedError:  # the file system has none
            pass
        yield
