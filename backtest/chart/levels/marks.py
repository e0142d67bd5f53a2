"""Prices over a heatmap: a line or candles, the tag of the last one, recorded liquidations as bubbles."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection, PolyCollection
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

from backtest.amounts import significant
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look
from backtest.chart.style.time_axis import open_times
from backtest.chart.style.words import text_width
from backtest.errors import DataError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked

__all__ = ["bubbles", "candles", "mark_line", "price_tag"]
__dir__ = __all__.copy

#: Most candles, so that bodies and wicks can be distinguished; more bars are joined, so many in each.
MOST_CANDLES = 160

#: Part of its time that a candle is wide.
BODY = 0.7

#: Most bubbles; points across the largest and the smallest; distance within which events are added up.
MOST_BUBBLES, WIDEST, NARROWEST, NEAR = 150, 26.0, 3.0, 9.0

#: Points above and below the tag of the price in which no label of the axis is written.
CLEAR = 13.0


@checked
def mark_line(bars: pl.DataFrame, ax: Axes, *, look: Look = LIGHT, wicks: bool = True) -> Axes:
    """Draw the mark price over a heatmap: the range of each bar, wicks included, and its close.

    Parameters
    ----------
    bars : ``time, high, low, close`` of one symbol, in order of time; the line breaks where bars are missing
        or not ``covered``
    wicks : whether the range of each bar is drawn

    Examples
    --------
    >>> from backtest.chart.levels.marks import mark_line
    >>> from backtest.study.levels import column_bars
    >>> ax = mark_line(column_bars(market, grid), ax)
    >>> [artist.get_gid() for artist in (*ax.collections, *ax.lines)]
    ['wicks', 'mark price']
    """
    starts, step = _open_times(bars, ax)
    if "covered" in bars.columns:
        starts, bars = starts[bars["covered"].to_numpy()], bars.filter("covered")
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    limits, middle = ax.get_ylim(), starts + step / 2
    halo = [withStroke(linewidth=2.0, foreground=look.edge, alpha=0.7)]
    after_gaps = np.flatnonzero(np.diff(starts) > 1.5 * step) + 1
    times, closes = (np.insert(values, after_gaps, np.nan) for values in (middle, close))
    if wicks:
        width = min(1.4, max(0.25, theme.width(ax) / max(starts.size, 1) * 0.6))
        ranges = ax.vlines(middle, low, high, colors=look.mark, linewidth=width, zorder=3)
        ranges.set_gid("wicks")
    ax.plot(times, closes, color=look.mark, linewidth=0.8, path_effects=halo, zorder=2.5, gid="mark price")
    ax.set_ylim(*limits)
    return ax


@checked
def candles(bars: pl.DataFrame, ax: Axes, *, look: Look = LIGHT, most: int = MOST_CANDLES) -> Axes:
    """Draw the mark price over a heatmap as candles: hollow where the price rose, full where it fell.

    Parameters
    ----------
    bars : ``time, open, high, low, close`` of one symbol, in order of time; bars that are not ``covered`` are left
        out
    most : candles at most; of more bars, as many as needed are joined into each

    Examples
    --------
    >>> from backtest.chart.levels.marks import candles
    >>> from backtest.study.levels import column_bars
    >>> ax = candles(column_bars(market, grid), ax)
    >>> [artist.get_gid() for artist in ax.collections]
    ['wicks', 'bodies']
    """
    starts, step = _open_times(bars, ax)
    each = -(-bars.height // max(most, 1))
    numbered = bars.with_columns(start=pl.Series(starts), candle=pl.int_range(bars.height) // each)
    kept = numbered.filter("covered") if "covered" in bars.columns else numbered
    joined = kept.group_by("candle", maintain_order=True).agg(
        pl.first("start", "open"), pl.max("high"), pl.min("low"), pl.last("close")
    )
    start, opening, high, low, close = (
        joined[name].to_numpy() for name in ("start", "open", "high", "low", "close")
    )
    limits, middle, half = ax.get_ylim(), start + each * step / 2, BODY * each * step / 2
    wide = min(1.0, max(0.4, theme.width(ax) / max(joined.height, 1) * 0.12))
    lines = np.stack([np.stack([middle, low], axis=1), np.stack([middle, high], axis=1)], axis=1)
    wicks = LineCollection(list(lines), colors=look.mark, linewidths=wide, zorder=2.5)
    wicks.set_gid("wicks")
    corners = [
        [(at - half, first), (at - half, last), (at + half, last), (at + half, first)]
        for at, first, last in zip(middle, opening, close, strict=True)
    ]
    faces = [look.ground if last >= first else look.mark for first, last in zip(opening, close, strict=True)]
    bodies = PolyCollection(corners, facecolors=faces, edgecolors=look.mark, linewidths=wide, zorder=3)
    bodies.set_gid("bodies")
    for drawn in (wicks, bodies):
        ax.add_collection(drawn, autolim=False)
    ax.set_ylim(*limits)
    return ax


def _open_times(bars: pl.DataFrame, ax: Axes) -> tuple[Floats, float]:
    """Return open times in days and the interval between them; a bar alone ends with the axis, within the hour."""
    starts, step = open_times(bars["time"])
    end = max(ax.get_xlim())
    return starts, min(step, end - starts[0]) if starts.size == 1 and starts[0] < end else step


@checked
def bubbles(events: pl.DataFrame, ax: Axes, *, look: Look = LIGHT, most: int = MOST_BUBBLES) -> pl.DataFrame:
    """Draw recorded liquidations over a heatmap: a bubble's area is their notional, near ones are added up.

    Parameters
    ----------
    events : ``time, price, notional``, and ``side`` of the positions where it is known (the bubble's colour)
    most : bubbles at most, the largest

    Returns
    -------
    The bubbles drawn: ``time`` (days since 1970) and ``price`` (means by notional), ``notional``, ``side``.

    Examples
    --------
    >>> from backtest.chart.levels import heatmap
    >>> from backtest.chart.levels.marks import bubbles
    >>> prices = {"price": [38_000.0, 36_500.0], "notional": [2e6, 5e5]}
    >>> events = pl.DataFrame({"time": [noon, noon + timedelta(hours=1)], **prices})
    >>> bubbles(events, heatmap(open_levels, ax))["notional"].to_list()
    [2000000.0, 500000.0]
    """
    missing = {"time", "price", "notional"} - set(events.columns)
    if missing:
        raise DataError(f"events need time, price and notional: {', '.join(sorted(missing))} is missing")
    sides = "side" if "side" in events.columns else pl.lit(None, pl.String).alias("side")
    days = pl.col("time").dt.epoch("ms") / 86_400_000
    rows = events.select(sides, "price", "notional", time=days).filter(pl.col("notional") > 0)
    (left, right), (low, high) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    rows = rows.filter(pl.col("time").is_between(left, right), pl.col("price").is_between(low, high))
    places = ax.transData.transform(rows.select("time", "price").to_numpy()) / ax.figure.dpi * 72
    cells = pl.DataFrame(places // NEAR, schema=["across", "up"])
    weight = pl.col("notional").sum()
    found = (
        rows.hstack(cells)
        .group_by("side", "across", "up", maintain_order=True)
        .agg(*((pl.col(name) * pl.col("notional")).sum() / weight for name in ("time", "price")), weight)
        .sort("notional", descending=True, maintain_order=True)
        .head(most)
        .select("time", "price", "notional", "side")
    )
    if found.is_empty():
        return found
    across = WIDEST * np.sqrt(found["notional"].to_numpy() / found["notional"][0])
    across = np.maximum(across, NARROWEST)
    colours = [look.sides.get(side or "", look.mark) for side in found["side"]]
    drawn = EllipseCollection(
        across, across, np.zeros(found.height), units="points", offsets=found.select("time", "price").to_numpy(),
        offset_transform=ax.transData, facecolors=[(colour, 0.35) for colour in colours], edgecolors=colours,
        linewidths=0.9, zorder=4,
    )  # fmt: skip
    drawn.set_gid("recorded liquidations")
    ax.add_collection(drawn, autolim=False)
    return found


def price_tag(ax: Axes, price: float, *, look: Look = LIGHT) -> None:
    """Write a price on its axis, in the colours of the paper on ink; labels of the axis do not reach into it.

    Examples
    --------
    >>> from backtest.chart.levels import heatmap
    >>> from backtest.chart.levels.marks import price_tag
    >>> ax = heatmap(open_levels, ax)
    >>> price_tag(ax, 39_230.0)
    >>> ax.texts[-1].get_text()
    '39,230'
    """
    words, room = significant(price, 5), ax.bbox.x0 / ax.figure.dpi * 72 - 8.0
    size = theme.TEXT * min(1.0, room / max(text_width(words, theme.TEXT, "bold"), 1.0))
    ax.annotate(
        words, (0.0, price), xycoords=("axes fraction", "data"), xytext=(-4.0, 0.0), textcoords="offset points",
        ha="right", va="center", fontsize=size, weight="bold", color=look.paper, annotation_clip=True,
        bbox={"facecolor": look.ink, "edgecolor": "none", "pad": 2.0}, zorder=6, gid="price tag",
    )  # fmt: skip
    write = ax.yaxis.get_major_formatter()

    def beside(value: float, position: int | None = None) -> str:
        places = ax.transData.transform([(0.0, value), (0.0, price)])[:, 1] / ax.figure.dpi * 72
        return "" if abs(places[0] - places[1]) < CLEAR else write(value, position)

    ax.yaxis.set_major_formatter(FuncFormatter(beside))
