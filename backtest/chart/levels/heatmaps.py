"""The heatmap: notional waiting at each price through time, under the mark price that eats it.

A level is a strip that begins where it was opened and ends where the mark reached it. Longs wait below the price,
shorts above it. A cell in which nothing waits is background; nothing is smoothed.
"""

from __future__ import annotations

from functools import partial
from math import floor, log10
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.chart.style.time_axis import openings, time_axis
from backtest.schemas.arguments import checked
from backtest.study.levels.levels import Levels

Scale = Literal["auto", "root", "linear", "log"]
Side = Literal["long", "short"]

#: Without a maximum, this share of the cells that hold anything gets its own shade; the rest the last one.
SHADED = 0.995

#: Where half of the cells that hold anything hold more than this part of the last shade, the scale is linear by
#: itself, so that most stay dark; the root of a book of few large positions shows the small ones as well.
EVEN = 0.1

#: A log scale spans so much.
DECADES = 1e3

#: Least distance between labels of the colour bar, in points.
APART = 15.0

#: Points that half a label of a moment may reach beyond the axes.
OVERHANG = 12.0

SCALE_NAMES: dict[type, str] = {PowerNorm: "root scale", LogNorm: "log scale"}
MILLISECONDS_A_DAY = 86_400_000

#: From this ratio of highest to lowest price on, labels of a log scale are those of decades.
WIDE = 6.0

#: First figures of these labels, from the most to the fewest.
FIGURES = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,))


def heatmap(
    levels: Levels,
    ax: Axes,
    *,
    side: Side | None = None,
    scale: Scale = "auto",
    maximum: float | None = None,
    look: Look = LIGHT,
) -> Axes:
    """Draw what waits in every cell.

    Parameters
    ----------
    side : one alone; None: both
    scale : of the colours over the amount; auto: linear where most cells hold much, else their root
    maximum : settlement currency, of the last shade; give two charts the same one to compare them. None: what
        99.5 % of the cells that hold anything stay below
    """
    grid, cells = levels.grid, levels.amounts(side)
    times = (grid.start + grid.step * np.arange(grid.columns + 1)) / MILLISECONDS_A_DAY
    mesh = ax.pcolormesh(
        times,
        grid.price_edges,
        np.ma.masked_equal(cells, 0.0),
        cmap=look.heat,
        norm=norm_of(cells, scale, maximum),
        rasterized=True,  # a million cells would be a million shapes in a vector file
        antialiased=False,
        linewidth=0,
    )
    mesh.set_gid("levels")
    theme.dress(ax, "Waiting to be liquidated")
    price_axis(ax, grid.price_edges[0], grid.price_edges[-1], logarithmic=grid.logarithmic)
    time_axis(ax, *grid.window)
    _quiet_last_label(ax)
    recolour(ax, look)
    ax.set_facecolor(look.paper)
    ax.grid(visible=False)
    return ax


@checked
def mark_line(bars: pl.DataFrame, ax: Axes, *, look: Look = LIGHT, wicks: bool = True) -> Axes:
    """Draw the mark price over a heatmap: the range of each bar, so that wicks are seen to touch, and its close.

    Parameters
    ----------
    bars : ``time, high, low, close`` of one symbol, in order of time; drawn as fine as they are, broken where bars
        miss or are not ``covered``
    """
    starts, step = openings(bars["time"])
    if "covered" in bars.columns:
        bars = bars.filter("covered")
        starts = openings(bars["time"])[0]
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    limits, middle = ax.get_ylim(), starts + step / 2
    halo = [withStroke(linewidth=2.0, foreground=look.edge, alpha=0.7)]
    after_gaps = np.flatnonzero(np.diff(starts) > 1.5 * step) + 1
    times, closes = (np.insert(values, after_gaps, np.nan) for values in (middle, close))
    if wicks:
        width = min(1.4, max(0.25, ax.bbox.width / ax.figure.dpi * 72 / max(starts.size, 1) * 0.6))
        ranges = ax.vlines(middle, low, high, colors=look.ink, linewidth=width, zorder=3)
        ranges.set_gid("wicks")
    ax.plot(times, closes, color=look.ink, linewidth=0.8, path_effects=halo, zorder=2.5, gid="mark price")
    ax.set_ylim(*limits)
    return ax


