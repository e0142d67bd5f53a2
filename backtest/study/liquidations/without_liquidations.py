"""Price path without its liquidations: a range over assumed impacts.

A real price already contains its cascade, so no impact is added here. The impact of the liquidations that took
place is removed: history * exp(-impact). Their share of the fall is then

    endogenous share = 1 - drawdown(flow removed) / drawdown(history)

It depends on the impact of a notional, which no source gives for the day itself, and on its decay. So every
result is a range over assumed impacts, never one number. It also assumes that all other traders would have traded
the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.study.liquidations.imbalance import step

__all__ = ["IMPACTS", "Impact", "endogenous_share", "paths", "square_root"]
__dir__ = __all__.copy

MILLION, BASIS_POINT = 1e6, 1e-4


@dataclass(frozen=True)
class Impact:
    """Price impact of notional: log price = basis points of the first million * (notional / million)^power.

    Power 1 is linear. Below 1 the history's liquidations count as one order, whose remaining notional is raised to
    the power: that does not depend on the interval, but only a single episode is one order.

    Examples
    --------
    >>> from backtest.study.liquidations.without_liquidations import Impact
    >>> sold = pl.DataFrame({"bought": [-1e6, -1e6]})
    >>> sold.select(Impact(10.0).log_price(pl.col("bought"), timedelta(hours=1)).round(4)).to_series().to_list()
    [-0.001, -0.002]
    """

    basis_points: float  #: that the first million of quote moves the price by
    power: float = 1.0
    _: KW_ONLY
    permanent: float = 1.0  #: share of the notional whose impact is permanent
    half_life: timedelta | None = None  #: of the rest

    def __post_init__(self) -> None:
        """Refuse impacts of the wrong sign, and a decaying part without a half-life."""
        if not (math.isfinite(self.basis_points) and self.basis_points >= 0):
            raise ArgumentError(
                f"must be finite and not negative, is {self.basis_points!r}", argument="basis_points"
            )
        if not 0 < self.power <= 1:
            raise ArgumentError(f"must lie above 0, up to 1, is {self.power!r}", argument="power")
        if not 0 <= self.permanent <= 1:
            raise ArgumentError(f"must be a share from 0 to 1, is {self.permanent!r}", argument="permanent")
        if self.permanent < 1 and not (self.half_life and self.half_life > timedelta(0)):
            raise ArgumentError(
                f"must be above zero where permanent is below 1, is {self.half_life}", argument="half_life"
            )

    def log_price(self, bought: pl.Expr, interval: timedelta) -> pl.Expr:
        """Return the move of the log price by the flow up to the end of each interval.

        Parameters
        ----------
        bought : quote bought less sold in each interval, evenly spaced
        interval : distance between them
        """
        remaining = self._remaining(bought, interval)
        return remaining.sign() * (self.basis_points * BASIS_POINT) * (remaining.abs() / MILLION).pow(self.power)

    def _remaining(self, bought: pl.Expr, interval: timedelta) -> pl.Expr:
        lasting: pl.Expr = self.permanent * bought.cum_sum()
        if self.permanent == 1 or self.half_life is None:
            return lasting
        intervals = self.half_life / interval
        kept = 0.5 ** (1 / intervals)
        divided_by = (1 - kept ** pl.int_range(1, pl.len() + 1)) / (1 - kept)  # the weights of the moving mean
        fading: pl.Expr = bought.ewm_mean(half_life=intervals) * divided_by
        return lasting + (1 - self.permanent) * fading


def square_root(*, daily_volatility: float, daily_notional: float, coefficient: float = 0.9) -> Impact:
    """Return the impact coefficient * volatility * sqrt(notional / daily notional) (Donier & Bonart, 1412.4503).

    Parameters
    ----------
    daily_volatility : standard deviation of the day's log price
    daily_notional : quote traded in a day
    coefficient : of order one

    Examples
    --------
    >>> from backtest.study.liquidations.without_liquidations import square_root
    >>> round(square_root(daily_volatility=0.05, daily_notional=60e9).basis_points, 2)
    1.84
    """
    return Impact(coefficient * daily_volatility * math.sqrt(MILLION / daily_notional) / BASIS_POINT, 0.5)


#: Assumed: 1 to 5 basis points a million for an aggregated market (calm perpetuals of 2020, one venue of 2025), 10
#: to 25 in stress (BitMEX, 13 March 2020), and the root law at 5 % and $60 bn a day. None is of May 2021.
IMPACTS: Mapping[str, Impact] = {
    **{f"linear, {points} bp a million": Impact(points) for points in (1, 2, 5, 10, 25)},
    "square root": square_root(daily_volatility=0.05, daily_notional=60e9),
}


@checked
def paths(
    bars: pl.DataFrame,
    flow: pl.DataFrame,
    impacts: Mapping[str, Impact] = IMPACTS,
    *,
    price: str = "close",
) -> pl.DataFrame:
    """Return a price history, and the same without its liquidations, under each of several assumed impacts.

    Longs are sold when they are liquidated, shorts bought. A bar's whole flow counts as earlier than its price:
    right for its close, too much for its low.

    Parameters
    ----------
    bars : ``time`` and ``price`` of one symbol, in order of time
    flow : ``time, long_notional, short_notional`` that were in fact liquidated of that symbol, as
        ``flow.by_interval`` returns them, in quote currency; every bar's time is one of its intervals
    impacts : by name
    price : column of the bars

    Returns
    -------
    ``time``, ``history``, and a price for each impact, under its name.

    Raises
    ------
    DataError
        Where the flow has no interval for a bar's time.

    Examples
    --------
    >>> from backtest.study.liquidations import by_interval
    >>> from backtest.study.liquidations.without_liquidations import Impact, paths
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> found = paths(bars, hourly, {"strong": Impact(1_000.0)}).filter(time=noon)
    >>> found.select("history", pl.col("strong").round(0))
    shape: (1, 2)
    ┌─────────┬─────────┐
    │ history ┆ strong  │
    │ ---     ┆ ---     │
    │ f64     ┆ f64     │
    ╞═════════╪═════════╡
    │ 35073.0 ┆ 36116.0 │
    └─────────┴─────────┘
    """
    bought, interval = pl.col("short_notional") - pl.col("long_notional"), step(flow)
    moved = flow.select("time", **{name: each.log_price(bought, interval) for name, each in impacts.items()})
    joined = bars.select("time", history=price).join(moved, on="time", how="left", maintain_order="left")
    strangers = joined.select(pl.any_horizontal(pl.col(*impacts).is_null()).sum()).item()
    if strangers:
        raise DataError(f"flow must have an interval for the time of every bar: {strangers:,} have none")
    return joined.with_columns((pl.col("history") * (-pl.col(name)).exp()).alias(name) for name in impacts)


def drawdown(price: pl.Expr) -> pl.Expr:
    """Return the deepest fall below an earlier peak, as a fraction of the peak."""
    return 1 - (price / price.cum_max()).min()


@checked
def endogenous_share(paths: pl.DataFrame) -> pl.DataFrame:
    """Return the share of the deepest fall caused by liquidations, under each assumed impact: a range.

    Parameters
    ----------
    paths : as :func:`paths` returns them

    Returns
    -------
    ``impact``, ``drawdown``, ``drawdown_removed`` (of that path, wherever it is deepest) and ``endogenous_share``:
    NaN where the history never fell, below zero where liquidations supported the price.

    Examples
    --------
    >>> from backtest.study.liquidations import by_interval
    >>> from backtest.study.liquidations.without_liquidations import Impact, endogenous_share, paths
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> found = endogenous_share(paths(bars, hourly, {"strong": Impact(1_000.0)}))
    >>> found.select("impact", pl.col("drawdown", "drawdown_removed", "endogenous_share").round(3))
    shape: (1, 4)
    ┌────────┬──────────┬──────────────────┬──────────────────┐
    │ impact ┆ drawdown ┆ drawdown_removed ┆ endogenous_share │
    │ ---    ┆ ---      ┆ ---              ┆ ---              │
    │ str    ┆ f64      ┆ f64              ┆ f64              │
    ╞════════╪══════════╪══════════════════╪══════════════════╡
    │ strong ┆ 0.469    ┆ 0.447            ┆ 0.046            │
    └────────┴──────────┴──────────────────┴──────────────────┘
    """
    names = paths.columns[2:]
    fall, *without = paths.select(drawdown(pl.col(name)).alias(name) for name in paths.columns[1:]).row(0)
    table = pl.DataFrame({"impact": names, "drawdown": [fall] * len(names), "drawdown_removed": without})
    return table.with_columns(endogenous_share=1 - pl.col("drawdown_removed") / pl.col("drawdown"))
