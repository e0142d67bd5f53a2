"""Hedges: liquidations of long-short pairs in isolated and in cross margin, on one history."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.book.book import Book
from backtest.engine.accounts.sweep import sweep_accounts
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.shown import shown

__all__ = ["liquidated", "pairs"]
__dir__ = __all__.copy


@shown()
class Pairs(NamedTuple):
    """The same pairs as cross-margin accounts and as isolated positions."""

    accounts: Accounts  #: both legs behind one wallet
    positions: pl.DataFrame  #: each leg with half of the wallet as its own margin; ``pair`` numbers them


@checked
def pairs(
    market: Market,
    *,
    start: datetime,
    end: datetime,
    until: datetime,
    count: int,
    leverage: float,
    rng: np.random.Generator,
    same_symbol: bool = False,
) -> Pairs:
    """Return pairs of one notional long and short, opened at bar opens in [start, end) and closed at ``until``.

    Parameters
    ----------
    leverage
        Gross notional of the pair over its wallet.
    rng
        Of entries and symbols. Symbols are drawn from those that have a bar at the entry.
    same_symbol
        Whether both legs are of one symbol, or of two.

    Raises
    ------
    ArgumentError
        Where the market has no two symbols with bars in the window.

    Examples
    --------
    >>> import backtest
    >>> from backtest.study import holders
    >>> two = backtest.market.sample().resample("1h")
    >>> days = [datetime(2021, 5, day, tzinfo=UTC) for day in (11, 18, 25)]
    >>> span = dict(zip(("start", "end", "until"), days))
    >>> both = holders.hedges.pairs(two, **span, count=100, leverage=20, rng=np.random.default_rng(1))
    >>> both.positions.height
    200
    """
    opens = market.bars.filter(pl.col("time").is_between(start, end, closed="left")).select(
        "symbol", "time", "open"
    )
    both = opens.group_by("time").agg("symbol", "open").filter(pl.col("symbol").list.len() > 1).sort("time")
    if both.is_empty():
        raise ArgumentError(f"pairs need two symbols with bars between {start:%Y-%m-%d} and {end:%Y-%m-%d}")
    drawn = both[rng.integers(0, both.height, count).tolist()]
    order = rng.random((count, 2))
    legs = []
    for number, (time, symbols, prices) in enumerate(drawn.iter_rows()):
        first = int(order[number, 0] * len(symbols))
        other = first if same_symbol else (first + 1 + int(order[number, 1] * (len(symbols) - 1))) % len(symbols)
        for side, chosen in (("long", first), ("short", other)):
            legs.append((2 * number + (side == "short"), number, symbols[chosen], side, time, prices[chosen]))
    names = ("position_id", "pair", "symbol", "side", "entry_time", "entry_price")
    kinds = (pl.Int64, pl.Int64, pl.String, Side, Time, pl.Float64)
    held = pl.DataFrame(legs, schema=dict(zip(names, kinds, strict=True)), orient="row").with_columns(
        quantity=1_000.0 / pl.col("entry_price"), margin=1_000.0 / leverage, exit_time=pl.lit(until, Time)
    )
    wallets = pl.DataFrame({"account_id": np.arange(count), "wallet": np.full(count, 2_000.0 / leverage)})
    both_legs = held.drop("margin").rename({"position_id": "leg_id", "pair": "account_id"})
    return Pairs(Accounts(wallets, both_legs), held)


@checked
def liquidated(of: Pairs, market: Market, venue: Venue, **options: Any) -> pl.DataFrame:
    """Return the share of pairs liquidated: a leg or both in isolated margin, the account in cross margin.

    Contracts are linear, as the pairs' quantities are.

    Parameters
    ----------
    **options
        ``tiers`` and ``threads`` of both sweeps.

    Returns
    -------
    One row: ``pairs``, ``isolated`` (at least one leg), ``isolated_both``, and in cross margin ``least`` (closes
    alone), ``common`` (a common move), ``most`` (each symbol at its own worst).

    Examples
    --------
    >>> import backtest
    >>> from backtest.study import holders
    >>> two = backtest.market.sample().resample("1h")
    >>> days = [datetime(2021, 5, day, tzinfo=UTC) for day in (11, 18, 25)]
    >>> span = dict(zip(("start", "end", "until"), days))
    >>> both = holders.hedges.pairs(two, **span, count=100, leverage=20, rng=np.random.default_rng(1))
    >>> holders.hedges.liquidated(both, two, venue, tiers="nearest").select("isolated", "common").row(0)
    (1.0, 0.63)
    """
    in_coin = [own.symbol for own in venue.contracts_of(of.accounts.symbols) if own.kind == "inverse"]
    if in_coin:
        raise ArgumentError(
            f"pays {in_coin[0]} in coin: the sizes of pairs are those of linear contracts", argument="venue"
        )
    alone = sweep(Book(of.positions), market, venue, **options)
    legs = alone.group_by("pair").agg(pl.col("liquidated").sum())["liquidated"]
    together = sweep_accounts(of.accounts, market, venue, **options).accounts
    return pl.DataFrame(
        {
            "pairs": together.height,
            "isolated": (legs > 0).sum() / together.height,
            "isolated_both": (legs > 1).sum() / together.height,
            "least": 1 - together["latest_liquidation"].null_count() / together.height,
            "common": together["liquidated"].sum() / together.height,
            "most": 1 - together["earliest_liquidation"].null_count() / together.height,
        }
    )
