"""Probability surface: share of positions liquidated, by leverage, side and horizon.

Every bar of the history is an entry at its open, at each leverage and on both sides; a year of minutes at 20
leverages is 21 million searches of the sweep's own trees. Entries a minute apart see nearly the same prices, so
their number is no measure of certainty: use the bands over calendar blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.engine.sweep.lifetimes import NOT_ALLOWED, Lifetimes, lifetimes
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side
from backtest.study.stats.bootstrap import FORTNIGHT, Seed
from backtest.study.stats.rates import Rate, banded_rates
from backtest.study.survival.excursions import HORIZONS, MILLISECOND

LEVERAGES = (
    2.0,
    3.0,
    4.0,
    5.0,
    6.0,
    8.0,
    10.0,
    12.0,
    15.0,
    20.0,
    25.0,
    30.0,
    40.0,
    50.0,
    60.0,
    75.0,
    100.0,
    125.0,
)


@checked
def probability_surface(
    market: Market,
    venue: Venue,
    *,
    seed: Seed,
    symbol: str | None = None,
    leverages: Sequence[float] = LEVERAGES,
    horizons: Sequence[timedelta] = HORIZONS,
    notional: float = 10_000.0,
    tiers: Tiers = "strict",
    length: timedelta = FORTNIGHT,
    draws: int = 999,
    confidence: float = 0.95,
    threads: int | None = None,
) -> pl.DataFrame:
    """Return how often a position opened at a bar's open was liquidated within each horizon.

    Parameters
    ----------
    market, venue, tiers, threads : as for ``sweep``
    symbol : of the market; may be left out where there is only one
    leverages, notional : of the position opened at every bar, the notional in settlement currency
    horizons : from the entry; entries whose horizon is not fully observed are left out
    length, draws, confidence, seed : of the bands over calendar blocks; no draws, no bands

    Returns
    -------
    ``side, leverage, horizon, entries, liquidated, probability`` and, with draws, ``low, high,
    effective_blocks``. Entries at which the tier did not allow the leverage are left out; where none did, the
    probability is NaN.

    Examples
    --------
    >>> from backtest.study import survival
    >>> found = survival.probability_surface(
    ...     market, venue, leverages=[20], horizons=[timedelta(days=1)], draws=0, seed=1
    ... )
    >>> found.select("side", "entries", pl.col("probability").round(3)).rows()
    [('long', 385, 0.662), ('short', 385, 0.434)]
    """
    if not horizons:
        raise ArgumentError("must hold at least one", argument="horizons")
    found = lifetimes(
        market, venue, symbol=symbol, leverages=leverages, notional=notional, horizon=max(horizons), tiers=tiers,
        threads=threads,
    )  # fmt: skip
    rates = banded_rates(
        list(_rates(found, horizons)), seed=seed, length=length, draws=draws, confidence=confidence
    )
    named = rates.rename({"cases": "entries", "events": "liquidated", "rate": "probability"})
    return named.cast({"side": Side, "horizon": pl.Duration("ms")})


def _rates(found: Lifetimes, horizons: Sequence[timedelta]) -> Iterator[Rate]:
    for horizon in horizons:
        end = found.times + horizon // MILLISECOND
        whole = end <= found.known_until
        until = np.searchsorted(found.times, end[whole]).astype(np.int32)
        for side, bars in found.bars.items():
            for leverage, hits in zip(found.leverages, bars, strict=True):
                own = hits[whole]
                allowed = own != NOT_ALLOWED
                times, last = found.times[whole], until
                if not allowed.all():
                    own, times, last = own[allowed], times[allowed], until[allowed]
                keys = {"side": side, "leverage": float(leverage), "horizon": horizon}
                yield Rate(keys, times, (own >= 0) & (own < last))
