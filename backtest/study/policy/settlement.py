"""Settlement of a swept book: remaining margins, shortfalls, and the path of an insurance fund.

A settlement turns the outcomes of a sweep into money under given terms. There are two, both following the protocol
:class:`Settlement`. :class:`~backtest.study.policy.replay_settlement.Replayed` steps the book through a venue's
procedure in time order, with orders, takeovers, a fund and ADL. :class:`FundPath`, here, is simple: every
liquidated position is closed at once at the sweep's fill, with equity e there:

- fee = min(fee rate x fill notional, max(e, 0)) goes to the fund;
- the remaining margin, max(e, 0) - fee, goes back to its holder (``returned``) or to the fund (``to_fund``);
- shortfall = max(0, -e).

The fund begins with the given amount. Bar by bar, in order of time, all of the bar's inflows are added, then its
shortfalls are paid as far as the fund reaches; the fund never falls below zero. The part it cannot pay is the
uncovered deficit, which ADL would have had to cover. There is no feedback: closing moves no price, no position is
closed in part, ADL ends no position. Results say so, in :attr:`Settlement.label`.

Amounts are whole units of the settlement currency: no sum depends on an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.conventions import USUAL, Conventions
from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.frames import Time
from backtest.study.liquidations.exact_sums import weight
from backtest.study.units import countable, whole_units

#: Procedures every settlement has: positions are fully closed at once, without ADL.
PROCEDURES = ("returned", "to_fund")


@dataclass(frozen=True)
class Terms:
    """A venue's fee on liquidations, its insurance fund and its procedure."""

    liquidation_fee: float | None = 0.0  #: of the notional closed, as far as equity reaches; None: the procedure's
    fund: float = 0.0  #: at the beginning, settlement currency
    procedure: str = "returned"  #: one of the settlement's; ``returned``, ``to_fund``: where remaining margins go

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        fee = 0.0 if self.liquidation_fee is None else self.liquidation_fee
        if not (0 <= fee < 1 and 0 <= self.fund < float("inf")):
            raise ArgumentError(f"terms need 0 <= liquidation_fee < 1 and a finite fund of zero or more: {self}")


@dataclass(frozen=True, eq=False)
class Run:
    """A swept book, with all arguments of the sweep.

    The sweep's venue returns remaining margins, whatever the terms: ``realised_pnl`` does not depend on them.
    """

    book: Book
    market: Market
    venue: Venue
    outcomes: pl.DataFrame
    unit: float = 0.01  #: amounts are whole numbers of it
    conventions: Conventions = USUAL  #: that it was swept under
    threads: int | None = None

    @cached_property
    def liquidated(self) -> Liquidated:
        """The liquidated rows, in units."""
        left = pl.col("surviving_weight") if "surviving_weight" in self.outcomes.columns else weight(self.outcomes)
        equity = pl.col("equity_at_fill")
        step, first = int(self.market.intervals.min()), int(self.market.times.min())
        rows = self.outcomes.lazy().filter("liquidated").with_columns(left=left).select(
            bar=(pl.col("outcome_time").dt.epoch("ms") - first) // step,
            remainder=whole_units(equity.clip(lower_bound=0) * pl.col("left"), self.unit),
            shortfall=whole_units((-equity).clip(lower_bound=0) * pl.col("left"), self.unit),
            notional=pl.col("fill_notional") * pl.col("left") / self.unit,
            closed=whole_units(pl.col("fill_notional") * pl.col("left"), self.unit),
            lost=whole_units(-pl.col("realised_pnl") * pl.col("left"), self.unit),
        ).collect()  # fmt: skip
        rows = rows.with_columns(countable(rows.select("remainder", "shortfall", "closed", "lost"))).drop("closed")
        bars = (int(self.market.times.max()) - first) // step + 1
        arrays = {name: rows[name].to_numpy() for name in rows.columns}
        return Liquidated(**arrays, bars=bars, first=first, step=step)


@dataclass(frozen=True, eq=False)
class Liquidated:
    """The liquidated rows of a run, (n,) each, in units."""

    bar: Integers  #: counted in the shortest interval from the first open time
    bars: int
    first: int  #: ms
    step: int  #: ms
    remainder: Integers
    shortfall: Integers
    notional: Floats  #: at the fill
    lost: Integers  #: margin put in less what remained

    def times(self, bars: Integers) -> pl.Series:
        """Return the open times of bars."""
        return pl.Series(self.first + bars * self.step).cast(Time)


