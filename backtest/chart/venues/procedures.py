"""Procedures side by side: losses of the liquidated and of others, at two fill prices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from backtest.chart.style import theme
from backtest.chart.style.figure import Figure
from backtest.chart.style.looks import LIGHT, Look, Size, is_upright
from backtest.chart.style.panel_figures import Panels, grid_figure
from backtest.chart.style.restyle import restyled
from backtest.chart.style.words import text_width, titled, wrapped
from backtest.chart.venues.policy import Measure
from backtest.schemas.arguments import checked

__all__ = ["brackets", "side_by_side"]
__dir__ = __all__.copy


def written(value: float) -> str:
    """Return an amount per million to a tenth, or to the unit from a hundred on."""
    return f"{value + 0.0:,.1f}".removesuffix(".0") if abs(value) < 99.95 else f"{value:,.0f}"


MEASURES = (
    Measure("losses_per_million", "Losses of the liquidated", written),
    Measure("shortfall_per_million", "Shortfall beyond margins", written),
    Measure("adl_per_million", "Left to ADL or uncovered", written),
    Measure("adl_notional_per_million", "Notional closed by ADL", written),
)

NAMES = {"returned": "fully closed, rest returned", "to_fund": "fully closed, rest to the fund"}

#: Fills: hollow marks at the one best for the fund, full ones at the other.
BEST, DELAYED, WORST = "liquidation_price", "delayed", "worst_price"

#: Inches: height of a procedure's row.
ROW = 0.34

#: Points that the names of procedures take in an upright picture, in several lines.
UPRIGHT_NAMES = 100.0

#: Part of the width beyond the highest value, for labels of two figures and of three.
BEYOND, FURTHER = 0.7, 1.3


@checked
def brackets(policies: pl.DataFrame, ax: Axes, *, measure: Measure) -> Axes:
    """Draw one measure of each procedure, a line between its values at two fill prices.

    Parameters
    ----------
    policies : ``procedure``, ``fill`` and the measure's column: one row a procedure and fill, the first procedure
        on top

    Examples
    --------
    >>> from backtest.chart.venues.procedures import MEASURES, brackets
    >>> fills = {"procedure": ["returned"] * 2, "fill": ["liquidation_price", "worst_price"]}
    >>> policies = pl.DataFrame({**fills, "shortfall_per_million": [0.0, 310.0]})
    >>> ax = brackets(policies, ax, measure=MEASURES[1])
    >>> ax.get_title(loc="left"), ax.texts[0].get_text()
    ('Shortfall beyond margins', '0 to 310')
    """
    names = policies["procedure"].unique(maintain_order=True).to_list()
    for place, name in enumerate(names):
        own = policies.filter(pl.col("procedure") == name)
        ends = dict(own.select("fill", measure.column).iter_rows())
        values = list(ends.values())
        ax.plot([min(values), max(values)], [place, place], color=theme.MUTED, linewidth=2.2, zorder=2)
        for fill, value in ends.items():
            face = {BEST: theme.PAPER, DELAYED: theme.MUTED}.get(fill, theme.INK)
            ax.plot(
                value, place, "o", color=theme.INK, markerfacecolor=face, markersize=6, zorder=3, clip_on=False
            )  # fmt: skip
        labels = list(dict.fromkeys(measure.write(value) for value in sorted(values)))
        label = " to ".join(labels[:1] + labels[-1:] if len(labels) > 1 else labels)
        if DELAYED in ends and len(labels) > 1:
            label = f"{measure.write(ends[DELAYED])} ({label})"
        ax.annotate(
            label, (max(values), place), xytext=(8, 0), textcoords="offset points", va="center",
            fontsize=theme.TEXT, color=theme.INK,
        )  # fmt: skip
    theme.dress(ax, measure.title)
    ax.grid(axis="y", visible=False)
    highest = float(np.max(policies[measure.column].to_numpy()))
    beyond = FURTHER if DELAYED in policies["fill"].to_list() else BEYOND
    ax.set_xlim(0 if policies[measure.column].to_numpy().min() >= 0 else None, max(highest, 1e-12) * (1 + beyond))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: measure.write(value)))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), [NAMES.get(name, name) for name in names], color=theme.INK)
    ax.tick_params(axis="y", pad=8)  # beside a mark at zero
    return ax


@checked
def side_by_side(
    policies: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    measures: Sequence[Measure] = MEASURES,
    look: Look = LIGHT,
    size: Size | None = None,
) -> Figure:
    """Return the figure of procedures: a row a history, a column a measure that is not zero everywhere.

    Parameters
    ----------
    policies : as :func:`brackets` takes them, with ``history``
    look, size : by name, or your own; without a size, as large as the panels need

    Examples
    --------
    >>> from backtest.chart.venues.procedures import MEASURES, side_by_side
    >>> fills = {"procedure": ["returned"] * 2, "fill": ["liquidation_price", "worst_price"]}
    >>> policies = pl.DataFrame({"history": ["May 2021"] * 2, **fills, "shortfall_per_million": [0.0, 310.0]})
    >>> figure = side_by_side(policies, title="Procedures", measures=MEASURES[1:2])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['fully closed, rest returned']
    """
    shown = [measure for measure in measures if _is_anywhere(policies, measure)]
    parts = policies.partition_by("history", maintain_order=True)
    names = policies["procedure"].unique(maintain_order=True).to_list()
    room = UPRIGHT_NAMES if is_upright(size) else max(text_width(NAMES.get(name, name)) for name in names) + 2
    left = 0.45 + room / 72
    high = ROW * len(names) + 0.3
    kind = Panels(width=3.3, height=high, least_width=1.7, least_height=high, whole=8.0)
    figure, panels = grid_figure(
        (len(parts), len(shown)), kind, size, title=title, subtitle=subtitle, notes=notes, left=left
    )
    for row, part in zip(panels, parts, strict=True):
        for ax, measure in zip(row, shown, strict=True):
            brackets(part, ax, measure=measure)
            ax.set_yticks(
                range(len(names)), [wrapped(NAMES.get(name, name), room) for name in names], color=theme.INK
            )
            if len(parts) > 1 and (ax is row[0] or is_upright(size)):
                titled(ax, f"{part['history'][0]}\n{measure.title}")
    for ax in panels[-1]:
        theme.below(ax, "per million of intended notional")
    return restyled(figure, look)


def _is_anywhere(policies: pl.DataFrame, measure: Measure) -> bool:
    """Return whether a measure is other than zero for any procedure."""
    return bool(policies.select((pl.col(measure.column).fill_null(0.0) != 0).any()).item())
