"""OKX ``positions-history``. Sizes count contracts; what a contract holds follows from the log's own profit."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.schemas.frames import Side
from backtest.schemas.trades import Recorded
from backtest.trades.formats.format import Format, Log, columns, frame, needs
from backtest.trades.symbols import pair_of
from backtest.trades.table import Table

#: ``type`` of the last update: 1 partly closed, 2 all closed, 3 liquidated, 4 partly liquidated, 5 ADL.
TYPES = {"3": "liquidated", "4": "liquidated", "5": "adl"}

#: How far a contract's size may lie from 1, 2 or 5 times a power of ten, all rounding of a log included.
ROUNDING = 0.02


def read(table: Table) -> Log:
    """Return the positions at their largest size, in coins."""
    side = table.text("direction" if table.has("direction") else "posSide").str.to_lowercase()
    table.refuse("direction", ~side.is_in(["long", "short"]), "must be long or short", side)
    values = {
        "symbol": table.text("instId"),
        "side": side.cast(Side),
        "entry_time": table.time("cTime"),
        "entry_price": table.number("openAvgPx"),
        "exit_time": table.time("uTime"),
        "exit_price": table.number("closeAvgPx"),
        "leverage": table.number_or_null("lever"),
        "fees": -table.number_or_null("fee").fill_null(0.0),
        "logged_pnl": table.number("realizedPnl"),
        "recorded": table.text("type").replace_strict(TYPES, default=None, return_dtype=Recorded),
    }
    trades = frame(values)
    sizes = {symbol: _contract_size(table, symbol) for symbol in trades["symbol"].unique()}
    contracts = table.number("openMaxPos")
    size = trades["symbol"].replace_strict(sizes, return_dtype=pl.Float64)
    trades = trades.with_columns(quantity=contracts * size)
    partly = table.text("type") == "1"
    trades = trades.with_columns(
        pl.when(~partly).then(pl.col(name)).alias(name) for name in ("exit_time", "exit_price", "logged_pnl")
    )
    shown = ", ".join(f"{symbol} {plain(size)}" for symbol, size in sorted(sizes.items()))
    notes = (
        f"what a contract holds, from the log's own profit: {shown}",
        "OKX gives averages: a position is taken as held at its largest size throughout",
    )
    return Log(trades, pnl_after_funding=True, notes=notes)


def _contract_size(table: Table, symbol: str) -> float:
    """Return coins (or dollars) a contract, from profits over price moves, rounded to 1, 2 or 5 times ten."""
    own = pl.DataFrame(
        {
            "symbol": table.text("instId"),
            "pnl": table.number("pnl"),
            "closed": table.number("closeTotalPos"),
            "entry": table.number("openAvgPx"),
            "exit": table.number("closeAvgPx"),
        }
    ).filter(pl.col("symbol") == symbol)
    pair = pair_of(symbol)
    move = 1 / pl.col("entry") - 1 / pl.col("exit") if pair and pair.inverse else pl.col("exit") - pl.col("entry")
    ratios = own.select((pl.col("pnl") / (move * pl.col("closed"))).abs()).to_series()
    found = ratios.filter(ratios.is_finite() & (ratios > 0)).median()
    if isinstance(found, float):
        steps = np.array([1.0, 2.0, 5.0, 10.0]) * 10.0 ** np.floor(np.log10(found))
        nearest = float(steps[np.argmin(np.abs(steps / found - 1))])
        if abs(nearest / found - 1) < ROUNDING:
            return float(f"{nearest:.0e}")
    remedy = "give the table with a column of sizes in coins named openMaxPos, and pnl left as it is"
    raise needs(table, f"contracts of {symbol} whose size does not follow from its profits", remedy)


OKX = Format(
    "okx",
    "OKX positions-history",
    columns("instId, openAvgPx, closeAvgPx, openMaxPos, closeTotalPos, pnl, realizedPnl, cTime, uTime"),
    read,
)
