"""Tables in this package's own columns, or mapped to them: one row a trade, or one row a fill."""

from __future__ import annotations

import polars as pl

from backtest.schemas.frames import Side
from backtest.schemas.trades import FillSide, Recorded
from backtest.trades.formats.format import FILL_SIDES, SIDES, Format, Log, columns, frame, repeated
from backtest.trades.table import Table


def read_trades(table: Table) -> Log:
    """Return the trades; times without an offset are refused unless a zone is given."""
    values = {
        "symbol": table.text("symbol") if table.has("symbol") else repeated(table, None, pl.String),
        "side": table.words("side", SIDES, Side),
        "entry_time": table.time("entry_time"),
        "entry_price": table.number("entry_price"),
        "quantity": table.number("quantity"),
    }
    identity = next((name for name in ("trade_id", "position_id") if table.has(name)), None)
    if identity:
        values["trade_id"] = table.text(identity)
    if table.has("exit_time"):
        values["exit_time"] = table.time("exit_time")
    for name in ("exit_price", "leverage", "stop_price", "fees", "logged_pnl"):
        if table.has(name):
            values[name] = table.number(name)
    if table.has("recorded"):
        values["recorded"] = table.text("recorded").cast(Recorded)
    return Log(frame(values))


def read_fills(table: Table) -> Log:
    """Return the fills."""
    values = {
        "symbol": table.text("symbol") if table.has("symbol") else repeated(table, None, pl.String),
        "time": table.time("time"),
        "side": table.words("side", FILL_SIDES, FillSide),
        "price": table.number("price"),
        "quantity": table.number("quantity"),
    }
    for name in ("fee", "closed_pnl", "leverage"):
        if table.has(name):
            values[name] = table.number(name)
    if table.has("position_side"):
        values["position_side"] = table.text("position_side").str.to_lowercase().cast(Side)
    return Log(fills=frame(values).sort("time", maintain_order=True))


TRADES = Format("trades", "a table of trades", columns("side, entry_time, entry_price, quantity"), read_trades)
FILLS = Format("fills", "a table of fills", columns("time, side, price, quantity"), read_fills)
