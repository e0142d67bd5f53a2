"""Assumptions of a run in words: tiers, gaps, conventions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from backtest.amounts import duration, plural, timestamp
from backtest.market import Market
from backtest.rules.venue import Venue

if TYPE_CHECKING:
    from backtest.engine.conventions import Conventions

#: Tables of one symbol that are named one by one; more are counted.
MOST_TABLES = 2

#: How a table in force is dated, in words.
IN_FORCE = {
    "announced": "in force",
    "seen": "seen in force",
    "always": "always in force",
    "not stated": "no date stated, taken as always in force",
}

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


def prices(market: Market, venue: Venue) -> str:
    """Return where the prices are from, and that they are another venue's than the rules."""
    return "; ".join(filter(None, (market.description, whose_prices(market.price_venue, venue))))


def whose_prices(price_venue: str, venue: Venue) -> str:
    """Return that the prices are another venue's than the rules, where they are; else nothing."""
    if not price_venue or price_venue == venue.name.partition("-")[0]:
        return ""
    return f"prices of {price_venue} under the rules of {venue.title}"


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
    edges = f"entry bar: {conventions.entry_bar}, exit bar: {conventions.exit_bar}"
    texts.append(f"order of events inside bars: {conventions.intrabar}, {edges}")
    if conventions.leverage_limit != "error":
        texts.append(f"leverage above the limit: {conventions.leverage_limit}")
    return "; ".join(texts)


def quote(symbol: str, currency: str) -> str:
    """Return the quote currency that a symbol's name ends with, else another currency."""
    return next((name for name in QUOTES if symbol.endswith(name)), currency)


def _table(row: dict[str, Any]) -> str:
    source, named = row["source"], f"table {row['table']}"
    if row["in_force"]:
        return f"{named}, {IN_FORCE[source]} ({row['confidence']})"
    if source.startswith("like "):
        return f"substitute {named} ({row['confidence']})"
    return f"substitute {named}, not in force: {source} ({row['confidence']})"


def _tables(rows: Iterable[dict[str, Any]]) -> str:
    listed = list(rows)
    late = [row["table"] for row in listed if not row["in_force"]]
    first, last = listed[0]["table"], listed[-1]["table"]
    counted = f"{len(listed)} tables, {first} to {last}"
    return f"{counted}; not in force at every entry: {', '.join(late)}" if late else f"{counted}, all in force"
