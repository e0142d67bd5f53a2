"""Frames of one symbol, and rows of each symbol, found in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from backtest.errors import DataError


def parts_of(frame: pl.DataFrame, *names: str) -> Mapping[tuple[Hashable, ...], pl.DataFrame]:
    """Return the rows of each combination of values, in their order, by these values.

    A filter for each of n symbols reads all rows n times.
    """
    return frame.partition_by(*names, as_dict=True, maintain_order=True)


def rows_by_symbol(column: pl.Series, symbols: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each of some symbols, ascending; symbols that are not among them have no place here."""
    codes = column.cast(pl.String).replace_strict(
        list(symbols), list(range(len(symbols))), default=None, return_dtype=pl.Int64
    )
    numbers = codes.fill_null(len(symbols)).to_numpy()
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, len(symbols) + 1)))[: len(symbols)]


def of_symbol(frame: pl.DataFrame, symbol: str | None, argument: str) -> tuple[pl.DataFrame, str]:
    """Return the rows of one symbol, and that symbol: the one named, else the only one there is.

    Raises
    ------
    DataError
        Where no row is of that symbol, or none is named and there are several.
    """
    held = frame["symbol"].unique(maintain_order=True).to_list()
    if symbol is None and len(held) == 1:
        return frame, held[0]
    if symbol is None or symbol not in held:
        wanted = "one that is named, of several" if symbol is None else f"{symbol!r} in some rows"
        raise DataError(f"{argument}: symbol must be {wanted}: there are {', '.join(map(repr, held))}")
    return frame.filter(pl.col("symbol") == symbol), symbol