@dataclass(frozen=True)
class Settled:
    """Money flows of a run under given terms, in settlement currency. Null: this settlement does not know it."""

    traders_losses: float  #: of liquidated traders: margin put in less margin got back or still held
    returned: float  #: margin they got back or still hold
    fees: float
    kept: float  #: other income of the fund: remaining margins; in a replay also gains on positions taken over
    shortfall: float  #: losses beyond margins: payments of the fund, and ``adl``
    fund_lowest: float
    fund_end: float
    adl: float  #: part of the shortfall the fund did not pay: given up, clawed back, or the uncovered deficit
    first_adl: datetime | None  #: when that began
    deficit: float  #: uncovered part of ``adl``; all of it where there is no ADL
    begun: float | None = None  #: positions whose liquidation began
    begun_fees: float | None = None  #: part of ``fees`` that these paid
    released: float | None = None  #: of these, given back to their holders with a part left
    closed_notional: float | None = None  #: closed notional of these, at the entry
    adl_notional: float | None = None  #: that counterparties had to close
    given_up: float | None = None  #: profit at the mark that they lost by it
    clawed_back: float | None = None  #: taken from others' unrealised profits
    backstop: float | None = None  #: result of a backstop, its open positions valued at the last mark


@runtime_checkable
class Settlement(Protocol):
    """Turns a run into money."""

    @property
    def label(self) -> str:
        """Assumptions and limits of the amounts, printed beside every result."""

    @property
    def procedures(self) -> Sequence[str]:
        """The procedures that terms may name."""

    def settle_each(self, run: Run, terms: Sequence[Terms]) -> Sequence[Settled]:
        """Return the result of a run under each of the terms."""


def require_procedures(settlement: Settlement, terms: Sequence[Terms]) -> None:
    """Refuse terms whose procedure a settlement does not have."""
    unknown = [each.procedure for each in terms if each.procedure not in settlement.procedures]
    if unknown:
        known = ", ".join(settlement.procedures)
        raise ArgumentError(
            f"must be one of {known}, is {unknown[0]!r}, unknown to this settlement", argument="procedure"
        )


def require_fill(settlement: Settlement, fill: str) -> None:
    """Refuse a fill that is not among a settlement's ``fills``; without that attribute it settles any."""
    known = getattr(settlement, "fills", (fill,))
    if fill not in known:
        raise ArgumentError(
            f"must be of {', '.join(known)}, one is {fill!r}: this settlement has orders of its own",
            argument="fills",
        )


def mean_of(settled: Sequence[Settled]) -> Settled:
    """Return mean amounts, and the earliest time that a fund could not pay."""
    if len(settled) == 1:
        return settled[0]
    amounts: dict[str, Any] = {}
    for item in fields(Settled):
        values = [getattr(each, item.name) for each in settled]
        known = [value for value in values if value is not None]
        if item.name == "first_adl":
            amounts[item.name] = min(known, default=None)
        else:
            amounts[item.name] = sum(known) / len(known) if known else None
    return Settled(**amounts)


@dataclass(frozen=True)
class FundPath:
    """The settlement without feedback; :mod:`~backtest.study.policy.settlement` defines it.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.FundPath().label
    'fund path without feedback or partial liquidation'
    """

    label: str = "fund path without feedback or partial liquidation"
    procedures: Sequence[str] = PROCEDURES
    fills: Sequence[str] = ("liquidation_price", "delayed", "worst_price")

    def settle_each(self, run: Run, terms: Sequence[Terms]) -> list[Settled]:
        """Return the result of a run under each of the terms."""
        require_procedures(self, terms)
        return [self.settle(run, each) for each in terms]

    def settle(self, run: Run, terms: Terms) -> Settled:
        """Return the result of a run under one set of terms."""
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
        """Return the fund after each bar with liquidations.

        Returns
        -------
        ``time, inflow, shortfall, fund`` and ``uncovered``, the deficit so far.
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
    """Return the fee of each row, and its whole inflow to the fund."""
    rate = terms.liquidation_fee or 0.0
    fees = np.minimum(np.rint(rate * rows.notional).astype(np.int64), rows.remainder)
    return fees, rows.remainder if terms.procedure == "to_fund" else fees


def _path(rows: Liquidated, inflow: Integers, initial: int) -> _Path:
    paid_in, due = (_by_bar(rows, amounts) for amounts in (inflow, rows.shortfall))
    balance = initial + np.cumsum(paid_in - due)
    uncovered = np.maximum(np.maximum.accumulate(-balance), 0)  # the deepest a fund without a floor has been
    return _Path(paid_in, due, balance + uncovered, uncovered)


def _by_bar(rows: Liquidated, amounts: Integers) -> Integers:
    """Return sums by bar: whole numbers below 2^53, which float64 adds exactly."""
    return np.bincount(rows.bar, amounts, rows.bars).astype(np.int64)


def _whole(amount: float, unit: float) -> int:
    return round(amount / unit)
