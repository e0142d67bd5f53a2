"""Free places for labels: near what they name, on nothing else that is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text

from backtest.kernel.types import Floats

#: Points: distances that are tried, and the least room around a label.
STEP, FURTHEST, APART = 6.0, 190.0, 2.0

#: Directions that are tried at each distance, in degrees from the right, those above first.
DIRECTIONS = (90, 60, 120, 35, 145, 15, 165, 0, 180, -15, -165, -35, -145)


class Box(NamedTuple):
    """A rectangle in points from the lower left corner of axes."""

    left: float
    low: float
    right: float
    high: float


def free_place(
    point: tuple[float, float],
    size: tuple[float, float],
    inside: Box,
    *,
    boxes: Sequence[Box] = (),
    lines: Sequence[Floats] = (),
    words: Sequence[Box] = (),
) -> tuple[float, float] | None:
    """Return the middle of the nearest place for a label that lies on no box and no line; None without one.

    Parameters
    ----------
    point : that the label names, in points
    size : width and height of the label
    inside : where labels may be
    lines : (n, 2) each, joined by straight lines
    words : that a straight line from the label to its point does not cross either
    """
    around = np.array([-APART, -APART, APART, APART])
    taken = np.array(boxes, np.float64).reshape(-1, 4) + around
    for away in np.arange(STEP, FURTHEST, STEP):
        for angle in np.deg2rad(DIRECTIONS):
            across, up = np.cos(angle), np.sin(angle)
            x = point[0] + across * (away + size[0] / 2)
            y = point[1] + up * (away + size[1] / 2)
            own = Box(x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)
            lead = np.array([point, (x, y)])
            if _is_free(own, inside, taken, lines) and not any(crosses(lead, box) for box in words):
                return x, y
    return None


def box_of(text: Text, ax: Axes) -> Box:
    """Return the rectangle of a drawn text, without a line that leads from it."""
    text.get_window_extent()  # moves an annotation to its place
    found = Text.get_window_extent(text)
    a_point = ax.figure.dpi / 72
    ends = found.x0 - ax.bbox.x0, found.y0 - ax.bbox.y0, found.x1 - ax.bbox.x0, found.y1 - ax.bbox.y0
    return Box(*(float(end / a_point) for end in ends))


def in_points(ax: Axes, places: Floats) -> Floats:
    """Return places in data as points from the lower left corner of axes."""
    corner = np.array([ax.bbox.x0, ax.bbox.y0])
    return np.asarray((ax.transData.transform(places) - corner) / ax.figure.dpi * 72)


def _is_free(own: Box, inside: Box, taken: Floats, lines: Sequence[Floats]) -> bool:
    within = inside.left <= own.left and own.right <= inside.right
    if not (within and inside.low <= own.low and own.high <= inside.high):
        return False
    across = (taken[:, 0] < own.right) & (own.left < taken[:, 2])
    up = (taken[:, 1] < own.high) & (own.low < taken[:, 3])
    return not (across & up).any() and not any(crosses(line, own) for line in lines)


def crosses(line: Floats, box: Box) -> bool:
    """Return whether a line of straight pieces touches a box."""
    first, last = line[:-1], line[1:]
    start, end = np.zeros(len(first)), np.ones(len(first))
    possible = np.ones(len(first), bool)
    for place, low, high in ((0, box.left - APART, box.right + APART), (1, box.low - APART, box.high + APART)):
        begin, step = first[:, place], last[:, place] - first[:, place]
        still = step == 0
        possible &= ~still | ((begin >= low) & (begin <= high))
        each = np.where(still, 1.0, step)
        enter, leave = (low - begin) / each, (high - begin) / each
        start = np.where(still, start, np.maximum(start, np.minimum(enter, leave)))
        end = np.where(still, end, np.minimum(end, np.maximum(enter, leave)))
    return bool((possible & (start <= end)).any())
