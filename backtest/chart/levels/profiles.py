"""Profile of open liquidation levels at one time, along the price axis of the heatmap beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest.amounts import distance, significant
from backtest.chart.levels.units import Unit, unit_of
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.chart.style.words import spread, wrapped
from backtest.schemas.arguments import checked
from backtest.study.levels.clusters import measure_of
from backtest.study.levels.levels import Levels

#: Height of a line of a label, in points.
LINE = 10.5

#: Width of the axes over the longest bar where clusters are labelled beside it.
ROOM = 2.4

#: Share of all that is open from which one bin flattens the others: lengths are then roots.
LOPSIDED = 0.5


@checked
def profile(
    levels: Levels,
    ax: Axes,
    *,
    price: float,
    column: int = -1,
    prices: tuple[float, float] | None = None,
    clusters: pl.DataFrame | None = None,
    most: int = 5,
    currency: str | None = "USDT",
    scale: Literal["auto", "linear", "root"] = "auto",
    look: Look = LIGHT,
) -> Axes:
    """Draw the open notional, or quantity, at each price at the end of a column, and label the largest clusters.

    Parameters
    ----------
    price : mark price then, drawn as a line across
    column : of the grid, the last by default
    prices : lowest and highest on the axis; None: all bins; a price axis shared with a heatmap stays as it is
    clusters : as ``study.levels.clusters_at`` returns them, the largest first; a line leads from each label to its
        bar
    most : clusters labelled at most
    currency : of notional; None: shares of what is open at the end
    scale : of the lengths; auto: roots where one bin holds over half of all, which the title then says

    Examples
    --------
    >>> from backtest.chart.levels import profile
    >>> ax = profile(open_levels, ax, price=market.bars["close"][-1])
    >>> [patch.get_gid() for patch in ax.patches]
    ['long', 'short']
    """
    edges, unit = levels.grid.price_edges, unit_of(levels, currency)
    for side in ("long", "short"):
        colour = look.sides[side]
        steps = StepPatch(
            levels.at(column, side), edges, orientation="horizontal", fill=True, facecolor=colour,
            edgecolor=colour, linewidth=0.4,
        )  # fmt: skip
        steps.set_gid(side)
        ax.add_artist(steps)
    both = levels.at(column)
    fullest = float(both.max(initial=0.0)) or 1.0
    is_root = scale == "root" or (scale == "auto" and fullest > LOPSIDED * float(both.sum()) > 0)
    written = clusters is not None and not clusters.is_empty()
    _lengths(ax, fullest, ROOM if written else 1.08, unit, is_root=is_root)
    base = " (base)" if levels.measure == "quantity" and currency is not None else ""
    theme.dress(ax, f"Open now{base}{', root scale' if is_root else ''}")
    ax.tick_params(labelleft=False)
    ax.tick_params(axis="x", labelsize=theme.SMALL)
    _price_axis(ax, "log" if levels.grid.logarithmic else "linear", prices or (edges[0], edges[-1]))
    ax.axhline(price, color=look.ink, linewidth=0.9, linestyle=(0, (4, 3)), gid="price")
    ax.grid(visible=False)
    recolour(ax, look)
    ax.grid(visible=False)
    if clusters is not None:
        _write_clusters(ax, clusters, (levels, both), price, most, unit, look)
    return ax


def _price_axis(ax: Axes, scale: str, prices: tuple[float, float]) -> None:
    """Give axes their scale and range of prices; those of a heatmap that they share stay as they are."""
    shared = len(ax.get_shared_y_axes().get_siblings(ax)) > 1
    if ax.get_yscale() != scale:
        ax.set_yscale(scale)
    if not shared:
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_ylim(*prices)


def root_scale(ax: Axes, axis: Literal["x", "y"]) -> None:
    """Make lengths along an axis the roots of amounts."""
    roots: Any = (lambda values: np.sqrt(np.maximum(values, 0.0)), np.square)
    (ax.set_xscale if axis == "x" else ax.set_yscale)("function", functions=roots)


def _lengths(ax: Axes, fullest: float, room: float, unit: Unit, *, is_root: bool) -> None:
    if is_root:
        root_scale(ax, "x")
    ax.set_xlim(0, fullest * (room**2 if is_root else room))
    ax.xaxis.set_major_locator(FixedLocator([_round_below(fullest, unit)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: unit.write(value)))


def _round_below(amount: float, unit: Unit) -> float:
    """Return the largest round amount, or share, up to another."""
    power = 10.0 ** np.floor(np.log10(amount / unit.one))
    round_one = max(figure for figure in (1.0, 2.0, 5.0) if power * figure <= amount / unit.one * (1 + 1e-9))
    return float(unit.one * power * round_one)


def _write_clusters(
    ax: Axes,
    clusters: pl.DataFrame,
    bars: tuple[Levels, Any],
    price: float,
    most: int,
    unit: Unit,
    look: Look,
) -> None:
    """Label the largest clusters that find room: none lies on another, all on their side of the price."""
    height, room, measure = theme.height(ax), theme.width(ax), measure_of(clusters)

    def up(value: float) -> float:
        return (
            float(ax.transAxes.inverted().transform(ax.transData.transform((ax.get_xlim()[1], value)))[1]) * height
        )

    mark = min(max(up(price), 0.0), height)
    labels: dict[bool, list[tuple[float, str, float]]] = {True: [], False: []}
    for row in clusters.head(most).iter_rows(named=True):
        own = up(row["centre"])
        if 0 < own < height:
            where = wrapped(f"{significant(row['centre'])}, {distance(row['distance'])}", room, theme.SMALL)
            labels[own > mark].append((own, f"{where}\n{unit.write(row[measure])}", row["centre"]))
    for above, found in labels.items():
        ends = (mark + LINE / 2, height) if above else (0.0, mark - LINE / 2)
        kept, places = _fitting(found, *ends)
        for (_, text, centre), place in zip(kept, places, strict=True):
            at = min(_length_at(bars, centre), ax.get_xlim()[1])
            ax.annotate(
                text, (at, centre), xytext=(1.0, place / height), textcoords="axes fraction", ha="right",
                va="center", fontsize=theme.SMALL, linespacing=1.25, color=look.ink, gid="cluster",
                bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
                arrowprops={"arrowstyle": "-", "color": look.muted, "linewidth": 0.6, "relpos": (0.0, 0.5),
                            "shrinkA": 1.0, "shrinkB": 1.0},
            )  # fmt: skip


def _fitting(
    found: Sequence[tuple[float, str, float]], low: float, high: float
) -> tuple[list[tuple[float, str, float]], list[float]]:
    """Return as many labels as find room, the first ones, and their places."""
    for count in range(len(found), 0, -1):
        kept = list(found[:count])
        sizes = [LINE * (text.count("\n") + 1) for _, text, _ in kept]
        places = spread([own for own, _, _ in kept], sizes, low, high)
        if places is not None:
            return kept, places
    return [], []


def _length_at(bars: tuple[Levels, Any], price: float) -> float:
    """Return the length of the bar at a price."""
    levels, amounts = bars
    place = int(np.searchsorted(levels.grid.price_edges, price, side="right")) - 1
    return float(amounts[min(max(place, 0), amounts.size - 1)])
