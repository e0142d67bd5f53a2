"""freqtrade: ``strategy[name].trades`` of a backtest result.

Entries and exits by signal fill at the open of their candle; stops, targets and liquidations inside it. ``orders``
holds every entry of a position that was added to, and every partial exit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl

from backtest.schemas.frames import Side, Time
from backtest.schemas.trades import CHANGES, Recorded
from backtest.trades.formats.format import Format, Log, columns, frame
from backtest.trades.table import Table

#: What freqtrade calls a trade that its own simulation liquidated.
LIQUIDATION = "liquidation"

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read(table: Table) -> Log:
    """Return the trades, with the orders after the first as changes."""
    amount, entry, exit_ = table.number("amount"), table.number("open_rate"), table.number_or_null("close_rate")
    is_short = table.flag("is_short")
    fees = amount * (entry * table.number_or_null("fee_open") + exit_ * table.number_or_null("fee_close"))
    reason = table.text("exit_reason").str.to_lowercase()
    entry_time = _time(table, "open")
    values = {
        "symbol": table.text("pair"),
        "side": pl.Series(["short" if short else "long" for short in is_short], dtype=Side),
        "entry_time": entry_time,
        "entry_price": entry,
        "quantity": amount,
        "exit_time": _time(table, "close"),
        "exit_price": exit_,
        "leverage": table.number_or_null("leverage"),
        "stop_price": table.number_or_null("initial_stop_loss_abs"),
        "fees": fees,
        "logged_pnl": table.number_or_null("profit_abs"),
        "recorded": pl.Series(["liquidated" if text == LIQUIDATION else None for text in reason], dtype=Recorded),
    }
    still_open = table.flag("is_open")
    trades = frame(values).with_columns(trade_id=pl.int_range(table.height, eager=True))
    ended = ("exit_time", "exit_price", "logged_pnl")
    trades = trades.with_columns(pl.when(~still_open).then(pl.col(name)).alias(name) for name in ended)
    trades, changes = _with_orders(trades, table)
    return Log(trades, changes, interval=_interval(table), pnl_after_funding=True)


def _time(table: Table, which: str) -> pl.Series:
    """Return a time from the whole milliseconds beside it where there are any."""
    stamp = f"{which}_timestamp"
    return table.time(stamp) if table.has(stamp) else table.time(f"{which}_date", naive="UTC")


def _interval(table: Table) -> timedelta | None:
    text = str(table.about.get("timeframe", ""))
    count, unit = text[:-1], text[-1:]
    return timedelta(**{UNITS[unit]: int(count)}) if count.isdigit() and unit in UNITS else None


def _with_orders(trades: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return trades as their first order opened them, and the other orders but the last exit as changes."""
    schema = {column.name: column.dtype for column in CHANGES.columns} | {"trade_id": pl.Int64, "time": pl.Int64}
    entries: list[tuple[float, float]] = []
    rows: list[tuple[int, int, float, float]] = []
    given = table.raw("orders").to_list() if table.has("orders") else [None] * trades.height
    for number, orders in enumerate(given):
        first, changes = _orders(orders, still_open=trades["exit_time"][number] is None)
        entries.append(first if changes else (trades["entry_price"][number], trades["quantity"][number]))
        rows += [(number, *change) for change in changes]
    changed = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("time").cast(Time))
    opened = pl.DataFrame(entries, schema={"entry_price": pl.Float64, "quantity": pl.Float64}, orient="row")
    return trades.with_columns(opened["entry_price"], opened["quantity"]), changed


def _orders(given: Any, *, still_open: bool) -> tuple[tuple[float, float], list[tuple[int, float, float]]]:
    """Return price and quantity of the first filled order, and the changes after it."""
    orders = json.loads(given) if isinstance(given, str) else given
    filled = list(_filled(orders or ()))
    if len(filled) < 2:
        return (0.0, 0.0), []
    _, first_price, first_amount, _ = filled[0]
    end = len(filled) if still_open else len(filled) - 1
    changes = [(time, price, amount if entry else -amount) for time, price, amount, entry in filled[1:end]]
    return (first_price, first_amount), changes


def _filled(orders: Any) -> Iterator[tuple[int, float, float, bool]]:
    for order in orders:
        if order.get("order_filled_timestamp") and order.get("amount"):
            price = float(order.get("safe_price") or order.get("average"))
            yield int(order["order_filled_timestamp"]), price, float(order["amount"]), bool(order["ft_is_entry"])


FREQTRADE = Format(
    "freqtrade",
    "freqtrade backtest result",
    columns("pair, amount, open_rate, open_date, close_date, is_short, exit_reason"),
    read,
    fills_at=("open",),
)
