"""Compilation of every kernel beforehand, in this process or in several."""

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
    """Compile every kernel that is not on the disk yet, so that later calls start at once.

    Parameters
    ----------
    processes
        Processes to start, each of which compiles one function at a time; None: compile in this one. A script that
        starts processes guards its own work by ``if __name__ == "__main__":``.
    report
        Called after each of the ``JOBS``.

    Returns
    -------
    The folder of compiled kernels; None where none is writable, so that only this process has them.

    Raises
    ------
    ArgumentError
        For fewer than one process, or where compiled kernels could not be stored.

    Examples
    --------
    >>> from backtest import warm
    >>> warm()  # minutes on a new machine, once  # doctest: +SKIP
    PosixPath('/home/me/.cache/liquidation-backtest/ab2f9dc555f019f3')
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
    """Do a job in a separate process, without the notices of compilation."""
    logging.getLogger("backtest").setLevel(logging.ERROR)
    job()
