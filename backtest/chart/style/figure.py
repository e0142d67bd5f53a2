"""Figure of every chart: matplotlib's, with a display in notebooks."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

from matplotlib import figure

Inches = tuple[float, float]

#: Pixels an inch of the page of a notebook.
ON_PAGE = 96

#: Least width and height in inches at which the words of a figure fit at their usual size.
LEAST = (7.0, 4.6)

#: Height over width from which a figure is upright, as a phone is held, and what it needs at least.
UPRIGHT = 1.3
LEAST_UPRIGHT = (5.0, 7.0)


class Heading(NamedTuple):
    """What a figure says about itself."""

    title: str = ""
    subtitle: str = ""
    notes: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Finding, sources and assumptions in one text."""
        sentences = (f"{text.rstrip('.')}." for text in (self.subtitle, *self.notes) if text.strip())
        return " ".join(sentences)


class Figure(figure.Figure):
    """A figure that a notebook shows at the end of a cell, without ``%matplotlib inline``."""

    #: By how much the figure was reduced on the page.
    reduced = 1.0

    #: Its title, subtitle and notes.
    heading = Heading()

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture as PNG, and its size on the page."""
        drawn = BytesIO()
        self.savefig(drawn, format="png")
        width, height = (round(ON_PAGE * inches / self.reduced) for inches in self.get_size_inches())
        return drawn.getvalue(), {"width": width, "height": height}


def new_figure(size: Inches, *, dpi: float, paper: str, least: Inches | None = None) -> Figure:
    """Return an empty figure of so many inches.

    One smaller than ``least`` is laid out larger and has fewer dots an inch, which makes the same pixels: its
    words shrink with it instead of lying on one another.
    """
    if least is None:
        least = LEAST_UPRIGHT if size[1] > UPRIGHT * size[0] else LEAST
    reduced = max(1.0, *(needed / asked for needed, asked in zip(least, size, strict=True)))
    inches = size[0] * reduced, size[1] * reduced
    rounding = 1.0 if reduced == 1.0 else 1 + 1e-12  # pixels are rounded down
    made = Figure(figsize=inches, dpi=dpi / reduced * rounding, facecolor=paper)
    made.reduced = reduced
    return made
