"""Policies: effect of a cap on leverage under each response, and the frontier of freedom against loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from backtest import amounts
from backtest.chart.style import theme
from backtest.chart.style.figure import Figure
from backtest.chart.style.looks import LIGHT, Look, Size, is_upright
from backtest.chart.style.panel_figures import Panels, grid_figure
from backtest.chart.style.restyle import restyled
from backtest.chart.style.words import fit_labels, make_room, titled
from backtest.schemas.arguments import checked

__all__ = ["MEASURES", "Measure", "by_cap", "frontier", "frontiers", "small_multiples"]
__dir__ = __all__.copy

#: One colour a response in all charts; no side's.
RESPONSE_COLOURS = {"same_size": "#2E8B74", "same_margin": "#8A5A9E", "not_opened": "#B58900"}
RESPONSE_MARKS = {"same_size": "o", "same_margin": "s", "not_opened": "^"}
RESPONSE_WIDTHS = {"same_size": 3.2, "same_margin": 1.4, "not_opened": 1.6}
RESPONSE_DASHES = {"same_size": "-", "same_margin": (0, (4, 2)), "not_opened": "-"}
#: Lines of a frontier under the current rules, and under each other set of rules.
RULE_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))
RESPONSE_WORDS = {
    "same_size": "same size, more margin",
    "same_margin": "same margin, smaller size",
    "not_opened": "not opened",
}

#: Least distance between the names of caps in points, across and up.
NAME_SPACE = np.array([34.0, 13.0])

#: Up to so many policies in a panel, dominated ones are named too.
FEW = 8

#: Height of the name of a response, in points.
LINE = 13.0

#: Panels of caps and of frontiers: their usual size and the smallest that is readable.
PANEL = Panels(width=5.2, height=2.3, least_width=2.7, least_height=1.25, whole=8.0)
FRONTIER = Panels(width=6.4, height=3.7, least_width=4.3, least_height=2.4, whole=9.0, between=1.3, titles=0.54)

#: End of the axes over the highest value.
HEADROOM = 1.08


class Measure(NamedTuple):
    """A column of the policies, its title, and the function that writes its values."""

    column: str
    title: str
    write: Callable[[float], str]


def a_million(value: float) -> str:
    """Return an amount per million."""
    return amounts.three_figures(value)


MEASURES = (
    Measure("liquidated_share", "Liquidated, % of positions opened", amounts.percent),
    Measure("notional_share", "Liquidated, % of notional opened", amounts.percent),
    Measure("shortfall_per_million", "Shortfall per million of intended notional", a_million),
    Measure("losses_per_million", "Losses of the liquidated per million of intended notional", a_million),
)


@checked
def by_cap(policies: pl.DataFrame, ax: Axes, *, measure: Measure) -> Axes:
    """Draw one measure against the cap on leverage, a line a response, with bands if present.

    Parameters
    ----------
    policies : ``cap`` (null: none), ``response`` and the measure's column, optionally with ``_low`` and ``_high``:
        one row a cap and response

    Examples
    --------
    >>> from backtest.chart.venues.policy import MEASURES, by_cap
    >>> shares = {"response": ["same_size"] * 3, "liquidated_share": [0.34, 0.21, 0.09]}
    >>> policies = pl.DataFrame({"cap": [None, 20.0, 10.0], **shares})
    >>> ax = by_cap(policies, ax, measure=MEASURES[0])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['none', '20x', '10x']
    """
    caps = cap_order(policies)
    for response, colour in RESPONSE_COLOURS.items():
        own = policies.filter(pl.col("response") == response)
        if own.is_empty():
            continue
        place = np.array([caps.index(cap) for cap in own["cap"]])
        order = np.argsort(place)
        if f"{measure.column}_low" in own.columns:
            low, high = (own[f"{measure.column}_{end}"].to_numpy()[order] for end in ("low", "high"))
            ax.fill_between(place[order], low, high, color=colour, alpha=0.12, linewidth=0)
        # lines of two responses may coincide: one is wide, the next dashed on top of it
        ax.plot(
            place[order], own[measure.column].to_numpy()[order], color=colour, linewidth=RESPONSE_WIDTHS[response],
            linestyle=RESPONSE_DASHES[response], marker=RESPONSE_MARKS[response], markersize=4.5,
        )  # fmt: skip
    theme.dress(ax, measure.title)
    ax.set_ylim(0, HEADROOM * max(highest(policies, measure), 1e-12))
    theme.amount_axis(ax, measure.write)
    ax.set_xlim(-0.25, len(caps) - 0.75)
    ax.set_xticks(range(len(caps)), [cap_name(cap) for cap in caps], color=theme.MUTED, fontsize=theme.TEXT)
    return ax


@checked
def small_multiples(
    policies: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    measures: Sequence[Measure] = MEASURES,
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size | None = None,
) -> Figure:
    """Return the figure of a grid: a row a measure, a column a history, lines by response against the cap.

    Parameters
    ----------
    policies : one row a ``history``, ``cap`` and ``response``
    look, size : by name, or your own; without a size, as large as the panels need

    Examples
    --------
    >>> from backtest.chart.venues.policy import MEASURES, small_multiples
    >>> shares = {"response": ["same_size"] * 3, "liquidated_share": [0.34, 0.21, 0.09]}
    >>> policies = pl.DataFrame({"history": ["May 2021"] * 3, "cap": [None, 20.0, 10.0], **shares})
    >>> figure = small_multiples(policies, title="Caps on leverage", measures=MEASURES[:1])
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Liquidated, % of positions opened']
    """
    histories = policies["history"].unique(maintain_order=True).to_list()
    figure, panels = grid_figure(
        (len(measures), len(histories)), PANEL, size, title=title, subtitle=subtitle, notes=notes
    )
    for row, measure in zip(panels, measures, strict=True):
        for ax, history in zip(row, histories, strict=True):
            by_cap(policies.filter(pl.col("history") == history), ax, measure=measure)
            if len(histories) > 1 and (measure is measures[0] or is_upright(size)):
                titled(ax, f"{history}\n{measure.title}")
            ax.set_ylim(0, HEADROOM * max(highest(policies, measure), 1e-12))
            if measure is measures[0]:
                make_room(ax, above=LINE * (policies["response"].n_unique() + 0.6))
            fit_labels(ax)
    for ax in panels[-1]:
        theme.below(ax, "highest leverage allowed" if ax is panels[-1][-1] or not is_upright(size) else "")
    response_names(policies, panels[0][0 if is_upright(size) else -1])
    return restyled(figure, look)


@checked
def frontier(
    policies: pl.DataFrame,
    ax: Axes,
    *,
    loss: Measure = MEASURES[2],
    freedom: str = "freedom",
    top: float | None = None,
) -> Axes:
    """Draw the freedom of traders under each policy against the loss it leaves to others.

    Dominated policies of each response are faint; a line joins the others that share rates and other rules (one
    kind of dashes each), labelled with their caps where there is room.

    Parameters
    ----------
    policies : ``dominated`` as ``study.policy.frontier`` returns it, ``cap``, ``response``, freedom and loss;
        ``label`` where a policy is more than its cap; ``rate_scale`` and ``change`` where these differ
    top : loss that the axis reaches, for panels that share it; None: the highest

    Examples
    --------
    >>> from backtest.chart.venues.policy import frontier
    >>> policies = pl.DataFrame({"cap": [None, 20.0, 10.0], "response": ["same_size"] * 3})
    >>> values = {"freedom": [0.9, 0.8, 0.5], "shortfall_per_million": [400.0, 150.0, 160.0]}
    >>> ax = frontier(policies.with_columns(pl.DataFrame(values), dominated=pl.Series([False, False, True])), ax)
    >>> [text.get_text() for text in ax.texts]
    ['none', '20x', '10x', 'same size, more margin']
    """
    rules = [name for name in ("change", "rate_scale") if name in policies.columns]
    sets = policies.select(rules).unique(maintain_order=True).rows() if rules else [()]
    for response, colour in RESPONSE_COLOURS.items():
        own = policies.filter(pl.col("response") == response).unique([freedom, loss.column, *rules]).sort(freedom)
        mark = RESPONSE_MARKS[response]
        ax.plot(own[freedom], own[loss.column], mark, color=colour, alpha=0.28, markersize=5, markeredgewidth=0)
        for number, values in enumerate(sets):
            kept = own.filter(~pl.col("dominated"), **dict(zip(rules, values, strict=True)))
            ax.step(
                kept[freedom], kept[loss.column], where="pre", color=colour, linewidth=1.1, alpha=0.8, zorder=1,
                linestyle=RULE_DASHES[number % len(RULE_DASHES)],
            )  # fmt: skip
            ax.plot(kept[freedom], kept[loss.column], mark, color=colour, markersize=7.5, markeredgewidth=0)
    theme.dress(ax, f"{loss.title}; the best are low and to the right")
    theme.below(ax, "freedom: intended notional that is opened, over the margin required for it")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amounts.percent(value)))
    top = max(highest(policies, loss) if top is None else top, 1e-12)
    ax.set_ylim(-0.03 * top, top)
    responses = policies["response"].n_unique()
    make_room(ax, above=LINE * (responses + 1.6))  # the names, and the label of the highest
    ax.margins(x=0.06)
    ax.get_xlim()  # applies the margins, before names are placed
    theme.amount_axis(ax, loss.write)
    fit_labels(ax)
    named = policies if policies.height <= FEW else policies.filter(~pl.col("dominated"))
    _name_caps(named, ax, freedom, loss.column)
    response_names(policies, ax, inside=True)
    return ax


@checked
def frontiers(
    policies: pl.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    look: Look = LIGHT,
    size: Size | None = None,
) -> Figure:
    """Return the figure of frontiers, a panel a history.

    Parameters
    ----------
    policies : as :func:`frontier` takes them, with ``history``
    look, size : by name, or your own; without a size, as large as the panels need

    Examples
    --------
    >>> from backtest.chart.venues.policy import frontiers
    >>> known = {"history": ["May 2021"] * 2, "cap": [None, 20.0], "response": ["same_size"] * 2}
    >>> values = {"freedom": [0.9, 0.8], "shortfall_per_million": [400.0, 150.0], "dominated": [False] * 2}
    >>> figure = frontiers(pl.DataFrame({**known, **values}), title="Freedom against shortfall")
    >>> figure.axes[0].get_xlabel()
    'freedom: intended notional that is opened, over the margin required for it'
    """
    parts = policies.partition_by("history", maintain_order=True)
    figure, panels = grid_figure((1, len(parts)), FRONTIER, size, title=title, subtitle=subtitle, notes=notes)
    top = highest(policies, MEASURES[2])
    for ax, part in zip(panels[0], parts, strict=True):
        frontier(part, ax, top=top)
        if len(parts) > 1:
            titled(ax, f"{part['history'][0]}\n{MEASURES[2].title}; the best are low and to the right")
    return restyled(figure, look)


@checked
def response_names(policies: pl.DataFrame, ax: Axes, *, inside: bool = False) -> Axes:
    """Write each response in its colour: above the axes on the right, or inside them on the left."""
    present = [name for name in RESPONSE_COLOURS if name in policies["response"].unique()]
    at, alignment = ((0.012, 0.98), "left") if inside else ((1.0, 0.98), "right")
    for number, response in enumerate(present):
        ax.annotate(
            RESPONSE_WORDS[response], at, xytext=(0, -LINE * number), xycoords="axes fraction", ha=alignment,
            va="top", textcoords="offset points", color=RESPONSE_COLOURS[response], fontsize=theme.TEXT,
            weight="bold",
            bbox={"facecolor": theme.PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip
    return ax


@checked
def highest(policies: pl.DataFrame, measure: Measure) -> float:
    """Return the highest value of a measure, bands included."""
    names = [name for name in (measure.column, f"{measure.column}_high") if name in policies.columns]
    return float(policies.select(pl.max_horizontal(pl.col(names).fill_nan(None)).max()).item() or 0.0)


@checked
def cap_order(policies: pl.DataFrame) -> list[float | None]:
    """Return the caps from none to the lowest."""
    caps = policies["cap"].unique().to_list()
    return sorted(caps, key=lambda cap: -float("inf") if cap is None else -cap)


def cap_name(cap: float | None) -> str:
    """Return the name of a cap."""
    return "none" if cap is None else f"{cap:g}x"


def _name_caps(policies: pl.DataFrame, ax: Axes, freedom: str, loss: str) -> None:
    """Label policies with their caps where there is room, from the most freedom on, dominated ones last."""
    taken: list[np.ndarray] = []
    order = ["dominated", freedom, loss]
    for row in policies.sort(order, descending=[False, True, True]).iter_rows(named=True):
        at = ax.transData.transform((row[freedom], row[loss])) / ax.figure.dpi * 72
        if any((np.abs(at - other) < NAME_SPACE).all() for other in taken):
            continue
        taken.append(at)
        on_the_left = ax.transAxes.inverted().transform(ax.transData.transform((row[freedom], row[loss])))[0] < 0.2
        ax.annotate(
            row.get("label") or cap_name(row["cap"]), (row[freedom], row[loss]), textcoords="offset points",
            xytext=(6 if on_the_left else -6, 5), ha="left" if on_the_left else "right", fontsize=theme.TEXT,
            color=RESPONSE_COLOURS[row["response"]], alpha=0.5 if row["dominated"] else 1.0,
        )  # fmt: skip
