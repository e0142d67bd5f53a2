"""Nearest roots of curves that are straight in a factor c and in 1 / c between edges, found piece by piece.

A curve is ``a c + b + d / c``; at each of its edges the coefficients jump. Equity less maintenance margin is such
a curve of a factor on prices: ``a`` comes from linear contracts and collateral, ``d`` from inverse contracts, the
edges from tiers and haircuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backtest.kernel.types import Floats, Integers

#: Edges held at once, which the processor's cache holds (10,000 accounts of four positions: 0.20 s, at once 0.27).
CELLS = 30_000

#: A root on an edge may be computed just outside both of its pieces.
TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves over factors above zero."""

    start: Floats  #: (n, 3) a, b and d below the first edge
    curve: Integers  #: (m,) whose edge each is
    edge: Floats  #: (m,) factor
    jump: Floats  #: (m, 3) added to a, b and d from the edge on


def nearest(curves: Curves) -> tuple[Floats, Floats]:
    """Return each curve's nearest roots at or below and at or above a factor of 1, (n,) each; NaN where none is.

    A curve that touches zero at 1 has the root there on the sides on which it falls below.
    """
    below, above = np.full(len(curves.start), np.nan), np.full(len(curves.start), np.nan)
    for rows, edges, pieces in _padded(curves):
        found = _roots(pieces)
        inside = np.isfinite(found) & (found > 0)
        inside &= found >= edges[:, :-1, None] * (1 - TOLERANCE)
        inside &= found <= edges[:, 1:, None] * (1 + TOLERANCE)
        here = np.abs(found - 1) <= TOLERANCE
        falls_down = _slope(pieces, (edges[:, 1:-1] < 1).sum(1)) > 0
        falls_up = _slope(pieces, (edges[:, 1:-1] <= 1).sum(1)) < 0
        down = inside & (found <= 1) & ~(here & ~falls_down[:, None, None])
        up = inside & (found >= 1) & ~(here & ~falls_up[:, None, None])
        least = np.where(down, found, -np.inf).max((1, 2))
        most = np.where(up, found, np.inf).min((1, 2))
        below[rows] = np.where(np.isfinite(least), least, np.nan)
        above[rows] = np.where(np.isfinite(most), most, np.nan)
    return below, above


def _padded(curves: Curves) -> Iterator[tuple[Integers, Floats, Floats]]:
    """Yield curves of like width: their rows, edges of their pieces (r, w + 2), coefficients (r, w + 1, 3)."""
    order = np.lexsort((curves.edge, curves.curve))
    counts = np.bincount(curves.curve, minlength=len(curves.start))
    first = np.cumsum(counts) - counts
    by_width = np.argsort(counts, kind="stable")
    done = 0
    while done < by_width.size:
        take = by_width.size - done
        while take > 1 and take * (counts[by_width[done + take - 1]] + 2) > CELLS:
            take //= 2
        rows = by_width[done : done + take]
        done += take
        width = int(counts[rows[-1]])
        place = np.arange(width)
        own = place < counts[rows, None]
        which = order[np.where(own, first[rows, None] + place, 0)] if width else np.zeros(own.shape, np.int64)
        edges = np.full((rows.size, width + 2), np.inf)
        edges[:, 0] = 0.0
        edges[:, 1:-1][own] = curves.edge[which[own]]
        pieces = np.zeros((rows.size, width + 1, 3))
        pieces[:, 0] = curves.start[rows]
        pieces[:, 1:][own] = curves.jump[which[own]]
        yield rows, edges, pieces.cumsum(axis=1)


def _roots(pieces: Floats) -> Floats:
    """Return the two roots of each piece, infinite or NaN where there is none."""
    a, b, d = pieces[..., 0], pieces[..., 1], pieces[..., 2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        half = -(b + np.copysign(np.sqrt(b * b - 4 * a * d), b)) / 2
        return np.stack([half / a, d / half], axis=-1)


def _slope(pieces: Floats, piece: npt.NDArray[np.int64]) -> Floats:
    """Return the slope of each curve at 1 by one of its pieces."""
    own = pieces[np.arange(len(pieces)), piece]
    slope: Floats = own[:, 0] - own[:, 2]
    return slope
