"""The table of clusters: where they are, what they hold, of which leverage, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from backtest.chart import theme, words
from backtest.chart.looks import LIGHT, SIZES, Look, Size, recolour_figure

#: Columns of ``clusters_at`` that are no shares of a leverage bucket.
KNOWN = {
    *("side", "centre", "price_low", "price_high", "width", "notional", "share", "distance", "days"),
    *("mark_price", "time", "mean_leverage", "reached", "closed", "waiting", "first_reached"),
}

#: Title of the column of leverages.
LEVERAGE = "leverage,\nlow to high"

#: What became of a cluster, and the part of the ink it is drawn in.
FATES = {"reached": 1.0, "closed": 0.45, "waiting": 0.15}

#: Most rows, and how high one is, in points.
MOST, ROW_HEIGHT = 12, 19.0

#: Inches above and below a table, for its title and notes.
AROUND = 1.9

#: Points of width that the whole table needs; with less, letters are smaller, and with much less it has no centre.
WIDE, SMALLEST, NO_CENTRE = 660.0, 0.7, 560.0


class Cell(NamedTuple):
    """One column of the table."""

    title: str
    at: float  #: of the axes' width; the right edge of numbers, the left one of bars
    write: Callable[[Mapping[str, Any]], str]


def cluster_table(
    clusters: pl.DataFrame, ax: Axes, *, currency: str = "USDT", most: int = MOST, look: Look = LIGHT
) -> Axes:
    """Draw clusters as a table, the largest first.

    Parameters
    ----------
    clusters : as ``study.clusters.clusters_at`` returns them, with leverage or without; with what became of them
        where ``study.aftermath.aftermath`` has added it
    most : how many rows
    """
    ax.set_axis_off()
    ax.set_xlim(0, 1)
    shown = clusters.head(most)
    rows = max(shown.height, 1)
    height = min(1.0 / (rows + 1.8), ROW_HEIGHT / theme.height(ax))
    ax.set_ylim(0, 1)
    if shown.is_empty():
        ax.text(
            0.5, 0.5, "no cluster within reach", ha="center", va="center", color=look.muted, fontsize=theme.TEXT
        )
        return ax
    top = 1.0 - 1.3 * height
    buckets = [name for name in clusters.columns if name not in KNOWN]
    fates = [name for name in FATES if name in clusters.columns]
    width = ax.bbox.width / ax.figure.dpi * 72
    letters = theme.TEXT * min(1.0, max(SMALLEST, width / WIDE))
    columns = [each for each in _columns(currency) if width >= NO_CENTRE or each.title != "centre"]
    bars = _bars(bool(buckets), bool(fates))
    for column in columns:
        _head(ax, column.at, top, column.title, letters, look, "right")
    for title, left, wide in bars:
        _head(ax, left, top, title, letters, look, "left")
        if title == LEVERAGE:
            _key(ax, left + wide, top + 0.3 * height, height, look)
    ax.plot([0, 1], [top, top], color=look.muted, linewidth=0.8)
    largest = float(shown["notional"].max())  # type: ignore[arg-type]
    for number, row in enumerate(shown.iter_rows(named=True)):
        middle = top - (number + 0.5) * height
        _row(ax, row, middle, height, columns, largest, letters, look)
        for title, left, wide in bars:
            parts = [row[name] for name in (buckets if title == LEVERAGE else fates)]
            shades = _shades(look, len(parts)) if title == LEVERAGE else None
            _stacked(ax, parts, left, wide, middle, 0.5 * height, shades, look)
            if shades is None:
                _write(ax, left - 0.008, middle, words.percent(round(row["reached"], 2)), look.ink, letters)
        ax.plot([0, 1], [middle - height / 2] * 2, color=look.faint, linewidth=0.6)
    return ax


def cluster_figure(
    clusters: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    currency: str = "USDT",
    most: int = MOST,
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return the table of clusters as a figure, no higher than it needs to be."""
    rows = min(max(clusters.height, 1), most)
    height = min(size.height, AROUND + (rows + 1.8) * ROW_HEIGHT / 72)
    size = Size(size.width, height, size.dpi)
    figure = Figure(figsize=size.inches, dpi=size.dpi, facecolor=look.paper)
    (ax,) = theme.stacked_panels(figure, heights=(1.0,), title=title, subtitle=subtitle, notes=notes)
    place = ax.get_position()
    left = theme.MARGIN / size.width
    ax.set_position((left, place.y0 - 0.3 / size.height, 1 - 2 * left, place.height + 0.3 / size.height))
    cluster_table(clusters, ax, currency=currency, most=most, look=look)
    return recolour_figure(figure, look)


