"""Amounts on charts of levels: money, quantities, or shares of what is open where money would say nothing."""

from __future__ import annotations

from typing import NamedTuple

from backtest import amounts
from backtest.study.levels.levels import Levels


class Unit(NamedTuple):
    """How amounts are written: in a currency, in base, or as shares of a whole."""

    measure: str  #: ``notional`` or ``quantity``
    currency: str | None  #: None: shares
    whole: float  #: that shares are of

    def write(self, value: float) -> str:
        """Return an amount in words."""
        if self.currency is None:
            return amounts.percent(value / self.whole)
        return amounts.amount(value, "" if self.measure == "quantity" else self.currency)

    @property
    def one(self) -> float:
        """The amount that is written as one: ticks are round multiples of it."""
        return self.whole if self.currency is None else 1.0

    @property
    def name(self) -> str:
        """What is open, with the unit that amounts do not carry themselves."""
        if self.currency is None:
            return "levels"
        return "quantity (base)" if self.measure == "quantity" else self.measure

    @property
    def heading(self) -> str:
        """The same with what shares are of."""
        return "levels, % of those open at the end" if self.currency is None else self.name


def unit_of(levels: Levels, currency: str | None) -> Unit:
    """Return the unit of a heatmap and its profile; shares are of all that its bins hold at the end."""
    return Unit(levels.measure, currency, whole_of(levels))


def whole_of(levels: Levels) -> float:
    """Return what is open in the last column; of the fullest where that is empty, and 1 where all are."""
    columns = levels.amounts().sum(axis=0)
    return float(columns[-1]) or float(columns.max(initial=0.0)) or 1.0
