"""Whole units of amounts and weights, and their sums.

Sums of whole numbers depend neither on the order of the rows nor on the number of threads. Units are counted in
128 bits, and amounts of 2^96 units and more are refused, so that no total of a frame wraps. A total becomes an
amount of currency or a number of traders; where it has to be int64, a larger one is refused.
"""

from __future__ import annotations

import polars as pl

from backtest.errors import DataError

#: Weights are rounded to a millionth of a position before they are added up.
WEIGHT_UNIT = 1e-6

#: The largest total where int64 has to hold it, with room for one more.
MOST_UNITS = 2**62

#: The largest amount: 2^31 of them are less than 2^127.
LARGEST = 2.0**96


def whole_units(amount: pl.Expr, unit: float) -> pl.Expr:
    """Return amounts rounded to whole units, as int128; an amount of 2^96 units and more raises."""
    units = (amount * (1 / unit)).round()
    return pl.when(units.is_null() | (units.abs() < LARGEST)).then(units).otherwise(float("inf")).cast(pl.Int128)


def total(units: pl.Expr) -> pl.Expr:
    """Return the sum of whole units, of int64 columns too."""
    return units.cast(pl.Int128).sum()


def running_total(units: pl.Expr) -> pl.Expr:
    """Return the sums of whole units up to each row."""
    return units.cast(pl.Int128).cum_sum()


def in_currency(units: pl.Expr, unit: float) -> pl.Expr:
    """Return whole units as an amount."""
    return units / (1 / unit)


def countable(units: pl.DataFrame, argument: str = "outcomes") -> pl.DataFrame:
    """Return columns of whole units as int64, which holds their sums; null stays null.

    Raises
    ------
    DataError
        For a column whose sum is larger.
    """
    sums = units.select(pl.all().cast(pl.Float64).abs().sum()).row(0, named=True)
    for name, found in sums.items():
        if found > MOST_UNITS:
            raise DataError(
                f"{argument}: amounts must add up to less than 2^62 units to be counted: {name} adds up to "
                f"{found:.4g} (a larger unit, smaller quantities or smaller weights can be counted)"
            )
    return units.cast(pl.Int64)
