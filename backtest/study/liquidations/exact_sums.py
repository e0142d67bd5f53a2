"""Sums of outcomes in whole units, the same in any order of rows, of complete and condensed outcomes."""

from __future__ import annotations

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.study.units import WEIGHT_UNIT, in_currency, total, whole_units

#: Condition that every row meets.
EVERY_ROW = pl.lit(True)


def require(outcomes: pl.DataFrame, *names: str) -> None:
    """Refuse outcomes without columns that every sweep and replay writes.

    Raises
    ------
    DataError
        For the columns that are missing.
    """
    missing = [name for name in names if name not in outcomes.columns]
    if missing:
        raise DataError(
            f"outcomes must have {' and '.join(missing)}, which sweep, replay and sweep_accounts write: "
            "run the book again with this version, or keep the columns"
        )


@checked
def weight(outcomes: pl.DataFrame) -> pl.Expr:
    """Return the number of traders of each row, as ``weight``: one where the frame has no such column."""
    return (pl.col("weight") if "weight" in outcomes.columns else pl.lit(1.0)).alias("weight")


@checked
def in_units(outcomes: pl.DataFrame, unit: float = 0.01) -> pl.LazyFrame:
    """Return rows with whole numbers of units: of amounts, of the weight opened, of the weight left."""
    if _is_condensed(outcomes):
        return outcomes.lazy()
    require(outcomes, "entry_notional")
    opened, left = weight(outcomes), _left(outcomes)
    entry = pl.col("entry_notional")
    amounts = {name: pl.col(name) for name in ("fill_notional", "shortfall") if name in outcomes.columns}
    return weighted(outcomes).with_columns(
        book_notional_units=whole_units(entry * opened, unit),
        entry_notional_units=whole_units(entry * left, unit),
        largest_units=whole_units(entry * left, unit),
        **{f"{name}_units": whole_units(amount * left, unit) for name, amount in amounts.items()},
    )


def weighted(outcomes: pl.DataFrame) -> pl.LazyFrame:
    """Return rows with whole numbers of units of the weight opened, and of the weight left."""
    if _is_condensed(outcomes):
        return outcomes.lazy()
    return outcomes.lazy().with_columns(
        opened_units=whole_units(weight(outcomes), WEIGHT_UNIT),
        left_units=whole_units(_left(outcomes), WEIGHT_UNIT),
    )


def _left(outcomes: pl.DataFrame) -> pl.Expr:
    return pl.col("surviving_weight") if "surviving_weight" in outcomes.columns else weight(outcomes)


def _is_condensed(outcomes: pl.DataFrame) -> bool:
    return "largest_units" in outcomes.columns


def check_condensed(outcomes: pl.DataFrame, unit: float, *split_by: pl.Expr) -> None:
    """Refuse another unit than that of a condensed frame, and windows that split its intervals."""
    if not _is_condensed(outcomes) or outcomes.is_empty():
        return
    kept = outcomes["unit"].unique().to_list()
    if kept != [unit]:
        raise ArgumentError(
            f"must be the one the outcomes were condensed in, {kept}, is {unit:g}", argument="unit"
        )
    ends = [outcomes.with_columns(outcome_time=end).select(split_by) for end in ("first_time", "last_time")]
    if not ends[0].equals(ends[1]):
        raise ArgumentError("intervals and windows must not split those the outcomes were condensed to")


def amount_of(name: str, unit: float, where: pl.Expr = EVERY_ROW) -> pl.Expr:
    """Return the weighted sum of an amount over some rows, exact to the unit."""
    return in_currency(total(pl.col(f"{name}_units").filter(where)), unit)


def count_of(where: pl.Expr = EVERY_ROW, of: str = "left") -> pl.Expr:
    """Return the number of traders over some rows: those left, or those opened."""
    return in_currency(total(pl.col(f"{of}_units").filter(where)), WEIGHT_UNIT)
