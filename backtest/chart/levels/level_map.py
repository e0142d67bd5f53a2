"""Liquidation map: open liquidation levels around the price at one time, by distance and leverage.

Stacked bars show the open notional of each bin, stronger for higher leverage. Lines show the cumulative notional
between the price and each distance: all that a move so far would trigger. Both lines are zero at the price; levels
of longs lie below it, those of shorts above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from backtest.amounts import amount, moment, plain, significant
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, leverage_shades, recolour, recolour_figure
from backtest.chart.style.time_axis import zone_of
from backtest.chart.style.words import aside, below, label, make_room, text_width
from backtest.schemas.arguments import checked
from backtest.study.levels.level_maps import LevelMap

#: Inches: margins of a map for its two axes, and above for the key.
AT_LEFT, BOTH_SIDES, ABOVE = 0.08, 0.62, 0.1

#: Points above the highest bar and line, for the mark price and the names of the sides.
ROOM = 30.0

#: Part of its bin that a bar is wide.
FILLED = 0.86


def liquidation_map(
    found: LevelMap,
    ax: Axes,
    *,
    currency: str = "USDT",
    price_unit: str = "",
    maximum: float | None = None,
    cumulative_maximum: float | None = None,
    prices: tuple[float, float] | None = None,
    name: str = "",
    look: Look = LIGHT,
) -> Axes:
    """Draw a liquidation map: bars on the left axis, cumulative lines on the right one.

    Parameters
    ----------
    maximum, cumulative_maximum : settlement currency, largest amounts of the two axes; maps with the same ones
        compare
    prices : ends of the price axis; None: those of the map
    name : of the map, beside the mark price

    Examples
    --------
    >>> import backtest
    >>> from backtest.chart.levels import liquidation_map
    >>> from backtest.study.levels import level_map
    >>> unfunded = backtest.sweep(book, market.without_funding(), venue)
    >>> ax = liquidation_map(level_map(unfunded, market, "BTCUSDT", noon), ax, price_unit="USDT")
    >>> ax.get_xlabel(), ax.texts[0].get_text()
    ('mark price (USDT)', 'mark 38,710')
    """
    _stack(found, ax, look)
    width = found.cumulative["price"][1] - found.cumulative["price"][0]
    theme.dress(ax, "")
    edges = found.cumulative["price"].to_numpy()
    low, high = prices or (edges[0], edges[-1])
    ax.set_xlim(low, high)
    highest = _highest(found.bars)
    ax.set_ylim(0, maximum or highest or 1.0)
    words = _mark_words(found, ax, name)
    room = ROOM * (1 + words.count("\n") / 2)
    make_room(ax, above=room)
    theme.amount_axis(ax, lambda value: amount(value, currency))
    widest = max(text_width(plain(edge)) for edge in MaxNLocator(5).tick_values(low, high))
    ax.xaxis.set_major_locator(MaxNLocator(max(1, int(theme.width(ax) / (widest + 14))), steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    below(ax, f"mark price{_unit(price_unit)}", pad=2)
    recolour(ax, look)
    ax.grid(visible=False, axis="x")
    _legend(found, ax, look)
    aside(ax, f"open notional per {significant(width, 3)} of price", color=look.muted)
    twin = _cumulative(found, ax, currency, cumulative_maximum, room, look)
    _price(found, ax, words, look)
    if not highest:
        twin.text(0.5, 0.5, "no open levels within reach", transform=ax.transAxes, ha="center", color=look.muted)
    return ax


@checked
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
    figure, (ax,) = _frames(1, title, subtitle, notes, look, size)
    liquidation_map(found, ax, currency=currency, price_unit=price_unit, look=look)
    return recolour_figure(figure, look)


@checked
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
    timezone: str = "UTC",
) -> Figure:
    """Return two liquidation maps one above the other, on the same axes of price and amount.

    Parameters
    ----------
    before, after : of one symbol
    names : of the two; None: their times, in the time zone

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
    figure, axes = _frames(2, title, subtitle, notes, look, size)
    top, cumulative = (max(pair) or 1.0 for pair in zip(highest_of(before), highest_of(after), strict=True))
    prices = [found.cumulative["price"] for found in (before, after)]
    low, high = min(float(each[0]) for each in prices), max(float(each[-1]) for each in prices)
    zone = zone_of(timezone)
    names = names or (moment(before.moment.astimezone(zone)), moment(after.moment.astimezone(zone)))
    for ax, found, name in zip(axes, (before, after), names, strict=True):
        liquidation_map(
            found, ax, currency=currency, price_unit=price_unit, maximum=top, cumulative_maximum=cumulative,
            prices=(low, high), name=name, look=look,
        )  # fmt: skip
    axes[0].set_xlabel("")
    legend = axes[1].get_legend()
    if legend is not None:
        legend.remove()
    return recolour_figure(figure, look)


