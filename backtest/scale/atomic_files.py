"""Writing files that are there whole or not at all, and saying in the system's words why one cannot be written."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PolarsError

DRAFTS = ".drafts"

#: Bytes that a disk is asked to take to learn what is wrong with it.
MORE = 1_000_000


@contextmanager
def draft(folder: Path, file: str) -> Iterator[Path]:
    """Yield where to write a file that takes its name, below the folder, once it is whole.

    Raises
    ------
    OSError
        Where it cannot be written, with the name it was to have; nothing of it stays.
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
    """See a file onto the disk and out of memory.

    What is written once and not read again need not push out what others read, and memory that the system has to
    find for file after file costs more than they do: on a virtual machine 2.4 s of a CPU a gigabyte, 0.3 s where
    the last file's serves the next.
    """
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def discard(folder: Path) -> None:
    """Remove the drafts of whoever was killed over them."""
    shutil.rmtree(folder / DRAFTS, ignore_errors=True)


def _system_error(error: Exception, path: Path, target: Path) -> OSError | None:
    """Return the system's error behind one of polars', under the name of the file that was to be."""
    found = error if isinstance(error, OSError) else _refusal(path)
    if found is None or found.errno is None:
        return None
    return OSError(found.errno, os.strerror(found.errno), str(target))


def _refusal(path: Path) -> OSError | None:
    """Return what the system says to more of a file (polars does not always tell); None where it takes it."""
    try:
        with path.open("ab") as file:
            file.write(bytes(MORE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None
