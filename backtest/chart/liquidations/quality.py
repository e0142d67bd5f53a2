"""Data quality strip, to go below another chart: gaps, flat runs, jumps and deviations of a price history."""

from __future__ import annotations

from datetime import datetime

import polars as pl
from matplotlib.axes import Axes

from backtest.chart.style import theme
from backtest.chart.style.time_axis import days
from backtest.schemas.arguments import checked

#: Name of each check on the axis, and its colour.
ROWS = {
    "gap": ("gaps", theme.INK),
    "funding": ("unfunded", "#7A5C3E"),
    "flat": ("flat", theme.MUTED),
    "jump": ("jumps", "#B8860B"),
    "index": ("off index", "#8A5FBF"),
    "last": ("off last", "#3B8F7A"),
    "reference": ("off other", "#2F6F8F"),
}

#: Height of a row relative to a panel of height 1.
A_ROW = 0.095

#: Part of a row's height that its marks fill.
FILLED = 0.7

#: Least width of a mark in points, so that a single bar of a long history shows.
LEAST_WIDTH = 1.2


@checked
def quality_strip(found: pl.DataFrame, ax: Axes, *, start: datetime, end: datetime) -> Axes:
    """Draw the findings of a quality report for one symbol: a row a check, time along the axis.

    Parameters
    ----------
    found : ``check, start, end`` as ``market.quality.report`` returns them; findings without times are not drawn
    start, end : ends of the time axis

    Examples
    --------
    >>> from backtest.chart.liquidations import quality_strip
    >>> from backtest.market import quality
    >>> ax = quality_strip(quality.report(market), ax, start=bars["time"][0], end=bars["time"][-1])
    >>> ax.get_title(loc="left")
    'Data quality: no findings'
    """
    timed = found.drop_nulls("start")
    checks = [check for check in ROWS if check in timed["check"]]
    ax.set_xlim(days(start), days(end))
    ax.set_ylim(max(len(checks), 1) - 0.5, -0.5)
    for place, check in enumerate(checks):
        colour = ROWS[check][1]
        own = timed.filter(pl.col("check") == check)
        spans = [(days(first), days(last) - days(first)) for first, last in own.select("start", "end").iter_rows()]
        row = (place - FILLED / 2, FILLED)
        ax.broken_barh(spans, row, facecolor=colour, edgecolor=colour, linewidth=LEAST_WIDTH)
        _write_count(ax, own.height, place)
    theme.dress(ax, "Data quality: findings" if checks else "Data quality: no findings")
    ax.set_yticks(range(len(checks)), [ROWS[check][0] for check in checks])
    ax.grid(visible=False, axis="y")
    return ax


@checked
def strip_height(found: pl.DataFrame) -> float:
    """Return the height of a strip relative to a panel of height 1: by its rows; 0 without findings."""
    rows = found.drop_nulls("start")["check"].n_unique()
    return A_ROW * max(rows, 2) if rows else 0.0


def _write_count(ax: Axes, count: int, place: int) -> None:
    """Write the number of findings of a row on its right: of many, some share a pixel."""
    ax.annotate(
        f"{count:,}",
        (1, place),
        xytext=(3, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=theme.SMALL,
        color=theme.MUTED,
    )
