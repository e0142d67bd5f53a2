"""Cohorts of open interest: positions opened at each bar's close, at each leverage, on each side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import quantity_of
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.population.targets import mean_leverage
from backtest.rules.venue import Venue
from backtest.schemas.frames import OPENED, Side, Time

#: Share of open interest, not of traders, at each leverage: a mean of 9.6, within the 5 to 10 stated of 2021.
NOTIONAL_MIX = {2.0: 0.25, 3.0: 0.25, 5.0: 0.20, 10.0: 0.15, 20.0: 0.09, 50.0: 0.04, 100.0: 0.02}

SIDES = ("long", "short")


def unit_cohorts(market: Market, venue: Venue, mix: Mapping[float, float], trader_notional: float) -> pl.DataFrame:
    """Return one trader a symbol, side, bar and leverage, entered at the bar's close, in this order."""
    parts = []
    leverages = np.array(list(mix))
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        close = np.repeat(market.prices("mark", "close")[rows], leverages.size)
        ends = np.repeat(market.times[rows] + market.intervals[number], leverages.size)
        kind = ContractKind.code(venue.contract(symbol).kind)
        quantity = np.broadcast_to(quantity_of(kind, trader_notional, close), close.shape)
        for side in SIDES:
            columns = {
                "symbol": pl.repeat(symbol, close.size, eager=True),
                "side": pl.repeat(side, close.size, eager=True).cast(Side),
                "entry_time": pl.Series(ends).cast(Time),
                "entry_price": close,
                "quantity": quantity,
                "leverage": np.tile(leverages, close.size // leverages.size),
            }
            parts.append(pl.DataFrame(columns))
    return pl.concat(parts, rechunk=True).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))


def liquidation_bars(own: pl.DataFrame, times: Integers) -> Integers:
    """Return the bar each cohort is gone in: liquidated, or never opened; the number of bars where it is not."""
    gone = own.select(pl.col("liquidated") | ~OPENED).to_series().to_numpy()
    moments = own.select(pl.coalesce("outcome_time", "entry_time").to_physical()).to_series().to_numpy()
    return np.where(gone, np.searchsorted(times, moments), times.size)


def tilted(mix: Mapping[float, float], bars: pl.DataFrame, tilt: float) -> dict[str, Floats]:
    """Return (bars, leverages) shares of each side: the mix, tilted toward leverage on the takers' side."""
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


def flow_rows(
    symbol: str, side: str, times: Integers, opened: Floats, liquidated: Floats, closed: Floats
) -> pl.DataFrame:
    """Return the flows of one side of a symbol as rows, with the open interest after each bar."""
    return pl.DataFrame(
        {
            "symbol": pl.repeat(symbol, times.size, eager=True),
            "time": pl.Series(times).cast(Time),
            "side": pl.repeat(side, times.size, eager=True).cast(Side),
            "opened": opened,
            "liquidated": liquidated,
            "closed": closed,
            "open_interest": np.cumsum(opened - liquidated - closed),
        }
    )


def sentences(mix: Mapping[float, float], tilt: float, trader_notional: float) -> tuple[str, ...]:
    """Return the assumptions of an estimated book, other than what opens and closes positions."""
    shares = ", ".join(f"{leverage:g}x {share:.0%}" for leverage, share in mix.items())
    mean = sum(leverage * share for leverage, share in mix.items())
    tilted = f", tilted by {tilt:g} towards the takers' side" if tilt else ""
    return (
        f"opened on both sides at bar closes; leverage by notional: {shares}{tilted}",
        mean_leverage(mean),
        f"traders of {trader_notional:,.0f} each at the entry, which decides their tier",
        "open interest before the first bar is taken as opened at its close",
    )


def check_mix(mix: Mapping[float, float]) -> None:
    """Raise unless a mix gives shares that add up to 1 at leverages of 1 or more."""
    if not mix or any(not (leverage >= 1 and share >= 0) for leverage, share in mix.items()):
        raise ArgumentError(
            f"must give shares of zero or more at leverages of 1 or more, is {mix!r}", argument="leverage_mix"
        )
    if abs(sum(mix.values()) - 1) > 1e-9:
        raise ArgumentError(f"must add up to 1, adds up to {sum(mix.values()):.10g}", argument="leverage_mix")
