"""Liquidation heatmap: open notional at each price through time, and the mark price that triggers it.

A level is a strip from the time its positions opened to the time the mark reached it. Levels of longs lie below
the price, those of shorts above it. Empty cells are background; nothing is smoothed.
"""

from __future__ import annotations

from functools import partial
from math import floor, log10
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize, PowerNorm
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, MaxNLocator, NullLocator

from backtest.chart.levels.cells import cells, cells_of
from backtest.chart.levels.units import Unit, whole_of
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.chart.style.time_axis import time_axis
from backtest.chart.style.words import aside
from backtest.errors import ArgumentError
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
    threshold: float = 0.0,
    cmap: str | Colormap | None = None,
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
    threshold : part of the strongest colour's amount below which cells are left empty
    cmap : colours from low to high; None: the look's
    timezone : of the time axis

    Raises
    ------
    ArgumentError
        For a threshold outside 0 to 1, and an unknown time zone.

    Examples
    --------
    >>> from backtest.chart.levels import heatmap
    >>> ax = heatmap(open_levels, ax, side="long")
    >>> ax.get_title(loc="left")
    'Open liquidation levels'
    """
    grid, amounts = levels.grid, levels.amounts(side)
    times = (grid.start + grid.step * np.arange(grid.columns + 1)) / MILLISECONDS_A_DAY
    if not 0 <= threshold < 1:
        raise ArgumentError(f"must lie between 0 and 1, is {threshold:g}", argument="threshold")
    norm = norm_of(amounts, scale, maximum)
    least = threshold * float(norm.vmax or 1.0)
    shown = np.where(amounts < least, 0.0, amounts)
    mesh = cells(times, grid.price_edges, shown, cmap=cmap or look.heat, norm=norm, measure=levels.measure)
    mesh.whole, mesh.least = whole_of(levels), least
    mesh.set_gid("levels")
    ax.add_collection(mesh, autolim=False)
    theme.dress(ax, "Open liquidation levels")
    price_axis(ax, grid.price_edges[0], grid.price_edges[-1], logarithmic=grid.logarithmic)
    time_axis(ax, *grid.window, timezone=timezone, clear=OVERHANG)
    recolour(ax, look)
    ax.set_facecolor(look.ground)
    ax.grid(visible=False)
    return ax


def colour_bar(
    ax: Axes,
    of: Axes,
    *,
    currency: str | None = "USDT",
    width: str = "",
    whole: float | None = None,
    look: Look = LIGHT,
) -> Axes:
    """Draw the colour bar of a heatmap on its own axes: amounts, the name of the scale, and what is left out.

    Parameters
    ----------
    of : axes a heatmap was drawn on
    currency : of notional; quantities are in base; None: shares
    width : of a bin, in words
    whole : that shares are of; None: all that is open at the end of the heatmap
    """
    mesh = cells_of(of)
    ax.figure.colorbar(mesh, cax=ax, extend="neither").outline.set_visible(False)
    norm: Any = mesh.norm
    unit = Unit(mesh.measure, currency, whole or mesh.whole)
    if mesh.least:
        ax.set_ylim(mesh.least, float(norm.vmax))
    ticks = _ticks(norm, ax, unit.one, mesh.least)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    more = fullest(of) > ticks[-1] * (1 + 1e-9)
    write = partial(_written, unit=unit, last=ticks[-1] if more else np.inf)
    ax.yaxis.set_major_formatter(FuncFormatter(write))
    ax.tick_params(length=0, labelsize=theme.SMALL, labelcolor=look.muted, pad=2)
    name = SCALE_NAMES.get(type(norm), "linear scale")
    each = f"open {unit.heading}, per {width} of price, " if width else ""
    left_out = f", below {unit.write(mesh.least)} left out" if mesh.least else ""
    ax.yaxis.set_label_position("left")
    aside(ax, f"{each}{name}{left_out}", color=look.muted, pad=2)
    return ax


def fullest(ax: Axes) -> float:
    """Return the largest amount of a cell of a heatmap; 0 if all are empty."""
    held: Any = cells_of(ax).get_array()
    return float(np.ma.max(held)) if np.ma.count(held) else 0.0


def nothing_open(ax: Axes, look: Look) -> None:
    """Say on a heatmap that it has no cell to show."""
    ax.text(
        0.5, 0.95, "no open levels at these prices", transform=ax.transAxes, ha="center", va="top",
        color=look.muted, fontsize=theme.TEXT, bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.8},
        zorder=5,
    )  # fmt: skip


def price_axis(ax: Axes, low: float, high: float, *, logarithmic: bool) -> None:
    """Span the y axis over prices, with as many round labels as fit."""
    theme.price_axis(ax, logarithmic=logarithmic)
    if logarithmic:
        ax.yaxis.set_major_locator(RoundPrices())
    ax.set_ylim(low, high)


class RoundPrices(Locator):
    """Round prices on a log scale, as many as fit into what is shown: they follow a zoom."""

    def __call__(self) -> list[float]:
        """Return the ticks of what is shown now."""
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks between two prices."""
        low, high = sorted((vmin, vmax))
        if not 0 < low < high:
            return []
        return _round_prices(low, high, max(theme.height(self.axis.axes), 1.0))  # type: ignore[union-attr]


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


def _ticks(norm: Normalize, ax: Axes, one: float, least: float) -> list[float]:
    """Return the ends of the colour scale, and amounts between that are round multiples of one, as many as fit."""
    top, low = float(norm.vmax or 1.0), max(float(norm.vmin or 0.0), least)
    unit = one * 10.0 ** floor(log10(top / one))
    rounds = [unit * 10.0**-power * figure for power in range(4) for figure in (5.0, 2.0, 1.0)]
    length, start = theme.height(ax), float(norm(low))
    kept = [top]
    for amount in rounds:
        place = float(norm(amount)) - start
        if (
            low < amount < top
            and (float(norm(kept[-1])) - start - place) * length >= APART * (1 - start)
            and place * length >= APART * (1 - start)
        ):
            kept.append(amount)
    return [low, *reversed(kept)]


def _written(value: float, _: int | None, *, unit: Unit, last: float) -> str:
    return f"{unit.write(value)}{' +' if value >= last else ''}"
