"""Commands on the bundled sample, the first time on a machine and again: wall and processor seconds.

The first time nothing is compiled: each command has a cache of kernels of its own. ``--write`` puts the table into
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import Table, machine, write

PRICE = "price --venue binance --side long --entry-price 40000 --quantity 1 --leverage 10"
COMMANDS = ("--help", PRICE, "run", "check {data}/trades.json", "levels", "levels --formats html", "replay")
DATA = Path(__file__).parents[1] / "data"


def seconds(words: str, folder: str, cache: str) -> tuple[float, float]:
    """Return wall and processor seconds of a command."""
    asked = words.format(data=DATA).split()
    if words.split()[0] not in ("--help", "price"):
        asked += ["--out", str(Path(folder) / "out")]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "backtest", *asked]
    finished = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if finished.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked = parser.parse_args()
    about = "Seconds, wall and of the processors: with an empty cache of compiled kernels, and again."
    table = Table(
        "A command's first run and the next", "command", "first", "processor", "again", "processor", about=about
    )
    for words in COMMANDS:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
            first, again = (seconds(words, folder, cache) for _ in range(2))
        named = words.format(data="data").split(" --venue")[0]
        table.add(f"`{named}`", *(f"{taken:.1f}" for taken in (*first, *again)))
    if asked.write:
        write([table], machine())


if __name__ == "__main__":
    main()
