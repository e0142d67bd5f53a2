"""Open liquidation levels at one moment, after decay."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import polars as pl

from backtest.engine.notional import notional_at
from backtest.engine.sweep.surviving_weight import surviving_weight
from backtest.errors import ArgumentError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.study.liquidations.exact_sums import require, weight

Measure = Literal["notional", "quantity"]


def amount_at(price: str, measure: Measure) -> pl.Expr:
    """Return the amount of a level for one trader: its notional at a price, or its quantity."""
    return pl.col("quantity") if measure == "quantity" else notional_at(price)


def require_measured(outcomes: pl.DataFrame, measure: Measure) -> None:
    """Refuse outcomes without a contract kind where the measure is notional."""
    if measure == "notional":
        require(outcomes, "contract_kind")


@checked
def require_no_funding(outcomes: pl.DataFrame) -> None:
    """Refuse outcomes that paid funding: their levels have moved."""
    if outcomes.select((pl.col("funding_paid") != 0.0).any()).item():
        raise ArgumentError(
            "levels need outcomes swept without funding, which moves them: levels_of(book, market, venue, grid) "
            "does that, or market.without_funding(); levels_of(..., drift=True) moves the levels instead"
        )


@checked
def as_of(outcomes: pl.DataFrame, pieces: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Return the outcomes of positions open at a moment, with their level and quantity at that time."""
    until = pl.col("until_time")
    now = pieces.filter(pl.col("from_time") <= moment, until.is_null() | (until >= moment))
    found = outcomes[now["row"]].with_columns(now.select("row", "quantity", liquidation_price="price"))
    return found.unique("row", keep="last", maintain_order=True)


@checked
def open_levels_at(
    outcomes: pl.DataFrame,
    symbol: str,
    moment: datetime,
    *,
    survival: pl.DataFrame | None = None,
    pieces: pl.DataFrame | None = None,
    measure: Measure = "notional",
) -> pl.DataFrame:
    """Return the open levels of a symbol at a moment, after decay.

    The moment is the end of a bar: levels within its range are triggered, levels that the next bar triggers are
    still open.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them, without funding
    survival : of the book, where it decays
    pieces : prices of levels that moved
    measure : as in ``levels.levels``

    Returns
    -------
    The rows of ``outcomes`` that are open, with level and quantity at that time, and ``amount`` at the level.
    """
    require_measured(outcomes, measure)
    ended = pl.col("outcome_time")
    rows = (outcomes if pieces is None else as_of(outcomes, pieces, moment)).filter(
        pl.col("symbol") == symbol,
        pl.col("liquidation_price") > 0,
        pl.col("entry_time") <= moment,
        ended.is_null() | (ended >= moment),
    )
    if pieces is None:
        require_no_funding(rows)
    left = weight(rows)
    if survival is not None:
        left = pl.lit(surviving_weight(rows.with_columns(outcome_time=pl.lit(moment).cast(Time)), survival))
    return rows.with_columns(amount=amount_at("liquidation_price", measure) * left)
