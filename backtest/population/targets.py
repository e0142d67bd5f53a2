"""Figures known of real books, and whether a book meets them: every one is said, met or missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from backtest.amounts import percent
from backtest.kernel.types import Floats

#: Of positions in 2021: the share at 20 times or more, by count, and the mean leverage by notional.
HIGH_LEVERAGE, HIGH_SHARE, MEAN_LEVERAGE = 20, (0.40, 0.60), (5.0, 10.0)

#: Share of the notional that the largest hundredth holds: accounts deleveraged on one venue on 10 October 2025, of
#: the winning side only. Met within ten points.
LARGEST_SHARE, POINTS = 0.84, 0.10

#: BTC liquidations that one venue printed in February 2026, dollars. Met within a half more or less.
PRINTED_SIZES = {"median": 921.0, "mean": 9_561.0, "95th percentile": 29_200.0}
CLOSE_TO = 1.5

#: Liquidated a day, of what stands open on a side: the least and the most published, by venue and year.
DAILY_SHARE = (0.0006, 0.0351)


def of_positions(leverage: Floats, size: Floats) -> Iterator[str]:
    """Yield what positions look like beside real ones.

    Parameters
    ----------
    leverage : (n,)
    size : (n,) notional at the entry
    """
    share = float(np.mean(leverage >= HIGH_LEVERAGE))
    wanted = f"2021: {percent(HIGH_SHARE[0])} to {percent(HIGH_SHARE[1])}"
    yield (
        f"as drawn, {percent(share)} of positions at {HIGH_LEVERAGE} times or more "
        f"({wanted}, {verdict(share, HIGH_SHARE)})"
    )
    yield f"as drawn, {mean_leverage(float(np.average(leverage, weights=size)))}"
    ordered = np.sort(size)
    yield f"as drawn, {_sizes(ordered)} ({_printed()})"
    largest = float(ordered[-max(1, ordered.size // 100) :].sum() / ordered.sum())
    met = verdict(largest, (LARGEST_SHARE - POINTS, LARGEST_SHARE + POINTS))
    yield (
        f"as drawn, the largest hundredth holds {percent(largest)} of the notional "
        f"({percent(LARGEST_SHARE)} of winning accounts on one venue in October 2025, {met})"
    )


def mean_leverage(mean: float) -> str:
    """Return a notional-weighted mean leverage beside that of 2021."""
    low, high = MEAN_LEVERAGE
    return f"mean leverage by notional {mean:.2f} (2021: {low:g} to {high:g}, {verdict(mean, MEAN_LEVERAGE)})"


def of_flows(flows: pl.DataFrame) -> str:
    """Return liquidations a day over open interest beside the published range.

    Parameters
    ----------
    flows : ``symbol, time, side, liquidated, standing``
    """
    daily = flows.group_by(pl.col("time").dt.truncate("1d"), "symbol", "side").agg(
        pl.sum("liquidated"), pl.mean("standing")
    )
    sides = daily.group_by("side").agg(share=pl.sum("liquidated") / pl.sum("standing")).sort("side")
    low, high = DAILY_SHARE
    told = " and ".join(f"{share:.2%} of {side}s {verdict(share, DAILY_SHARE)}" for side, share in sides.rows())
    return f"liquidated a day, of what stands: {told} (published, by venue and year: {low:.2%} to {high:.2%})"


def of_turnover(flows: Mapping[float, Floats], name: str) -> str:
    """Return how much more or less other turnovers liquidate, in words.

    Parameters
    ----------
    flows : liquidated quantity of longs and of shorts, (2,), by turnover; first the one the book stands for
    name : of what is turned over
    """
    own, *others = flows.items()
    told = [f"{turnover:g}: {_changes(liquidated, own[1])}" for turnover, liquidated in others]
    return f"liquidated with other shares of the volume {name}, beside {own[0]:g}: {'; '.join(told)}"


def verdict(value: float, target: tuple[float, float]) -> str:
    """Return whether a target is met."""
    return "met" if target[0] <= value <= target[1] else "missed"


def _sizes(ordered: Floats) -> str:
    found = (float(np.median(ordered)), float(ordered.mean()), float(ordered[int(0.95 * (ordered.size - 1))]))
    pairs = zip(found, PRINTED_SIZES.items(), strict=True)
    told = (
        f"{name} {value:,.0f} {verdict(value, (target / CLOSE_TO, target * CLOSE_TO))}"
        for value, (name, target) in pairs
    )
    return f"sizes: {', '.join(told)}"


def _printed() -> str:
    return f"liquidations printed in 2026: {', '.join(f'{size:,.0f}' for size in PRINTED_SIZES.values())}"


def _changes(liquidated: Floats, own: Floats) -> str:
    parts = [
        f"{name} {change:+.0%}" if np.isfinite(change) else f"{name} none"
        for name, change in zip(("longs", "shorts"), _relative(liquidated, own), strict=True)
    ]
    return ", ".join(parts)


def _relative(liquidated: Floats, own: Floats) -> Floats:
    return np.asarray(np.divide(liquidated, own, out=np.full(2, np.nan), where=own > 0) - 1)
