"""Figures of liquidation levels: heatmap with profile, maps, several heatmaps on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from backtest.amounts import moment
from backtest.chart.levels.heatmaps import Scale, colour_bar, fullest, heatmap, mark_line, norm_of, scale_of
from backtest.chart.levels.level_map import highest_of, liquidation_map
from backtest.chart.levels.profiles import profile
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, recolour_figure
from backtest.schemas.arguments import checked
from backtest.study.levels.level_maps import LevelMap
from backtest.study.levels.levels import Levels

#: Part of the width that a profile beside a heatmap has.
PROFILE = 0.19

#: Inches: colour bar and its labels, gap between heatmap and profile, margins of a map for its two axes.
COLOURS, COLOUR_WORDS, BETWEEN = 0.13, 0.62, 0.12
AT_LEFT, BOTH_SIDES, ABOVE = 0.08, 0.62, 0.1

#: The price axis spans this share of the open notional in the window, and the range of the mark.
SHOWN = 0.985


class Panel(NamedTuple):
    """One of several heatmaps."""

    title: str
    levels: Levels
    bars: Sequence[pl.DataFrame]  #: mark prices, ``time, high, low, close`` each; several for a sum of symbols


@checked
def level_heatmap(
    levels: Levels,
    bars: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    clusters: pl.DataFrame | None = None,
    scale: Scale = "auto",
    maximum: float | None = None,
    currency: str = "USDT",
    price_unit: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return the figure of one symbol: heatmap and mark price, profile of the open levels at its end, footer.

    Parameters
    ----------
    levels, scale, maximum : as in ``heatmap``
    bars : ``time, high, low, close`` of one symbol; best those of the map's columns (``study.levels.column_bars``)
    title, subtitle : subject and finding
    clusters : at the end of the window, labelled beside the profile
    notes : for the footer: venue, tiers, population, gaps, a caption

    Examples
    --------
    >>> from backtest.chart.levels import level_heatmap
    >>> from backtest.study.levels import column_bars
    >>> figure = level_heatmap(open_levels, column_bars(market, grid), title="BTCUSDT", price_unit="USDT")
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Mark price (USDT) over open liquidation levels', 'Open now', '']
    """
    figure = _figure(size, look)
    (main,) = theme.stacked_panels(figure, heights=(1.0,), title=title, subtitle=subtitle, notes=notes)
    side, colours = beside(main)
    heatmap(levels, main, scale=scale, maximum=maximum, look=look)
    main.set_title(_heading(price_unit), loc="left", color=look.muted, fontsize=theme.TEXT, pad=5)
    mark_line(bars, main, look=look)
    prices = shown_prices(levels, bars)
    main.set_ylim(*prices)
    mark = float(bars["close"][-1])
    profile(levels, side, price=mark, prices=prices, clusters=clusters, currency=currency, look=look)
    colour_bar(colours, main, currency=currency, width=bin_words(levels, price_unit), look=look)
    return recolour_figure(figure, look)


