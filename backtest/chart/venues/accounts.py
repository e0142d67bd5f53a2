"""Accounts in cross margin: equity and maintenance margin, lead times of alerts, liquidations of hedges."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from backtest.amounts import amount, percent
from backtest.chart.style import theme
from backtest.chart.style.time_axis import days, open_times, time_axis
from backtest.chart.style.words import label, make_room, names_above, text_width
from backtest.schemas.arguments import checked

#: Colours of equity and maintenance margin: no side's, and distinct in common colour blindness.
EQUITY, MAINTENANCE = theme.INK, "#8E3B8A"

#: Lead times labelled on the axis of :func:`alert_lead_times`.
LEADS = {
    timedelta(minutes=1): "1 min",
    timedelta(minutes=5): "5 min",
    timedelta(minutes=15): "15 min",
    timedelta(hours=1): "1 h",
    timedelta(hours=4): "4 h",
    timedelta(days=1): "1 d",
    timedelta(days=4): "4 d",
    timedelta(days=16): "16 d",
    timedelta(days=64): "64 d",
}

#: Points above the equity, for the name of the event.
ROOM = 17.0

#: Isolated margin beside cross margin.
ISOLATED, CROSS = "#9AA3AD", theme.INK


@checked
def account(path: pl.DataFrame, ax: Axes, *, event: datetime | None = None, currency: str = "USDT") -> Axes:
    """Draw an account's equity against its maintenance margin, and mark its liquidation.

    The line is equity at the closes; the band reaches down to the lowest equity inside each bar. After the event
    the lines are faint: the path without it.

    Parameters
    ----------
    path : as ``study.holders.account_path`` returns it
    event : open time of the bar that liquidates, if any
    currency : of the amounts

    Examples
    --------
    >>> from backtest.chart.venues import account
    >>> from backtest.study.holders import account_path
    >>> path = account_path(accounts, accounts.legs["account_id"][0], market, venue)
    >>> ax = account(path, ax)
    >>> [text.get_text() for text in ax.texts]
    ['equity', 'maintenance margin']
    """
    theme.dress(ax, f"Equity and maintenance margin ({currency})")
    starts, step = open_times(path["time"])
    ends = starts + step
    equity, worst, required = (path[name].to_numpy() for name in ("equity", "worst_equity", "maintenance_margin"))
    before = len(path) if event is None else int((path["time"] <= event).sum())
    for rows, strength in ((slice(0, before), 1.0), (slice(max(before - 1, 0), None), 0.28)):
        ax.fill_between(
            ends[rows], worst[rows], equity[rows], color=EQUITY, alpha=0.18 * strength, linewidth=0, step="pre"
        )
        ax.plot(ends[rows], equity[rows], color=EQUITY, linewidth=1.3, alpha=strength)
        ax.plot(ends[rows], required[rows], color=MAINTENANCE, linewidth=1.3, alpha=strength)
    ax.axhline(0.0, color=theme.MUTED, linewidth=0.8)
    theme.amount_axis(ax, lambda value: amount(value, currency))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, currency)))  # with its sign
    time_axis(ax, path["time"][0], path["time"][-1] + timedelta(days=step))
    names_above(ax, [("equity", EQUITY), ("maintenance margin", MAINTENANCE)])
    if event is not None:
        _mark(ax, event, step, float(required[before - 1]))
    return ax


@checked
def alert_lead_times(
    replays: Mapping[float, pl.DataFrame], ax: Axes, *, bar: timedelta = timedelta(minutes=1)
) -> Axes:
    """Draw the share of liquidated accounts that had at least each lead time, for alerts at several margin ratios.

    A line falls from the share with any warning to zero. Its label holds the share of alerted accounts that were
    never liquidated.

    Parameters
    ----------
    replays : by margin ratio (maintenance margin over equity), as ``study.holders.replay_alerts`` returns them
    bar : length of a bar; the axis begins there, since shorter lead times cannot be measured

    Examples
    --------
    >>> from backtest.chart.venues import alert_lead_times
    >>> from backtest.study.holders import replay_alerts
    >>> replays = {ratio: replay_alerts(accounts, market, venue, ratio=ratio) for ratio in (0.5, 0.8)}
    >>> ax = alert_lead_times(replays, ax, bar=timedelta(hours=1))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['alert at 50 %: 25 % of alerted never liquidated', 'alert at 80 %: 5.26 % of alerted never liquidated']
    """
    theme.dress(ax, "Share of liquidated accounts with at least this lead time")
    begin = _in_milliseconds(bar) / 2
    longest = max([_in_milliseconds(_longest(one) or bar) for one in replays.values()] + [8 * begin])
    shades = np.linspace(0.4, 1.0, len(replays))
    for (ratio, replayed), shade in zip(sorted(replays.items()), shades, strict=True):
        at, share = _left_at_least(replayed, begin)
        alerted = replayed.filter(pl.col("alerts") > 0)
        spared = int((alerted["outcome"] != "liquidated").sum()) / max(alerted.height, 1)
        name = f"alert at {100 * ratio:g} %: {percent(spared)} of alerted never liquidated"
        ax.step(at, share, where="pre", color=MAINTENANCE, alpha=float(shade), linewidth=1.6, label=name)
    ax.set_xscale("log")
    ticks = {lead: name for lead, name in LEADS.items() if bar <= lead and _in_milliseconds(lead) <= longest}
    ax.xaxis.set_major_locator(FixedLocator([_in_milliseconds(lead) for lead in ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks([_in_milliseconds(lead) for lead in ticks], list(ticks.values()))
    ax.set_xlim(begin, 1.1 * longest)
    ax.set_ylim(0, 1.0)
    make_room(ax, above=1.4 * theme.TEXT * len(replays) + 6)
    ax.yaxis.set_major_locator(FixedLocator([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    theme.below(ax, "lead time: from the end of the first alert's bar to the bar that liquidates")
    ax.legend(
        loc="upper right", frameon=False, fontsize=theme.TEXT, labelcolor=theme.INK, labelspacing=0.2,
        borderaxespad=0.2,
    )  # fmt: skip
    return ax


@checked
def hedges(rows: pl.DataFrame, ax: Axes) -> Axes:
    """Draw the share of hedged pairs liquidated in each event: as isolated legs, and in cross margin.

    The order of prices inside a bar is unknown. In cross margin the wide bar spans its range, from closes alone
    (least) to each symbol at its own worst (most); the dot is the common move.

    Parameters
    ----------
    rows : ``event`` (name), ``isolated`` (share that lost at least one leg), ``least``, ``common``, ``most``;
        in order from the top

    Examples
    --------
    >>> from backtest.chart.venues import hedges
    >>> shares = {"isolated": [0.41], "least": [0.02], "common": [0.03], "most": [0.06]}
    >>> ax = hedges(pl.DataFrame({"event": ["19 May 2021"], **shares}), ax)
    >>> [text.get_text() for text in ax.texts]
    ['19 May 2021', 'cross', 'isolated']
    """
    theme.dress(ax, "Hedged pairs liquidated: either leg in isolated margin, the account in cross margin")
    count, across = len(rows), ax.get_yaxis_transform()
    for place, row in enumerate(rows.iter_rows(named=True)):
        height = count - 1 - place
        ax.plot([row["common"], row["isolated"]], [height, height], color=theme.MUTED, linewidth=0.8, zorder=1)
        ax.text(
            1,
            height,
            row["event"],
            transform=across,
            ha="right",
            va="center",
            color=theme.INK,
            fontsize=theme.TEXT,
        )
        ax.plot(
            [row["least"], row["most"]], [height, height], color=CROSS, linewidth=6, alpha=0.35,
            solid_capstyle="butt", zorder=2,
        )  # fmt: skip
        ax.plot(row["common"], height, "o", color=CROSS, markersize=7, zorder=3, clip_on=False)
        ax.plot(row["isolated"], height, "o", color=ISOLATED, markersize=7, zorder=3, clip_on=False)
    ax.set_yticks([])
    ax.set_ylim(-0.5, count - 0.2)
    farthest = max(0.05, float(rows.select(pl.max_horizontal("isolated", "most").max()).item()))
    room = min((max(map(text_width, rows["event"])) + 12) / theme.width(ax), 0.6)  # for the events' names
    ax.set_xlim(0, farthest / (1 - room))
    ax.xaxis.set_major_locator(FixedLocator([at for at in MaxNLocator(6).tick_values(0, farthest) if at <= 1]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return names_above(ax, [("cross", CROSS), ("isolated", ISOLATED)])


@checked
def hedges_by_leverage(rows: pl.DataFrame, ax: Axes) -> Axes:
    """Draw the share of pairs liquidated by leverage: as isolated legs, and in cross margin with its bracket.

    Parameters
    ----------
    rows : ``leverage`` (gross), ``isolated``, ``least``, ``common``, ``most``, in order of leverage

    Examples
    --------
    >>> from backtest.chart.venues import hedges_by_leverage
    >>> shares = {"isolated": [0.1, 0.6], "least": [0.0, 0.1], "common": [0.0, 0.2], "most": [0.1, 0.3]}
    >>> ax = hedges_by_leverage(pl.DataFrame({"leverage": [5, 20], **shares}), ax)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['5x', '20x']
    """
    theme.dress(ax, "Pairs liquidated, by gross leverage")
    leverage = rows["leverage"].to_numpy()
    ax.fill_between(leverage, rows["least"], rows["most"], color=CROSS, alpha=0.15, linewidth=0)
    for name, colour in (("isolated", ISOLATED), ("common", CROSS)):
        ax.plot(leverage, rows[name], "o-", color=colour, linewidth=1.6, markersize=4)
    ax.set_xscale("log")
    ax.set_xticks(leverage, [f"{value:g}x" for value in leverage])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(leverage[0] * 0.95, leverage[-1] * 1.05)
    ax.set_ylim(0, 1.05)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return names_above(ax, [("cross, the account", CROSS), ("isolated, either leg", ISOLATED)])


def _mark(ax: Axes, event: datetime, step: float, margin: float) -> None:
    """Mark the bar that liquidates."""
    at = days(event) + step
    make_room(ax, above=ROOM)
    ax.axvline(at, color=theme.INK, linewidth=0.8, linestyle=(0, (2, 3)))
    ax.plot(at, margin, "o", color=MAINTENANCE, markersize=7, markeredgecolor=theme.PAPER, zorder=4)
    toward = -1 if at > sum(ax.get_xlim()) / 2 else 1
    where = ax.get_xaxis_transform()
    label(
        ax, f"liquidated {event:%-d %b %H:%M}", (at, 1.0), toward=toward, up=-4, weight="bold", coordinates=where
    )


def _left_at_least(replayed: pl.DataFrame, begin: float) -> tuple[list[float], list[float]]:
    """Return lead times, and the share of liquidated accounts with at least each."""
    liquidated = replayed.filter(pl.col("outcome") == "liquidated")
    leads = liquidated["warning"].drop_nulls().dt.total_milliseconds().to_numpy()
    at = np.unique(leads[leads > begin])
    share = [float((leads >= lead).sum()) / liquidated.height for lead in at]
    if not share:
        return [begin], [0.0]
    return [begin, *at.tolist(), float(at[-1])], [share[0], *share, 0.0]


def _longest(replayed: pl.DataFrame) -> timedelta | None:
    found: timedelta | None = replayed.select(pl.col("warning").max()).item()
    return found


def _in_milliseconds(time: timedelta) -> float:
    return time / timedelta(milliseconds=1)
