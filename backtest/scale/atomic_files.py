"""Atomic files: complete or absent, with the system's own error where one cannot be written."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PolarsError

DRAFTS = ".drafts"

#: Bytes written as a trial, to learn the system's error.
TRIAL_BYTES = 1_000_000


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
    try:
        for parent in (target.parent, path.parent):
            parent.mkdir(parents=True, exist_ok=True)
        yield path
        path.replace(target)
    except (PolarsError, OSError) as error:
        raise _system_error(error, path, target) or error from None
    finally:
        path.unlink(missing_ok=True)


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


def _system_error(error: Exception, path: Path, target: Path) -> OSError | None:
    """Return the system's error behind one of polars', under the final name of the file."""
    found = error if isinstance(error, OSError) else refusal(path)
    if found is None or found.errno is None:
        return None
    return OSError(found.errno, os.strerror(found.errno), str(target))


def refusal(path: Path) -> OSError | None:
    """Return the system's error on writing more of a file (polars does not always give it); None if it works."""
    try:
        with path.open("ab") as file:
            file.write(bytes(TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None
