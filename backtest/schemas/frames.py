"""The frames this package takes and gives, column by column, and the checks they must pass.

Times are UTC milliseconds, prices and quantities float64. ``check`` never repairs: it returns when a frame
follows its schema and otherwise raises one :class:`~backtest.errors.DataError` that names the argument, the
rule, how many rows break it and the first of them.
"""

from __future__ import annotations

import polars as pl

from backtest.schemas.categories import OPENED as OPENED
from backtest.schemas.categories import KindOfContract as KindOfContract
from backtest.schemas.categories import Outcome as Outcome
from backtest.schemas.categories import ReplayOutcome as ReplayOutcome
from backtest.schemas.categories import Side as Side
from backtest.schemas.rules import FILL_PRICE, FINITE, FRACTION, IN_RANGE, NOT_NEGATIVE, POSITIVE
from backtest.schemas.validation import Column, Schema

Time = pl.Datetime("ms", "UTC")

#: Price series a frame of bars can hold, and the prefix of their columns. The mark price has none.
PRICE_PREFIX = {"mark": "", "last": "last_", "index": "index_"}


def _ohlc(prefix: str) -> tuple[str, tuple[str, ...], pl.Expr]:
    names = tuple(f"{prefix}{part}" for part in ("open", "high", "low", "close"))
    opening, high, low, close = map(pl.col, names)
    inside = (low <= opening) & (low <= close) & (opening <= high) & (close <= high)
    return f"{prefix.removesuffix('_') or 'mark'} prices need low <= open, close <= high", names, inside


def _prices(prefix: str, required: bool) -> tuple[Column, ...]:
    return tuple(
        Column(f"{prefix}{part}", pl.Float64, NOT_NEGATIVE, required) for part in ("open", "high", "low", "close")
    )


BARS = Schema(
    "bars",
    (
        Column("symbol", pl.String),
        Column("time", Time, IN_RANGE),
        *_prices("", required=True),
        *_prices("last_", required=False),
        *_prices("index_", required=False),
        Column("volume", pl.Float64, NOT_NEGATIVE, required=False),
        Column("taker_buy_volume", pl.Float64, NOT_NEGATIVE, required=False),
        Column("spot_volume", pl.Float64, NOT_NEGATIVE, required=False),
        Column("open_interest", pl.Float64, NOT_NEGATIVE, required=False),
    ),
    (_ohlc(""), _ohlc("last_"), _ohlc("index_")),
)

FUNDING = Schema(
    "funding",
    (Column("symbol", pl.String), Column("time", Time, IN_RANGE), Column("rate", pl.Float64, FINITE)),
)

POSITIONS = Schema(
    "positions",
    (
        Column("position_id", pl.Int64, required=False, or_text=True),
        Column("symbol", pl.String),
        Column("side", Side),
        Column("entry_time", Time, IN_RANGE),
        Column("entry_price", pl.Float64, POSITIVE),
        Column("quantity", pl.Float64, POSITIVE),
        Column("margin", pl.Float64, POSITIVE, required=False, nullable=True),
        Column("leverage", pl.Float64, POSITIVE, required=False, nullable=True),
        Column("weight", pl.Float64, POSITIVE, required=False),
        Column("exit_time", Time, IN_RANGE, required=False, nullable=True),
        Column("exit_price", pl.Float64, FILL_PRICE, required=False, nullable=True),
        Column("stop_price", pl.Float64, POSITIVE, required=False, nullable=True),
        Column("take_profit_price", pl.Float64, POSITIVE, required=False, nullable=True),
    ),
)

ADJUSTMENTS = Schema(
    "adjustments",
    (
        Column("position_id", pl.Int64, or_text=True),
        Column("time", Time, IN_RANGE),
        Column("margin_change", pl.Float64, FINITE, required=False, nullable=True),
        Column("quantity_change", pl.Float64, FINITE, required=False),
        Column("price", pl.Float64, FILL_PRICE, required=False, nullable=True),
    ),
)

ACCOUNTS = Schema(
    "accounts",
    (
        Column("account_id", pl.Int64, required=False, or_text=True),
        Column("wallet", pl.Float64, FINITE),
        Column("order_margin", pl.Float64, NOT_NEGATIVE, required=False),
    ),
)

LEGS = Schema(
    "legs",
    (
        Column("leg_id", pl.Int64, required=False, or_text=True),
        Column("account_id", pl.Int64, or_text=True),
        Column("symbol", pl.String),
        Column("side", Side),
        Column("entry_time", Time, IN_RANGE),
        Column("entry_price", pl.Float64, POSITIVE),
        Column("quantity", pl.Float64, POSITIVE),
        Column("leverage", pl.Float64, POSITIVE, required=False),
        Column("exit_time", Time, IN_RANGE, required=False, nullable=True),
    ),
)

COLLATERAL = Schema(
    "collateral",
    (
        Column("account_id", pl.Int64, or_text=True),
        Column("symbol", pl.String),
        Column("quantity", pl.Float64, FINITE),
    ),
)

HAIRCUTS = Schema(
    "haircuts",
    (
        Column("symbol", pl.String),
        Column("floor", pl.Float64, NOT_NEGATIVE),
        Column("haircut", pl.Float64, FRACTION),
    ),
)

TRANSFERS = Schema(
    "transfers",
    (
        Column("account_id", pl.Int64, or_text=True),
        Column("time", Time, IN_RANGE),
        Column("wallet_change", pl.Float64, FINITE),
    ),
)

#: What ``sweep`` adds to the columns of the positions, in this order.
OUTCOME_COLUMNS = {
    "outcome": Outcome,
    "liquidated": pl.Boolean,
    "certainly_liquidated": pl.Boolean,
    "possibly_liquidated": pl.Boolean,
    "outcome_time": Time,
    "outcome_until": Time,
    "liquidation_price": pl.Float64,
    "bankruptcy_price": pl.Float64,
    "fill_price": pl.Float64,
    "fill_notional": pl.Float64,
    "funding_paid": pl.Float64,
    "equity_at_fill": pl.Float64,
    "shortfall": pl.Float64,
    "realised_pnl": pl.Float64,
    "tier_rate": pl.Float64,
    "ambiguous": pl.Boolean,
    "entry_notional": pl.Float64,
    "contract_kind": KindOfContract,
    "tier_table": pl.String,
    "tier_source": pl.String,
    "price_venue": pl.String,
}

#: What ``sweep_accounts`` adds to the accounts and to their legs.
ACCOUNT_OUTCOME_COLUMNS = {
    "outcome": Outcome,
    "liquidated": pl.Boolean,
    "outcome_time": Time,
    "earliest_liquidation": Time,
    "latest_liquidation": Time,
    "equity": pl.Float64,
    "maintenance_margin": pl.Float64,
    "equity_at_fill": pl.Float64,
    "shortfall": pl.Float64,
    "ambiguous": pl.Boolean,
    "price_venue": pl.String,
}
LEG_OUTCOME_COLUMNS = {
    "leg_outcome": Outcome,
    "leg_outcome_time": Time,
    "triggered": pl.Boolean,
    "fill_price": pl.Float64,
    "funding_paid": pl.Float64,
    "realised_pnl": pl.Float64,
    "entry_notional": pl.Float64,
    "contract_kind": KindOfContract,
    "tier_table": pl.String,
    "tier_source": pl.String,
    "price_venue": pl.String,
}
