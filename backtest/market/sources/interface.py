"""Prices, funding and open interest asked of venues' public interfaces, a page at a time.

Rows are asked for in windows no longer than a page, so that neither the order of an answer nor the end at which a
venue cuts it matters. Answers are shaped as in public documents; the authors have tried none of the addresses.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from backtest.errors import DataError, FetchError
from backtest.market.repairs import Reading, Repairs
from backtest.market.sources.answers import ANSWERS, Answers
from backtest.market.sources.archives import Series
from backtest.market.sources.formats import klines, tidy
from backtest.market.sources.formats.binance import METRICS_VALUES
from backtest.market.sources.http import BusyError, Client, UnreachableError
from backtest.schemas.frames import Time

#: The shortest time between two stamps of funding.
FUNDED = timedelta(hours=1)

_guard = threading.Lock()
_turns: dict[str, float] = {}  #: by host: the time before which it is not asked again


def ask(client: Client, host: str, series: Series, start: datetime, end: datetime, now: datetime) -> Reading:
    """Return the rows of a series from ``start`` up to ``end``; bars that have not closed are left out.

    Raises
    ------
    FetchError
        Where the venue cannot be reached, refuses, or answers in another shape.
    """
    answers, endpoint = ANSWERS[series.venue], series.archive.recent
    if endpoint is None:
        raise FetchError(f"{series}: the venue has no public interface for it that is known here")
    shift = answers.shift if series.dataset == "metrics" else timedelta(0)
    first, last = (_milliseconds(moment - shift) for moment in (start, end))
    found: list[tuple[Any, ...]] = []
    step = series.step or (FUNDED if series.dataset == "funding" else answers.period) // timedelta(milliseconds=1)
    for since, until in _windows(endpoint.limit * step, first, min(last, _milliseconds(now))):
        address, body = answers.question(series, endpoint, since, until)
        wait_for_turn(client, host, answers.spacing + answers.row_spacing * (until - since) / step)
        page = _page(client, f"{host}/{address}", body, answers)
        try:
            rows = answers.rows(series, page)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise FetchError(
                f"{series}: the venue's answer is not shaped as expected: {error!r}{answers.hint}"
            ) from None
        found += sorted((row for row in rows if since <= row[0] < until), key=itemgetter(0))
    return _reading(found, series, now, shift)


def wait_for_turn(client: Client, host: str, spacing: float) -> None:
    """Wait until a host may be asked: questions of all threads are so many seconds apart."""
    with _guard:
        now = client.patience.clock()
        turn = max(now, _turns.get(host, 0.0))
        _turns[host] = turn + spacing
    if turn > now:
        client.sleep(turn - now)


def _windows(size: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield spans of milliseconds that hold at most a page of rows, oldest first."""
    while first < last:
        until = min(first + size, last)
        yield first, until
        first = until


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _page(client: Client, address: str, body: bytes | None, answers: Answers) -> Any:
    """Return an answer's JSON; a venue that was asked too often is asked again."""

    def accept(data: bytes) -> None:
        code = answers.code(_json(data, address))
        if code in answers.busy:
            raise BusyError(f"the venue answers {code}: asked too often, or overloaded")

    try:
        data = _json(client.get(address, body, accept), address)
    except UnreachableError:
        raise
    except FetchError as error:
        raise FetchError(f"{error}{answers.hint}") from None
    if answers.code(data) not in ("0", ""):
        raise FetchError(f"{address} was refused: the venue answers {answers.refusal(data)[:200]}")
    return data


def _json(data: bytes, address: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise FetchError(f"{address} did not answer in JSON: {error}") from None


def _reading(rows: list[tuple[Any, ...]], series: Series, now: datetime, shift: timedelta) -> Reading:
    if series.dataset == "funding":
        return _funding(rows, series)
    return _metrics(rows, series, shift) if series.dataset == "metrics" else _bars(rows, series, now)


def _bars(rows: list[tuple[Any, ...]], series: Series, now: datetime) -> Reading:
    """Return bars of ``(time, open, high, low, close[, volume])``."""
    names = (*tidy.OHLC, "volume")[: 5 if series.dataset == "last" else 4]
    schema = {"time": pl.Int64, **dict.fromkeys(names, pl.Float64)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if frame.is_empty():
        return Reading(frame.with_columns(pl.col("time").cast(Time)), Repairs({}))
    try:
        reading = klines.bars(frame, Path(str(series)))
    except DataError as error:
        raise FetchError(str(error)) from None
    closed, counts = klines.closed(reading.rows, interval=series.step, now=_milliseconds(now))
    return Reading(closed, reading.repairs + Repairs(counts))


def _funding(rows: list[tuple[Any, ...]], series: Series) -> Reading:
    """Return rates of ``(time, rate)`` as stamped; the time to the next stamp is the interval."""
    _require_finite([rate for _, rate in rows], series, "rate")
    frame = pl.DataFrame(rows, schema={"time": pl.Int64, "rate": pl.Float64}, orient="row")
    frame = frame.with_columns(pl.col("time").cast(Time), interval_hours=pl.lit(None, pl.Int64))
    kept, counts = tidy.in_order(frame)
    return Reading(kept, Repairs(counts))


def _metrics(rows: list[tuple[Any, ...]], series: Series, shift: timedelta) -> Reading:
    """Return open interest of ``(time, base, quote)`` by the time it was known."""
    _require_finite([value for row in rows for value in row[1:] if value is not None], series, "open interest")
    values = ("open_interest", "open_interest_value")
    frame = pl.DataFrame(rows, schema={"time": pl.Int64, **dict.fromkeys(values, pl.Float64)}, orient="row")
    frame = frame.with_columns(
        (pl.col("time").cast(Time) + shift).cast(Time),
        *(pl.lit(None, pl.Float64).alias(name) for name in METRICS_VALUES[2:]),
    )
    zeros = sum(int((frame[name] == 0).sum()) for name in values)
    emptied = (pl.when(pl.col(name) != 0).then(pl.col(name)).alias(name) for name in values)
    kept, counts = tidy.in_order(frame.with_columns(*emptied))
    return Reading(kept, Repairs({"shifted": frame.height if shift else 0, "zero": zeros, **counts}))


def _require_finite(values: list[float], series: Series, name: str) -> None:
    wrong = [value for value in values if not math.isfinite(value)]
    if wrong:
        raise FetchError(f"{series}: {name} must be a finite number: {len(wrong):,} are not, first {wrong[0]}")
