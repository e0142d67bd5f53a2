"""Words on charts: titles, names and labels, placed by their measured widths so that none lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Transform

INK, MUTED, FAINT, PAPER = "#1B1F24", "#5B6470", "#E3E6EA", "#FFFFFF"

#: Points: title of a figure, text, small text, between names beside one another.
TITLE, TEXT, SMALL, APART = 14.0, 9.0, 7.5, 9.0

#: Points that the line before a name and the gap behind it take.
LINE = 24.0

#: Kinds of fonts, whose members are settings of their own.
KINDS = ("serif", "sans-serif", "cursive", "fantasy", "monospace")

WIDTHS = TextToPath()

#: Keeps a figure and its sign on one line.
HARD_SPACE = "\N{NO-BREAK SPACE}"

#: What letters gain in width by being drawn at whole pixels, at most.
ROUNDED = 1.1


def height(ax: Axes) -> float:
    """Return the height of axes in points."""
    return float(ax.bbox.height / ax.figure.dpi * 72)


def width(ax: Axes) -> float:
    """Return the width of axes in points."""
    return float(ax.bbox.width / ax.figure.dpi * 72)


def text_width(text: str, size: float = TEXT, weight: str = "normal") -> float:
    """Return the width of the longest line of a text in points, in the font of matplotlib's settings."""
    settings: Any = rcParams
    family = tuple(settings["font.family"])
    return _width(
        text, size, weight, family, *(tuple(settings[f"font.{name}"]) for name in family if name in KINDS)
    )


@cache
def _width(text: str, size: float, weight: str, *_: tuple[str, ...]) -> float:
    """Return the width, letters rounded up to pixels included; the settings tell cached ones apart."""
    font = FontProperties(size=size, weight=weight)
    return ROUNDED * max(
        float(WIDTHS.get_text_width_height_descent(line, font, ismath=False)[0]) for line in text.split("\n")
    )


