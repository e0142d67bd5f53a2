"""Files that are written whole or not at all, with the system's own error where one cannot be."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException, PolarsError

#: How polars quotes an error of the system.
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")

#: Bytes written as a trial, to learn the system's error.
TRIAL_BYTES = 1_000_000


@contextmanager
def whole(path: Path, target: Path) -> Iterator[None]:
    """Rename a temporary file that is written meanwhile to its final name, or remove it.

    Raises
    ------
    OSError
        Where it cannot be written, under its final name.
    """
    try:
        yield
        path.replace(target)
    except (PolarsError, PanicException, OSError) as error:
        found = system_error(error, [path])
        raise error if found is None else named(found, target) from None
    finally:
        path.unlink(missing_ok=True)


def named(error: OSError, path: Path) -> OSError:
    """Return an error of the system under the name of a file."""
    return error if error.errno is None else OSError(error.errno, os.strerror(error.errno), str(path))


def system_error(error: BaseException, written: Iterable[Path]) -> OSError | None:
    """Return the system's error behind one of polars while it wrote files; None where there is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    number = SYSTEM_ERROR.search(str(error))
    if number is not None:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    return next((found for path in written if path.is_file() and (found := _refusal(path)) is not None), None)


def _refusal(path: Path) -> OSError | None:
    """Return the system's error on writing more of a file (polars does not always give it); None if it works."""
    try:
        with path.open("ab") as file:
            file.write(bytes(TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None
