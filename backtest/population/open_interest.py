"""Books estimated from open interest or volume: positions opened in each bar, on both sides, over a leverage mix.

Open interest is in base units (its dollar value falls with the price alone). For each bar and side, opened =
change of open interest + liquidated + closed, where holders close a stated share of the volume. Positions that a
wick liquidated leave first and are not closed again, and open positions never exceed open interest. Without open
interest, a share of the volume opens and open positions are closed at a stated rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Conventions, PriceSeries
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
from backtest.schemas.symbols import parts_of
from backtest.shown import shown

#: Share of the volume that closes positions beyond the fall of open interest; without open interest, that opens.
SHARE = 0.05


@dataclass(frozen=True, eq=False)
@shown()
class EstimatedBook:
    """A book estimated from open interest or volume, and its flows.

    ``flows`` has a row a symbol, bar and side: ``symbol, time, side, opened, liquidated, closed, open_interest``;
    amounts in base units, ``open_interest`` after the bar.
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
    trigger_price: PriceSeries | None = None,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> EstimatedBook:
    """Return the book estimated from the open interest of a market's bars.

    Parameters
    ----------
    market
        Bars with ``open_interest`` and ``volume``, base units; ``taker_buy_volume`` where there is a tilt.
    turnover
        Share of the volume that closes positions of each side beyond the fall of open interest.
    leverage_mix
        Share of the notional opened at each leverage.
    taker_tilt
        How much more leverage the takers' side has: shares are multiplied by (leverage / mean) to the power of
        tilt x (2 x taker buy share - 1) for longs, and its negative for shorts.
    trader_notional
        Entry notional of one trader, which decides the tier; ``weight`` is the number of traders of a row.
    trigger_price
        The price series that triggers liquidation; None: the venue's. A sweep of the book must use the same.
    tiers, threads
        As for ``sweep``. Leverage beyond a tier's limit is lowered to it.

    Returns
    -------
    A book with a row a bar, side and leverage, entered at the bar's close, ``weight`` traders each, whose
    ``survival`` is the share that holders have not closed themselves; and the flows.

    Raises
    ------
    DataError
        For bars without open interest or volume.
    ArgumentError
        For numbers out of their range.

    Examples
    --------
    >>> from backtest.population import from_open_interest
    >>> traded = bars.with_columns(volume=pl.lit(1_000.0), open_interest=pl.lit(50_000.0))
    >>> estimated = from_open_interest(traded, "binance")
    >>> estimated.book
    Book(5,712 positions in BTCUSDT, 0 adjustments)
    >>> estimated.flows.group_by("side", maintain_order=True).agg(pl.sum("liquidated").round()).rows()
    [('long', 99980.0), ('short', 4216.0)]
    """
    _require_columns(market, ("open_interest", "volume"))
    _require_range("turnover", turnover, 1.0)
    sentence = f"estimated from open interest, not positions: {turnover:g} of the volume closes positions"
    laws = _Laws(sentence, True, turnover, 0.0, leverage_mix, taker_tilt, trader_notional)
    return _estimated(market, venue, laws, Conventions(trigger_price, leverage_limit="cap", tiers=tiers), threads)


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
    trigger_price: PriceSeries | None = None,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> EstimatedBook:
    """Return a book estimated from volume alone: a share of it opens, and holders close at a constant rate.

    Parameters
    ----------
    market
        Bars with ``volume``, base units.
    opening_share
        Share of the volume that opens positions of each side.
    mean_holding
        Mean time from the entry to the holder's own close.
    leverage_mix, taker_tilt, trader_notional, trigger_price, tiers, threads
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

    Examples
    --------
    >>> from backtest.population import from_volume
    >>> estimated = from_volume(bars.with_columns(volume=pl.lit(1_000.0)), "binance")
    >>> estimated.flows.columns
    ['symbol', 'time', 'side', 'opened', 'liquidated', 'closed', 'open_interest']
    >>> round(estimated.flows["open_interest"][-1])
    1339
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
    return _estimated(market, venue, laws, Conventions(trigger_price, leverage_limit="cap", tiers=tiers), threads)


@dataclass(frozen=True, eq=False)
class _Laws:
    """Laws of opening and closing, other than liquidation, and the leverage mix."""

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
        """Shares of the volume to compare with: half and twice the own one; the default one where that is zero."""
        return (self.share / 2, min(2 * self.share, 1.0)) if self.share else (SHARE,)

    def at(self, share: float) -> _Laws:
        """Return the same laws with another share of the volume."""
        return replace(self, share=share)


class _Side(NamedTuple):
    """Flows of one side of a symbol, (bars,) base each; the survival (bars + 1,)."""

    opened: Floats
    liquidated: Floats
    closed: Floats
    log_survival: Floats


def _estimated(
    market: Market, venue: Venue, laws: _Laws, conventions: Conventions, threads: int | None
) -> EstimatedBook:
    units = unit_cohorts(market, venue, laws.mix, laws.trader_notional)
    outcomes = sweep(Book(units), market, venue, conventions=conventions, threads=threads)
    by_side = parts_of(outcomes, "symbol", "side")
    weights, flows, survival = [], [], []
    liquidated = {share: np.zeros(len(SIDES)) for share in (laws.share, *laws.other_shares)}
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        bars, times = market.bars[rows], market.times[rows]
        interval = int(market.intervals[number])
        shares = tilted(laws.mix, bars, laws.tilt)
        logs = {}
        for place, side in enumerate(SIDES):
            own = by_side[symbol, side]
            ends = liquidation_bars(own, times)
            flow = _flows(laws, bars, interval, shares[side], ends)
            for share, total in liquidated.items():
                other = _flows(laws.at(share), bars, interval, shares[side], ends)
                total[place] += other.liquidated @ bars["close"].to_numpy()
            per_trader = own["quantity"].to_numpy().reshape(times.size, len(laws.mix))
            weights.append(((flow.opened[:, None] * shares[side]) / per_trader).ravel())
            flows.append(flow_rows(symbol, side, times, flow.opened, flow.liquidated, flow.closed))
            logs[side] = flow.log_survival
        moments = pl.Series(np.append(times, times[-1] + interval)).cast(Time)
        names = pl.repeat(symbol, moments.len(), eager=True)
        survival.append(pl.DataFrame({"symbol": names, "time": moments, **logs}))
    all_flows = pl.concat(flows)
    weighted = outcomes.select(units.columns).with_columns(weight=np.concatenate(weights))
    held = weighted.filter(pl.col("weight") > 0).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))
    assumptions = (
        laws.sentence,
        *sentences(laws.mix, laws.tilt, laws.trader_notional),
        of_flows(all_flows),
        of_turnover(liquidated, "closed" if laws.by_open_interest else "opened"),
    )
    triggered_by = conventions.trigger_series(venue)
    book = Book(held, assumptions=assumptions, survival=pl.concat(survival), trigger_price=triggered_by)
    return EstimatedBook(book, all_flows)


def _flows(laws: _Laws, bars: pl.DataFrame, interval: int, shares: Floats, ends: Integers) -> _Side:
    """Return one side's flows; ``ends``: (bars * leverages,) the bar each cohort is liquidated in."""
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
        raise ArgumentError(f"must lie above 0 and at most at {high:g}, is {value!r}", argument=name)
