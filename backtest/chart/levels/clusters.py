"""Table of liquidation clusters: price range, open notional, leverage, and outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.patches import Patch, Rectangle

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, recolour_figure
from backtest.schemas.arguments import checked

#: Columns of ``clusters_at`` that are not shares of a leverage bucket.
KNOWN = {
    *("side", "centre", "price_low", "price_high", "width", "notional", "share", "distance", "days"),
    *("mark_price", "time", "mean_leverage", "triggered", "closed", "open", "first_triggered"),
}

#: Titles of the columns of stacked bars.
LEVERAGE, OUTCOME = "leverage,\nshares of notional", "outcome,\nshares of notional"

#: Outcomes of a cluster, and the part of the ink each is drawn in.
OUTCOMES = {"triggered": 1.0, "closed": 0.45, "open": 0.15}

#: Names of the outcomes in the key.
OUTCOME_NAMES = ("triggered by the mark", "closed by holders", "still open")

#: Most rows, the height of a row in points, and the rows that the column heads take.
MOST, ROW_HEIGHT, HEADS = 12, 19.0, 1.8

#: Right edge of the centres and left edge of the keys, as parts of the axes' width.
CENTRE, KEYS = 0.255, 0.085

#: Inches above and below a table, for its title and notes.
AROUND = 1.9

#: Width of the full table in points; below it letters shrink, to SMALLEST, and below NO_CENTRE the centres go.
WIDE, SMALLEST, NO_CENTRE = 660.0, 0.7, 560.0


class Cell(NamedTuple):
    """One column of the table."""

    title: str
    at: float  #: part of the axes' width: right edge of numbers, left edge of bars
    write: Callable[[Mapping[str, Any]], str]


@checked
def cluster_table(
    clusters: pl.DataFrame,
    ax: Axes,
    *,
    currency: str = "USDT",
    price_unit: str = "",
    most: int = MOST,
    look: Look = LIGHT,
) -> Axes:
    """Draw clusters as a table, the largest first.

    Parameters
    ----------
    clusters : as ``study.levels.clusters_at`` returns them, with or without leverage buckets; with outcomes where
        ``study.levels.cluster_outcomes`` added them
    price_unit : of prices, in the column heads
    most : rows at most
    """
    ax.set_axis_off()
    ax.set_xlim(0, 1)
    shown = clusters.head(most)
    rows = max(shown.height, 1)
    buckets, outcomes = _parts(clusters)
    height = min(1.0 / (rows + _around(clusters)), ROW_HEIGHT / theme.height(ax))
    ax.set_ylim(0, 1)
    if shown.is_empty():
        ax.text(
            0.5, 0.5, "no cluster within reach", ha="center", va="center", color=look.muted, fontsize=theme.TEXT
        )
        return ax
    top = 1.0 - 1.3 * height
    width = ax.bbox.width / ax.figure.dpi * 72
    letters = theme.TEXT * min(1.0, max(SMALLEST, width / WIDE))
    columns = [each for each in _columns(currency, price_unit) if width >= NO_CENTRE or each.at != CENTRE]
    bars = _bars(bool(buckets), bool(outcomes))
    for column in columns:
        _head(ax, column.at, top, column.title, letters, look, "right")
    for title, left, _ in bars:
        _head(ax, left, top, title, letters, look, "left")
        if title == OUTCOME:
            _head(ax, left - 0.008, top, "triggered", letters, look, "right")
    ax.plot([0, 1], [top, top], color=look.muted, linewidth=0.8)
    largest = float(shown["notional"].max())  # type: ignore[arg-type]
    for number, row in enumerate(shown.iter_rows(named=True)):
        middle = top - (number + 0.5) * height
        _row(ax, row, middle, height, columns, largest, letters, look)
        for title, left, wide in bars:
            parts = [row[name] for name in (buckets if title == LEVERAGE else outcomes)]
            shades = _shades(look, len(parts)) if title == LEVERAGE else None
            _stacked(ax, parts, left, wide, middle, 0.5 * height, shades, look)
            if shades is None:
                _write(ax, left - 0.008, middle, amounts.percent(round(row["triggered"], 2)), look.ink, letters)
        ax.plot([0, 1], [middle - height / 2] * 2, color=look.faint, linewidth=0.6)
    for line, (name, names, colours) in enumerate(_keys(buckets, outcomes, look)):
        _key(ax, top - (shown.height + 0.6 + line) * height, name, names, colours, letters, look)
    return ax


@checked
def cluster_figure(
    clusters: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    currency: str = "USDT",
    price_unit: str = "",
    most: int = MOST,
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return the table of clusters as a figure, as high as its rows need.

    Examples
    --------
    >>> from backtest.chart.levels import cluster_figure
    >>> from backtest.study.levels import clusters_at
    >>> figure = cluster_figure(clusters_at(open_levels, market), title="Clusters of BTCUSDT")
    >>> figure.get_size_inches().round(1).tolist()
    [10.0, 2.9]
    """
    rows = min(max(clusters.height, 1), most)
    height = min(size.height, AROUND + (rows + _around(clusters)) * ROW_HEIGHT / 72)
    size = Size(size.width, height, size.dpi)
    figure = Figure(figsize=size.inches, dpi=size.dpi, facecolor=look.paper)
    (ax,) = theme.stacked_panels(figure, heights=(1.0,), title=title, subtitle=subtitle, notes=notes)
    place = ax.get_position()
    left = theme.MARGIN / size.width
    ax.set_position((left, place.y0 - 0.3 / size.height, 1 - 2 * left, place.height + 0.3 / size.height))
    cluster_table(clusters, ax, currency=currency, price_unit=price_unit, most=most, look=look)
    return recolour_figure(figure, look)


