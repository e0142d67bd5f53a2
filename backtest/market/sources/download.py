"""Download of one file of an archive: fetched, verified, read and stored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import file_digest
from pathlib import Path
from urllib.parse import quote

import polars as pl

from backtest.errors import DataError
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources import interface, plan, store
from backtest.market.sources.archives import Period, Series, path_of
from backtest.market.sources.fetch_result import File
from backtest.market.sources.formats import packed
from backtest.market.sources.http import AbsentError, Client
from backtest.market.sources.manifest import Entry, Manifest
from backtest.market.sources.reader import READERS

#: Downloads of a file that does not match its checksum.
TRIALS = 3
DAY = timedelta(days=1)
#: A file's rows lie in its period, give or take another clock and stamps at a period's end.
SLACK = DAY
MINUTE = timedelta(minutes=1)
#: A venue's interface may lack the last bars of a day for so long.
SETTLING = 10 * MINUTE


class Bringer:
    """Downloads files one by one; used by several threads, each with files of its own."""

    def __init__(
        self, folder: Path, host: Callable[[str], str], client: Client, now: datetime, *, refresh: bool
    ) -> None:
        self._folder, self._host, self._client = folder, host, client
        self._now, self._refresh = now, refresh
        self._guard = threading.Lock()
        self.received = 0  #: bytes, by all threads

    def bring(self, series: Series, period: Period, manifest: Manifest) -> File:
        """Download a file unless it is on the disk; the result may be missing or damaged at the venue.

        Raises
        ------
        FetchError
            Where the venue cannot be reached or refuses.
        """
        known = manifest.entries.get(path_of(series, period))
        if known is not None and not self._to_ask(series, period, known):
            return File(series, period, "kept", known)
        entry = self._fetched(series, period)
        if known is not None and known.status == "stored" and entry.status != "stored":
            return File(series, period, "kept", known)  # the venue has removed it since; the copy here is kept
        manifest.record(entry)
        return File(series, period, "fetched" if entry.status == "stored" else entry.status, entry)

    def _to_ask(self, series: Series, period: Period, known: Entry) -> bool:
        """Whether a known file has to be downloaded (again)."""
        if not store.holds(self._folder, series, period, known):
            return True
        if not self._refresh:
            return not plan.settled(known, period, self._now)
        if known.status != "stored":
            return True
        address = self._address(series, known.file)
        try:
            if known.verified:
                return self._checksum(address) not in (known.sha256, "")
            return not known.etag or self._client.changed(address, known.etag)
        except AbsentError:
            return False

    def _fetched(self, series: Series, period: Period) -> Entry:
        file = path_of(series, period)
        if series.archive.asked:
            return self._asked(series, period, file)
        address, partial = self._address(series, file), self._partial(series, file)
        asked = Entry(file, "missing", self._now, address)
        for _ in range(TRIALS):
            try:
                etag = self._client.download(address, partial, self._count)
            except AbsentError:
                return asked
            try:
                entry = self._checked(series, period, partial, replace(asked, etag=etag))
            finally:
                partial.unlink(missing_ok=True)
            if entry.status == "stored" or entry.verified:
                break  # else a mixture of two uploads, or damaged on its way: from the beginning
        return entry

    def _asked(self, series: Series, period: Period, file: str) -> Entry:
        """Ask the venue's interface for the rows of a period; none: it is missing."""
        host = self._host(series.archive.host)
        start, end = (
            datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (period.first, period.last + DAY)
        )
        entry = Entry(file, "missing", self._now, f"{host}/{file}", note=_kept(series))
        if self._now < end + SETTLING:
            return replace(entry, note=f"{period} ended less than {SETTLING // MINUTE} minutes ago")
        reading = interface.ask(self._client, host, series, start, end, self._now)
        return entry if reading.rows.is_empty() else self._stored(series, period, reading, replace(entry, note=""))

    def _checked(self, series: Series, period: Period, partial: Path, asked: Entry) -> Entry:
        """Store a download if it fits its checksum."""
        promised = self._checksum(asked.address) if series.archive.checksum else ""
        with partial.open("rb") as handle:
            found = file_digest(handle, "sha256").hexdigest()
        asked = replace(asked, bytes=partial.stat().st_size, sha256=found, verified=promised == found)
        if promised not in (found, ""):
            return replace(
                asked, status="damaged", note=f"its SHA-256 is {found}, its checksum file says {promised}"
            )
        try:
            reading = _read(series, period, partial.read_bytes(), Path(asked.file))
        except DataError as error:
            return replace(asked, status="damaged", note=str(error))
        return self._stored(series, period, reading, asked)

    def _stored(self, series: Series, period: Period, reading: Reading, asked: Entry) -> Entry:
        rows = reading.rows
        store.write(self._folder, series, str(period), "month" if period.monthly else "day", rows)
        return replace(
            asked,
            status="stored",
            rows=rows.height,
            first=rows["time"][0] if rows.height else None,
            last=rows["time"][-1] if rows.height else None,
            short_days=short_days(rows, period, series.step) if period.monthly and series.step else (),
            repairs=reading.repairs,
        )

    def _checksum(self, address: str) -> str:
        """Return the SHA-256 that the venue publishes beside a file, or nothing where it publishes none."""
        try:
            words = self._client.get(f"{address}.CHECKSUM").decode("ascii", "replace").split()
        except AbsentError:
            return ""
        return words[0].lower() if words else "nothing"

    def _address(self, series: Series, file: str) -> str:
        return f"{self._host(series.archive.host)}/{quote(file)}"

    def _partial(self, series: Series, file: str) -> Path:
        return self._folder / "downloads" / f"{series.archive.host}-{file.replace('/', '-')}.partial"

    def _count(self, size: int) -> None:
        with self._guard:
            self.received += size


def short_days(rows: pl.DataFrame, period: Period, step: int) -> tuple[date, ...]:
    """Return the days of a period that hold fewer bars than a day has."""
    whole = DAY // timedelta(milliseconds=step)
    counts = rows.group_by(pl.col("time").dt.date().alias("day")).len()
    full = set(counts.filter(pl.col("len") >= whole)["day"])
    return tuple(day for day in period.days if day not in full)


def _kept(series: Series) -> str:
    kept = series.archive.kept
    return f"the venue keeps the newest {kept} alone" if kept else ""


def _read(series: Series, period: Period, data: bytes, path: Path) -> Reading:
    reading = READERS[series.archive.kind](packed.unwrapped(data, path), path)
    times = reading.rows["time"]
    first = datetime(period.first.year, period.first.month, period.first.day, tzinfo=UTC) - SLACK
    last = datetime(period.last.year, period.last.month, period.last.day, tzinfo=UTC) + DAY + SLACK
    outside = reading.rows.filter(~pl.col("time").is_between(first, last))
    if outside.height:
        raise DataError(
            f"file {path}: times must lie in {period}: {outside.height:,} of {times.len():,} rows do not, "
            f"first {outside['time'][0]:%Y-%m-%d %H:%M}"
        )
    return Reading(reading.rows, reading.repairs + Repairs({"beside": packed.count_beside(data)}))
