"""Executors of a long job: in this process, in several processes of this machine, or on a cluster.

Work is a function of a module with small arguments and a small result: paths and ranges are sent, sums return.
Every executor gives the same results; they differ in how much work is lost when a worker dies. ::

    with closing(Processes(4)) as executor:
        for name in names:
            executor.submit(name, function, argument)
        for done in executor.gather():
            print(done.name, done.result())
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from polars.exceptions import PanicException

from backtest.errors import BacktestError

#: Retries of work that failed for an external reason: a lost worker, an unavailable file system.
RETRIES = 2

#: Errors of the system that stop every other batch as well: full, over the quota, too large, not allowed.
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM})


#: What a worker was most likely killed for.
MEMORY = "as where its memory runs out"


class WorkError(Exception):
    """An error of another process, as text: not every error can be sent between processes."""


class LostError(BacktestError):
    """A piece of work failed because every worker that tried it died."""


class GoneError(BacktestError):
    """What hands out the work no longer answers: no other piece of it can be done either."""


@dataclass(frozen=True)
class Work:
    """A call to be made by a worker."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """Result of a piece of work: its value, or its error."""

    name: str
    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        """Return the value, or raise."""
        if self.error is not None:
            raise self.error
        return self.value


@runtime_checkable
class Executor(Protocol):
    """Does submitted work in any order, and yields each result when it is finished."""

    @property
    def threads(self) -> int | None:
        """Threads a piece of work may use; None: all."""

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Submit a piece of work."""

    def gather(self) -> Iterator[Done]:
        """Yield the results of all submitted work, as they are finished."""

    def close(self) -> None:
        """Cancel unfinished work, and stop every worker."""


class Serial:
    """An executor that does one piece of work after another in this process, with so many threads (None: all)."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._pending: list[Work] = []

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Submit a piece of work."""
        self._pending.append(Work(name, function, arguments))

    def gather(self) -> Iterator[Done]:
        """Do the work, and yield each result."""
        while self._pending:
            yield self._do(self._pending.pop(0))

    def close(self) -> None:
        """Cancel unfinished work."""
        self._pending.clear()

    def _do(self, work: Work) -> Done:
        for _ in range(RETRIES + 1):
            done = attempt(work)
            if done.error is None or is_final(done.error):
                break
        return done


def attempt(work: Work) -> Done:
    """Do a piece of work, and return its value or its error."""
    try:
        return Done(work.name, work.function(*work.arguments))
    except (Exception, PanicException) as error:  # a panic of polars is no Exception
        return Done(work.name, error=error)


def is_final(error: BaseException) -> bool:
    """Whether a retry cannot help: invalid input stays invalid, and a full disk full."""
    return isinstance(error, BacktestError) or is_unwritable(error)


def is_unwritable(error: BaseException) -> bool:
    """Whether an error says that results cannot be written, which holds for every batch: they share a disk."""
    return isinstance(error, OSError) and error.errno in UNWRITABLE
