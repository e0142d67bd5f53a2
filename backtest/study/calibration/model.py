"""What a book from volume loses each day, as a function of the leverage mix of each side.

The cohorts of every leverage of the grid are swept once; a mix then only weighs them. So a loss costs
milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Conventions
from backtest.engine.sweep.sweep import sweep
from backtest.errors import DataError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.population.cohorts import liquidation_bars, unit_cohorts
from backtest.population.flows import MILLISECOND, VolumeLaw
from backtest.population.side_mixes import GRID, SIDES
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.symbols import parts_of

DAY = timedelta(days=1) // MILLISECOND

#: Entry notional of a trader, which decides the tier.
TRADER = 10_000.0


class _Cohorts(NamedTuple):
    """Cohorts of one side, a row a bar and leverage, that are liquidated."""

    ends: Integers  #: (bars * leverages,) the bar each is liquidated in
    gone: Integers  #: (liquidated,) which are
    price: Floats  #: (liquidated,) fill price
    day: Integers  #: (liquidated,) of the liquidation, counted in ``days``; -1 outside of them


@dataclass(frozen=True, eq=False)
class DailyModel:
    """A book from volume over the bars of one contract, and the days it is compared on."""

    bars: pl.DataFrame
    interval: int
    law: VolumeLaw
    cohorts: dict[str, _Cohorts]
    days: int

    @classmethod
    def of(
        cls, market: Market, venue: Venue, days: pl.Series, law: VolumeLaw, *, tiers: Tiers, threads: int | None
    ) -> DailyModel:
        """Return the model of some days of a market of one contract.

        Parameters
        ----------
        days : starts of UTC days, rising
        """
        units = unit_cohorts(market, venue, np.array(GRID), TRADER)
        conventions = Conventions(leverage_limit="cap", tiers=tiers)
        outcomes = parts_of(sweep(Book(units), market, venue, conventions=conventions, threads=threads), "side")
        starts = days.dt.epoch("ms").to_numpy()
        cohorts = {}
        for side in SIDES:
            own = outcomes[side,]
            ends = liquidation_bars(own, market.times)
            gone = np.flatnonzero((ends < market.times.size) & own["liquidated"].to_numpy())
            moment = market.times[ends[gone]]
            at = np.searchsorted(starts, moment, side="right") - 1
            inside = (at >= 0) & (moment < starts[np.maximum(at, 0)] + DAY)
            price = own["fill_price"].to_numpy()[gone]
            cohorts[side] = _Cohorts(ends, gone, price, np.where(inside, at, -1))
        return cls(market.bars, int(market.intervals[0]), law, cohorts, starts.size)

    def daily(self, side: str, shares: Floats) -> Floats:
        """Return (days,) the liquidated notional of a side at the fill.

        Parameters
        ----------
        shares : (leverages,) of what is opened at each leverage of the grid, or (bars, leverages)
        """
        own = self.cohorts[side]
        each = np.broadcast_to(shares, (self.bars.height, len(GRID)))
        flows = self.law.flows(self.bars, self.interval, each, own.ends)
        bar = own.gone // len(GRID)
        held = np.exp(flows.log_survival[own.ends[own.gone]] - flows.log_survival[bar + 1])
        notional = flows.opened[bar] * each.ravel()[own.gone] * held * own.price
        inside = own.day >= 0
        return np.bincount(own.day[inside], weights=notional[inside], minlength=self.days).astype(np.float64)


def one_contract(market: Market, venue: Venue, symbol: str | None, days: pl.Series) -> Market:
    """Return the market of one linear contract, whose bars must have volume and reach over some days.

    Raises
    ------
    DataError
        Where they do not.
    """
    name = symbol or market.symbols[0]
    if name not in market.symbols:
        raise DataError(f"{name} is not in the market, which holds {', '.join(market.symbols)}")
    if venue.contract(name).kind != "linear":
        raise DataError(f"{name} is an {venue.contract(name).kind} contract: mixes are fitted to linear ones only")
    own = market if market.symbols == (name,) else market.select([name])
    if "volume" not in own.bars.columns:
        raise DataError("bars need the column volume for a book from volume, in base units")
    first, last = own.bars["time"][0], own.bars["time"][-1]
    outside = (days < first) | (days > last)
    if days.is_empty() or outside.any():
        raise DataError(
            f"recorded days must lie within the bars, {first:%Y-%m-%d} to {last:%Y-%m-%d}: {outside.sum():,} of "
            f"{days.len():,} do not" + ("" if days.is_empty() else f", first {days.filter(outside)[0]:%Y-%m-%d}")
        )
    return own
