"""Cells of a level map, filled from outcomes in slices of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.study import levels
from backtest.kernel.study.level_drift import NEVER
from backtest.kernel.types import Floats, Integers, readonly
from backtest.schemas.arguments import checked
from backtest.study.levels.decay import level_decay
from backtest.study.levels.grid import LevelGrid
from backtest.study.levels.open_levels import Measure, amount_at, require_measured
from backtest.study.liquidations.exact_sums import weight
from backtest.study.units import MOST_UNITS

SIDES = ("long", "short")

#: Rows taken in at a time, so that memory is bounded by the grid.
ROWS = 1 << 20


class SideCells:
    """The cells of one side, to which rows are added."""

    def __init__(
        self, grid: LevelGrid, side: str, survival: pl.DataFrame | None, half_life: timedelta | None, earliest: int
    ) -> None:
        self.grid, self.code = grid, SIDES.index(side)
        self.decay = level_decay(grid, side, survival, half_life, earliest)
        self.differences = np.zeros((grid.bins + 2, grid.columns + 1), np.int64)
        self.triggered = np.zeros(grid.columns, np.int64)

    def add(self, columns: Sequence[Integers | Floats]) -> None:
        """Add the levels of this side among some rows."""
        grid, decay = self.grid, self.decay
        levels.add_levels(
            self.code, *columns, grid.price_edges, grid.logarithmic, grid.start, grid.step, decay.start,
            grid.interval, decay.logs, decay.block_first, decay.block_log, self.differences, self.triggered,
        )  # fmt: skip

    def cells(self) -> Integers:
        """Return (bins + 2, columns) the open units, with a row below and one above the bins; summed in place."""
        cells = self.differences[:, :-1]
        levels.sum_levels(self.differences, self.decay.factor, self.decay.block_first)
        return cells


@checked
def row_columns(
    outcomes: pl.DataFrame,
    symbol: str,
    pieces: pl.DataFrame | None,
    measure: Measure,
    unit: float,
) -> Iterator[list[Integers | Floats]]:
    """Yield rows as the kernel takes them, a slice at a time.

    Parameters
    ----------
    outcomes, pieces, measure : as in ``levels.levels``
    unit : what amounts are counted in

    Yields
    ------
    ``side, price, amount, reached, entry_time, from_time, end_time`` as ``kernel.levels.add_levels`` takes them.
    """
    require_measured(outcomes, measure)
    held, per_currency = weight(outcomes), 1 / unit
    names = ("price", "amount", "reached", "entry_time", "from_time", "end_time")
    rows = outcomes if pieces is None else pieces
    added = 0.0
    for part in rows.iter_slices(ROWS):
        if pieces is None:
            found = part.lazy().with_columns(price="liquidation_price", from_time="entry_time", last=pl.lit(True))
            found = found.with_columns(until_time="outcome_time")
        else:
            own = outcomes[part["row"]]
            found = own.lazy().with_columns(part.select("from_time", "until_time", "price", "quantity", "last"))
        reached = pl.when(pl.col("liquidated") & pl.col("last"))
        columns = (
            found.filter(pl.col("symbol") == symbol)
            .with_columns(
                amount=amount_at("price", measure) * held * per_currency,
                reached=reached.then(amount_at("liquidation_price", measure) * held * per_currency).otherwise(0.0),
                end_time=pl.col("until_time").dt.epoch("ms").fill_null(NEVER),
            )
            .with_columns(pl.col("price", "amount", "reached").fill_null(float("nan")))
            .select(pl.col("side", *names).to_physical())
            .collect()
        )
        added += max(columns.select(pl.col("amount", "reached").fill_nan(0.0).sum()).row(0))
        if added > MOST_UNITS:
            raise ArgumentError(
                f"levels: unit must be larger than {unit:g}: an int64 cannot hold {added:.3g} units"
            )
        yield [readonly(column.to_numpy()) for column in columns.iter_columns()]
