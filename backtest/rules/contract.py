"""Contract rules: payoff, notional that the maintenance margin is measured on, and liquidation trigger.

============  ===================================  ==================
kind          equity at price P                    notional
============  ===================================  ==================
linear        M + s q (P - E) - s q (F - F_e)      q P, in quote
inverse       M + s Q (1/E - 1/P) - s Q (F - F_e)  Q / P, in coin
face_value    as linear, P between 0 and 1         q, constant
============  ===================================  ==================

s is +1 long, -1 short; M margin, E entry price, F cumulative funding per unit. Quantities are in base currency
(linear), in quote currency (inverse) or in contracts that pay out 1 (face value).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.errors import RulesError
from backtest.kernel.choices import ContractKind, KeyedBy
from backtest.kernel.types import Floats
from backtest.rules.problems import Problems
from backtest.rules.tiers import ALWAYS_UNTIL, TierTable
from backtest.schemas.arguments import spelled
from backtest.schemas.conversion import converted
from backtest.shown import shown

#: Ticks that a price may lie beside a multiple of the tick by rounding of floats.
ALLOWANCE = 1e-9

CHOICES = {
    "kind": ContractKind.names(),
    "basis": ("mark", "entry"),
    "closing_fee": ("none", "at_mark", "at_bankruptcy"),
    "trigger": ("<=", "<"),
    "tick_rounding": ("nearest", "against_holder"),
}


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown()
class Contract:
    """Margin rules of one contract, with all its tier tables and their dates.

    Examples
    --------
    >>> contract.kind, contract.basis, len(contract.tables)
    ('linear', 'mark', 14)
    >>> contract.with_(maximum_leverage=20).table("2021-03-18").max_leverages.max().item()
    20.0
    """

    symbol: str
    tables: tuple[TierTable, ...]
    kind: Literal["linear", "inverse", "face_value"] = "linear"
    basis: Literal["mark", "entry"] = "mark"  #: price of the notional that the maintenance margin is taken on
    closing_fee: Literal["none", "at_mark", "at_bankruptcy"] = "none"  #: fee reserved on top
    closing_fee_rate: float = 0.0  #: fraction of the notional closed
    margin_includes_closing_fee: bool = False  #: margins hold the closing fee that the requirement reserves
    settlement: str = ""  #: currency of margin and notional where it is not the venue's, for labels
    trigger: Literal["<=", "<"] = "<="  #: liquidated when equity is at most, or only below, the maintenance margin
    tick: float = 0.0  #: step of the prices that the venue shows; 0: not known
    tick_rounding: Literal["nearest", "against_holder"] = "nearest"  #: of liquidation prices shown
    lot: float = 0.0  #: size of a contract, of which quantities are whole numbers; 0: not known
    note: str = ""
    like: str = ""  #: the symbol whose rules these are, as a substitute; empty: its own

    def __post_init__(self) -> None:
        """Put the tables in order of time, and refuse rules that contradict one another."""
        problems = Problems()
        problems.require_kinds(self)
        if not problems.found:
            object.__setattr__(self, "tables", _in_order(self.tables))
            self._check(problems)
        problems.raise_if_any(f"contract {self.symbol!r}")

    @property
    def requirement_is_constant(self) -> bool:
        """Whether the maintenance margin is fixed at entry and does not follow the mark price."""
        return self.basis == "entry" or self.kind == "face_value"

    @property
    def needs_leverages(self) -> bool:
        """Whether the requirement follows the mark at rates that depend on the selected leverage."""
        return not self.requirement_is_constant and not all(table.by_size for table in self.tables)

    def follows_mark(self, table: TierTable) -> bool:
        """Whether a position moves from tier to tier of a table with the mark price."""
        return table.keyed_by == KeyedBy.MARGINAL and not self.requirement_is_constant

    @property
    def mark_fee_rate(self) -> float:
        """Closing fee reserved on the notional at the mark."""
        return self.closing_fee_rate if self.closing_fee == "at_mark" else 0.0

    @property
    def bankruptcy_fee_rate(self) -> float:
        """Closing fee reserved on the notional at the bankruptcy price."""
        return self.closing_fee_rate if self.closing_fee == "at_bankruptcy" else 0.0

    @property
    def included_fee_rate(self) -> float:
        """Closing fee that a margin made from the leverage includes."""
        return self.bankruptcy_fee_rate if self.margin_includes_closing_fee else 0.0

    def table(self, name: str) -> TierTable:
        """Return a table by its name.

        Raises
        ------
        RulesError
            Where no table has that name; the message lists the tables.
        """
        for table in self.tables:
            if table.name == name:
                return table
        names = ", ".join(table.name for table in self.tables)
        raise RulesError(f"{self.symbol} has no tier table {name!r}: there are {names}")

    def with_(self, **changes: Any) -> Contract:
        """Return the contract with fields changed; ``maximum_leverage`` and ``rate_scale`` change every table."""
        tables = replace(self, tables=changes.pop("tables", self.tables)).tables  # checked
        maximum_leverage = converted(changes.pop("maximum_leverage", None), float | None, "maximum_leverage")
        rate_scale = converted(changes.pop("rate_scale", None), float | None, "rate_scale")
        if rate_scale is not None:
            tables = tuple(table.scaled(rate_scale) for table in tables)
        if maximum_leverage is not None:
            tables = tuple(table.capped(maximum_leverage) for table in tables)
        return replace(self, tables=tables, **changes)

    def _check(self, found: Problems) -> None:
        for name, choices in CHOICES.items():
            found.require_choice(name, getattr(self, name), choices)
        if not (np.isfinite(self.closing_fee_rate) and 0 <= self.closing_fee_rate < 1):
            found.add("closing_fee_rate", f"must lie between 0 and 1, is {self.closing_fee_rate}")
        elif (self.closing_fee == "none") != (self.closing_fee_rate == 0):
            found.add(
                "closing_fee_rate",
                f"is {plain(self.closing_fee_rate)} while closing_fee is {self.closing_fee!r}: one needs the "
                "other",
            )
        for name in ("tick", "lot"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                found.add(name, f"must be finite, zero or more, is {getattr(self, name)}")
        if self.margin_includes_closing_fee and self.closing_fee != "at_bankruptcy":
            found.add(
                "margin_includes_closing_fee",
                f"needs closing_fee = 'at_bankruptcy', which is {self.closing_fee!r}",
            )
        if not self.tables:
            found.add("tables", "there must be at least one")
        self._check_tables(found)

    def _check_tables(self, found: Problems) -> None:
        fee = self.mark_fee_rate if 0 <= self.closing_fee_rate < 1 else 0.0  # else refused already
        names = [table.name for table in self.tables]
        for number, table in enumerate(self.tables):
            path = f"tables[{number}]"
            if names.index(table.name) < number:
                found.add(f"{path}.name", f"{table.name!r} is used twice")
            highest = table.highest_rate
            if not highest + fee < 1:
                found.add(
                    path, f"rate and closing fee must add up to less than 1, are {plain(highest)} + {plain(fee)}"
                )
            if number and table.start < self.tables[number - 1].end:
                found.add(
                    f"{path}.from",
                    f"must not lie before the table above ends ({self.tables[number - 1].end:%Y-%m-%d}), "
                    f"is {table.start:%Y-%m-%d}",
                )


def on_tick(contract: Contract, price: Any, side: Any) -> Floats:
    """Return liquidation prices as the venue shows them, (n,); as they are where its tick is not known.

    Parameters
    ----------
    price : (n,) or one; NaN stays
    side : (n,) or one, +1 long, -1 short
    """
    exact = np.atleast_1d(np.asarray(price, np.float64))
    if contract.tick == 0:
        return exact
    ticks = exact / contract.tick
    slack = ALLOWANCE + 1e-15 * np.abs(ticks)
    if contract.tick_rounding == "nearest":
        whole = np.floor(ticks + 0.5 + slack)
    else:
        long = np.asarray(side) > 0
        whole = np.where(long, np.ceil(ticks - slack), np.floor(ticks + slack))
    rounded: Floats = np.round(whole * contract.tick, decimals(contract.tick))
    return rounded


def shown_prices(frame: pl.DataFrame, contract: Callable[[str], Contract]) -> pl.DataFrame:
    """Return outcomes with their ``liquidation_price`` as the venue shows it, by ``symbol`` and ``side``."""
    prices = frame["liquidation_price"].to_numpy().copy()
    symbols, long = frame["symbol"].to_numpy(), (frame["side"].cast(pl.String) == "long").to_numpy()
    for symbol in frame["symbol"].unique():
        rows = symbols == symbol
        prices[rows] = on_tick(contract(symbol), prices[rows], np.where(long[rows], 1, -1))
    return frame.with_columns(liquidation_price=pl.Series(prices).fill_nan(None))


def decimals(step: float) -> int:
    """Return how many decimals a step has: 1 of 0.5, 0 of 10."""
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def is_whole(contract: Contract, quantity: float) -> bool:
    """Return whether a quantity is a whole number of contracts; true where their size is not known."""
    if contract.lot == 0:
        return True
    count = quantity / contract.lot
    return count >= 0.5 and abs(count - round(count)) <= ALLOWANCE * max(1.0, count)


def tick_sentence(contract: Contract) -> str:
    """Return how the venue rounds the liquidation prices that it shows."""
    how = {"nearest": "to the nearest", "against_holder": "up for a long, down for a short"}[
        contract.tick_rounding
    ]
    return f"{plain(contract.tick)}: liquidation prices are shown rounded {how}, never calculated so"


def _in_order(tables: tuple[TierTable, ...]) -> tuple[TierTable, ...]:
    """Return the tables in order of time.

    Announced dates cut off those of a table that was seen; a table announced without an end ends with the next.
    Copies of one table from several sources, seen in periods that overlap, are one table, named by the earliest.
    """
    found: list[TierTable] = []
    for table in sorted(tables, key=lambda table: table.start):
        above = found[-1] if found else None
        if above is not None and _seen_together(above, table):
            found[-1] = replace(above, end=max(above.end, table.end))
            continue
        if above is not None and above.start < table.start < above.end:
            if (above.dated, table.dated) == ("announced", "seen") and above.end < ALWAYS_UNTIL:
                if table.end <= above.end:
                    continue
                table = replace(table, start=above.end)
            elif (above.dated == "announced" and above.end == ALWAYS_UNTIL) or (
                (above.dated, table.dated) == ("seen", "announced")
            ):
                found[-1] = replace(above, end=table.start)
        found.append(table)
    return tuple(found)


def _seen_together(above: TierTable, table: TierTable) -> bool:
    """Whether two tables are copies of one, seen in periods that leave no day between them."""
    return above.dated == table.dated == "seen" and table.start <= above.end and above.same_as(table)
