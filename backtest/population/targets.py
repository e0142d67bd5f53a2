"""Calibration targets: figures published of real books, and whether a book meets each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from backtest.amounts import percent, plain
from backtest.kernel.types import Floats

#: Of positions in 2021: the share at 20 times or more, by count, and the mean leverage by notional.
HIGH_LEVERAGE, HIGH_SHARE, MEAN_LEVERAGE = 20, (0.40, 0.60), (5.0, 10.0)

#: Share of the notional that the largest hundredth holds: accounts hit by ADL on one venue on 10 October 2025, of
#: the winning side only. Met within ten points.
LARGEST_SHARE, POINTS = 0.84, 0.10

#: BTC liquidations that one venue published in February 2026, dollars. Met within a half more or less.
PUBLISHED_SIZES = {"median": 921.0, "mean": 9_561.0, "95th percentile": 29_200.0}
CLOSE_TO = 1.5

#: Liquidated a day, of the open interest of a side: the lowest and the highest published, by venue and year.
DAILY_SHARE = (0.0006, 0.0351)


def of_positions(leverage: Floats, size: Floats) -> Iterator[str]:
    """Yield the leverage and sizes of positions, compared with published ones.

    Parameters
    ----------
    leverage : (n,)
    size : (n,) notional at the entry
    """
    share = float(np.mean(leverage >= HIGH_LEVERAGE))
    target = f"2021: {percent(HIGH_SHARE[0])} to {percent(HIGH_SHARE[1])}"
    yield (
        f"as drawn, {percent(share)} of positions at {HIGH_LEVERAGE} times or more "
        f"({target}, {verdict(share, HIGH_SHARE)})"
    )
    yield f"as drawn, {mean_leverage(float(np.average(leverage, weights=size)))}"
    ordered = np.sort(size)
    yield f"as drawn, {_sizes(ordered)} ({_published()})"
    largest = float(ordered[-max(1, ordered.size // 100) :].sum() / ordered.sum())
    met = verdict(largest, (LARGEST_SHARE - POINTS, LARGEST_SHARE + POINTS))
    yield (
        f"as drawn, the largest hundredth holds {percent(largest)} of the notional "
        f"({percent(LARGEST_SHARE)} of winning accounts on one venue in October 2025, {met})"
    )


def mean_leverage(mean: float) -> str:
    """Return a notional-weighted mean leverage, compared with that of 2021."""
    low, high = MEAN_LEVERAGE
    then = f"2021: {plain(low)} to {plain(high)}, {verdict(mean, MEAN_LEVERAGE)}"
    return f"mean leverage by notional {mean:.2f} ({then})"


def of_flows(flows: pl.DataFrame) -> str:
    """Return liquidations a day over the open interest at its beginning, compared with the published range.

    Parameters
    ----------
    flows : ``symbol, time, side, liquidated, open_interest``, in order of time
    """
    before = pl.col("open_interest").shift(1, fill_value=0.0).over("symbol", "side")
    daily = (
        flows.with_columns(before=before)
        .group_by(pl.col("time").dt.truncate("1d"), "symbol", "side")
        .agg(pl.sum("liquidated"), pl.first("before"))
        .filter(pl.col("before") > 0)
    )
    if daily.is_empty():
        return "liquidated a day, of open interest at its beginning: not known, nothing was open when a day began"
    sides = daily.group_by("side").agg(share=pl.sum("liquidated") / pl.sum("before")).sort("side")
    low, high = DAILY_SHARE
    both = " and ".join(f"{share:.2%} of {side}s {verdict(share, DAILY_SHARE)}" for side, share in sides.rows())
    published = f"published, by venue and year: {low:.2%} to {high:.2%}"
    return f"liquidated a day, of open interest at its beginning: {both} ({published})"


def of_same_day(flows: pl.DataFrame) -> str:
    """Return how much of what is liquidated had been opened on the same UTC day, as a sentence.

    Parameters
    ----------
    flows : ``side, liquidated, liquidated_same_day``
    """
    sums = flows.group_by("side").agg(pl.sum("liquidated", "liquidated_same_day")).sort("side")
    shares = " and ".join(
        f"{percent(new / every) if every else '0 %'} of {side}s" for side, every, new in sums.rows()
    )
    return f"of the liquidated, opened on the same UTC day: {shares}; in the same bar: none, entries are at closes"


def of_changes(liquidated: Mapping[str, Floats], compared: str) -> str:
    """Return how much more or less is liquidated at other settings, as a sentence.

    Parameters
    ----------
    liquidated : notional of longs and of shorts, (2,), by the setting in words; first the book's own
    compared : what the settings change, in words
    """
    (_, own), *others = liquidated.items()
    changes = [f"{setting}: {_changes(found, own)}" for setting, found in others]
    return f"{compared}: {'; '.join(changes)}"


def verdict(value: float, target: tuple[float, float]) -> str:
    """Return whether a target is met."""
    return "met" if target[0] <= value <= target[1] else "missed"


def _sizes(ordered: Floats) -> str:
    found = (float(np.median(ordered)), float(ordered.mean()), float(ordered[int(0.95 * (ordered.size - 1))]))
    pairs = zip(found, PUBLISHED_SIZES.items(), strict=True)
    sizes = (
        f"{name} {value:,.0f} {verdict(value, (target / CLOSE_TO, target * CLOSE_TO))}"
        for value, (name, target) in pairs
    )
    return f"sizes: {', '.join(sizes)}"


def _published() -> str:
    return f"liquidations published in 2026: {', '.join(f'{size:,.0f}' for size in PUBLISHED_SIZES.values())}"


def _changes(liquidated: Floats, own: Floats) -> str:
    parts = [
        f"{name} {change:+.0%}" if np.isfinite(change) else f"{name} none"
        for name, change in zip(("longs", "shorts"), _relative(liquidated, own), strict=True)
    ]
    return ", ".join(parts)


def _relative(liquidated: Floats, own: Floats) -> Floats:
    return np.asarray(np.divide(liquidated, own, out=np.full(2, np.nan), where=own > 0) - 1)
