"""What every benchmark shares: jobs timed in turns, equal answers first, tables that find their place on a page.

``benchmarks/README.md`` is written by the benchmarks alone: each replaces its own sections and leaves the others.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np
import polars as pl

from backtest.kernel.threads import thread_count

PAGE = Path(__file__).with_name("README.md")
REPEATS = 5

INTRODUCTION = """# Benchmarks

This page shows how fast each part runs and how much memory it needs, compared with other ways to get the same
answers. The programs in this folder write it, each run with `--write`.

Every comparison first asserts that the answers are equal, then times both in turns; the best of several rounds
counts. The machines are shared: trust the ratios, not the absolute times.
"""


class Table:
    """Rows of a Markdown table under a title, printed as they come."""

    def __init__(self, title: str, *columns: str, about: str = "") -> None:
        self.title, self.columns, self.about, self.rows = title, columns, about, []
        print(f"\n{title}\n" + " | ".join(columns), flush=True)

    def add(self, *cells: object) -> None:
        """Print a row and keep it."""
        self.rows.append([str(cell) for cell in cells])
        print(" | ".join(self.rows[-1]), flush=True)

    def markdown(self, where: str) -> str:
        """Return the section: title, what is compared, the table, and what it ran on."""
        lines = [f"## {self.title}", "", *([self.about, ""] if self.about else [])]
        lines += ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in self.rows), "", f"*{where}*", ""])


def in_turns(*jobs: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Return the best time of each job in seconds, the jobs taking turns after one round to warm up."""
    best = [float("inf")] * len(jobs)
    for repeat in range(repeats + 1):
        for number, job in enumerate(jobs):
            start = time.perf_counter()
            job()
            taken = time.perf_counter() - start
            if repeat:
                best[number] = min(best[number], taken)
    return best


def require_equal(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    """Stop unless two answers are the same."""
    if not np.array_equal(ours, theirs):
        wrong = int(np.argmax(ours != theirs))
        sys.exit(f"{what}: answers differ, first at {wrong}: ours {ours[wrong]}, theirs {theirs[wrong]}")


def machine() -> str:
    """Return what this runs on, and with what."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    model = names[0] if names else platform.processor()
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}, "
    load = os.getloadavg()[0]
    return (
        f"{model}, {thread_count(None)} cores (shared), load {load:.1f} at the start; {versions}"
        f"polars {pl.__version__}; {datetime.now(UTC):%Y-%m-%d}"
    )


def write(tables: Iterable[Table], where: str) -> None:
    """Put tables into the page, each in place of the section of its title, else at the end."""
    found = PAGE.read_text().split("\n## ")[1:] if PAGE.exists() else []
    sections = {text.split("\n", 1)[0]: f"## {text.rstrip()}\n" for text in found}
    sections |= {table.title: table.markdown(where) for table in tables}
    draft = PAGE.with_suffix(".part")
    draft.write_text("\n".join([INTRODUCTION, *sections.values()]))
    draft.replace(PAGE)
