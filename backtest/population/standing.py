"""Books as open interest says: what was opened in each bar, on both sides, over a stated mix of leverages.

Open interest is taken in base units (its dollars fall with the price alone). Per bar and side, opened = change of
open interest + liquidated + closed, where holders close a stated share of the volume; what a wick liquidated
leaves first and is not removed again, and what stands never exceeds open interest. Without open interest, a share
of the volume opens and what stands is closed at a stated rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.sweep import sweep
from backtest.errors import ArgumentError, DataError
from backtest.kernel import cohorts
from backtest.kernel.compile import readonly
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas import Side, Time

#: Share of open interest, not of traders, at each leverage: a mean of 9.6, within the 5 to 10 stated of 2021.
NOTIONAL_MIX = {2.0: 0.25, 3.0: 0.25, 5.0: 0.20, 10.0: 0.15, 20.0: 0.09, 50.0: 0.04, 100.0: 0.02}

#: Notional-weighted mean leverage stated of 2021.
MEAN_LEVERAGE = (5.0, 10.0)

SIDES = ("long", "short")


@dataclass(frozen=True, eq=False)
class Standing:
    """A book of cohorts, and what flowed while it stood.

    ``flows`` has a row a symbol, bar and side: ``symbol, time, side, opened, liquidated, closed, standing`` in
    base units.
    """

    book: Book
    flows: pl.DataFrame


def from_open_interest(
    market: Market,
    venue: Venue,
    *,
    turnover: float = 0.05,
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
    _require_range("turnover", turnover, 0.0, 1.0)
    rule = _Rule(True, turnover, 0.0)
    sentence = f"estimated from open interest, not positions: {turnover:g} of the volume closes positions"
    return _standing(market, venue, rule, sentence, leverage_mix, taker_tilt, trader_notional, tiers, threads)


def from_volume(
    market: Market,
    venue: Venue,
    *,
    opening_share: float = 0.05,
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
    _require_range("opening_share", opening_share, 0.0, 1.0)
    hours = mean_holding / timedelta(hours=1)
    _require_range("mean_holding in hours", hours, 0.0, np.inf)
    rule = _Rule(False, opening_share, mean_holding / timedelta(milliseconds=1))
    sentence = f"estimated from volume, not positions: {opening_share:g} of it opens them, held {hours:g} hours on average"
    return _standing(market, venue, rule, sentence, leverage_mix, taker_tilt, trader_notional, tiers, threads)


@dataclass(frozen=True)
class _Rule:
    """What opens and closes positions, beside liquidation."""

    by_open_interest: bool
    share: float  #: of the volume: closed beyond open interest, or opened
    holding: float  #: mean, ms, where there is no open interest


def _standing(
    market: Market,
    venue: Venue,
    rule: _Rule,
    sentence: str,
    mix: Mapping[float, float],
    tilt: float,
    trader_notional: float,
    tiers: Tiers,
    threads: int | None,
) -> Standing:
    _check_mix(mix)
    _require_range("trader_notional", trader_notional, 0.0, np.inf)
    cohorts_ = _unit_cohorts(market, venue, mix, trader_notional)
    outcomes = sweep(Book(cohorts_), market, venue, leverage_limit="cap", tiers=tiers, threads=threads)
    flows, weights, survival = [], [], []
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        one = market.bars[rows]
        times = market.times[rows]
        shares = _tilted(mix, one, tilt)
        logs = {}
        for side in SIDES:
            own = outcomes.filter((pl.col("symbol") == symbol) & (pl.col("side") == side))
            bars = _liquidation_bars(own, times)
            opened, liquidated, closed, log_survival = _stand(
                rule, one, float(market.intervals[number]), shares[side], bars
            )
            unit = own["quantity"].to_numpy().reshape(times.size, len(mix))
            weights.append((opened[:, None] * shares[side]) / unit)
            flows.append(_flow_rows(symbol, side, times, opened, liquidated, closed))
            logs[side] = log_survival
        moments = pl.Series(np.append(times, times[-1] + market.intervals[number])).cast(Time)
        names = pl.repeat(symbol, moments.len(), eager=True)
        survival.append(pl.DataFrame({"symbol": names, "time": moments, **logs}))
    weighted = outcomes.select(cohorts_.columns).with_columns(weight=np.concatenate([w.ravel() for w in weights]))
    flows_ = pl.concat(flows)
    held = weighted.filter(pl.col("weight") > 0).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))
    told = (sentence, *_sentences(mix, tilt, trader_notional), _calibration(flows_))
    return Standing(Book(held, assumptions=told, survival=pl.concat(survival)), flows_)


def _unit_cohorts(
    market: Market, venue: Venue, mix: Mapping[float, float], trader_notional: float
) -> pl.DataFrame:
    """Return one trader a symbol, side, bar and leverage, entered at the bar's close, in this order."""
    parts = []
    leverages = np.array(list(mix))
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        close = np.repeat(market.prices("mark", "close")[rows], leverages.size)
        ends = np.repeat(market.times[rows] + market.intervals[number], leverages.size)
        kind = venue.contract(symbol).kind
        quantity = trader_notional * close if kind == "inverse" else trader_notional / close
        if kind == "face_value":
            quantity = np.full(close.size, trader_notional)
        for side in SIDES:
            parts.append(
                pl.DataFrame(
                    {
                        "symbol": pl.repeat(symbol, close.size, eager=True),
                        "side": pl.repeat(side, close.size, eager=True).cast(Side),
                        "entry_time": pl.Series(ends).cast(Time),
                        "entry_price": close,
                        "quantity": quantity,
                        "leverage": np.tile(leverages, close.size // leverages.size),
                    }
                )
            )
    return pl.concat(parts, rechunk=True).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))


