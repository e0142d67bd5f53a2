"""Books estimated from open interest or volume: positions opened in each bar, on both sides, over a leverage mix.

A share of the volume opens and open positions are closed at a stated rate; or, for each bar and side, opened =
change of open interest + liquidated + closed, where holders close a stated share of the volume. Open interest is
in base units (its dollar value falls with the price alone). Positions that a wick liquidated leave first and are
not closed again. The laws are those of :mod:`backtest.population.flows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import Conventions, PriceSeries
from backtest.engine.sweep.sweep import sweep
from backtest.errors import DataError
from backtest.market.market import Market
from backtest.population.cohorts import (
    NOTIONAL_MIX,
    Mix,
    check_mix,
    flow_rows,
    leverages_of,
    liquidation_bars,
    lowered,
    sentences,
    shares_by_side,
    unit_cohorts,
)
from backtest.population.flows import (
    HOUR,
    SHARE,
    Law,
    OpenInterestLaw,
    VolumeLaw,
    liquidated_same_day,
    require_range,
)
from backtest.population.side_mixes import SIDES
from backtest.population.targets import of_changes, of_flows, of_same_day
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.schemas.symbols import parts_of
from backtest.shown import shown

#: Time in which the damping of openings after liquidations fades: chosen before any comparison with records.
DAMPING = timedelta(hours=6)


@dataclass(frozen=True, eq=False)
@shown()
class EstimatedBook:
    """A book estimated from open interest or volume, and its flows.

    ``flows`` has a row a symbol, bar and side: ``symbol, time, side, opened, liquidated, liquidated_same_day,
    closed, open_interest``; amounts in base units, ``open_interest`` after the bar, ``liquidated_same_day``
    the part of ``liquidated`` that had been opened on the same UTC day (in the same bar nothing is: entries
    are at closes).
    """

    book: Book
    flows: pl.DataFrame


@checked
def from_open_interest(
    market: Market,
    venue: Venue,
    *,
    turnover: float = SHARE,
    leverage_mix: Mix = NOTIONAL_MIX,
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
        Bars with ``open_interest`` and ``volume``, base units, both of the venue; ``taker_buy_volume`` where there
        is a tilt.
    turnover
        Share of the volume that closes positions of each side beyond the fall of open interest.
    leverage_mix
        Share of the notional opened at each leverage; or a mix by side, as ``load_mix`` reads it.
    taker_tilt
        How much more leverage the takers' side has: shares are multiplied by (leverage / mean) to the power of
        tilt x (2 x taker buy share - 1) for longs, and its negative for shorts.
    trader_notional
        Entry notional of one trader, which decides the tier; ``weight`` is the number of traders of a row.
    trigger_price
        The price series that triggers liquidation; None: the venue's. A sweep of the book must use the same.
    tiers, threads
        As for ``sweep``. Leverage beyond a tier's limit is lowered to it; ``leverage_asked`` is that of the mix.

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
    shape = _Shape(OpenInterestLaw(turnover), leverage_mix, taker_tilt, trader_notional)
    return _estimated(market, venue, shape, Conventions(trigger_price, leverage_limit="cap", tiers=tiers), threads)


@checked
def from_volume(
    market: Market,
    venue: Venue,
    *,
    opening_share: float = SHARE,
    mean_holding: timedelta = timedelta(hours=30),
    reopening_damping: timedelta = DAMPING,
    bounded: bool = False,
    leverage_mix: Mix = NOTIONAL_MIX,
    taker_tilt: float = 0.0,
    trader_notional: float = 10_000.0,
    trigger_price: PriceSeries | None = None,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> EstimatedBook:
    """Return a book estimated from volume: a share of it opens, and holders close at a constant rate.

    Parameters
    ----------
    market
        Bars with ``volume``, base units, and ``open_interest`` where it is the bound.
    opening_share
        Share of the volume that opens positions of each side.
    mean_holding
        Mean time from the entry to the holder's own close.
    reopening_damping
        Time in which the damping of a side's openings after its liquidations fades; zero: they are not damped.
    bounded
        Whether open positions are at most the ``open_interest`` of the bars, which must be that of the same venue.
    leverage_mix, taker_tilt, trader_notional, trigger_price, tiers, threads
        As for :func:`from_open_interest`.

    Returns
    -------
    As :func:`from_open_interest`.

    Raises
    ------
    DataError
        For bars without volume, or without open interest where it is the bound.
    ArgumentError
        For numbers out of their range.

    Examples
    --------
    >>> from backtest.population import from_volume
    >>> estimated = from_volume(bars.with_columns(volume=pl.lit(1_000.0)), "binance")
    >>> estimated.flows.columns
    ['symbol', 'time', 'side', 'opened', 'liquidated', 'liquidated_same_day', 'closed', 'open_interest']
    >>> round(estimated.flows["open_interest"][-1])
    1299
    """
    _require_columns(market, ("volume", "open_interest") if bounded else ("volume",))
    law = VolumeLaw(opening_share, mean_holding / HOUR, reopening_damping / HOUR, bounded)
    shape = _Shape(law, leverage_mix, taker_tilt, trader_notional)
    return _estimated(market, venue, shape, Conventions(trigger_price, leverage_limit="cap", tiers=tiers), threads)


@dataclass(frozen=True, eq=False)
class _Shape:
    """The law of opening and closing, and the leverage and size of what is opened."""

    law: Law
    mix: Mix
    tilt: float
    trader_notional: float

    def __post_init__(self) -> None:
        check_mix(self.mix)
        require_range("trader_notional", self.trader_notional, np.inf)


def _estimated(
    market: Market, venue: Venue, shape: _Shape, conventions: Conventions, threads: int | None
) -> EstimatedBook:
    leverages = leverages_of(shape.mix)
    units = unit_cohorts(market, venue, leverages, shape.trader_notional)
    outcomes = sweep(Book(units), market, venue, conventions=conventions, threads=threads)
    by_side = parts_of(outcomes, "symbol", "side")
    weights, flows, survival, interest = [], [], [], []
    laws = {"": shape.law, **shape.law.others()}
    liquidated = {setting: np.zeros(len(SIDES)) for setting in laws}
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        bars, times = market.bars[rows], market.times[rows]
        interval = int(market.intervals[number])
        shares = shares_by_side(shape.mix, bars, times + interval, shape.tilt)
        logs, held = {}, {}
        for place, side in enumerate(SIDES):
            own = by_side[symbol, side]
            ends = liquidation_bars(own, times)
            found = {setting: law.flows(bars, interval, shares[side], ends) for setting, law in laws.items()}
            for setting, flow in found.items():
                liquidated[setting][place] += flow.liquidated @ bars["close"].to_numpy()
            flow = found[""]
            per_trader = own["quantity"].to_numpy().reshape(times.size, leverages.size)
            weights.append(((flow.opened[:, None] * shares[side]) / per_trader).ravel())
            same_day = liquidated_same_day(flow, times, shares[side], ends)
            flows.append(flow_rows(symbol, side, times, flow, same_day))
            logs[side] = flow.log_survival
            held[side] = np.append(0.0, flow.open_interest)
        moments = pl.Series(np.append(times, times[-1] + interval)).cast(Time)
        names = pl.repeat(symbol, moments.len(), eager=True)
        survival.append(pl.DataFrame({"symbol": names, "time": moments, **logs}))
        interest.append(pl.DataFrame({"symbol": names, "time": moments, **held}))
    all_flows = pl.concat(flows)
    weighted = outcomes.select(units.columns).with_columns(weight=np.concatenate(weights))
    opened = weighted.filter(pl.col("weight") > 0).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))
    assumptions = (
        shape.law.sentence,
        *sentences(shape.mix, shape.tilt, shape.trader_notional),
        *lowered(opened),
        shape.law.before,
        of_same_day(all_flows),
        of_flows(all_flows),
        of_changes(liquidated, shape.law.compared),
    )
    triggered_by = conventions.trigger_series(venue)
    book = Book(
        opened,
        assumptions=assumptions,
        survival=pl.concat(survival),
        trigger_price=triggered_by,
        open_interest=pl.concat(interest),
    )
    return EstimatedBook(book, all_flows)


def _require_columns(market: Market, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in market.bars.columns]
    if missing:
        which = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise DataError(f"bars need the {which} for this population, in base units")
