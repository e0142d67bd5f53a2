"""``scan``: what is on the disk of one data set, lazily, without a look at anything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from backtest.market.sources import fetcher, plan, store
from backtest.market.sources.folder import data_folder


def scan(
    venue: str,
    data: str,
    symbols: str | Sequence[str],
    start: plan.Moment,
    end: plan.Moment,
    *,
    interval: str = "1m",
    folder: str | Path | None = None,
) -> pl.LazyFrame:
    """Return the stored rows of a data set from ``start`` up to ``end``, by symbol and time; nothing is fetched.

    Filters and selections on what is returned reach the files: of other symbols, years and columns nothing is
    read.

    Parameters
    ----------
    venue, data, symbols, start, end, interval
        As of :func:`~backtest.market.sources.fetch`.
    folder
        Where data are kept, instead of ``data_folder()``.

    Raises
    ------
    ArgumentError
        For names and spans that are wrong.
    DataError
        Where nothing of them is stored.
    """
    wanted = fetcher.all_series(venue, data, symbols, interval)
    asked = plan.span(start, end)
    return store.scan(data_folder() if folder is None else Path(folder), wanted, asked.start, asked.end)
