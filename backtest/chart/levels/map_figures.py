"""Figures of liquidation maps: one, and two of different moments on the same axes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from backtest.amounts import moment
from backtest.chart.levels.level_map import highest_of, is_lopsided, liquidation_map
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size, recolour_figure
from backtest.chart.style.time_axis import zone_of
from backtest.schemas.arguments import checked
from backtest.study.levels.level_maps import LevelMap

#: Inches: margins of a map for its two axes, and above for the key.
AT_LEFT, BOTH_SIDES, ABOVE = 0.08, 0.62, 0.1


@checked
def map_figure(
    found: LevelMap,
    *,
    title: str,
    subtitle: str = "",
    currency: str | None = "USDT",
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
    ['open notional per 200 of price, root scale', 'cumulative from the price']
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
    currency: str | None = "USDT",
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
    root = is_lopsided(before) or is_lopsided(after)
    for ax, found, name in zip(axes, (before, after), names, strict=True):
        liquidation_map(
            found, ax, currency=currency, price_unit=price_unit, maximum=top, cumulative_maximum=cumulative,
            prices=(low, high), name=name, root=root, look=look,
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