def colour_bar(ax: Axes, of: Axes, *, currency: str = "USDT", width: str = "", look: Look = LIGHT) -> Axes:
    """Draw the colours of a heatmap on axes of their own, in money, with their scale in words.

    Parameters
    ----------
    of : axes a heatmap was drawn on
    width : of a bin, in words
    """
    mesh = next(found for found in of.collections if isinstance(found, QuadMesh))
    ax.figure.colorbar(mesh, cax=ax, extend="neither").outline.set_visible(False)
    norm: Any = mesh.norm
    ticks = _ticks(norm, ax)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    more = fullest(of) > ticks[-1] * (1 + 1e-9)
    write = partial(_written, currency=currency, last=ticks[-1] if more else np.inf)
    ax.yaxis.set_major_formatter(FuncFormatter(write))
    ax.tick_params(length=0, labelsize=theme.SMALL, labelcolor=look.muted, pad=2)
    name = SCALE_NAMES.get(type(norm), "linear scale")
    each = f"waiting per {width} of price, " if width else ""
    ax.yaxis.set_label_position("left")
    ax.set_ylabel(f"{each}{name}", color=look.muted, fontsize=theme.SMALL, labelpad=2)
    return ax


def fullest(ax: Axes) -> float:
    """Return what waits in the fullest cell of a heatmap; 0 where nothing does."""
    held: Any = next(found for found in ax.collections if isinstance(found, QuadMesh)).get_array()
    return float(np.ma.max(held)) if np.ma.count(held) else 0.0


def price_axis(ax: Axes, low: float, high: float, *, logarithmic: bool) -> None:
    """Span the y axis over prices, with as many round labels as can be read."""
    theme.price_axis(ax, logarithmic=logarithmic)
    if logarithmic:
        ax.yaxis.set_major_locator(FixedLocator(_round_prices(low, high, theme.height(ax))))
    ax.set_ylim(low, high)


def _round_prices(low: float, high: float, height: float) -> list[float]:
    """Return round prices on a log scale, as many as can be read: equal steps, or those of each decade."""
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
    """Return the scale that a norm has, for other heatmaps to share."""
    return "root" if isinstance(norm, PowerNorm) else "log" if isinstance(norm, LogNorm) else "linear"


def _quiet_last_label(ax: Axes) -> None:
    """Leave out the label of a moment near the end, which would reach into what stands beside the axes."""
    labels = [label.get_text() for label in ax.get_xticklabels()]
    ticks, (start, end) = ax.get_xticks(), ax.get_xlim()
    points = ax.bbox.width / ax.figure.dpi * 72
    if len(ticks) > 1 and (end - ticks[-1]) / (end - start) * points < OVERHANG:
        ax.set_xticks(ticks[:-1], labels[:-1])


def norm_of(cells: np.ndarray[Any, np.dtype[np.float64]], scale: Scale, maximum: float | None) -> Normalize:
    """Return the scale of the colours; the same one for cells of several charts makes them comparable."""
    held = cells[cells > 0]
    top = maximum or (float(np.quantile(held, SHADED)) if held.size else 1.0)
    if scale == "auto":
        scale = "linear" if held.size and float(np.median(held)) > EVEN * top else "root"
    if scale == "log":
        return LogNorm(top / DECADES, top, clip=True)
    return PowerNorm(0.5, 0.0, top, clip=True) if scale == "root" else Normalize(0.0, top, clip=True)


def _ticks(norm: Normalize, ax: Axes) -> list[float]:
    """Return round amounts below the last shade, no closer together than can be read, and that shade itself."""
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
