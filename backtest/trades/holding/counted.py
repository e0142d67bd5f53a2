"""The margin that holds and the highest leverage survived: in closed form, or by a counted search.

A trade that nobody changed is answered from its range minima. Those that were added to or partly closed are swept
again and again between two bounds, all of them in one sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import polars as pl

from backtest.engine.notional import entry_notional
from backtest.kernel.types import Flags, Floats
from backtest.rules.contract import Contract
from backtest.trades.book import Keep, sized
from backtest.trades.holding.lives import Lives

#: Halvings of a search: from a factor of a million down to the last digits.
ROUNDS = 60

#: Bounds of leverage, where the tiers give none.
LEAST, MOST = 1e-3, 1e3


class Sweeps(Protocol):
    """Trades on a venue that can be swept again."""

    keep: Keep

    @property
    def contracts(self) -> list[Contract]:
        """The contracts of the trades."""

    def swept(self, frame: pl.DataFrame, *, possible: bool = False, margin: Floats | None = None) -> pl.DataFrame:
        """Return the outcomes of trades; those that the tiers do not allow are left out."""


#: Columns of trades that a sweep of them needs.
NEEDED = [
    "row", "trade_id", "symbol", "side", "entry_time", "entry_from", "entry_price", "quantity", "leverage",
    "exit_time", "exit_until", "exit_price", "factor",
]  # fmt: skip


def margin_of(lives: Lives, quantity: Floats, leverage: Floats) -> Floats:
    """Return the margin that a leverage asks for."""
    return lives.with_fee(quantity, lives.notional(quantity) / leverage)


def highest_leverage(lives: Lives, trades: pl.DataFrame, keep: Keep) -> tuple[Floats, Flags]:
    """Return the highest leverage that each trade survives and is allowed, and whether the price limits it."""
    own = trades[lives.rows]
    quantity = own["quantity"].to_numpy()
    needs_search = keep == "stake" or (lives.contract.requirement_is_constant and not lives.table.by_size)
    if keep == "size" and not needs_search:
        needed = lives.without_fee(quantity, _needed(lives, quantity, np.ones(quantity.size)))
        limits = lives.limits(quantity)
        with np.errstate(divide="ignore"):
            survived = np.where(needed > 0, lives.notional(quantity) / needed, np.inf)
        highest = np.minimum(survived, limits)
        return np.where(np.isfinite(highest) & (highest > 0), highest, np.nan), survived < limits
    per_leverage = quantity / own["leverage"].to_numpy() if keep == "stake" else quantity

    def holds(leverage: Floats) -> tuple[Flags, Flags]:
        held = per_leverage * leverage if keep == "stake" else quantity
        return margin_of(lives, held, leverage) > _needed(lives, held, leverage), lives.allowed(held, leverage)

    return _searched(holds, quantity.size)


def _needed(lives: Lives, quantity: Floats, leverage: Floats) -> Floats:
    """Return the margin at or below which each trade is liquidated, or was never opened."""
    return np.maximum(lives.needed(quantity, leverage)[0], lives.needed_to_open(quantity, leverage))


def _searched(holds: Callable[[Floats], tuple[Flags, Flags]], count: int) -> tuple[Floats, Flags]:
    """Return the highest leverage that holds and is allowed, and whether one a little higher would not hold."""
    low, high = np.full(count, LEAST), np.full(count, MOST)
    for _ in range(ROUNDS):
        middle = np.sqrt(low * high)
        survived, allowed = holds(middle)
        good = survived & allowed
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    survived, _ = holds(high)
    none = (low <= LEAST * (1 + 1e-9)) | (high >= MOST)  # no leverage survives, or none searched does not
    return np.where(none, np.nan, low), ~survived


def highest_by_sweeps(there: Sweeps, trades: pl.DataFrame) -> tuple[Floats, Flags]:
    """Return the same for trades that were changed, by sweeps."""
    if there.keep == "stake" and trades["leverage"].null_count():
        return np.full(trades.height, np.nan), np.zeros(trades.height, np.bool_)

    def holds(leverage: Floats) -> tuple[Flags, Flags]:
        frame = sized(trades, 1.0, "size").with_columns(leverage=pl.Series(leverage))
        if there.keep == "stake":
            factor = pl.Series(leverage) / trades["leverage"]
            frame = frame.with_columns(quantity=pl.col("quantity") * factor, factor=factor)
        return _held(there, frame, None)

    return _searched(holds, trades.height)


def margin_by_sweeps(there: Sweeps, rows: pl.DataFrame) -> Floats:
    """Return the margin at the entry at or below which each changed trade is liquidated, by sweeps."""
    notional = rows.select(entry_notional(there.contracts)).to_series().to_numpy()
    low, high = notional * 1e-9, notional * 100
    for _ in range(ROUNDS):
        middle = np.sqrt(low * high)
        held, _ = _held(there, rows, middle)
        low, high = np.where(held, low, middle), np.where(held, middle, high)
    rejected = rows["rejected"].to_numpy()
    return np.where(rejected, np.nan, np.where(low <= notional * 1.1e-9, 0.0, high))


def _held(there: Sweeps, frame: pl.DataFrame, margin: Floats | None) -> tuple[Flags, Flags]:
    """Return whether each trade is opened and not certainly liquidated, and whether it is allowed."""
    own = frame.select(NEEDED)
    found = there.swept(own, margin=margin).select(
        pl.col("position_id").cast(pl.UInt32).alias("row"),
        gone=pl.col("certainly_liquidated") | (pl.col("outcome") == "rejected"),
    )
    gone = own.select("row").join(found, on="row", how="left", maintain_order="left")["gone"]
    return (~gone.fill_null(False)).to_numpy(), gone.is_not_null().to_numpy()
