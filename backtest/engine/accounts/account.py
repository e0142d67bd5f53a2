"""One account at one set of prices: positions, equity under a profit rule, required margins.

Money is counted in whole units, as a replay counts it: what is used up leaves exactly nothing. Prices are the
values of the sweep's grid: a position of an inverse contract is a linear one of the other side in 1 / price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backtest.engine.money import currency, units
from backtest.kernel.accounts.terms import reserved_fee, size_of
from backtest.kernel.arrays import Rules
from backtest.kernel.margin import formula, tiers

Key = tuple[int, float]  # symbol and side of a position


@dataclass
class Part:
    """A leg, or its remaining part."""

    row: int  #: of the legs
    symbol: int
    side: float  #: of an inverse contract the other one
    quantity: float
    entry_price: float  #: 1 / price of an inverse contract
    entry_funding: float
    leverage: float  #: selected; NaN where none was given
    group: int  #: rules by the entry
    lot: float = 0.0  #: size of a contract, of which the quantity is a whole number; 0: not known


@dataclass
class Coin:
    """Collateral or a debt, with its schedule of shares and credits."""

    row: int
    symbol: int
    units: float
    shares: tuple[tuple[float, float], ...]

    def worth(self, price: float) -> float:
        """Return its value as margin."""
        if self.units < 0 or not self.shares:
            return self.units * price
        return min(self.units * share * price + credit for share, credit in self.shares)


class Looked(NamedTuple):
    """The account as the test sees it."""

    equity: int  #: of the position that may use least
    maintenance_margin: int
    initial_margin: int | None  #: None where the leverage of a position is not known


@dataclass
class Standing:
    """An account at fixed prices; money in whole units."""

    rules: Rules
    wallet: int
    parts: list[Part]
    coins: list[Coin]
    mark: dict[int, float]
    price: dict[int, float]  #: the mark prices, 1 / price of an inverse contract
    funding: dict[int, float]  #: sums, -F of an inverse contract
    profit: str
    unit: float  #: whole units to one of settlement currency
    inverse: frozenset[int]  #: symbols of inverse contracts

    def units(self, amount: float) -> int:
        """Return an amount in whole units."""
        return units(amount, self.unit)

    def currency(self, amount: int) -> float:
        """Return whole units in settlement currency."""
        return currency(amount, self.unit)

    def positions(self) -> dict[Key, list[Part]]:
        """Return the remaining positions by symbol and side."""
        found: dict[Key, list[Part]] = {}
        for part in self.parts:
            if part.quantity > 0:
                found.setdefault((part.symbol, part.side), []).append(part)
        return found

    def result(self, key: Key) -> int:
        """Return a position's unrealised result after funding."""
        return sum(self.result_of(part, part.quantity, self.price[part.symbol]) for part in self.positions()[key])

    def equities(self) -> dict[Key, int]:
        """Return the equity that each position may use, by the profit rule."""
        results = {key: self._counted(key) for key in self.positions()}
        shared = self._base() + sum(full if self.profit == "shared" else part for full, part in results.values())
        if self.profit != "per_position":
            return dict.fromkeys(results, shared)
        return {key: shared - part + full for key, (full, part) in results.items()}

    def look(self) -> Looked:
        """Return equity and margins as the profit rule counts them."""
        positions = self.positions()
        needed = sum(self.units(self.maintenance_margin(key)) for key in positions)
        initial = [self.initial_margin(key) for key in positions]
        known = None if np.isnan(initial).any() else sum(self.units(margin) for margin in initial)
        return Looked(min(self.equities().values(), default=self._base()), needed, known)

    def maintenance_margin(self, key: Key) -> float:
        """Return the maintenance margin of a position."""
        parts, rules, base = self.positions()[key], self.rules, 0.0
        group, leverage, quantity, size = parts[0].group, parts[0].leverage, quantity_of(parts), self._size(parts)
        first, last = tiers.own_tiers(rules, group, quantity, size, leverage)
        if rules.constant[group]:
            base = tiers.constant_requirement(rules, group, first, last, size, leverage)
        kept: float = formula.maintenance_margin(
            rules.kind[group], quantity, self.price[key[0]], rules.rate, rules.amount, first, last,
            rules.constant[group], base, self._reserved(parts), rules.fee[group],
        )  # fmt: skip
        return kept

    def initial_margin(self, key: Key) -> float:
        """Return the initial margin by the selected leverage, else the tier's highest; NaN without either."""
        parts = self.positions()[key]
        constant = self.rules.constant[parts[0].group]
        notional = self._size(parts) if constant else quantity_of(parts) * self.price[key[0]]
        most = self.rules.max_leverage[self.tier(parts)]
        leverage = parts[0].leverage if np.isfinite(parts[0].leverage) else most
        return float(notional / leverage) if np.isfinite(leverage) else np.nan

    def result_of(self, part: Part, quantity: float, price: float, fee: float = 0.0) -> int:
        """Return the result of closing a quantity of a leg at a price, after funding and a fee on the notional."""
        amount = part.side * quantity
        paid = amount * (self.funding[part.symbol] - part.entry_funding)
        return self.units(amount * (price - part.entry_price) - paid - fee * quantity * price)

    def _reserved(self, parts: list[Part]) -> float:
        """Return the closing fee that a position reserves at the bankruptcy price of its margin."""
        first, cost = parts[0], cost_of(parts)
        leverage = first.leverage if np.isfinite(first.leverage) else 0.0
        wallet = self.currency(self.wallet)
        return float(reserved_fee(self.rules, first.group, first.side, quantity_of(parts), cost, leverage, wallet))

    def _base(self) -> int:
        """Return wallet and collateral, as margin."""
        return self.wallet + sum(self.units(coin.worth(self.price[coin.symbol])) for coin in self.coins)

    def _counted(self, key: Key) -> tuple[int, int]:
        """Return a position's result in full, and with its price profit left out."""
        parts, price = self.positions()[key], self.price[key[0]]
        moved = sum(part.side * part.quantity * (price - part.entry_price) for part in parts)
        full = self.result(key)
        return full, full - max(0, self.units(moved))

    def _size(self, parts: list[Part]) -> float:
        """Return a size in settlement currency, as tiers count it."""
        return float(size_of(self.rules, parts[0].group, quantity_of(parts), cost_of(parts)))

    def table_size(self, parts: list[Part]) -> float:
        """Return a size in the unit of its table; where tiers are marginal, the mark notional decides."""
        quantity = quantity_of(parts)
        marked = quantity * self.price[parts[0].symbol]
        return float(tiers.size_now(self.rules, parts[0].group, quantity, self._size(parts), marked))

    def tier(self, parts: list[Part]) -> int:
        """Return the tier a position is in, counted over all tables."""
        return int(tiers.tier_by_size(self.rules, parts[0].group, self.table_size(parts)))


def quantity_of(parts: list[Part]) -> float:
    """Return the quantity of legs together."""
    return sum(part.quantity for part in parts)


def cost_of(parts: list[Part]) -> float:
    """Return the entry notional of legs together."""
    return sum(part.quantity * part.entry_price for part in parts)
