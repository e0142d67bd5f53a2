"""Cascades: timeline, cumulative liquidations, distribution of sizes, liquidations by hour of day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from backtest.amounts import amount, currency_name, moment, percent
from backtest.chart.style import theme
from backtest.chart.style.time_axis import DAY, EPOCH, days, open_times, time_axis
from backtest.chart.style.words import label as write_label
from backtest.chart.style.words import names_above
from backtest.schemas.arguments import checked
from backtest.study.liquidations.tails import Tail

#: Square points: area of the smallest and the largest mark.
SMALLEST, LARGEST = 1.5, 150.0

#: Parts of the axes' height and width beyond the marks; the largest is labelled above.
HEADROOM, EDGE = 0.12, 0.01

#: Points, of the marks of sizes.
DOT = 3.0

#: Powers of ten labelled on a log axis at most; 2 and 5 times them too below this ratio of highest to lowest.
MOST_POWERS, NARROW = 7, 200.0

#: Part of an hour that its bar fills.
FILLED = 0.86

HOURS = range(24)

#: Width in points from which every third hour is labelled, below it every sixth.
WIDE = 320.0


@checked
def timeline(cascades: pl.DataFrame, ax: Axes, *, currency: str = "USDT") -> Axes:
    """Draw each cascade at its start and its notional, in the colour of its larger side.

    A line runs from start to end of each. The area of a mark grows with the square root of the notional, so that
    large cascades stand out.

    Parameters
    ----------
    cascades : as ``study.liquidations.cascades.find`` returns them
    currency : settlement currency of the notional

    Examples
    --------
    >>> from backtest.chart.liquidations import timeline
    >>> from backtest.study.liquidations import cascades
    >>> rule = cascades.GapRule(timedelta(hours=2), bar=timedelta(hours=1))
    >>> ax = timeline(cascades.find(cascades.pulses(outcomes), rule), ax)
    >>> ax.get_title(loc="left")
    'Notional of each cascade, $'
    """
    theme.dress(ax, f"Notional of each cascade, {currency_name(currency)}")
    theme.side_names(ax)
    if cascades.is_empty():
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no cascades", transform=ax.transAxes, ha="center", color=theme.MUTED)
        return ax
    start, end, largest = cascades.select(
        pl.col("start").min(), pl.col("end").max(), pl.col("notional").max()
    ).row(0)
    for side, its_own in (("long", pl.col("long_share") >= 0.5), ("short", pl.col("long_share") < 0.5)):
        spans, colour = cascades.filter(its_own), theme.SIDE_COLOURS[side]
        starts, ends, sizes = _days(spans["start"]), _days(spans["end"]), spans["notional"].to_numpy()
        areas = np.maximum(LARGEST * np.sqrt(sizes / largest), SMALLEST)
        ax.hlines(sizes, starts, ends, color=colour, linewidth=1.5, alpha=0.6)
        ax.scatter(starts, sizes, s=areas, color=colour, alpha=0.6, linewidth=0)
    ax.set_yscale("log")
    _log_axis(ax.yaxis, cascades["notional"].to_numpy(), partial(amount, currency=currency))
    edge = EDGE * (end - start)
    time_axis(ax, start - edge, end + edge)
    ax.margins(y=HEADROOM)
    heaviest = cascades.sort("notional", descending=True).row(0, named=True)
    _name(heaviest, ax, currency)
    return ax


@checked
def cumulative(totals: pl.DataFrame, ax: Axes, *, currency: str = "USDT") -> Axes:
    """Draw the cumulative liquidated notional of each side.

    Parameters
    ----------
    totals : as ``study.liquidations.cascades.running_totals`` returns them
    currency : settlement currency of the notional

    Examples
    --------
    >>> from backtest.chart.liquidations import cumulative
    >>> from backtest.study.liquidations import cascades, flow
    >>> hourly = flow.by_interval(outcomes, start=bars["time"][0], end=bars["time"][-1])
    >>> ax = cumulative(cascades.running_totals(hourly), ax)
    >>> [text.get_text() for text in ax.texts]
    ['longs $995 k', 'shorts $654 k']
    """
    starts, step = open_times(totals["time"])
    edges = np.append(starts, starts[-1] + step)
    ends = {side: totals[f"{side}_notional"].to_numpy() for side in theme.SIDE_COLOURS}
    for side, amounts in ends.items():
        ax.plot(edges, np.insert(amounts, 0, 0.0), color=theme.SIDE_COLOURS[side], linewidth=1.8)
    theme.dress(ax, f"Liquidated since the start, {currency_name(currency)}")
    theme.amount_axis(ax, partial(amount, currency=currency))
    ax.set_ylim(0, max(1.12 * max(amounts[-1] for amounts in ends.values()), 1e-9))
    time_axis(ax, _moment(edges[0]), _moment(edges[-1]))
    written = {side: f"{side}s {amount(amounts[-1], currency)}" for side, amounts in ends.items()}
    return names_above(ax, [(written[side], colour) for side, colour in theme.SIDE_COLOURS.items()])


@checked
def size_distribution(
    exceedance: pl.DataFrame,
    ax: Axes,
    *,
    tail: Tail | None = None,
    currency: str = "USDT",
    colour: str = theme.INK,
    label: str = "",
) -> Axes:
    """Draw the share of cascades at least as large as each size, both logarithmic, and the tail fitted to it.

    Parameters
    ----------
    exceedance : ``size, share`` as ``study.liquidations.tails.exceedance`` returns them
    tail : drawn as a line from its least size on, labelled with its exponent
    currency : settlement currency of the sizes
    colour, label : of the marks; call again with others to compare runs on one panel

    Examples
    --------
    >>> from backtest.chart.liquidations import size_distribution
    >>> from backtest.study.liquidations import tails
    >>> ax = size_distribution(tails.exceedance(pl.Series([1e4, 5e4, 2e5, 1e6])), ax)
    >>> ax.get_xlabel()
    'notional of a cascade, $'
    """
    sizes, shares = exceedance["size"].to_numpy(), exceedance["share"].to_numpy()
    ax.plot(sizes, shares, "o", color=colour, markersize=DOT, alpha=0.5, markeredgewidth=0, label=label)
    theme.dress(ax, "Share of cascades at least as large")
    ax.set_xscale("log")
    ax.set_yscale("log")
    _log_axis(ax.xaxis, exceedance["size"].to_numpy(), partial(amount, currency=currency))
    _log_axis(ax.yaxis, exceedance["share"].to_numpy(), percent)
    theme.below(ax, f"notional of a cascade, {currency_name(currency)}")
    if tail is not None:
        _draw_tail(tail, ax, largest=float(sizes[-1]), currency=currency, colour=colour, label=label)
    return ax


@checked
def by_hour(hours: pl.DataFrame, ax: Axes, *, currency: str = "USDT") -> Axes:
    """Draw the mean liquidated notional of each hour of the day: longs above zero, shorts below.

    Parameters
    ----------
    hours : as ``study.liquidations.cascades.by_hour_of_day`` returns them
    currency : settlement currency of the notional

    Examples
    --------
    >>> from backtest.chart.liquidations import by_hour
    >>> from backtest.study.liquidations import cascades, flow
    >>> hourly = flow.by_interval(outcomes, start=bars["time"][0], end=bars["time"][-1])
    >>> ax = by_hour(cascades.by_hour_of_day(hourly), ax)
    >>> ax.get_xlabel()
    'hour of day, UTC, mean of 17 days'
    """
    for side, sign in (("long", 1), ("short", -1)):
        heights = sign * hours[f"{side}_notional"].to_numpy()
        ax.bar(HOURS, heights, width=FILLED, align="edge", color=theme.SIDE_COLOURS[side])
    (days_seen,) = hours.select(pl.col("hours").max()).row(0)
    theme.dress(ax, f"Liquidated by hour of day, {currency_name(currency)}")
    theme.side_names(ax)
    theme.amount_axis(ax, partial(amount, currency=currency))
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    ax.set_xlim(0, len(HOURS))
    step = 3 if theme.width(ax) > WIDE else 6
    ax.xaxis.set_major_locator(FixedLocator(list(range(0, 25, step))))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda hour, _: f"{hour % 24:02.0f}:00"))
    theme.below(ax, f"hour of day, UTC, mean of {days_seen} days")
    return ax


def _name(row: dict[str, Any], ax: Axes, currency: str) -> None:
    """Label a cascade's mark: notional, time, larger side."""
    longs = row["long_share"]
    side, share = ("longs", longs) if longs >= 0.5 else ("shorts", 1 - longs)
    per_cent = 100 if share == 1 else min(round(100 * share), 99)
    written = f"{amount(row['notional'], currency)}, {moment(row['start'])}, {per_cent} % {side}"
    write_label(ax, written, (days(row["start"]), row["notional"]), up=LARGEST**0.5 / 2 + 1)


