"""Assumptions of a run in words: tiers, gaps, conventions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from backtest.amounts import day, duration, plural, timestamp
from backtest.market import Market
from backtest.rules.tiers import ALWAYS_FROM, ALWAYS_UNTIL
from backtest.rules.venue import Venue

if TYPE_CHECKING:
    from backtest.engine.conventions import Conventions

#: Tables of one symbol that are named one by one; more are counted.
MOST_TABLES = 2

QUOTES = ("USDT", "USDC", "BUSD", "USD")


def tiers(used: pl.DataFrame) -> list[tuple[str, str]]:
    """Return each symbol with the tier tables its entries used, and which were not in force."""
    texts = []
    for (symbol,), tables in used.group_by("symbol", maintain_order=True):
        rows = tables.to_dicts()
        if len(rows) <= MOST_TABLES:
            texts.append((str(symbol), "; ".join(_table(row) for row in rows)))
        else:
            texts.append((str(symbol), _tables(rows)))
    return texts


def gaps(market: Market, symbol: str | None = None) -> str:
    """Return the number of gaps and missing bars, the longest gap, and the effect on positions."""
    found = market.gaps()
    if symbol is not None:
        found = found.filter(pl.col("symbol") == symbol)
    return gaps_found(found, market.gap_limit)


def gaps_found(found: pl.DataFrame, gap_limit: timedelta | None) -> str:
    """Return the same from a frame of gaps, as ``Market.gaps`` returns it."""
    if found.is_empty():
        return "no gaps"
    row = found.sort(pl.col("end") - pl.col("start"), descending=True, maintain_order=True).row(0, named=True)
    longest = f"{duration(row['end'] - row['start'])} from {timestamp(row['start'])} ({row['symbol']})"
    bars = plural(float(found["missing_bars"].sum()), "bar")
    which = f"1 gap of {longest}" if found.height == 1 else f"{found.height:,} gaps, the longest {longest}"
    counted = f"{which}, {bars} missing"
    beyond = int(found["long"].sum())
    limit = "" if gap_limit is None else f" the limit of {duration(gap_limit)}"
    return f"{counted}; {beyond:,} beyond{limit}: positions open then end unknown" if beyond else counted


def rules(conventions: Conventions, venue: Venue) -> str:
    """Return the conventions of a sweep that decide its numbers."""
    trigger = conventions.trigger_series(venue)
    fill = conventions.fill_price.replace("_", " ").replace("last", "last price's", 1)
    texts = [f"the {trigger} price triggers", f"liquidations fill at the {fill}"]
    texts.append(f"order of events inside bars: {conventions.intrabar}, entry bar: {conventions.entry_bar}")
    if conventions.leverage_limit != "error":
        texts.append(f"leverage above the limit: {conventions.leverage_limit}")
    return "; ".join(texts)


def dates(start: datetime, end: datetime) -> str:
    """Return when a table was in force."""
    if start <= ALWAYS_FROM and end >= ALWAYS_UNTIL:
        return "date unknown"
    if start <= ALWAYS_FROM:
        return f"until {day(end)}"
    return f"from {day(start)}" if end >= ALWAYS_UNTIL else f"{day(start)} to {day(end)}"


def dated(table: str, when: str) -> str:
    """Return the name of a table with the dates it was in force, once where the name says as much."""
    return when if table == when else f"{table}, {when}"


def quote(symbol: str, currency: str) -> str:
    """Return the quote currency that a symbol's name ends with, else another currency."""
    return next((name for name in QUOTES if symbol.endswith(name)), currency)


def _table(row: dict[str, Any]) -> str:
    if row["start"] <= ALWAYS_FROM and row["end"] >= ALWAYS_UNTIL:
        return f"table {dated(row['table'], 'date unknown')} ({row['confidence']})"
    if row["in_force"]:
        return f"table {row['table']}, in force ({row['confidence']})"
    return f"substitute table {row['table']}, not in force ({row['confidence']})"


def _tables(rows: Iterable[dict[str, Any]]) -> str:
    listed = list(rows)
    late = [row["table"] for row in listed if not row["in_force"]]
    first, last = listed[0]["table"], listed[-1]["table"]
    counted = f"{len(listed)} tables, {first} to {last}"
    return f"{counted}; not in force at every entry: {', '.join(late)}" if late else f"{counted}, all in force"