def _columns(currency: str) -> tuple[Cell, ...]:
    def span(row: Mapping[str, Any]) -> str:
        return f"{words.significant(row['price_low'])} \N{EN DASH} {words.significant(row['price_high'])}"

    def days(row: Mapping[str, Any]) -> str:
        return f"{row['days']:.1f}" if math.isfinite(row["days"]) else "\N{EN DASH}"

    return (
        Cell("prices", 0.185, span),
        Cell("centre", 0.255, lambda row: words.significant(row["centre"])),
        Cell("distance", 0.330, lambda row: _signed(row["distance"])),
        Cell("days of\nvolatility", 0.400, days),
        Cell("waiting", 0.475, lambda row: words.amount(row["notional"], currency)),
        Cell("of the\nside", 0.590, lambda row: words.percent(round(row["share"], 3))),
    )


def _bars(leverage: bool, fates: bool) -> list[tuple[str, float, float]]:
    """Return the title, left edge and width of each column of stacked bars there is."""
    found = []
    if leverage:
        found.append((LEVERAGE, 0.615, 0.185 if fates else 0.385))
    if fates:
        found.append(("reached, closed,\nstill waiting", 0.862 if leverage else 0.68, 0.138 if leverage else 0.32))
    return found


def _row(
    ax: Axes,
    row: Mapping[str, Any],
    middle: float,
    height: float,
    columns: Sequence[Cell],
    largest: float,
    letters: float,
    look: Look,
) -> None:
    colour = look.sides[row["side"]]
    ax.add_patch(Rectangle((0.0, middle - 0.28 * height), 0.006, 0.56 * height, color=colour, linewidth=0))
    ax.text(0.012, middle, f"{row['side']}s", color=colour, fontsize=letters, weight="bold", va="center_baseline")
    width = 0.05 * row["notional"] / largest
    ax.add_patch(Rectangle((0.482, middle - 0.2 * height), width, 0.4 * height, color=colour, linewidth=0))
    for column in columns:
        _write(ax, column.at, middle, column.write(row), look.ink, letters)


def _stacked(
    ax: Axes,
    parts: Sequence[float],
    left: float,
    width: float,
    middle: float,
    height: float,
    shades: Sequence[str] | None,
    look: Look,
) -> None:
    colours: Sequence[Any] = shades or [(look.ink, FATES[name]) for name in FATES]
    for part, colour in zip(parts, colours, strict=True):
        if part > 0:
            ax.add_patch(
                Rectangle((left, middle - height / 2), width * part, height, facecolor=colour, linewidth=0)
            )
            left += width * part


def _head(ax: Axes, at: float, top: float, title: str, letters: float, look: Look, side: str) -> None:
    size = letters * theme.SMALL / theme.TEXT
    ax.annotate(
        title, (at, top), xytext=(0, 3), textcoords="offset points", color=look.muted, fontsize=size, ha=side,
        va="bottom", linespacing=1.1,
    )  # fmt: skip


def _key(ax: Axes, right: float, middle: float, height: float, look: Look) -> None:
    """Draw the shades of leverage beside their title, the highest leverage to the right."""
    step, tall = 0.011, 0.3 * height
    for number, shade in enumerate(reversed(look.leverages)):
        place = right - step * (number + 1), middle - tall / 2
        ax.add_patch(Rectangle(place, step, tall, facecolor=shade, linewidth=0))


def _shades(look: Look, count: int) -> list[str]:
    last = len(look.leverages) - 1
    return [look.leverages[round(place * last / max(count - 1, 1))] for place in range(count)]


def _write(ax: Axes, at: float, middle: float, text: str, colour: str, size: float) -> None:
    ax.text(at, middle, text, color=colour, fontsize=size, va="center_baseline", ha="right")


def _signed(value: float) -> str:
    sign = "+" if value > 0 else words.MINUS if value < 0 else ""
    return f"{sign}{abs(100 * value):.1f} %"
