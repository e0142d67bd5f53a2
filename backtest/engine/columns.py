"""Columns of frames from the arrays of kernels, with null for missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.kernel.arrays import NO_TIME
from backtest.kernel.types import Flags, Floats, Integers
from backtest.schemas.frames import Time


def numbers(values: Floats) -> pl.Series:
    """Return numbers, null for NaN."""
    return pl.Series(np.ascontiguousarray(values), nan_to_null=True)


def times(moments: Integers, known: Flags | None = None) -> pl.Series:
    """Return moments (ms) as times, null for ``NO_TIME``, or where they are not known."""
    series = pl.Series(np.ascontiguousarray(moments)).cast(Time)
    return where(moments != NO_TIME if known is None else known, series)


def categories(kind: pl.Enum, codes: np.ndarray[Any, Any]) -> pl.Series:
    """Return categories by their codes, null for the code after the last."""
    return pl.Series([*kind.categories, None], dtype=kind).gather(codes)


def where(known: Flags, values: pl.Series) -> pl.Series:
    """Return values where they are known, null elsewhere."""
    frame = pl.DataFrame({"value": values, "known": known})
    return frame.select(pl.when("known").then("value")).to_series()
