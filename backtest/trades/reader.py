"""Reading trade lists: the format found by its columns, fills netted, what is missing asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from backtest.amounts import plural
from backtest.errors import ArgumentError, DataError, quoted
from backtest.schemas.arguments import checked
from backtest.schemas.trades import CHANGES, TRADES
from backtest.schemas.validation import conform, numbered, offence
from backtest.shown import shown
from backtest.trades.files import read_rows
from backtest.trades.formats.format import FillsAt, Log
from backtest.trades.formats.known import format_of
from backtest.trades.netting import net
from backtest.trades.table import Dates, Table


@dataclass(frozen=True, eq=False)
@shown("source", "trades", "fills_at", "notes")
class Trades:
    """A trade list in one form, whatever it was exported from.

    Build it with :func:`read`.
    """

    trades: (
        pl.DataFrame
    )  #: ``trade_id, symbol, side, entry_time, entry_price, quantity``, and what the log says more
    changes: (
        pl.DataFrame
    )  #: ``trade_id, time, price, quantity_change``: additions, and partial closes where negative
    source: str  #: name of the format
    fills_at: tuple[FillsAt, ...] = ("exact",)  #: where in a stamped bar fills may lie
    interval: timedelta | None = None  #: of the bars that the log was made on, where it says so
    pnl_after_funding: bool = False  #: whether its profit includes funding
    notes: tuple[str, ...] = ()  #: what a reader should know

    def __len__(self) -> int:
        return self.trades.height

    @property
    def has_leverage(self) -> bool:
        """Whether the log says each trade's leverage."""
        return self.trades["leverage"].null_count() == 0


@checked
def read(
    path_or_frame: Any,
    *,
    source: str | None = None,
    symbol: str | None = None,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    dates: Dates | None = None,
    fills_at: FillsAt | None = None,
    leverage: float | None = None,
    strategy: str | None = None,
) -> Trades:
    """Return the trades of a file or frame that another tool or a venue wrote.

    Parameters
    ----------
    path_or_frame
        A file (CSV, JSON, JSON lines, Parquet, feather; zipped or not); freqtrade's folder of results (its
        latest); rows as a frame, a mapping or a list; a vectorbt portfolio, or what backtesting.py returns.
    source
        Name of the format, one of ``trades.SOURCES``; None: found by the columns.
    symbol
        Of all trades, where the list has none.
    columns
        The list's name of a column, and ours: ``{"open": "entry_time"}``.
    timezone
        Zone of times without an offset, like ``Europe/Berlin``.
    dates
        Order of day and month in dates like 03/04/2024.
    fills_at
        Where in the stamped bar fills lie; None: as the format says, checked against the bars later.
    leverage
        Of all trades, in place of what the list says.
    strategy
        Of a freqtrade result with several.

    Raises
    ------
    ArgumentError
        For an unknown format or zone.
    DataError
        For a file that is absent or damaged, in no known format, or lacks what an answer needs: the message names
        the option that supplies it.

    Examples
    --------
    >>> from backtest import trades
    >>> mine = {"symbol": "BTC/USDT:USDT", "side": ["long"], "entry_time": [noon], "entry_price": [38_000.0],
    ...         "quantity": [0.5], "exit_time": [noon + timedelta(hours=3)], "exit_price": [36_000.0]}
    >>> trades.read(mine).trades.select("symbol", "side", "quantity")
    shape: (1, 3)
    ┌───────────────┬──────┬──────────┐
    │ symbol        ┆ side ┆ quantity │
    │ ---           ┆ ---  ┆ ---      │
    │ str           ┆ enum ┆ f64      │
    ╞═══════════════╪══════╪══════════╡
    │ BTC/USDT:USDT ┆ long ┆ 0.5      │
    └───────────────┴──────┴──────────┘
    """
    if isinstance(path_or_frame, Trades):
        return path_or_frame
    _require_zone(timezone)
    is_file = isinstance(path_or_frame, str | Path)
    where = f"trades file {path_or_frame}" if is_file else "trades"
    rows, about = read_rows(path_or_frame, where, strategy)
    if strategy is not None and not about:
        raise ArgumentError(
            f"chooses one of a freqtrade result's strategies, {where} names none", argument="strategy"
        )
    table = Table(where, _renamed(rows, columns or {}, where), timezone, dates, about)
    form = format_of(table, source)
    log = form.read(table)
    notes = list(log.notes)
    if form.experimental:
        notes.append(f"the reader of {form.title} is experimental: known from descriptions, not from a file")
    if log.fills is not None:
        log, more = _netted(log)
        notes += more
    trades, changes = _completed(log, where, symbol=symbol, leverage=leverage)
    places = form.fills_at if fills_at is None else (fills_at,)
    return Trades(trades, changes, form.name, places, log.interval, log.pnl_after_funding, tuple(notes))


