"""Where the work of a long job is done: here, in processes of this machine, or on a cluster.

Work is a function of a module with small arguments and a small result: paths and ranges go out, sums come back.
Every executor gives the same results; what differs is what is left to do when a worker dies. ::

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

#: How often work is tried again that failed for no reason of its own: a lost worker, a file system that was away.
RETRIES = 2

#: Errors of the system that will meet every other shard as well: full, over the quota, too large, not allowed.
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM})


class WorkError(Exception):
    """What went wrong elsewhere, told in words: not every error can be sent from process to process."""


class LostError(BacktestError):
    """Every worker that was given a piece of work died over it."""


@dataclass(frozen=True)
class Work:
    """A call to be made somewhere."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """What came of a piece of work: a value, or the error it ended in."""

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
    """Does what is submitted, in any order, and hands over each result when it is there."""

    @property
    def threads(self) -> int | None:
        """How many threads a piece of work may use; None: all there are."""

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Take a piece of work on."""

    def gather(self) -> Iterator[Done]:
        """Yield the results of all that was submitted, as they come."""

    def close(self) -> None:
        """Give up what is not done, and every worker."""


class Serial:
    """One piece of work after another, in this process, with so many threads (None: all)."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._waiting: list[Work] = []

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Take a piece of work on."""
        self._waiting.append(Work(name, function, arguments))

    def gather(self) -> Iterator[Done]:
        """Do the work, and yield each result."""
        while self._waiting:
            yield self._do(self._waiting.pop(0))

    def close(self) -> None:
        """Give up what is not done."""
        self._waiting.clear()

    def _do(self, work: Work) -> Done:
        for _ in range(RETRIES + 1):
            done = attempt(work)
            if done.error is None or is_final(done.error):
                break
        return done


def attempt(work: Work) -> Done:
    """Do a piece of work, and say how it ended."""
    try:
        return Done(work.name, work.function(*work.arguments))
    except (Exception, PanicException) as error:  # a panic of polars is no Exception
        return Done(work.name, error=error)


def is_final(error: BaseException) -> bool:
    """Whether trying again is in vain: what is refused stays refused, and a full disk is full."""
    return isinstance(error, BacktestError) or is_unwritable(error)


def is_unwritable(error: BaseException) -> bool:
    """Whether an error says that results cannot be written: to no shard then, as they go to one place."""
    return isinstance(error, OSError) and error.errno in UNWRITABLE
