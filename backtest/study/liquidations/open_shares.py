"""Shares of open interest: what an interval liquidates, over what was open when it began."""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.liquidations.grouping import interval

SIDES = ("long", "short")


@checked
def shares_of_open_interest(
    outcomes: pl.DataFrame, book: Book, market: Market, *, every: str = "1d", symbol: str | None = None
) -> pl.DataFrame:
    """Return what each interval liquidates of each side, over the notional that was open when it began.

    A share can pass 1: positions opened within the interval are liquidated in it too. That part is stated beside
    it.

    Parameters
    ----------
    outcomes
        Of a sweep of the book.
    book
        An estimated one, which knows what was open (``open_interest``).
    market
        Its bars: quantities are valued at the mark's opening at the beginning of each interval.
    every
        Length of an interval, as polars writes it.
    symbol
        One contract; all by default, valued in their common quote currency.

    Returns
    -------
    ``time``; for each side and both (``long_``, ``short_``, none): ``open``, notional open at the beginning of
    the interval; ``share``, liquidated in it over that; ``share_new``, the part of ``share`` that was opened
    within the interval. A share of nothing is NaN.

    Raises
    ------
    ArgumentError
        For a book that does not know what was open.

    Examples
    --------
    >>> from backtest import population, sweep
    >>> from backtest.study.liquidations.flow import shares_of_open_interest
    >>> own = population.from_volume(bars.with_columns(volume=pl.lit(1_000.0)), "binance").book
    >>> swept = sweep(own, bars, "binance")
    >>> found = shares_of_open_interest(swept, own, bars)
    >>> found.filter(pl.col("time") == pl.datetime(2021, 5, 19, time_zone="UTC"))["long_share"].round(2).item()
    0.66
    """
    if book.open_interest is None:
        raise ArgumentError("must be an estimated book, which knows what was open", argument="book")
    of = pl.lit(value=True) if symbol is None else pl.col("symbol") == symbol
    starts = (
        market.bars.filter(of)
        .group_by("symbol", pl.col("time").dt.truncate(every))
        .agg(moment=pl.col("time").min(), price=pl.col("open").first())
    )
    known = book.open_interest.rename({"time": "moment"})
    starts = starts.join(known, on=["symbol", "moment"], how="left").fill_null(0.0)
    gone = outcomes.filter(of, pl.col("liquidated")).select(
        "symbol",
        "side",
        interval(every).alias("time"),
        quantity=pl.col("quantity") * pl.col("surviving_weight"),
        # entries are at closes: one at the very beginning of an interval was open then
        new=pl.col("entry_time") > interval(every),
        inverse=pl.col("contract_kind") == "inverse",
    )
    return _added(starts, gone).sort("time")


def _added(starts: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
    """Return the shares of each interval, from what was open and what was liquidated of each symbol."""
    inverse = gone.group_by("symbol").agg(pl.first("inverse"))
    starts = starts.join(inverse, on="symbol", how="left")
    worth = pl.when(pl.col("inverse").fill_null(value=False)).then(1.0).otherwise(pl.col("price"))
    sums = []
    for side in SIDES:
        own = (
            gone.filter(pl.col("side") == side)
            .group_by("symbol", "time")
            .agg(
                pl.col("quantity").sum().alias(f"{side}_gone"),
                pl.col("quantity").filter("new").sum().alias(f"{side}_new"),
            )
        )
        starts = starts.join(own, on=["symbol", "time"], how="left").fill_null(0.0)
        sums += [(worth * pl.col(name)).sum().alias(new) for name, new in (
            (side, f"{side}_open"), (f"{side}_gone", f"{side}_gone"), (f"{side}_new", f"{side}_new"))]  # fmt: skip
    added = starts.group_by("time").agg(sums)
    parts = added.with_columns(
        **{name: pl.col(f"long_{name}") + pl.col(f"short_{name}") for name in ("open", "gone", "new")}
    )
    prefixes = ("long_", "short_", "")
    shares = {f"{p}share": pl.col(f"{p}gone") / _positive(f"{p}open") for p in prefixes}
    shares |= {f"{p}share_new": pl.col(f"{p}new") / _positive(f"{p}open") for p in prefixes}
    return parts.select("time", *(f"{p}open" for p in prefixes), **shares)


def _positive(name: str) -> pl.Expr:
    return pl.when(pl.col(name) > 0).then(pl.col(name)).otherwise(np.nan)
