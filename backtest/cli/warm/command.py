"""``backtest warm``: compilation of every kernel before it is needed."""

from __future__ import annotations

import time
from argparse import Namespace

from backtest.cli.common.progress import Progress
from backtest.kernel.threads import thread_count
from backtest.scale.kernel_jobs import JOBS
from backtest.scale.precompile import warm


def run(options: Namespace) -> None:
    """Compile the missing kernels and print where all are kept."""
    began = time.perf_counter()
    folder = warm(thread_count(options.processes), report=Progress(len(JOBS), "compiling").step)
    seconds = time.perf_counter() - began
    if folder is None:
        print("Nothing to compile: NUMBA_DISABLE_JIT is set.")
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"All kernels are compiled: {size / 1e6:.0f} MB in {folder}, checked in {seconds:.0f} s.")
