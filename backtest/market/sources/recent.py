"""The newest days, which no archive holds yet, from the venues' public interfaces.

Rows are requested in windows no longer than a page, so that it does not matter which end of a window a venue cuts.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl

from backtest.errors import FetchError
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources import interface
from backtest.market.sources.archives import Endpoint, Series
from backtest.market.sources.formats import klines, tidy
from backtest.market.sources.formats.binance import METRICS_VALUES, PERIOD, without_empty_values
from backtest.market.sources.http import Client
from backtest.schemas.frames import Time

#: The shortest distance of two stamps where a data set has no interval.
SHORTEST_STEP = {"funding": timedelta(hours=1), "metrics": PERIOD}


def ask(client: Client, host: str, series: Series, start: datetime, end: datetime, now: datetime) -> Reading:
    """Return the rows of a series from ``start`` up to ``end``; bars that have not closed are left out.

    Raises
    ------
    FetchError
        Where the venue cannot be reached, refuses, or answers in another shape.
    """
    endpoint = series.archive.recent
    if endpoint is None:
        raise FetchError(f"{series}: the venue has no public interface for it that is known here")
    if series.archive.asked:
        return interface.ask(client, host, series, start, end, now)
    if series.dataset == "metrics":  # stamped five minutes before they are known
        start, end = start - PERIOD, end - PERIOD
    if endpoint.days:
        start = max(start, now - timedelta(days=endpoint.days) + PERIOD)
    step = timedelta(milliseconds=series.step) or SHORTEST_STEP[series.dataset]
    rows: list[Any] = []
    while start < end:
        until = min(start + endpoint.limit * step, end)
        rows += _page(client, f"{host}/{endpoint.path}?{_query(endpoint, series, start, until)}")
        start = until
    return _reading(rows, series, now)


def _query(endpoint: Endpoint, series: Series, start: datetime, end: datetime) -> str:
    symbol = series.symbol.partition("_")[0] if endpoint.symbol == "pair" else series.symbol
    named = {endpoint.symbol: symbol, **dict(endpoint.fixed)}
    if series.interval:
        named["interval"] = series.interval
    first, last = (int(moment.timestamp() * 1000) for moment in (start, end))
    return urlencode({**named, "startTime": first, "endTime": last - 1, "limit": endpoint.limit})


def _page(client: Client, address: str) -> list[Any]:
    try:
        rows = json.loads(client.get(address))
    except ValueError as error:
        raise FetchError(f"{address} did not answer in JSON: {error}") from None
    if not isinstance(rows, list):
        raise FetchError(f"{address} answered no list of rows: {str(rows)[:100]}")
    return rows


def _reading(rows: list[Any], series: Series, now: datetime) -> Reading:
    try:
        if series.dataset == "funding":
            return _funding(rows)
        return _metrics(rows) if series.dataset == "metrics" else _klines(rows, series, now)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FetchError(f"{series}: the venue's answer is not shaped as expected: {error!r}") from None


def _klines(rows: list[Any], series: Series, now: datetime) -> Reading:
    kind = series.archive.kind
    amounts: dict[str, str] = klines.AMOUNTS[kind]
    places = {name: klines.COLUMNS.index(name) for name in tidy.OHLC}
    places |= {name: klines.COLUMNS.index(source) for name, source in amounts.items()}
    columns = {
        name: pl.Series([float(row[place]) for row in rows], dtype=pl.Float64) for name, place in places.items()
    }
    frame = pl.DataFrame({"time": pl.Series([int(row[0]) for row in rows], dtype=pl.Int64), **columns})
    if amounts:
        trades = [int(row[klines.COLUMNS.index("trades")]) for row in rows]
        frame = frame.with_columns(trades=pl.Series(trades, dtype=pl.Int64))
    reading = klines.bars(frame, Path(str(series)), positive=kind != "premium_klines")
    closed, counts = klines.closed(reading.rows, interval=series.step, now=int(now.timestamp() * 1000))
    return Reading(closed, reading.repairs + Repairs(counts))


def _funding(rows: list[Any]) -> Reading:
    frame = pl.DataFrame(
        {
            "time": pl.Series([int(row["fundingTime"]) for row in rows], dtype=pl.Int64).cast(Time),
            "rate": pl.Series([float(row["fundingRate"]) for row in rows], dtype=pl.Float64),
            "interval_hours": pl.Series([None] * len(rows), dtype=pl.Int64),
        }
    )
    kept, counts = tidy.in_order(frame)
    return Reading(kept, Repairs(counts))


def _metrics(rows: list[Any]) -> Reading:
    """Return open interest by the time it was known: stamps are a period's start since June 2026."""
    known_at = [datetime.fromtimestamp(int(row["timestamp"]) / 1000, UTC) + PERIOD for row in rows]
    values = {"open_interest": "sumOpenInterest", "open_interest_value": "sumOpenInterestValue"}
    frame = pl.DataFrame(
        {
            "time": pl.Series(known_at, dtype=Time),
            **{
                name: pl.Series([float(row[own]) for row in rows], dtype=pl.Float64)
                for name, own in values.items()
            },
        }
    ).with_columns(pl.lit(None, pl.Float64).alias(name) for name in METRICS_VALUES[2:])
    kept, ordered = tidy.in_order(frame)
    kept, emptied = without_empty_values(kept)
    return Reading(kept, Repairs({"shifted": frame.height, **ordered, **emptied, "blank": 0}))
