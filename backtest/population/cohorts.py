"""Cohorts of open interest: positions opened at each bar's close, at each leverage, on each side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from backtest.amounts import percent
from backtest.errors import ArgumentError, DataError
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import quantity_of
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.population.flows import SideFlows
from backtest.population.side_mixes import GRID, SIDES, MixBySide
from backtest.population.targets import mean_leverage
from backtest.rules.venue import Venue
from backtest.schemas.frames import OPENED, Side, Time

#: Share of open interest, not of traders, at each leverage: a mean of 9.6, within the 5 to 10 stated of 2021.
NOTIONAL_MIX = {2.0: 0.25, 3.0: 0.25, 5.0: 0.20, 10.0: 0.15, 20.0: 0.09, 50.0: 0.04, 100.0: 0.02}

#: One mix of both sides, the share of the notional by leverage, or mixes by side.
Mix = Mapping[float, float] | MixBySide


def unit_cohorts(market: Market, venue: Venue, leverages: Floats, trader_notional: float) -> pl.DataFrame:
    """Return one trader a symbol, side, bar and leverage, entered at the bar's close, in this order.

    ``leverage_asked`` keeps the leverage of the mix where a tier lowers ``leverage``.
    """
    parts = []
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
                "leverage": (asked := np.tile(leverages, close.size // leverages.size)),
                "leverage_asked": asked,
            }
            parts.append(pl.DataFrame(columns))
    return pl.concat(parts, rechunk=True).with_columns(position_id=pl.int_range(pl.len(), dtype=pl.Int64))


def liquidation_bars(own: pl.DataFrame, times: Integers) -> Integers:
    """Return the bar each cohort is gone in: liquidated, or never opened; the number of bars where it is not."""
    gone = own.select(pl.col("liquidated") | ~OPENED).to_series().to_numpy()
    moments = own.select(pl.coalesce("outcome_time", "entry_time").to_physical()).to_series().to_numpy()
    return np.where(gone, np.searchsorted(times, moments), times.size)


def leverages_of(mix: Mix) -> Floats:
    """Return (leverages,) the leverages of a mix."""
    return np.array(GRID if isinstance(mix, MixBySide) else list(mix))


def shares_by_side(mix: Mix, bars: pl.DataFrame, ends: Integers, tilt: float) -> dict[str, Floats]:
    """Return (bars, leverages) shares of each side: the mix, tilted toward leverage on the takers' side.

    Parameters
    ----------
    ends : (bars,) ms, the ends of the bars, at which positions are opened
    """
    if isinstance(mix, MixBySide):
        bases = {side: mix.shares(side, ends) for side in SIDES}
    else:
        base = np.broadcast_to(np.array(list(mix.values())), (bars.height, len(mix)))
        bases = dict.fromkeys(SIDES, base)
    if tilt == 0.0:
        return bases
    if "taker_buy_volume" not in bars.columns:
        raise DataError("bars need the column taker_buy_volume for a taker_tilt")
    lean = (
        bars.select(2 * (pl.col("taker_buy_volume") / pl.col("volume")).fill_nan(0.5) - 1).to_series().to_numpy()
    )
    logs = np.log(leverages_of(mix))
    found = {}
    for side, sign in (("long", 1.0), ("short", -1.0)):
        relative = logs - (bases[side] @ logs)[:, None]
        weights = bases[side] * np.exp(sign * tilt * lean[:, None] * relative)
        found[side] = weights / weights.sum(axis=1, keepdims=True)
    return found


def flow_rows(symbol: str, side: str, times: Integers, flows: SideFlows, same_day: Floats) -> pl.DataFrame:
    """Return the flows of one side of a symbol as rows, with the open interest after each bar."""
    return pl.DataFrame(
        {
            "symbol": pl.repeat(symbol, times.size, eager=True),
            "time": pl.Series(times).cast(Time),
            "side": pl.repeat(side, times.size, eager=True).cast(Side),
            "opened": flows.opened,
            "liquidated": flows.liquidated,
            "liquidated_same_day": same_day,
            "closed": flows.closed,
            "open_interest": flows.open_interest,
        }
    )


def sentences(mix: Mix, tilt: float, trader_notional: float) -> tuple[str, ...]:
    """Return the assumptions of an estimated book on leverage and traders."""
    tilted = f", tilted by {tilt:g} towards the takers' side" if tilt else ""
    opened = "opened on both sides at bar closes; leverage by notional:"
    traders = f"traders of {trader_notional:,.0f} each at the entry, which decides their tier"
    if isinstance(mix, MixBySide):
        source = (f"leverage mix by side: {mix.provenance}",) if mix.provenance else ()
        return (f"{opened} lognormal, {mix}{tilted}", *source, traders)
    shares = ", ".join(f"{leverage:g}x {share:.0%}" for leverage, share in mix.items())
    mean = sum(leverage * share for leverage, share in mix.items())
    return (f"{opened} {shares}{tilted}", mean_leverage(mean), traders)


def lowered(positions: pl.DataFrame) -> tuple[str, ...]:
    """Return how much of the notional opened had asked for more leverage than its tier allows; nothing of none."""
    beyond = pl.col("weight").filter(pl.col("leverage") < pl.col("leverage_asked")).sum()
    share = positions.select(beyond / pl.col("weight").sum()).item()  # every trader opens the same notional
    return (f"leverage beyond its tier's limit, lowered to it: {percent(share)} of the notional",) if share else ()


def check_mix(mix: Mix) -> None:
    """Raise unless a mix gives shares that add up to 1 at leverages of 1 or more."""
    if isinstance(mix, MixBySide):
        return
    if not mix or any(not (leverage >= 1 and share >= 0) for leverage, share in mix.items()):
        raise ArgumentError(
            f"must give shares of zero or more at leverages of 1 or more, is {mix!r}", argument="leverage_mix"
        )
    if abs(sum(mix.values()) - 1) > 1e-9:
        raise ArgumentError(f"must add up to 1, adds up to {sum(mix.values()):.10g}", argument="leverage_mix")
