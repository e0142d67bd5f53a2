"""Data of a drawn figure that its axes do not show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, EllipseCollection, QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, StepPatch

#: Part of an axis that data may reach beyond it: rounding, and half the width of a line.
SLACK = 4e-3

OTHERS = (QuadMesh, ContourSet, EllipseCollection)

#: Artists that are cut off on purpose: prices of a profile beyond those of the heatmap beside it, the first
#: moments of a curve on a log axis.
CUT = {"long", "short", "levels", "curve"}


def hidden(figure: Figure) -> list[str]:
    """Return the artists of which some point lies beyond the limits of its axes."""
    found = []
    for ax in figure.axes:
        if not ax.axison:
            continue
        for name, points in _points(ax):
            known = points[np.isfinite(points).all(axis=1)]
            if known.size:
                places = ax.transAxes.inverted().transform(ax.transData.transform(known))
                beyond = np.abs(places - 0.5).max() - 0.5
                if not beyond <= SLACK:
                    found.append(f"{name} on {ax.get_title(loc='left')!r} by {beyond:.3f}")
    return found


def _points(ax: Axes) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the points of everything that is drawn in data coordinates."""
    for artist in ax.get_children():
        name = f"{type(artist).__name__} {artist.get_gid() or ''}".strip()
        if (
            not artist.get_visible()
            or artist.get_gid() in CUT
            or artist in ax.spines.values()
            or artist is ax.patch
        ):
            continue
        if isinstance(artist, Line2D) and artist.get_transform() == ax.transData:
            yield name, np.column_stack([np.asarray(values, float) for values in artist.get_data()])
        elif isinstance(artist, StepPatch):
            values, edges, _ = artist.get_data()
            yield name, np.column_stack([np.repeat(edges, 2)[1:-1], np.repeat(values, 2)])
        elif isinstance(artist, Patch) and artist.get_data_transform() == ax.transData:
            yield name, artist.get_path().transformed(artist.get_patch_transform()).vertices
        elif isinstance(artist, Collection) and not isinstance(artist, OTHERS):
            paths = artist.get_paths() if artist.get_transform() == ax.transData else []
            yield from ((name, path.vertices) for path in paths)
