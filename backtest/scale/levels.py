"""Checks of the level grids of a run over batches."""

from __future__ import annotations

from collections.abc import Sequence

from backtest.errors import ArgumentError
from backtest.study.levels.grid import LevelGrid


def grids_asked(levels: LevelGrid | Sequence[LevelGrid], drift: bool) -> tuple[LevelGrid, ...]:
    """Return the grids that levels are requested for.

    Raises
    ------
    ArgumentError
        For values that are no grids, and drift without grids.
    """
    grids = (levels,) if isinstance(levels, LevelGrid) else tuple(levels)
    for number, grid in enumerate(grids):
        if not isinstance(grid, LevelGrid):
            raise ArgumentError(
                f"must be grids, as level_grid makes them: number {number} is {grid!r}", argument="levels"
            )
    if drift and not grids:
        raise ArgumentError("drift moves levels: give grids for levels too")
    return grids


def require_known(grids: Sequence[LevelGrid], known: Sequence[str]) -> None:
    """Raise for grids of symbols without bars."""
    unknown = [grid.symbol for grid in grids if grid.symbol not in known]
    if unknown:
        raise ArgumentError(
            f"levels: symbol must be one of the bars' ({', '.join(known)}): {len(unknown)} of {len(grids)} grids "
            f"are not, the first of {unknown[0]!r}"
        )
