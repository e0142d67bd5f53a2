"""Margins through time against moves, and each tier's maintenance rate against the rate required."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.time_axis import DAY, EPOCH, open_times, time_axis
from backtest.schemas.arguments import checked

#: Lines of margins, by method, in order of appearance.
LINES = (theme.INK, "#8A5A9E", "#2E8B74", "#B58900")

#: Colour of moves beyond the margin.
BEYOND = "#C2185B"

#: Part of the width that the names of tiers take.
NAMES = 0.17

#: Ticks of a logarithmic axis of rates.
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@checked
def margins(rolling: pl.DataFrame, ax: Axes, *, counted: str | None = None) -> Axes:
    """Draw margins through time and the worst move of each period: shorts above zero, longs below.

    Parameters
    ----------
    rolling : ``side, method, time, margin, move, exceeded`` as ``study.margins.rolling_margins``, of one or
        several methods
    counted : method whose exceeded moves are marked; the first by default

    Examples
    --------
    >>> from backtest.chart.venues import margins
    >>> from backtest.study.margins import period_moves, rolling_margins
    >>> moves = period_moves(market, timedelta(hours=8))
    >>> rolling = rolling_margins(moves, "normal", window=timedelta(days=5), refit=3)
    >>> ax = margins(rolling, ax)
    >>> ax.get_title(loc="left")
    'Worst move of each period and margin: longs below zero, shorts above'
    """
    methods = rolling["method"].unique(maintain_order=True).to_list()
    counted = methods[0] if counted is None else counted
    bottom = top = 0.0
    for side, sign in (("long", -1.0), ("short", 1.0)):
        own = rolling.filter(pl.col("side") == side)
        moves = own.filter(pl.col("method") == counted)
        days, step = open_times(moves["time"])
        height = sign * moves["move"].to_numpy()
        ax.vlines(days + step / 2, 0, height, color=theme.SIDE_COLOURS[side], linewidth=0.7, alpha=0.75)
        exceeded = moves["exceeded"].to_numpy()
        ax.plot(days[exceeded] + step / 2, height[exceeded], "o", color=BEYOND, markersize=3.5, markeredgewidth=0)
        bottom, top = min(bottom, height.min()), max(top, height.max())
        for method, colour in zip(methods, LINES, strict=False):
            line = own.filter(pl.col("method") == method)
            margin = sign * line["margin"].to_numpy()
            ax.step(open_times(line["time"])[0], margin, where="post", color=colour, linewidth=1.3)
            bottom, top = min(bottom, np.nanmin(margin)), max(top, np.nanmax(margin))
    room = 1.5 * theme.TEXT * (len(methods) + 1.5) / theme.height(ax)  # of the axes, for the names
    ax.set_ylim(1.04 * bottom, top + room / (1 - room) * (top - 1.04 * bottom))
    ax.axhline(0, color=theme.MUTED, linewidth=0.8)
    theme.dress(ax, "Worst move of each period and margin: longs below zero, shorts above")
    theme.amount_axis(ax, amounts.percent)
    days, step = open_times(rolling.filter(pl.col("side") == "long", pl.col("method") == counted)["time"])
    time_axis(ax, EPOCH + days[0] * DAY, EPOCH + (days[-1] + step) * DAY)
    _names(rolling, ax, methods, counted)
    return ax


@checked
def margin_table(adequacy: pl.DataFrame, ax: Axes) -> Axes:
    """Draw each tier's maintenance rate against the rate required to close its largest position.

    A bar runs from the lowest to the highest level required; the upright stroke is the present rate. Thin bars
    are moves from every bar, thick ones those after liquidations at the tier's highest leverage.

    Parameters
    ----------
    adequacy : as ``study.margins.tier_adequacy`` returns it

    Examples
    --------
    >>> from backtest.chart.venues import margin_table
    >>> from backtest.study.margins import Closing, tier_adequacy
    >>> ax = margin_table(tier_adequacy(market, venue, table="2021-03-18", closing=Closing(daily_volume=5e9)), ax)
    >>> ax.get_xlabel()
    'maintenance rate, of the notional'
    """
    levels = [name for name in adequacy.columns if name.startswith("required_")]
    tiers = adequacy["tier"].unique(maintain_order=True).to_list()
    least = max(adequacy.select(pl.min_horizontal("rate", *levels).min()).item(), RATES[0])
    most = adequacy.select(pl.max_horizontal("rate", *levels).max()).item()
    ax.set_xscale("log")
    ax.set_xlim(least / 1.25 * (least / most / 1.6) ** (NAMES / (1 - NAMES)), most * 1.25)
    for row in adequacy.iter_rows(named=True):
        _draw_required(row, ax, len(tiers) - tiers.index(row["tier"]), [row[name] for name in levels])
    for number, tier in enumerate(tiers):
        row, place = adequacy.filter(pl.col("tier") == tier).row(0, named=True), len(tiers) - number
        stroke = [place - 0.36, place + 0.36]
        ax.plot([row["rate"]] * 2, stroke, color=theme.INK, linewidth=2.4, solid_capstyle="butt")
        ax.annotate(
            _tier_name(row), (0, place), xycoords=("axes fraction", "data"), va="center", color=theme.MUTED,
            fontsize=theme.TEXT,
        )  # fmt: skip
    span = f"{levels[0].removeprefix('required_')} to {levels[-1].removeprefix('required_')} %"
    theme.dress(ax, f"Present rate (stroke), required at {span}: thin from every bar, thick after liquidation")
    theme.side_names(ax)
    theme.below(ax, "maintenance rate, of the notional")
    ax.set_ylim(0.4, len(tiers) + 0.6)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(FixedLocator([rate for rate in RATES if least / 1.25 <= rate <= most * 1.25]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amounts.percent(value)))
    return ax


def _draw_required(row: dict[str, Any], ax: Axes, place: float, required: list[float]) -> None:
    after = row["condition"] == "after liquidation"
    width, shift = (4.5, -0.055) if after else (1.6, 0.055)
    place += shift + (0.16 if row["side"] == "long" else -0.16)
    colour = theme.SIDE_COLOURS[row["side"]]
    span = [max(min(required), RATES[0]), max(required)]
    ax.plot(span, [place] * 2, color=colour, linewidth=width, solid_capstyle="butt", alpha=0.85)


def _tier_name(row: dict[str, Any]) -> str:
    size, lasts = amounts.amount(row["size"], "").strip(), amounts.duration(row["time_to_close"])
    leverage = f"{row['max_leverage']:g}x" if np.isfinite(row["max_leverage"]) else "leverage unknown"
    return f"to {size}, {leverage}\nclosed in {lasts}"


def _names(rolling: pl.DataFrame, ax: Axes, methods: list[str], counted: str) -> None:
    """Write each method in its colour, and the number of moves beyond the counted one, on the upper left."""
    beyond = rolling.filter(pl.col("method") == counted)["exceeded"]
    labels = [(method, colour) for method, colour in zip(methods, LINES, strict=False)]
    labels.append((f"{int(beyond.sum()):,} of {beyond.len():,} moves beyond {counted}", BEYOND))
    for number, (text, colour) in enumerate(labels):
        ax.text(
            0.01, 0.97 - 1.5 * theme.TEXT * number / theme.height(ax), text, transform=ax.transAxes, va="top",
            color=colour, fontsize=theme.TEXT, weight="bold",
            bbox={"facecolor": theme.PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )  # fmt: skip
