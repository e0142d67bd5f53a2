"""A format of trade lists: how it is known, what it lacks, how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import polars as pl

from backtest.errors import DataError
from backtest.schemas.frames import Time
from backtest.trades.table import Table

FillsAt = Literal["open", "close", "exact"]

SIDES = {"long": "long", "short": "short", "buy": "long", "sell": "short"}
FILL_SIDES = {"buy": "buy", "sell": "sell", "b": "buy", "a": "sell", "s": "sell", "bid": "buy", "ask": "sell"}


@dataclass(frozen=True, eq=False)
class Log:
    """What one format holds: trades with their changes, or fills."""

    trades: pl.DataFrame | None = None  #: in the schema ``TRADES``
    changes: pl.DataFrame | None = None  #: in the schema ``CHANGES``
    fills: pl.DataFrame | None = None  #: in the schema ``FILLS``
    interval: timedelta | None = None  #: of the bars it was made on, where it says so
    pnl_after_funding: bool = False  #: whether its profit includes funding
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format of trade lists."""

    name: str
    title: str
    columns: frozenset[str]  #: that it is known by, in small letters
    read: Callable[[Table], Log]
    fills_at: tuple[FillsAt, ...] = ("exact",)  #: where in the stamped bar its fills may lie
    experimental: bool = False  #: known at second hand only

    def fits(self, table: Table) -> bool:
        """Whether a table has the columns that the format is known by."""
        return table.has(*self.columns)


def columns(text: str) -> frozenset[str]:
    """Return the columns of a format from a list of them, in small letters."""
    return frozenset(name.strip().lower() for name in text.split(","))


def frame(values: Mapping[str, Any]) -> pl.DataFrame:
    """Return columns as a frame."""
    return pl.DataFrame([series.alias(name) for name, series in values.items()])


def repeated(table: Table, value: Any, dtype: Any = None) -> pl.Series:
    """Return one value for every row."""
    return pl.repeat(value, table.height, dtype=dtype, eager=True)


def no_times(table: Table) -> pl.Series:
    """Return no time in every row."""
    return pl.Series([None] * table.height, dtype=Time)


class OpenPositionsError(DataError):
    """A table holds open positions, which say nothing of trades."""


def needs(table: Table, what: str, remedy: str) -> DataError:
    """Return the refusal of a format that lacks what cannot be done without."""
    return DataError(f"{table.where} holds {what}: {remedy}")


def open_positions(table: Table, what: str, remedy: str) -> DataError:
    """Return the refusal of a format that holds open positions, not trades."""
    return OpenPositionsError(f"{table.where} holds {what}: {remedy}")
