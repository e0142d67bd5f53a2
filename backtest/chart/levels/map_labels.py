"""Labels of a liquidation map: its largest bins, each with a line to its bar, where there is a free place."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from backtest.amounts import significant
from backtest.chart.levels.units import Unit
from backtest.chart.style import theme
from backtest.chart.style.looks import Look
from backtest.chart.style.placing import Box, box_of, free_place, in_points
from backtest.chart.style.words import text_width
from backtest.kernel.types import Floats
from backtest.study.levels.level_maps import LevelMap

#: A bin is labelled if it holds at least this part of its side.
NAMED = 0.05


def name_largest(found: LevelMap, ax: Axes, twin: Axes, unit: Unit, room: float, look: Look) -> None:
    """Label the largest bin of each side beside its bar, with a line to it, where there is a free place.

    Parameters
    ----------
    ax, twin : axes of the bars and of the cumulative lines, both drawn
    room : points at the top that the mark's label takes
    """
    bins = bins_of(found)
    if bins.is_empty():
        return
    tops, bars = _bars(bins, ax)
    lines = [in_points(twin, np.column_stack(line.get_data())) for line in twin.lines]
    at = float(in_points(ax, np.array([[found.mark_price, 0.0]]))[0, 0])
    lines.append(np.array([[at, 0.0], [at, theme.height(ax)]]))
    texts = [box_of(text, ax) for text in (*ax.texts, *twin.texts)]
    inside = Box(2.0, 2.0, theme.width(ax) - 2.0, theme.height(ax) - 0.6 * room)
    for row in _largest(bins):
        words = f"{significant(row['price_low'])} \N{EN DASH} {significant(row['price_high'])}"
        words += f"\n{unit.write(row['notional'])}"
        size = text_width(words, theme.SMALL) + 4, 2.6 * theme.SMALL + 4
        top = tops[row["row"]]
        point = float(top[0]), float(top[1])
        own = inside._replace(right=at) if row["side"] == "long" else inside._replace(left=at)
        taken: dict[str, Any] = {"boxes": [*bars, *texts], "lines": lines, "words": texts}
        place = free_place(point, size, own, **taken) or free_place(point, size, inside, **taken)
        if place is not None:
            texts.append(_write(ax, twin, words, row, place, look))


def bins_of(found: LevelMap) -> pl.DataFrame:
    """Return the notional of each bin and side, of all leverage."""
    return found.bars.group_by("side", "price_low", "price_high", maintain_order=True).agg(pl.sum("notional"))


def _largest(bins: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the largest bin of each side, unless it holds little of it."""
    share = pl.col("notional") / pl.col("notional").sum().over("side")
    named = bins.with_row_index("row").with_columns(
        share=share, at=(pl.col("price_low") + pl.col("price_high")) / 2
    )
    first = named.sort("notional", descending=True, maintain_order=True).unique("side", maintain_order=True)
    return first.filter(pl.col("share") >= NAMED).to_dicts()


def _bars(bins: pl.DataFrame, ax: Axes) -> tuple[Floats, list[Box]]:
    """Return the tops of the bars, and the bars, in points."""
    notional = bins["notional"].to_numpy()
    ends = [
        in_points(ax, np.column_stack([bins[name].to_numpy(), notional])) for name in ("price_low", "price_high")
    ]
    tops = (ends[0] + ends[1]) / 2
    corners = zip(ends[0], ends[1], strict=True)
    return tops, [Box(float(low[0]), 0.0, float(high[0]), float(low[1])) for low, high in corners]


def _write(ax: Axes, twin: Axes, words: str, row: dict[str, Any], place: tuple[float, float], look: Look) -> Box:
    """Write a label, and return its box."""
    drawn = twin.annotate(
        words, (row["at"], row["notional"]), xycoords=ax.transData,
        xytext=(place[0] / theme.width(ax), place[1] / theme.height(ax)), textcoords="axes fraction", ha="center",
        va="center", fontsize=theme.SMALL, linespacing=1.2, color=look.ink, zorder=6, gid="largest",
        bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        arrowprops={"arrowstyle": "-", "color": look.muted, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 1},
    )  # fmt: skip
    return box_of(drawn, ax)