def map_figure(
    found: LevelMap,
    *,
    title: str,
    subtitle: str = "",
    currency: str = "USDT",
    price_unit: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return the figure of one liquidation map.

    Examples
    --------
    >>> import backtest
    >>> from backtest.chart.levels import map_figure
    >>> from backtest.study.levels import level_map
    >>> unfunded = backtest.sweep(book, market.without_funding(), venue)
    >>> figure = map_figure(level_map(unfunded, market, "BTCUSDT", noon), title="BTCUSDT at noon")
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['open notional per 161 of price', 'cumulative from the price']
    """
    figure = _figure(size, look)
    (ax,) = theme.stacked_panels(figure, heights=(1.0,), title=title, subtitle=subtitle, notes=notes)
    _narrow(ax, size)
    liquidation_map(found, ax, currency=currency, price_unit=price_unit, look=look)
    return recolour_figure(figure, look)


def before_after(
    before: LevelMap,
    after: LevelMap,
    *,
    title: str,
    subtitle: str = "",
    names: tuple[str, str] | None = None,
    currency: str = "USDT",
    price_unit: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return two liquidation maps one above the other, on the same axes of price and amount.

    Parameters
    ----------
    before, after : of one symbol
    names : of the two; None: their times

    Examples
    --------
    >>> import backtest
    >>> from backtest.chart.levels import before_after
    >>> from backtest.study.levels import level_map
    >>> unfunded = backtest.sweep(book, market.without_funding(), venue)
    >>> before, after = (level_map(unfunded, market, "BTCUSDT", noon + timedelta(days=days)) for days in (-1, 1))
    >>> figure = before_after(before, after, title="The fall of 19 May")
    >>> figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    True
    """
    figure = _figure(size, look)
    axes = theme.stacked_panels(figure, heights=(1.0, 1.0), title=title, subtitle=subtitle, notes=notes)
    tops = [max(pair) * 1.12 or 1.0 for pair in zip(highest_of(before), highest_of(after), strict=True)]
    prices = [found.cumulative["price"] for found in (before, after)]
    low, high = min(float(each[0]) for each in prices), max(float(each[-1]) for each in prices)
    headings = names or tuple(moment(found.moment) for found in (before, after))
    for ax, found, name in zip(axes, (before, after), headings, strict=True):
        _narrow(ax, size)
        liquidation_map(
            found,
            ax,
            currency=currency,
            price_unit=price_unit,
            maximum=tops[0],
            cumulative_maximum=tops[1],
            look=look,
        )
        ax.set_xlim(low, high)
        ax.annotate(
            name, (1.0, 1.0), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points", ha="right",
            fontsize=theme.TEXT + 1, weight="bold", color=look.ink,
        )  # fmt: skip
    axes[0].set_xlabel("")
    legend = axes[1].get_legend()
    if legend is not None:
        legend.remove()
    return recolour_figure(figure, look)


def small_multiples(
    panels: Sequence[Panel],
    *,
    title: str,
    subtitle: str = "",
    across: int | None = None,
    scale: Scale = "auto",
    maximum: float | None = None,
    currency: str = "USDT",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
) -> Figure:
    """Return several heatmaps on one colour scale: symbols, venues or policies, and their sum.

    Parameters
    ----------
    across : panels in a row; None: a number that keeps panels wide rather than high
    maximum : top of the colour scale; None: the 99.5 % quantile of all non-empty cells

    Examples
    --------
    >>> from backtest.chart.levels import Panel, small_multiples
    >>> from backtest.study.levels import column_bars
    >>> panel = Panel("BTCUSDT", open_levels, [column_bars(market, grid)])
    >>> figure = small_multiples([panel, panel], title="The same levels twice")
    >>> len(figure.axes)
    3
    """
    figure = _figure(size, look)
    columns = across or (len(panels) if len(panels) <= 2 else int(np.ceil(np.sqrt(len(panels)))))
    rows = -(-len(panels) // columns)
    frame = theme.stacked_panels(figure, heights=(1.0,) * rows, title=title, subtitle=subtitle, notes=notes)
    everything = np.concatenate([each.levels.amounts().ravel() for each in panels])
    norm = norm_of(everything, scale, maximum)
    colours = figure.add_axes(_colour_place(frame, size))
    axes = _divided(figure, frame, columns, size)
    for panel, ax in zip(panels, axes, strict=False):
        heatmap(panel.levels, ax, scale=scale_of(norm), maximum=norm.vmax, look=look)
        ax.set_title(
            panel.title, loc="left", color=look.ink, fontsize=theme.TEXT + 1, pad=5, weight="bold"
        ).set_parse_math(False)
        for bars in panel.bars:
            mark_line(bars, ax, look=look, wicks=len(panel.bars) == 1)
        if panel.bars:
            spans = [shown_prices(panel.levels, bars) for bars in panel.bars]
            ax.set_ylim(min(low for low, _ in spans), max(high for _, high in spans))
    for ax in axes[len(panels) :]:
        ax.remove()
    colour_bar(colours, max(axes[: len(panels)], key=fullest), currency=currency, width="bin", look=look)
    return recolour_figure(figure, look)


@checked
def shown_prices(levels: Levels, bars: pl.DataFrame) -> tuple[float, float]:
    """Return the price range to show: the range of the mark and 98.5 % of the open notional."""
    edges = levels.grid.price_edges
    amounts = levels.amounts().sum(axis=1)
    low, high = (float(value) for value in (bars["low"].min(), bars["high"].max()))  # type: ignore[arg-type]
    total = amounts.sum()
    if total > 0:
        shares = np.cumsum(amounts) / total
        low = min(low, float(edges[np.searchsorted(shares, 1 - SHOWN)]))
        high = max(high, float(edges[min(int(np.searchsorted(shares, SHOWN)) + 1, edges.size - 1)]))
    if not low < high:
        return float(edges[0]), float(edges[-1])
    margin = (high / low) ** 0.03
    return max(low / margin, float(edges[0])), min(high * margin, float(edges[-1]))


def bin_words(levels: Levels, unit: str = "") -> str:
    """Return the width of a bin: 0.25 %, or 100 USDT."""
    if levels.grid.logarithmic:
        return levels.grid.width.replace("%", " %")
    return f"{levels.grid.width} {unit}".rstrip()


def _figure(size: Size, look: Look) -> Figure:
    return Figure(figsize=size.inches, dpi=size.dpi, facecolor=look.paper)


def _narrow(ax: Axes, size: Size) -> None:
    """Make room for the second axis of a map, and for the key above it."""
    place = ax.get_position()
    width, height = place.width - BOTH_SIDES / size.width, place.height - ABOVE / size.height
    ax.set_position((place.x0 + AT_LEFT / size.width, place.y0, width, height))


def _heading(unit: str) -> str:
    return f"Mark price{f' ({unit})' if unit else ''} over open liquidation levels"


def beside(main: Axes) -> tuple[Axes, Axes]:
    """Make room on the right of axes for a profile and a colour bar, and return both."""
    figure = main.figure
    width, _ = figure.get_size_inches()  # type: ignore[union-attr]
    place = main.get_position()
    colours = COLOURS / width
    right = place.x1 + 0.05 / width - (COLOUR_WORDS / width)
    left_of_colours = right - colours
    side_right = left_of_colours - (0.32 / width)
    side_width = PROFILE * place.width
    side_left = side_right - side_width
    main.set_position((place.x0, place.y0, side_left - BETWEEN / width - place.x0, place.height))
    side = figure.add_axes((side_left, place.y0, side_width, place.height))
    return side, figure.add_axes((left_of_colours, place.y0, colours, place.height))


def _colour_place(frame: Sequence[Axes], size: Size) -> tuple[float, float, float, float]:
    top, bottom = frame[0].get_position(), frame[-1].get_position()
    right = bottom.x1 + (0.05 - COLOUR_WORDS - COLOURS) / size.width
    return right, bottom.y0, COLOURS / size.width, top.y1 - bottom.y0


def _divided(figure: Figure, frame: Sequence[Axes], columns: int, size: Size) -> list[Axes]:
    """Replace each of several stacked axes by a row of axes."""
    gap, room = 0.62 / size.width, (COLOUR_WORDS + COLOURS + 0.4) / size.width
    axes: list[Axes] = []
    for row in frame:
        place = row.get_position()
        width = (place.width - room - gap * (columns - 1)) / columns
        below = 0.0 if row is frame[-1] else 0.28 / size.height
        row.remove()
        axes += [
            figure.add_axes((place.x0 + (width + gap) * n, place.y0 + below, width, place.height - below))
            for n in range(columns)
        ]
    return axes


__all__ = [
    "Panel",
    "before_after",
    "beside",
    "bin_words",
    "level_heatmap",
    "map_figure",
    "shown_prices",
    "small_multiples",
]
