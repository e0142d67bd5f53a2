"""Sorting of rows, each time once; every row left out is counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

OHLC = ("open", "high", "low", "close")


def in_order(frame: pl.DataFrame, keys: Sequence[str] = ("time",)) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the rows by rising keys, each key once, and the counts of what had to be done.

    Of rows that share a key and differ, the one written last is kept: a venue appends what it corrects.
    """
    if len(keys) == 1 and _rises(frame[keys[0]]):
        return frame, {}
    order = pl.struct(keys) if len(keys) > 1 else pl.col(keys[0])
    counts = {"unsorted": _unsorted(frame, keys)}
    distinct = frame.unique(maintain_order=True)
    kept = distinct.unique(keys, keep="last", maintain_order=True)
    counts["duplicate"] = frame.height - distinct.height
    counts["conflicting"] = distinct.height - kept.height
    return kept.sort(order, maintain_order=True), counts


def possible_bars(frame: pl.DataFrame, *, positive: bool = True) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the bars whose prices can be, and how many were left out.

    Prices must be finite and low <= open, close <= high; above zero too unless they are rates, like a premium.
    """
    opening, high, low, close = map(pl.col, OHLC)
    good = (low <= opening) & (low <= close) & (opening <= high) & (close <= high) & high.is_finite()
    good = good & (low > 0 if positive else low.is_finite())
    kept = frame.filter(good.fill_null(False))
    return kept, {"impossible": frame.height - kept.height}


def without_overlaps(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the bars, in order, without those off the grid that overlap others, and how many were left out.

    After an outage of February 2018 Binance's hours opened at 28 minutes past for two days; the last of them
    overlaps the first hour that is on the grid again.
    """
    times = frame["time"].to_physical().to_numpy()
    steps = np.diff(times)
    if steps.size < 2:
        return frame, {}
    sizes, counts = np.unique(steps, return_counts=True)
    interval = sizes[np.argmax(counts)]
    short = steps < interval
    overlaps = np.append(short, False) | np.insert(short, 0, False)
    kept = ~(overlaps & (times % interval != 0))
    return (frame, {}) if kept.all() else (frame.filter(kept), {"off_grid": int((~kept).sum())})


def _rises(times: pl.Series) -> bool:
    steps = times.to_physical().diff().slice(1)
    return steps.is_empty() or bool((steps > 0).all())


def _unsorted(frame: pl.DataFrame, keys: Sequence[str]) -> int:
    """Return the number of rows that follow a row with a later time."""
    time = pl.col("time" if "time" in keys else keys[0])
    return int(frame.select((time < time.cum_max().shift(1)).sum()).item())
