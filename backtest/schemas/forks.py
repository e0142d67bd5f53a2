"""Processes forked after polars has started its threads: these are not in the child, which would wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

from backtest.errors import BacktestError

#: Threads of a process and their names, where the system lists them (Linux).
TASKS = Path("/proc/self/task")


class _Threads:
    """Whether polars had started its threads when this process was forked."""

    def __init__(self) -> None:
        self.running = self.lost = False

    def before_a_fork(self) -> None:
        try:
            names = [(task / "comm").read_text() for task in TASKS.iterdir()]
        except OSError:  # not known: assumed to run, as they do after any use of polars
            self.running = True
            return
        self.running = any(name.startswith("polars-") and name.strip()[7:].isdigit() for name in names)

    def in_the_child(self) -> None:
        self.lost |= self.running


threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=threads.before_a_fork, after_in_child=threads.in_the_child)


def require_threads() -> None:
    """Raise in a process that was forked after polars was used.

    Raises
    ------
    BacktestError
        With the way to start processes that can use polars.
    """
    if threads.lost:
        raise BacktestError(
            "this process was forked after polars was used, and would wait for its threads for ever: start it "
            'by spawn, multiprocessing.get_context("spawn")'
        )
