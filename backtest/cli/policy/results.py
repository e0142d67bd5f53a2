"""Results of a grid of policies, and the slices that tables, sentences and charts show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from backtest.amounts import number, percentage
from backtest.chart.venues.policy import cap_name, cap_order
from backtest.study.policy.frontier import frontier, per_million, spread
from backtest.study.policy.grid import Grid

#: Values printed with their range.
BANDED = ("liquidated_share", "notional_share")

#: Other values of the tables by cap.
PLAIN = ("freedom", "turnover_given_up", "shortfall_per_million", "losses_per_million")

#: Response of a row that is the same under all responses.
ANY_RESPONSE = "any"

FILL_WORDS = {
    "liquidation_price": "filled at the liquidation price",
    "delayed": "filled after the delay",
    "worst_price": "filled at the worst price of the bar",
}


@dataclass(frozen=True)
class Table:
    """A caption, a header whose lines carry the units, and rows of cells; words in the first ``left`` columns."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


@dataclass(frozen=True, eq=False)
class Tried:
    """A grid and its results, with the slices that tables and charts show."""

    grid: Grid
    policies: pl.DataFrame  #: as ``study.policy.evaluate`` returns them, all cells
    tolerance: Mapping[str, float] = field(default_factory=dict)  #: highest amounts tolerated, by column

    @cached_property
    def marked(self) -> pl.DataFrame:
        """The policies with amounts per million, and whether they are dominated."""
        return frontier(per_million(self.policies))

    @property
    def fill(self) -> str:
        """The fill that charts and sentences show: after the delay where it was tried, else the worst price."""
        return next((fill for fill in ("delayed", "worst_price") if fill in self.grid.fills), self.grid.fills[0])

    @property
    def delay(self) -> str:
        """What a delayed fill is, in words."""
        return f"{self.grid.delay.words} after the trigger, {self._draws} on paths drawn inside the bars"

    @property
    def _draws(self) -> str:
        count = self.grid.delay.draws
        return f"mean of {count} draws" if count > 1 else "one draw"

    @property
    def histories(self) -> list[str]:
        """The names of the histories, in order."""
        return self.policies["history"].unique(maintain_order=True).to_list()

    @property
    def books(self) -> int:
        """The number of books."""
        return self.policies["book"].n_unique()

    def base(self, *but: str) -> pl.DataFrame:
        """Return the policies with the first value on every axis except cap, response and those named."""
        firsts: dict[str, Any] = {
            "fill": self.fill,
            "change": next(iter(self.grid.changes)),
            "rate_scale": self.grid.rate_scales[0],
            "liquidation_fee": self.grid.liquidation_fees[0],
            "fund": self.grid.funds[0],
            "procedure": self.grid.procedures[0],
        }
        kept = (same(name, value) for name, value in firsts.items() if name not in but)
        return self.marked.filter(*kept)

    @property
    def settlement(self) -> str:
        """The settlement of amounts and its limits."""
        return str(self.policies["settlement"][0])

    @property
    def replayed(self) -> bool:
        """Whether amounts are of replays, which alone have restored positions and ADL."""
        return self.policies["begun"].null_count() == 0

    @property
    def terms(self) -> str:
        """The first terms, which tables and charts by cap show, where there are several or they were replayed."""
        if len(self.grid.terms()) == 1 and not self.replayed:
            return ""
        fee, fund = self.grid.liquidation_fees[0], self.grid.funds[0]
        terms = [procedure_called(self.grid.procedures[0]), f"fund {number(fund)}"]
        terms += [] if fee is None else [f"fee {percentage(fee)} %"]
        return ", ".join(terms)

    def banded(self, policies: pl.DataFrame) -> pl.DataFrame:
        """Return one row per policy: median and range of several books, or the one book and its bands."""
        if self.books == 1:
            return policies
        return spread(policies, [*BANDED, *PLAIN])

    @property
    def basis(self) -> str:
        """The basis of each figure, where there are several books."""
        return f"the median over {self.books} books, column by column" if self.books > 1 else ""

    @property
    def ranges(self) -> str:
        """The basis of each figure, and the meaning of brackets after a share."""
        if self.books > 1:
            return f"; each figure is {self.basis}; in brackets their range"
        return (
            "; in brackets bands over calendar blocks" if "liquidated_share_low" in self.policies.columns else ""
        )

    @property
    def loosest(self) -> float | None:
        """The highest cap."""
        return cap_order(self.policies)[0]

    @property
    def tightest(self) -> float | None:
        """The lowest cap."""
        return cap_order(self.policies)[-1]


def same(name: str, value: object) -> pl.Expr:
    """Return whether a key equals a value, which may be null."""
    return pl.col(name).is_null() if value is None else pl.col(name).eq(value)


def cap_words(cap: float | None) -> str:
    """Return the name of a cap in a sentence."""
    return "no cap" if cap is None else f"a cap of {cap_name(cap)}"


def procedure_called(name: str) -> str:
    """Return the name of a procedure in a sentence."""
    names = {
        "returned": "fully closed, remaining margin returned",
        "to_fund": "fully closed, remaining margin to the fund",
    }
    return names.get(name, f"procedure {name}")


def ranged(row: dict[str, float], name: str) -> str:
    """Return a share in per cent with its range, where there is one."""
    low, high = (row.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
    value = percentage(row[name], 1)
    return value if math.isnan(low + high) else f"{value} ({percentage(low, 1)} to {percentage(high, 1)})"
