"""Level maps as sums over the parts of a book: a cell of the whole is the sum of the cells of the parts.

A part is kept as the changes of its cells from one column to the next, in whole units: a level takes two rows, its
start and its end, however long it is open. Parts add up exactly in any order, and one running sum makes the map of
the whole. That holds while levels do not decay: survival and half-lives round the cell, not the level.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.kernel.types import Integers, readonly
from backtest.schemas.frames import Side
from backtest.study.levels.cells import SIDES
from backtest.study.levels.grid import LevelGrid
from backtest.study.levels.levels import Levels
from backtest.study.units import countable, total

#: Keys of changes, the grid by its number. Lines are the bins, then one for the notional beyond them, then one for
#: the triggered notional.
KEYS = ("grid", "side", "line", "column")

#: A part without open levels.
NOTHING = pl.DataFrame(
    schema={"grid": pl.Int32, "side": Side, "line": pl.Int32, "column": pl.Int32, "units": pl.Int64}
)


def level_changes(found: Levels, number: int) -> pl.DataFrame:
    """Return the changes of a map from column to column: ``KEYS`` and ``units``, a row a change.

    Parameters
    ----------
    found : without decay
    number : of its grid, where there are several
    """
    return pl.concat([_changes(_lines(found, side), side, number) for side in SIDES])


def merge_level_changes(parts: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Return the changes of several parts of a book, one below the other, as those of the whole.

    Raises
    ------
    DataError
        For more units than int64 holds.
    """
    units = pl.col("units")
    added = total(units.filter(units > 0)).alias("added")
    merged = parts.lazy().group_by(KEYS).agg(total(units), added).sort(KEYS).collect(engine="streaming")
    countable(merged.select("added"), "levels")
    return merged.drop("added").cast({"units": pl.Int64}).filter(units != 0)


def levels_from(
    changes: pl.DataFrame, grid: LevelGrid, number: int, *, unit: float, assumptions: tuple[str, ...] = ()
) -> Levels:
    """Return the level map of a grid from its changes.

    Parameters
    ----------
    changes : as :func:`merge_level_changes` returns them
    grid, number, unit : what they were counted in
    assumptions : carried along
    """
    own = changes.filter(pl.col("grid") == number)
    lines = {side: _summed(own.filter(pl.col("side") == side), grid) for side in SIDES}
    return Levels(
        grid,
        readonly(lines["long"][:-2]),
        readonly(lines["short"][:-2]),
        {side: readonly(found[-2]) for side, found in lines.items()},
        {side: readonly(found[-1]) for side, found in lines.items()},
        unit,
        assumptions=assumptions,
    )


def _lines(found: Levels, side: str) -> Integers:
    """Return (bins + 2, columns): the bins, the notional beyond them, the triggered notional."""
    cells = {"long": found.long, "short": found.short}[side]
    return np.vstack([cells, found.outside[side], found.triggered[side]])


def _changes(lines: Integers, side: str, number: int) -> pl.DataFrame:
    changes = np.diff(lines, axis=1, prepend=0)
    line, column = np.nonzero(changes)
    return pl.DataFrame(
        {
            "grid": pl.repeat(number, line.size, dtype=pl.Int32, eager=True),
            "side": pl.repeat(side, line.size, eager=True).cast(Side),
            "line": pl.Series(line, dtype=pl.Int32),
            "column": pl.Series(column, dtype=pl.Int32),
            "units": changes[line, column],
        }
    )


def _summed(changes: pl.DataFrame, grid: LevelGrid) -> Integers:
    lines = np.zeros((grid.bins + 2, grid.columns), np.int64)
    lines[changes["line"].to_numpy(), changes["column"].to_numpy()] = changes["units"].to_numpy()
    return np.cumsum(lines, axis=1, out=lines)
