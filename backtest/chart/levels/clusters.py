"""Table of liquidation clusters: price range, open notional, leverage, and outcome.

Columns are as wide as what they hold; letters shrink, then columns go, where the table is too narrow for them. The
bars of leverage and outcome take the width that is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.patches import Patch, Rectangle

from backtest import amounts
from backtest.chart.levels.units import Unit
from backtest.chart.style import theme
from backtest.chart.style.figure import LEAST, Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, leverage_shades, recolour_figure
from backtest.chart.style.words import text_width
from backtest.schemas.arguments import checked
from backtest.study.levels.clusters import measure_of

#: Columns of ``clusters_at`` that are not shares of a leverage bucket.
KNOWN = {
    *("side", "centre", "price_low", "price_high", "width", "notional", "quantity", "share", "distance", "days"),
    *("mark_price", "time", "mean_leverage", "triggered", "closed", "open", "first_triggered"),
}

#: Outcomes of a cluster, and the part of the ink each is drawn in.
OUTCOMES = {"triggered": 1.0, "closed": 0.45, "open": 0.2}

#: Names of the outcomes in the key.
OUTCOME_NAMES = ("triggered by the mark", "closed by holders", "still open")

#: Most rows, the height of a row in points, and the rows that the column heads take.
MOST, ROW_HEIGHT, HEADS = 12, 19.0, 2.2

#: Inches above and below a table, for its title and notes.
AROUND = 1.9

#: Points: the mark of the side, between columns, the bar of the amount, the least width of stacked bars.
MARK, GAP, AMOUNT_BAR, LEAST_BAR = 8.0, 11.0, 28.0, 70.0

#: Smallest letters, as a part of the usual ones, before columns go, and once none can go.
SMALLEST, LEAST_LETTERS = 0.7, 0.35


class Column(NamedTuple):
    """One column of the table."""

    title: str
    write: Callable[[Mapping[str, Any]], str]
    optional: bool = False  #: goes where the table is too narrow
    bar: bool = False  #: whether a bar of the amount follows


class Layout(NamedTuple):
    """Places of the columns in points from the left."""

    letters: float
    columns: list[tuple[Column, float]]  #: with its right edge
    bars: float  #: left edge of the stacked bars


@checked
def cluster_table(
    clusters: pl.DataFrame,
    ax: Axes,
    *,
    currency: str | None = "USDT",
    price_unit: str = "",
    most: int = MOST,
    look: Look = LIGHT,
) -> Axes:
    """Draw clusters as a table, the largest first.

    Parameters
    ----------
    clusters : as ``study.levels.clusters_at`` returns them, with or without leverage buckets; with outcomes where
        ``study.levels.cluster_outcomes`` added them
    currency : of notional; None: no amounts, but shares of the side
    price_unit : of prices, in the column heads
    most : rows at most
    """
    ax.set_axis_off()
    wide, high = theme.width(ax), theme.height(ax)
    ax.set_xlim(0, wide)
    ax.set_ylim(0, high)
    shown = clusters.head(most)
    if shown.is_empty():
        words: dict[str, Any] = {"ha": "center", "va": "center", "color": look.muted, "fontsize": theme.TEXT}
        ax.text(wide / 2, high / 2, "no cluster within reach", **words)
        return ax
    height = min(high / (shown.height + _around(clusters)), ROW_HEIGHT)
    rows, groups = shown.to_dicts(), list(_stacks(clusters, look))
    layout = _layout(_columns(measure_of(clusters), currency, price_unit), rows, groups, wide)
    top = high - (HEADS - 0.5) * height
    for column, right in layout.columns:
        _head(ax, right, top, column.title, layout.letters, look, "right")
    ax.plot([0, wide], [top, top], color=look.muted, linewidth=0.8)
    for number, row in enumerate(rows):
        middle = top - (number + 0.5) * height
        _row(ax, row, middle, height, layout, row[measure_of(clusters)] / rows[0][measure_of(clusters)], look)
        ax.plot([0, wide], [middle - height / 2] * 2, color=look.faint, linewidth=0.6)
    for line, (group, left, right) in enumerate(_places(groups, layout, wide)):
        _head(ax, left, top, group.title, layout.letters, look, "left")
        if group.name == "outcome":
            _head(ax, left - 4, top, "triggered", layout.letters, look, "right")
        for number, row in enumerate(rows):
            middle = top - (number + 0.5) * height
            _stacked(
                ax, [row[name] for name in group.columns], left, right - left, middle, height / 2, group.colours
            )
            if group.name == "outcome":
                _write(ax, left - 4, middle, _share(row), look.ink, layout.letters)
        _key(ax, top - (len(rows) + 0.6 + line) * height, group, layout.letters, look)
    return ax


@checked
def cluster_figure(
    clusters: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    currency: str | None = "USDT",
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
    [10.0, 3.0]
    """
    needed = AROUND + (min(max(clusters.height, 1), most) + _around(clusters)) * ROW_HEIGHT / 72
    inches = size.width, min(size.height, needed * min(size.width / LEAST[0], 1.0))
    figure = new_figure(inches, dpi=size.dpi, paper=look.paper, least=(LEAST[0], min(needed, LEAST[1])))
    (ax,) = theme.stacked_panels(figure, heights=(1.0,), title=title, subtitle=subtitle, notes=notes)
    place = ax.get_position()
    left = theme.MARGIN / size.width
    ax.set_position((left, place.y0 - 0.3 / size.height, 1 - 2 * left, place.height + 0.3 / size.height))
    cluster_table(clusters, ax, currency=currency, price_unit=price_unit, most=most, look=look)
    return recolour_figure(figure, look)


