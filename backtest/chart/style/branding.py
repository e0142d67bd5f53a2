"""A name in the corner of a figure, and a faint one across it."""

from __future__ import annotations

from typing import TypeVar

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as AnyFigure

from backtest.chart.style import theme
from backtest.chart.style.words import SMALL, text_width

F = TypeVar("F", bound=AnyFigure)

#: Inches below the top of a figure, above its title; points of the largest watermark, and how faint it is.
BELOW_TOP, LARGEST, FAINTNESS = 0.03, 60.0, 0.10

#: Part of the width that a watermark takes, and how it is turned.
ACROSS, TURNED = 0.7, 20.0


def branded(figure: F, brand: str = "", watermark: str = "") -> F:
    """Write a name above the title on the right, and a watermark across a figure.

    Parameters
    ----------
    brand : of who made the picture, in small letters
    watermark : across the middle, faint, behind nothing

    Examples
    --------
    >>> from backtest.chart.style import Figure, branded
    >>> figure = branded(Figure(figsize=(8, 5)), "example.org", "draft")
    >>> [text.get_text() for text in figure.texts]
    ['example.org', 'draft']
    """
    width, height = figure.get_size_inches()
    ink = _ink(figure)
    if brand:
        room = (width - 2 * theme.MARGIN) * 72
        size = SMALL * min(1.0, room / text_width(brand, SMALL))
        figure.text(
            1 - theme.MARGIN / width, 1 - BELOW_TOP / height, brand, ha="right", va="top", fontsize=size,
            color=ink, alpha=0.75, parse_math=False, gid="brand",
        )  # fmt: skip
    if watermark:
        size = min(LARGEST, 10 * ACROSS * width * 72 / text_width(watermark, 10.0, "bold"))
        figure.text(
            0.5, 0.5, watermark, ha="center", va="center", fontsize=size, weight="bold", rotation=TURNED,
            color=ink, alpha=FAINTNESS, parse_math=False, gid="watermark", zorder=10,
        )  # fmt: skip
    return figure


def _ink(figure: AnyFigure) -> str:
    """Return black or white, whichever is seen on the paper."""
    red, green, blue = to_rgb(figure.get_facecolor())
    return "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
