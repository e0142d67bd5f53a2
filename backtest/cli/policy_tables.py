"""The tables of a grid of policies: what each axis changed, in the same rows for the terminal and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import polars as pl

from backtest.chart.policy import RESPONSE_WORDS, cap_name, cap_order
from backtest.cli.text import NOTHING, moment, number, percent
from backtest.study.frontier import frontier, laws, per_million, spread
from backtest.study.policy_grid import Grid

#: Values that are told with the range they move in.
BANDED = ("liquidated_share", "notional_share")

#: Other values of the tables by cap.
PLAIN = ("freedom", "turnover_given_up", "shortfall_per_million", "losses_per_million")

#: Whose response a row tells of where all of them come to the same.
ANY_RESPONSE = "whichever it is"

FILL_WORDS = {
    "liquidation_price": "filled at the liquidation price",
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
    """A grid and what came of it, with the slices that tables and charts show."""

    grid: Grid
    policies: pl.DataFrame  #: as ``study.policy.evaluate`` returns them, all cells

    @cached_property
    def marked(self) -> pl.DataFrame:
        """The policies with amounts per million, and whether they are dominated."""
        return frontier(per_million(self.policies))

    @property
    def fill(self) -> str:
        """The fill that charts show: the one that flatters least."""
        return "worst_price" if "worst_price" in self.grid.fills else self.grid.fills[0]

    @property
    def histories(self) -> list[str]:
        """The names of the histories, in order."""
        return self.policies["history"].unique(maintain_order=True).to_list()

    @property
    def books(self) -> int:
        """How many books there are."""
        return self.policies["book"].n_unique()

    def base(self, *but: str) -> pl.DataFrame:
        """Return the policies that have the first value on every axis but the cap, the response and some more."""
        firsts: dict[str, Any] = {
            "fill": self.fill,
            "change": next(iter(self.grid.changes)),
            "rate_scale": self.grid.rate_scales[0],
            "liquidation_fee": self.grid.liquidation_fees[0],
            "fund": self.grid.funds[0],
            "procedure": self.grid.procedures[0],
        }
        return self.marked.filter(*(pl.col(name) == value for name, value in firsts.items() if name not in but))

    def banded(self, policies: pl.DataFrame) -> pl.DataFrame:
        """Return one row a policy: the middle of several books and their range, or the one book and its bands."""
        if self.books == 1:
            return policies
        return spread(policies, [*BANDED, *PLAIN])

    @property
    def basis(self) -> str:
        """What each figure is, where there are several books."""
        return f"the median over {self.books} books, column by column" if self.books > 1 else ""

    @property
    def ranges(self) -> str:
        """What each figure is, and what stands in brackets behind a share."""
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


def tables(tried: Tried) -> Iterator[Table]:
    """Yield every table that says something."""
    for history in tried.histories:
        for fill in tried.grid.fills:
            yield _by_cap(tried, history, fill)
    for history in tried.histories:
        if len(tried.grid.terms()) > 1:
            yield _by_terms(tried, history)
        if len(tried.grid.rate_scales) * len(tried.grid.changes) > 1:
            yield _by_rules(tried, history)
    yield _by_law(tried)


def ranged(row: dict[str, float], name: str, decimals: int = 1) -> str:
    """Return a share in per cent with its range, where there is one."""
    low, high = (row.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
    value = percent(row[name], decimals)
    if math.isnan(low + high):
        return value
    return f"{value} ({percent(low, decimals)} to {percent(high, decimals)})"


def _by_cap(tried: Tried, history: str, fill: str) -> Table:
    own = tried.base("fill").filter(history=history, fill=fill)
    dominated = own.group_by("cap", "response").agg(dominated=pl.col("dominated").all())
    shown = tried.banded(own).join(dominated, on=["cap", "response"], nulls_equal=True, maintain_order="left")
    order = {cap: place for place, cap in enumerate(cap_order(own))}
    rows = sorted(
        shown.to_dicts(), key=lambda row: (order[row["cap"]], list(RESPONSE_WORDS).index(row["response"]))
    )
    header = [
        "highest\nleverage", "traders' response", "freedom\n%", "liquidated, %\nof positions",
        "liquidated, %\nof notional", "shortfall\nper million", "losses of the\nliquidated\nper million",
        "turnover\ngiven up\n%", "beaten by\nanother cap" + ("\nin every book" if tried.books > 1 else ""),
    ]  # fmt: skip
    cells = [
        [
            cap_name(row["cap"]),
            RESPONSE_WORDS[row["response"]],
            percent(row["freedom"], 1),
            ranged(row, "liquidated_share"),
            ranged(row, "notional_share"),
            number(row["shortfall_per_million"], 1),
            number(row["losses_per_million"]),
            percent(row["turnover_given_up"], 1),
            "yes" if row["dominated"] else NOTHING,
        ]
        for row in rows
    ]
    caption = f"Caps on leverage, {history}, {FILL_WORDS[fill]}{tried.ranges}"
    return Table(caption, header, list(_alike_once(cells)), left=2)


def _alike_once(cells: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield the rows of caps and responses; one row of a cap under which no response makes a difference."""
    for cap, group in groupby(cells, key=lambda row: row[0]):
        rows = list(group)
        alike = len(rows) > 1 and all(row[2:] == rows[0][2:] for row in rows)
        yield from [[cap, ANY_RESPONSE, *rows[0][2:]]] if alike else rows


