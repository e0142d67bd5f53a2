"""Level maps together: of one symbol on several venues, of several symbols; and apart, by leverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Integers, readonly
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.levels.cells import SIDES
from backtest.study.levels.grid import LevelGrid, column_bars, level_grid
from backtest.study.levels.levels import Levels, levels
from backtest.study.liquidations.grouping import bucket_type, leverage, leverage_bucket
from backtest.study.units import MOST_UNITS

__all__ = ["combined", "levels_by_leverage", "relative_grids"]
__dir__ = __all__.copy

#: Relative difference of edges that is still rounding.
TOLERANCE = 1e-9

#: Leverages at which the groups of an explored heatmap meet.
GROUP_EDGES = (10.0, 50.0)


def combined(
    maps: Sequence[Levels], *, symbol: str | None = None, references: Sequence[float] | None = None
) -> Levels:
    """Return the sum of maps of the same columns.

    Parameters
    ----------
    maps : of one symbol on several venues, over the same bins; or of several symbols, with references
    symbol : name of the sum; None: the first map's symbol
    references : a price of each map's symbol, say of the first bar; bins then lie at the same parts of it, and
        those of the sum are in per cent of it

    Raises
    ------
    ArgumentError
        For no maps, maps whose columns, units or measures differ, and bins that differ.

    Examples
    --------
    >>> from backtest.study.levels.combine import combined
    >>> both = combined([open_levels, open_levels], symbol="two venues")
    >>> int(both.long.sum() / open_levels.long.sum())
    2
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
                f"maps must have the same bins (with references: at the same parts of them): map {number} has not"
            )
    grid = replace(first.grid, symbol=symbol or first.grid.symbol, price_edges=edges)
    sentences = dict.fromkeys(sentence for each in maps for sentence in each.assumptions)
    return Levels(
        grid,
        _added([each.long for each in maps]),
        _added([each.short for each in maps]),
        {side: _added([each.outside[side] for each in maps]) for side in SIDES},
        {side: _added([each.triggered[side] for each in maps]) for side in SIDES},
        first.unit,
        first.measure,
        tuple(sentences),
    )


@checked
def relative_grids(
    market: Market, *, window: tuple[datetime, datetime] | None = None, bins: int = 300, columns: int = 600
) -> dict[str, tuple[LevelGrid, float]]:
    """Return grids of every symbol of a market over the same parts of a price of each, and these prices.

    Parameters
    ----------
    window : first and last moment; None: the whole history
    bins, columns : as in ``grid.level_grid``; bins have equal ratios

    Returns
    -------
    By symbol: the grid, and the opening price of the window, the reference that :func:`combined` takes.

    Examples
    --------
    >>> from backtest.study.levels.combine import relative_grids
    >>> found, price = relative_grids(market, bins=40, columns=102)["BTCUSDT"]
    >>> found.bins, found.columns, price
    (40, 102, 58286.0)
    """
    whole = {symbol: level_grid(market, symbol, window=window, columns=columns) for symbol in market.symbols}
    prices = {symbol: column_bars(market, grid) for symbol, grid in whole.items()}
    references = {symbol: float(bars["open"][0]) for symbol, bars in prices.items()}
    parts = [
        (whole[name].price_edges[0] / price, whole[name].price_edges[-1] / price)
        for name, price in references.items()
    ]
    low, high = min(part for part, _ in parts), max(part for _, part in parts)
    return {
        symbol: (
            level_grid(
                market, symbol, window=window, prices=(low * price, high * price), bins=bins, columns=columns,
                logarithmic=True,
            ),
            price,
        )
        for symbol, price in references.items()
    }  # fmt: skip


def _added(cells: Sequence[Integers]) -> Integers:
    columns = (float(np.atleast_2d(each).sum(axis=0, dtype=np.float64).max(initial=0)) for each in cells)
    if (units := sum(columns)) > MOST_UNITS:
        raise ArgumentError(f"maps: unit must be larger: an int64 cannot hold {units:.3g} units")
    return readonly(np.sum(cells, axis=0))


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


@checked
def levels_by_leverage(
    outcomes: pl.DataFrame, grid: LevelGrid, *, edges: tuple[float, ...] = GROUP_EDGES, **terms: Any
) -> dict[str, Levels]:
    """Return the open notional of each cell of a grid, by groups of leverage.

    Parameters
    ----------
    outcomes, grid, **terms : as for :func:`levels`
    edges : leverages at which a group ends and the next begins, ascending

    Returns
    -------
    Levels by the name of their group, from the lowest leverage up; their cells add up to those of ``levels``.

    Examples
    --------
    >>> from backtest.study.levels import levels_of, without_drift
    >>> from backtest.study.levels.combine import levels_by_leverage
    >>> fixed = without_drift(book, market, venue)
    >>> groups = levels_by_leverage(fixed, grid)
    >>> list(groups)
    ['below 10x', '10x to 50x', '50x and more']
    >>> bool((sum(each.long for each in groups.values()) == levels_of(book, market, venue, grid).long).all())
    True
    """
    pieces = terms.pop("pieces", None)
    names = outcomes.select(leverage_bucket(leverage(outcomes), edges)).to_series()
    found = {}
    for name in bucket_type(edges).categories:
        own = names == name
        if pieces is None:
            found[name] = levels(outcomes.filter(own), grid, **terms)
        else:
            found[name] = levels(outcomes, grid, pieces=pieces.filter(own.gather(pieces["row"])), **terms)
    return found
