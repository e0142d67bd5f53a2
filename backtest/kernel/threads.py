"""Threads over ranges of positions; results depend on no number of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

#: Positions a thread takes at a time: large enough to hide the hand-over, small enough to share the work out.
CHUNK = 65_536


def thread_count(threads: int | None) -> int:
    """Return the number of threads: as requested, else one per core available to this process."""
    if threads is not None:
        return max(1, threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_chunks(
    run: Callable[[int, int], Any], count: int, threads: int | None = None, size: int = CHUNK
) -> list[Any]:
    """Call ``run(start, stop)`` over ranges that cover ``count`` and return the results in order.

    A range covers ``size``. Threads are Python's own, not numba's: its thread pools abort on a second caller or
    on a fork. The ranges do
    not depend on the number of threads, so neither do the results.
    """
    ranges = [(start, min(start + size, count)) for start in range(0, count, size)]
    workers = min(thread_count(threads), len(ranges))
    if workers <= 1:
        return [run(*span) for span in ranges]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda span: run(*span), ranges))
