"""Columns of a check: outcomes, how near trades came, and their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.kernel.types import Floats, Integers
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time
from backtest.trades.holding.lives import Lives
from backtest.trades.verdict import NOT_IN_FORCE

#: What becomes of a trade: as a sweep says, or never opened there.
TradeOutcome = pl.Enum(["liquidated", "exited", "open", "unknown", "rejected", "no_rules"])

#: What keeps leverage from being higher.
LimitedBy = pl.Enum(["price", "tier"])


def tier_source(lives: Lives) -> str:
    """Return the tier table that trades are under, and whether it was in force."""
    return table_named(lives.contract, lives.table, in_force=lives.in_force)


def table_named(contract: Contract, table: TierTable, *, in_force: bool) -> str:
    """Return a tier table by its name, of another symbol with that, and whether it was in force."""
    name = f"{contract.like} {table.name}" if contract.like else table.name
    return name if in_force else f"{name} {NOT_IN_FORCE}"


def distances(
    rows: pl.DataFrame, found: dict[str, Any], moments: Integers, source: Any, highest: tuple[Floats, pl.Series]
) -> list[pl.Series]:
    """Return the columns that say how near trades came; a liquidated trade came as near as can be."""
    gone = rows["certain"].to_numpy()
    side = np.where((rows["side"] == "long").to_numpy(), 1.0, -1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        percent = 100 * side * (found["closest_price"] - found["reached"]) / found["closest_price"]
        days = np.abs(np.log(found["closest_price"] / found["reached"])) / found["volatility"]
    closest = pl.Series(moments).cast(Time)
    closest = closest.set(pl.Series(moments < 0), None)
    when = pl.select(pl.when(pl.Series(gone)).then(rows["outcome_time"]).otherwise(closest)).to_series()
    kept = ~rows["rejected"].to_numpy()
    numbers = {
        "margin": found["margin"],
        "peak_margin_ratio": np.where(gone, 1.0, found["peak_margin_ratio"]),
        "closest_distance_percent": np.where(gone, 0.0, percent),
        "closest_distance_days": np.where(gone, 0.0, days),
    }
    columns = [
        pl.Series(name, np.where(kept, values, np.nan), nan_to_null=True) for name, values in numbers.items()
    ]
    return [
        *columns,
        when.set(pl.Series(~kept), None).alias("closest_time"),
        pl.Series("margin_that_holds", found["margin_that_holds"], nan_to_null=True),
        pl.Series("highest_surviving_leverage", highest[0], nan_to_null=True),
        highest[1].alias("limited_by"),
        pl.Series("tier_source", source.tolist(), dtype=pl.String),
    ]


#: What a check returns, in this order.
COLUMNS = [
    "trade_id", "symbol", "side", "venue", "price_venue", "leverage", "margin", "quantity", "entry_time",
    "entry_price", "exit_time", "exit_price", "outcome", "certainly_liquidated", "possibly_liquidated",
    "outcome_time", "outcome_until", "possible_time", "liquidation_price", "peak_margin_ratio",
    "closest_distance_percent", "closest_distance_days", "closest_time", "margin_that_holds",
    "highest_surviving_leverage", "limited_by", "realised_pnl", "logged_pnl", "pnl_difference", "recorded",
    "liquidated_later", "stop_comes_first", "tier_source",
]  # fmt: skip
