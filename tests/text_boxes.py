"""Boxes of the words of a drawn figure: which overlap, which are cut off at its edge."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels that boxes may share: they reach a little beyond their letters.
SLACK = 2.0


def problems(figure: Figure) -> list[str]:
    """Return which words of a figure overlap others or reach beyond it, and axes that show nothing."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    boxes = list(_boxes(figure))
    found = [
        f"cut off: {text!r}"
        for text, box in boxes
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK
    ]
    for (one, first), (other, second) in combinations(boxes, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        up = min(first.y1, second.y1) - max(first.y0, second.y0)
        if across > SLACK and up > SLACK:
            found.append(f"overlap: {one!r} and {other!r}")
    low = min((ax.get_position().height for ax in figure.axes), default=1.0)
    return [*found, *(["an axes without height"] if low <= 0 else [])]


def shown_texts(figure: Figure) -> list[str]:
    """Return every word that is shown in a figure."""
    FigureCanvasAgg(figure).draw()
    return [text for text, _ in _boxes(figure)]


def _boxes(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Yield every word that is shown, with its box; labels of ticks outside the limits are not."""
    hidden = {id(label) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in _outside(ax, axis)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_text().strip() and id(text) not in hidden and _shown(text):
            whole = text.get_window_extent()  # a pixel where it is not drawn; else with its line
            yield text.get_text(), whole if whole.width <= 1 else Text.get_window_extent(text)


def _outside(ax: Axes, axis: Axis) -> Iterator[Artist]:
    low, high = sorted(axis.get_view_interval())
    room = 1e-9 * (high - low)
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        inside = low - room <= tick.get_loc() <= high + room
        for label in (tick.label1, tick.label2):
            if not (inside and label.get_visible() and ax.axison):
                yield label
    if not ax.axison:
        yield axis.label


def _shown(text: Text) -> bool:
    return text.get_visible() and (text.axes is None or text.axes.get_visible())
