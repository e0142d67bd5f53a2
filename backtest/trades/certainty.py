"""What is certain and what is possible of trades: the columns of sweeps, put together.

A fill may lie anywhere in a window (from ``entry_from`` to ``entry_time``, from ``exit_time`` to ``exit_until``).
The shortest life of a trade decides what is certain, the longest one what is possible. Where both are one, one
sweep answers both.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from backtest.schemas.frames import Time
from backtest.trades.columns import TradeOutcome

#: A sweep of trades, in their longest lives and with whole bars of entry and exit where the second is true.
Sweep = Callable[[pl.DataFrame, bool], pl.DataFrame]

ROW = pl.col("position_id").cast(pl.UInt32).alias("row")


def with_outcomes(frame: pl.DataFrame, swept: Sweep) -> pl.DataFrame:
    """Return trades with their outcomes.

    Parameters
    ----------
    frame : trades, with ``row``
    swept : returns the outcomes of some of them

    Returns
    -------
    The trades, with ``outcome, rejected, certain, possible, outcome_time, outcome_until, possible_time,
    liquidation_price, possible_price, funding_paid, swept_pnl``.
    """
    found = swept(frame, False).select(
        ROW,
        swept_outcome=pl.col("outcome").cast(pl.String),
        certain="certainly_liquidated",
        possible="possibly_liquidated",
        swept_time="outcome_time",
        swept_until="outcome_until",
        liquidation_price="liquidation_price",
        funding_paid="funding_paid",
        swept_pnl="realised_pnl",
    )
    rows = frame.join(found, on="row", how="left", maintain_order="left")
    rows = rows.with_columns(
        pl.col("certain", "possible").fill_null(False),
        rejected=(pl.col("swept_outcome") == "rejected").fill_null(True),
    )
    return _named(_with_possible(rows, swept))


def _with_possible(rows: pl.DataFrame, swept: Sweep) -> pl.DataFrame:
    """Return rows with the bar that liquidates where that is possible only."""
    moves = (pl.col("entry_from") != pl.col("entry_time")) | (pl.col("exit_until") != pl.col("exit_time"))
    asked = rows.filter(~pl.col("certain") & ~pl.col("rejected") & (pl.col("possible") | moves.fill_null(False)))
    nothing = pl.DataFrame(
        schema={
            "row": pl.UInt32,
            "possible_after_all": pl.Boolean,
            "possible_time": Time,
            "possible_price": pl.Float64,
        }
    )
    if asked.height:
        gone = pl.col("liquidated")
        nothing = swept(asked, True).select(
            ROW,
            possible_after_all="possibly_liquidated",
            possible_time=pl.when(gone).then("outcome_time"),
            possible_price=pl.when(gone).then("liquidation_price"),
        )
    side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
    # a trade left beyond the liquidation price, under a trigger that is not the price of trades
    beyond = (side * (pl.col("exit_price") - pl.col("liquidation_price")) <= 0).fill_null(False)
    after_all = pl.col("possible_after_all").fill_null(False)
    might = pl.col("certain") | pl.col("possible") | after_all | (beyond & ~pl.col("rejected"))
    at_exit = pl.when(beyond & ~pl.col("certain") & ~pl.col("rejected")).then("exit_time")
    return rows.join(nothing, on="row", how="left", maintain_order="left").with_columns(
        possible=might, possible_time=pl.coalesce("possible_time", at_exit)
    )


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the outcome of each trade: liquidated where that is certain."""
    ends = pl.when(pl.col("exit_time").is_null()).then(pl.lit("open")).otherwise(pl.lit("exited"))
    outcome = (
        pl.when("rejected").then(pl.lit("rejected"))
        .when("certain").then(pl.lit("liquidated"))
        .when(pl.col("swept_outcome") == "liquidated").then(ends)
        .otherwise("swept_outcome")
    )  # fmt: skip
    ended = pl.when("certain").then("swept_time").otherwise(pl.coalesce("exit_time", "swept_time"))
    over = ~pl.col("rejected") & (outcome != "open")
    return rows.with_columns(
        outcome=outcome.cast(TradeOutcome),
        outcome_time=pl.when(over).then(ended),
        outcome_until=pl.when(over).then(pl.when("certain").then("swept_until").otherwise(ended)),
    )


def with_later(rows: pl.DataFrame, swept: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Return rows with ``liquidated_later``: when recorded liquidations that rules do not find would have come.

    A back-tester or another venue may liquidate earlier than the rules do. Such trades are held on, to the end of
    the prices; null where nothing liquidates them by then, and of all other trades.
    """
    held = (pl.col("recorded") == "liquidated").fill_null(False) & ~pl.col("possible") & ~pl.col("rejected")
    nothing = [
        pl.lit(None).cast(rows.schema[name]).alias(name) for name in ("exit_time", "exit_until", "exit_price")
    ]
    asked = rows.filter(held).with_columns(nothing)
    if asked.is_empty():
        return rows.with_columns(liquidated_later=pl.lit(None, Time))
    later = swept(asked).filter("liquidated").select(ROW, liquidated_later="outcome_time")
    return rows.join(later, on="row", how="left", maintain_order="left")
