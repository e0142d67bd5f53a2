"""Manifest of a job's finished shards: files with checksums, from which a killed job continues.

A job is anything whose result is one file a shard: cells of a grid, batches of a book. The folder holds

- ``manifest.jsonl``: first the job it belongs to, as digests of its settings, then a line a finished shard: its
  name, its file, the file's SHA-256;
- the shards' files, each written under another name and renamed when complete;
- ``lock``: held while a process works here, so that no second one does.

A shard is finished when its line is complete and its file has the checksum of the line. Lines are appended after
their file is in place, so a kill at any moment loses no more than the shard in progress. The lock is the operating
system's and ends with its process: a killed job leaves none behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any
from zlib import crc32

from backtest.errors import ArgumentError
from backtest.market.whole_files import named, whole
from backtest.scale.lock import alone

MANIFEST, LOCK = "manifest.jsonl", "lock"

#: Settings that are named where a folder is of another job.
MOST_NAMED = 5

#: What quick checksums begin with.
QUICK = "crc32:"


class Manifest:
    """Finished shards of one job, in a folder that is held; see :func:`opened`."""

    def __init__(self, folder: Path, suffix: str, finished: dict[str, tuple[str, str]]) -> None:
        self.folder = folder
        self._suffix = suffix
        self._finished = finished

    def __len__(self) -> int:
        return len(self._finished)

    def __contains__(self, shard: str) -> bool:
        return shard in self._finished

    def file(self, shard: str) -> Path:
        """Return the file of a finished shard."""
        return self.folder / self._finished[shard][0]

    def forget(self, shard: str) -> None:
        """Mark a finished shard as unfinished, because its inputs have changed."""
        self.file(shard).unlink(missing_ok=True)
        del self._finished[shard]

    def finish(self, shard: str, write: Callable[[Path], object]) -> Path:
        """Write a shard's file by a function of its path, and note it as finished.

        Raises
        ------
        ArgumentError
            For a shard that is finished already.
        OSError
            Where its file cannot be written, under its final name.
        """
        if shard in self._finished:
            raise ArgumentError(f"shard {shard!r} of {self.folder} is finished already")
        name = f"{sha256(shard.encode()).hexdigest()[:24]}{self._suffix}"
        partial = self.folder / f".partial-{name}"
        with whole(partial, self.folder / name):
            write(partial)
            checksum = checksum_of(partial)
        _append(self.folder / MANIFEST, {"shard": shard, "file": name, "sha256": checksum})
        self._finished[shard] = name, checksum
        return self.folder / name


@contextmanager
def opened(folder: Path, job: Any, *, suffix: str = ".parquet") -> Iterator[Manifest]:
    """Hold a folder for a job, with the shards of it that are finished.

    Parameters
    ----------
    folder : made where there is none
    job : everything that the shards depend on, as JSON: settings, hashes of inputs, versions
    suffix : of the shards' files

    Raises
    ------
    ArgumentError
        Where another process works in the folder, or it holds shards of another job.
    """
    made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    finished: dict[str, tuple[str, str]] = {}
    in_use = f"{folder} is in use by another process: wait for it, or end it"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / LOCK, in_use):
            for left in folder.glob(".partial-*"):  # of a job that was killed while it wrote
                left.unlink()
            try:
                finished.update(_read(folder, job))
                yield Manifest(folder, suffix, finished)
            except BaseException:
                if made and not finished:
                    for name in (MANIFEST, LOCK):
                        (folder / name).unlink(missing_ok=True)
                raise
    except BaseException:
        for path in made:
            with suppress(OSError):  # absent, or not empty
                path.rmdir()
        raise


def _read(folder: Path, of: Any) -> dict[str, tuple[str, str]]:
    path, fingerprint = folder / MANIFEST, _digest(of)
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    complete, torn = lines[:-1], lines[-1]  # what follows the last line's end was never finished
    if not complete:
        path.unlink(missing_ok=True)
        _append(path, {"job": fingerprint, "parts": _parts(of)})
        return {}
    try:
        entries = [json.loads(line) for line in complete]
        job, noted = entries[0]["job"], {entry["shard"]: (entry["file"], entry["sha256"]) for entry in entries[1:]}
    except (ValueError, KeyError, TypeError):
        raise ArgumentError(f"{path} is damaged: delete {folder} to begin again") from None
    if job != fingerprint:
        other = _difference(entries[0].get("parts"), _parts(of))
        raise ArgumentError(
            f"{folder} holds the finished parts of another job ({other}): choose another folder, or delete it"
        )
    if torn:
        os.truncate(path, sum(len(line) + 1 for line in complete))
    return {shard: found for shard, found in noted.items() if is_whole(folder / found[0], found[1])}


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _parts(job: Any, path: str = "") -> dict[str, str]:
    """Return a short digest of each setting of a job, and of each inside one that has several, by its path."""
    if not isinstance(job, dict):
        return {path: _digest(job)[:16]}
    inner = ((f"{path}.{name}" if path else str(name), value) for name, value in job.items())
    if path:
        return {name: _digest(value)[:16] for name, value in inner}
    return {own: digest for name, value in inner for own, digest in _parts(value, name).items()}


def _difference(before: Any, now: Mapping[str, str]) -> str:
    """Return which settings, inputs or versions differ."""
    if not isinstance(before, dict):
        return "other settings, inputs or versions"
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"other {', '.join(names[:MOST_NAMED])}{more}"


def is_whole(path: Path, checksum: str) -> bool:
    """Whether a file exists and has its checksum."""
    of = quick_checksum_of if checksum.startswith(QUICK) else checksum_of
    return path.is_file() and of(path) == checksum


def checksum_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def quick_checksum_of(path: Path) -> str:
    """Return the CRC-32 of a file: it finds damage in a third of the time of SHA-256, but no forgery."""
    found, block = 0, memoryview(bytearray(1 << 18))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            found = crc32(block[:size], found)
    return f"{QUICK}{found:08x}"


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        with path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise named(error, path) from None
