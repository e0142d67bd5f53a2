"""The heatmap: notional waiting at each price through time, under the mark price that eats it.

A level is a strip that begins where it was opened and ends where the mark reached it. Longs wait below the price,
shorts above it. A cell in which nothing waits is background; nothing is smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest.chart import theme, words
from backtest.chart.looks import LIGHT, Look, recolour, recolour_figure
from backtest.chart.profile import profile
from backtest.chart.times import DAY, EPOCH, days, openings, time_axis
from backtest.study.levels import Levels

Scale = Literal["root", "linear", "log"]

#: Without a maximum, this share of the cells that hold anything gets its own shade; the rest the last one.
SHADED = 0.995

#: A log scale spans so much.
DECADES = 1e3

#: Least distance between labels of the colour bar, as a part of its length.
APART = 0.085

MILLISECONDS_A_DAY = 86_400_000


def heatmap(
    levels: Levels, ax: Axes, *, scale: Scale = "root", maximum: float | None = None, look: Look = LIGHT
) -> Axes:
    """Draw what waits in every cell.

    Parameters
    ----------
    scale : of the colours over the amount
    maximum : settlement currency, of the last shade; give two charts the same one to compare them. None: what
        99.5 % of the cells that hold anything stay below
    """
    grid, cells = levels.grid, levels.notional()
    times = (grid.start + grid.step * np.arange(grid.columns + 1)) / MILLISECONDS_A_DAY
    mesh = ax.pcolormesh(
        times,
        grid.price_edges,
        np.ma.masked_equal(cells, 0.0),
        cmap=look.heat,
        norm=_norm(cells, scale, maximum),
        rasterized=True,  # a million cells would be a million shapes in a vector file
        antialiased=False,
        linewidth=0,
    )
    mesh.set_gid("levels")
    theme.dress(ax, "Waiting to be liquidated")
    ax.grid(visible=False)
    theme.price_axis(ax, logarithmic=grid.logarithmic)
    if grid.logarithmic:
        _few_decades(ax, grid.price_edges[0], grid.price_edges[-1])
    ax.set_ylim(grid.price_edges[0], grid.price_edges[-1])
    time_axis(ax, *grid.window)
    recolour(ax, look)
    ax.set_facecolor(look.paper)
    ax.grid(visible=False)
    return ax


def mark_line(bars: pl.DataFrame, ax: Axes, *, look: Look = LIGHT) -> Axes:
    """Draw the mark price over a heatmap: the range of each bar, so that wicks are seen to touch, and its close.

    Parameters
    ----------
    bars : ``time, high, low, close`` of one symbol, in order of time; drawn as fine as they are
    """
    starts, step = openings(bars["time"])
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    limits = ax.get_ylim()
    ranges = ax.vlines(starts + step / 2, low, high, colors=look.ink, linewidth=_hair(ax, starts.size), zorder=3)
    ranges.set_gid("wicks")
    halo = withStroke(linewidth=2.2, foreground=look.paper, alpha=0.75)
    after_gaps = np.flatnonzero(np.diff(starts) > 1.5 * step) + 1
    times, closes = (np.insert(values, after_gaps, np.nan) for values in (starts + step / 2, close))
    ax.plot(times, closes, color=look.ink, linewidth=0.8, path_effects=[halo], zorder=2.5, gid="mark price")
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
    bar = ax.figure.colorbar(mesh, cax=ax, extend="neither")
    bar.outline.set_visible(False)  # type: ignore[operator]
    ticks = _ticks(mesh.norm)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    write = partial(words.amount, currency=currency)
    last = ticks[-1]
    more = bool(np.ma.max(mesh.get_array()) > mesh.norm.vmax * (1 + 1e-9)) if np.ma.count(mesh.get_array()) else False
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{write(value)}{' +' if more and value == last else ''}")
    )
    ax.tick_params(length=0, labelsize=theme.SMALL, labelcolor=look.muted)
    name = {PowerNorm: "root scale", LogNorm: "log scale"}.get(type(mesh.norm), "linear scale")
    each = f"per {width} of price, " if width else ""
    ax.set_ylabel(f"{each}{name}", color=look.muted, fontsize=theme.SMALL, labelpad=4)
    return ax


def level_heatmap(
    levels: Levels,
    bars: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    scale: Scale = "root",
    maximum: float | None = None,
    currency: str = "USDT",
    price_unit: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: tuple[float, float] = theme.SIZE,
) -> Figure:
    """Return the figure of one symbol: heatmap and mark price, what waits at its end beside it, colours, footer.

    Parameters
    ----------
    levels, scale, maximum : as in :func:`heatmap`
    bars : as in :func:`mark_line`
    title, subtitle : what is shown, and what to see in it
    notes : for the footer: venue, tiers, population, gaps, a caption
    size : inches
    """
    figure = Figure(figsize=size, dpi=theme.DPI, facecolor=look.paper)
    (main,) = theme.stacked_panels(
        figure, heights=(1.0,), title=title, subtitle=subtitle, notes=(*notes, *levels.assumptions)
    )
    side, colours = _beside(main, figure)
    heatmap(levels, main, scale=scale, maximum=maximum, look=look)
    main.set_title(
        f"Mark price{f' ({price_unit})' if price_unit else ''} over what waits to be liquidated",
        loc="left",
        color=look.muted,
        fontsize=theme.TEXT,
        pad=5,
    )
    mark_line(bars, main, look=look)
    profile(levels, side, price=float(bars["close"][-1]), currency=currency, look=look)
    colour_bar(
        colours, main, currency=currency, width=_width(levels, price_unit), look=look
    )
    return recolour_figure(figure, look)


def columns_of(bars: pl.DataFrame, levels: Levels) -> pl.DataFrame:
    """Return bars put together by the columns of a grid: ``time, open, high, low, close``."""
    grid = levels.grid
    column = (pl.col("time").dt.epoch("ms") - grid.start) // grid.step
    inside = bars.filter(pl.col("symbol") == grid.symbol, column.is_between(0, grid.columns - 1))
    return (
        inside.group_by(column=column, maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
        )
        .with_columns(time=(pl.col("column") * grid.step + grid.start).cast(pl.Datetime("ms", "UTC")))
        .select("time", "open", "high", "low", "close")
    )


def clip(ax: Axes, start: datetime, end: datetime) -> Axes:
    """Show only a part of a heatmap's time."""
    return time_axis(ax, start, end)


def _norm(cells: np.ndarray[tuple[int, int], np.dtype[np.float64]], scale: Scale, maximum: float | None) -> Normalize:
    held = cells[cells > 0]
    top = maximum or (float(np.quantile(held, SHADED)) if held.size else 1.0)
    if scale == "log":
        return LogNorm(top / DECADES, top, clip=True)
    return PowerNorm(0.5, 0.0, top, clip=True) if scale == "root" else Normalize(0.0, top, clip=True)