class Stack(NamedTuple):
    """Stacked bars of shares that add up to one."""

    name: str
    title: str
    columns: Sequence[str]
    names: Sequence[str]
    colours: Sequence[Any]


def _stacks(clusters: pl.DataFrame, look: Look) -> Iterator[Stack]:
    """Yield the stacked bars that the frame has columns for."""
    of = f"shares of {measure_of(clusters)}"
    buckets = [name for name in clusters.columns if name not in KNOWN]
    if buckets:
        yield Stack("leverage", f"leverage,\n{of}", buckets, buckets, leverage_shades(look, len(buckets)))
    if set(OUTCOMES) <= set(clusters.columns):
        inks = [(look.ink, part) for part in OUTCOMES.values()]
        yield Stack("outcome", f"outcome,\n{of}", list(OUTCOMES), OUTCOME_NAMES, inks)


def _around(clusters: pl.DataFrame) -> float:
    """Return the height of heads and keys, in rows."""
    return HEADS + len(list(_stacks(clusters, LIGHT)))


def _columns(measure: str, currency: str | None, price_unit: str) -> list[Column]:
    quote, unit = f",\n{price_unit}" if price_unit else "", Unit(measure, currency, 1.0)

    def span(row: Mapping[str, Any]) -> str:
        return f"{amounts.significant(row['price_low'])} \N{EN DASH} {amounts.significant(row['price_high'])}"

    def days(row: Mapping[str, Any]) -> str:
        return f"{row['days']:.1f}" if math.isfinite(row["days"]) else "\N{EN DASH}"

    return [
        Column(f"prices{quote}", span),
        Column(f"centre{quote}", lambda row: amounts.significant(row["centre"]), optional=True),
        Column("distance\nfrom price", lambda row: amounts.distance(row["distance"])),
        Column("days of\nvolatility", days, optional=True),
        *(
            []
            if currency is None
            else [Column(f"open\n{unit.name}", lambda row: unit.write(row[measure]), bar=True)]
        ),
        Column("share of\nthe side", lambda row: amounts.percent(round(row["share"], 3)), bar=currency is None),
    ]


def _layout(columns: list[Column], rows: list[dict[str, Any]], groups: list[Stack], wide: float) -> Layout:
    """Return the columns at their widths, in the largest letters that leave room for the bars."""
    while True:
        optional = [column for column in columns if column.optional]
        least = SMALLEST if optional else LEAST_LETTERS
        for part in range(100, int(100 * least) - 1, -5):
            layout = _placed(columns, rows, theme.TEXT * part / 100)
            if layout.bars + sum(_least(group, layout.letters) for group in groups) <= wide:
                return layout
        if not optional:
            return layout
        columns = [column for column in columns if column is not optional[0]]


