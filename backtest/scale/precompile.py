"""Compiling every kernel a sweep needs before the work is shared out: once a machine, not once a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from backtest.book.book import Book
from backtest.engine.sweep.sweep import sweep
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.study.partial_sums.outcomes import condense, condense_ends

START = datetime(2021, 5, 19, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def warm() -> None:
    """Sweep one position, once as it is and once with a holder who acts, and make the sums of it."""
    bars = pl.DataFrame({"symbol": "X", "time": [START, START + MINUTE]})
    bars = bars.with_columns(pl.lit(1.0).alias(part) for part in ("open", "high", "low", "close"))
    held = {"position_id": [0], "symbol": ["X"], "side": ["long"], "entry_time": [START]}
    position = pl.DataFrame({**held, "entry_price": [1.0], "quantity": [1.0], "leverage": [2.0]})
    table = TierTable(name="any", rates=pl.Series([0.01]).to_numpy())
    venue = Venue(name="warm", title="Warm", contracts={"X": Contract(symbol="X", tables=(table,))})
    market = Market(bars)
    outcomes = sweep(Book(position), market, venue, threads=1)
    condense(outcomes), condense_ends(outcomes, market)
    sweep(Book(position.with_columns(exit_time=START + MINUTE)), market, venue, threads=1)
