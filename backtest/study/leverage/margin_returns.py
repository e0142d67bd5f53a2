"""Returns of trades on their margin, at each leverage of a check."""

from __future__ import annotations

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.trades.checking import Check


@checked
def returns(check: Check, *, venue: str | None = None, possible: bool = False) -> pl.DataFrame:
    """Return what each trade earns on its isolated margin, at each leverage checked, in order of their ends.

    Parameters
    ----------
    check
        As ``trades.check`` returns it, at the leverages to compare.
    venue
        Of a check of several.
    possible
        Whether trades that are liquidated possibly but not certainly lose their margin.

    Returns
    -------
    ``leverage, trade_id, time, liquidated, opened, return``: after fees and funding, a fraction of the margin, -1
    where all of it is lost; 0 for trades that could not have been opened at that leverage. Trades still open, and
    those whose outcome is unknown, are left out at every leverage.

    Raises
    ------
    ArgumentError
        For a check of several venues and none named.
    DataError
        Where no trade has ended.

    Examples
    --------
    >>> from backtest import trades
    >>> from backtest.study import leverage
    >>> mine = {"symbol": "BTC/USDT:USDT", "side": ["long"], "entry_time": [noon], "entry_price": [38_714.0],
    ...         "quantity": [0.5], "exit_time": [noon + timedelta(hours=3)], "exit_price": [36_000.0]}
    >>> found = trades.check(trades.read(mine), market, venues=["binance"], leverages=[2, 10])
    >>> leverage.returns(found).select("leverage", "liquidated", pl.col("return").round(3)).rows()
    [(2.0, False, -0.14), (10.0, True, -1.0)]
    """
    rows = check.rows
    names = rows["venue"].unique(maintain_order=True).to_list()
    if venue is None and len(names) > 1:
        raise ArgumentError(f"must be one of {', '.join(names)}", argument="venue")
    rows = rows.filter(venue=venue or names[0])
    outcome = pl.col("outcome").cast(pl.String)
    ended = outcome.is_in(["exited", "liquidated"]) & pl.col("realised_pnl").is_not_null()
    opened = ~outcome.is_in(["rejected", "no_rules"])
    open_ = rows.filter(opened & ~ended)["trade_id"].unique()
    rows = rows.filter(~pl.col("trade_id").is_in(open_.implode()))
    if rows.filter(ended).is_empty():
        raise DataError("trades must have ended at some leverage, none has")
    gone = pl.col("possibly_liquidated" if possible else "certainly_liquidated").fill_null(False)
    earned = pl.when(gone & ~pl.col("certainly_liquidated")).then(-1.0).otherwise(
        pl.col("realised_pnl") / pl.col("margin")
    )  # fmt: skip
    found = rows.select(
        "leverage",
        "trade_id",
        time=pl.coalesce("exit_time", "outcome_time", "entry_time").cast(Time),
        liquidated=gone,
        opened=opened,
        **{"return": pl.when(opened).then(pl.max_horizontal(earned, pl.lit(-1.0))).otherwise(0.0)},
    )
    return found.sort("leverage", "time", "trade_id", maintain_order=True)
