"""Hyperliquid: ``userFills``, and the CSV of its interface (known at second hand)."""

from __future__ import annotations

import polars as pl

from backtest.schemas.trades import FillSide, Recorded
from backtest.trades.formats.format import FILL_SIDES, Format, Log, columns, frame, open_positions
from backtest.trades.table import Table


def read_user_fills(table: Table) -> Log:
    """Return the fills of perpetuals; ``startPosition`` says what was held before each."""
    coin = table.text("coin")
    perpetual = ~(coin.str.starts_with("@") | coin.str.contains("/"))  # the others are spot
    own = Table(table.where, table.rows.filter(perpetual), table.timezone, table.dates, table.about)
    fills = frame(
        {
            "symbol": own.text("coin"),
            "time": own.time("time"),
            "side": own.words("side", FILL_SIDES, FillSide),
            "price": own.number("px"),
            "quantity": own.number("sz"),
            "fee": own.number_or_null("fee"),
            "closed_pnl": own.number("closedPnl"),
            "position_before": own.number("startPosition"),
            "recorded": _recorded(own),
        }
    )
    return Log(fills=fills[::-1].sort("time", maintain_order=True))  # an answer begins with the latest


def _recorded(table: Table) -> pl.Series:
    """Return the fills that liquidated their own user, or that auto-deleveraging made."""
    directions = table.text("dir").fill_null("")
    flagged = table.raw("liquidation").is_not_null()
    # the counterparty's fill has the flag as well, but is no order that crossed the book
    own = (flagged & directions.str.starts_with("Close") & table.flag("crossed")) | directions.str.starts_with(
        "Liquidat"
    )
    deleveraged = directions.str.contains("Auto-Deleverag")
    made = [
        "adl" if adl else "liquidated" if closed else None for adl, closed in zip(deleveraged, own, strict=True)
    ]
    return pl.Series(made, dtype=Recorded)


def read_csv(table: Table) -> Log:
    """Return the fills of the interface's CSV; its times are local and their order of day and month varies."""
    directions = table.text("dir")
    buys = directions.str.contains(r"(?i)open long|close short|short > long|^buy")
    sells = directions.str.contains(r"(?i)open short|close long|long > short|^sell")
    table.refuse("dir", ~(buys | sells), "must be like Open Long or Close Short", directions)
    fills = frame(
        {
            "symbol": table.text("coin"),
            "time": table.time("time"),
            "side": pl.Series(["buy" if buy else "sell" for buy in buys], dtype=FillSide),
            "price": table.number("px"),
            "quantity": table.number("sz"),
            "fee": table.number_or_null("fee"),
            "closed_pnl": table.number("closedPnl").set(directions.str.contains("(?i)^open"), 0.0),
        }
    )
    return Log(fills=fills.sort("time", maintain_order=True))


def refuse_state(table: Table) -> Log:
    """Refuse a state: it holds open positions, not trades."""
    raise open_positions(
        table,
        "open positions of a clearinghouseState, not trades",
        "read them with read_positions, or export the fills (userFills)",
    )


USER_FILLS = Format(
    "hyperliquid",
    "Hyperliquid userFills",
    columns("coin, px, sz, side, time, startPosition, closedPnl, dir"),
    read_user_fills,
)
CSV = Format(
    "hyperliquid-csv",
    "Hyperliquid trade history (CSV)",
    columns("time, coin, dir, px, sz, ntl, fee, closedPnl"),
    read_csv,
    experimental=True,
)
STATE = Format("hyperliquid-state", "Hyperliquid clearinghouseState", columns("coin, entryPx, szi"), refuse_state)
