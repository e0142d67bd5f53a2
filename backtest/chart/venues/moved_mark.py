"""Mark price moved by liquidations, against the history: prices, offset, liquidations executed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from backtest import amounts
from backtest.amounts import Share
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import LIGHT, SIZES, Look, Size
from backtest.chart.style.restyle import restyled
from backtest.chart.style.time_axis import open_times, time_axis
from backtest.chart.style.words import fit_labels, label, make_room, names_above
from backtest.schemas.arguments import checked

#: Most bars of executed liquidations, so that each can be seen.
MOST_BARS = 240

#: Points beyond the largest offset, for its label.
ROOM = 17.0

#: Names of the history and of the mark moved by liquidations.
NAMES = ("without liquidations", "with liquidations")

#: Lengths of such bars, in words and in seconds.
LENGTHS = {
    "1m": ("minute", 60),
    "5m": ("5 minutes", 300),
    "15m": ("15 minutes", 900),
    "30m": ("30 minutes", 1_800),
    "1h": ("hour", 3_600),
    "2h": ("2 hours", 7_200),
    "4h": ("4 hours", 14_400),
    "12h": ("12 hours", 43_200),
    "1d": ("day", 86_400),
    "7d": ("7 days", 604_800),
}


@checked
def moved_mark_figure(
    bars: pl.DataFrame,
    impact: pl.DataFrame,
    window: tuple[datetime, datetime],
    *,
    title: str,
    subtitle: str = "",
    unit: str = "",
    currency: str | Share = "USDT",
    names: tuple[str, str] = NAMES,
    facts: pl.DataFrame | None = None,
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
    timezone: str = "UTC",
) -> Figure:
    """Return prices, the offset of the mark, and liquidations executed, on one time axis.

    Parameters
    ----------
    bars, impact : as the panels take them, of one symbol
    window : first and last time shown
    title, subtitle, notes : as :func:`~backtest.chart.style.theme.stacked_panels` takes them
    unit : of prices
    names : of the history and of the moved mark
    facts : as ``impact``, liquidations executed in the history itself: one more panel
    look, size : by name, or your own
    timezone : of the time axis

    Examples
    --------
    >>> from backtest.chart.venues import moved_mark_figure
    >>> window = bars["time"][0], bars["time"][-1]
    >>> figure = moved_mark_figure(bars, replayed.impact, window, title="Liquidations move the mark")
    >>> figure.axes[1].get_title(loc="left"), figure.axes[0].get_title(loc="left")
    ('Mark price', 'Liquidations executed, $ per 2 hours')
    """
    found = new_figure(size.inches, dpi=size.dpi, paper=theme.PAPER)
    heights = [3, 1.4, 1.4] if facts is None else [3, 1.4, 1.2, 1.2]
    panels = theme.stacked_panels(found, heights=heights, title=title, subtitle=subtitle, notes=notes)
    history_and_mark(bars, impact, panels[0], unit=unit, names=names)
    offset(impact, panels[1], mark=names[1])
    every = length_of(window)
    if facts is not None:
        executed(facts, panels[2], currency=currency, every=every, where=" in fact")
    where = "" if facts is None else f" {names[1]}"
    executed(impact, panels[-1], currency=currency, every=every, where=where)
    time_axis(panels[-1], *window, timezone=timezone)
    return restyled(found, look)


def length_of(window: tuple[datetime, datetime]) -> str:
    """Return the shortest length of bars that covers a window with ``MOST_BARS`` at most, as polars writes it."""
    shortest = (window[1] - window[0]) / timedelta(seconds=1) / MOST_BARS
    return next((name for name, (_, seconds) in LENGTHS.items() if seconds >= shortest), "7d")


@checked
def history_and_mark(
    bars: pl.DataFrame, impact: pl.DataFrame, ax: Axes, *, unit: str = "", names: tuple[str, str] = NAMES
) -> Axes:
    """Draw the closes of the history and of the mark moved by liquidations.

    Parameters
    ----------
    bars : ``time, close`` of one symbol
    impact : ``time, offset`` of the same bars, as a replay holds it
    names : of the history and of the moved mark
    """
    both = bars.join(impact.select("time", "offset"), on="time").sort("time")
    starts, step = open_times(both["time"])
    close, moved = both["close"].to_numpy(), both["close"].to_numpy() * np.exp(both["offset"].to_numpy())
    ends = starts + step
    ax.fill_between(ends, close, moved, color=theme.SIDE_COLOURS["long"], alpha=0.25, linewidth=0)
    ax.plot(ends, close, color="#9AA3AE", linewidth=1.1)
    ax.plot(ends, moved, color=theme.INK, linewidth=0.9)
    ax.set_xlim(starts[0], ends[-1])
    theme.dress(ax, f"Mark price, {unit}" if unit else "Mark price")
    theme.price_axis(ax, logarithmic=False)
    fit_labels(ax)
    return names_above(ax, list(zip(names, ("#7C8692", theme.INK), strict=True)))


@checked
def offset(impact: pl.DataFrame, ax: Axes, *, mark: str = NAMES[1]) -> Axes:
    """Draw the offset of the mark from the history, per cent of the history's price.

    Parameters
    ----------
    impact : ``time, offset`` (a logarithm) of one symbol
    mark : name of the moved mark
    """
    path = impact.sort("time")
    starts, step = open_times(path["time"])
    ends, moved = starts + step, 100 * np.expm1(path["offset"].to_numpy())
    ax.fill_between(ends, 0, moved, color=theme.SIDE_COLOURS["long"], alpha=0.25, linewidth=0)
    ax.plot(ends, moved, color=theme.INK, linewidth=0.9)
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    ax.set_xlim(starts[0], ends[-1])
    moved_by = "Moved by liquidations" if mark == NAMES[1] else f"Mark {mark}"
    theme.dress(ax, f"{moved_by}, per cent of the history's price")
    ax.margins(y=0.1)
    theme.amount_axis(ax, amounts.plain)
    ax.yaxis.set_major_formatter(lambda value, _: amounts.signed(value, "+.3g") if value else "0")
    furthest = int(np.abs(moved).argmax())
    most = float(moved[furthest])
    if most:
        words, up = f"{amounts.signed(most, '+.2f')} %", -5 if most < 0 else 5
        make_room(ax, **{"below" if most < 0 else "above": ROOM})
        label(ax, words, (ends[furthest], most), toward=1, up=up, weight="bold")
    return ax


@checked
def executed(
    impact: pl.DataFrame, ax: Axes, *, currency: str | Share = "USDT", every: str = "1h", where: str = ""
) -> Axes:
    """Draw the notional of liquidations executed in the order book: longs above zero, shorts below.

    Parameters
    ----------
    impact : ``time, long_executed, short_executed`` of one symbol
    every : length of a bar, one of ``LENGTHS``
    where : of which of two runs, for the title
    """
    sums = impact.sort("time").group_by_dynamic("time", every=every).agg(pl.col("^(long|short)_executed$").sum())
    sums = sums.upsample("time", every=every).with_columns(pl.exclude("time").fill_null(0.0))
    starts, step = open_times(sums["time"])
    bars, bar = open_times(impact.sort("time")["time"])
    edges = np.append(starts, min(starts[-1] + step, bars[-1] + bar))  # the last ends with the history
    heights = {"long": sums["long_executed"].to_numpy(), "short": -sums["short_executed"].to_numpy()}
    for side, values in heights.items():
        colour = theme.SIDE_COLOURS[side]
        ax.add_artist(StepPatch(values, edges, fill=True, facecolor=colour, edgecolor=colour, linewidth=0.6))
    most = max(float(np.abs(values).max()) for values in heights.values()) or 1.0
    ax.set_ylim(*(
        sign * max(1.15 * float(np.abs(heights[side]).max()), 0.1 * most)
        for sign, side in ((-1, "short"), (1, "long"))
    ))  # fmt: skip
    ax.set_xlim(edges[0], edges[-1])
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    theme.dress(ax, f"Liquidations executed{where}, {amounts.currency_name(currency)} per {LENGTHS[every][0]}")
    theme.amount_axis(
        ax, lambda amount: amounts.amount(amount, currency) if amount else "0", one=amounts.one(currency)
    )
    fit_labels(ax)
    if not any(values.any() for values in heights.values()):
        ax.set_yticks([0], ["0"])
    return theme.side_names(ax)
