"""Fetching: the files of a span that are not on the disk are downloaded, verified, read and stored.

Months first, of few days the days; then, in a second round, the days whose month is not there or lacks rows, and
the month whose days are not there. Each file goes through the
same steps: downloaded to the disk, resumed if it broke off; checksum verified; read, with every repair counted;
stored as a part by one renaming; a line in the manifest; the download removed. A process killed between any two of
these steps leaves the files stored before and at most a download to resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from backtest.errors import ArgumentError, FetchError, require_folder_of_this_machine
from backtest.market.repairs import Repairs
from backtest.market.sources import manifest, plan, recent, store
from backtest.market.sources.archives import HOSTS, Period, Series, path_of
from backtest.market.sources.archives import series as named_series
from backtest.market.sources.download import Bringer
from backtest.market.sources.fetch_result import Fetched, File
from backtest.market.sources.folder import data_folder
from backtest.market.sources.http import Client, Patience, UnreachableError
from backtest.market.sources.lock import locked
from backtest.market.sources.manifest import Manifest

PARALLEL, MOST_PARALLEL = 6, 16

#: Files done, files there are so far, and bytes received: called from one thread at a time.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Settings:
    """Settings of a fetch, the same for every file."""

    folder: Path = field(default_factory=data_folder)  #: where data are kept
    hosts: Mapping[str, str] = field(default_factory=dict)  #: other addresses for names in ``archives.HOSTS``
    refresh: bool = False  #: check whether the venue has changed files that are on the disk
    with_recent: bool = (
        False  #: fetch the newest days, which no archive holds yet, from the venue's public interface
    )
    offline: bool = False  #: use files on the disk only
    parallel: int = PARALLEL  #: downloads at a time
    patience: Patience = field(default_factory=Patience)  #: retries and pauses
    now: datetime = field(default_factory=manifest.now)
    progress: Progress = lambda *_: None
    waiting: Callable[[], None] = lambda: None  #: called once where another process is fetching

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= MOST_PARALLEL:
            raise ArgumentError(f"must lie between 1 and {MOST_PARALLEL}, is {self.parallel}", argument="parallel")
        require_folder_of_this_machine(self.folder, "folder")
        if self.folder.is_file():
            raise ArgumentError(f"must be one to keep data in: {self.folder} is a file", argument="folder")
        strangers = sorted(set(self.hosts) - set(HOSTS))
        if strangers:
            raise ArgumentError(
                f"must name some of {', '.join(HOSTS)}: {strangers[0]!r} is none of them", argument="hosts"
            )
        if self.offline and (self.refresh or self.with_recent):
            raise ArgumentError("asks nobody: refreshed and recent files need a connection", argument="offline")

    def host(self, name: str) -> str:
        """Return the address of a host."""
        return self.hosts.get(name, HOSTS[name]).rstrip("/")


def fetch(
    venue: str,
    data: str | Sequence[str],
    symbols: str | Sequence[str],
    start: plan.Moment,
    end: plan.Moment,
    *,
    interval: str = "1m",
    settings: Settings | None = None,
) -> Fetched:
    """Download the files of a span from a venue's archive, unless they are on the disk.

    Parameters
    ----------
    venue, data, symbols
        As in ``archives.ARCHIVES``: ``"binance"``, ``["mark", "funding"]``, ``"BTCUSDT"``.
    start, end
        Dates or times in UTC; the end is not part of the span.
    interval
        Of data sets that have one.
    settings
        Folder, refreshing, parallel downloads and retries.

    Returns
    -------
    Fetched
        Every file of the span with its outcome. Missing files are no error.

    Raises
    ------
    ArgumentError
        For names and spans that are wrong.
    FetchError
        Where a host cannot be reached. Files stored before stay, and the next call continues from there.

    Examples
    --------
    >>> from backtest.market.sources import Settings, fetch
    >>> fetch("binance", ["mark", "funding"], "BTCUSDT", "2021-05-01", "2021-06-01")  # doctest: +SKIP
    Fetched(2 fetched; /home/me/.cache/backtest/data)
    >>> fetch("binance", "mark", "BTCUSDT", "2021-05-19", "2021-05-20", settings=Settings(folder, offline=True))
    Traceback (most recent call last):
    backtest.errors.FetchError: 1 of 1 files are not in ..., first binance mark-1m BTCUSDT 2021-05-19: ...
    """
    wanted = all_series(venue, data, symbols, interval)
    return fetch_series(wanted, plan.span(start, end), settings or Settings())


def all_series(venue: str, data: str | Sequence[str], symbols: str | Sequence[str], interval: str) -> list[Series]:
    """Return every pair of data set and symbol, each once; raises ``ArgumentError`` for wrong names."""
    sets, names = ([given] if isinstance(given, str) else list(given) for given in (data, symbols))
    for name, given in (("data", sets), ("symbols", names)):
        if not given:
            raise ArgumentError("must name at least one, there is none", argument=name)
    found = (named_series(venue, dataset, symbol, interval) for dataset in sets for symbol in names)
    return list(dict.fromkeys(found))


def fetch_series(wanted: Sequence[Series], span: plan.Span, settings: Settings) -> Fetched:
    """Fetch the files of some series, as :func:`fetch`."""
    if settings.offline or not (settings.refresh or settings.with_recent):
        complete = _kept(wanted, span, settings)
        if complete is not None:  # nothing to do: no lock, no request
            return complete
    with locked(settings.folder / ".lock", settings.waiting):
        store.sweep_up(settings.folder, settings.now)
        manifests = {series: Manifest.of(settings.folder, series, writable=True) for series in wanted}
        crew = _Crew(settings, manifests)
        files = crew.run(
            [(series, period) for series in wanted for period in _first(series, span, settings, manifests)]
        )
        files += crew.run(
            [(series, day) for series in wanted for day in _second(series, span, settings, manifests)]
        )
        if settings.with_recent:
            files += [_recent(series, span, settings, crew.client, files) for series in wanted]
    return Fetched(settings.folder, _compared(files, settings.folder))


def _compared(files: Sequence[File], folder: Path) -> tuple[File, ...]:
    """Return files with the rows in which a day differs from its month counted as a repair of the day."""
    found = []
    for file in files:
        day = file.period is not None and not file.period.monthly and file.entry.status == "stored"
        rows = store.stale(folder, file.series, file.period) if day and file.period else 0
        repairs = file.entry.repairs + Repairs({"stale": rows})
        found.append(replace(file, entry=replace(file.entry, repairs=repairs)) if rows else file)
    return tuple(found)


def _first(
    series: Series, span: plan.Span, settings: Settings, manifests: Mapping[Series, Manifest]
) -> Iterator[Period]:
    return plan.files(series, span, settings.now.date(), manifests[series])


def _second(
    series: Series, span: plan.Span, settings: Settings, manifests: Mapping[Series, Manifest]
) -> Iterator[Period]:
    return plan.completing(series, span, settings.now.date(), manifests[series])


def _kept(wanted: Sequence[Series], span: plan.Span, settings: Settings) -> Fetched | None:
    """Return the files on the disk if the span needs no others; else None, or an error where offline."""
    manifests = {series: Manifest.of(settings.folder, series) for series in wanted}
    files: list[File] = []
    lacking: list[tuple[Series, Period]] = []
    for series, own in manifests.items():
        for period in (*_first(series, span, settings, manifests), *_second(series, span, settings, manifests)):
            entry = own.entries.get(path_of(series, period))
            settled = settings.offline or plan.settled(entry, period, settings.now)
            if entry is None or not (settled and store.holds(settings.folder, series, period, entry)):
                lacking.append((series, period))
            else:
                files.append(File(series, period, "kept", entry))
    if not lacking:
        return Fetched(settings.folder, _compared(files, settings.folder))
    if settings.offline:
        raise FetchError(_offline(lacking, len(files) + len(lacking), settings.folder))
    return None


def _offline(lacking: Sequence[tuple[Series, Period]], total: int, folder: Path) -> str:
    series, period = lacking[0]
    interval = f" --interval {series.interval}" if series.interval else ""
    return (
        f"{len(lacking):,} of {total:,} files are not in {folder}, first {series} {period}: with a connection, "
        f"backtest fetch {series.venue} {series.dataset} --symbol {series.symbol} --from {period.first} "
        f"--until {period.last + timedelta(days=1)}{interval}"
    )


def _recent(series: Series, span: plan.Span, settings: Settings, client: Client, files: Sequence[File]) -> File:
    """Fetch the end of the span, which no file covers, from the venue's interface."""
    endpoint = series.archive.recent
    if endpoint is None:
        note = "no public interface for it is known here"
        return File(series, None, "missing", manifest.Entry("", "missing", settings.now, note=note))
    host = settings.host(endpoint.host)
    asked = manifest.Entry(endpoint.path, "stored", settings.now, f"{host}/{endpoint.path}")
    start, end = plan.uncovered(series, span, settings.now, _stored(series, files))
    try:
        reading = recent.ask(client, host, series, start, end, settings.now)
    except FetchError as error:
        return File(series, None, "failed", replace(asked, status="damaged", note=str(error)))
    rows = reading.rows
    if rows.is_empty():
        return File(series, None, "fetched", asked)
    store.extend(settings.folder, series, rows)
    first, last = rows["time"][0], rows["time"][-1]
    return File(
        series, None, "fetched", replace(asked, rows=rows.height, first=first, last=last, repairs=reading.repairs)
    )


