"""Loss waterfall of liquidated positions: all losses on one bar, those beyond margins at a scale of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from backtest.amounts import Share, amount, currency_name, percent
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import LIGHT, Look, Size
from backtest.chart.style.restyle import restyled
from backtest.chart.style.words import names_above, text_width
from backtest.schemas.arguments import checked

#: Colours of losses and gains; the sides' colours mean longs and shorts.
LOSS_COLOUR, GAIN_COLOUR, MARGIN_COLOUR = "#B03A48", "#2E8B57", "#AEB6C0"

#: Names of the bearers of losses.
BEARERS = {
    "margins": "holders' margins",
    "fund": "insurance fund",
    "backstop": "backstop",
    "counterparties": "counterparties hit by ADL\n(profit given up)",
    "clawback": "profits of others\n(clawed back)",
    "nobody": "uncovered deficit",
}

#: Inches.
SIZE = Size(theme.SIZE[0], 0.78 * theme.SIZE[1])

#: Points beside a bar that its label leaves free, on both sides.
BESIDE = 10.0

#: Share of the bar of all losses from which its label fits inside; below it the label is beside it.
ROOM_FOR_WORDS = 0.35


@checked
def waterfall_figure(
    found: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    currency: str | Share = "USDT",
    look: Look = LIGHT,
    size: Size = SIZE,
) -> Figure:
    """Return all losses on one bar above, and losses beyond margins below at a scale of their own.

    Parameters
    ----------
    found : as ``study.fund.who_bore`` returns it
    title, subtitle, notes : as :func:`~backtest.chart.style.theme.stacked_panels` takes them
    look, size : by name, or your own

    Examples
    --------
    >>> from backtest.chart.venues import waterfall_figure
    >>> from backtest.study.fund import who_bore
    >>> figure = waterfall_figure(who_bore(replayed), title="Losses of liquidated positions")
    >>> len(figure.axes)
    2
    """
    drawn = new_figure(size.inches, dpi=size.dpi, paper=theme.PAPER)
    total, beyond = theme.stacked_panels(
        drawn, heights=[0.7, 4], title=title, subtitle=subtitle, notes=notes, shared=False, left=2.1
    )
    losses_as_one(found, total, currency=currency)
    waterfall(
        found.filter(pl.col("bearer") != "margins"), beyond, currency=currency, title="Beyond margins, enlarged"
    )
    _enlarge(found, total, beyond, drawn)
    return restyled(drawn, look)


@checked
def losses_as_one(found: pl.DataFrame, ax: Axes, *, currency: str | Share = "USDT") -> Axes:
    """Draw all losses as one bar: those within margins and those beyond.

    Parameters
    ----------
    found : as ``study.fund.who_bore`` returns it; gains are left out
    """
    margins, beyond = _parts(found)
    total = max(margins + beyond, 1e-12)
    ax.barh([0], [margins], height=0.8, color=MARGIN_COLOUR)
    ax.barh([0], [beyond], left=[margins], height=0.8, color=LOSS_COLOUR)
    shown = not isinstance(currency, Share)  # shares of another whole beside those of all losses would confuse
    written = f" {amount(margins, currency)}," if shown else ""
    label = f"holders' margins{written} {percent(margins / total)}"
    inside = margins >= ROOM_FOR_WORDS * total or not beyond
    label = label if inside else label.replace("margins ", "margins\n")
    ax.annotate(
        label, (0, 0), xytext=(7 if inside else -7, 0), textcoords="offset points", va="center",
        ha="left" if inside else "right", fontsize=theme.TEXT, color=theme.INK if inside else theme.MUTED,
    )  # fmt: skip
    more = (
        f"beyond margins {f'{amount(beyond, currency)}, ' if shown else ''}{percent(beyond / total)}"
        if beyond
        else "nobody but the holders lost on balance"
    )
    ax.set_xlim(0, total)
    ax.set_ylim(-0.5, 0.5)
    theme.dress(ax, f"All losses of liquidated positions{f', {currency_name(currency)}' if shown else ''}")
    names_above(ax, [(more, LOSS_COLOUR if beyond else theme.MUTED)])
    return _bare(ax)


@checked
def waterfall(
    found: pl.DataFrame, ax: Axes, *, currency: str | Share = "USDT", title: str = "Who bore the loss"
) -> Axes:
    """Draw the losses of liquidated positions by bearer, from the first to the last to pay.

    Parameters
    ----------
    found : rows of ``study.fund.who_bore``; gains point left of zero
    """
    losses = found["amount"].to_numpy()
    at = np.arange(losses.size)[::-1]
    colours = [LOSS_COLOUR if loss > 0 else GAIN_COLOUR for loss in losses]
    ax.barh(at, losses, height=0.62, color=colours)
    ax.axvline(0, color=theme.MUTED, linewidth=0.8)
    span = max(float(np.abs(losses).max()), 1e-12)
    low = min(1.1 * float(losses.min()), -0.02 * span)
    right, wide = max(float(losses.max()), 0.0), theme.width(ax)
    for place, loss in zip(at, losses, strict=True):
        label = "0" if abs(loss) < span * 1e-9 else amount(abs(float(loss)), currency)
        label = f"gained {label}" if loss < -span * 1e-9 else label
        bar = (max(loss, 0.0) - low) / max(wide - text_width(label) - BESIDE, 0.1 * wide)
        right = max(right, low + bar * wide)
        ax.annotate(
            label, (max(loss, 0.0), place), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=theme.TEXT, color=theme.INK,
        )  # fmt: skip
    ax.set_xlim(low, right)
    theme.dress(ax, f"{title}, {currency_name(currency)}")
    _bare(ax)
    ax.set_yticks(at, [BEARERS[name] for name in found["bearer"]])
    return ax


def _bare(ax: Axes) -> Axes:
    """Remove the scales: every bar is labelled."""
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines["bottom"].set_visible(False)
    return ax


def _parts(found: pl.DataFrame) -> tuple[float, float]:
    """Return the losses within margins and those of others."""
    lost = dict(found.with_columns(pl.col("amount").clip(lower_bound=0.0)).iter_rows())
    margins = float(lost.pop("margins", 0.0))
    return margins, float(sum(lost.values()))


def _enlarge(found: pl.DataFrame, total: Axes, beyond: Axes, drawn: Figure) -> None:
    """Shade the area from the end of the bar above to the panel below that enlarges it."""
    margins, rest = _parts(found)
    if rest > 0:
        ends = total.transData.transform([(margins, -0.4), (margins + rest, -0.4)])
        corners = beyond.transAxes.transform([(1, 1), (0, 1)])
        shape = drawn.transFigure.inverted().transform(np.vstack([ends, corners]))
        drawn.add_artist(
            Polygon(shape, transform=drawn.transFigure, color=LOSS_COLOUR, alpha=0.09, linewidth=0, zorder=0)
        )
