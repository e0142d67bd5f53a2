"""Survival of positions since their entry, and the probability of liquidation by horizon and leverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.restyle import ON_CELLS
from backtest.chart.style.words import spread
from backtest.errors import DataError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked

#: A letter's width in points, bold.
LETTER = 0.62 * theme.TEXT

#: Longest over shortest duration shown, at most.
WIDEST = 3_000.0

#: Part of the colour map that is dark enough for lines on paper.
LINES_FROM, LINES_TO = 0.92, 0.12

#: Probabilities of the lines of equal probability.
ISO_LINES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)

#: Paper at zero, then ever darker in one hue.
RISK = LinearSegmentedColormap.from_list("risk", [theme.PAPER, "#F9D9C8", "#E9885A", "#B23A12", "#5A1606"])

#: Lines of equal probability are white from this one on, where the cells are dark.
DARK_FROM = 0.5

A_DAY = np.timedelta64(1, "D")

#: Ticks of a logarithmic time axis, in days, and their names.
MOMENTS = {
    1 / 1440: "1 min", 5 / 1440: "5 min", 15 / 1440: "15 min", 1 / 24: "1 h", 4 / 24: "4 h", 8 / 24: "8 h",
    1.0: "1 d", 2.0: "2 d", 3.0: "3 d", 7.0: "1 w", 14.0: "2 w", 30.0: "1 mo", 91.0: "3 mo", 365.0: "1 y",
}  # fmt: skip
LEVERAGE_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 125)


@checked
def survival(
    curves: pl.DataFrame, ax: Axes, *, by: str, bands: pl.DataFrame | None = None, label: str = "{}"
) -> Axes:
    """Draw the share of positions not yet liquidated against the time since entry, a line a group.

    Parameters
    ----------
    curves : ``duration, survival`` and the group, in order of duration, as ``study.survival.kaplan_meier``
    by : column of the group; lines are darker from one group to the next, in order of appearance
    bands : ``duration, low, high`` and the group, as ``study.survival.bands``, to shade
    label : name of a group, ``{}`` its value

    Examples
    --------
    >>> from backtest.chart.liquidations import survival
    >>> from backtest.study.survival import kaplan_meier, lives
    >>> ax = survival(kaplan_meier(lives(outcomes, market), by=["side"]), ax, by="side")
    >>> [text.get_text() for text in ax.texts]
    ['long', 'short']
    """
    if curves.is_empty():
        raise DataError("curves must hold at least one row, there is none")
    parts = curves.partition_by(by, maintain_order=True)
    names = [label.format(part[by][0]) for part in parts]
    ends = []
    for part, colour in zip(parts, shades(len(parts)), strict=True):
        days, values = _days(part), part["survival"].to_numpy()
        ax.step(days, values, where="post", color=colour, linewidth=1.6, gid="curve")
        ends.append((days[-1], values[-1], colour))
        if bands is not None:
            own = bands.filter(pl.col(by) == part[by][0])
            ax.fill_between(_days(own), own["low"], own["high"], color=colour, alpha=0.13, linewidth=0)
    theme.dress(ax, "Not yet liquidated, % of positions opened")
    theme.below(ax, "time since the entry")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amounts.percent(value)))
    last = max(day for day, _, _ in ends)
    first = min(max(min(_days(part)[0] for part in parts), last / WIDEST), last / 2)
    ax.set_xscale("log")
    room = max(map(len, names)) * LETTER / (ax.bbox.width / ax.figure.dpi * 72)  # of the axes, for the names
    ax.set_xlim(first, last * (last / first) ** (room / (1 - room)))
    _log_ticks(ax, "x", [tick for tick in MOMENTS if tick <= last * 1.001], MOMENTS.__getitem__)
    heights = spread_out([value for _, value, _ in ends], ax)
    for name, height, (day, value, colour) in zip(names, heights, ends, strict=True):
        ax.plot([day, last], [value, value], color=colour, linewidth=0.8, linestyle=(0, (1, 2)))
        ax.annotate(
            name, (last, height), xytext=(4, 0), textcoords="offset points", color=colour, fontsize=theme.TEXT,
            va="center", weight="bold",
        )  # fmt: skip
    return ax


@checked
def probability_surface(
    surface: pl.DataFrame, ax: Axes, *, side: str, iso_lines: Sequence[float] = ISO_LINES
) -> Axes:
    """Draw the probability of liquidation by horizon and leverage, with lines of equal probability.

    Parameters
    ----------
    surface : ``side, leverage, horizon, probability`` as ``study.survival.probability_surface``; cells without
        a probability are grey
    side : drawn side
    iso_lines : probabilities of the lines of equal probability

    Examples
    --------
    >>> from backtest.chart.liquidations import probability_surface
    >>> horizons = [timedelta(hours=8)] * 2 + [timedelta(days=1)] * 2
    >>> chances = {"leverage": [5.0, 20.0] * 2, "horizon": horizons, "probability": [0.0, 0.1, 0.01, 0.3]}
    >>> ax = probability_surface(pl.DataFrame({"side": ["long"] * 4, **chances}), ax, side="long")
    >>> ax.get_title(loc="left")
    'Probability that a long is liquidated, from any bar'
    """
    own = surface.filter(pl.col("side") == side).sort("horizon", "leverage")
    days = own["horizon"].unique(maintain_order=True).to_numpy() / A_DAY
    leverages = own["leverage"].unique(maintain_order=True).to_numpy()
    chance = own["probability"].to_numpy().reshape(days.size, leverages.size).T
    ax.set_facecolor(theme.MISSING)
    mesh = ax.pcolormesh(edges(days), edges(leverages), np.ma.masked_invalid(chance), cmap=RISK, vmin=0, vmax=1)
    mesh.set_rasterized(True)
    theme.dress(ax, f"Probability that a {side} is liquidated, from any bar")
    ax.set_facecolor(theme.MISSING)
    ax.grid(False)
    for name, ticks, write in (
        ("x", MOMENTS, MOMENTS.__getitem__),
        ("y", LEVERAGE_TICKS, "{:g}x".format),
    ):
        _log_ticks(ax, name, list(ticks), write)
    theme.below(ax, "held for")
    if days.size > 1 and leverages.size > 1:
        _iso_lines(ax, days, leverages, chance, iso_lines)
    return ax


def shades(count: int) -> list[tuple[float, ...]]:
    """Return so many colours in order, from light to dark, all readable as lines."""
    scale: Colormap = colormaps["viridis"]
    return [tuple(scale(place)) for place in np.linspace(LINES_FROM - 0.22, LINES_TO, count)]


def edges(values: Floats) -> Floats:
    """Return the edges of cells around values, half way between them in logarithms."""
    logs = np.log(values)
    middle = (logs[:-1] + logs[1:]) / 2
    first = logs[0] - (logs[1] - logs[0]) / 2 if logs.size > 1 else logs[0] - 0.3
    last = logs[-1] + (logs[-1] - logs[-2]) / 2 if logs.size > 1 else logs[0] + 0.3
    return np.asarray(np.exp(np.concatenate([[first], middle, [last]])), np.float64)


def spread_out(values: Sequence[float], ax: Axes) -> list[float]:
    """Return heights of labels beside values: as near as possible without overlap."""
    low, high = ax.get_ylim()
    gap = 1.35 * theme.TEXT / theme.height(ax) * (high - low)
    known = [at for at, value in enumerate(values) if math.isfinite(value)]
    heights = list(values)
    places = spread([values[at] for at in known], [gap] * len(known), -math.inf, high) or []
    for at, place in zip(known, places, strict=True):
        heights[at] = place
    return heights


def _iso_lines(ax: Axes, days: Floats, leverages: Floats, chance: Floats, levels: Sequence[float]) -> None:
    """Draw and label the lines that occur."""
    inside = [level for level in levels if np.nanmin(chance) < level < np.nanmax(chance)]
    if not inside:
        return
    colours = [theme.PAPER if level >= DARK_FROM else theme.INK for level in inside]
    masked = np.ma.masked_invalid(chance)
    lines = ax.contour(days, leverages, masked, levels=inside, colors=colours, linewidths=0.9)
    for text in ax.clabel(lines, fmt=amounts.percent, fontsize=theme.TEXT - 0.5, inline_spacing=3):
        text.set_gid(ON_CELLS)


def _days(frame: pl.DataFrame) -> Floats:
    return np.asarray(frame["duration"].to_numpy() / A_DAY, np.float64)


def _log_ticks(ax: Axes, name: str, ticks: Sequence[float], write: Callable[[float], str]) -> None:
    """Put ticks at the values inside the limits, labelled by a function of them."""
    axis = getattr(ax, f"{name}axis")
    getattr(ax, f"set_{name}scale")("log")
    low, high = getattr(ax, f"get_{name}lim")()
    shown = [tick for tick in ticks if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)]
    nearest = FuncFormatter(lambda value, _: write(min(ticks, key=lambda tick: abs(tick - value))))
    axis.set_major_locator(FixedLocator(shown))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(nearest)
