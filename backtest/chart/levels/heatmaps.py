"""Liquidation heatmap: open notional at each price through time, and the mark price that triggers it.

A level is a strip from the time its positions opened to the time the mark reached it. Levels of longs lie below
the price, those of shorts above it. Empty cells are background; nothing is smoothed.
"""

from __future__ import annotations

from functools import partial
from math import floor, log10
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from backtest import amounts
from backtest.chart.levels.cells import cells, cells_of
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.chart.style.time_axis import open_times, time_axis
from backtest.chart.style.words import aside
from backtest.schemas.arguments import checked
from backtest.study.levels.levels import Levels

Scale = Literal["auto", "root", "linear", "log"]
Side = Literal["long", "short"]

#: Without a maximum, the colour scale ends at this quantile of the non-empty cells.
SHADED = 0.995

#: ``auto`` is linear if the median non-empty cell exceeds this part of the maximum, so that most cells differ;
#: else root, which shows the small positions of a book with few large ones.
EVEN = 0.1

#: Highest over lowest amount of a log scale.
DECADES = 1e3

#: Least distance between labels of the colour bar, in points.
APART = 15.0

#: Points that half a time label may reach beyond the axes.
OVERHANG = 12.0

SCALE_NAMES: dict[type, str] = {PowerNorm: "root scale", LogNorm: "log scale"}
MILLISECONDS_A_DAY = 86_400_000

#: From this ratio of highest to lowest price on, a log scale is labelled by decades.
WIDE = 6.0

#: First digits of these labels, from the most labels to the fewest.
FIGURES = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,))


