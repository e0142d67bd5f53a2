"""What is said about a run in words: its window, its tiers, its gaps, its rules."""

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

#: Tables of one symbol that are told one by one; more are counted.
MOST_TABLES = 2

QUOTES = ("USDT", "USDC", "BUSD", "USD")


def tiers(used: pl.DataFrame) -> list[tuple[str, str]]:
    """Return each symbol with the tables of tiers it fell under, and which were not in force."""
    told = []
    for (symbol,), tables in used.group_by("symbol", maintain_order=True):
        rows = tables.to_dicts()
        if len(rows) <= MOST_TABLES:
            told.append((str(symbol), "; ".join(_table(row) for row in rows)))
        else:
            told.append((str(symbol), _tables(rows)))
    return told


def gaps(market: Market, symbol: str | None = None) -> str:
    """Return how many bars are missing where, and what that did to positions."""
    found = market.gaps()
    if symbol is not None:
        found = found.filter(pl.col("symbol") == symbol)
    return gaps_found(found, market.gap_limit)


def gaps_found(found: pl.DataFrame, gap_limit: timedelta | None) -> str:
    """Return the same of gaps as ``Market.gaps`` returns them."""
    if found.is_empty():
        return "no gaps"
    row = found.sort(pl.col("end") - pl.col("start"), descending=True, maintain_order=True).row(0, named=True)
    longest = f"{duration(row['end'] - row['start'])} from {timestamp(row['start'])} ({row['symbol']})"
    bars = plural(float(found["missing_bars"].sum()), "bar")
    which = f"1 gap of {longest}" if found.height == 1 else f"{found.height:,} gaps, the longest {longest}"
    counted = f"{which}, {bars} missing"
    beyond = int(found["long"].sum())
    limit = "" if gap_limit is None else f" the limit of {duration(gap_limit)}"
    return f"{counted}; {beyond:,} beyond{limit}: positions open across end unknown" if beyond else counted


def rules(conventions: Conventions, venue: Venue) -> str:
    """Return the conventions of a sweep that decide its numbers."""
    trigger = conventions.trigger_series(venue)
    fill = conventions.fill_price.replace("_", " ").replace("last", "last price's", 1)
    told = [f"the {trigger} price triggers", f"liquidations fill at the {fill}"]
    told.append(f"order inside bars {conventions.intrabar}, entry bar {conventions.entry_bar}")
    if conventions.leverage_limit != "error":
        told.append(f"leverage beyond the limit: {conventions.leverage_limit}")
    return "; ".join(told)


def dates(start: datetime, end: datetime) -> str:
    """Return when a table was in force."""
    if start <= ALWAYS_FROM and end >= ALWAYS_UNTIL:
        return "always in force"
    if start <= ALWAYS_FROM:
        return f"until {day(end)}"
    return f"from {day(start)}" if end >= ALWAYS_UNTIL else f"{day(start)} to {day(end)}"


def quote(symbol: str, currency: str) -> str:
    """Return the currency a symbol is priced in where its name tells, else another one."""
    return next((name for name in QUOTES if symbol.endswith(name)), currency)


def _table(row: dict[str, Any]) -> str:
    if row["start"] <= ALWAYS_FROM and row["end"] >= ALWAYS_UNTIL:
        return f"table {row['table']}, always in force ({row['confidence']})"
    if row["in_force"]:
        return f"table {row['table']}, in force ({row['confidence']})"
    return f"tiers of {row['table']}, not in force ({row['confidence']})"


def _tables(rows: Iterable[dict[str, Any]]) -> str:
    listed = list(rows)
    late = [row["table"] for row in listed if not row["in_force"]]
    first, last = listed[0]["table"], listed[-1]["table"]
    counted = f"{len(listed)} tables, {first} to {last}"
    return f"{counted}; not in force at every entry: {', '.join(late)}" if late else f"{counted}, all in force"
