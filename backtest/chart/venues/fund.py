"""Insurance fund through time: balance, payments in, payments out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
from backtest.chart.style.time_axis import Floats, open_times, time_axis
from backtest.chart.style.words import fit_labels, label, names_above
from backtest.schemas.arguments import checked

#: Colours of payments in and out; the sides' colours mean longs and shorts.
IN_COLOUR, OUT_COLOUR = "#2E8B57", "#B03A48"


@checked
def fund_figure(
    fund: pl.DataFrame,
    flow: pl.DataFrame,
    window: tuple[datetime, datetime],
    *,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    currency: str | Share = "USDT",
    look: Look = LIGHT,
    size: Size = SIZES["screen"],
    timezone: str = "UTC",
) -> Figure:
    """Return the fund's balance above, payments in and out below, each at its own scale.

    Parameters
    ----------
    fund, flow : as :func:`fund_path` and :func:`paid_in` take them
    window : first and last time shown
    title, subtitle, notes : as :func:`~backtest.chart.style.theme.stacked_panels` takes them
    look, size : by name, or your own
    timezone : of the time axis

    Examples
    --------
    >>> from backtest.chart.venues import fund_figure
    >>> from backtest.study.fund import fund_flow
    >>> flow = fund_flow(replayed.fund)
    >>> figure = fund_figure(replayed.fund, flow, (bars["time"][0], bars["time"][-1]), title="Insurance fund")
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Paid out, $ per hour', 'Insurance fund, $', 'Paid in, $ per hour']
    """
    found = new_figure(size.inches, dpi=size.dpi, paper=theme.PAPER)
    panels = theme.stacked_panels(found, heights=[3, 1.2, 1.2], title=title, subtitle=subtitle, notes=notes)
    fund_path(fund, panels[0], currency=currency)
    paid_in(flow, panels[1], currency=currency)
    paid_out(flow, panels[2], currency=currency)
    time_axis(panels[2], *window, timezone=timezone)
    return restyled(found, look)


@checked
def fund_path(fund: pl.DataFrame, ax: Axes, *, currency: str | Share = "USDT", every: str = "1h") -> Axes:
    """Draw the fund's balance through time as steps, from zero.

    Parameters
    ----------
    fund : ``time, fund`` of a replay
    currency : settlement currency, or an ``amounts.Share``
    every : interval; each step is the balance at its end
    """
    path = fund.sort("time").group_by_dynamic("time", every=every).agg(pl.col("fund").last())
    path = path.upsample("time", every=every).with_columns(pl.col("fund").forward_fill())
    starts, step = open_times(path["time"])
    edges = np.append(starts, starts[-1] + step)
    ax.add_artist(
        StepPatch(
            path["fund"].to_numpy(), edges, fill=True, facecolor=theme.FAINT, edgecolor=theme.INK, linewidth=0.9
        )
    )
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, max(float(path["fund"].max() or 0.0) * 1.1, 1e-12))  # type: ignore[arg-type]
    theme.dress(ax, f"Insurance fund, {amounts.currency_name(currency)}")
    theme.amount_axis(
        ax, lambda amount: amounts.amount(amount, currency) if amount else "0", one=amounts.one(currency)
    )
    fit_labels(ax)
    _empty_spans(path, ax, edges)
    _mark_lowest(path, ax, edges, currency)
    return ax


@checked
def paid_in(flow: pl.DataFrame, ax: Axes, *, currency: str | Share = "USDT") -> Axes:
    """Draw payments into the fund by hour; ``flow`` as ``study.fund.fund_flow`` returns it."""
    return _flow(flow, "paid_in", ax, f"Paid in, {amounts.currency_name(currency)} per hour", IN_COLOUR, currency)


@checked
def paid_out(flow: pl.DataFrame, ax: Axes, *, currency: str | Share = "USDT") -> Axes:
    """Draw payments out of the fund by hour; ``flow`` as ``study.fund.fund_flow`` returns it."""
    title = f"Paid out, {amounts.currency_name(currency)} per hour"
    return _flow(flow, "paid_out", ax, title, OUT_COLOUR, currency)


def _flow(flow: pl.DataFrame, name: str, ax: Axes, title: str, colour: str, currency: str | Share) -> Axes:
    starts, step = open_times(flow["time"])
    edges, heights = np.append(starts, starts[-1] + step), flow[name].to_numpy()
    ax.add_artist(StepPatch(heights, edges, fill=True, facecolor=colour, edgecolor=colour, linewidth=0.6))
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, max(1.15 * float(heights.max()), 1e-12))
    theme.dress(ax, title)
    if heights.max() > 0:
        theme.amount_axis(
            ax, lambda amount: amounts.amount(amount, currency) if amount else "0", one=amounts.one(currency)
        )
        fit_labels(ax)
    else:
        ax.set_yticks([0], ["0"])
    return names_above(ax, [(f"{amounts.amount(float(heights.sum()), currency)} in total", colour)])


def _mark_lowest(path: pl.DataFrame, ax: Axes, edges: Floats, currency: str | Share) -> None:
    """Mark the lowest balance, unless the fund was empty or never below its beginning."""
    at = int(path["fund"].arg_min() or 0)
    lowest = float(path["fund"][at])
    if 0 < lowest < 0.99 * float(path["fund"][0]):
        ax.plot([edges[at]], [lowest], marker="o", markersize=4, color=OUT_COLOUR)
        words = f"lowest {amounts.amount(lowest, currency)}"
        label(ax, words, (edges[at], lowest), toward=1, up=-6, color=OUT_COLOUR)


def _empty_spans(path: pl.DataFrame, ax: Axes, edges: Floats) -> None:
    """Shade the spans in which the fund was empty."""
    empty = (path["fund"] <= 0).to_numpy()
    change = np.diff(np.concatenate([[0], empty.astype(np.int64), [0]]))
    for start, end in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
        ax.axvspan(edges[start], edges[end], color=OUT_COLOUR, alpha=0.12, linewidth=0)
    if empty.any():
        names_above(ax, [("shaded: empty", OUT_COLOUR)])
