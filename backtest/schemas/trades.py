"""Schemas of trade lists: closed trades, fills, and the changes of a trade's size.

Every importer returns one of the first two. Fills are netted into trades and changes.
"""

from __future__ import annotations

import polars as pl

from backtest.schemas.frames import Side, Time
from backtest.schemas.rules import FINITE, IN_RANGE, NOT_NEGATIVE, POSITIVE
from backtest.schemas.validation import Column, Schema

#: A forced close that the log itself records.
Recorded = pl.Enum(["liquidated", "adl"])

#: The side that a fill takes, and the side of the position it belongs to in hedge mode.
FillSide = pl.Enum(["buy", "sell"])

#: One row a trade: opened by ``quantity`` at ``entry_price``; ``changes`` add to it and close parts of it; what is
#: left is closed at ``exit_time`` (null: still open).
TRADES = Schema(
    "trades",
    (
        Column("trade_id", pl.Int64, required=False, or_text=True),
        Column("symbol", pl.String),
        Column("side", Side),
        Column("entry_time", Time, IN_RANGE),
        Column("entry_price", pl.Float64, POSITIVE),
        Column("quantity", pl.Float64, POSITIVE),
        Column("exit_time", Time, IN_RANGE, required=False, nullable=True),
        Column("exit_price", pl.Float64, POSITIVE, required=False, nullable=True),
        Column("leverage", pl.Float64, POSITIVE, required=False, nullable=True),
        Column("stop_price", pl.Float64, POSITIVE, required=False, nullable=True),
        Column("fees", pl.Float64, FINITE, required=False, nullable=True),
        Column("logged_pnl", pl.Float64, FINITE, required=False, nullable=True),
        Column("recorded", Recorded, required=False, nullable=True),
    ),
)

#: One row a change of a trade's size after its entry: ``quantity_change`` is positive where the trade grows.
CHANGES = Schema(
    "changes",
    (
        Column("trade_id", pl.Int64, or_text=True),
        Column("time", Time, IN_RANGE),
        Column("price", pl.Float64, POSITIVE),
        Column("quantity_change", pl.Float64, FINITE),
    ),
)

#: One row a fill. ``closed_pnl`` is the profit that the log books for it, zero for one that only opens;
#: ``position_before`` the signed quantity held before it, where the log says.
FILLS = Schema(
    "fills",
    (
        Column("symbol", pl.String),
        Column("time", Time, IN_RANGE),
        Column("side", FillSide),
        Column("price", pl.Float64, POSITIVE),
        Column("quantity", pl.Float64, POSITIVE),
        Column("fee", pl.Float64, FINITE, required=False, nullable=True),
        Column("closed_pnl", pl.Float64, FINITE, required=False, nullable=True),
        Column("position_side", Side, required=False, nullable=True),
        Column("position_before", pl.Float64, FINITE, required=False, nullable=True),
        Column("leverage", pl.Float64, NOT_NEGATIVE, required=False, nullable=True),
        Column("recorded", Recorded, required=False, nullable=True),
    ),
)
