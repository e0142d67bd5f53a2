"""Profit of trades: by the log's own prices where they were closed, by the sweep where they were liquidated."""

from __future__ import annotations

import polars as pl

from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import notional_of
from backtest.rules.venue import Venue
from backtest.trades.reader import Trades


def columns(
    rows: pl.DataFrame, changes: pl.DataFrame, log: Trades, venue: Venue, fees: float | None
) -> list[pl.Series]:
    """Return ``realised_pnl`` (after fees and funding) and ``pnl_difference``, how far it is from the log's."""
    kinds = {symbol: ContractKind.code(venue.contract(symbol).kind) for symbol in rows["symbol"].unique()}
    inverse = [symbol for symbol, kind in kinds.items() if kind == ContractKind.INVERSE]
    is_inverse = pl.col("symbol").is_in(inverse)
    side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)

    def value(quantity: pl.Expr, price: str) -> pl.Expr:
        linear = notional_of(ContractKind.LINEAR, quantity, pl.col(price))
        coins = notional_of(ContractKind.INVERSE, quantity, pl.col(price))
        return pl.when(is_inverse).then(coins).otherwise(linear)

    # money in at fills that open, out at fills that close; an inverse contract's the other way round
    towards = pl.when(is_inverse).then(-side).otherwise(side)
    joined = changes.join(rows.select("trade_id", "symbol", "factor"), on="trade_id", maintain_order="left")
    moved = joined.with_columns(quantity_change=pl.col("quantity_change") * pl.col("factor"))
    moved = moved.with_columns(worth=value(pl.col("quantity_change"), "price"))
    sums = moved.group_by("trade_id").agg(
        changed=pl.col("quantity_change").sum(), worth=pl.col("worth").sum(), traded=pl.col("worth").abs().sum()
    )
    whole = rows.join(sums, on="trade_id", how="left", maintain_order="left").with_columns(
        pl.col("changed", "worth", "traded").fill_null(0.0)
    )
    left = pl.col("quantity") + pl.col("changed")
    entered, exited = value(pl.col("quantity"), "entry_price"), value(left, "exit_price")
    price_pnl = towards * (exited - entered - pl.col("worth"))
    traded = entered + pl.col("traded") + exited
    paid = pl.lit(fees) * traded if fees is not None else pl.col("fees").fill_null(0.0) * pl.col("factor")
    paid_to_enter = paid * (entered / traded) if fees is None else pl.lit(fees) * entered
    closed = price_pnl - pl.col("funding_paid") - paid
    gone = pl.col("swept_pnl") - pl.coalesce(paid_to_enter, pl.lit(0.0))
    realised = (
        pl.when(pl.col("certain")).then(gone).when(pl.col("outcome").is_in(["exited", "unknown"])).then(closed)
    )
    found = whole.select(realised_pnl=realised, funding="funding_paid", logged="logged_pnl")
    alike = pl.col("realised_pnl") if log.pnl_after_funding else pl.col("realised_pnl") + pl.col("funding")
    return list(found.select("realised_pnl", pnl_difference=alike - pl.col("logged")).iter_columns())
