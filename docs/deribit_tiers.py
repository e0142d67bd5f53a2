"""Prints the tier rows of Deribit's inverse perpetuals: ``python docs/deribit_tiers.py``.

Deribit's maintenance rate rises linearly with the size in coin: the requirement is quadratic in the notional N in
coin, base N + step N^2. The rows are tangents, whose highest is the requirement of a marginal table. It is exact
where they touch, and at most half a basis point of the notional too low in between.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser
from collections.abc import Iterator

#: Largest error, as a fraction of the notional.
LARGEST_ERROR = 5e-5

#: Digits that the sizes where tangents touch are rounded to.
DIGITS = 2

#: Base and step of the maintenance rate, base of the initial rate, largest size, in coin. The steps of both rates
#: are alike.
RATES = {
    "BTC-PERPETUAL, until 2022-01-11": (0.00525, 0.00005, 0.01, 1_000),
    "BTC-PERPETUAL, from 2022-01-11": (0.01, 0.00005, 0.02, 1_000),
    "ETH-PERPETUAL, until 2022-01-11": (0.01, 0.000002, 0.02, 10_000),
    "ETH-PERPETUAL, from 2022-01-11": (0.01, 0.000004, 0.02, 10_000),
}


def touching(step: float, largest: float) -> list[float]:
    """Return the sizes at which tangents touch, from 0."""
    found = [0.0]
    while found[-1] < largest:
        near = found[-1]
        # between two tangents the error is step (gap / 2)^2 at their crossing, near + gap / 2
        half = (LARGEST_ERROR + math.sqrt(LARGEST_ERROR**2 + 4 * step * LARGEST_ERROR * near)) / (2 * step)
        found.append(math.floor((near + 2 * half) * 10**DIGITS) / 10**DIGITS)
    return found


def rows(base: float, step: float, initial: float, largest: float) -> Iterator[str]:
    """Yield a row a tangent; the highest leverage is that of the tier's floor."""
    sizes = touching(step, largest)
    for number, size in enumerate(sizes):
        floor = 0.0 if number == 0 else (sizes[number - 1] + size) / 2
        rate, leverage = base + 2 * step * size, 1 / (initial + step * floor)
        if number == 0 or floor < largest:
            yield (f"  {{ floor = {floor:.10g}, rate = {rate:.10g}, max_leverage = {leverage:.6g} }},")


if __name__ == "__main__":
    ArgumentParser(description=__doc__).parse_args()
    for title, given in RATES.items():
        print(f"# {title}", "rows = [", *rows(*given), "]", sep="\n")
