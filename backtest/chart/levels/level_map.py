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
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from backtest.amounts import amount, plain, significant
from backtest.chart.style import theme
from backtest.chart.style.looks import LIGHT, Look, recolour
from backtest.study.levels.level_maps import LevelMap

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
    look: Look = LIGHT,
) -> Axes:
    """Draw a liquidation map: bars on the left axis, cumulative lines on the right one.

    Parameters
    ----------
    maximum, cumulative_maximum : settlement currency, ends of the two axes; maps with the same ones compare

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
    ax.set_xlim(edges[0], edges[-1])
    highest = _highest(found.bars)
    ax.set_ylim(0, maximum or (highest * 1.12 if highest else 1.0))
    theme.amount_axis(ax, lambda value: amount(value, currency))
    ax.xaxis.set_major_locator(
        MaxNLocator(max(3, int(ax.bbox.width / ax.figure.dpi * 72 / 62)), steps=[1, 2, 2.5, 5, 10])
    )
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    ax.set_xlabel(f"mark price{_unit(price_unit)}", color=theme.MUTED, fontsize=theme.TEXT, labelpad=2)
    recolour(ax, look)
    ax.grid(visible=False, axis="x")
    _legend(found, ax, look)
    ax.set_ylabel(
        f"open notional per {significant(width, 3)} of price", color=look.muted, fontsize=theme.SMALL, labelpad=3
    )
    twin = _cumulative(found, ax, currency, cumulative_maximum, look)
    _price(found, ax, look)
    if not highest:
        twin.text(0.5, 0.5, "no open levels within reach", transform=ax.transAxes, ha="center", color=look.muted)
    return ax


def highest_of(found: LevelMap) -> tuple[float, float]:
    """Return the highest bar and the highest cumulative amount, for axes that several maps share."""
    ends = found.cumulative.select(pl.max_horizontal(pl.max("long"), pl.max("short"))).item()
    return _highest(found.bars), float(ends)


def _stack(found: LevelMap, ax: Axes, look: Look) -> None:
    """Stack the bars of each leverage bucket on those of lower ones, one collection a bucket."""
    names = _leverages(found.bars)
    bottoms: dict[tuple[str, float], float] = {}
    for name, colour in zip(names, _shades(look, len(names)), strict=True):
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


def _cumulative(found: LevelMap, ax: Axes, currency: str, maximum: float | None, look: Look) -> Axes:
    twin = ax.twinx()
    prices = found.cumulative["price"].to_numpy()
    top = maximum or highest_of(found)[1] * 1.12 or 1.0
    for side, at, align in (("long", 0, "left"), ("short", -1, "right")):
        amounts, colour = found.cumulative[side].to_numpy(), look.sides[side]
        ahead = prices <= found.mark_price if side == "long" else prices >= found.mark_price
        twin.fill_between(prices[ahead], amounts[ahead], color=colour, alpha=0.07, linewidth=0, zorder=1)
        twin.plot(prices[ahead], amounts[ahead], color=colour, linewidth=1.8, zorder=3, gid=side)
        twin.annotate(
            f"{side}s {amount(float(amounts[at]), currency)}",
            (prices[at], amounts[at]),
            xytext=(5 if align == "left" else -5, 5),
            textcoords="offset points",
            ha=align,
            fontsize=theme.TEXT,
            weight="bold",
            color=colour,
            path_effects=[withStroke(linewidth=2.4, foreground=look.paper, alpha=0.9)],
        )
    twin.set_ylim(0, top)
    for spine in twin.spines.values():
        spine.set_visible(False)
    twin.yaxis.set_major_locator(
        MaxNLocator(max(2, int(theme.height(ax) / (2.3 * theme.TEXT))), steps=[1, 2, 2.5, 5, 10])
    )
    twin.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, currency) if value else ""))
    twin.tick_params(length=0, labelsize=theme.TEXT, labelcolor=look.muted)
    twin.set_ylabel("cumulative from the price", color=look.muted, fontsize=theme.SMALL, labelpad=3)
    return twin


def _price(found: LevelMap, ax: Axes, look: Look) -> None:
    ax.axvline(found.mark_price, color=look.ink, linewidth=1.1, linestyle=(0, (4, 3)), zorder=4, gid="price")
    ax.annotate(
        f"mark {significant(found.mark_price, 5)}",
        (found.mark_price, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, -4),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=theme.TEXT,
        weight="bold",
        color=look.ink,
        zorder=6,
        bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.9, "pad": 1.5},
    )


def _legend(found: LevelMap, ax: Axes, look: Look) -> None:
    names = _leverages(found.bars)
    patches = [
        Patch(color=colour, label=_short(name))
        for name, colour in zip(names, _shades(look, len(names)), strict=True)
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


def _shades(look: Look, count: int) -> list[str]:
    places = np.linspace(0, len(look.leverages) - 1, max(count, 1)).round().astype(int)
    return [look.leverages[place] for place in places[:count]]


def _short(name: str) -> str:
    return name.replace("x to ", "\N{EN DASH}").replace("below ", "< ").replace(" and more", "+")


def _highest(bars: pl.DataFrame) -> float:
    sums = bars.group_by("side", "price_low").agg(pl.sum("notional"))["notional"]
    return float(sums.max() or 0.0)  # type: ignore[arg-type]


def _unit(unit: str) -> str:
    return f" ({unit})" if unit else ""
