"""Cells of a heatmap, drawn so that no cell is lost where several share a pixel: it shows the largest of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import allow_rasterization
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import QuadMesh
from matplotlib.transforms import IdentityTransform

from backtest.kernel.types import Floats, Integers


class Cells(QuadMesh):
    """The amounts of a grid of cells; empty ones are masked, and negative ones do not occur."""

    #: What the amounts are: notional, or quantity.
    measure: str

    #: What shares are of, and the amount below which cells are left empty.
    whole: float = 1.0
    least: float = 0.0

    @allow_rasterization  # type: ignore[untyped-decorator]
    def draw(self, renderer: RendererBase) -> None:
        """Draw the cells, or where they outnumber pixels the largest of those that begin in each."""
        held: Any = self.get_array()
        amounts, corners, place = np.ma.filled(held, 0.0), np.asarray(self.get_coordinates()), self.get_transform()
        across, up = (np.asarray(place.transform(edges)) for edges in (corners[0], corners[:, 0]))
        columns, rows = _pixels(across[:, 0]), _pixels(up[:, 1])
        if columns[0].size == amounts.shape[1] and rows[0].size == amounts.shape[0]:
            super().draw(renderer)
            return
        largest = np.maximum.reduceat(np.maximum.reduceat(amounts, rows[0], axis=0), columns[0], axis=1)
        drawn = cells(columns[1], rows[1], largest, cmap=self.get_cmap(), norm=self.norm, measure=self.measure)
        drawn.set_transform(IdentityTransform())
        drawn.set_figure(self.get_figure(root=False))  # type: ignore[arg-type]
        drawn.set_clip_path(self.get_clip_path())
        drawn.set_clip_box(self.get_clip_box())
        drawn.draw(renderer)


def cells(across: Floats, up: Floats, amounts: Floats, *, cmap: Any, norm: Any, measure: str) -> Cells:
    """Return the cells between edges; ``amounts`` holds a row a step up."""
    corners = np.stack(np.meshgrid(across, up), axis=-1)
    made = Cells(
        corners, array=np.ma.masked_equal(amounts, 0.0), cmap=cmap, norm=norm, antialiased=False, linewidth=0,
        rasterized=True,  # a million cells would be a million shapes in a vector file
    )  # fmt: skip
    made.measure = measure
    return made


def cells_of(ax: Axes) -> Cells:
    """Return the cells of axes that a heatmap was drawn on."""
    return next(found for found in ax.collections if isinstance(found, Cells))


def _pixels(edges: Floats) -> tuple[Integers, Floats]:
    """Return the first cell of each pixel in which any begins, and the edges of these pixels."""
    pixels = np.floor(edges + 0.5)
    firsts = np.flatnonzero(np.diff(pixels[:-1], prepend=-np.inf))
    return firsts, np.append(pixels[:-1][firsts], max(pixels[-1], pixels[-2] + 1.0))
