"""Heatmaps of others, in the JSON shape of charting front ends, as levels that can be scored.

The shape is that of :func:`~backtest.study.levels.export.heatmap_json`, alone or under ``data``: ``y_axis``,
``liquidation_leverage_data`` and ``price_candlesticks``. It says neither where a bin ends nor which side a cell
is of: bins end halfway between their middles, and cells below the close of their column are taken as longs, above
as shorts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.errors import DataError, quoted
from backtest.kernel.types import Flags, Floats, Integers, readonly
from backtest.schemas.arguments import checked
from backtest.schemas.frames import POSITIONS
from backtest.study.levels.grid import LevelGrid
from backtest.study.levels.levels import UNITS, Levels

#: Keys of the shape.
PRICES, CELLS, CANDLES = "y_axis", "liquidation_leverage_data", "price_candlesticks"

#: Stamps from here on are milliseconds: seconds reach it in the year 5138.
MILLISECONDS_FROM = 1e11

#: Cells that a map may have.
MOST_CELLS = 50_000_000


@checked
def given_heatmap(document: Mapping[str, Any], *, symbol: str, source: str = "a given map") -> Levels:
    """Return the heatmap of a document as charting front ends read them, to be scored like any other.

    Parameters
    ----------
    document
        With ``y_axis``, ``liquidation_leverage_data`` and ``price_candlesticks``, or these under ``data``.
    symbol
        The contract that it is of.
    source
        Who made it.

    Raises
    ------
    DataError
        For missing keys, prices that do not rise, candles that are not equally far apart, cells outside, amounts
        that are negative or no numbers.

    Examples
    --------
    >>> from backtest.study.levels.evaluation import given_heatmap
    >>> from backtest.study.levels.export import heatmap_json
    >>> found = given_heatmap(heatmap_json(open_levels, market), symbol="BTCUSDT")
    >>> found.grid.bins, found.grid.columns
    (40, 46)
    >>> bool(np.allclose(found.amounts(), open_levels.amounts(), atol=0.01))
    True
    """
    inner = document.get("data")
    parts = inner if PRICES not in document and isinstance(inner, Mapping) else document
    missing = [key for key in (PRICES, CELLS, CANDLES) if not isinstance(parts.get(key), Sequence)]
    if missing:
        raise DataError(
            f"{source}: a heatmap needs the lists {PRICES}, {CELLS} and {CANDLES}, lacks {', '.join(missing)}"
        )
    edges = _edges(_numbers(parts[PRICES], f"{source}: {PRICES}"), source)
    candles = [
        _numbers(list(candle)[:5], f"{source}: {CANDLES}[{number}]")
        for number, candle in _lists(parts[CANDLES], CANDLES, source)
    ]
    start, step = _columns(candles, source)
    grid = LevelGrid(symbol, edges, _is_logarithmic(edges), start, step, 1, len(candles))
    amounts = _amounts(parts[CELLS], grid, source)
    closes = np.array([candle[4] if candle.size > 4 else np.nan for candle in candles])
    below = ((edges[:-1] + edges[1:]) / 2)[:, None] < closes
    units = np.rint(amounts / UNITS["notional"]).astype(np.int64)
    nothing = readonly(np.zeros(grid.columns, np.int64))
    sides = {"long": nothing, "short": nothing}
    return Levels(
        grid,
        readonly(np.where(below, units, 0)),
        readonly(np.where(below, 0, units)),
        sides,
        sides,
        assumptions=(source,),
        book=Book(pl.DataFrame(schema={column.name: column.dtype for column in POSITIONS.columns})),
    )


def _lists(given: Any, key: str, source: str) -> list[tuple[int, Any]]:
    for number, entry in enumerate(given):
        if isinstance(entry, str) or not isinstance(entry, Sequence) or not entry:
            raise DataError(f"{source}: {key}[{number}] must be a list, is {quoted(entry)}")
    return list(enumerate(given))


def _numbers(given: Any, where: str) -> Floats:
    """Return numbers, also those that are written as text."""
    try:
        values = np.array([float(value) for value in given], np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where} must hold numbers, is {quoted(given)}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where} must hold finite numbers, is {quoted(given)}")
    return values


def _edges(middles: Floats, source: str) -> Floats:
    if middles.size < 2 or not (np.diff(middles) > 0).all() or middles[0] <= 0:
        raise DataError(f"{source}: {PRICES} must be two or more positive prices that rise")
    between = (middles[:-1] + middles[1:]) / 2
    first, last = 2 * middles[0] - between[0], 2 * middles[-1] - between[-1]
    return np.concatenate([[first if first > 0 else middles[0] / 2], between, [last]])


def _is_logarithmic(edges: Floats) -> bool:
    widths = np.diff(edges)
    return bool(widths[-1] > 1.5 * widths[0])


def _columns(candles: list[Floats], source: str) -> tuple[int, int]:
    """Return the start of the first column and the length of each, ms."""
    if len(candles) < 2:
        raise DataError(f"{source}: {CANDLES} must be two or more")
    stamps = np.array([candle[0] for candle in candles])
    stamps = np.rint(stamps * (1 if stamps[0] >= MILLISECONDS_FROM else 1_000)).astype(np.int64)
    steps = np.diff(stamps)
    if steps[0] <= 0 or (steps != steps[0]).any():
        at = int(np.argmax(steps != steps[0]))
        raise DataError(
            f"{source}: {CANDLES} must be equally far apart: {int((steps != steps[0]).sum()):,} of {steps.size:,} "
            f"are not, first after the {at + 1:,}th"
        )
    return int(stamps[0]), int(steps[0])


def _amounts(given: Any, grid: LevelGrid, source: str) -> Floats:
    """Return (bins, columns) the amount of each cell; of cells given twice the sum."""
    if grid.bins * grid.columns > MOST_CELLS:
        raise DataError(
            f"{source}: {grid.bins:,} prices by {grid.columns:,} candles are more than {MOST_CELLS:,} cells"
        )
    cells = np.zeros((grid.bins, grid.columns))
    if not len(given):
        return cells
    for number, entry in _lists(given, CELLS, source):
        if len(entry) < 3:
            raise DataError(
                f"{source}: {CELLS}[{number}] must be a column, a price and an amount, is {quoted(entry)}"
            )
    flat = _numbers([value for entry in given for value in list(entry)[:3]], f"{source}: {CELLS}").reshape(-1, 3)
    column, bin_ = flat[:, 0].astype(np.int64), flat[:, 1].astype(np.int64)
    bad = ~_within(flat[:, 0], column, grid.columns) | ~_within(flat[:, 1], bin_, grid.bins) | (flat[:, 2] < 0)
    if bad.any():
        raise DataError(
            f"{source}: {CELLS} must lie within {grid.columns:,} candles and {grid.bins:,} prices, with amounts "
            f"of zero or more: {bad.sum():,} of {bad.size:,} do not, first {quoted(given[int(np.argmax(bad))])}"
        )
    np.add.at(cells, (bin_, column), flat[:, 2])
    return cells


def _within(given: Floats, whole: Integers, most: int) -> Flags:
    return np.asarray((given == whole) & (whole >= 0) & (whole < most))
