"""Binance USD-M: trade history (CSV and interface) and position history (CSV).

The CSV files are known at second hand; their times have no offset. Orders that the venue itself placed are named
``autoclose-`` (liquidation) and ``adl_autoclose`` (auto-deleveraging), where the log has the order's client id.
"""

from __future__ import annotations

import polars as pl

from backtest.amounts import plural
from backtest.schemas.frames import Side
from backtest.schemas.trades import FillSide, Recorded
from backtest.trades.formats.format import FILL_SIDES, SIDES, Format, Log, columns, frame
from backtest.trades.table import Table

#: Currencies that a fee may be taken in and still be money of the log.
MONEY = ("USDT", "USDC", "BUSD", "FDUSD", "USD")


def read_trade_history(table: Table) -> Log:
    """Return the fills of the trade history as the site exports it."""
    fees, notes = money_of(table, "Fee", None)
    return Log(
        fills=frame(
            {
                "symbol": table.text("Symbol"),
                "time": table.time(next(name for name in ("Time", "Date(UTC)", "Time(UTC)") if table.has(name))),
                "side": table.words("Side", FILL_SIDES, FillSide),
                "price": table.number("Price"),
                "quantity": table.number("Quantity"),
                "fee": fees.abs(),
                "closed_pnl": table.number("Realized Profit"),
                "recorded": recorded(table),
            }
        ),
        notes=notes,
    )


def read_user_trades(table: Table) -> Log:
    """Return the fills of the interface's ``userTrades``; ``positionSide`` keeps the sides of hedge mode apart."""
    fees, notes = money_of(table, "commission", "commissionAsset")
    sides = table.text("positionSide").str.to_lowercase()
    return Log(
        fills=frame(
            {
                "symbol": table.text("symbol"),
                "time": table.time("time"),
                "side": table.words("side", FILL_SIDES, FillSide),
                "price": table.number("price"),
                "quantity": table.number("qty"),
                "fee": fees,
                "closed_pnl": table.number("realizedPnl"),
                "position_side": sides.replace({"both": None}).cast(Side),
                "recorded": recorded(table),
            }
        ),
        notes=notes,
    )


def read_position_history(table: Table) -> Log:
    """Return the positions at their largest size."""
    closed = (
        table.text("Status").str.to_lowercase().str.contains("partial").fill_null(False)
        if table.has("Status")
        else None
    )
    exit_time = table.time("Closed")
    trades = frame(
        {
            "symbol": table.text("Symbol"),
            "side": table.words("Position Side", SIDES, Side),
            "entry_time": table.time("Opened"),
            "entry_price": table.number("Entry Price"),
            "quantity": table.number("Max Open Interest"),
            "exit_time": exit_time if closed is None else exit_time.set(closed, None),
            "exit_price": table.number("Avg. Close Price"),
            "logged_pnl": table.number("Closing PNL"),
        }
    )
    notes = (
        "Binance's position history gives averages: a position is taken as held at its largest size throughout",
    )
    return Log(trades, notes=notes)


def recorded(table: Table) -> pl.Series:
    """Return the closes by the venue itself, from the client id of their order."""
    name = next((name for name in ("clientOrderId", "Client Order ID") if table.has(name)), "clientOrderId")
    ids = table.text(name).fill_null("")
    made = [
        "adl" if text.startswith("adl_autoclose") else "liquidated" if text.startswith("autoclose-") else None
        for text in ids
    ]
    return pl.Series(made, dtype=Recorded)


def money_of(table: Table, name: str, asset: str | None) -> tuple[pl.Series, tuple[str, ...]]:
    """Return fees in money; a fee taken in a coin is left out, and a note says how many."""
    fees = table.number_or_null(name)
    units = table.text(asset) if asset else table.text(name).str.extract(r"([A-Za-z]+)$")
    strange = units.is_not_null() & ~units.str.to_uppercase().is_in(MONEY)
    if not strange.any():
        return fees, ()
    coins = ", ".join(sorted(units.filter(strange).unique()))
    return fees.set(strange, None), (f"fees of {plural(int(strange.sum()), 'fill')} in {coins} left out",)


TRADE_HISTORY = Format(
    "binance-trades",
    "Binance USD-M trade history (CSV)",
    columns("Symbol, Side, Price, Quantity, Fee, Realized Profit"),
    read_trade_history,
    experimental=True,
)
USER_TRADES = Format(
    "binance-api",
    "Binance USD-M userTrades",
    columns("symbol, side, price, qty, realizedPnl, commission, commissionAsset, time"),
    read_user_trades,
)
POSITION_HISTORY = Format(
    "binance-positions",
    "Binance position history (CSV)",
    columns("Symbol, Position Side, Entry Price, Avg. Close Price, Max Open Interest, Opened, Closed"),
    read_position_history,
    experimental=True,
)
