"""Liquidation at risk, imbalance of sides, share shown by a throttled feed, price paths without liquidations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.time_axis import DAY, EPOCH, open_times, time_axis
from backtest.chart.style.words import fit_labels, key, label, make_room
from backtest.schemas.arguments import checked

#: Opacity of an interval of an imbalance with next to no liquidations.
FAINTEST = 0.12

#: Points above the highest value, for its label.
ROOM = 17.0

#: Colours of lines without a side.
LINES = {"uniform": theme.INK, "clustered": "#8A5A9E"}
REMOVED = "#2E8B74"


@checked
def at_risk(curve: pl.DataFrame, ax: Axes, *, marked: Sequence[float] = (0.2, 0.4)) -> Axes:
    """Draw the share of open notional that a price move liquidates: longs left of zero, shorts right.

    Parameters
    ----------
    curve : ``move, long_share, short_share``, as ``study.prediction.liquidation_at_risk.by_move``
        returns it
    marked : moves whose shares are labelled; moves that the curve lacks are left out

    Examples
    --------
    >>> from backtest.chart.liquidations import at_risk
    >>> from backtest.study.prediction import liquidation_at_risk
    >>> ax = at_risk(liquidation_at_risk.by_move(outcomes, bars, noon), ax)
    >>> [text.get_text() for text in ax.texts]
    ['9.29 %', '70.4 %', '9.96 %', '18 %', 'longs', 'shorts']
    """
    moves = np.append(0.0, curve["move"].to_numpy())
    for sign, (side, colour) in zip((-1, 1), theme.SIDE_COLOURS.items(), strict=True):
        shares = np.append(0.0, curve[f"{side}_share"].to_numpy())
        ax.fill_between(sign * moves, shares, color=colour, alpha=0.18, linewidth=0)
        ax.plot(sign * moves, shares, color=colour, linewidth=1.8, solid_capstyle="round")
        for at in np.flatnonzero(np.isclose(moves[:, None], marked).any(axis=1)):
            ax.plot(sign * moves[at], shares[at], marker="o", markersize=4, color=colour)
    theme.dress(ax, "Liquidated, % of open notional")
    theme.below(ax, "move of the mark price")
    ax.axvline(0, color=theme.MUTED, linewidth=0.8)
    ax.set_xlim(-moves[-1], moves[-1])
    ax.set_ylim(bottom=0)
    make_room(ax, above=ROOM)
    for sign, (side, colour) in zip((-1, 1), theme.SIDE_COLOURS.items(), strict=True):
        shares = np.append(0.0, curve[f"{side}_share"].to_numpy())
        for at in np.flatnonzero(np.isclose(moves[:, None], marked).any(axis=1)):
            words = amounts.percent(shares[at])
            label(ax, words, (sign * moves[at], shares[at]), toward=-sign, up=4, color=colour)
    theme.side_names(ax)
    ax.xaxis.set_major_formatter(FuncFormatter(_move))
    theme.amount_axis(ax, amounts.percent)
    return ax


@checked
def imbalance(frame: pl.DataFrame, ax: Axes, *, measure: str = "notional") -> Axes:
    """Draw (longs - shorts) / both in every interval: longs upwards, shorts downwards, darker for larger amounts.

    Parameters
    ----------
    frame : ``time, imbalance`` and the measure, as ``study.liquidations.imbalance.by_interval``
        returns them
    measure : sets how dark an interval is, by the root of its amount; an empty interval is background

    Examples
    --------
    >>> from backtest.chart.liquidations import imbalance
    >>> from backtest.study.liquidations import flow
    >>> from backtest.study.liquidations.imbalance import by_interval
    >>> hourly = flow.by_interval(outcomes, start=bars["time"][0], end=bars["time"][-1])
    >>> ax = imbalance(by_interval(hourly), ax)
    >>> ax.get_title(loc="left")
    'Imbalance per hour, darker: larger'
    """
    starts, step = open_times(frame["time"])
    height, amount = frame["imbalance"].to_numpy(), frame[measure].to_numpy()
    there = np.isfinite(height)
    left, tip = starts[there], height[there]
    level = np.zeros_like(tip)
    corners = np.stack([left, level, left, tip, left + step, tip, left + step, level], axis=1).reshape(-1, 4, 2)
    shade = FAINTEST + (1 - FAINTEST) * np.sqrt(amount[there] / max(amount.max(initial=0.0), 1e-300))
    colours = np.where(tip[:, None] >= 0, *(to_rgba(colour) for colour in theme.SIDE_COLOURS.values()))
    colours[:, 3] = shade
    # one collection: thousands of bars are slow
    ax.add_collection(PolyCollection(list(corners), facecolors=colours, edgecolors="none"), autolim=False)
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    theme.dress(ax, f"Imbalance {amounts.per_interval(step)}, darker: larger")
    theme.side_names(ax)
    ax.set_ylim(-1.05, 1.05)
    ax.yaxis.set_major_locator(FixedLocator([-1, -0.5, 0, 0.5, 1]))
    ax.yaxis.set_major_formatter(FuncFormatter(_signed))
    return time_axis(ax, EPOCH + starts[0] * DAY, EPOCH + (starts[-1] + step) * DAY)


@checked
def throttle(
    curve: pl.DataFrame,
    ax: Axes,
    *,
    published: float | None = None,
    source: str = "",
    implied: Mapping[str, float] | None = None,
) -> Axes:
    """Draw the share of liquidations that a feed of one a second shows, against their true rate.

    Parameters
    ----------
    curve : ``rate`` (a second) and a column of shares for each arrival process, as
        ``study.liquidations.feed_throttling.curve`` returns it
    published : an observed share, drawn as a line across
    source : of the published share, for its label
    implied : rate at which each column of the curve equals the published share, marked

    Examples
    --------
    >>> from backtest.chart.liquidations import throttle
    >>> from backtest.study.liquidations import feed_throttling
    >>> ax = throttle(feed_throttling.curve([0.1, 1.0, 10.0], dispersion=2.0), ax)
    >>> [text.get_text() for text in ax.texts]
    ['uniform', 'clustered']
    """
    rates = curve["rate"].to_numpy()
    ax.set_xscale("log")
    for name in curve.columns[1:]:
        colour = LINES.get(name, theme.MUTED)
        ax.plot(rates, curve[name].to_numpy(), color=colour, linewidth=1.8)
    ax.set_xlim(rates[0], rates[-1])
    ax.set_ylim(0, 1.0)
    make_room(ax, above=ROOM)
    for name in curve.columns[1:]:
        label(ax, name, (rates[0], curve[name][0]), toward=1, up=4, color=LINES.get(name, theme.MUTED))
    if published is not None:
        ax.axhline(published, color=theme.MUTED, linewidth=0.9, zorder=1)
        # above the right end of the line if every curve is below it there, else below the left end
        free = curve.select(pl.max_horizontal(pl.all().exclude("rate").last())).item() < published
        end, toward, up = (rates[-1], -1, 4) if free else (rates[0], 1, -4)
        words = f"{amounts.percent(published)} {source}".rstrip()
        label(ax, words, (end, published), toward=toward, up=up, color=theme.MUTED)
        # labels at the foot: the lowest rate to the left of its line, the others to the right
        for place, (name, rate) in enumerate(sorted((implied or {}).items(), key=lambda item: item[1])):
            colour = LINES.get(name, theme.MUTED)
            ax.plot([rate, rate], [0, published], color=colour, linewidth=0.9, linestyle=(0, (3, 3)))
            ax.plot(rate, published, marker="o", markersize=4, color=colour)
            words = f"{amounts.three_figures(rate)} a second"
            label(ax, words, (rate, 0.0), toward=1 if place else -1, up=4, color=colour)
    theme.dress(ax, "Shown by a feed of one a second, % of liquidations")
    theme.below(ax, "liquidations a second, of one symbol")
    ax.xaxis.set_major_locator(LogLocator(numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    theme.amount_axis(ax, amounts.percent)
    return ax


@checked
def removed_paths(paths: pl.DataFrame, ax: Axes, *, unit: str = "") -> Axes:
    """Draw the price, and the range of prices without liquidations under assumed impacts.

    Parameters
    ----------
    paths : ``time, history`` and a price for each assumed impact, as
        ``study.liquidations.without_liquidations.paths`` returns them
    unit : of the price

    Examples
    --------
    >>> from backtest.chart.liquidations import removed_paths
    >>> from backtest.study.liquidations import flow, without_liquidations
    >>> hourly = flow.by_interval(outcomes, start=bars["time"][0], end=bars["time"][-1])
    >>> ax = removed_paths(without_liquidations.paths(bars, hourly), ax, unit="USDT")
    >>> ax.get_title(loc="left")
    'Mark price, and without liquidations (assumed impacts), USDT'
    """
    starts, step = open_times(paths["time"])
    names = paths.columns[2:]
    history, without = paths["history"].to_numpy(), paths.select(names).to_numpy()
    ax.fill_between(starts, without.min(axis=1), without.max(axis=1), color=REMOVED, alpha=0.15, linewidth=0)
    shades = np.linspace(1.0, 0.35, len(names))
    for place, shade in zip(np.argsort(-without.mean(axis=0)), shades, strict=True):
        ax.plot(starts, without[:, place], color=REMOVED, linewidth=0.9, alpha=shade, label=names[place])
    ax.plot(starts, history, color=theme.INK, linewidth=1.3, label="history")
    title = "Mark price, and without liquidations (assumed impacts)"
    theme.dress(ax, f"{title}, {unit}" if unit else title)
    theme.price_axis(ax, logarithmic=False)
    key(ax)
    fit_labels(ax)
    return time_axis(ax, EPOCH + starts[0] * DAY, EPOCH + (starts[-1] + step) * DAY)


def _move(value: float, _: int | None) -> str:
    return f"{amounts.sign(value)}{amounts.percent(abs(value))}"


def _signed(value: float, _: int | None) -> str:
    return f"{amounts.sign(value)}{abs(value):g}"