def _parts(clusters: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Return the columns of leverage buckets and of outcomes."""
    return (
        [name for name in clusters.columns if name not in KNOWN],
        [name for name in OUTCOMES if name in clusters.columns],
    )


def _around(clusters: pl.DataFrame) -> float:
    """Return the height of heads and keys, in rows."""
    return HEADS + sum(bool(names) for names in _parts(clusters))


def _columns(currency: str, price_unit: str) -> tuple[Cell, ...]:
    unit = f",\n{price_unit}" if price_unit else ""

    def span(row: Mapping[str, Any]) -> str:
        return f"{amounts.significant(row['price_low'])} \N{EN DASH} {amounts.significant(row['price_high'])}"

    def days(row: Mapping[str, Any]) -> str:
        return f"{row['days']:.1f}" if math.isfinite(row["days"]) else "\N{EN DASH}"

    return (
        Cell(f"prices{unit}", 0.185, span),
        Cell(f"centre{unit}", CENTRE, lambda row: amounts.significant(row["centre"])),
        Cell("distance\nfrom price", 0.330, lambda row: amounts.distance(row["distance"])),
        Cell("days of\nvolatility", 0.400, days),
        Cell("open\nnotional", 0.475, lambda row: amounts.amount(row["notional"], currency)),
        Cell("share of\nthe side", 0.590, lambda row: amounts.percent(round(row["share"], 3))),
    )


def _bars(leverage: bool, outcomes: bool) -> list[tuple[str, float, float]]:
    """Return the title, left edge and width of each column of stacked bars."""
    found = []
    if leverage:
        found.append((LEVERAGE, 0.615, 0.185 if outcomes else 0.385))
    if outcomes:
        found.append((OUTCOME, 0.862 if leverage else 0.68, 0.138 if leverage else 0.32))
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
    colours: Sequence[Any] = shades or _inks(look)
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


def _keys(
    buckets: Sequence[str], outcomes: Sequence[str], look: Look
) -> Iterator[tuple[str, Sequence[str], Sequence[Any]]]:
    """Yield the title, names and colours of the key of each column of stacked bars."""
    if buckets:
        yield "leverage", buckets, _shades(look, len(buckets))
    if outcomes:
        yield "outcome", OUTCOME_NAMES, _inks(look)


def _key(
    ax: Axes, top: float, title: str, names: Sequence[str], colours: Sequence[Any], letters: float, look: Look
) -> None:
    """Name the shades of a column of stacked bars in one line below the table."""
    size = letters * theme.SMALL / theme.TEXT
    patches = [Patch(facecolor=colour, linewidth=0) for colour in colours]
    legend = Legend(
        ax, patches, names, loc="center left", bbox_to_anchor=(KEYS, top), bbox_transform=ax.transAxes,
        ncols=len(names), frameon=False, fontsize=size, handlelength=1.1, handleheight=0.8, handletextpad=0.5,
        columnspacing=1.4, borderpad=0, borderaxespad=0, labelcolor=look.ink,
    )  # fmt: skip
    ax.add_artist(legend)
    ax.text(0.0, top, title, color=look.muted, fontsize=size, va="center")


def _inks(look: Look) -> list[tuple[str, float]]:
    return [(look.ink, part) for part in OUTCOMES.values()]


def _shades(look: Look, count: int) -> list[str]:
    last = len(look.leverages) - 1
    return [look.leverages[round(place * last / max(count - 1, 1))] for place in range(count)]


def _write(ax: Axes, at: float, middle: float, text: str, colour: str, size: float) -> None:
    ax.text(at, middle, text, color=colour, fontsize=size, va="center_baseline", ha="right")
