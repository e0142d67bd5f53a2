"""Side of synthetic positions: a stated share of longs, higher or lower with the sign of funding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.population.draws import require_number


@dataclass(frozen=True)
class SideLaw:
    """Share of longs among the positions opened, higher while funding is positive, lower while it is negative."""

    long_share: float
    funding_lean: float  #: added where the last rate before the entry is above zero, subtracted where below

    def __post_init__(self) -> None:
        """Raise for shares outside 0 to 1."""
        require_number("long_share", self.long_share)
        if self.long_share > 1:
            raise ArgumentError(f"must lie from 0 to 1, is {self.long_share!r}", argument="long_share")
        require_number("funding_lean", self.funding_lean)
        if self.funding_lean > min(self.long_share, 1 - self.long_share):
            raise ArgumentError(
                f"must leave shares from 0 to 1 around long_share {self.long_share:g}, is {self.funding_lean!r}",
                argument="funding_lean",
            )

    def __str__(self) -> str:
        share = f"{100 * self.long_share:.3g} % long"
        if not self.funding_lean:
            return share
        points = f"{100 * self.funding_lean:.3g} points"
        return f"{share}, {points} more where the last funding was positive, less where negative"

    def long_shares(self, market: Market, rows: Integers) -> Floats:
        """Return the chance of a long for positions opened at some bars of a market: (n,), or (1,) if all alike.

        Raises
        ------
        DataError
            For a lean in a market without funding.
        """
        if not self.funding_lean:
            return np.full(1, self.long_share)
        return np.asarray(self.long_share + self.funding_lean * funding_signs(market)[rows])


def funding_signs(market: Market) -> Floats:
    """Return (rows,) the sign of the last funding rate at or before each bar's open; 0 before the first."""
    if market.funding is None:
        raise DataError("funding_lean needs a market with funding")
    signs = np.zeros(market.times.size)
    for symbol, first, stop in zip(market.symbols, market.firsts[:-1], market.firsts[1:], strict=True):
        own = market.funding.filter(symbol=symbol)
        rates = np.append(0.0, own["rate"].to_numpy())
        last = np.searchsorted(own["time"].to_physical().to_numpy(), market.times[first:stop], side="right")
        signs[first:stop] = np.sign(rates[last])
    return signs
