"""Prices of one isolated position under the rules of a venue at its entry: liquidation, bankruptcy, takeover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.amounts import price as written
from backtest.kernel.types import Floats
from backtest.rules import margin as margins
from backtest.rules.contract import Contract, is_whole, on_tick
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue

#: Prices of the way to liquidation, as parts of it from the entry.
WAY = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)

#: Margins may be below the initial margin by their rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class PositionPrices:
    """A position and its prices; amounts in settlement currency, prices NaN where there is no positive one."""

    venue: Venue
    contract: Contract
    tier_table: TierTable
    tier_source: str  #: how the table comes to apply: as it is dated, or the rule that chose it
    side: int  #: +1 long, -1 short
    quantity: float
    entry_price: float
    margin: float
    leverage: float  #: as selected

    @property
    def arguments(self) -> dict[str, float]:
        """The position as keyword arguments of the functions of ``rules.margin``."""
        names = ("side", "quantity", "entry_price", "margin")
        return {name: getattr(self, name) for name in names}

    @property
    def symbol(self) -> str:
        """Symbol of the contract."""
        return self.contract.symbol

    @property
    def currency(self) -> str:
        """The settlement currency."""
        return self.venue.settlement_of(self.contract.symbol)

    @property
    def entry_notional(self) -> float:
        """Notional at the entry."""
        return float(self.notional(self.entry_price)[0])

    @property
    def initial_margin(self) -> float:
        """The smallest margin that opens the position."""
        return opening_margin(self.contract, self.side, self.quantity, self.entry_price, self.leverage)

    @cached_property
    def liquidation_price(self) -> float:
        """Price at which equity equals the maintenance margin."""
        found = margins.liquidation_price(self.contract, self.tier_table, leverage=self.leverage, **self.arguments)
        return float(found[0])

    @property
    def shown_liquidation_price(self) -> float:
        """The liquidation price to the venue's digits, where its tick is known."""
        return float(on_tick(self.contract, self.liquidation_price, self.side)[0])

    @cached_property
    def bankruptcy_price(self) -> float:
        """Price at which equity is zero, before any liquidation fee."""
        return float(margins.bankruptcy_price(self.contract, **self.arguments)[0])

    @cached_property
    def takeover_price(self) -> float:
        """Price that the venue's engine or backstop pays."""
        found = margins.takeover_price(
            self.venue, self.contract, self.tier_table, leverage=self.leverage, **self.arguments
        )
        return float(found[0])

    @cached_property
    def tier(self) -> int:
        """The tier used, counted from 0: at the liquidation price where the notional follows the mark."""
        if self.contract.follows_mark(self.tier_table) and np.isfinite(self.liquidation_price):
            return int(self.tier_table.tier_of(self.notional(self.liquidation_price))[0])
        return self.entry_tier

    @cached_property
    def entry_tier(self) -> int:
        """The tier of the size at the entry, counted from 0, whose leverage limit applies."""
        return int(self.tier_table.tier_of(self.size)[0])

    @property
    def rate(self) -> float:
        """The maintenance margin rate used."""
        return self.tier_table.rate_of(self.tier, self.leverage)

    @property
    def leverage_limit(self) -> float:
        """Highest leverage of the tier; infinite where the sources do not say."""
        return float(self.tier_table.max_leverages[self.entry_tier])

    @property
    def size(self) -> Floats:
        """Size as the table counts it, (1,)."""
        quantity, price = np.array([self.quantity]), np.array([self.entry_price])
        return margins.table_size(self.contract, self.tier_table, quantity=quantity, entry_price=price)

    @property
    def problems(self) -> list[str]:
        """What keeps the position from being opened, or from being liquidated, a sentence each."""
        problems = []
        if self.leverage > self.leverage_limit:
            problems.append(f"{plain(self.leverage)}x is above the limit: the venue would refuse it")
        if self.margin < self.initial_margin * (1 - ROUNDING):
            problems.append("the margin is below the initial margin: the position could not be opened")
        if not is_whole(self.contract, self.quantity):
            problems.append(
                f"{plain(self.quantity)} is no whole number of contracts of {plain(self.contract.lot)}: the "
                "venue would refuse it"
            )
        if self.liquidated_at(self.entry_price):
            problems.append("liquidated at its own entry price")
        if math.isnan(self.liquidation_price):
            problems.append("no positive price liquidates it: the margin covers the whole notional")
        return problems

    def notional(self, price: float) -> Floats:
        """Return the notional at a price, (1,)."""
        return margins.notional(self.contract, quantity=self.quantity, price=price)

    def equity(self, price: float) -> float:
        """Return margin plus unrealised result at a price."""
        return float(margins.equity(self.contract, price=price, **self.arguments)[0])

    def maintenance_margin(self, price: float) -> float:
        """Return the maintenance margin at a price."""
        found = margins.maintenance_margin(
            self.contract, self.tier_table, leverage=self.leverage, price=price, **self.arguments
        )
        return float(found[0])

    def liquidated_at(self, price: float) -> bool:
        """Return whether a price liquidates, by comparison with the liquidation price, free of rounding."""
        return self.side * (price - self.liquidation_price) <= 0

    def table(self, daily_volatility: float | None = None) -> pl.DataFrame:
        """Return the three prices and how far they are.

        Parameters
        ----------
        daily_volatility
            Standard deviation of a day's log returns; adds ``days_of_volatility``.

        Returns
        -------
        polars.DataFrame
            ``name`` (liquidation, bankruptcy, takeover), ``price``, ``move`` (a fraction of the entry price).
        """
        rows = {name: getattr(self, f"{name}_price") for name in ("liquidation", "bankruptcy", "takeover")}
        found = pl.DataFrame({"name": list(rows), "price": list(rows.values())}).with_columns(
            move=pl.col("price") / self.entry_price - 1
        )
        if daily_volatility is None:
            return found
        return found.with_columns(days_of_volatility=(pl.col("move") + 1).log().abs() / daily_volatility)

    def way(self, prices: Sequence[float] = ()) -> pl.DataFrame:
        """Return the position at given mark prices, or between entry and liquidation.

        Returns
        -------
        polars.DataFrame
            ``mark_price``, ``unrealised_result``, ``equity``, ``maintenance_margin``, ``equity_ratio`` (equity
            over maintenance margin; some venues show its reciprocal), ``liquidated``. Without rows where no prices
            are given and none liquidates the position.
        """
        far = self.liquidation_price
        at = list(map(float, prices))
        if not at and not math.isnan(far):
            at = [self.entry_price + part * (far - self.entry_price) for part in WAY[:-1]] + [far]
        rows = {
            "mark_price": at,
            "unrealised_result": [self.equity(price) - self.margin for price in at],
            "equity": [self.equity(price) for price in at],
            "maintenance_margin": [self.maintenance_margin(price) for price in at],
        }
        found = pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.Float64))
        return found.with_columns(
            equity_ratio=pl.col("equity") / pl.col("maintenance_margin"),
            liquidated=pl.Series([self.liquidated_at(price) for price in at], dtype=pl.Boolean),
        )

    def __repr__(self) -> str:
        side = "long" if self.side > 0 else "short"
        prices = ", ".join(f"{row['name']} {written(row['price'])}" for row in self.table().iter_rows(named=True))
        return (
            f"PositionPrices({self.venue.name} {self.symbol}, {side} {plain(self.quantity)} from "
            f"{written(self.entry_price)}, {plain(self.leverage, 4)}x, margin {written(self.margin)} "
            f"{self.currency}\n"
            f"  {prices}\n"
            f"  table {self.tier_table.name}, {self.tier_table.period} ({self.tier_source}))"
        )

    def _repr_html_(self) -> str:
        return str(self.table()._repr_html_())


def opening_margin(contract: Contract, side: int, quantity: float, entry_price: float, leverage: float) -> float:
    """Return the margin that a leverage asks for."""
    held = {"side": side, "quantity": quantity, "entry_price": entry_price, "leverage": leverage}
    return float(margins.initial_margin(contract, **held)[0])
