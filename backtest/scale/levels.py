"""Which maps of levels a run over batches can add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError
from backtest.study.levels.grid import LevelGrid

#: Options of a sweep that decide when a level ends, which ``levels_of`` leaves as they are by default.
LEFT_ALONE = ("trigger_price", "intrabar", "entry_bar", "stop_trigger")


def grids_asked(
    levels: LevelGrid | Sequence[LevelGrid], drift: bool, rules: Mapping[str, Any]
) -> tuple[LevelGrid, ...]:
    """Return the grids that levels are asked for in.

    Raises
    ------
    ArgumentError
        For what is no grid, drift of none, and rules beside them that ``levels_of`` has not.
    """
    grids = (levels,) if isinstance(levels, LevelGrid) else tuple(levels)
    for number, grid in enumerate(grids):
        if not isinstance(grid, LevelGrid):
            raise ArgumentError(f"levels must be grids, as level_grid makes them: number {number} is {grid!r}")
    if grids:
        _require_default(rules)
    elif drift:
        raise ArgumentError("drift moves levels: give grids for levels too")
    return grids


def require_known(grids: Sequence[LevelGrid], known: Sequence[str]) -> None:
    """Refuse grids of symbols that there are no bars of."""
    unknown = [grid.symbol for grid in grids if grid.symbol not in known]
    if unknown:
        raise ArgumentError(
            f"levels: symbol must be one of the bars' ({', '.join(known)}): {len(unknown)} of {len(grids)} grids "
            f"are not, the first of {unknown[0]!r}"
        )


def _require_default(rules: Mapping[str, Any]) -> None:
    defaults = {name: signature(sweep).parameters[name].default for name in LEFT_ALONE}
    for name, default in defaults.items():
        if rules.get(name, default) != default:
            raise ArgumentError(
                f"{name} must be {default!r} beside levels, which know no other: is {rules[name]!r}"
            )
    if rules.get("leverage_limit") == "filter":
        raise ArgumentError("leverage_limit must be 'error' or 'cap' beside levels, which leave nobody out")
