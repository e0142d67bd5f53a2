"""vectorbt: ``portfolio.trades.records_readable``.

Orders from signals fill at the close of the stamped bar unless another price was given, so that close and open are
both tried on the bars.
"""

from __future__ import annotations

import polars as pl

from backtest.schemas.frames import Side
from backtest.trades.formats.format import SIDES, Format, Log, columns, frame
from backtest.trades.table import Table


def read(table: Table) -> Log:
    """Return the trades; those of status Open have no exit."""
    still_open = table.text("Status").str.to_lowercase() == "open"
    named = table.text("Column")
    fees = table.number("Entry Fees") + table.number("Exit Fees")
    values = {
        "trade_id": table.number("Exit Trade Id" if table.has("Exit Trade Id") else "Trade Id").cast(pl.Int64),
        "symbol": named.set(named.str.contains(r"^\d*$").fill_null(False), None),  # a number is no name
        "side": table.words("Direction", SIDES, Side),
        "entry_time": table.time("Entry Timestamp", naive="UTC"),
        "entry_price": table.number("Avg Entry Price"),
        "quantity": table.number("Size"),
        "exit_time": table.time("Exit Timestamp", naive="UTC"),
        "exit_price": table.number("Avg Exit Price"),
        "fees": fees,
        "logged_pnl": table.number("PnL"),
    }
    ended = ("exit_time", "exit_price", "logged_pnl")
    trades = frame(values).with_columns(pl.when(~still_open).then(pl.col(name)).alias(name) for name in ended)
    if trades["trade_id"].n_unique() < trades.height:  # ids are counted in each column of a portfolio
        trades = trades.with_columns(trade_id=pl.int_range(trades.height, eager=True))
    return Log(trades)


VECTORBT = Format(
    "vectorbt",
    "vectorbt trades.records_readable",
    columns(
        "Column, Size, Entry Timestamp, Avg Entry Price, Exit Timestamp, Avg Exit Price, PnL, Direction, Status"
    ),
    read,
    fills_at=("close", "open"),
)