def _liquidation_bars(own: pl.DataFrame, times: Integers) -> Integers:
    """Return the bar each cohort is liquidated in; the number of bars where it is not."""
    moments = own["outcome_time"].to_physical().fill_null(0).to_numpy()
    return np.where(own["liquidated"].to_numpy(), np.searchsorted(times, moments), times.size)


def _stand(
    rule: _Rule, bars: pl.DataFrame, interval: float, shares: Floats, liquidation_bars: Integers
) -> tuple[Floats, Floats, Floats, Floats]:
    count = bars.height
    volume = bars["volume"].to_numpy()
    opened, liquidated, closed = np.empty(count), np.empty(count), np.empty(count)
    log_survival = np.empty(count + 1)
    if rule.by_open_interest:
        interest, closing, opening = bars["open_interest"].to_numpy(), rule.share * volume, volume
    else:
        interest, opening = volume, rule.share * volume
        closing = np.full(count, -np.expm1(-interval / rule.holding))
    cohorts.stand(
        readonly(interest),
        readonly(closing),
        readonly(opening),
        rule.by_open_interest,
        readonly(shares.ravel()),
        readonly(liquidation_bars),
        np.zeros(count),
        opened,
        liquidated,
        closed,
        log_survival,
    )
    return opened, liquidated, closed, log_survival


def _tilted(mix: Mapping[float, float], bars: pl.DataFrame, tilt: float) -> dict[str, Floats]:
    """Return (bars, leverages) shares a side: the mix, tilted toward leverage on the side of the takers."""
    base = np.broadcast_to(np.array(list(mix.values())), (bars.height, len(mix)))
    if tilt == 0.0:
        return {"long": base, "short": base}
    if "taker_buy_volume" not in bars.columns:
        raise DataError("bars need the column taker_buy_volume for a taker_tilt")
    lean = (
        bars.select(2 * (pl.col("taker_buy_volume") / pl.col("volume")).fill_nan(0.5) - 1).to_series().to_numpy()
    )
    logs = np.log(np.array(list(mix)))
    relative = logs - logs @ np.array(list(mix.values()))
    found = {}
    for side, sign in (("long", 1.0), ("short", -1.0)):
        weights = base * np.exp(sign * tilt * lean[:, None] * relative)
        found[side] = weights / weights.sum(axis=1, keepdims=True)
    return found


def _flow_rows(
    symbol: str, side: str, times: Integers, opened: Floats, liquidated: Floats, closed: Floats
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": pl.repeat(symbol, times.size, eager=True),
            "time": pl.Series(times).cast(Time),
            "side": pl.repeat(side, times.size, eager=True).cast(Side),
            "opened": opened,
            "liquidated": liquidated,
            "closed": closed,
            "standing": np.cumsum(opened - liquidated - closed),
        }
    )


def _sentences(mix: Mapping[float, float], tilt: float, trader_notional: float) -> tuple[str, ...]:
    shares = ", ".join(f"{leverage:g}x {share:.0%}" for leverage, share in mix.items())
    mean = sum(leverage * share for leverage, share in mix.items())
    target = "met" if MEAN_LEVERAGE[0] <= mean <= MEAN_LEVERAGE[1] else "missed"
    tilted = f", tilted by {tilt:g} towards the side of the takers" if tilt else ""
    return (
        f"opened on both sides at bar closes; leverage by notional: {shares}{tilted}",
        f"mean leverage by notional {mean:.1f} (2021: {MEAN_LEVERAGE[0]:g} to {MEAN_LEVERAGE[1]:g}, {target})",
        f"traders of {trader_notional:,.0f} each at the entry, which decides their tier",
        "what stood before the first bar is taken as opened at its close",
    )


def _calibration(flows: pl.DataFrame) -> str:
    """Return liquidations a day over open interest, beside the published range."""
    days = flows.group_by(pl.col("time").dt.truncate("1d"), "symbol", "side").agg(
        pl.sum("liquidated"), pl.mean("standing")
    )
    shares = {
        side: days.filter(pl.col("side") == side).select((pl.sum("liquidated") / pl.sum("standing"))).item()
        for side in SIDES
    }
    told = " and ".join(f"{share:.2%} of {side}s" for side, share in shares.items())
    return f"liquidated a day: {told} (published, by venue and year: 0.06 % to 3.5 %)"


def _check_mix(mix: Mapping[float, float]) -> None:
    if not mix or any(not (leverage >= 1 and share >= 0) for leverage, share in mix.items()):
        raise ArgumentError(f"leverage_mix must give shares of zero or more at leverages of 1 or more, is {mix!r}")
    if abs(sum(mix.values()) - 1) > 1e-9:
        raise ArgumentError(f"leverage_mix must add up to 1, adds up to {sum(mix.values()):.10g}")


def _require_columns(market: Market, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in market.bars.columns]
    if missing:
        raise DataError(f"bars need the column {' and '.join(missing)} for this population, in base units")


def _require_range(name: str, value: float, low: float, high: float) -> None:
    if not low < value <= high and not (value == low == 0.0 and name in ("turnover", "opening_share")):
        raise ArgumentError(f"{name} must lie above {low:g} and at most at {high:g}, is {value!r}")
