"""Files below a folder: complete or absent, written under other names beside one another."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backtest.market.whole_files import whole

DRAFTS = ".drafts"


@contextmanager
def draft(folder: Path, file: str) -> Iterator[Path]:
    """Yield a temporary path for a file, which is renamed to its place below the folder when complete.

    Raises
    ------
    OSError
        Where it cannot be written, under its final name; the temporary file is removed.
    """
    target = folder / file
    path = folder / DRAFTS / f"{uuid.uuid4().hex}-{target.name}"
    with whole(path, target):
        for parent in (target.parent, path.parent):
            parent.mkdir(parents=True, exist_ok=True)
        yield path


def settle(path: Path) -> None:
    """Flush a file to the disk and drop it from the system's cache.

    A file that is written once and not read again should not displace others in the cache, and finding new memory
    for file after file costs more than flushing: on a virtual machine 2.4 s of a CPU a gigabyte, 0.3 s where the
    memory of the last file is used again.
    """
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def discard(folder: Path) -> None:
    """Remove temporary files of processes that were killed."""
    shutil.rmtree(folder / DRAFTS, ignore_errors=True)
