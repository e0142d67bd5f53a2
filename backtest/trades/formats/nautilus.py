"""nautilus: the positions report, with average prices and the times of first and last fill."""

from __future__ import annotations

import polars as pl

from backtest.schemas.frames import Side
from backtest.trades.formats.format import SIDES, Format, Log, columns, frame
from backtest.trades.table import Table


def read(table: Table) -> Log:
    """Return the positions at their largest size, from their first fill to their last."""
    pnl = table.number("realized_pnl")  # "12.5 USDT"
    values = {
        "trade_id": table.text("position_id"),
        "symbol": table.text("instrument_id"),
        "side": table.words("entry", SIDES, Side),
        "entry_time": table.time("ts_opened", naive="UTC"),
        "entry_price": table.number("avg_px_open"),
        "quantity": table.number("peak_qty"),
        "exit_time": table.time("ts_closed", naive="UTC"),
        "exit_price": table.number_or_null("avg_px_close"),
        "fees": _commissions(table),
        "logged_pnl": pnl,
    }
    trades = frame(values)
    ended = ("exit_price", "logged_pnl")
    trades = trades.with_columns(
        pl.when(pl.col("exit_time").is_not_null()).then(pl.col(name)).alias(name) for name in ended
    )
    if trades["trade_id"].n_unique() < trades.height:  # in netting mode a position's id is used again
        trades = trades.with_columns(trade_id=pl.int_range(trades.height, eager=True))
    notes = ("nautilus gives averages: a position is taken as held at its largest size throughout",)
    return Log(trades, notes=notes)


def _commissions(table: Table) -> pl.Series:
    """Return the sum of ``['0.5 USDT', '0.1 USDT']``; null where commissions are in several currencies."""
    text = table.raw("commissions")
    if isinstance(text.dtype, pl.List):
        text = text.list.eval(pl.element().cast(pl.String)).list.join(",")
    text = text.cast(pl.String).fill_null("")
    amounts = text.str.extract_all(r"-?\d[\d_]*\.?\d*")
    units = text.str.extract_all(r"[A-Z]{2,}").list.n_unique()
    total = amounts.list.eval(pl.element().str.replace_all("_", "").cast(pl.Float64)).list.sum()
    return total.set(units > 1, None)


NAUTILUS = Format(
    "nautilus",
    "nautilus positions report",
    columns("instrument_id, entry, peak_qty, ts_opened, ts_closed, avg_px_open, avg_px_close, realized_pnl"),
    read,
)
