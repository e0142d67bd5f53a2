"""One account in liquidation: what each step of a venue's procedure does to it, at the prices of its trigger.

Prices stand still while the steps are taken; what a step closes is settled into the wallet,

    W = W + (s*d)*(fill - E) - (s*d)*(F - F_e),

collateral at the mark less its cost. A position's *own* equity counts what the venue's profit rule lets it
count; its bankruptcy price is where that is zero, P - s * equity / Q, all of it used for this position. Where
all positions go together each uses the share of its notional.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from backtest.engine.rulebook import Group
from backtest.rules.cross import Cross


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


class Closed(NamedTuple):
    """A part of a leg, or collateral, that a step closed."""

    step: str
    leg: int  #: row, -1 for collateral
    coin: int
    quantity: float
    price: float
    result: float  #: into the wallet


class Looked(NamedTuple):
    """The account as the test sees it: of a position whose profit alone counts, the one that is worst off."""

    equity: float
    maintenance_margin: float
    initial_margin: float
    whose: tuple[int, float] | None  #: symbol and side, None: all


class After(NamedTuple):
    """The account after a step."""

    step: str
    wallet: float
    looked: Looked
    positions: int
    restored: bool


Key = tuple[int, float]


@dataclass
class Account:
    """An account at the prices that liquidate it."""

    wallet: float
    parts: list[Part]
    coins: list[Coin]
    price: dict[int, float]
    funding: dict[int, float]
    order_margin: float
    cross: Cross
    profit: str
    strict: bool
    closed: list[Closed] = field(default_factory=list)
    steps: list[After] = field(default_factory=list)

    def positions(self) -> dict[Key, list[Part]]:
        """Return what is left by symbol and side."""
        found: dict[Key, list[Part]] = {}
        for part in self.parts:
            if part.quantity > 0:
                found.setdefault((part.symbol, part.side), []).append(part)
        return found

    def result(self, key: Key) -> float:
        """Return a position's unrealised result after funding."""
        return sum(self._result_of(part, part.quantity, self.price[part.symbol]) for part in self.positions()[key])

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

    def is_restored(self, looked: Looked) -> bool:
        """Whether the account may be given back to its holder."""
        level = looked.maintenance_margin
        if self.cross.restored_above == "initial":
            level = max(level, looked.initial_margin)
        return looked.equity > level or (self.strict and looked.equity == level)

    def liquidate(self) -> None:
        """Take the venue's steps until the account is restored or nothing is left."""
        taken: dict[str, Callable[[], None]] = {
            "cancel_orders": self._cancel_orders,
            "convert_collateral": self._convert_collateral,
            "self_trade": self._self_trade,
            "step_down_tiers": self._step_down_tiers,
            "reduce": self._reduce,
            "take_over": self._take_over,
            "close": self._close,
        }
        while self.positions():
            for step in self.cross.steps:
                before = (len(self.closed), self.wallet)
                taken[step]()
                if before == (len(self.closed), self.wallet):
                    continue
                looked = self.look()
                restored = self.is_restored(looked)
                self.steps.append(After(step, self.wallet, looked, len(self.positions()), restored))
                if restored or not self.positions():
                    return

    def maintenance_margin(self, key: Key) -> float:
        """Return what a position must keep."""
        parts, price = self.positions()[key], self.price[key[0]]
        quantity, size, group = _quantity(parts), self._size(parts), parts[0].group
        table, fee = group.table, group.contract.mark_fee_rate
        marked = size if group.contract.requirement_is_constant else quantity * price
        if table.model == "leverage":
            base = table.rate_factor / max(parts[0].leverage, 1.0) * marked
        elif table.model == "flat":
            base = float(table.rates[self._tier(parts)]) * marked
        else:
            base = float(np.max(group.rows.rate * marked - group.rows.amount))
        return base + fee * (quantity if group.contract.kind == "face_value" else quantity * price)

    def initial_margin(self, key: Key) -> float:
        """Return what opening a position would take: by its selected leverage, else the highest of its tier."""
        parts = self.positions()[key]
        constant = parts[0].group.contract.requirement_is_constant
        notional = self._size(parts) if constant else _quantity(parts) * self.price[key[0]]
        most = float(parts[0].group.table.max_leverages[self._tier(parts)])
        return notional / (most if np.isnan(parts[0].leverage) else parts[0].leverage)

    def _result_of(self, part: Part, quantity: float, price: float) -> float:
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
            return _quantity(parts)
        return sum(part.quantity * part.entry_price for part in parts)

    def _table_size(self, parts: list[Part]) -> float:
        """Return a size in the unit of its table; where tiers are marginal, the mark notional decides."""
        contract, table = parts[0].group.contract, parts[0].group.table
        if table.size == "contracts":
            return _quantity(parts) / table.contract_size
        if table.model == "marginal" and not contract.requirement_is_constant:
            return _quantity(parts) * self.price[parts[0].symbol]
        return self._size(parts)

    def _tier(self, parts: list[Part]) -> int:
        table = parts[0].group.table
        return 0 if table.model == "leverage" else int(table.tier_of(self._table_size(parts)))

    def _targets(self) -> list[Key]:
        """Return the positions that go first."""
        positions = self.positions()
        order, whose = self.cross.order, self.look().whose
        if order == "all" or not positions or (order == "triggered" and whose is None):
            return list(positions)
        if order == "triggered":
            assert whose is not None
            return [whose]
        if order == "largest_loss":
            return [min(positions, key=self.result)]
        return [max(positions, key=lambda key: _quantity(positions[key]) * self.price[key[0]])]

    def _bankruptcy_prices(self, targets: list[Key]) -> dict[Key, float]:
        """Return where equity is zero, for positions that use it up in proportion to their notional."""
        positions, equity = self.positions(), self.look().equity
        notional = {key: _quantity(positions[key]) * self.price[key[0]] for key in targets}
        whole = sum(notional.values())
        return {
            key: self.price[key[0]] - key[1] * equity * (value / whole) / _quantity(positions[key])
            for key, value in notional.items()
        }

    def _book_price(self, key: Key) -> float:
        return self.price[key[0]] * (1 - key[1] * self.cross.slippage)

    def _close_share(self, step: str, key: Key, share: float, price: float, fee: float = 0.0) -> None:
        """Close the same share of every leg of a position."""
        for part in self.positions()[key]:
            quantity = part.quantity if share >= 1 else part.quantity * share
            result = self._result_of(part, quantity, price) - fee * quantity * price
            self.wallet += result
            part.quantity -= quantity
            self.closed.append(Closed(step, part.row, -1, quantity, price, result))

    def _cancel_orders(self) -> None:
        self.wallet += self.order_margin
        self.order_margin = 0.0

    def _convert_collateral(self) -> None:
        for coin in self.coins:
            if coin.units != 0:
                price = self.price[coin.symbol]
                value = coin.units * price
                result = value - self.cross.conversion_cost * abs(value)
                self.wallet += result
                self.closed.append(Closed("convert_collateral", -1, coin.row, coin.units, price, result))
                coin.units = 0.0

    def _self_trade(self) -> None:
        positions = self.positions()
        for symbol in {key[0] for key in positions}:
            sides = {
                side: _quantity(positions[symbol, side]) for side in (1.0, -1.0) if (symbol, side) in positions
            }
            if len(sides) == 2:
                traded = min(sides.values())
                for side, quantity in sides.items():
                    fee = self.cross.self_trade_fee
                    self._close_share("self_trade", (symbol, side), traded / quantity, self.price[symbol], fee)

    def _step_down_tiers(self) -> None:
        for key in self._targets():
            while (tier := self._tier(parts := self.positions()[key])) > 0:
                table, size = parts[0].group.table, self._table_size(parts)
                floor = float(table.floors[tier])
                below = floor * (1 - 1e-12)  # just inside the lower tier, wherever a size on the boundary belongs
                price = self._bankruptcy_prices([key])[key]
                self._close_share("step_down_tiers", key, 1 - below / size, price)
                if self.is_restored(self.look()):
                    return

    def _reduce(self) -> None:
        targets = self._targets()
        for number in range(self.cross.rounds):
            for key in targets:
                share = 1 / (self.cross.rounds - number)
                self._close_share("reduce", key, share, self._book_price(key))
            if self.is_restored(self.look()):
                return

    def _take_over(self) -> None:
        prices = self._bankruptcy_prices(self._targets())
        for key, price in prices.items():
            self._close_share("take_over", key, 1.0, price)

    def _close(self) -> None:
        for key in self._targets():
            self._close_share("close", key, 1.0, self._book_price(key))


def _quantity(parts: list[Part]) -> float:
    return sum(part.quantity for part in parts)