def _draw_tail(tail: Tail, ax: Axes, *, largest: float, currency: str, colour: str, label: str) -> None:
    """Draw the fitted line, and label it in the lower left corner, which no curve reaches, above other labels."""
    ends = np.array([tail.least_size, largest])
    ax.plot(ends, tail.exceedance(ends), color=colour, linewidth=1.4)
    exponent = f"tail exponent {tail.exponent:.2f} ± {tail.standard_error:.2f}"
    part = f"{tail.tail_count:,} of {tail.count:,} cascades, from {amount(tail.least_size, currency)} on"
    lines = [*([label] if label else []), exponent, part]
    corner, above = (0.02, 0.04), sum(text.get_text().count("\n") + 1.7 for text in ax.texts)
    look: dict[str, Any] = {"xycoords": "axes fraction", "ha": "left", "va": "bottom", "color": colour}
    _write(ax, "\n".join(lines), corner, offset=(0, 1.25 * theme.TEXT * above), **look)


def _write(ax: Axes, text: str, at: tuple[float, float], *, offset: tuple[float, float], **look: Any) -> None:
    look = {"ha": "right", "va": "bottom" if offset[1] >= 0 else "top", "color": theme.INK, **look}
    box = {"facecolor": theme.PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    ax.annotate(text, at, xytext=offset, textcoords="offset points", fontsize=theme.TEXT, bbox=box, **look)


def _log_axis(axis: Axis, values: Any, write: Callable[[float], str]) -> None:
    """Label a logarithmic axis at powers of ten; at 2 and 5 times them too if values span few."""
    narrow = values.max() / values.min() < NARROW
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=MOST_POWERS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def _days(times: pl.Series) -> Any:
    return open_times(times)[0]


def _moment(at: float) -> datetime:
    return EPOCH + at * DAY
