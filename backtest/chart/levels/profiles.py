"""Profile of open liquidation levels at one time, along the price axis of the heatmap beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest.amounts import amount, distance, significant
from backtest.chart.levels.heatmaps import unit_of
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.chart.style.words import wrapped
from backtest.schemas.arguments import checked
from backtest.study.levels.clusters import measure_of
from backtest.study.levels.levels import Levels

#: Height of a line of a label, in points.
LINE = 10.5

#: Width of the axes over the longest bar where clusters are labelled beside it.
ROOM = 2.4


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
    currency: str = "USDT",
    look: Look = LIGHT,
) -> Axes:
    """Draw the open notional, or quantity, at each price at the end of a column, and label the largest clusters.

    Parameters
    ----------
    price : mark price then, drawn as a line across
    column : of the grid, the last by default
    prices : lowest and highest on the axis; None: all bins
    clusters : as ``study.levels.clusters_at`` returns them, the largest first
    most : clusters labelled at most

    Examples
    --------
    >>> from backtest.chart.levels import profile
    >>> ax = profile(open_levels, ax, price=market.bars["close"][-1])
    >>> [patch.get_gid() for patch in ax.patches]
    ['long', 'short']
    """
    edges = levels.grid.price_edges
    for side in ("long", "short"):
        amounts, colour = levels.at(column, side), look.sides[side]
        steps = StepPatch(
            amounts, edges, orientation="horizontal", fill=True, facecolor=colour, edgecolor=colour, linewidth=0.4
        )
        steps.set_gid(side)
        ax.add_artist(steps)
    both = levels.at(column)
    fullest = float(both.max(initial=0.0)) or 1.0
    written = clusters is not None and not clusters.is_empty()
    ax.set_xlim(0, fullest * (ROOM if written else 1.08))
    unit = unit_of(levels.measure, currency)
    theme.dress(ax, "Open now (base)" if levels.measure == "quantity" else "Open now")
    ax.tick_params(labelleft=False)
    ax.xaxis.set_major_locator(FixedLocator([_round_below(fullest)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, unit)))
    ax.tick_params(axis="x", labelsize=theme.SMALL)
    ax.set_yscale("log" if levels.grid.logarithmic else "linear")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(*(prices or (edges[0], edges[-1])))
    ax.axhline(price, color=look.ink, linewidth=0.9, linestyle=(0, (4, 3)), gid="price")
    ax.grid(visible=False)
    recolour(ax, look)
    ax.grid(visible=False)
    if clusters is not None:
        _write_clusters(ax, clusters, price, most, unit, look)
    return ax


def _round_below(amount: float) -> float:
    """Return the largest round amount up to another."""
    unit = 10.0 ** np.floor(np.log10(amount))
    return float(unit * max(figure for figure in (1.0, 2.0, 5.0) if unit * figure <= amount * (1 + 1e-9)))


def _write_clusters(ax: Axes, clusters: pl.DataFrame, price: float, most: int, unit: str, look: Look) -> None:
    """Label the largest clusters that find room: none lies on another, all on their side of the price."""
    height, room, measure = theme.height(ax), theme.width(ax), measure_of(clusters)

    def up(value: float) -> float:
        return float(ax.transAxes.inverted().transform(ax.transData.transform((0.0, value)))[1]) * height

    mark = up(price)
    taken = [(mark, LINE / 2)]
    for row in clusters.head(most).iter_rows(named=True):
        where = wrapped(f"{significant(row['centre'])}, {distance(row['distance'])}", room, theme.SMALL)
        text = f"{where}\n{amount(row[measure], unit)}"
        high = LINE * (text.count("\n") + 1)
        place = _free(up(row["centre"]), mark, high, taken, height)
        if place is not None:
            taken.append((place, high))
            ax.annotate(
                text, (1.0, place / height), xycoords="axes fraction", ha="right", va="center",
                fontsize=theme.SMALL, linespacing=1.25, color=look.ink, gid="cluster",
                bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )  # fmt: skip


def _free(
    own: float, mark: float, high: float, taken: Sequence[tuple[float, float]], height: float
) -> float | None:
    """Return the middle of a free place for a label near its own, on the same side of the price."""
    if not 0 < own < height:
        return None
    for nudge in (0.0, *(sign * step * high for step in (0.25, 0.5, 0.75, 1.0) for sign in (1, -1))):
        place = min(max(own + nudge, high / 2), height - high / 2)
        apart = all(abs(place - other) >= (high + size) / 2 for other, size in taken)
        if apart and (place > mark) == (own > mark):
            return place
    return None
