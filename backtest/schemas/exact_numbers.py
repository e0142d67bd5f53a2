"""Conversion of integers and decimals of any width to the numbers that frames hold, where nothing is lost."""

from __future__ import annotations

import polars as pl

Numbers = pl.DataType | type[pl.DataType]


def is_exact_kind(dtype: pl.DataType) -> bool:
    """Whether a column holds exact numbers: integers or decimals."""
    return dtype.is_integer() or dtype.is_decimal()


def as_numbers(series: pl.Series, dtype: Numbers) -> tuple[pl.Series, pl.Series]:
    """Return exact numbers as float64 or int64, and which values that type does not hold.

    Float64 holds a decimal whose nearest float is written with the same digits, as that of 0.1, and integers up to
    2^53.
    """
    numbers = series.cast(dtype, strict=False)
    lost = numbers.is_null() & series.is_not_null()
    differs = lost | (numbers.cast(series.dtype, strict=False) != series).fill_null(series.is_not_null())
    if series.dtype.is_decimal() and differs.any():  # polars' way back rounds decimals of many places
        rows = differs.arg_true()
        written = numbers.gather(rows).cast(pl.String).cast(series.dtype, strict=False)
        differs = differs.scatter(rows, (written != series.gather(rows)).fill_null(True))
    return numbers, differs
