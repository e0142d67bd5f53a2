"""Isolated positions whose margin is topped up from a wallet when they would be liquidated."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL
from backtest.engine.notional import completed, entry_notional
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError, DataError
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import PRICE_PREFIX, Time
from backtest.schemas.rules import POSITIVE
from backtest.schemas.validation import Column, Schema, conform, named_alike, offence
from backtest.shown import shown

#: An addition takes what it would leave of a wallet below this share of itself: rounding, not money.
ROUNDING = 1e-9

WALLETS = Schema("wallets", (Column("account_id", pl.Int64, or_text=True), Column("wallet", pl.Float64, POSITIVE)))


@shown()
class ToppedUp(NamedTuple):
    """Outcomes of positions whose margin is topped up automatically."""

    outcomes: pl.DataFrame  #: as ``sweep`` returns them, and ``margin_added``
    additions: pl.DataFrame  #: ``account_id, position_id, time, margin_change``, in order of time
    wallets: pl.DataFrame  #: ``account_id, wallet, left``


@checked
def sweep_with_top_ups(
    book: Book, wallets: pl.DataFrame, market: Market, venue: Venue, *, share: float = 1.0, **options: Any
) -> ToppedUp:
    """Return the outcomes of isolated positions when a wallet adds margin before they are liquidated.

    In a bar that would liquidate a position its account's wallet adds ``share`` of the position's initial
    margin, or the rest of the wallet, as often as needed while the wallet lasts. For a bar that opens at or beyond
    the liquidation price it is too late. Of several positions in one bar
    the first given goes first. The wallet is the free balance at the start: results of closed positions are not
    added to it.

    Parameters
    ----------
    book
        Positions with a column ``account_id``; where there is a column ``adds_margin``, those with true in it.
    wallets
        ``account_id, wallet``: free settlement currency, above zero. Accounts without a row add nothing.
    market, venue, **options
        As :func:`~backtest.sweep` takes them.
    share
        Of the initial margin (entry notional / leverage) added at a time.

    Raises
    ------
    ArgumentError
        For a share that is not above zero.
    DataError
        For wallets that break their schema or name an account twice, positions without ``account_id``.

    Examples
    --------
    >>> from backtest.study import holders
    >>> own = book.positions.head(100).with_columns(account_id="position_id")
    >>> wallets = {"account_id": own["account_id"], "wallet": [1_000.0] * 100}
    >>> found = holders.sweep_with_top_ups(own, wallets, market, venue)
    >>> found.additions.height, int(found.outcomes["liquidated"].sum())
    (48, 3)
    """
    if not (isinstance(share, (int, float)) and 0.001 <= share < np.inf):
        raise ArgumentError(f"must be a number of at least 0.001, is {share!r}", argument="share")
    if "account_id" not in book.positions.columns:
        raise DataError("positions need a column account_id, of the wallet that adds margin to them")
    wallets = named_alike(conform(wallets, WALLETS), "account_id", book.positions.schema["account_id"])
    twice = ~pl.col("account_id").is_first_distinct()
    if wallets.select(twice.any()).item():
        raise DataError(offence(wallets, "wallets", "account_id must not repeat", twice, ("account_id",)))
    return _Rounds(book, wallets, market, venue, share, options).play()


class _Rounds:
    """Sweeps, adds margin where an account is first in need, and sweeps what was changed again."""

    def __init__(
        self, book: Book, wallets: pl.DataFrame, market: Market, venue: Venue, share: float, options: Any
    ) -> None:
        self.market, self.venue, self.options = market, venue, options
        contracts = venue.contracts_of(book.symbols)
        self.positions = completed(book.positions, contracts)
        initial = self.positions.select(entry_notional(contracts) / pl.col("leverage")).to_series()
        self.amounts = initial.to_numpy() * share
        self.adjustments = book.adjustments
        self.wallets = wallets
        self.left = dict(wallets.iter_rows())
        self.additions: list[tuple[Any, Any, Any, float]] = []
        series = options.get("trigger_price") or options.get("conventions", USUAL).trigger_series(venue)
        opening = PRICE_PREFIX[series] + "open"
        self.openings = market.bars.select("symbol", outcome_time="time", opening=opening)
        side = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
        beyond = side * pl.col("opening") <= side * pl.col("liquidation_price").fill_null(side * np.inf)
        self.in_time = ~beyond | (pl.col("outcome_time") <= pl.col("entry_time"))

    def play(self) -> ToppedUp:
        outcomes = self._swept(self.positions)
        rows = {number: row for row, number in enumerate(self.positions["position_id"])}
        margin = self.positions["margin"].to_numpy().copy()
        while (needy := self._first_in_need(outcomes)).height:
            for account, position, time, entry_time in needy.iter_rows():
                left, amount = self.left[account], float(self.amounts[rows[position]])
                amount = left if left < amount * (1 + ROUNDING) else amount
                self.left[account] = left - amount
                self.additions.append((account, position, time, amount))
                if time <= entry_time:  # needed in the very first bar: there from the entry on
                    margin[rows[position]] += amount
                else:
                    self._adjust(position, time, amount)
            self.positions = self.positions.with_columns(margin=pl.Series(margin))
            changed = self.positions.filter(pl.col("position_id").is_in(needy["position_id"].implode()))
            outcomes = outcomes.update(self._swept(changed), on="position_id", include_nulls=True)
        return self._named(outcomes)

    def _swept(self, positions: pl.DataFrame) -> pl.DataFrame:
        own = self.adjustments
        if own is not None:
            own = own.filter(pl.col("position_id").is_in(positions["position_id"].implode()))
            own = own.select("position_id", "time", "margin_change", "quantity_change", "price")
        return sweep(Book(positions, own), self.market, self.venue, **self.options)

    def _adjust(self, position: Any, time: Any, amount: float) -> None:
        one = pl.DataFrame(
            {
                "position_id": [position],
                "time": [time],
                "margin_change": [amount],
                "quantity_change": [0.0],
                "price": [None],
            },
            schema_overrides={
                "position_id": self.positions.schema["position_id"],
                "time": Time,
                "price": pl.Float64,
            },
        )
        before = one.clear() if self.adjustments is None else self.adjustments.select(one.columns)
        self.adjustments = pl.concat([before, one])

    def _first_in_need(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        """Return of each account that has something left the position that is liquidated first."""
        rich = [account for account, left in self.left.items() if left > 0]
        willing = pl.col("adds_margin") if "adds_margin" in outcomes.columns else pl.lit(True)
        return (
            outcomes.join(self.openings, on=["symbol", "outcome_time"], how="left", maintain_order="left")
            .filter("liquidated", willing, pl.col("account_id").is_in(rich), self.in_time)
            .sort("outcome_time", maintain_order=True)
            .group_by("account_id", maintain_order=True)
            .first()
            .select("account_id", "position_id", "outcome_time", "entry_time")
        )

    def _named(self, outcomes: pl.DataFrame) -> ToppedUp:
        ids = {name: outcomes.schema[name] for name in ("account_id", "position_id")}
        additions = pl.DataFrame(
            self.additions,
            schema=ids | {"time": Time, "margin_change": pl.Float64},
            orient="row",
        ).sort("time", maintain_order=True)
        added = additions.group_by("position_id").agg(margin_added=pl.col("margin_change").sum())
        outcomes = outcomes.join(added, on="position_id", how="left", maintain_order="left")
        left = pl.Series([self.left[account] for account in self.wallets["account_id"]], dtype=pl.Float64)
        return ToppedUp(
            outcomes.with_columns(pl.col("margin_added").fill_null(0.0)),
            additions,
            self.wallets.with_columns(left=left),
        )
