"""Open levels at all prices through time: longs above zero, shorts below, and their difference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from backtest.chart.levels.units import Unit
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.chart.style.time_axis import time_axis
from backtest.chart.style.words import fit_labels, names_above
from backtest.study.levels.levels import Levels

MILLISECONDS_A_DAY = 86_400_000

#: Part of the largest side that the axis reaches at least on the other side of zero, and room beyond both.
LEAST, ROOM = 0.1, 1.08


def level_totals(
    levels: Levels, ax: Axes, *, currency: str | None = "USDT", look: Look = LIGHT, timezone: str = "UTC"
) -> Axes:
    """Draw what is open at all prices at the end of each column, by side, and longs less shorts as a line.

    Parameters
    ----------
    currency : of notional; None: shares of what is open at the end
    timezone : of the time axis

    Examples
    --------
    >>> from backtest.chart.levels.totals import level_totals
    >>> ax = level_totals(open_levels, ax, currency=None)
    >>> [patch.get_gid() for patch in ax.patches]
    ['long', 'short']
    """
    grid, totals = levels.grid, levels.totals()
    edges = (grid.start + grid.step * np.arange(grid.columns + 1)) / MILLISECONDS_A_DAY
    longs, shorts = (totals[side].to_numpy() for side in ("long", "short"))
    for side, values in (("long", longs), ("short", -shorts)):
        colour = look.sides[side]
        steps = StepPatch(values, edges, fill=True, facecolor=colour, edgecolor=colour, linewidth=0.3)
        steps.set_gid(side)
        ax.add_artist(steps)
    ax.plot(edges[1:], longs - shorts, color=look.ink, linewidth=1.0, gid="difference")
    unit = Unit(levels.measure, currency, float(longs[-1] + shorts[-1]) or 1.0)
    theme.dress(ax, f"Open {unit.heading}, at all prices")
    most = max(float(longs.max()), float(shorts.max())) or 1.0
    ax.set_ylim(-ROOM * max(float(shorts.max()), LEAST * most), ROOM * max(float(longs.max()), LEAST * most))
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    theme.amount_axis(ax, unit.write, one=unit.one)
    fit_labels(ax)
    time_axis(ax, *grid.window, timezone=timezone, clear=12.0)
    recolour(ax, look)
    sides = [(f"{side}s", colour) for side, colour in look.sides.items()]
    return names_above(ax, [*sides, ("longs less shorts", look.ink)])
