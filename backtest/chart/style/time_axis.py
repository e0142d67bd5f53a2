"""Time axis, in UTC or a zone, for windows from minutes to decades: at most ten ticks, at round times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, Locator, NullLocator

from backtest.amounts import moment, zone_name
from backtest.chart.style.theme import MUTED, SMALL, TEXT, width
from backtest.errors import ArgumentError

Floats = np.ndarray[Any, np.dtype[np.float64]]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

#: Distances between ticks that divide an hour, a day, or count days from a Monday.
STEPS = (
    *(MINUTE * count for count in (1, 2, 5, 10, 15, 30)),
    *(HOUR * count for count in (1, 2, 3, 6, 12)),
    *(DAY * count for count in (1, 2, 7, 14)),
)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
MOST_TICKS = 10

#: Least distance between ticks in points: of hours, whose labels may carry a date and a year, and of days, months
#: and years.
HOUR_APART, DAY_APART = 56.0, 44.0

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = datetime(1970, 1, 5)  #: on the wall of whatever zone

#: Days since 1970 beyond which there are no dates.
FIRST_DAY, LAST_DAY = -700_000.0, 2_900_000.0


def days(moment: datetime) -> float:
    """Return a time as matplotlib counts it, in days since 1970."""
    return (moment - EPOCH) / DAY


def open_times(times: pl.Series) -> tuple[Floats, float]:
    """Return open times in days, and the interval between them: an hour if there is only one."""
    starts = times.dt.epoch("ms").to_numpy() / (DAY / timedelta(milliseconds=1))
    return starts, float(np.diff(starts).min()) if len(starts) > 1 else HOUR / DAY


def time_axis(ax: Axes, start: datetime, end: datetime, *, timezone: str = "UTC", clear: float = 0.0) -> Axes:
    """Span the x axis over a window; its ticks follow a zoom, the first and each new year carry the year.

    Parameters
    ----------
    timezone : of the labels and of what counts as a round time
    clear : points before the right end in which no tick is labelled
    """
    ax.set_xlim(days(start), days(end))
    ticks = TimeTicks(zone_of(timezone), clear=clear)
    ax.xaxis.set_major_locator(ticks)
    ax.xaxis.set_major_formatter(TimeLabels(ticks.zone))
    ax.xaxis.set_minor_locator(NullLocator())
    size = SMALL if ticks.is_crowded(*ax.get_xlim()) else TEXT
    ax.tick_params(axis="x", labelcolor=MUTED, labelsize=size)
    return ax


def in_timezone(ax: Axes, timezone: str) -> Axes:
    """Label the time axis of a chart in a zone; its amounts, and intervals counted in UTC, stay.

    Examples
    --------
    >>> from backtest.chart.levels import heatmap
    >>> from backtest.chart.style import in_timezone
    >>> ax = in_timezone(heatmap(open_levels, ax), "Asia/Tokyo")
    >>> ax.get_xticklabels()[0].get_text().split()[-1]
    'JST'
    """
    ticks, zone = ax.xaxis.get_major_locator(), zone_of(timezone)
    if not isinstance(ticks, TimeTicks):
        raise ArgumentError("must have an axis of times", argument="ax")
    ticks.zone = zone
    ax.xaxis.set_major_formatter(TimeLabels(zone))
    return ax


def zone_of(timezone: str) -> ZoneInfo:
    """Return a time zone by its name."""
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ArgumentError(
            f"must be a zone like UTC or Europe/Berlin, is {timezone!r}", argument="timezone"
        ) from None


class TimeTicks(Locator):
    """Round times of a zone, as many as there is room for: they follow what the axis shows."""

    def __init__(self, zone: ZoneInfo, *, clear: float = 0.0) -> None:
        self.zone, self.clear = zone, clear

    def __call__(self) -> list[float]:
        """Return the ticks of what is shown now."""
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks between two times, in days."""
        low, high = sorted((vmin, vmax))
        room = self._room()
        found = self._between(low, high, room)
        if len(found) < 2:  # the next finer step, in smaller letters
            found = self._between(low, high, 1.5 * room)
        places = [days(tick) for tick in found]
        last = high - self.clear / room * (high - low)
        return [place for place in places if place <= last or not self.clear or len(places) == 1]

    def is_crowded(self, low: float, high: float) -> bool:
        """Return whether one round time at most fits in usual letters."""
        return len(self._between(low, high, self._room())) < 2

    def _between(self, low: float, high: float, room: float) -> list[datetime]:
        if not FIRST_DAY <= low < high <= LAST_DAY:
            return []
        return time_ticks(EPOCH + low * DAY, EPOCH + high * DAY, room=room, zone=self.zone)

    def _room(self) -> float:
        return max(width(self.axis.axes), 1.0)  # type: ignore[union-attr]