def _by_terms(tried: Tried, history: str) -> Table:
    own = tried.base("liquidation_fee", "fund", "procedure").filter(
        pl.col("cap").eq_missing(pl.lit(tried.loosest, pl.Float64)), history=history,
        response=tried.grid.responses[0],
    )  # fmt: skip
    header = [
        "book", "fee\n% of notional", "fund", "rest of\nthe margin", "fees\nper million", "returned\nper million",
        "shortfall\nper million", "lowest fund\nper million", "deleveraged\nper million", "first deleveraged",
    ]  # fmt: skip
    rows = [
        [
            row["book"],
            percent(row["liquidation_fee"], 2),
            number(row["fund"]),
            row["procedure"].replace("_", " "),
            number(row["fees_per_million"]),
            number(row["returned_per_million"]),
            number(row["shortfall_per_million"], 1),
            number(row["fund_lowest_per_million"]),
            number(row["adl_per_million"], 1),
            NOTHING if row["first_adl"] is None else moment(row["first_adl"]),
        ]
        for row in own.iter_rows(named=True)
    ]
    cap = cap_name(tried.loosest)
    caption = f"Fees and fund, {history}, highest leverage {cap}, {FILL_WORDS[tried.fill]}"
    return Table(caption, header, rows, left=1)


def _by_rules(tried: Tried, history: str) -> Table:
    own = tried.base("rate_scale", "change").filter(
        pl.col("cap").eq_missing(pl.lit(tried.loosest, pl.Float64)), history=history,
        response=tried.grid.responses[0],
    )  # fmt: skip
    header = [
        "other rules", "maintenance\nrates times", "liquidated, %\nof positions", "liquidated, %\nof notional",
        "shortfall\nper million", "losses of the\nliquidated\nper million",
    ]  # fmt: skip
    rows = [
        [
            row["change"],
            number(row["rate_scale"], 2),
            ranged(row, "liquidated_share"),
            ranged(row, "notional_share"),
            number(row["shortfall_per_million"], 1),
            number(row["losses_per_million"]),
        ]
        for row in tried.banded(own).iter_rows(named=True)
    ]
    caption = f"Maintenance, {history}, highest leverage {cap_name(tried.loosest)}, {FILL_WORDS[tried.fill]}"
    return Table(caption + tried.ranges, header, rows)


def _by_law(tried: Tried) -> Table:
    rows = [
        [
            row["sentence"],
            "must hold" if row["holds"] else "rule of thumb",
            number(row["compared"]),
            number(row["broken"]),
            NOTHING if row["largest"] is None else f"{percent(row['largest'], 1)}",
        ]
        for row in laws(tried.policies).filter(pl.col("compared") > 0).iter_rows(named=True)
    ]
    header = ["law", "", "pairs\ncompared", "broken", "at most by\n%"]
    return Table("What held, pair by pair of neighbouring values", header, rows, left=2)