def heatmap(
    levels: Levels,
    ax: Axes,
    *,
    side: Side | None = None,
    scale: Scale = "auto",
    maximum: float | None = None,
    look: Look = LIGHT,
    timezone: str = "UTC",
) -> Axes:
    """Draw the open notional, or quantity, of every cell; where cells share a pixel, the largest of them.

    Parameters
    ----------
    side : one side; None: both
    scale : of the colours over the amount; auto: linear if most cells are large, else root
    maximum : settlement currency, top of the colour scale; charts with the same maximum compare. None: the
        99.5 % quantile of the non-empty cells

    Examples
    --------
    >>> from backtest.chart.levels import heatmap
    >>> ax = heatmap(open_levels, ax, side="long")
    >>> ax.get_title(loc="left")
    'Open liquidation levels'
    """
    grid, amounts = levels.grid, levels.amounts(side)
    times = (grid.start + grid.step * np.arange(grid.columns + 1)) / MILLISECONDS_A_DAY
    norm = norm_of(amounts, scale, maximum)
    mesh = cells(times, grid.price_edges, amounts, cmap=look.heat, norm=norm, measure=levels.measure)
    mesh.set_gid("levels")
    ax.add_collection(mesh, autolim=False)
    theme.dress(ax, "Open liquidation levels")
    price_axis(ax, grid.price_edges[0], grid.price_edges[-1], logarithmic=grid.logarithmic)
    time_axis(ax, *grid.window, timezone=timezone, clear=OVERHANG)
    recolour(ax, look)
    ax.set_facecolor(look.ground)
    ax.grid(visible=False)
    return ax


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
    >>> from backtest.chart.levels import mark_line
    >>> from backtest.study.levels import column_bars
    >>> ax = mark_line(column_bars(market, grid), ax)
    >>> [artist.get_gid() for artist in (*ax.collections, *ax.lines)]
    ['wicks', 'mark price']
    """
    starts, step = open_times(bars["time"])
    if "covered" in bars.columns:
        bars = bars.filter("covered")
        starts = open_times(bars["time"])[0]
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    limits, middle = ax.get_ylim(), starts + step / 2
    halo = [withStroke(linewidth=2.0, foreground=look.edge, alpha=0.7)]
    after_gaps = np.flatnonzero(np.diff(starts) > 1.5 * step) + 1
    times, closes = (np.insert(values, after_gaps, np.nan) for values in (middle, close))
    if wicks:
        width = min(1.4, max(0.25, ax.bbox.width / ax.figure.dpi * 72 / max(starts.size, 1) * 0.6))
        ranges = ax.vlines(middle, low, high, colors=look.mark, linewidth=width, zorder=3)
        ranges.set_gid("wicks")
    ax.plot(times, closes, color=look.mark, linewidth=0.8, path_effects=halo, zorder=2.5, gid="mark price")
    ax.set_ylim(*limits)
    return ax


def colour_bar(ax: Axes, of: Axes, *, currency: str = "USDT", width: str = "", look: Look = LIGHT) -> Axes:
    """Draw the colour bar of a heatmap on its own axes: amounts, and the name of the scale.

    Parameters
    ----------
    of : axes a heatmap was drawn on
    currency : of notional; quantities are in base
    width : of a bin, in words
    """
    mesh = cells_of(of)
    ax.figure.colorbar(mesh, cax=ax, extend="neither").outline.set_visible(False)
    norm: Any = mesh.norm
    ticks = _ticks(norm, ax)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    more = fullest(of) > ticks[-1] * (1 + 1e-9)
    write = partial(_written, currency=unit_of(mesh.measure, currency), last=ticks[-1] if more else np.inf)
    ax.yaxis.set_major_formatter(FuncFormatter(write))
    ax.tick_params(length=0, labelsize=theme.SMALL, labelcolor=look.muted, pad=2)
    name = SCALE_NAMES.get(type(norm), "linear scale")
    each = f"open {in_words(mesh.measure)} per {width} of price, " if width else ""
    ax.yaxis.set_label_position("left")
    aside(ax, f"{each}{name}", color=look.muted, pad=2)
    return ax


def unit_of(measure: str, currency: str) -> str:
    """Return the unit of amounts: a currency, or none after quantities, whose titles say "base"."""
    return "" if measure == "quantity" else currency


def in_words(measure: str) -> str:
    """Return what amounts are, with the unit that they do not carry themselves."""
    return "quantity (base)" if measure == "quantity" else measure


def fullest(ax: Axes) -> float:
    """Return the largest amount of a cell of a heatmap; 0 if all are empty."""
    held: Any = cells_of(ax).get_array()
    return float(np.ma.max(held)) if np.ma.count(held) else 0.0


def price_axis(ax: Axes, low: float, high: float, *, logarithmic: bool) -> None:
    """Span the y axis over prices, with as many round labels as fit."""
    theme.price_axis(ax, logarithmic=logarithmic)
    if logarithmic:
        ax.yaxis.set_major_locator(FixedLocator(_round_prices(low, high, theme.height(ax))))
    ax.set_ylim(low, high)


def _round_prices(low: float, high: float, height: float) -> list[float]:
    """Return round prices on a log scale, as many as fit: equal steps, or those of each decade."""
    decades = 10.0 ** np.arange(floor(log10(low)), floor(log10(high)) + 1)
    steps = [1, 2, 2.5, 5, 10]
    choices = [np.asarray(MaxNLocator(count, steps=steps).tick_values(low, high)) for count in range(12, 2, -1)]
    if high > WIDE * low:
        choices = [np.multiply.outer(decades, figures).ravel() for figures in FIGURES]
    for choice in choices:
        inside = choice[(choice >= low) & (choice <= high)]
        apart = np.diff(np.log(inside)) * height / np.log(high / low)
        if inside.size and apart.min(initial=height) >= 2.0 * theme.TEXT:
            break
    return [float(price) for price in inside]


def scale_of(norm: Normalize) -> Scale:
    """Return the name of a norm's scale, for other heatmaps to share."""
    return "root" if isinstance(norm, PowerNorm) else "log" if isinstance(norm, LogNorm) else "linear"


def norm_of(cells: np.ndarray[Any, np.dtype[np.float64]], scale: Scale, maximum: float | None) -> Normalize:
    """Return the colour scale; charts that share it compare."""
    held = cells[cells > 0]
    top = maximum or (float(np.quantile(held, SHADED)) if held.size else 1.0)
    if scale == "auto":
        scale = "linear" if held.size and float(np.median(held)) > EVEN * top else "root"
    if scale == "log":
        return LogNorm(top / DECADES, top, clip=True)
    return PowerNorm(0.5, 0.0, top, clip=True) if scale == "root" else Normalize(0.0, top, clip=True)


def _ticks(norm: Normalize, ax: Axes) -> list[float]:
    """Return the ends of the colour scale, and round amounts between, as close together as fits."""
    top, low = float(norm.vmax or 1.0), float(norm.vmin or 0.0)
    unit = 10.0 ** floor(log10(top))
    rounds = [unit * 10.0**-power * figure for power in range(4) for figure in (5.0, 2.0, 1.0)]
    length = theme.height(ax)
    kept = [top]
    for amount in rounds:
        place = float(norm(amount))
        if low < amount < top and (float(norm(kept[-1])) - place) * length >= APART and place * length >= APART:
            kept.append(amount)
    return [low, *reversed(kept)]


def _written(value: float, _: int | None, *, currency: str, last: float) -> str:
    return f"{amounts.amount(value, currency)}{' +' if value >= last else ''}"
