"""The insurance fund through time, history against the mark with feedback, and who bore the loss."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from backtest.chart import theme, words
from backtest.chart.times import Floats, openings, time_axis

#: What flows in and what flows out; the sides' colours mean longs and shorts.
IN_COLOUR, OUT_COLOUR = "#2E8B57", "#B03A48"

#: Whose loss it is, in words.
BEARERS = {
    "margins": "holders' margins",
    "fund": "insurance fund",
    "backstop": "backstop",
    "counterparties": "deleveraged counterparties\n(profit given up)",
    "clawback": "profits of others\n(clawed back)",
    "nobody": "nobody (deficit)",
}


def figure(
    fund: pl.DataFrame,
    flow: pl.DataFrame,
    window: tuple[datetime, datetime],
    *,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    currency: str = "USDT",
) -> Figure:
    """Return the fund above and what moved it below, on one time axis.

    Parameters
    ----------
    fund, flow : as :func:`fund_path` and :func:`fund_flow` take them
    window : first and last moment shown
    title, subtitle, notes : as :func:`~backtest.chart.theme.stacked_panels` takes them
    """
    found = Figure(figsize=theme.SIZE, dpi=theme.DPI)
    panels = theme.stacked_panels(found, heights=[3, 2], title=title, subtitle=subtitle, notes=notes)
    fund_path(fund, panels[0], currency=currency)
    fund_flow(flow, panels[1], currency=currency)
    time_axis(panels[1], *window)
    return found


def moved_mark(
    bars: pl.DataFrame,
    impact: pl.DataFrame,
    window: tuple[datetime, datetime],
    *,
    title: str,
    unit: str = "",
    names: tuple[str, str] = ("without liquidations", "with them"),
    notes: Sequence[str] = (),
) -> Figure:
    """Return the history against the mark that liquidations moved; as :func:`history_and_mark`."""
    found = Figure(figsize=theme.SIZE, dpi=theme.DPI)
    (panel,) = theme.stacked_panels(found, heights=[1], title=title, notes=notes)
    history_and_mark(bars, impact, panel, unit=unit, names=names)
    time_axis(panel, *window)
    return found


def fund_path(fund: pl.DataFrame, ax: Axes, *, currency: str = "USDT", every: str = "1h") -> Axes:
    """Draw the fund through time as a line of steps, from zero.

    Parameters
    ----------
    fund : ``time, fund`` of a replay
    currency : settlement currency
    every : interval; the fund is drawn as it stood at the end of each
    """
    path = fund.sort("time").group_by_dynamic("time", every=every).agg(pl.col("fund").last())
    path = path.upsample("time", every=every).with_columns(pl.col("fund").forward_fill())
    starts, step = openings(path["time"])
    edges = np.append(starts, starts[-1] + step)
    ax.add_artist(
        StepPatch(
            path["fund"].to_numpy(), edges, fill=True, facecolor=theme.FAINT, edgecolor=theme.INK, linewidth=0.9
        )
    )
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, max(float(path["fund"].max() or 0.0) * 1.1, 1e-12))  # type: ignore[arg-type]
    theme.dress(ax, f"Insurance fund, {words.currency_name(currency)}")
    theme.amount_axis(ax, lambda amount: words.amount(amount, currency) if amount else "0")
    _empty_spans(path, ax, edges)
    return ax


def fund_flow(flow: pl.DataFrame, ax: Axes, *, currency: str = "USDT") -> Axes:
    """Draw what went into the fund above zero and what came out below it, by interval.

    Parameters
    ----------
    flow : as ``study.insurance.fund_flow`` returns it
    """
    starts, step = openings(flow["time"])
    edges = np.append(starts, starts[-1] + step)
    paid_in, paid_out = flow["paid_in"].to_numpy(), flow["paid_out"].to_numpy()
    for heights, colour in ((paid_in, IN_COLOUR), (-paid_out, OUT_COLOUR)):
        ax.add_artist(StepPatch(heights, edges, fill=True, facecolor=colour, edgecolor=colour, linewidth=0.6))
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(
        -1.15 * max(paid_out.max(), paid_in.max() * 0.1, 1e-12),
        1.15 * max(paid_in.max(), paid_out.max() * 0.1, 1e-12),
    )
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    theme.dress(ax, f"Paid in and drawn, {words.currency_name(currency)}")
    theme.amount_axis(ax, lambda amount: words.amount(amount, currency) if amount else "0")
    for name, colour, at in (("paid in", IN_COLOUR, -44), ("drawn", OUT_COLOUR, 0)):
        ax.annotate(
            name, (1, 1), xytext=(at, 5), xycoords="axes fraction", textcoords="offset points", ha="right",
            color=colour, fontsize=theme.TEXT, weight="bold",
        )  # fmt: skip
    return ax


def history_and_mark(
    bars: pl.DataFrame,
    impact: pl.DataFrame,
    ax: Axes,
    *,
    unit: str = "",
    names: tuple[str, str] = ("without liquidations", "with them"),
) -> Axes:
    """Draw the close of the history and of the mark that liquidations moved.

    Parameters
    ----------
    bars : ``time, close`` of one symbol
    impact : ``time, offset`` of the same bars, as a replay holds it
    names : of the history and of the moved mark
    """
    both = bars.join(impact.select("time", "offset"), on="time").sort("time")
    starts, step = openings(both["time"])
    close, moved = both["close"].to_numpy(), both["close"].to_numpy() * np.exp(both["offset"].to_numpy())
    ends = starts + step
    ax.fill_between(ends, close, moved, color=theme.SIDE_COLOURS["long"], alpha=0.18, linewidth=0)
    ax.plot(ends, close, color=theme.MUTED, linewidth=0.9, linestyle=(0, (4, 2)))
    ax.plot(ends, moved, color=theme.INK, linewidth=1.0)
    ax.set_xlim(starts[0], ends[-1])
    theme.dress(ax, f"Mark price, {unit}" if unit else "Mark price")
    theme.price_axis(ax, logarithmic=False)
    history, mark = names
    for name, colour, at in ((history, theme.MUTED, -6.2 * len(mark) - 6), (mark, theme.INK, 0)):
        ax.annotate(
            name, (1, 1), xytext=(at, 5), xycoords="axes fraction", textcoords="offset points", ha="right",
            color=colour, fontsize=theme.TEXT, weight="bold",
        )  # fmt: skip
    return ax


def waterfall(found: pl.DataFrame, ax: Axes, *, currency: str = "USDT", title: str = "Who bore the loss") -> Axes:
    """Draw who bore the losses of liquidated positions, from the holders down to nobody.

    Parameters
    ----------
    found : as ``study.waterfall.who_bore`` returns it; gains point left of zero
    """
    amounts = found["amount"].to_numpy()
    at = np.arange(amounts.size)[::-1]
    colours = [OUT_COLOUR if amount > 0 else IN_COLOUR for amount in amounts]
    ax.barh(at, amounts, height=0.62, color=colours)
    ax.axvline(0, color=theme.MUTED, linewidth=0.8)
    ax.set_yticks(at, [BEARERS[name] for name in found["bearer"]])
    span = max(float(np.abs(amounts).max()), 1e-12)
    for place, amount in zip(at, amounts, strict=True):
        told = "0" if abs(amount) < span * 1e-9 else words.amount(abs(float(amount)), currency)
        told = f"gained {told}" if amount < -span * 1e-9 else told
        ax.annotate(
            told, (max(amount, 0.0), place), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=theme.TEXT, color=theme.INK,
        )  # fmt: skip
    ax.set_xlim(min(float(amounts.min()) * 1.1, -0.02 * span), max(float(amounts.max()), 0.0) * 1.35 + 0.02 * span)
    theme.dress(ax, f"{title}, {words.currency_name(currency)}")
    ax.grid(axis="y", visible=False)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    return ax


def _empty_spans(path: pl.DataFrame, ax: Axes, edges: Floats) -> None:
    """Mark where the fund was empty."""
    empty = (path["fund"] <= 0).to_numpy()
    change = np.diff(np.concatenate([[0], empty.astype(np.int64), [0]]))
    for start, end in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
        ax.axvspan(edges[start], edges[end], color=OUT_COLOUR, alpha=0.12, linewidth=0)
    if empty.any():
        ax.text(0.01, 0.9, "shaded: empty", transform=ax.transAxes, color=OUT_COLOUR, fontsize=theme.TEXT)
