"""Money in whole units: sums are exact, and what is used up leaves exactly nothing."""

from __future__ import annotations

from itertools import accumulate, pairwise

#: Whole units to one of settlement currency: quote, and coin.
QUOTE_UNIT, COIN_UNIT = 1e6, 1e10


def units(amount: float, unit: float) -> int:
    """Return an amount of settlement currency in whole units, ``unit`` of them to one."""
    return round(amount * unit)


def currency(amount: int, unit: float) -> float:
    """Return whole units in settlement currency."""
    return amount / unit


def split(amount: int, weights: list[float]) -> list[int]:
    """Return whole parts of an amount in proportion to weights; they add up to it."""
    sums = list(accumulate(weights))
    ends = [0, *(round(amount * (end / sums[-1])) for end in sums)]
    return [after - before for before, after in pairwise(ends)]
