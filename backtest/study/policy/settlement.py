"""Who pays: what liquidations leave, what they lack, and what a fund of a given size makes of it.

A settlement turns a book that was swept into money under given terms. There are two behind one protocol,
:class:`Settlement`: :class:`~backtest.study.policy.replay_settlement.Replayed` steps the book through a venue's
procedure in time
order, with orders, takeovers, a fund and deleveraging; the one here, :class:`FundPath`, is simple and stated
whole. Every liquidated position is closed at once at the sweep's fill, with equity e there:

- fee = min(fee rate x fill notional, max(e, 0)) goes to the fund;
- what remains, max(e, 0) - fee, goes back to its holder (``returned``) or to the fund (``to_fund``);
- shortfall = max(0, -e).

The fund begins with what it is given. Bar by bar, in order of time, all that bar's inflows come in, then its
shortfalls are paid as far as the fund reaches; it never falls below zero. What it cannot pay is the uncovered
deficit: what auto-deleveraging would have had to take. Nothing feeds back: closing moves no price, nothing is
closed in part, deleveraging ends no position. Results say so, in :attr:`Settlement.label`.

Amounts are whole units of the settlement currency: no sum depends on an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.frames import Time
from backtest.study.liquidations.flow import weight, whole_units

#: Procedures every settlement has: positions are closed whole and at once, nobody is deleveraged.
PROCEDURES = ("returned", "to_fund")


@dataclass(frozen=True)
class Terms:
    """What a venue takes from the liquidated, and what it has to pay with."""

    liquidation_fee: float | None = 0.0  #: of the notional closed, as far as equity reaches; None: the procedure's
    fund: float = 0.0  #: at the beginning, settlement currency
    procedure: str = (
        "returned"  #: one of the settlement's; ``returned``, ``to_fund``: where the rest of margins goes
    )

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        fee = 0.0 if self.liquidation_fee is None else self.liquidation_fee
        if not (0 <= fee < 1 and 0 <= self.fund < float("inf")):
            raise ArgumentError(f"terms need 0 <= liquidation_fee < 1 and a finite fund of zero or more: {self}")


@dataclass(frozen=True, eq=False)
class Run:
    """A book that was swept, and everything it takes to run it again.

    The sweep's venue returns what remains of a margin, whatever the terms: ``realised_pnl`` is known before them.
    """

    book: Book
    market: Market
    venue: Venue
    outcomes: pl.DataFrame
    unit: float = 0.01  #: amounts are whole numbers of it
    tiers: Tiers = "strict"
    fill_price: Literal["liquidation_price", "last_extreme"] = "liquidation_price"
    stop_trigger: Literal["mark", "last"] | None = None
    threads: int | None = None

    @cached_property
    def liquidated(self) -> Liquidated:
        """What the settlement needs of the liquidated rows."""
        left = pl.col("surviving_weight") if "surviving_weight" in self.outcomes.columns else weight(self.outcomes)
        equity = pl.col("equity_at_fill")
        step, first = int(self.market.intervals.min()), int(self.market.times.min())
        rows = self.outcomes.lazy().filter("liquidated").with_columns(left=left).select(
            bar=(pl.col("outcome_time").dt.epoch("ms") - first) // step,
            remainder=whole_units(equity.clip(lower_bound=0) * pl.col("left"), self.unit),
            shortfall=whole_units((-equity).clip(lower_bound=0) * pl.col("left"), self.unit),
            notional=pl.col("fill_notional") * pl.col("left") / self.unit,
            lost=whole_units(-pl.col("realised_pnl") * pl.col("left"), self.unit),
        ).collect()  # fmt: skip
        bars = (int(self.market.times.max()) - first) // step + 1
        arrays = {name: rows[name].to_numpy() for name in rows.columns}
        return Liquidated(**arrays, bars=bars, first=first, step=step)


@dataclass(frozen=True, eq=False)
class Liquidated:
    """The liquidated rows of a run, (n,) each, in units."""

    bar: Integers  #: counted in the shortest interval from the first opening
    bars: int
    first: int  #: ms
    step: int  #: ms
    remainder: Integers
    shortfall: Integers
    notional: Floats  #: at the fill
    lost: Integers  #: margin put in less what remained

    def times(self, bars: Integers) -> pl.Series:
        """Return the openings of some bars."""
        return pl.Series(self.first + bars * self.step).cast(Time)


@dataclass(frozen=True)
class Settled:
    """What terms made of a run, in settlement currency. Null is what a settlement knows nothing of."""

    traders_losses: float  #: of those whose liquidation began: margin put in less what they got back or still hold
    returned: float  #: that they got back of their margins, or still hold
    fees: float
    kept: float  #: what else the fund took in: remainders; in a replay also gains on what was taken over
    shortfall: float  #: beyond margins: what the fund paid, and ``adl``
    fund_lowest: float
    fund_end: float
    adl: float  #: of the shortfall, what the fund did not pay: given up, clawed back, or paid by nobody
    first_adl: datetime | None  #: when that began
    deficit: float  #: of ``adl``, what nobody paid; all of it where nobody is deleveraged
    begun: float | None = None  #: positions whose liquidation began
    released: float | None = None  #: of these, given back to their holders with a part left
    closed_notional: float | None = None  #: of these, what was closed, at the entry
    adl_notional: float | None = None  #: that counterparties had to close
    given_up: float | None = None  #: profit at the mark that they lost by it
    clawed_back: float | None = None  #: taken from others' unrealised profits
    backstop: float | None = None  #: what a backstop gained, what it still holds at the last mark


@runtime_checkable
class Settlement(Protocol):
    """Turns a run into money."""

    @property
    def label(self) -> str:
        """What the amounts rest on and leave out, said beside every result."""

    @property
    def procedures(self) -> Sequence[str]:
        """The procedures that terms may name."""

    def settle_each(self, run: Run, terms: Sequence[Terms]) -> Sequence[Settled]:
        """Return what each of some terms makes of a run."""


def require_procedures(settlement: Settlement, terms: Sequence[Terms]) -> None:
    """Refuse terms whose procedure a settlement does not have."""
    unknown = [each.procedure for each in terms if each.procedure not in settlement.procedures]
    if unknown:
        known = ", ".join(settlement.procedures)
        raise ArgumentError(
            f"procedure must be one of {known}, is {unknown[0]!r}, which this settlement does not know"
        )


@dataclass(frozen=True)
class FundPath:
    """The settlement of the module's docstring."""

    label: str = "fund path without feedback or partial liquidation"
    procedures: Sequence[str] = PROCEDURES

    def settle_each(self, run: Run, terms: Sequence[Terms]) -> list[Settled]:
        """Return what each of some terms makes of a run."""
        require_procedures(self, terms)
        return [self.settle(run, each) for each in terms]

    def settle(self, run: Run, terms: Terms) -> Settled:
        """Return what terms make of a run."""
        rows = run.liquidated
        fees, inflow = _taken(rows, terms)
        path = _path(rows, inflow, _whole(terms.fund, run.unit))
        first = int(np.argmax(path.uncovered > 0)) if path.uncovered[-1] else None
        units = {
            "traders_losses": rows.lost.sum() + inflow.sum(),
            "returned": rows.remainder.sum() - inflow.sum(),
            "fees": fees.sum(),
            "kept": inflow.sum() - fees.sum(),
            "shortfall": rows.shortfall.sum(),
            "fund_lowest": min(path.fund.min(), _whole(terms.fund, run.unit)),
            "fund_end": path.fund[-1],
            "adl": path.uncovered[-1],
            "deficit": path.uncovered[-1],
        }
        amounts = {name: float(amount * run.unit) for name, amount in units.items()}
        return Settled(**amounts, first_adl=None if first is None else rows.times(np.array([first]))[0])

    def path(self, run: Run, terms: Terms) -> pl.DataFrame:
        """Return the fund after each bar in which anything was liquidated.

        Returns
        -------
        ``time, inflow, shortfall, fund`` and ``uncovered``, the deficit so far that it could not pay.
        """
        rows = run.liquidated
        path = _path(rows, _taken(rows, terms)[1], _whole(terms.fund, run.unit))
        busy = np.unique(rows.bar)
        names = ("inflow", "shortfall", "fund", "uncovered")
        amounts = {name: getattr(path, name)[busy] * run.unit for name in names}
        return pl.DataFrame({"time": rows.times(busy), **amounts})


