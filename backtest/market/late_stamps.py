"""Funding stamps that a venue wrote some seconds late, moved back onto the time that they are for."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.kernel.types import Integers

MINUTE, HOUR = 60_000, 3_600_000  # ms

#: A stamp is moved back by at most this, ms, and by at most one part in ``PARTS`` of its interval.
LATEST, PARTS = 60_000, 100


def moved_back(funding: pl.DataFrame) -> Integers:
    """Return (rows,) the time of each stamp, ms, of late stamps the one they are for.

    Venues charge at multiples of an hour; of longer intervals some start at another one than midnight.
    """
    after = pl.col("time").dt.epoch("ms").diff().over("symbol")
    before = after.shift(-1).over("symbol")
    nearest = pl.min_horizontal(after, before).fill_null(HOUR)
    unit = pl.when(nearest < HOUR - MINUTE).then(MINUTE).otherwise(HOUR)
    interval = funding.select((nearest + unit // 2) // unit * unit).to_series().to_numpy()
    stamps = funding["time"].to_physical().to_numpy()
    late = stamps % np.clip(interval, MINUTE, HOUR)
    return np.where(late <= np.minimum(LATEST, interval // PARTS), stamps - late, stamps)
