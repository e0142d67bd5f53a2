"""Compiling every kernel beforehand, in this process or in several: a process compiles one function at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from backtest.errors import ArgumentError
from backtest.kernel.compile import CACHE_FOLDER, COMPILED
from backtest.scale.executors import Serial
from backtest.scale.kernel_jobs import JOBS
from backtest.scale.processes import Processes


def warm(processes: int | None = None, *, report: Callable[[], object] = lambda: None) -> Path | None:
    """Compile every kernel that is not kept yet, so that nothing has to be compiled later.

    Parameters
    ----------
    processes
        How many to start for it; None: this one compiles. A script that starts processes guards its own work by
        ``if __name__ == "__main__":``.
    report
        Called after each of the ``JOBS``.

    Returns
    -------
    The folder that kernels are kept in; None where none is writable, so that this process alone has them.

    Raises
    ------
    ArgumentError
        For fewer than one process, or where what they compile could not be kept.
    """
    if processes is not None and COMPILED and CACHE_FOLDER is None:
        raise ArgumentError("no folder to keep compiled kernels in is writable: NUMBA_CACHE_DIR can name one")
    with closing(Serial(1) if processes is None else Processes(processes, prepare=None)) as executor:
        for name, job in JOBS.items():
            executor.submit(name, *([job] if processes is None else [_silently, job]))
        for done in executor.gather():
            done.result()
            report()
    return CACHE_FOLDER


def _silently(job: Callable[[], None]) -> None:
    """Do a job in a process of its own, where notices would only repeat what was asked for."""
    logging.getLogger("backtest").setLevel(logging.ERROR)
    job()
