"""Jobs of a command beside one another: what one thread does while the others read, sweep or write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Later(Generic[Result]):
    """A job that has begun in a thread of its own; a command that ends before it does not wait for it."""

    def __init__(self, job: Callable[[], Result]) -> None:
        self._found: list[Result] = []
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._do, args=(job,), daemon=True)
        self._thread.start()

    def _do(self, job: Callable[[], Result]) -> None:
        try:
            self._found.append(job())
        except BaseException as error:  # raised where the result is asked for
            self._failed = error

    def wait(self) -> None:
        """Return once the job has ended, whatever became of it."""
        self._thread.join()

    def result(self) -> Result:
        """Return what the job returned, or raise what it raised, once it has ended."""
        self.wait()
        if self._failed is not None:
            raise self._failed
        return self._found[0]
