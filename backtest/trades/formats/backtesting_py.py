"""backtesting.py: the frame ``_trades`` of its statistics.

Market orders fill at the next open, or at the close with ``trade_on_close``; stops and targets inside their bar.
"""

from __future__ import annotations

import polars as pl

from backtest.schemas.frames import Side
from backtest.trades.formats.format import Format, Log, columns, frame, repeated
from backtest.trades.table import Table


def read(table: Table) -> Log:
    """Return the trades; a size below zero is a short."""
    size = table.number("Size")
    table.refuse("Size", size == 0, "must not be zero", size)
    stop = table.number_or_null("SL")
    values = {
        "symbol": table.text("Symbol") if table.has("Symbol") else repeated(table, None, pl.String),
        "side": pl.Series(["long" if value > 0 else "short" for value in size], dtype=Side),
        "entry_time": table.time("EntryTime", naive="UTC"),
        "entry_price": table.number("EntryPrice"),
        "quantity": size.abs(),
        "exit_time": table.time("ExitTime", naive="UTC"),
        "exit_price": table.number("ExitPrice"),
        "stop_price": stop.set(stop.is_nan().fill_null(False), None),
        "fees": table.number_or_null("Commission"),
        "logged_pnl": table.number("PnL"),
    }
    return Log(frame(values))


BACKTESTING_PY = Format(
    "backtesting.py",
    "backtesting.py _trades",
    columns("Size, EntryPrice, ExitPrice, PnL, EntryTime, ExitTime"),
    read,
    fills_at=("open", "close"),
)
