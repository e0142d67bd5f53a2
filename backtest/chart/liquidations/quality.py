"""The strip: where a price history has gaps, flat runs, jumps and disagreement, to stand under another chart."""

from __future__ import annotations

from datetime import datetime

import polars as pl
from matplotlib.axes import Axes

from backtest.chart.style import theme
from backtest.chart.style.time_axis import days
from backtest.schemas.arguments import checked

#: What a check is called on the axis, and its colour; what is missing looks as it does on every other chart.
ROWS = {
    "gap": ("gaps", theme.INK),
    "funding": ("unfunded", "#7A5C3E"),
    "flat": ("flat", theme.MUTED),
    "jump": ("jumps", "#B8860B"),
    "index": ("off index", "#8A5FBF"),
    "last": ("off last", "#3B8F7A"),
    "reference": ("off other", "#2F6F8F"),
}

#: Height of a row beside a panel of height 1.
A_ROW = 0.095

#: Of a row, how much is filled; the rest is air.
FILLED = 0.7

#: Points that even a single bar of a long history is wide.
LEAST_WIDTH = 1.2


@checked
def quality_strip(found: pl.DataFrame, ax: Axes, *, start: datetime, end: datetime) -> Axes:
    """Draw the stretches that a quality report found for one symbol: a row a check, time along the axis.

    Parameters
    ----------
    found : ``check, start, end`` as ``market.quality.report`` returns them; stretches without times are not drawn
    start, end : what the axis spans, as ``chart.times.time_axis`` sets it
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
    theme.dress(ax, "Data quality: stretches found" if checks else "Data quality: nothing found")
    ax.set_yticks(range(len(checks)), [ROWS[check][0] for check in checks])
    ax.grid(visible=False, axis="y")
    return ax


@checked
def strip_height(found: pl.DataFrame) -> float:
    """Return how high a strip is beside a panel of height 1: by its rows; 0 where nothing was found."""
    rows = found.drop_nulls("start")["check"].n_unique()
    return A_ROW * max(rows, 2) if rows else 0.0


def _write_count(ax: Axes, count: int, place: int) -> None:
    """Write how many stretches a row holds, right of it: of many, some share a pixel."""
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
