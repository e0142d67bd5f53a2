"""Writing files that are there whole or not at all, and saying in the system's words why one cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PolarsError

DRAFTS = ".drafts"

#: What polars makes of an error of the system: its number is all that can be relied on.
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


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
        raise _system_error(error, target) or error from None
    finally:
        path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove the drafts of whoever was killed over them."""
    shutil.rmtree(folder / DRAFTS, ignore_errors=True)


def _system_error(error: Exception, target: Path) -> OSError | None:
    """Return the system's error behind one of polars', under the name of the file that was to be."""
    found = SYSTEM_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
    return None if number is None else OSError(number, os.strerror(number), str(target))
