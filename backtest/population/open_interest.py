"""Books as open interest says: what was opened in each bar, on both sides, over a stated mix of leverages.

Open interest is taken in base units (its dollars fall with the price alone). Per bar and side, opened = change of
open interest + liquidated + closed, where holders close a stated share of the volume; what a wick liquidated
leaves first and is not removed again, and what stands never exceeds open interest. Without open interest, a share
of the volume opens and what stands is closed at a stated rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError, DataError
from backtest.kernel.study import cohorts
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.population.cohorts import (
    NOTIONAL_MIX,
    SIDES,
    check_mix,
    flow_rows,
    liquidation_bars,
    sentences,
    tilted,
    unit_cohorts,
)
from backtest.population.targets import of_flows, of_turnover
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.shown import shown

#: Of the volume, that closes positions beyond what open interest shows, or opens them where nothing is shown.
SHARE = 0.05


@dataclass(frozen=True, eq=False)
@shown()
class Standing:
    """A book of cohorts, and what flowed while it stood.

    ``flows`` has a row a symbol, bar and side: ``symbol, time, side, opened, liquidated, closed, standing`` in
    base units.
    """

    book: Book
    flows: pl.DataFrame


@checked
def from_open_interest(
    market: Market,
    venue: Venue,
    *,
    turnover: float = SHARE,
    leverage_mix: Mapping[float, float] = NOTIONAL_MIX,
    taker_tilt: float = 0.0,
    trader_notional: float = 10_000.0,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> Standing:
    """Return the book that stood behind the open interest of a market's bars.

    Parameters
    ----------
    market
        Bars with ``open_interest`` and ``volume``, base units; ``taker_buy_volume`` where there is a tilt.
    turnover
        Share of the volume that closes positions of either side beyond what open interest shows.
    leverage_mix
        Share of what is opened, by notional, at each leverage.
    taker_tilt
        How much more leverage the side of the takers has: shares are multiplied by (leverage / mean) to the
        power of tilt x (2 x taker buy share - 1) for longs, and its negative for shorts.
    trader_notional
        Entry notional of one trader, which decides the tier; a row stands for as many as its cohort holds.
    tiers, threads
        As for ``sweep``. Leverage beyond a tier's limit is lowered to it.

    Returns
    -------
    A book with a row a bar, side and leverage, entered at the bar's close, ``weight`` traders each, whose
    ``survival`` says how holders' own closing thins it out; and the flows.

    Raises
    ------
    DataError
        For bars without open interest or volume.
    ArgumentError
        For numbers out of their range.
    """
    _require_columns(market, ("open_interest", "volume"))
    _require_range("turnover", turnover, 1.0)
    sentence = f"estimated from open interest, not positions: {turnover:g} of the volume closes positions"
    laws = _Laws(sentence, True, turnover, 0.0, leverage_mix, taker_tilt, trader_notional)
    return _standing(market, venue, laws, tiers, threads)


@checked
def from_volume(
    market: Market,
    venue: Venue,
    *,
    opening_share: float = SHARE,
    mean_holding: timedelta = timedelta(hours=30),
    leverage_mix: Mapping[float, float] = NOTIONAL_MIX,
    taker_tilt: float = 0.0,
    trader_notional: float = 10_000.0,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> Standing:
    """Return the book that volume alone suggests: a share of it opens, and holders close at a constant rate.

    Parameters
    ----------
    market
        Bars with ``volume``, base units.
    opening_share
        Share of the volume that opens positions of either side.
    mean_holding
        Mean time to a holder's own close.
    leverage_mix, taker_tilt, trader_notional, tiers, threads
        As for :func:`from_open_interest`.

    Returns
    -------
    As :func:`from_open_interest`.

    Raises
    ------
    DataError
        For bars without volume.
    ArgumentError
        For numbers out of their range.
    """
    _require_columns(market, ("volume",))
    _require_range("opening_share", opening_share, 1.0)
    hours = mean_holding / timedelta(hours=1)
    _require_range("mean_holding in hours", hours, np.inf)
    sentence = (
        f"estimated from volume, not positions: {opening_share:g} of it opens them, held {hours:g} h on average"
    )
    holding = mean_holding / timedelta(milliseconds=1)
    laws = _Laws(sentence, False, opening_share, holding, leverage_mix, taker_tilt, trader_notional)
    return _standing(market, venue, laws, tiers, threads)


@dataclass(frozen=True, eq=False)
class _Laws:
    """What opens and closes positions, beside liquidation, and over what leverage."""

    sentence: str
    by_open_interest: bool
    share: float  #: of the volume: closed beyond open interest, or opened
    holding: float  #: mean, ms, where there is no open interest
    mix: Mapping[float, float]
    tilt: float
    trader_notional: float

    def __post_init__(self) -> None:
        check_mix(self.mix)
        _require_range("trader_notional", self.trader_notional, np.inf)

    @property
    def other_shares(self) -> tuple[float, ...]:
        """Shares of the volume that the answer is told beside: half and twice, or the default one beside none."""
        return (self.share / 2, min(2 * self.share, 1.0)) if self.share else (SHARE,)

    def at(self, share: float) -> _Laws:
        """Return the same laws with another share of the volume."""
        return replace(self, share=share)


class _Side(NamedTuple):
    """What one side of a symbol did, (bars,) base each; the survival (bars + 1,)."""

    opened: Floats
    liquidated: Floats
    closed: Floats
    log_survival: Floats


def _standing(market: Market, venue: Venue, laws: _Laws, tiers: Tiers, threads: int | None) -> Standing:
    units = unit_cohorts(market, venue, laws.mix, laws.trader_notional)
    outcomes = sweep(Book(units), market, venue, leverage_limit="cap", tiers=tiers, threads=threads)
    weights, flows, survival = [], [], []
    liquidated = {share: np.zeros(len(SIDES)) for share in (laws.share, *laws.other_shares)}
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        bars, times = market.bars[rows], market.times[rows]
        interval = int(market.intervals[number])
        shares = tilted(laws.mix, bars, laws.tilt)
        logs = {}
        for place, side in enumerate(SIDES):
            own = outcomes.filter((pl.col("symbol") == symbol) & (pl.col("side") == side))
            ends = liquidation_bars(own, times)
            stood = _stand(laws, bars, interval, shares[side], ends)
            for share, total in liquidated.items():
                other = _stand(laws.at(share), bars, interval, shares[side], ends)
                total[place] += other.liquidated @ bars["close"].to_numpy()
            per_trader = own["quantity"].to_numpy().reshape(times.size, len(laws.mix))
            weights.append(((stood.opened[:, None] * shares[side]) / per_trader).ravel())
            flows.append(flow_rows(symbol, side, times, stood.opened, stood.liquidated, stood.closed))
            logs[side] = stood.log_survival
        moments = pl.Series(np.append(times, times[-1] + interval)).cast(Time)
        names = pl.repeat(symbol, moments.len(), eager=True)
        survival.append(pl.DataFrame({"symbol": names, "time": moments, **logs}))
    flow = pl.concat(flows)
    weighted = outcomes.select(units.columns).with_columns(weight=np.concatenate(weights))
    held = weighted.filter(pl.col("weight") > 0).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))
    told = (
        laws.sentence,
        *sentences(laws.mix, laws.tilt, laws.trader_notional),
        of_flows(flow),
        of_turnover(liquidated, "closed" if laws.by_open_interest else "opened"),
    )
    return Standing(Book(held, assumptions=told, survival=pl.concat(survival)), flow)


def _stand(laws: _Laws, bars: pl.DataFrame, interval: int, shares: Floats, ends: Integers) -> _Side:
    """Return one side's flows; ``ends`` is the bar each cohort is liquidated in."""
    volume = bars["volume"].to_numpy()
    interest = bars["open_interest"].to_numpy() if laws.by_open_interest else volume
    flow = laws.share * volume
    rate = np.full(volume.size, -np.expm1(-interval / laws.holding) if laws.holding else 0.0)
    opened, liquidated, closed = np.empty((3, volume.size))
    side = _Side(opened, liquidated, closed, np.empty(volume.size + 1))
    cohorts.stand(
        readonly(interest),
        readonly(flow if laws.by_open_interest else rate),
        readonly(flow),
        laws.by_open_interest,
        readonly(shares.ravel()),
        readonly(ends),
        np.zeros(volume.size),
        *side,
    )
    return side


def _require_columns(market: Market, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in market.bars.columns]
    if missing:
        which = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise DataError(f"bars need the {which} for this population, in base units")


def _require_range(name: str, value: float, high: float) -> None:
    if not 0.0 < value <= high and not (value == 0.0 and name in ("turnover", "opening_share")):
        raise ArgumentError(f"{name} must lie above 0 and at most at {high:g}, is {value!r}")