class TimeLabels(Formatter):
    """Labels of times in a zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002, by place
        """Return one time in words, as under a pointer."""
        return moment((EPOCH + x * DAY).astimezone(self.zone))

    def format_ticks(self, values: Any) -> list[str]:
        """Return the labels of all ticks."""
        return tick_labels([rounded(EPOCH + value * DAY).astimezone(self.zone) for value in values])


def rounded(time: datetime) -> datetime:
    """Return a time to the second: days as matplotlib counts them hold microseconds only nearly."""
    return (time + timedelta(milliseconds=500)).replace(microsecond=0)


def time_ticks(start: datetime, end: datetime, *, room: float = math.inf, zone: tzinfo = UTC) -> list[datetime]:
    """Return at most ten round times inside a window, as close together as fit into so many points."""
    window = end - start
    first, last = (time.astimezone(zone).replace(tzinfo=None) for time in (start, end))
    of_hours, of_days = (max(2, min(MOST_TICKS, room / apart)) for apart in (HOUR_APART, DAY_APART))
    step = next((step for step in STEPS if window / step <= (of_hours if step < DAY else of_days)), None)
    if step is not None:
        begin = MONDAY - (MONDAY - first) // step * step
        on_the_wall: Iterable[datetime] = (begin + step * count for count in range((last - begin) // step + 2))
    else:
        months = next((count for count in MONTHS if window / (DAY * 30.44 * count) <= of_days), MONTHS[-1])
        on_the_wall = _first_days(first, last, months)
    times = (wall.replace(tzinfo=zone) for wall in on_the_wall)
    return [tick for tick in times if start <= tick <= end]


def tick_labels(ticks: list[datetime]) -> list[str]:
    """Return two lines for each tick: hour, day, month or year; below it a new date or year, and the zone once."""
    if any(tick.hour or tick.minute for tick in ticks):
        lines = [(f"{tick:%H:%M}", f"{tick.day} {tick:%b}", f"{tick.year}") for tick in ticks]
    elif any(tick.day > 1 for tick in ticks):
        lines = [(f"{tick.day} {tick:%b}", "", f"{tick.year}") for tick in ticks]
    elif any(tick.month > 1 for tick in ticks):
        lines = [(f"{tick:%b}", "", f"{tick.year}") for tick in ticks]
    else:
        lines = [(f"{tick.year}", "", "") for tick in ticks]
    before = [("", "", ""), *lines]
    changed = [
        " ".join(new for new, old in zip(line[1:], last[1:], strict=True) if new != old)
        for line, last in zip(lines, before, strict=False)
    ]
    if changed:
        changed[0] = f"{changed[0]} {_zone_name(ticks)}".strip()
    return [f"{line[0]}\n{change}" for line, change in zip(lines, changed, strict=True)]


def _zone_name(ticks: list[datetime]) -> str:
    """Return the zone of times: one abbreviation, or its offset where summer time begins or ends between them."""
    names = dict.fromkeys(zone_name(tick) for tick in ticks)
    return "/".join(names)


def _first_days(start: datetime, end: datetime, months: int) -> Iterator[datetime]:
    """Yield the first days of every so many months, counted from a January."""
    for month in range(start.year * 12 // months * months, end.year * 12 + 12, months):
        yield datetime(month // 12, month % 12 + 1, 1)  # on the wall
