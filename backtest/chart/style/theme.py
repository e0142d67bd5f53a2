"""Theme of the charts: colours, sizes, axes, panels.

Matplotlib's global settings stay as they are: the theme is set on each artist, so a chart looks the same in every
notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from backtest import amounts
from backtest.chart.style.figure import Figure as OwnFigure
from backtest.chart.style.figure import Heading
from backtest.chart.style.words import FAINT as FAINT
from backtest.chart.style.words import INK as INK
from backtest.chart.style.words import MUTED as MUTED
from backtest.chart.style.words import PAPER as PAPER
from backtest.chart.style.words import SMALL as SMALL
from backtest.chart.style.words import TEXT as TEXT
from backtest.chart.style.words import TITLE, names_above, titled, wrapped
from backtest.chart.style.words import below as below
from backtest.chart.style.words import height as height
from backtest.chart.style.words import width as width

__all__ = [
    "DPI",
    "FAINT",
    "INK",
    "MUTED",
    "PAPER",
    "SIDE_COLOURS",
    "TEXT",
    "below",
    "dress",
    "panel_grid",
    "side_names",
    "stacked_panels",
]
__dir__ = __all__.copy

#: One colour a side in all charts. Orange and blue stay apart in every common colour blindness, and in grey.
SIDE_COLOURS = {"long": "#D9541E", "short": "#2468B4"}

MISSING = "#EFEAE0"

#: Inches and dots an inch: 1600 x 1000 pixels.
SIZE, DPI = (10.0, 6.25), 160

#: Inches left of titles and notes.
MARGIN = 0.2

#: Points between axes and the labels of their ticks.
PAD = 5.5


def dress(ax: Axes, title: str) -> Axes:
    """Give axes the common look: title above, no box, faint grid behind the data.

    Examples
    --------
    >>> from backtest.chart.style import theme
    >>> theme.dress(ax, "Mark price, USDT").get_title(loc="left")
    'Mark price, USDT'
    """
    titled(ax, title)
    ax.set_facecolor("none")
    for name, spine in ax.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
    ax.grid(color=FAINT, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelsize=TEXT, labelcolor=MUTED)
    ax.tick_params(axis="x", pad=PAD)  # below the lowest label of the y axis
    return ax


def side_names(ax: Axes) -> Axes:
    """Write the names of the sides in their colours, above the axes on the right.

    Examples
    --------
    >>> from backtest.chart.style import theme
    >>> [text.get_text() for text in theme.side_names(ax).texts]
    ['longs', 'shorts']
    """
    return names_above(ax, [(f"{side}s", colour) for side, colour in SIDE_COLOURS.items()])


def amount_axis(ax: Axes, write: Callable[[float], str], *, one: float = 1.0) -> None:
    """Label the y axis with a function of the absolute value, for panels mirrored at zero.

    Parameters
    ----------
    one : amount that ticks are round multiples of
    """
    ax.yaxis.set_major_locator(_round_steps(ax) if one == 1.0 else _Multiples(_round_steps(ax), one))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(abs(value))))


class _Multiples(Locator):
    """Round multiples of an amount."""

    def __init__(self, rounds: MaxNLocator, one: float) -> None:
        self.rounds, self.one = rounds, one

    def __call__(self) -> list[float]:
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return [self.one * tick for tick in self.rounds.tick_values(vmin / self.one, vmax / self.one)]


def price_axis(ax: Axes, *, logarithmic: bool) -> None:
    """Label the y axis as prices, on a log scale on request."""
    if logarithmic:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.yaxis.set_major_locator(_round_steps(ax))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amounts.plain(value)))


def stacked_panels(
    figure: Figure,
    *,
    heights: Sequence[float],
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    shared: bool = True,
    left: float = 0.78,
) -> list[Axes]:
    """Write a title above and notes below, and return panels between them that share their x axis.

    Parameters
    ----------
    figure : empty
    heights : of the panels from the top, relative to one another
    title, subtitle : subject and finding
    notes : small, along the bottom
    shared : whether the panels share their x axis; if not, each has its own labels
    left : inches for the labels of the y axes

    Examples
    --------
    >>> from backtest.chart.style import Figure, theme
    >>> len(theme.stacked_panels(Figure(), heights=[3, 1], title="BTCUSDT"))
    2
    """
    width, height = figure.get_size_inches()
    head, foot = _head_and_foot(figure, title, subtitle, notes)
    right, above, below, between = 0.3, head + 0.36, foot + 0.62, 0.36
    panel = (height - above - below - between * (len(heights) - 1)) / len(heights)
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=heights,
        left=left / width,
        right=1 - right / width,
        top=1 - above / height,
        bottom=below / height,
        hspace=between / panel,
    )
    lowest = figure.add_subplot(grid[len(heights) - 1])
    panels = [figure.add_subplot(grid[row], sharex=lowest if shared else None) for row in range(len(heights) - 1)]
    for panel in panels if shared else ():
        panel.tick_params(axis="x", labelbottom=False)
    return [*panels, lowest]


def panel_grid(
    figure: Figure,
    *,
    rows: int,
    columns: int,
    title: str,
    subtitle: str = "",
    notes: Sequence[str] = (),
    left: float = 0.78,
    between: float = 0.42,
    titles: float = 0.36,
    shared: bool = True,
) -> list[list[Axes]]:
    """Write a title above and notes below, and return rows of equal panels between them.

    Panels of a row share their y axis, panels of a column their x axis unless they are not shared; only outer ones
    are labelled. Inches are kept free for the names of the y axis (``left``), the titles of the first row
    (``titles``) and ``between`` rows.

    Examples
    --------
    >>> from backtest.chart.style import Figure, theme
    >>> panels = theme.panel_grid(Figure(figsize=(10, 6)), rows=2, columns=3, title="BTCUSDT")
    >>> [len(row) for row in panels]
    [3, 3]
    """
    width, height = figure.get_size_inches()
    head, foot = _head_and_foot(figure, title, subtitle, notes)
    right, above, below, beside = 0.3, head + titles, foot + 0.62, 0.3
    wide = (width - left - right - beside * (columns - 1)) / columns
    high = (height - above - below - between * (rows - 1)) / rows
    panels = figure.subplots(
        rows,
        columns,
        sharex="col" if shared else False,
        sharey="row",
        squeeze=False,
        gridspec_kw={
            "left": left / width,
            "right": 1 - right / width,
            "top": 1 - above / height,
            "bottom": below / height,
            "wspace": beside / wide,
            "hspace": between / high,
        },
    )
    return [list(row) for row in panels]


def _head_and_foot(figure: Figure, title: str, subtitle: str, notes: Sequence[str]) -> tuple[float, float]:
    """Write title, subtitle and notes, and return their heights at the top and the bottom, in inches."""
    width, height = figure.get_size_inches()
    if isinstance(figure, OwnFigure):
        figure.heading = Heading(title, subtitle, tuple(notes))
    room = (width - 2 * MARGIN) * 72
    lines = wrapped(title, room, TITLE, "bold").split("\n")
    head = _lines_down(figure, lines, top=0.18, size=TITLE, color=INK, weight="bold")
    lines = wrapped(subtitle, room, TEXT + 1).split("\n") if subtitle else []
    head = _lines_down(figure, lines, top=head + 0.06, size=TEXT + 1, color=INK)
    footer = wrapped(" · ".join(notes), room, SMALL).split("\n") if notes else []
    foot = 0.12 + len(footer) * _line(SMALL)
    _lines_down(figure, footer, top=height - foot, size=SMALL, color=MUTED)
    return head, foot


def _round_steps(ax: Axes) -> MaxNLocator:
    """Return ticks at round values, as close together as their labels fit."""
    return MaxNLocator(max(1, int(height(ax) / (2.3 * TEXT))), steps=[1, 2, 2.5, 5, 10])


def _line(size: float) -> float:
    return size * 1.35 / 72


def _lines_down(figure: Figure, lines: Sequence[str], *, top: float, size: float, **look: Any) -> float:
    """Write lines from a distance below the figure's top on, in inches, and return where they end."""
    width, height = figure.get_size_inches()
    for line in lines:
        at = MARGIN / width, 1 - top / height
        figure.text(
            *at, line.strip(" ·"), fontsize=size, va="top", ha="left", parse_math=False, **look
        )  # $ is money here
        top += _line(size)
    return top
