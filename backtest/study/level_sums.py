"""What level maps add up to: the same symbol on several venues, or several symbols by distance from a price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backtest.errors import ArgumentError
from backtest.kernel.compile import readonly
from backtest.study.level_cells import SIDES
from backtest.study.levels import Levels

#: Edges that lie together but for rounding.
TOLERANCE = 1e-9


def combined(
    maps: Sequence[Levels], *, symbol: str | None = None, references: Sequence[float] | None = None
) -> Levels:
    """Return the sum of maps of the same columns.

    Parameters
    ----------
    maps : of one symbol on several venues, over the same bins; or of several symbols, with references
    symbol : what the sum is called; None: the first map's symbol
    references : a price of each map's symbol, say of the first bar; bins then lie at the same parts of it, and those
        of the sum are in per cent of it

    Raises
    ------
    ArgumentError
        For no maps, maps whose columns, units or measures differ, and bins that do not lie together.
    """
    if not maps or (references is not None and len(references) != len(maps)):
        raise ArgumentError(f"combined needs maps, and a reference for each: {len(maps)} maps, {references!r}")
    first = maps[0]
    scales = [1.0] * len(maps) if references is None else [100.0 / price for price in references]
    edges = first.grid.price_edges * scales[0]
    for number, (other, scale) in enumerate(zip(maps, scales, strict=True)):
        _require_alike(first, other, number)
        own = other.grid.price_edges * scale
        if own.shape != edges.shape or not np.allclose(own, edges, rtol=TOLERANCE, atol=0.0):
            raise ArgumentError(
                f"maps must have the same bins (with references: at the same parts of them), map {number} has others"
            )
    grid = replace(first.grid, symbol=symbol or first.grid.symbol, price_edges=edges)
    sentences = dict.fromkeys(sentence for each in maps for sentence in each.assumptions)
    return Levels(
        grid,
        readonly(np.sum([each.long for each in maps], axis=0)),
        readonly(np.sum([each.short for each in maps], axis=0)),
        {side: readonly(np.sum([each.outside[side] for each in maps], axis=0)) for side in SIDES},
        {side: readonly(np.sum([each.erased[side] for each in maps], axis=0)) for side in SIDES},
        first.unit,
        first.measure,
        tuple(sentences),
    )


def _require_alike(first: Levels, other: Levels, number: int) -> None:
    for name, one, another in (
        ("first columns", first.grid.start, other.grid.start),
        ("column lengths", first.grid.step, other.grid.step),
        ("numbers of columns", first.grid.columns, other.grid.columns),
        ("units", first.unit, other.unit),
        ("measures", first.measure, other.measure),
    ):
        if one != another:
            raise ArgumentError(f"maps must have the same {name}: map 0 has {one}, map {number} has {another}")
