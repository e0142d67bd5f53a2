"""Manifest of fetched files: a line of JSON each.

The last line about a file is valid. A process that dies while it writes leaves half a line at most, at the end; it
is dropped when the manifest is next opened for writing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from backtest.market.repairs import Repairs
from backtest.market.sources.archives import Series
from backtest.market.whole_files import named, whole

Status = Literal["stored", "missing", "damaged"]


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its status, checksum, rows and repairs."""

    file: str  #: path below its host
    status: Status
    asked: datetime  #: time of the request
    address: str = ""  #: of the request
    bytes: int = 0
    sha256: str = ""
    verified: bool = False  #: against the venue's checksum
    etag: str = ""
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    short_days: tuple[date, ...] = ()  #: of a month: days that lack rows
    repairs: Repairs = field(default_factory=Repairs)
    note: str = ""  #: the reason, where damaged


class Manifest:
    """The entries of one series, by file."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._path, self._guard = path, threading.Lock()
        self.entries: dict[str, Entry] = {}
        torn = self._read()
        if writable and torn:
            self._rewrite()

    @classmethod
    def of(cls, folder: Path, series: Series, *, writable: bool = False) -> Manifest:
        """Open the manifest of a series; for writing only by the holder of the folder's lock."""
        return cls(folder / "manifest" / series.venue / series.name / f"{series.symbol}.jsonl", writable=writable)

    def record(self, entry: Entry) -> None:
        """Add an entry, in one write; safe to call from several threads."""
        line = _line(entry)
        with self._guard:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self._path.open("ab") as file:
                    file.write(line)
            except OSError as error:
                raise named(error, self._path) from None
            self.entries[entry.file] = entry

    def _read(self) -> bool:
        """Read the lines and return whether any is torn or outdated."""
        if not self._path.is_file():
            return False
        data = self._path.read_bytes()
        lines = data.split(b"\n")
        for line in lines[:-1]:
            entry = _entry(line)
            if entry is not None:
                self.entries[entry.file] = entry
        return lines[-1] != b"" or len(lines) - 1 > len(self.entries)

    def _rewrite(self) -> None:
        fresh = self._path.with_suffix(".partial")
        with whole(fresh, self._path):
            fresh.write_bytes(b"".join(map(_line, self.entries.values())))


def _line(entry: Entry) -> bytes:
    record: dict[str, Any] = asdict(entry) | {"repairs": dict(entry.repairs.counts)}
    kept = {name: value for name, value in record.items() if value or name in ("file", "status")}
    return json.dumps(kept, default=lambda value: value.isoformat()).encode() + b"\n"


def _entry(line: bytes) -> Entry | None:
    try:
        record: Mapping[str, Any] = json.loads(line)
        times = {
            name: datetime.fromisoformat(record[name]) for name in ("asked", "first", "last") if name in record
        }
        days = tuple(date.fromisoformat(day) for day in record.get("short_days", ()))
        return Entry(**{**record, **times, "short_days": days, "repairs": Repairs(record.get("repairs", {}))})
    except (ValueError, TypeError, AttributeError):  # a line of a later version, or damage: as if never fetched
        return None


def now() -> datetime:
    """Return the time, as manifests write it."""
    return datetime.now(UTC)
