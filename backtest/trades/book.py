"""Trades as a book of isolated positions: partial closes and additions are adjustments."""

from __future__ import annotations

from typing import Literal

import polars as pl

from backtest.book.book import Book
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.trades.placement import placed
from backtest.trades.reader import Trades

Keep = Literal["size", "stake"]


@checked
def to_book(trades: Trades, market: Market, *, leverage: float | None = None, keep: Keep = "size") -> Book:
    """Return the trades that a market covers as a book that ``sweep`` takes.

    Parameters
    ----------
    trades
        As :func:`read` returns them.
    market
        Decides how symbols are spelled, and where in their stamped bar the fills lie.
    leverage
        Of every trade; None: as the list says.
    keep
        What another leverage leaves as it was: the size (less margin), or the stake (more quantity).

    Raises
    ------
    ArgumentError
        Where no leverage is known.
    DataError
        Where the market covers none of the trades, or its prices are not those of the list.

    Examples
    --------
    >>> from backtest import sweep, trades
    >>> mine = {"symbol": "BTC/USDT:USDT", "side": ["long"], "entry_time": [noon], "entry_price": [38_714.0],
    ...         "quantity": [0.5], "exit_time": [noon + timedelta(hours=3)], "exit_price": [36_000.0]}
    >>> sweep(trades.to_book(trades.read(mine), market, leverage=10), market, venue)["outcome"].to_list()
    ['liquidated']
    """
    found = placed(trades, market)
    frame = sized(found.trades, leverage, keep)
    names = ["trade_id", "symbol", "side", "entry_time", "entry_price", "quantity", "leverage", "exit_time"]
    positions = frame.select(names).rename({"trade_id": "position_id"})
    changes = scaled(found.changes, frame)
    return Book(positions, None if changes.is_empty() else changes, (f"trades as given ({trades.source})",))


def sized(trades: pl.DataFrame, leverage: float | None, keep: Keep) -> pl.DataFrame:
    """Return trades at a leverage, with ``factor``: what their quantities are multiplied by.

    Raises
    ------
    ArgumentError
        Where a trade's leverage is not known and none is given, or its stake is not.
    """
    unknown = trades["leverage"].null_count()
    if leverage is None:
        if unknown:
            raise ArgumentError(
                f"must be given: the trades do not say at which leverage they were made ({unknown:,} of "
                f"{trades.height:,})",
                argument="leverages",
            )
        return trades.with_columns(factor=pl.lit(1.0))
    if keep == "size":
        return trades.with_columns(leverage=pl.lit(float(leverage)), factor=pl.lit(1.0))
    if unknown:
        raise ArgumentError(
            "'stake' needs the leverage that the trades were made at, which they do not say",
            argument="keep",
            remedies=(("keep", "size"),),
        )
    factor = leverage / pl.col("leverage")
    return trades.with_columns(
        quantity=pl.col("quantity") * factor, factor=factor, leverage=pl.lit(float(leverage))
    )


def scaled(changes: pl.DataFrame, trades: pl.DataFrame) -> pl.DataFrame:
    """Return the changes of trades as adjustments of positions, at the trades' factors."""
    if changes.is_empty():
        return changes.rename({"trade_id": "position_id"})
    joined = changes.join(trades.select("trade_id", "factor"), on="trade_id", maintain_order="left")
    return joined.select(
        pl.col("trade_id").alias("position_id"),
        "time",
        "price",
        quantity_change=pl.col("quantity_change") * pl.col("factor"),
    )
