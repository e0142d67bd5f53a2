"""Bybit: closed P&L has no opening times, and is refused; executions hold every fill."""

from __future__ import annotations

import polars as pl

from backtest.schemas.trades import FillSide, Recorded
from backtest.trades.formats.format import FILL_SIDES, Format, Log, columns, frame, needs
from backtest.trades.table import Table

#: How an execution is marked that the venue made itself.
FORCED = {"BustTrade": "liquidated", "AdlTrade": "adl"}


def refuse(table: Table) -> Log:
    """Refuse closed P&L: it does not say when a position was opened."""
    remedy = (
        "export the trade history (executions, /v5/execution/list) instead, whose fills say when positions were "
        "opened"
    )
    raise needs(table, "Bybit's closed P&L, which has no opening times", remedy)


def read_executions(table: Table) -> Log:
    """Return the fills of ``/v5/execution/list``; funding and settlement rows are left out."""
    kinds = table.text("execType").fill_null("Trade")
    kept = kinds.is_in(["Trade", "AdlTrade", "BustTrade"])
    own = Table(table.where, table.rows.filter(kept), table.timezone, table.dates, table.about)
    closed = own.number_or_null("closedSize")
    return Log(
        fills=frame(
            {
                "symbol": own.text("symbol"),
                "time": own.time("execTime"),
                "side": own.words("side", FILL_SIDES, FillSide),
                "price": own.number("execPrice"),
                "quantity": own.number("execQty"),
                "fee": own.number_or_null("execFee"),
                "recorded": kinds.filter(kept).replace_strict(FORCED, default=None, return_dtype=Recorded),
                # what a fill closed is no profit; any number but zero marks a close where no position is known
                "position_before": pl.select(
                    pl.when(closed > 0).then(closed * own.text("side").replace_strict({"Buy": -1.0, "Sell": 1.0}))
                ).to_series(),
            }
        ).sort("time", maintain_order=True)
    )


CLOSED_PNL_CSV = Format(
    "bybit-closed-pnl-csv",
    "Bybit closed P&L (CSV)",
    columns("Closing Direction, Qty, Entry Price, Exit Price, Closed P&L"),
    refuse,
    experimental=True,
)
CLOSED_PNL = Format(
    "bybit-closed-pnl",
    "Bybit closed-pnl",
    columns("symbol, side, qty, avgEntryPrice, avgExitPrice, closedPnl, createdTime"),
    refuse,
)
EXECUTIONS = Format(
    "bybit-executions",
    "Bybit execution list",
    columns("symbol, side, execPrice, execQty, execTime, execType"),
    read_executions,
    experimental=True,
)
