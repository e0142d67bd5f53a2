"""Checks of a market's bars and funding: prices that can be, bars that do not overlap, symbols that meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Integers
from backtest.schemas.frames import PRICE_PREFIX
from backtest.schemas.validation import breaking, offence, say


def by_symbol(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with those of each symbol together, symbols in order of appearance, times as given."""
    runs = frame.select((pl.col("symbol") != pl.col("symbol").shift(1)).sum()).item() or 0
    if runs + 1 > frame["symbol"].n_unique():
        order = frame["symbol"].unique(maintain_order=True)
        frame = frame.sort(pl.col("symbol").cast(pl.Enum(order)), maintain_order=True)
    return frame


def checked_limit(limit: timedelta | None) -> timedelta | None:
    """Return a gap limit, or raise for what is none."""
    if limit is not None and (not isinstance(limit, timedelta) or limit < timedelta(0)):
        raise ArgumentError(f"must be a timedelta of zero or more, or None, is {limit!r}", argument="gap_limit")
    return limit


def check_prices(bars: pl.DataFrame) -> None:
    """Raise for an empty history, and for prices of zero unless all lie between 0 and 1 (odds)."""
    if bars.is_empty():
        raise DataError("bars must hold at least one row, there is none")
    for prefix in PRICE_PREFIX.values():
        low, high = f"{prefix}low", f"{prefix}high"
        if low in bars.columns and bars[low].min() == 0.0:
            bad = (pl.col(low) == 0) & (pl.col(high).max().over("symbol") > 1)
            if not bars.filter(bad).is_empty():
                sentence = f"{low} must be above zero (only prices between 0 and 1 may touch it)"
                raise DataError(offence(bars, "bars", sentence, bad, (low,)))


def check_intervals(times: Integers, rows: Sequence[slice], symbols: Sequence[str], intervals: Integers) -> None:
    """Raise for bars that open before the one before them ends; ``times`` in ms, ``rows`` of each symbol."""
    for symbol, own, interval in zip(symbols, rows, intervals, strict=True):
        short = np.flatnonzero(np.diff(times[own]) < interval)
        if short.size:
            row = int(own.start + short[0] + 1)
            opened, before = pl.Series(times[[row, row - 1]]).cast(pl.Datetime("ms", "UTC"))
            counted = breaking(short.size, own.stop - own.start)
            raise DataError(
                f"bars: bars of {symbol} must not overlap, and most cover "
                f"{timedelta(milliseconds=int(interval))}: {counted}, first row {row:,} (time={say(opened)}, "
                f"the one before {say(before)})"
            )


def check_funding_symbols(funding: pl.DataFrame, symbols: Sequence[str]) -> None:
    """Raise where all funding is of other symbols: the two files name them differently."""
    given = funding["symbol"].unique(maintain_order=True).to_list()
    if given and not set(given) & set(symbols):
        raise DataError(
            f"funding: symbol must be one of the bars' ({', '.join(symbols)}) in some rows: "
            f"there are only {', '.join(given)}"
        )


def without_bars(bars: pl.DataFrame, start: datetime | None, end: datetime | None) -> str:
    """Return the refusal of a window without bars, with the times of those there are."""
    until = f" before {say(end)}" if start is not None and end is not None else ""
    first, last = bars["time"].min(), bars["time"].max()
    symbols = ", ".join(bars["symbol"].unique(maintain_order=True))
    return f"leaves no bars{until}: those of {symbols} open from {say(first)} to {say(last)}"
