"""Output files of a command: all are written or none, by one run at a time, beside what the command does next."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import polars as pl
from polars.exceptions import PanicException, PolarsError

from backtest.errors import ArgumentError
from backtest.market.whole_files import system_error
from backtest.scale.lock import alone
from backtest.scale.result import SUMMARY

Result = TypeVar("Result")

LOCK, PARTIAL = ".lock", ".partial-"
IN_USE = "wait for it to end, or name another folder"


class Later(Generic[Result]):
    """A job that has begun in a thread of its own; a command that ends before it does not wait for it."""

    def __init__(self, job: Callable[[], Result]) -> None:
        self._found: list[Result] = []
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._do, args=(job,), daemon=True)
        self._thread.start()

    def _do(self, job: Callable[[], Result]) -> None:
        try:
            self._found.append(job())
        except BaseException as error:  # raised where the result is asked for
            self._failed = error

    def wait(self) -> None:
        """Return once the job has ended, whatever became of it."""
        self._thread.join()

    def result(self) -> Result:
        """Return what the job returned, or raise what it raised, once it has ended."""
        self.wait()
        if self._failed is not None:
            raise self._failed
        return self._found[0]


class Outputs:
    """Output files, kept in a temporary folder until all are written."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder, self._temporary = folder, temporary
        self.names: list[str] = []
        self._writing: list[Later[None]] = []

    def path(self, name: str) -> Path:
        """Return the temporary path of an output file."""
        self.names.append(name)
        return self._temporary / name

    def write_parquet(self, name: str, frame: pl.DataFrame) -> None:
        """Begin to write a frame as Parquet, by lz4: half of zstd's time for outcomes, an eighth more bytes.

        It is written beside what the command does next, up to :meth:`settle`.
        """
        path = self.path(name)
        self._writing.append(Later(lambda: frame.rechunk().write_parquet(path, compression="lz4")))

    def settle(self) -> None:
        """Wait until all frames are written; the first error of writing is raised."""
        while self._writing:
            self._writing.pop(0).result()

    def abandon(self) -> None:
        """Wait until nothing is written any more, whatever became of it."""
        while self._writing:
            self._writing.pop().wait()

    def write_summary(self, record: dict[str, Any], others: Sequence[str] = ()) -> None:
        """Write ``summary.json``, with the names of these and other files of the run; times become ISO 8601."""
        record = {**record, "files": [*others, *self.names]}
        text = json.dumps(record, indent=2, default=_written, ensure_ascii=False, allow_nan=False)
        self.path(SUMMARY).write_text(text + "\n", "utf-8")

    def write_json(self, name: str, record: dict[str, Any]) -> None:
        """Write compact JSON."""
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        self.path(name).write_text(text, "utf-8")

    @property
    def written(self) -> list[Path]:
        """The final paths of the files."""
        return [self.folder / name for name in self.names]


def require_folder(folder: Path) -> None:
    """Raise unless a folder can be written to; called before any work.

    Raises
    ------
    ArgumentError
        Where a file has its name, or it cannot be written to.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ArgumentError(f"--out {folder} cannot be a folder: {nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise ArgumentError(f"--out {folder} cannot be written to: no permission in {nearest}")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold an output folder for one run, made where there is none; a run that fails leaves none behind.

    What a killed run left half-written is removed.

    Raises
    ------
    ArgumentError
        For a folder that cannot be written to, or that another run holds.
    """
    require_folder(folder)
    made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    lock = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = not lock.exists()
        with alone(lock, f"--out {folder} is in use by another process: {IN_USE}"):
            for left in folder.glob(f"{PARTIAL}*"):
                shutil.rmtree(left)
            try:
                yield
            except BaseException:
                if new:
                    lock.unlink(missing_ok=True)
                raise
    except BaseException:
        for path in made:
            with suppress(OSError):  # absent, or not empty
                path.rmdir()
        raise


@contextmanager
def outputs(folder: Path) -> Iterator[Outputs]:
    """Collect output files in a temporary folder, and move them into a folder that is held once all are written.

    ``summary.json`` is removed before the first of them is moved and comes last: a folder with it holds the files
    of one run, whenever that was ended.

    Raises
    ------
    ArgumentError
        Where they cannot be written.
    """
    temporary = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder))
    collected = Outputs(folder, temporary)
    try:
        yield collected
        collected.settle()
        (folder / SUMMARY).unlink(missing_ok=True)
        for name in sorted(collected.names, key=lambda name: name == SUMMARY):
            (temporary / name).replace(folder / name)
    except (PolarsError, PanicException, OSError) as error:
        reason = _reason(error, temporary)
        if reason is None:
            raise
        refused = f"--out {folder} cannot be written to: {reason} (make room, or name another folder)"
        raise ArgumentError(refused) from None
    finally:
        collected.abandon()
        shutil.rmtree(temporary, ignore_errors=True)


def _reason(error: BaseException, temporary: Path) -> str | None:
    """Return why files could not be written; None where the error is another."""
    elsewhere = getattr(error, "filename", None)
    if elsewhere is not None and not Path(elsewhere).is_relative_to(temporary):
        return None
    found = system_error(error, temporary.rglob("*"))
    return None if found is None or found.errno is None else os.strerror(found.errno)


def _written(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
