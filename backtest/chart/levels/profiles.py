"""Profile of open liquidation levels at one time, along the price axis of the heatmap beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest.amounts import amount, distance, significant
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.schemas.arguments import checked
from backtest.study.levels.levels import Levels

#: Least distance between labels, in points.
APART = 20.0

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
    """Draw the open notional at each price at the end of a column, and label the largest clusters.

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
    theme.dress(ax, "Open now")
    ax.tick_params(labelleft=False)
    ax.xaxis.set_major_locator(FixedLocator([_round_below(fullest)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, currency)))
    ax.tick_params(axis="x", labelsize=theme.SMALL)
    ax.set_yscale("log" if levels.grid.logarithmic else "linear")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(*(prices or (edges[0], edges[-1])))
    ax.axhline(price, color=look.ink, linewidth=0.9, linestyle=(0, (4, 3)), gid="price")
    ax.grid(visible=False)
    recolour(ax, look)
    ax.grid(visible=False)
    if clusters is not None:
        _write_clusters(ax, clusters, price, most, currency, look)
    return ax


def _round_below(amount: float) -> float:
    """Return the largest round amount up to another."""
    unit = 10.0 ** np.floor(np.log10(amount))
    return float(unit * max(figure for figure in (1.0, 2.0, 5.0) if unit * figure <= amount * (1 + 1e-9)))


def _write_clusters(ax: Axes, clusters: pl.DataFrame, price: float, most: int, currency: str, look: Look) -> None:
    halo = [withStroke(linewidth=2.2, foreground=look.paper, alpha=0.85)]
    for row, place in _readable(ax, clusters, price, most):
        ax.annotate(
            f"{significant(row['centre'])}, {distance(row['distance'])}\n{amount(row['notional'], currency)}",
            (1.0, place),
            xycoords="axes fraction",
            ha="right",
            va="center",
            fontsize=theme.SMALL,
            linespacing=1.25,
            color=look.ink,
            path_effects=halo,
            gid="cluster",
        )


def _readable(
    ax: Axes, clusters: pl.DataFrame, price: float, most: int
) -> Iterator[tuple[dict[str, float], float]]:
    """Yield the largest clusters and the height of each label, so that it overlaps no other and not the price."""
    height = theme.height(ax)

    def up(value: float) -> float:
        return float(ax.transAxes.inverted().transform(ax.transData.transform((0.0, value)))[1]) * height

    taken = [(up(price), APART * 0.6)]
    for row in clusters.head(most).iter_rows(named=True):
        own = up(row["centre"])
        if not 0 < own < height:
            continue
        for nudge in (0.0, *(sign * step * APART for step in (0.25, 0.5, 0.75, 1.0) for sign in (1, -1))):
            place = min(max(own + nudge, APART / 2), height - APART / 2)
            if all(abs(place - other) >= room for other, room in taken):
                taken.append((place, APART))
                yield row, place / height
                break
