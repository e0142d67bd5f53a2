"""Files needed for a span: months, or days where few are needed or no month is there yet, and what completes both.

Venues mend days, and leave months as they were: a few days are fetched as days, which are right, and small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from backtest.errors import ArgumentError
from backtest.market.sources.archives import Period, Series, path_of
from backtest.market.sources.manifest import Entry, Manifest

#: So many days of a month are fetched as days.
FEW = 7
#: A file still missing this long after its period is never published.
PUBLISHED_AFTER = timedelta(days=40)
#: Longest span fetched from a venue's interface: the archives are at most this far behind.
RECENT = timedelta(days=45)
#: A file that was missing or damaged is requested again after this time.
ASKED_AGAIN_AFTER = timedelta(hours=6)

Moment = str | date | datetime


@dataclass(frozen=True)
class Span:
    """Times from ``start`` to before ``end``; UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ArgumentError(
                f"must lie after the start ({self.start:%Y-%m-%d %H:%M}), is {self.end:%Y-%m-%d %H:%M}",
                argument="end",
            )

    def days(self, before: date, ahead: timedelta = timedelta(0)) -> list[date]:
        """Return its days, on a clock that is ahead of UTC, up to before a day."""
        last = min((self.end + ahead - timedelta(milliseconds=1)).date(), before - timedelta(days=1))
        first = (self.start + ahead).date()
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def span(start: Moment, end: Moment) -> Span:
    """Return a span from dates, times, or their text; times without a zone are UTC.

    Raises
    ------
    ArgumentError
        For text that is no time, and an end that does not lie after the start.
    """
    return Span(_moment("start", start), _moment("end", end))


def files(series: Series, wanted: Span, today: date, manifest: Manifest) -> Iterator[Period]:
    """Yield the months and days of the files that the span needs first, and that should exist."""
    archive = series.archive
    for month, days in _by_month(series, wanted, today):
        known = manifest.entries.get(path_of(series, month))
        few = archive.daily and len(days) <= FEW and (known is None or known.status != "stored")
        if archive.monthly and month.last < today and not few:
            yield month
        elif archive.daily:
            yield from days


def completing(series: Series, wanted: Span, today: date, manifest: Manifest) -> Iterator[Period]:
    """Yield months of which days are missing; days whose month is missing or lacks rows, or that are there."""
    if not (series.archive.monthly and series.archive.daily):
        return
    for month, days in _by_month(series, wanted, today):
        entry = manifest.entries.get(path_of(series, month))
        if month.last >= today:
            continue
        if entry is None or entry.status != "stored":
            asked = (manifest.entries.get(path_of(series, day)) for day in days)
            if any(each is not None and each.status != "stored" for each in asked):
                yield month
        if entry is not None:
            short = set(entry.short_days)
            for day in days:
                known = manifest.entries.get(path_of(series, day))
                fetched = known is not None and known.status == "stored"
                if entry.status != "stored" or day.first in short or fetched:
                    yield day


def _by_month(series: Series, wanted: Span, today: date) -> Iterator[tuple[Period, list[Period]]]:
    """Yield the months of a span, each with its days in the span."""
    days = wanted.days(today, series.archive.ahead)
    for month in dict.fromkeys(Period.month(day) for day in days):
        yield month, [Period.day(day) for day in days if month.first <= day <= month.last]


def uncovered(series: Series, span: Span, now: datetime, stored: Iterable[Period]) -> tuple[datetime, datetime]:
    """Return start and end of the part of a span after the last stored file, within ``RECENT``."""
    last = max((period.last for period in stored), default=None)
    start = max(span.start, now - RECENT)
    if last is not None:
        behind = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
        start = max(start, behind - series.archive.ahead)
    return start, min(span.end, now)


def settled(entry: Entry | None, period: Period, now: datetime) -> bool:
    """Whether a file need not be requested: it is stored, never published, or was requested recently."""
    if entry is None:
        return False
    published = datetime(period.last.year, period.last.month, period.last.day, tzinfo=UTC) + PUBLISHED_AFTER
    never = entry.status == "missing" and entry.asked > published
    return entry.status == "stored" or never or now - entry.asked < ASKED_AGAIN_AFTER


def _moment(name: str, given: Moment) -> datetime:
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            raise ArgumentError(f"must be a date or a time like 2021-05-19, is {given!r}", argument=name) from None
    if not isinstance(given, datetime):
        given = datetime(given.year, given.month, given.day)
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
