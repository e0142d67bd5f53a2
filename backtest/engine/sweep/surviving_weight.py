"""Surviving weight of a row at its outcome, in a book whose holders close over time."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.kernel.types import Floats, Integers


def surviving_weight(outcomes: pl.DataFrame, survival: pl.DataFrame) -> pl.Series:
    """Return each row's weight times the share that its side's holders have not closed.

    Parameters
    ----------
    outcomes
        As ``sweep`` returns them.
    survival
        ``symbol, time, long, short``: logarithms of the open share at each open, and at the end of the history.

    Returns
    -------
    ``surviving_weight``: weight x survival(outcome) / survival(first opening after the entry); of rows still open,
    at the end of the history.
    """
    shares = np.ones(outcomes.height)
    symbols, sides = outcomes["symbol"], outcomes["side"]
    for symbol in survival["symbol"].unique(maintain_order=True):
        own = survival.filter(pl.col("symbol") == symbol)
        times = own["time"].to_physical().to_numpy()
        for side in ("long", "short"):
            rows = ((symbols == symbol) & (sides == side)).to_numpy()
            shares[rows] = _shares(outcomes.filter(rows), times, own[side].to_numpy())
    weight = outcomes["weight"] if "weight" in outcomes.columns else pl.repeat(1.0, outcomes.height, eager=True)
    return (weight * shares).alias("surviving_weight")


def _shares(rows: pl.DataFrame, times: Integers, logs: Floats) -> Floats:
    last = times.size - 1
    entered = np.minimum(np.searchsorted(times, rows["entry_time"].to_physical().to_numpy()), last)
    moments = rows["outcome_time"].to_physical().fill_null(times[last]).to_numpy()
    ended = np.minimum(np.searchsorted(times, moments), last)
    return np.asarray(np.exp(logs[ended] - logs[entered]))
