"""One account at one set of prices: its positions, its equity as a profit rule counts it, the margins it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backtest.engine.rulebook import Group

Key = tuple[int, float]  # symbol and side of a position


@dataclass
class Part:
    """A leg, or the part of it that is left."""

    row: int  #: of the legs
    symbol: int
    side: float
    quantity: float
    entry_price: float
    entry_funding: float
    leverage: float  #: selected; NaN where none was given
    group: Group


@dataclass
class Coin:
    """Collateral or a debt, with its schedule of shares and credits."""

    row: int
    symbol: int
    units: float
    shares: tuple[tuple[float, float], ...]

    def worth(self, price: float) -> float:
        """Return what it counts as margin."""
        if self.units < 0 or not self.shares:
            return self.units * price
        return min(self.units * share * price + credit for share, credit in self.shares)


class Looked(NamedTuple):
    """The account as the test sees it: of a position whose profit alone counts, the one that is worst off."""

    equity: float
    maintenance_margin: float
    initial_margin: float
    whose: Key | None  #: None: all


@dataclass
class Standing:
    """An account at prices that stand still."""

    wallet: float
    parts: list[Part]
    coins: list[Coin]
    price: dict[int, float]
    funding: dict[int, float]
    profit: str

    def positions(self) -> dict[Key, list[Part]]:
        """Return what is left by symbol and side."""
        found: dict[Key, list[Part]] = {}
        for part in self.parts:
            if part.quantity > 0:
                found.setdefault((part.symbol, part.side), []).append(part)
        return found

    def result(self, key: Key) -> float:
        """Return a position's unrealised result after funding."""
        return sum(self.result_of(part, part.quantity, self.price[part.symbol]) for part in self.positions()[key])

    def look(self) -> Looked:
        """Return equity and margins as the profit rule counts them."""
        positions = self.positions()
        needed = sum(self.maintenance_margin(key) for key in positions)
        initial = sum(self.initial_margin(key) for key in positions)
        base = self.wallet + sum(coin.worth(self.price[coin.symbol]) for coin in self.coins)
        results = {key: self._counted(key) for key in positions}
        if self.profit != "own" or not positions:
            counted = sum(full if self.profit == "usable" else part for full, part in results.values())
            return Looked(base + counted, needed, initial, None)
        losses = sum(part for _, part in results.values())
        views = {key: base + losses - part + full for key, (full, part) in results.items()}
        whose = min(views, key=lambda key: views[key])
        return Looked(views[whose], needed, initial, whose)

    def maintenance_margin(self, key: Key) -> float:
        """Return what a position must keep."""
        parts, price = self.positions()[key], self.price[key[0]]
        quantity, size, group = quantity_of(parts), self._size(parts), parts[0].group
        table, fee = group.table, group.contract.mark_fee_rate
        marked = size if group.contract.requirement_is_constant else quantity * price
        if table.model == "leverage":
            base = table.rate_factor / max(parts[0].leverage, 1.0) * marked
        elif table.model == "flat":
            base = float(table.rates[self.tier(parts)]) * marked
        else:
            base = float(np.max(group.rows.rate * marked - group.rows.amount))
        return base + fee * (quantity if group.contract.kind == "face_value" else quantity * price)

    def initial_margin(self, key: Key) -> float:
        """Return what opening a position would take: by its selected leverage, else the highest of its tier."""
        parts = self.positions()[key]
        constant = parts[0].group.contract.requirement_is_constant
        notional = self._size(parts) if constant else quantity_of(parts) * self.price[key[0]]
        most = float(parts[0].group.table.max_leverages[self.tier(parts)])
        return notional / (most if np.isnan(parts[0].leverage) else parts[0].leverage)

    def result_of(self, part: Part, quantity: float, price: float) -> float:
        """Return what closing so much of a leg at a price brings, funding taken off."""
        amount = part.side * quantity
        paid = amount * (self.funding[part.symbol] - part.entry_funding)
        return amount * (price - part.entry_price) - paid

    def _counted(self, key: Key) -> tuple[float, float]:
        """Return a position's result in full, and with its price profit left out."""
        parts, price = self.positions()[key], self.price[key[0]]
        moved = sum(part.side * part.quantity * (price - part.entry_price) for part in parts)
        full = self.result(key)
        return full, full - max(0.0, moved)

    def _size(self, parts: list[Part]) -> float:
        """Return a size in settlement currency, as tiers count it."""
        if parts[0].group.contract.kind == "face_value":
            return quantity_of(parts)
        return sum(part.quantity * part.entry_price for part in parts)

    def table_size(self, parts: list[Part]) -> float:
        """Return a size in the unit of its table; where tiers are marginal, the mark notional decides."""
        contract, table = parts[0].group.contract, parts[0].group.table
        if table.size == "contracts":
            return quantity_of(parts) / table.contract_size
        if table.model == "marginal" and not contract.requirement_is_constant:
            return quantity_of(parts) * self.price[parts[0].symbol]
        return self._size(parts)

    def tier(self, parts: list[Part]) -> int:
        """Return the tier a position is in."""
        table = parts[0].group.table
        return 0 if table.model == "leverage" else int(table.tier_of(self.table_size(parts)))


def quantity_of(parts: list[Part]) -> float:
    """Return the quantity of legs together."""
    return sum(part.quantity for part in parts)
