"""Time axis in UTC, for windows from minutes to decades: at most ten ticks, at round times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from backtest.chart.style.theme import MUTED, SMALL, TEXT, width

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
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


def days(moment: datetime) -> float:
    """Return a time as matplotlib counts it, in days since 1970."""
    return (moment - EPOCH) / DAY


def open_times(times: pl.Series) -> tuple[Floats, float]:
    """Return open times in days, and the interval between them: an hour if there is only one."""
    starts = times.dt.epoch("ms").to_numpy() / (DAY / timedelta(milliseconds=1))
    return starts, float(np.diff(starts).min()) if len(starts) > 1 else HOUR / DAY


def time_axis(ax: Axes, start: datetime, end: datetime) -> Axes:
    """Span the x axis over a window and label its ticks, the first and each new year with the year."""
    ax.set_xlim(days(start), days(end))
    ticks, size = time_ticks(start, end, room=width(ax)), TEXT
    if len(ticks) < 2:  # the next finer step, in smaller letters
        ticks, size = time_ticks(start, end, room=1.5 * width(ax)), SMALL
    ax.xaxis.set_major_locator(FixedLocator([days(tick) for tick in ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels(tick_labels(ticks), color=MUTED, fontsize=size)
    return ax


def time_ticks(start: datetime, end: datetime, *, room: float = math.inf) -> list[datetime]:
    """Return at most ten round times inside a window, as close together as fit into so many points."""
    window = end - start
    of_hours, of_days = (max(2, min(MOST_TICKS, room / apart)) for apart in (HOUR_APART, DAY_APART))
    step = next((step for step in STEPS if window / step <= (of_hours if step < DAY else of_days)), None)
    if step is not None:
        first = MONDAY - (MONDAY - start) // step * step
        return [first + step * count for count in range((end - first) // step + 1)]
    months = next((count for count in MONTHS if window / (DAY * 30.44 * count) <= of_days), MONTHS[-1])
    return [tick for tick in _first_days(start, end, months) if start <= tick <= end]


def tick_labels(ticks: list[datetime]) -> list[str]:
    """Return two lines for each tick: hour, day, month or year; below it a changed date or year, and UTC once."""
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
        changed[0] = f"{changed[0]} UTC".strip()
    return [f"{line[0]}\n{change}" for line, change in zip(lines, changed, strict=True)]


def _first_days(start: datetime, end: datetime, months: int) -> Iterator[datetime]:
    """Yield the first days of every so many months, counted from a January."""
    for month in range(start.year * 12 // months * months, end.year * 12 + 12, months):
        yield datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
