"""Figures of rows and columns of panels: as large as these need, or of a size asked for.

An upright figure has one panel a row, one below the other, and is as high as they need.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.axes import Axes

from backtest.chart.style import theme
from backtest.chart.style.figure import Figure, new_figure
from backtest.chart.style.looks import Size, is_upright

#: Inches that title, notes and labels take: across beyond those of the y axis, and down.
ACROSS, DOWN = 1.0, 2.2


class Panels(NamedTuple):
    """Inches of panels: as large as usual, as small as they are readable, and the least width of a figure.

    ``between`` is free between panels below one another in an upright figure, for the titles and labels of each,
    and ``titles`` above the first row in another.
    """

    width: float
    height: float
    least_width: float
    least_height: float
    whole: float
    between: float = 0.8
    titles: float = 0.36


def grid_figure(
    shape: tuple[int, int], panels: Panels, size: Size | None, *, left: float = 0.78, **words: Any
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with title, subtitle and notes, and its panels by row and column.

    Parameters
    ----------
    shape : rows and columns
    size : of the figure; None: as large as the panels need
    left : inches for the labels of the y axes
    **words
        Title, subtitle and notes.
    """
    rows, columns = shape
    if is_upright(size):
        assert size is not None
        needed = rows * columns * (panels.least_height + panels.between) + DOWN
        high = max(size.height, needed)
        figure = new_figure((size.width, high), dpi=size.dpi, paper=theme.PAPER, least=(left + 2.2, needed))
        stacked = theme.panel_grid(
            figure,
            rows=rows * columns,
            columns=1,
            left=left,
            between=panels.between,
            titles=0.6 * panels.between,
            shared=False,
            **words,
        )
        axes = [row[0] for row in stacked]
        return figure, [axes[row * columns : (row + 1) * columns] for row in range(rows)]
    natural = max(panels.width * columns + left + 0.3, panels.whole), panels.height * rows + 1.9
    least = panels.least_width * columns + left + 0.3, (panels.least_height + 0.3) * rows + 1.9
    inches, dpi = (natural, float(theme.DPI)) if size is None else (size.inches, size.dpi)
    figure = new_figure(inches, dpi=dpi, paper=theme.PAPER, least=natural if size is None else least)
    return figure, theme.panel_grid(figure, rows=rows, columns=columns, left=left, titles=panels.titles, **words)