def _require_zone(timezone: str | None) -> None:
    """Refuse a time zone that is none, also where every time of a list has its offset."""
    try:
        if timezone is not None:
            ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ArgumentError(
            f"must be a zone like UTC or Europe/Berlin, is {quoted(timezone)}", argument="timezone"
        ) from None


def _renamed(rows: pl.DataFrame, columns: Mapping[str, str], where: str) -> pl.DataFrame:
    """Return rows with their columns renamed as the reader says."""
    strange = [name for name in columns if name not in rows.columns]
    if strange:
        there = ", ".join(rows.columns)
        raise ArgumentError(
            f"names {strange[0]!r}, which {where} does not have: there are {there}", argument="columns"
        )
    taken = [name for name in columns.values() if name in rows.columns and name not in columns]
    return rows.drop(taken).rename(dict(columns))


def _netted(log: Log) -> tuple[Log, list[str]]:
    """Return trades for fills, and a note on fills that close what the log does not open."""
    assert log.fills is not None
    found = net(log.fills)
    notes = []
    if found.began_open:
        fills = plural(found.began_open, "fill")
        notes.append(f"{fills} of positions opened before the log begins left out")
    return replace(log, trades=found.trades, changes=found.changes, fills=None), notes


def _completed(
    log: Log, where: str, *, symbol: str | None, leverage: float | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return trades and changes with every column of their schemas; what cannot be done without is asked for."""
    assert log.trades is not None
    trades = log.trades
    if symbol is not None:
        there = trades["symbol"].drop_nulls().unique(maintain_order=True)
        if there.len() > 1:
            listed = ", ".join(there.head(3))
            raise ArgumentError(f"is for a list of one symbol: {where} names {listed}", argument="symbol")
        trades = trades.with_columns(pl.lit(symbol).alias("symbol"))
    if trades["symbol"].null_count():
        raise DataError(
            f"{where} names no symbol: say which contract was traded", remedies=(("symbol", "BTCUSDT"),)
        )
    if leverage is not None:
        trades = trades.with_columns(pl.lit(float(leverage)).alias("leverage"))
    absent = [
        column for column in TRADES.columns if column.name not in trades.columns and column.name != "trade_id"
    ]
    trades = trades.with_columns(pl.lit(None, column.dtype).alias(column.name) for column in absent)
    trades = numbered(conform(trades, TRADES), "trade_id")
    twice = ~pl.col("trade_id").is_first_distinct()
    early = pl.col("exit_time") < pl.col("entry_time")
    for sentence, bad, names in (
        ("trade_id must not repeat", twice, ("trade_id",)),
        ("exit_time must not lie before entry_time", early, ("entry_time", "exit_time")),
    ):
        if trades.select(bad.any()).item():
            raise DataError(offence(trades, where, sentence, bad, names))
    if trades.is_empty():
        raise DataError(f"{where} holds no trades")
    empty = pl.DataFrame(schema={column.name: column.dtype for column in CHANGES.columns})
    changes = empty if log.changes is None else conform(log.changes, CHANGES)
    return trades.select([column.name for column in TRADES.columns]).sort(
        "entry_time", maintain_order=True
    ), changes.cast({"trade_id": trades.schema["trade_id"]})
