"""Surviving weight of a row at its outcome, in a book whose holders close over time."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.kernel.types import Floats, Integers
from backtest.schemas.symbols import parts_of, rows_by_symbol


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
    parts = parts_of(survival, "symbol")
    names = [str(symbol) for (symbol,) in parts]
    longs = (outcomes["side"] == "long").to_numpy()
    for own, rows in zip(parts.values(), rows_by_symbol(outcomes["symbol"], names), strict=True):
        times = own["time"].to_physical().to_numpy()
        for side, of_side in (("long", rows[longs[rows]]), ("short", rows[~longs[rows]])):
            shares[of_side] = _shares(outcomes[of_side], times, own[side].to_numpy())
    weight = outcomes["weight"] if "weight" in outcomes.columns else pl.repeat(1.0, outcomes.height, eager=True)
    return (weight * shares).alias("surviving_weight")


def _shares(rows: pl.DataFrame, times: Integers, logs: Floats) -> Floats:
    last = times.size - 1
    entered = np.minimum(np.searchsorted(times, rows["entry_time"].to_physical().to_numpy()), last)
    moments = rows["outcome_time"].to_physical().fill_null(times[last]).to_numpy()
    ended = np.minimum(np.searchsorted(times, moments), last)
    return np.asarray(np.exp(logs[ended] - logs[entered]))
