"""Lazy reading of the stored rows of one data set."""

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

    Filters and selections on the result are pushed down to the files: other symbols, years and columns are not
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
        Where none of these rows are stored.

    Examples
    --------
    >>> from backtest.market.sources import scan
    >>> scan("binance", "mark", "BTCUSDT", "2021-05-10", "2021-05-26").head().collect()  # doctest: +SKIP
    >>> scan("binance", "mark", "BTCUSDT", "2021-05-10", "2021-05-26", folder=folder)
    Traceback (most recent call last):
    backtest.errors.DataError: nothing is stored of binance mark-1m BTCUSDT from 2021-05-10 to 2021-05-26 in ...
    """
    every = fetcher.all_series(venue, data, symbols, interval)
    span = plan.span(start, end)
    return store.scan(data_folder() if folder is None else Path(folder), every, span.start, span.end)
