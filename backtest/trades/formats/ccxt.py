"""ccxt: unified trades are fills; unified positions are open, and are refused here."""

from __future__ import annotations

import polars as pl

from backtest.schemas.trades import FillSide
from backtest.trades.formats.format import FILL_SIDES, Format, Log, columns, frame, open_positions
from backtest.trades.table import Table


def read_trades(table: Table) -> Log:
    """Return the fills of ``fetchMyTrades``."""
    time = table.time("timestamp" if table.has("timestamp") else "datetime")
    fills = frame(
        {
            "symbol": table.text("symbol"),
            "time": time,
            "side": table.words("side", FILL_SIDES, FillSide),
            "price": table.number("price"),
            "quantity": table.number("amount"),
            "fee": _fees(table),
        }
    )
    return Log(fills=fills.sort("time", maintain_order=True))


def _fees(table: Table) -> pl.Series:
    """Return the cost of each fee, an object ``{cost, currency}``; null where there is none."""
    found = table.raw("fee")
    if isinstance(found.dtype, pl.Struct):
        names = [one.name for one in found.dtype.fields]
        cost = (
            found.struct.field("cost") if "cost" in names else pl.Series([None] * table.height, dtype=pl.Float64)
        )
        return cost.cast(pl.Float64, strict=False)
    return found.cast(pl.String).str.extract(r"cost['\"]?\s*:\s*['\"]?([-\d.e]+)").cast(pl.Float64)


def refuse_positions(table: Table) -> Log:
    """Refuse positions: they are open, and say nothing of trades."""
    raise open_positions(
        table,
        "open positions (ccxt), not trades",
        "read them with read_positions, or export the fills (fetchMyTrades)",
    )


TRADES = Format("ccxt", "ccxt trades", columns("id, symbol, side, price, amount, cost, takerOrMaker"), read_trades)
POSITIONS = Format(
    "ccxt-positions",
    "ccxt positions",
    columns("symbol, side, contracts, entryPrice, liquidationPrice, marginMode"),
    refuse_positions,
)
