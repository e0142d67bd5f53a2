"""Figure of every chart: matplotlib's, with a display in notebooks."""

from __future__ import annotations

from io import BytesIO

from matplotlib import figure

#: Pixels an inch of the page of a notebook.
ON_PAGE = 96


class Figure(figure.Figure):
    """A figure that a notebook shows at the end of a cell, without ``%matplotlib inline``."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture as PNG, and its size on the page."""
        drawn = BytesIO()
        self.savefig(drawn, format="png")
        width, height = (round(ON_PAGE * inches) for inches in self.get_size_inches())
        return drawn.getvalue(), {"width": width, "height": height}
