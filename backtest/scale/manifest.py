"""What of a long job is finished: shards by name, each with the files it left and their checksums.

A shard is any part of a job that ends in files and depends on no other: a batch of positions, a cell of a grid of
policies. One process drives a job and writes its manifest, ``manifest.jsonl``, a line a shard; a line is there
whole or not at all. A job that was killed goes on where it stood: shards whose files are as they were left are not
done again. ::

    with opened(folder, job={"venue": "binance"}) as manifest:
        for name in shards:
            if not manifest.is_finished(name):
                with manifest.draft(f"{name}.parquet") as path:
                    frame.write_parquet(path)
                manifest.finish(name, [f"{name}.parquet"])
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any

from polars.exceptions import PolarsError

from backtest.errors import ArgumentError

MANIFEST, LOCK, DRAFTS = "manifest.jsonl", ".lock", ".drafts"

#: What polars makes of an error of the system: its number is all that can be relied on.
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class Shard:
    """One finished part of a job."""

    name: str
    files: Mapping[str, str]  #: SHA-256 by path below the job's folder
    facts: Mapping[str, Any] = field(default_factory=dict)  #: what the job wants to know of it again, as JSON


class Manifest:
    """The finished shards of one job, by name; made by :func:`opened`."""

    def __init__(self, folder: Path, job: Mapping[str, Any], shards: Iterable[Shard]) -> None:
        self.folder, self.job = folder, job
        self.shards = {shard.name: shard for shard in shards}

    def is_finished(self, name: str) -> bool:
        """Whether a shard's files are there as they were left; reads them."""
        shard = self.shards.get(name)
        return shard is not None and all(
            (self.folder / file).is_file() and checksum(self.folder / file) == known
            for file, known in shard.files.items()
        )

    @contextmanager
    def draft(self, file: str) -> Iterator[Path]:
        """Yield where to write a file that takes its name, below the folder, once it is whole."""
        with draft(self.folder, file) as path:
            yield path

    def finish(self, name: str, files: Iterable[str] | Mapping[str, str], **facts: Any) -> None:
        """Record a shard as finished, with its files as paths below the folder, or as checksums by such paths."""
        sums = files if isinstance(files, Mapping) else {file: checksum(self.folder / file) for file in files}
        shard = Shard(name, sums, facts)
        with (self.folder / MANIFEST).open("ab", buffering=0) as file:
            file.write(_line(shard))
        self.shards[name] = shard

    def forget(self, name: str) -> None:
        """Take a shard for unfinished, whatever its files are."""
        self.shards.pop(name, None)


@contextmanager
def opened(folder: Path, job: Mapping[str, Any]) -> Iterator[Manifest]:
    """Open or begin the manifest of a job in a folder, as its only driver.

    Parameters
    ----------
    folder
        Where the files of the job go; made where it does not exist.
    job
        Everything its results depend on, as JSON: a folder holds one job.

    Raises
    ------
    ArgumentError
        While another process drives a job there, or where the folder holds another job.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        if not _taken(lock):
            raise ArgumentError(f"{folder} is being written by another process: wait, or use another folder")
        job = json.loads(json.dumps(job, default=str))
        header, shards, torn = _read(folder / MANIFEST)
        if header is not None:
            _require_same(folder, header, job)
        shutil.rmtree(folder / DRAFTS, ignore_errors=True)  # of a driver that was killed
        if header is None or torn:
            _begin(folder, job, shards)
        try:
            yield Manifest(folder, job, shards)
        finally:
            shutil.rmtree(folder / DRAFTS, ignore_errors=True)


@contextmanager
def draft(folder: Path, file: str) -> Iterator[Path]:
    """Yield where to write a file that takes its name, below the folder, once it is whole.

    Raises
    ------
    OSError
        Where it cannot be written, with the name it was to have; nothing of it stays.
    """
    target = folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / DRAFTS).mkdir(exist_ok=True)
    path = folder / DRAFTS / f"{uuid.uuid4().hex}-{target.name}"
    try:
        yield path
        path.replace(target)
    except (PolarsError, OSError) as error:
        raise _system_error(error, target) or error from None
    finally:
        path.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> tuple[dict[str, Any] | None, list[Shard], bool]:
    """Return the job, the shards, and whether the last line was cut off."""
    if not path.is_file():
        return None, [], False
    *lines, rest = path.read_bytes().split(b"\n")
    try:
        header, *records = [json.loads(line) for line in lines]
        return header, [Shard(**record) for record in records], rest != b""
    except (ValueError, TypeError):
        raise ArgumentError(f"{path} is damaged: remove the folder, or use another") from None


def _begin(folder: Path, job: Mapping[str, Any], shards: Iterable[Shard]) -> None:
    with draft(folder, MANIFEST) as path:
        path.write_bytes(_json(job) + b"".join(map(_line, shards)))


def _require_same(folder: Path, header: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    differing = [name for name in {**header, **job} if header.get(name) != job.get(name)]
    if differing:
        raise ArgumentError(
            f"{folder} holds a job that differs in {', '.join(differing)}: use another folder, or remove this one"
        )


def _line(shard: Shard) -> bytes:
    return _json({"name": shard.name, "files": dict(shard.files), "facts": dict(shard.facts)})


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _system_error(error: Exception, target: Path) -> OSError | None:
    """Return the system's error behind one of polars', under the name of the file that was to be."""
    found = SYSTEM_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
    return None if number is None else OSError(number, os.strerror(number), str(target))


def _taken(lock: IO[str]) -> bool:
    """Try to take the lock of a file; the system takes it back when its holder dies, however it dies."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
