"""Indicators: area under the curve of each, with bands, against a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from backtest.amounts import per_interval, signed
from backtest.chart.style import theme
from backtest.schemas.arguments import checked

#: Area without information: an event ranks above another interval as often as below it.
CHANCE = 0.5

#: Rows left free above the first, for the label of the baseline, and below the last, for that of one half.
ABOVE, BELOW = 1.3, 1.1
HEADING = 0.95

#: A letter's width in points, and the least part of the width between the columns of words, for the dots.
LETTER, LEAST_MIDDLE = 0.53 * theme.TEXT, 0.3


@checked
def areas(scores: pl.DataFrame, ax: Axes) -> Axes:
    """Draw the area under the curve of each indicator with its band, the best on top.

    The baseline with its band, and one half (no information), are lines through all rows. On the right is the
    difference to the baseline with its band (on narrow axes without); the dot is full if that band excludes zero.

    Parameters
    ----------
    scores : as ``study.prediction.Trial.scores`` returns them, of one trial and one baseline
    """
    rows = scores.sort("area").to_dicts()
    one = rows[0]
    names, differences = [row["indicator"] for row in rows], [_difference(row) for row in rows]
    heading = f"difference ({100 * one['confidence']:g} % band)"
    if _parts(ax, names, [*differences, heading])[2] < LEAST_MIDDLE:
        heading, differences = "difference", [_signed(row["difference"]) for row in rows]
    _frame(ax, rows, names, [*differences, heading])
    _baseline(ax, one, len(rows))
    for height, (row, difference) in enumerate(zip(rows, differences, strict=True)):
        clear = row["difference_low"] > 0 or row["difference_high"] < 0
        ax.hlines(height, row["area_low"], row["area_high"], color=theme.INK, linewidth=1.4)
        face = theme.INK if clear else theme.PAPER
        ax.plot(row["area"], height, "o", markersize=6, color=theme.INK, markerfacecolor=face, zorder=3)
        _write(ax, row["indicator"], 0.0, height, ha="left")
        _write(ax, difference, 1.0, height, ha="right")
    _write(ax, heading, 1.0, len(rows) - 1 + HEADING, ha="right", color=theme.MUTED)
    return ax


def _frame(ax: Axes, rows: list[dict[str, Any]], left: Iterable[str], right: Iterable[str]) -> None:
    """Set the limits, so that the columns of words fit left and right of the dots."""
    one = rows[0]
    ends = [row[name] for row in rows for name in ("area", "area_low", "area_high")]
    ends += [one["baseline_area"], one["baseline_area_low"], one["baseline_area_high"], CHANCE]
    low, high = (extreme(filter(math.isfinite, ends)) for extreme in (min, max))
    span = max(high - low, 0.02)
    before, after, middle = _parts(ax, left, right)
    squeezed = min(1.0, (1 - LEAST_MIDDLE) / (before + after))
    middle = max(middle, LEAST_MIDDLE)
    ax.set_xlim(low - squeezed * before * span / middle, high + squeezed * after * span / middle)
    ax.set_ylim(-BELOW, len(rows) - 1 + ABOVE)
    following = per_interval(one["horizon"] / timedelta(days=1)).removeprefix("per ")
    whose = f"{following}'" if following.endswith("s") else f"{following}'s"
    quantile = f"{100 * one['quantile']:g} % quantile"
    theme.dress(ax, f"Area under the curve: next {whose} liquidations above their {quantile}")
    ticks = MaxNLocator(max(2, int(middle * theme.width(ax) / 40)), steps=[1, 2, 5, 10]).tick_values(low, high)
    ticks = ticks[(low - 0.01 <= ticks) & (ticks <= high + 0.01)]
    ax.grid(visible=False)  # lines beside the rows only, not through the words above and below
    ax.vlines(ticks, -BELOW / 2, len(rows) - 1 + ABOVE / 2, color=theme.FAINT, linewidth=0.8, zorder=0.5)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    ax.set_yticks([])


def _parts(ax: Axes, left: Iterable[str], right: Iterable[str]) -> tuple[float, float, float]:
    """Return the parts of the width of the left words, the right words, and the room between."""
    before, after = ((max(map(len, texts)) + 3) * LETTER / theme.width(ax) for texts in (left, right))
    return before, after, 1 - before - after


def _baseline(ax: Axes, one: dict[str, Any], rows: int) -> None:
    """Draw the baseline with its band, and one half."""
    at, low, high = (one[f"baseline_area{part}"] for part in ("", "_low", "_high"))
    bottom, top = -BELOW / 2, rows - 1 + ABOVE / 2
    if math.isfinite(low) and math.isfinite(high):
        ax.fill_between([low, high], bottom, top, color=theme.MISSING, linewidth=0, zorder=0)
    ax.vlines(at, bottom, top, color=theme.MUTED, linewidth=1.0, zorder=1)
    ax.vlines(CHANCE, bottom, top, color=theme.MUTED, linewidth=1.0, linestyle=(0, (2, 3)), zorder=1)
    toward = "right" if at > sum(ax.get_xlim()) / 2 else "left"
    look: dict[str, Any] = {"fontsize": theme.TEXT, "color": theme.MUTED}
    ax.text(at, rows - 1 + HEADING, f"{one['baseline']}: {at:.3f}", ha=toward, va="center_baseline", **look)
    ax.text(CHANCE, bottom - 0.06, "no information", ha="center", va="top", **look)


def _write(ax: Axes, text: str, at: float, height: float, *, ha: str, color: str = theme.INK) -> None:
    across = ax.get_yaxis_transform()
    ax.text(at, height, text, transform=across, ha=ha, va="center_baseline", fontsize=theme.TEXT, color=color)


def _difference(row: dict[str, Any]) -> str:
    """Return a difference with its band: "+0.132 (+0.118 to +0.150)"."""
    low, high = row["difference_low"], row["difference_high"]
    known = math.isfinite(low) and math.isfinite(high)
    return f"{_signed(row['difference'])} ({f'{_signed(low)} to {_signed(high)}' if known else 'no band'})"


def _signed(value: float) -> str:
    return signed(value, "+.3f")
