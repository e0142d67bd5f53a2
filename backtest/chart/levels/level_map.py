"""Liquidation map: open liquidation levels around the price at one time, by distance and leverage.

Stacked bars show the open notional of each bin, stronger for higher leverage. Lines show the cumulative notional
between the price and each distance: all that a move so far would trigger. Both lines are zero at the price; levels
of longs lie below it, those of shorts above.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from backtest.amounts import plain, significant
from backtest.chart.levels.map_labels import bins_of, name_largest
from backtest.chart.levels.profiles import root_scale
from backtest.chart.levels.units import Unit
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, leverage_shades, recolour
from backtest.chart.style.words import aside, below, label, make_room, text_width
from backtest.study.levels.level_maps import LevelMap

#: Points above the highest bar and line, for the mark price and the names of the sides.
ROOM = 30.0

#: Height of a line of the mark's label, in points.
LABEL = 14.0

#: Share of a side from which one bin flattens the others: heights are then roots.
LOPSIDED = 0.5

#: Part of its bin that a bar is wide.
FILLED = 0.86


def liquidation_map(
    found: LevelMap,
    ax: Axes,
    *,
    currency: str | None = "USDT",
    price_unit: str = "",
    maximum: float | None = None,
    cumulative_maximum: float | None = None,
    prices: tuple[float, float] | None = None,
    name: str = "",
    root: bool | None = None,
    look: Look = LIGHT,
) -> Axes:
    """Draw a liquidation map: bars on the left axis, cumulative lines on the right one, the largest bins labelled.

    Where one bin holds over half of its side the heights of bars are roots, which the axis says.

    Parameters
    ----------
    currency : of notional; None: shares of all levels shown
    maximum, cumulative_maximum : settlement currency, largest amounts of the two axes; maps with the same ones
        compare
    prices : ends of the price axis; None: those of the map
    name : of the map, beside the mark price
    root : whether heights of bars are roots of amounts; None: where one bin holds over half of its side or of all

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
    theme.dress(ax, "")
    edges = found.cumulative["price"].to_numpy()
    low, high = prices or (edges[0], edges[-1])
    ax.set_xlim(low, high)
    highest, unit = _highest(found.bars), Unit("notional", currency, float(found.bars["notional"].sum()) or 1.0)
    is_root = is_lopsided(found) if root is None else root
    if is_root:
        root_scale(ax, "y")
    ax.set_ylim(0, maximum or highest or 1.0)
    words = _mark_words(found, ax, name)
    room = ROOM * (1 + words.count("\n") / 2)
    make_room(ax, above=room)
    theme.amount_axis(ax, unit.write, one=unit.one)
    if is_root:
        ticks = root_ticks((maximum or highest) / unit.one, theme.height(ax))
        ax.yaxis.set_major_locator(FixedLocator([unit.one * tick for tick in ticks]))
    widest = max(text_width(plain(edge)) for edge in MaxNLocator(5).tick_values(low, high))
    ax.xaxis.set_major_locator(MaxNLocator(max(1, int(theme.width(ax) / (widest + 14))), steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    below(ax, f"mark price{_unit(price_unit)}", pad=2)
    recolour(ax, look)
    ax.grid(visible=False, axis="x")
    _legend(found, ax, look)
    scale = ", root scale" if is_root else ""
    open_now = "levels, % of those shown," if currency is None else unit.name
    aside(ax, f"open {open_now} per {plain(found.width)} of price{scale}", color=look.muted)
    twin = _cumulative(found, ax, unit, cumulative_maximum, room, look)
    _price(found, ax, words, look)
    name_largest(found, ax, twin, unit, room, look)
    if not highest:
        for each in (ax, twin):
            each.set_yticks([])
        twin.text(
            0.5, 0.5, "no open levels within reach", transform=ax.transAxes, ha="center", color=look.muted,
            bbox={"facecolor": look.paper, "edgecolor": "none"}, fontsize=theme.TEXT, zorder=6,
        )  # fmt: skip
    return ax


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


def _cumulative(found: LevelMap, ax: Axes, unit: Unit, maximum: float | None, room: float, look: Look) -> Axes:
    twin = ax.twinx()
    prices = found.cumulative["price"].to_numpy()
    twin.set_ylim(0, maximum or highest_of(found)[1] or 1.0)
    make_room(twin, above=room)
    for side, at, toward in (("long", 0, 1), ("short", -1, -1)):
        amounts, colour = found.cumulative[side].to_numpy(), look.sides[side]
        ahead = prices <= found.mark_price if side == "long" else prices >= found.mark_price
        twin.fill_between(prices[ahead], amounts[ahead], color=colour, alpha=0.07, linewidth=0, zorder=1)
        twin.plot(prices[ahead], amounts[ahead], color=colour, linewidth=1.8, zorder=3, gid=side)
        words = f"{side}s {unit.write(float(amounts[at]))}"
        label(twin, words, (prices[at], amounts[at]), toward=toward, color=colour, weight="bold", paper=look.paper)
    for spine in twin.spines.values():
        spine.set_visible(False)
    theme.amount_axis(twin, lambda value: unit.write(value) if value else "", one=unit.one)
    twin.tick_params(length=0, labelsize=theme.TEXT, labelcolor=look.muted)
    aside(twin, "cumulative from the price", color=look.muted)
    return twin


def is_lopsided(found: LevelMap) -> bool:
    """Return whether one of several bins holds over half of its side, or of the map."""
    bins = bins_of(found)
    return any(
        own.height > 1 and float(own["notional"].max() or 0.0) > LOPSIDED * float(own["notional"].sum())  # type: ignore[arg-type]
        for own in (bins, *bins.partition_by("side"))
    )


def root_ticks(top: float, height: float) -> list[float]:
    """Return zero and round amounts up to a top, whose labels fit into so many points of a root scale."""
    kept: list[float] = []
    last = np.inf
    for power in range(4):
        for figure in (5.0, 2.0, 1.0):
            amount = figure * 10.0 ** (np.floor(np.log10(max(top, 1e-300))) - power)
            place = np.sqrt(amount / top) * height if top else 0.0
            if amount <= top and last - place >= 2.3 * theme.TEXT <= place:
                kept.append(float(amount))
                last = place
    return [0.0, *reversed(kept)]


def _mark_words(found: LevelMap, ax: Axes, name: str) -> str:
    """Return the mark price with the name of its map, in two lines where one is too long."""
    words = f"mark {significant(found.mark_price, 5)}{f', {name}' if name else ''}"
    return words if text_width(words, weight="bold") <= theme.width(ax) else words.replace(", ", "\n", 1)


def _price(found: LevelMap, ax: Axes, words: str, look: Look) -> None:
    """Mark the price; its label takes the top lines of the axes, which nothing else reaches."""
    below_label = 1 - LABEL * (1 + words.count("\n")) / theme.height(ax)
    ax.axvline(
        found.mark_price, ymax=below_label, color=look.ink, linewidth=1.1, linestyle=(0, (4, 3)), zorder=4,
        gid="price",
    )  # fmt: skip
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