def _frames(
    count: int, title: str, subtitle: str, notes: Sequence[str], look: Look, size: Size
) -> tuple[Figure, list[Axes]]:
    """Return a figure and the axes of its maps, with room for their second axes and the key above."""
    figure = new_figure(size.inches, dpi=size.dpi, paper=look.paper)
    axes = theme.stacked_panels(figure, heights=(1.0,) * count, title=title, subtitle=subtitle, notes=notes)
    width, height = figure.get_size_inches()
    for ax in axes:
        place = ax.get_position()
        left, wide = place.x0 + AT_LEFT / width, place.width - BOTH_SIDES / width
        ax.set_position((left, place.y0, wide, place.height - ABOVE / height))
    return figure, axes


def highest_of(found: LevelMap) -> tuple[float, float]:
    """Return the highest bar and the highest cumulative amount, for axes that several maps share."""
    ends = found.cumulative.select(pl.max_horizontal(pl.max("long"), pl.max("short"))).item()
    return _highest(found.bars), float(ends)


def _stack(found: LevelMap, ax: Axes, look: Look) -> None:
    """Stack the bars of each leverage bucket on those of lower ones, one collection a bucket."""
    names = _leverages(found.bars)
    bottoms: dict[tuple[str, float], float] = {}
    for name, colour in zip(names, leverage_shades(look, len(names)), strict=True):
        corners = []
        for row in found.bars.filter(pl.col("leverage_bucket") == name).iter_rows(named=True):
            key = (row["side"], row["price_low"])
            low = bottoms.get(key, 0.0)
            bottoms[key] = high = low + row["notional"]
            middle, half = (
                (row["price_low"] + row["price_high"]) / 2,
                FILLED * (row["price_high"] - row["price_low"]) / 2,
            )
            corners.append(
                [(middle - half, low), (middle - half, high), (middle + half, high), (middle + half, low)]
            )
        bars = PolyCollection(corners, facecolors=colour, edgecolors="none", zorder=2)
        bars.set_gid(name)
        ax.add_collection(bars, autolim=False)


def _cumulative(found: LevelMap, ax: Axes, currency: str, maximum: float | None, room: float, look: Look) -> Axes:
    twin = ax.twinx()
    prices = found.cumulative["price"].to_numpy()
    twin.set_ylim(0, maximum or highest_of(found)[1] or 1.0)
    make_room(twin, above=room)
    for side, at, toward in (("long", 0, 1), ("short", -1, -1)):
        amounts, colour = found.cumulative[side].to_numpy(), look.sides[side]
        ahead = prices <= found.mark_price if side == "long" else prices >= found.mark_price
        twin.fill_between(prices[ahead], amounts[ahead], color=colour, alpha=0.07, linewidth=0, zorder=1)
        twin.plot(prices[ahead], amounts[ahead], color=colour, linewidth=1.8, zorder=3, gid=side)
        words = f"{side}s {amount(float(amounts[at]), currency)}"
        label(twin, words, (prices[at], amounts[at]), toward=toward, color=colour, weight="bold", paper=look.paper)
    for spine in twin.spines.values():
        spine.set_visible(False)
    theme.amount_axis(twin, lambda value: amount(value, currency) if value else "")
    twin.tick_params(length=0, labelsize=theme.TEXT, labelcolor=look.muted)
    aside(twin, "cumulative from the price", color=look.muted)
    return twin


def _mark_words(found: LevelMap, ax: Axes, name: str) -> str:
    """Return the mark price with the name of its map, in two lines where one is too long."""
    words = f"mark {significant(found.mark_price, 5)}{f', {name}' if name else ''}"
    return words if text_width(words, weight="bold") <= theme.width(ax) else words.replace(", ", "\n", 1)


def _price(found: LevelMap, ax: Axes, words: str, look: Look) -> None:
    """Mark the price; its label takes the top lines of the axes, which nothing else reaches."""
    ax.axvline(found.mark_price, color=look.ink, linewidth=1.1, linestyle=(0, (4, 3)), zorder=4, gid="price")
    label(
        ax, words, (found.mark_price, 1.0), up=-3.0, color=look.ink, weight="bold", paper=look.paper,
        coordinates=ax.get_xaxis_transform(),
    )  # fmt: skip


def _legend(found: LevelMap, ax: Axes, look: Look) -> None:
    names = _leverages(found.bars)
    patches = [
        Patch(color=colour, label=_short(name))
        for name, colour in zip(names, leverage_shades(look, len(names)), strict=True)
    ]
    legend = ax.legend(
        handles=patches,
        title="leverage",
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(len(names), 1),
        frameon=False,
        fontsize=theme.SMALL,
        title_fontsize=theme.SMALL,
        labelcolor=look.muted,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.4,
        columnspacing=1.1,
        borderaxespad=0.2,
        borderpad=0.1,
        alignment="left",
    )
    legend.get_title().set_color(look.muted)


def _leverages(bars: pl.DataFrame) -> list[str]:
    """Return the names of the leverage buckets, the low ones first."""
    names: Any = bars.schema["leverage_bucket"]
    return list(names.categories)


def _short(name: str) -> str:
    return name.replace("x to ", "\N{EN DASH}").replace("below ", "< ").replace(" and more", "+")


def _highest(bars: pl.DataFrame) -> float:
    sums = bars.group_by("side", "price_low").agg(pl.sum("notional"))["notional"]
    return float(sums.max() or 0.0)  # type: ignore[arg-type]


def _unit(unit: str) -> str:
    return f" ({unit})" if unit else ""
