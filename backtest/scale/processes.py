"""Executor in processes of this machine: one thread each; a process that dies loses only its current work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from signal import SIG_IGN, SIGINT, signal
from typing import Any

from backtest.errors import ArgumentError
from backtest.kernel.threads import thread_count
from backtest.scale.executors import MEMORY, RETRIES, Done, LostError, Work, WorkError, attempt, is_final
from backtest.scale.kernel_jobs import sweeps

#: Read once, when numpy, polars and numba are first imported: one thread each, and memory that is kept from batch
#: to batch instead of being returned and allocated again page by page, which saves a tenth of the time. Polars'
#: allocator keeps it for ten seconds, the system's for good.
ENVIRONMENT = {
    "POLARS_MAX_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
}


#: Signal by which the system ends a process where memory runs out.
KILLED = 9


class Processes:
    """An executor in several processes, each of which does one piece of work at a time.

    They are spawned rather than forked (threads do not survive a fork), and end when this process ends, however it
    ends. The first compiles the kernels, and the others load them from the disk.

    Parameters
    ----------
    workers
        Number of processes; None: one a core.
    retries
        Retries of work whose worker died, or that failed for an external reason.
    prepare
        Called in the first worker before the others start.
    """

    threads = 1

    def __init__(
        self,
        workers: int | None = None,
        *,
        retries: int = RETRIES,
        prepare: Callable[[], object] | None = sweeps,
    ) -> None:
        if workers is not None and workers < 1:
            raise ArgumentError(f"must be at least 1, is {workers}", argument="workers")
        self.workers, self.retries, self._prepare = thread_count(workers), retries, prepare
        self._waiting: deque[Work] = deque()
        self._failures: dict[str, int] = {}
        self._hired: list[Worker] = []

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Submit a piece of work."""
        self._waiting.append(Work(name, function, arguments))

    def gather(self) -> Iterator[Done]:
        """Yield results as they are finished, until all are."""
        while self._waiting or any(worker.work for worker in self._hired):
            self._hand_out()
            busy = {worker.connection: worker for worker in self._hired if worker.work}
            for connection in wait(list(busy)):
                done = self._receive(busy[connection])  # type: ignore[index]
                if done is not None:
                    yield done

    def close(self) -> None:
        """Stop every worker, also in the middle of its work."""
        self._waiting.clear()
        for worker in self._hired:
            worker.end()
        self._hired.clear()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._hired if worker.process.pid is not None]

    def _hand_out(self) -> None:
        while self._waiting and len(self._hired) < self.workers:
            self._hired.append(Worker())
        if self._prepare is not None:  # while the others start
            self._hired[0].prepare(self._prepare)
            self._prepare = None
        for worker in self._hired:
            if self._waiting and not worker.work:
                worker.give(self._waiting.popleft())

    def _receive(self, worker: Worker) -> Done | None:
        """Return a worker's result; None where the work is to be tried again."""
        work, worker.work = worker.work, None
        assert work is not None
        try:
            done: Done = worker.connection.recv()
        except (EOFError, OSError):  # the worker has died
            worker.end()
            self._hired.remove(worker)
            times = self._failures.get(work.name, 0) + 1
            done = Done(work.name, error=LostError(f"{times} workers died over it, the last with {worker.fate}"))
            return self._again(work, done)
        return done if done.error is None or is_final(done.error) else self._again(work, done)

    def _again(self, work: Work, done: Done) -> Done | None:
        self._failures[work.name] = self._failures.get(work.name, 0) + 1
        if self._failures[work.name] > self.retries:
            return done
        self._waiting.appendleft(work)
        return None


class Worker:
    """One process and its current work."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment(ENVIRONMENT):
            self.process.start()
        theirs.close()
        self.work: Work | None = None

    def give(self, work: Work) -> None:
        """Send a piece of work; a dead worker is noticed when its result is received."""
        self.work = work
        try:
            self.connection.send(work)
        except (BrokenPipeError, ConnectionError):
            return

    def prepare(self, prepare: Callable[[], object]) -> None:
        """Have a call made first; its errors show again in the worker's work."""
        self.give(Work("", prepare, ()))
        with suppress(EOFError, OSError):
            self.connection.recv()
        self.work = None

    def end(self) -> None:
        """Stop the process."""
        self.process.terminate()
        self.process.join()
        self.connection.close()

    @property
    def fate(self) -> str:
        """How the process ended."""
        code = self.process.exitcode
        if code == -KILLED:
            return f"signal {KILLED}, {MEMORY}"
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _serve(connection: Connection[Done, Work]) -> None:
    """Do the work received until the driver closes the connection."""
    signal(SIGINT, SIG_IGN)  # the driver is interrupted, and ends its workers
    try:
        while True:
            done = attempt(connection.recv())
            connection.send(portable(done))
    except (EOFError, OSError):
        return


def portable(done: Done) -> Done:
    """Return a result whose error any process can read."""
    error = done.error
    if error is None or is_final(error) or isinstance(error, OSError):
        return done
    return Done(done.name, error=WorkError(f"{type(error).__name__}: {error}"))


@contextmanager
def _environment(changed: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
