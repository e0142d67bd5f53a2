"""Figures of liquidation levels: a heatmap with its profile, several heatmaps on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from backtest import amounts
from backtest.chart.levels.heatmaps import Scale, colour_bar, fullest, heatmap, norm_of, nothing_open, scale_of
from backtest.chart.levels.marks import bubbles, candles, mark_line, price_tag
from backtest.chart.levels.profiles import profile
from backtest.chart.levels.totals import level_totals
from backtest.chart.levels.units import whole_of
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, is_upright, recolour_figure
from backtest.chart.style.words import fit_labels, names_above, titled
from backtest.errors import ArgumentError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked
from backtest.study.levels.levels import Levels

#: Part of the width that a profile beside a heatmap has.
PROFILE = 0.19

#: Height of a panel of totals over that of the heatmap above it.
BELOW = 0.3

#: Inches: colour bar, its amounts and its label, gaps between panels, below a row of panels.
COLOURS, AMOUNTS, LABEL, BETWEEN, ROW = 0.13, 0.57, 0.4, 0.12, 0.28

#: Inches left of each of several panels, for prices, beyond those left of the first.
PRICES = 0.62

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
    events: pl.DataFrame | None = None,
    price: Literal["line", "candles"] = "line",
    totals: bool = False,
    scale: Scale = "auto",
    maximum: float | None = None,
    threshold: float = 0.0,
    currency: str | None = "USDT",
    price_unit: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
    timezone: str = "UTC",
) -> Figure:
    """Return the figure of one symbol: heatmap and mark price, profile of the open levels at its end, footer.

    Parameters
    ----------
    levels, scale, maximum, threshold : as in ``heatmap``
    bars : ``time, open, high, low, close`` of one symbol; best those of the map's columns, as
        ``study.levels.column_bars`` returns them
    title, subtitle : subject and finding
    clusters : at the end of the window, labelled beside the profile
    events : recorded liquidations, as ``bubbles`` takes them
    price : how the mark is drawn
    totals : whether a panel below shows what is open at all prices through time, by side
    currency : of notional; levels by quantity are in base; None: shares of what is open at the end
    notes : for the footer: venue, tiers, population, gaps, a caption

    Examples
    --------
    >>> from backtest.chart.levels import level_heatmap
    >>> from backtest.study.levels import column_bars
    >>> figure = level_heatmap(open_levels, column_bars(market, grid), title="BTCUSDT", price_unit="USDT")
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Mark price (USDT) over open liquidation levels, log scale', 'Open now', '']
    """
    figure = new_figure(size.inches, dpi=size.dpi, paper=look.paper)
    heights = (1.0, BELOW) if totals else (1.0,)
    frame, *below = theme.stacked_panels(
        figure, heights=heights, title=title, subtitle=subtitle, notes=notes, shared=False
    )
    prices = shown_prices(levels, bars)
    main, side = heat_panels(
        frame, levels, prices, scale=scale, maximum=maximum, threshold=threshold, currency=currency,
        price_unit=price_unit, look=look, timezone=timezone,
    )  # fmt: skip
    (mark_line if price == "line" else candles)(bars, main, look=look)
    if events is not None:
        _recorded(events, main, currency, look)
    mark = float(bars["close"][-1])
    price_tag(main, mark, look=look)
    fit_labels(main)
    profile(levels, side, price=mark, prices=prices, clusters=clusters, currency=currency, look=look)
    for ax in below:
        place, own = main.get_position(), ax.get_position()
        ax.set_position((place.x0, own.y0, place.width, own.height))
        level_totals(levels, ax, currency=currency, look=look, timezone=timezone)
        main.tick_params(labelbottom=False)
    return recolour_figure(figure, look)


def _recorded(events: pl.DataFrame, main: Axes, currency: str | None, look: Look) -> None:
    """Draw recorded liquidations, and say above the heatmap how much the largest bubble is."""
    found = bubbles(events, main, look=look)
    if not found.is_empty():
        most = amounts.amount(float(found["notional"].max()), currency or "USDT")  # type: ignore[arg-type]
        names_above(main, [(f"recorded liquidations, up to {most}", look.ink)])


def heat_panels(
    frame: Axes,
    levels: Levels,
    prices: tuple[float, float],
    *,
    scale: Scale,
    maximum: float | None,
    currency: str | None,
    price_unit: str,
    look: Look,
    timezone: str,
    threshold: float = 0.0,
) -> tuple[Axes, Axes]:
    """Draw a heatmap and its colour bar into a frame, and return its axes and empty ones for a profile."""
    figure, wide = frame.figure, PROFILE * frame.get_position().width
    (main,), colours = _divided([frame], 1)
    place, gap = main.get_position(), BETWEEN / figure.get_size_inches()[0]  # type: ignore[union-attr]
    main.set_position((place.x0, place.y0, place.width - wide - gap, place.height))
    side = figure.add_axes((place.x1 - wide, place.y0, wide, place.height))
    heatmap(levels, main, scale=scale, maximum=maximum, threshold=threshold, look=look, timezone=timezone)
    main.set_ylim(*prices)
    fit_labels(main)
    unit = f" ({price_unit})" if price_unit else ""
    logarithmic = ", log scale" if levels.grid.logarithmic else ""
    titled(main, f"Mark price{unit} over open liquidation levels{logarithmic}", color=look.muted)
    width = bin_words(levels, price_unit)
    if fullest(main):
        colour_bar(figure.add_axes(colours), main, currency=currency, width=width, look=look)
    else:
        nothing_open(main, look)
    return main, side


@checked
def small_multiples(
    panels: Sequence[Panel],
    *,
    title: str,
    subtitle: str = "",
    across: int | None = None,
    scale: Scale = "auto",
    maximum: float | None = None,
    threshold: float = 0.0,
    currency: str | None = "USDT",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
    timezone: str = "UTC",
) -> Figure:
    """Return several heatmaps on one colour scale: symbols, venues or policies, and their sum.

    Parameters
    ----------
    across : panels in a row; None: a number that keeps panels wide rather than high
    maximum : top of the colour scale; None: the 99.5 % quantile of all non-empty cells
    threshold : as in ``heatmap``
    currency : of notional; levels by quantity are in base; None: shares of the most that a panel holds at the end

    Examples
    --------
    >>> from backtest.chart.levels import Panel, small_multiples
    >>> from backtest.study.levels import column_bars
    >>> panel = Panel("BTCUSDT", open_levels, [column_bars(market, grid)])
    >>> figure = small_multiples([panel, panel], title="The same levels twice")
    >>> len(figure.axes)
    3
    """
    figure = new_figure(size.inches, dpi=size.dpi, paper=look.paper)
    square = len(panels) if len(panels) <= 2 else int(np.ceil(np.sqrt(len(panels))))
    columns = across or (1 if is_upright(size) else square)
    rows = -(-len(panels) // columns)
    frame = theme.stacked_panels(figure, heights=(1.0,) * rows, title=title, subtitle=subtitle, notes=notes)
    norm = norm_of(np.concatenate([each.levels.amounts().ravel() for each in panels]), scale, maximum)
    axes, colours = _divided(frame, columns)
    for panel, ax in zip(panels, axes, strict=False):
        heatmap(
            panel.levels,
            ax,
            scale=scale_of(norm),
            maximum=norm.vmax,
            threshold=threshold,
            look=look,
            timezone=timezone,
        )
        titled(ax, panel.title, color=look.ink, size=theme.TEXT + 1, weight="bold")
        for bars in panel.bars:
            mark_line(bars, ax, look=look, wicks=len(panel.bars) == 1)
        if panel.bars:
            spans = [shown_prices(panel.levels, bars) for bars in panel.bars]
            ax.set_ylim(min(low for low, _ in spans), max(high for _, high in spans))
        fit_labels(ax, PRICES * 72)
    for ax in axes[len(panels) :]:
        ax.remove()
    fullest_of_all = max(axes[: len(panels)], key=fullest)
    whole = max((whole_of(panel.levels) for panel in panels), default=1.0)
    if fullest(fullest_of_all):
        bar = figure.add_axes(colours)
        colour_bar(bar, fullest_of_all, currency=currency, width="bin", whole=whole, look=look)
    else:
        nothing_open(fullest_of_all, look)
    return recolour_figure(figure, look)


@checked
def shown_prices(levels: Levels, bars: pl.DataFrame) -> tuple[float, float]:
    """Return the price range to show: that of the mark, and of 98.5 % of the open notional."""
    edges = levels.grid.price_edges
    held = levels.amounts().sum(axis=1)
    low, high = (float(value) for value in (bars["low"].min(), bars["high"].max()))  # type: ignore[arg-type]
    total = held.sum()
    if total > 0:
        shares = np.cumsum(held) / total
        low = min(low, float(edges[np.searchsorted(shares, 1 - SHOWN)]))
        high = max(high, float(edges[min(int(np.searchsorted(shares, SHOWN)) + 1, edges.size - 1)]))
    if not low < high:
        return _around(low, edges)
    margin = (high / low) ** 0.03
    ends = low / margin, high * margin
    of_mark = float(bars["low"].min()) / margin, float(bars["high"].max()) * margin  # type: ignore[arg-type]
    return max(ends[0], min(float(edges[0]), of_mark[0])), min(ends[1], max(float(edges[-1]), of_mark[1]))


def _around(price: float, edges: Floats) -> tuple[float, float]:
    """Return the bins where they hold a price that never moved, else a little around it."""
    if edges[0] <= price <= edges[-1]:
        return float(edges[0]), float(edges[-1])
    return 0.9 * price, 1.1 * price


def bin_words(levels: Levels, unit: str = "") -> str:
    """Return the width of a bin: 0.25 %, or 100 USDT."""
    if levels.grid.logarithmic:
        return levels.grid.width.replace("%", " %")
    return f"{levels.grid.width} {unit}".rstrip()


def _divided(frame: Sequence[Axes], columns: int) -> tuple[list[Axes], tuple[float, float, float, float]]:
    """Replace each of several stacked axes by a row of axes, and return them and the place of the colour bar."""
    figure: Figure = frame[0].figure  # type: ignore[assignment]
    width, height = figure.get_size_inches()
    top, bottom = frame[0].get_position(), frame[-1].get_position()
    right = bottom.x1 + (0.05 - AMOUNTS - COLOURS) / width
    wide = (right - LABEL / width - bottom.x0 - PRICES / width * (columns - 1)) / columns
    if wide <= 0 or min(row.get_position().height for row in frame) * height <= ROW:
        panels, inches = f"{len(frame)} x {columns}", f"{width:g} x {height:g}"
        raise ArgumentError(f"{panels} panels have no room in a figure of {inches} inches")
    axes: list[Axes] = []
    for row in frame:
        place, below = row.get_position(), 0.0 if row is frame[-1] else ROW / height
        row.remove()
        for column in range(columns):
            left = place.x0 + (wide + PRICES / width) * column
            axes.append(figure.add_axes((left, place.y0 + below, wide, place.height - below)))
    return axes, (right, bottom.y0, COLOURS / width, top.y1 - bottom.y0)


__all__ = ["Panel", "bin_words", "heat_panels", "level_heatmap", "shown_prices", "small_multiples"]
