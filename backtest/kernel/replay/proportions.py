"""Proportions of whole numbers, in whole numbers: lots run to 1e18, where float64 counts in steps of 128.

``amount * part / total`` takes up to 124 bits; it is made from the bits of ``amount``, the largest first.
"""

from __future__ import annotations

from backtest.kernel.compile import helper, part
from backtest.kernel.replay.state import whole
from backtest.kernel.types import Integers

#: Factors below it have a product of 62 bits.
SMALL = 2**31


@part
def divided(amount: int, numerator: int, total: int) -> tuple[int, int]:
    """Return quotient and remainder of ``amount * numerator / total``; 0 <= numerator <= total < 2**62."""
    if amount < SMALL and numerator < SMALL:
        product = amount * numerator
        return product // total, product % total
    quotient, left = whole(0), whole(0)
    for bit in range(62, -1, -1):
        quotient, left = 2 * quotient, 2 * left
        if left >= total:
            quotient, left = quotient + 1, left - total
        if (amount >> bit) & 1:
            left += numerator
            if left >= total:
                quotient, left = quotient + 1, left - total
    return quotient, left


@helper
def cut_part(amount: int, numerator: int, total: int) -> int:
    """Return a part of an amount, cut to whole ones."""
    return divided(amount, numerator, total)[0]


@helper
def raised_part(amount: int, numerator: int, total: int) -> int:
    """Return a part of an amount, rounded up."""
    quotient, left = divided(amount, numerator, total)
    return quotient + 1 if left > 0 else quotient


@helper
def rounded_part(amount: int, numerator: int, total: int) -> int:
    """Return a part of an amount of either sign, rounded, halves to even."""
    quotient, left = divided(abs(amount), numerator, total)
    if 2 * left > total or (2 * left == total and quotient & 1):
        quotient += 1
    return quotient if amount >= 0 else -quotient


@helper
def share_of(amount: int, share: Integers) -> int:
    """Return a share, a ratio of two whole numbers, of an amount, cut to whole units."""
    return cut_part(amount, share[0], share[1])


@helper
def apportioned(left: int, own: int, total: int) -> int:
    """Return one share of the remaining amount, so that all shares add up to it.

    ``total`` is what this one and all later ones have; never more than one's own, and never so little that the
    later ones could not take the rest.
    """
    share = rounded_part(left, own, total) if total > 0 else whole(0)
    return max(min(share, own, left), min(left, left - (total - own)), whole(0))
