"""Frames that must be of one symbol."""

from __future__ import annotations

import polars as pl

from backtest.errors import DataError


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
