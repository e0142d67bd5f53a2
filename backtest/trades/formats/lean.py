"""Lean (QuantConnect): ``closedTrades`` of a backtest's statistics. Known at second hand."""

from __future__ import annotations

import polars as pl

from backtest.schemas.frames import Side
from backtest.trades.formats.format import Format, Log, columns, frame
from backtest.trades.table import Table

#: What its trades call a side, as a number or a word.
DIRECTIONS = {"0": "long", "1": "short", "long": "long", "short": "short", "buy": "long", "sell": "short"}


def read(table: Table) -> Log:
    """Return the closed trades."""
    quantity = table.number("quantity").abs()
    values = {
        "symbol": _symbols(table),
        "side": table.words("direction", DIRECTIONS, Side),
        "entry_time": table.time("entryTime"),
        "entry_price": table.number("entryPrice"),
        "quantity": quantity,
        "exit_time": table.time("exitTime"),
        "exit_price": table.number("exitPrice"),
        "fees": table.number_or_null("totalFees"),
        "logged_pnl": table.number("profitLoss") - table.number_or_null("totalFees").fill_null(0.0),
    }
    return Log(frame(values))


def _symbols(table: Table) -> pl.Series:
    """Return the symbol, which is the value of an object, or of one in a list, in newer results."""
    text = table.text("symbols" if table.has("symbols") else "symbol")
    return text.str.extract(r'"value"\s*:\s*"([^"]+)"').fill_null(text)


LEAN = Format(
    "lean",
    "Lean closedTrades",
    columns("entryTime, entryPrice, direction, quantity, exitTime, exitPrice, profitLoss"),
    read,
    fills_at=("exact", "open", "close"),
    experimental=True,
)