@dataclass(frozen=True, eq=False)
class _Path:
    """Bar by bar, in units."""

    inflow: Integers
    shortfall: Integers
    fund: Integers
    uncovered: Integers  #: so far


def _taken(rows: Liquidated, terms: Terms) -> tuple[Integers, Integers]:
    """Return the fee of each row, and all that goes to the fund."""
    rate = terms.liquidation_fee or 0.0
    fees = np.minimum(np.rint(rate * rows.notional).astype(np.int64), rows.remainder)
    return fees, rows.remainder if terms.procedure == "to_fund" else fees


def _path(rows: Liquidated, inflow: Integers, initial: int) -> _Path:
    comes, lacks = (_by_bar(rows, amounts) for amounts in (inflow, rows.shortfall))
    balance = initial + np.cumsum(comes - lacks)
    uncovered = np.maximum(np.maximum.accumulate(-balance), 0)  # the deepest a fund without a floor has been
    return _Path(comes, lacks, balance + uncovered, uncovered)


def _by_bar(rows: Liquidated, amounts: Integers) -> Integers:
    """Return sums by bar: whole numbers below 2^53, which float64 adds exactly."""
    return np.bincount(rows.bar, amounts, rows.bars).astype(np.int64)


def _whole(amount: float, unit: float) -> int:
    return round(amount / unit)