def _placed(columns: list[Column], rows: list[dict[str, Any]], letters: float) -> Layout:
    """Return the places of columns at their widths in letters of a size."""
    small, at = letters * theme.SMALL / theme.TEXT, MARK + text_width("shorts", letters, "bold")
    placed = []
    for column in columns:
        texts = [column.write(row) for row in rows]
        at += GAP + max(text_width(column.title, small), *(text_width(text, letters) for text in texts))
        placed.append((column, at))
        at += AMOUNT_BAR + 4 if column.bar else 0.0
    return Layout(letters, placed, at)


def _least(group: Stack, letters: float) -> float:
    """Return the least width of stacked bars, with the gap before them and the share triggered."""
    return LEAST_BAR + GAP + (text_width("triggered", letters) if group.name == "outcome" else 0.0)


def _places(groups: list[Stack], layout: Layout, wide: float) -> Iterator[tuple[Stack, float, float]]:
    """Yield the left and right edge of each group of stacked bars: they share the width that is left."""
    at, spare = layout.bars, wide - layout.bars - sum(_least(group, layout.letters) for group in groups)
    for group in groups:
        right = at + _least(group, layout.letters) + max(spare, 0.0) / len(groups)
        left = right - LEAST_BAR - max(spare, 0.0) / len(groups)
        yield group, left, right
        at = right


def _row(
    ax: Axes, row: Mapping[str, Any], middle: float, height: float, layout: Layout, part: float, look: Look
) -> None:
    colour, letters = look.sides[row["side"]], layout.letters
    ax.add_patch(Rectangle((0.0, middle - 0.28 * height), 4.0, 0.56 * height, color=colour, linewidth=0))
    ax.text(MARK, middle, f"{row['side']}s", color=colour, fontsize=letters, weight="bold", va="center_baseline")
    for column, right in layout.columns:
        _write(ax, right, middle, column.write(row), look.ink, letters)
        if column.bar:
            corner = (right + 4, middle - 0.2 * height)
            ax.add_patch(Rectangle(corner, AMOUNT_BAR * part, 0.4 * height, color=colour, linewidth=0))


def _stacked(
    ax: Axes,
    parts: Sequence[float],
    left: float,
    width: float,
    middle: float,
    height: float,
    colours: Sequence[Any],
) -> None:
    for part, colour in zip(parts, colours, strict=True):
        if part > 0:
            corner = (left, middle - height / 2)
            ax.add_patch(Rectangle(corner, width * part, height, facecolor=colour, linewidth=0))
            left += width * part


def _share(row: Mapping[str, Any]) -> str:
    return amounts.percent(round(row["triggered"], 2))


def _head(ax: Axes, at: float, top: float, title: str, letters: float, look: Look, side: str) -> None:
    size = letters * theme.SMALL / theme.TEXT
    ax.text(at, top + 3, title, color=look.muted, fontsize=size, ha=side, va="bottom", linespacing=1.1)


def _key(ax: Axes, top: float, group: Stack, letters: float, look: Look) -> None:
    """Name the shades of stacked bars in one line below the table."""
    size = letters * theme.SMALL / theme.TEXT
    patches = [Patch(facecolor=colour, linewidth=0) for colour in group.colours]
    legend = Legend(
        ax, patches, group.names, loc="center left", bbox_to_anchor=(text_width("leverage", size) + GAP, top),
        bbox_transform=ax.transData, ncols=len(group.names), frameon=False, fontsize=size, handlelength=1.1,
        handleheight=0.8, handletextpad=0.5, columnspacing=1.4, borderpad=0, borderaxespad=0, labelcolor=look.ink,
    )  # fmt: skip
    ax.add_artist(legend)
    ax.text(0.0, top, group.name, color=look.muted, fontsize=size, va="center")


def _write(ax: Axes, at: float, middle: float, text: str, colour: str, size: float) -> None:
    ax.text(at, middle, text, color=colour, fontsize=size, va="center_baseline", ha="right")