def wrapped(text: str, room: float, size: float = TEXT, weight: str = "normal") -> str:
    """Return a text in lines that fit into so many points; its own line ends stay."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines.append("")
        for word in paragraph.replace(" %", HARD_SPACE + "%").split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and text_width(longer, size, weight) > room:
                lines.append(word)
            else:
                lines[-1] = longer
    return "\n".join(lines).replace(HARD_SPACE, " ")


def titled(
    ax: Axes, title: str, *, size: float = TEXT, color: str = MUTED, weight: str = "normal", beside: float = 0.0
) -> None:
    """Write a title above axes on the left, in as many lines as its width needs.

    Parameters
    ----------
    beside : points on the right that names above the axes take; a title that would need more than two lines beside
        them is written above them
    """
    text, pad = wrapped(title, width(ax) - beside, size, weight), 5.0
    if beside and text.count("\n") > max(1, title.count("\n")):
        text, pad = wrapped(title, width(ax), size, weight), pad + 1.35 * TEXT
    drawn = ax.set_title(text, loc="left", color=color, fontsize=size, pad=pad, weight=weight)
    drawn.set_parse_math(False)
    drawn.set_label(title)


def names_above(ax: Axes, names: Sequence[tuple[str, str]]) -> Axes:
    """Write names in their colours above axes on the right, side by side, and keep the title beside them."""
    taken = right = sum(text_width(name, TEXT, "bold") + APART for name, _ in names)
    for name, colour in names:
        right -= text_width(name, TEXT, "bold") + APART
        ax.annotate(
            name, (1, 1), xytext=(-right, 5), xycoords="axes fraction", textcoords="offset points", ha="right",
            color=colour, fontsize=TEXT, weight="bold",
        )  # fmt: skip
    shown = ax.get_title(loc="left")
    for text in ax.get_children():
        if shown and isinstance(text, Text) and text.get_text() == shown:
            look: dict[str, Any] = {
                "size": text.get_fontsize(),
                "color": text.get_color(),
                "weight": text.get_fontweight(),
            }
            titled(ax, str(text.get_label()), beside=taken, **look)
    return ax


def below(ax: Axes, text: str, *, size: float = TEXT, pad: float = 4.0) -> None:
    """Name the x axis, in as many lines as its width needs.

    Examples
    --------
    >>> from backtest.chart.style import theme
    >>> theme.below(ax, "maintenance rate")
    >>> ax.get_xlabel()
    'maintenance rate'
    """
    ax.set_xlabel(wrapped(text, width(ax), size), color=MUTED, fontsize=size, labelpad=pad)


def aside(ax: Axes, text: str, *, color: str = MUTED, pad: float = 3.0) -> None:
    """Name the y axis in small letters, in one or two lines."""
    size, lines = SMALL, wrapped(text, height(ax), SMALL)
    while lines.count("\n") > 1 and size > 0.5 * SMALL:
        size *= 0.95
        lines = wrapped(text, height(ax), size)
    ax.set_ylabel(lines, color=color, fontsize=size, labelpad=pad)


def label(
    ax: Axes,
    text: str,
    point: tuple[float, float],
    *,
    toward: float = 0.0,
    up: float = 5.0,
    color: str = INK,
    weight: str = "normal",
    paper: str = PAPER,
    coordinates: Transform | None = None,
) -> None:
    """Write beside a point, moved sideways as far as the text needs to stay within the axes.

    Parameters
    ----------
    toward : -1 on the left of the point, 0 centred, 1 on its right
    up : points above the point, or below it if negative
    coordinates : of the point, data in x; None: data in both
    """
    ax.get_xlim()  # applies limits that wait for the next drawing
    wide, whole = text_width(text, TEXT, weight), width(ax)
    at = (ax.transData.transform((point[0], 1.0))[0] - ax.bbox.x0) / ax.figure.dpi * 72
    left = min(max(at + (toward - 1) * wide / 2 + 5 * toward, 1.0), max(whole - wide - 1.0, 0.0))
    ax.annotate(
        text, point, xycoords=coordinates or "data", xytext=(left - at, up), textcoords="offset points", ha="left",
        va="bottom" if up >= 0 else "top", fontsize=TEXT, color=color, weight=weight, zorder=6,
        bbox={"facecolor": paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )  # fmt: skip


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float] | None:
    """Return places between two ends, as near to those wanted as fits, so that nothing of a size lies on another.

    Parameters
    ----------
    wanted, sizes : middle and extent of each

    Returns
    -------
    The middles; None where there is no room for all.

    Examples
    --------
    >>> from backtest.chart.style.words import spread
    >>> spread([5.0, 5.0, 19.0], [4.0, 4.0, 4.0], low=0.0, high=20.0)
    [3.0, 7.0, 18.0]
    """
    if sum(sizes) > (high - low) * (1 + 1e-9):
        return None
    groups: list[list[int]] = []
    for at in sorted(range(len(wanted)), key=lambda at: wanted[at]):
        groups.append([at])
        while len(groups) > 1 and _end(groups[-2], wanted, sizes, low, high) > _start(
            groups[-1], wanted, sizes, low, high
        ):
            last = groups.pop()
            groups[-1] += last
    places = [0.0] * len(wanted)
    for group in groups:
        end = _start(group, wanted, sizes, low, high)
        for at in group:
            places[at] = end + sizes[at] / 2
            end += sizes[at]
    return places


def _start(
    group: Sequence[int], wanted: Sequence[float], sizes: Sequence[float], low: float, high: float
) -> float:
    """Return where a row of things that touch begins, so that they lie as near as possible to their places."""
    before, starts = 0.0, []
    for at in group:
        starts.append(wanted[at] - sizes[at] / 2 - before)
        before += sizes[at]
    return min(max(sum(starts) / len(starts), low), high - before)


def _end(group: Sequence[int], wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> float:
    return _start(group, wanted, sizes, low, high) + sum(sizes[at] for at in group)


def key(ax: Axes) -> None:
    """Name the lines of axes in a row or more below what they show, which they leave free."""
    names = [str(line.get_label()) for line in ax.lines if not str(line.get_label()).startswith("_")]
    widest = max(text_width(name, SMALL) for name in names)
    columns = max(1, min(len(names), int(width(ax) / (widest + LINE))))
    make_room(ax, below=1.4 * SMALL * -(-len(names) // columns) + 4)
    ax.legend(
        loc="lower left", ncols=columns, frameon=False, fontsize=SMALL, labelcolor=INK, borderaxespad=0.2,
        borderpad=0.1, labelspacing=0.15, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip


def fit_labels(ax: Axes, room: float | None = None) -> None:
    """Write the labels of the y axis smaller where they are wider than the room left of the axes, in points."""
    room = (ax.bbox.x0 / ax.figure.dpi * 72 if room is None else room) - 6.0
    write, (low, high) = ax.yaxis.get_major_formatter(), sorted(ax.get_ylim())
    texts = [write(tick, place) for place, tick in enumerate(ax.get_yticks()) if low <= tick <= high]
    widest = max(map(text_width, texts), default=0.0)
    ax.tick_params(axis="y", labelsize=TEXT * min(1.0, room / max(widest, 1.0)))


def make_room(ax: Axes, *, above: float = 0.0, below: float = 0.0) -> None:
    """Widen the y axis so that so many points above and below what it shows now are free, for words."""
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(np.array(ax.get_ylim()))
    a_point = (high - low) / max(height(ax) - above - below, 0.2 * height(ax))
    ax.set_ylim(*scale.inverted().transform(np.array([low - below * a_point, high + above * a_point])))
