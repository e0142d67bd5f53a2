"""Money in whole units: sums are exact, and what is used up leaves exactly nothing."""

from __future__ import annotations

from itertools import accumulate, pairwise

#: Whole units to one of settlement currency: quote, and coin.
QUOTE_UNIT, COIN_UNIT = 1e6, 1e10


def units(amount: float) -> int:
    """Return an amount of quote in whole units."""
    return round(amount * QUOTE_UNIT)


def currency(amount: int) -> float:
    """Return whole units in quote."""
    return amount / QUOTE_UNIT


def split(amount: int, weights: list[float]) -> list[int]:
    """Return whole parts of an amount in proportion to weights; they add up to it."""
    sums = list(accumulate(weights))
    ends = [0, *(round(amount * (end / sums[-1])) for end in sums)]
    return [after - before for before, after in pairwise(ends)]
