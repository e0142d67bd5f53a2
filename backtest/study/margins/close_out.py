"""Close-out of liquidated positions: duration, cost, and adverse price moves meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.sweep.lifetimes import symbol_of
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side
from backtest.study.margins.tail_laws import MOVES
from backtest.study.survival.excursions import excursions, first_lowest, windows

DAY = timedelta(days=1)

#: Most entries swept for the moves after liquidations; spread evenly where there are more bars.
MOST_ENTRIES = 100_000


@dataclass(frozen=True)
class Closing:
    """Terms on which a venue closes liquidated positions.

    Examples
    --------
    >>> from backtest.study import margins
    >>> margins.Closing(participation=0.05).fee
    0.0005
    """

    participation: float = 0.1  #: share of the volume it trades
    fee: float = 0.0005  #: of the notional closed
    impact: float = 0.9  #: Y of the square-root impact
    daily_volume: float | None = None  #: settlement currency; None: the bars' average volume of a day
    depth: float = 1.0  #: share of the volume available at the time: 0.1 for a crisis

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        given = (self.participation, self.depth, self.daily_volume or 1.0)
        if not (all(0 < value < math.inf for value in given) and self.fee >= 0 and self.impact >= 0):
            raise ArgumentError(
                f"closing needs participation, depth and volume above zero, fee and impact of zero or more: {self}"
            )


USUAL = Closing()


@dataclass(frozen=True, eq=False)
class Exit:
    """One market's terms of closing."""

    market: Market  #: of one symbol
    closing: Closing
    volume: float  #: available volume a day, settlement currency
    volatility: float  #: of a day
    price: float  #: median close, at which contracts are turned into settlement currency

    @classmethod
    def of(cls, market: Market, closing: Closing, symbol: str | None, venue: Venue | None = None) -> Exit:
        """Return the terms on which positions of a symbol are closed; of a linear contract without a venue."""
        name = symbol_of(market, symbol)
        alone = market.select([name])
        own = alone.bars
        bars_a_day = DAY / timedelta(milliseconds=int(alone.intervals[0]))
        deviation = own.select(pl.col("close").log().diff().std()).item() or 0.0
        kind = "linear" if venue is None else venue.contract(name).kind
        volume = _volume(own, closing, bars_a_day, kind) * closing.depth
        price = float(own.select(pl.col("close").median()).item())
        return cls(alone, closing, volume, deviation * bars_a_day**0.5, price)

    def time(self, size: float) -> timedelta:
        """Return how long closing a notional takes."""
        return DAY * (size / (self.closing.participation * self.volume))

    def cost(self, size: float) -> float:
        """Return fee and impact of closing a notional, as a fraction of it."""
        return self.closing.fee + self.closing.impact * self.volatility * math.sqrt(size / self.volume)

    def bars(self, size: float) -> timedelta:
        """Return the time that closing takes in whole bars, at least one."""
        interval = timedelta(milliseconds=int(self.market.intervals[0]))
        return interval * max(math.ceil(self.time(size) / interval), 1)

    def moves(self, side: str, horizon: timedelta) -> Floats:
        """Return the adverse moves within a horizon from every open."""
        moved: Floats = excursions(self.market, horizon)[MOVES[side]].to_numpy()
        return moved


@checked
def after_liquidation(
    market: Market,
    venue: Venue,
    table: str,
    size: float,
    *,
    side: str,
    leverage: float,
    horizon: timedelta,
    counted: Literal["notional", "quantity"] = "notional",
) -> Floats:
    """Return the further adverse moves after liquidations, from their fills, within a horizon.

    The positions, of one size (notional, or quantity) and leverage under one table, are opened at every bar, or
    evenly at fewer. Moves whose horizon is not fully observed are left out.

    Examples
    --------
    >>> from backtest.study import margins
    >>> moves = margins.after_liquidation(
    ...     market, venue, "2021-03-18", 10_000, side="long", leverage=50, horizon=timedelta(hours=4)
    ... )
    >>> moves.size, round(float(np.median(moves)), 4)
    (372, 0.0253)
    """
    symbol = market.symbols[0]
    every = max(math.ceil(market.bars.height / MOST_ENTRIES), 1)
    kind = venue.contract(symbol).kind if counted == "notional" else "quantity"
    quantity = {"inverse": size * pl.col("open"), "linear": size / pl.col("open")}.get(kind, pl.lit(size))
    entries = market.bars.gather_every(every).select(
        position_id=pl.int_range(pl.len()),
        symbol="symbol",
        side=pl.lit(side).cast(Side),
        entry_time="time",
        entry_price="open",
        quantity=quantity,
        leverage=pl.lit(leverage),
    )
    outcomes = sweep(Book(entries), market, venue, tiers={symbol: table}).filter("liquidated")
    until, whole = windows(market, 0, horizon)
    low, high = (market.prices("mark", name) for name in ("low", "high"))
    at = np.searchsorted(market.times, outcomes["outcome_time"].to_physical().to_numpy())
    known = whole[at]
    fill = outcomes["fill_price"].to_numpy()[known]
    if side == "long":
        moved: Floats = 1 - low[first_lowest(low, until)][at[known]] / fill
    else:
        moved = high[first_lowest(-high, until)][at[known]] / fill - 1
    return np.maximum(moved, 0.0)


def _volume(bars: pl.DataFrame, closing: Closing, bars_a_day: float, kind: str) -> float:
    """Return the volume a day in settlement currency: base times price, or base itself where coins settle."""
    if closing.daily_volume is not None:
        return closing.daily_volume
    if "volume" not in bars.columns:
        raise DataError(
            "bars need the column volume, in base units, or closing a daily_volume in settlement currency"
        )
    price = pl.col("close") if kind == "linear" else pl.lit(1.0)
    traded = bars.select((pl.col("volume") * price).mean()).item() * bars_a_day
    if not traded > 0:
        raise DataError("bars need volume above zero to say how long closing takes")
    return float(traded)
