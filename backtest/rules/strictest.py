"""The stricter of two tier tables at every size: the higher maintenance margin, the lower leverage limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backtest.errors import RulesError
from backtest.kernel.types import Floats
from backtest.rules.tiers import TierTable

#: What must be alike in two tables for one to be stricter than the other.
MEASURES = ("model", "size", "contract_size", "boundary")


def stricter(one: TierTable, other: TierTable) -> TierTable:
    """Return the table that asks of every size what the stricter of two tables asks.

    Where a tier of the result spans sizes with different leverage limits, the lowest of them holds for all of it.

    Raises
    ------
    RulesError
        For tables that measure sizes or requirements differently.
    """
    unlike = [name for name in MEASURES if getattr(one, name) != getattr(other, name)]
    if unlike:
        raise RulesError(
            f"neither of the tier tables {one.name} and {other.name} is the stricter: they differ in "
            f"{', '.join(unlike)}; take one by its name"
        )
    cap = min(one.cap, other.cap)
    if one.model == "leverage":
        floors, rates = one.floors, one.rates
    else:
        floors, rates = _envelope(one, other) if one.model == "marginal" else _steps(one, other)
        floors, rates = floors[floors < cap], rates[floors < cap]
    ends = np.append(floors[1:], cap)
    return replace(
        one,
        name=f"stricter of {one.name} and {other.name}",
        floors=floors,
        rates=rates,
        amounts=None,
        max_leverages=np.minimum(_lowest_limit(one, ends), _lowest_limit(other, ends)),
        cap=cap,
        rate_factor=max(one.rate_factor, other.rate_factor),
        start=min(one.start, other.start),
        end=max(one.end, other.end),
        source=f"{one.source}; {other.source}",
        confidence="assumed",
        note="",
    )


def _envelope(one: TierTable, other: TierTable) -> tuple[Floats, Floats]:
    """Return floors and rates of max_k(r_k N - a_k) over the tiers of both marginal tables."""
    amounts = np.concatenate([np.asarray(own.amounts, np.float64) for own in (one, other)])
    rates = np.concatenate([one.rates, other.rates])
    floors, kept = [0.0], [int(np.lexsort((-rates, amounts))[0])]
    while True:
        last = kept[-1]
        steeper = np.flatnonzero(rates > rates[last])
        if not steeper.size:
            return np.array(floors), rates[kept]
        crossings = (amounts[steeper] - amounts[last]) / (rates[steeper] - rates[last])
        first = crossings.min()
        nearest = steeper[crossings == first]
        floors.append(float(first))
        kept.append(int(nearest[np.argmax(rates[nearest])]))


def _steps(one: TierTable, other: TierTable) -> tuple[Floats, Floats]:
    """Return floors and rates of the higher of two flat tables, without steps that change nothing."""
    floors = np.union1d(one.floors, other.floors)
    at = [own.rates[np.searchsorted(own.floors, floors, side="right") - 1] for own in (one, other)]
    rates = np.maximum(*at)
    rises = np.append(True, np.diff(rates) > 0)
    return floors[rises], rates[rises]


def _lowest_limit(own: TierTable, ends: Floats) -> Floats:
    """Return the lowest leverage limit of the sizes up to each end."""
    tiers = np.searchsorted(own.floors, ends, side="left") - 1
    return np.asarray(np.minimum.accumulate(own.max_leverages)[tiers])
