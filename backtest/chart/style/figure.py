"""The figure every chart is drawn on: matplotlib's, and it shows itself in a notebook."""

from __future__ import annotations

from io import BytesIO

from matplotlib import figure

#: Dots of the page that a notebook gives an inch.
ON_PAGE = 96


class Figure(figure.Figure):
    """A figure that a notebook shows at the end of a cell, without ``%matplotlib inline``."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture, and how large a page shows it."""
        drawn = BytesIO()
        self.savefig(drawn, format="png")
        width, height = (round(ON_PAGE * inches) for inches in self.get_size_inches())
        return drawn.getvalue(), {"width": width, "height": height}
