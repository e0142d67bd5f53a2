"""Cascade figure: mark price, and below it the liquidations of each side through time.

Two panels on one time axis. Liquidations of longs are above zero, those of shorts below; intervals without
liquidations are background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from backtest import amounts
from backtest.chart.liquidations.quality import quality_strip, strip_height
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size
from backtest.chart.style.restyle import restyled
from backtest.chart.style.time_axis import DAY, EPOCH, days, open_times, time_axis, zone_of
from backtest.chart.style.words import fit_labels, label
from backtest.schemas.arguments import checked
from backtest.study.liquidations.flow import heaviest

Measure = Literal["notional", "share"]

#: Above this ratio of highest to lowest price the axis is logarithmic: equal distances are equal returns.
LOGARITHMIC_FROM = 4.0

#: The smaller side gets at least this part of the larger side's height.
LEAST_HEIGHT = 0.1

#: Points beyond the longest bar, for its label, and beyond the longest of the other side.
ROOM, LITTLE_ROOM = 20.0, 4.0


@checked
def mark_price(bars: pl.DataFrame, ax: Axes, *, unit: str = "") -> Axes:
    """Draw the mark price of one symbol: a line from open to close over the range of each bar.

    Parameters
    ----------
    bars : ``time, open, high, low, close`` of one symbol, in order of time; the line breaks where bars are missing
    unit : of the price
    """
    starts, step = open_times(bars["time"])
    after_gaps = np.flatnonzero(np.diff(starts) > 1.5 * step) + 1

    def path(first: Any, second: Any) -> Any:
        """Return the values at the two ends of every bar, broken where bars are missing."""
        return np.insert(np.stack([first, second], axis=1), after_gaps, np.nan, axis=0).ravel()

    opening, high, low, close = (bars[name].to_numpy() for name in ("open", "high", "low", "close"))
    times = path(starts, starts + step)
    ax.margins(y=0.08)
    ax.fill_between(times, path(low, low), path(high, high), color=theme.INK, alpha=0.25, linewidth=0.3)
    ax.plot(times, path(opening, close), color=theme.INK, linewidth=0.9, solid_joinstyle="round")
    theme.dress(ax, f"Mark price, {unit}" if unit else "Mark price")
    theme.price_axis(ax, logarithmic=high.max() > LOGARITHMIC_FROM * low.min() > 0)
    fit_labels(ax)
    return ax


@checked
def liquidations(flow: pl.DataFrame, ax: Axes, *, measure: Measure = "notional", currency: str = "USDT") -> Axes:
    """Draw the liquidations of each interval: longs above zero, shorts below.

    Parameters
    ----------
    flow : as ``study.liquidations.by_interval`` returns it
    measure : ``notional`` at the fill, or ``share`` of the book
    currency : settlement currency of the notional
    """
    starts, step = open_times(flow["time"])
    edges = np.append(starts, starts[-1] + step)
    longs, shorts = (flow[f"{side}_{measure}"].to_numpy() for side in theme.SIDE_COLOURS)
    for side, heights in (("long", longs), ("short", -shorts)):
        colour = theme.SIDE_COLOURS[side]
        # the edge keeps an hour visible where thousands of them share a pixel
        steps = StepPatch(heights, edges, fill=True, facecolor=colour, edgecolor=colour, linewidth=0.5)
        # not ax.stairs: it looks for the limits of every step in turn, 5.1 s for 56,000 hours against 0.01 s
        ax.add_artist(steps)
    ax.set_xlim(edges[0], edges[-1])
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    unit = "% of the book" if measure == "share" else amounts.currency_name(currency)
    theme.dress(ax, f"Liquidated {amounts.per_interval(step)}, {unit}")
    theme.side_names(ax)
    theme.amount_axis(ax, writer(measure, currency))
    if longs.any() or shorts.any():
        _set_heights(ax, longs.max(), shorts.max())
    else:
        ax.set_yticks([0])
        ax.text(0.5, 0.6, "no liquidations", transform=ax.transAxes, ha="center", color=theme.MUTED)
    return ax


@checked
def annotate_heaviest(
    flow: pl.DataFrame,
    ax: Axes,
    *,
    measure: Measure = "notional",
    currency: str = "USDT",
    timezone: str = "UTC",
) -> Axes:
    """Label the largest interval: amount, time, and larger side."""
    _, step = open_times(flow["time"])
    left, right = ax.get_xlim()
    above, below = (float(flow[f"{side}_{measure}"].to_numpy().max()) for side in theme.SIDE_COLOURS)
    for row in heaviest(flow, 1, measure).iter_rows(named=True):
        middle = days(row["time"]) + step / 2
        longs, shorts = row[f"long_{measure}"], row[f"short_{measure}"]
        upward, leftward = longs >= shorts, middle > (left + right) / 2
        written = (
            writer(measure, currency)(row[measure]),
            amounts.of_interval(row["time"].astimezone(zone_of(timezone)), step),
            _larger_side(longs, shorts),
        )
        point = middle, above if upward else -below
        label(ax, ", ".join(written), point, toward=-1 if leftward else 1, up=4 if upward else -4)
    return ax


@checked
def missing(gaps: pl.DataFrame, ax: Axes) -> Axes:
    """Shade the spans from ``start`` to ``end`` without bars."""
    for start, end in gaps.select("start", "end").iter_rows():
        ax.axvspan(days(start), days(end), color=theme.MISSING, linewidth=0, zorder=0)
    return ax


@checked
def cascade(
    flow: pl.DataFrame,
    bars: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    measure: Measure = "notional",
    currency: str = "USDT",
    price_unit: str = "",
    gaps: pl.DataFrame | None = None,
    quality: pl.DataFrame | None = None,
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
    timezone: str = "UTC",
) -> Figure:
    """Return the figure of one symbol: mark price above liquidations, with the largest interval labelled.

    Parameters
    ----------
    flow, bars, measure, currency : as in :func:`liquidations` and :func:`mark_price`
    title, subtitle : subject and finding
    price_unit : of the mark price
    gaps : ``start, end`` of spans without bars, to shade
    quality : as :func:`~backtest.chart.liquidations.quality.quality_strip` takes it, for a strip below
    notes : for the footer: venue, tiers, population, gaps, a caption
    look, size : by name, or your own
    timezone : of the time axis and of the label

    Examples
    --------
    >>> from backtest.chart.liquidations import cascade
    >>> from backtest.study.liquidations import flow
    >>> hourly = flow.by_interval(outcomes, start=bars["time"][0], end=bars["time"][-1])
    >>> figure = cascade(hourly, bars, title="BTCUSDT in May 2021", price_unit="USDT")
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Liquidated per hour, $', 'Mark price, USDT']
    """
    figure = new_figure(size.inches, dpi=size.dpi, paper=theme.PAPER)
    strip = 0.0 if quality is None else strip_height(quality)
    heights = (1.0, 1.0, strip) if strip else (1.0, 1.0)
    panels = theme.stacked_panels(figure, heights=heights, title=title, subtitle=subtitle, notes=notes)
    upper, lower = panels[:2]
    mark_price(bars, upper, unit=price_unit)
    liquidations(flow, lower, measure=measure, currency=currency)
    starts, step = open_times(flow["time"])
    start, end = EPOCH + starts[0] * DAY, EPOCH + (starts[-1] + step) * DAY
    if quality is not None and strip:
        quality_strip(quality, panels[-1], start=start, end=end)
    time_axis(panels[-1], start, end, timezone=timezone)
    annotate_heaviest(flow, lower, measure=measure, currency=currency, timezone=timezone)
    if gaps is not None:
        missing(gaps, upper)
        missing(gaps, lower)
    return restyled(figure, look)


def writer(measure: Measure, currency: str) -> Callable[[float], str]:
    """Return the function that writes a measure: per cent, or money."""
    return amounts.percent if measure == "share" else partial(amounts.amount, currency=currency)


def _set_heights(ax: Axes, longs: float, shorts: float) -> None:
    heavier = max(longs, shorts)
    above, below = (max(side, LEAST_HEIGHT * heavier) for side in (longs, shorts))
    room, little = (ROOM, LITTLE_ROOM) if longs >= shorts else (LITTLE_ROOM, ROOM)
    a_point = (above + below) / max(theme.height(ax) - room - little, 1.0)
    ax.set_ylim(-below - little * a_point, above + room * a_point)


def _larger_side(longs: float, shorts: float) -> str:
    """Return the larger side and its share."""
    name = "longs" if longs >= shorts else "shorts"
    share = 100 * max(longs, shorts) / (longs + shorts)
    return f"{'>99' if 99.5 <= share < 100 else f'{share:.0f}'} % {name}"
