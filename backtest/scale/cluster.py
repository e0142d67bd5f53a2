"""Executor on a dask cluster: an existing one by its scheduler's address, or a local one on this machine.

The scheduler gives the work of a lost worker to another; work that several workers died over fails. Workers of an
existing cluster should be started with one thread each and ``POLARS_MAX_THREADS=1``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from backtest.errors import ArgumentError
from backtest.scale.executors import MEMORY, RETRIES, Done, GoneError, LostError, Work, attempt, is_final
from backtest.scale.kernel_jobs import sweeps
from backtest.scale.processes import ENVIRONMENT, portable

LOCAL = "local"

#: Loggers of a driver that print stacks where a scheduler ends.
LOGGERS = ("distributed.client", "distributed.core", "distributed.comm", "tornado.application", "asyncio")

#: Why futures are cancelled then.
LOST = "scheduler-connection-lost"


class Cluster:
    """An executor on a dask cluster.

    Parameters
    ----------
    address
        Of its scheduler, like ``tcp://10.0.0.1:8786``; ``local`` starts a cluster on this machine.
    workers
        Workers of a local cluster; None: one a core.

    Raises
    ------
    ArgumentError
        Where ``distributed`` is not installed, or no scheduler answers.
    """

    threads = 1

    def __init__(self, address: str, workers: int | None = None, *, retries: int = RETRIES) -> None:
        self._distributed, self._retries = _distributed(), retries
        self._address, self._levels = address, _quieted()
        self._cluster = _local(self._distributed, workers) if address == LOCAL else None
        try:
            self.client = self._distributed.Client(self._cluster or address)
        except (OSError, ValueError) as error:
            self._restore()
            raise ArgumentError(f"no scheduler answers at {address}: {error}") from None
        self._names: dict[Any, str] = {}
        self._warmed = False

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Submit a piece of work."""
        if not self._warmed:
            self._warm()
        work = Work(name, function, arguments)
        future = self.client.submit(_do, work, key=f"{name}-{uuid.uuid4().hex}", pure=False, retries=self._retries)
        self._names[future] = name

    def gather(self) -> Iterator[Done]:
        """Yield results as they are finished, until all are."""
        pending, self._names = self._names, {}
        for future in self._distributed.as_completed(list(pending)):
            yield self._done(pending.pop(future), future)

    def close(self) -> None:
        """Cancel unfinished work, and stop a local cluster."""
        if self.client.status != "closed":
            if self.client.status == "running":
                self.client.cancel(list(self._names))
            self.client.close()
            if self._cluster is not None:
                self._cluster.close()
        self._restore()

    def _restore(self) -> None:
        """Let the client's loggers print again."""
        for logger, level in self._levels.items():
            logging.getLogger(logger).setLevel(level)

    def _warm(self) -> None:
        """Compile the kernels on one worker of each machine."""
        self.client.wait_for_workers(1)
        found = self.client.scheduler_info(n_workers=-1)["workers"]
        one_each = {worker["host"]: address for address, worker in found.items()}
        futures = [self.client.submit(sweeps, workers=[address], pure=False) for address in one_each.values()]
        self.client.gather(futures)
        self._warmed = True

    def _done(self, name: str, future: Any) -> Done:
        try:
            return future.result()  # type: ignore[no-any-return]
        except self._distributed.KilledWorker as error:
            return Done(name, error=LostError(f"{error.allowed_failures + 1} workers died over it, {MEMORY}"))
        except Exception as error:
            if getattr(error, "reason", "") == LOST or self.client.status in ("connecting", "closed"):
                return Done(name, error=GoneError(f"the scheduler at {self._address} no longer answers"))
            return Done(name, error=error)


def _quieted() -> dict[str, int]:
    """Silence what the client logs with its stacks, and return the levels before; errors are raised as well."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return before


def _do(work: Work) -> Done:
    """Do a piece of work; raise only errors after which it may be tried again."""
    done = portable(attempt(work))
    if done.error is not None and not is_final(done.error):
        raise done.error
    return done


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        install = "pip install 'liquidation-backtest[cluster]'"
        raise ArgumentError(f"a cluster needs the package distributed: {install}") from None


def _local(distributed: Any, workers: int | None) -> Any:
    settings = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()}
    with import_module("dask.config").set(settings):
        return distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        )
