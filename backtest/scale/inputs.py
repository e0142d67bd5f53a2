"""Identity of inputs and code: what a run was made of, and whether a worker sees the same.

A local file is its size and its SHA-256. A worker that sees the driver's very file (same machine, file number,
size and times) does not read it again; any other computes its SHA-256, once a file. Rows of object storage, of
which polars' readers tell no version, are their number and the sum of their hashes.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import polars as pl

import backtest
from backtest.errors import DataError
from backtest.scale.manifest import checksum_of


@dataclass(frozen=True)
class Identity:
    """A local file as the driver sees it."""

    size: int
    sha256: str
    seen: tuple[
        str | int, ...
    ]  #: machine, device, file number, size, time of the last change, and when the system noted it (ns)

    @property
    def content(self) -> list[int | str]:
        """What does not depend on where the file is."""
        return [self.size, self.sha256]


def absolute(source: str) -> str:
    """Return a path that leads to the same file from any folder; an address as it is."""
    return source if "://" in source else os.path.abspath(source)  # noqa: PTH100 (a pattern is no path)


def identity_of(path: str) -> Identity | None:
    """Return what a local file is; None where there is none."""
    seen = _seen(path)
    return None if seen is None else Identity(int(seen[3]), _checksum(path, seen), seen)


def require_same(path: str, expected: Identity | None, what: str) -> None:
    """Raise where a worker sees another file than the driver.

    Raises
    ------
    DataError
        For a file that is absent, or of another size or content.
    """
    seen = _seen(path)
    if expected is None or seen == expected.seen:
        return
    here = "is absent" if seen is None else f"has {int(seen[3]):,} bytes"
    if seen is not None and seen[3] == expected.size:
        if _checksum(path, seen) == expected.sha256:
            return
        here = f"has the SHA-256 {_checksum(path, seen)[:12]}..., the driver's {expected.sha256[:12]}..."
    raise DataError(
        f"{what} file {path} {here} on {platform.node()}: it is not the file of {expected.size:,} bytes that the "
        "driver sees (it changed during the run, or this machine has another one under that path)"
    )


def content_of(rows: pl.LazyFrame) -> list[int]:
    """Return the number of rows and the sum of their hashes, whatever their order."""
    hashed = pl.struct(pl.all()).hash(seed=0)
    found = rows.select(pl.len(), high=(hashed // 2**32).sum(), low=(hashed % 2**32).sum()).collect(
        engine="streaming"
    )
    return [int(value or 0) for value in found.row(0)]


@cache
def code_digest() -> str:
    """Return the SHA-256 of all code and rules of this package."""
    home = Path(backtest.__file__).parent
    sources = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".toml", ".parquet"))
    digest = sha256()
    for path in sources:
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def require_same_code(expected: str) -> None:
    """Raise where a worker runs other code than the driver."""
    if code_digest() != expected:
        raise DataError(
            f"the worker on {platform.node()} runs other code of this package than the driver: install the same "
            "on every machine, and start the workers again"
        )


def contents(identities: Mapping[str, Identity | Sequence[int] | None]) -> dict[str, list[int | str]]:
    """Return what inputs are, for the record of a run."""
    return {
        path: found.content if isinstance(found, Identity) else list(found or [])
        for path, found in identities.items()
    }


def _seen(path: str) -> tuple[str | int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return _machine(), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@cache
def _machine() -> str:
    """Return a name of this machine since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text('utf-8').strip() if boot.exists() else ''}"


#: The last SHA-256 of each file, and how it was seen then: a copy keeps the time of the last change, but not the
#: time the system noted.
_known: dict[str, tuple[tuple[str | int, ...], str]] = {}


def _checksum(path: str, seen: tuple[str | int, ...]) -> str:
    known = _known.get(path)
    if known is None or known[0] != seen:
        known = _known[path] = seen, checksum_of(Path(path))
    return known[1]