def _stored(series: Series, files: Sequence[File]) -> list[Period]:
    return [
        file.period for file in files if file.series == series and file.period and file.entry.status == "stored"
    ]


class _Crew:
    """Threads that download files, and the outcome of each file."""

    def __init__(self, settings: Settings, manifests: Mapping[Series, Manifest]) -> None:
        self._settings, self._manifests = settings, manifests
        self.client = Client(settings.patience, {*HOSTS.values(), *settings.hosts.values()})
        self._bringer = Bringer(
            settings.folder, settings.host, self.client, settings.now, refresh=settings.refresh
        )
        self._done = self._total = 0

    def run(self, jobs: Sequence[tuple[Series, Period]]) -> list[File]:
        """Download files, some at a time; an unreachable host ends it, a file that fails does not."""
        self._total += len(jobs)
        done: dict[tuple[Series, Period], File] = {}
        with ThreadPoolExecutor(self._settings.parallel) as pool:
            asked = {pool.submit(self._one, *job): job for job in jobs}
            try:
                for future in as_completed(asked):
                    done[asked[future]] = self._outcome(future, *asked[future])
                    self._done += 1
                    self._settings.progress(self._done, self._total, self._bringer.received)
            except BaseException:
                self.client.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return [done[job] for job in jobs]

    def _one(self, series: Series, period: Period) -> File:
        return self._bringer.bring(series, period, self._manifests[series])

    def _outcome(self, future: Future[File], series: Series, period: Period) -> File:
        try:
            return future.result()
        except UnreachableError as error:
            raise FetchError(
                f"{error}. Fetched files are kept, and the next call continues from there; without a connection, "
                f"use those in {self._settings.folder}",
                remedies=(("offline", True),),
            ) from None
        except FetchError as error:
            file = path_of(series, period)
            failed = manifest.Entry(file, "damaged", self._settings.now, note=str(error))
            return File(series, period, "failed", failed)
