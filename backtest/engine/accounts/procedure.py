"""One account in liquidation: the steps of a venue's procedure, at the prices of its trigger.

Prices stand still while the steps are taken; what a step closes is settled into the wallet,

    W = W + (s*d)*(fill - E) - (s*d)*(F - F_e),

collateral at the mark less its cost. A takeover at the bankruptcy price, P - s * equity / Q, uses up the equity
that the profit rule lets the position use; of positions that go together each uses the share of its notional.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from backtest.engine.accounts.account import Key, Looked, Standing, quantity_of
from backtest.rules.cross import OF_POSITIONS, Cross


class Closed(NamedTuple):
    """A part of a leg, or collateral, that a step closed."""

    step: str
    leg: int  #: row, -1 for collateral
    coin: int
    quantity: float
    price: float
    result: float  #: into the wallet


class After(NamedTuple):
    """The account after a step."""

    step: str
    wallet: float
    looked: Looked
    positions: int
    restored: bool | None  #: None where no position remains


@dataclass
class Account(Standing):
    """An account at the prices that liquidate it."""

    order_margin: float
    cross: Cross
    strict: bool
    triggered: frozenset[Key]  #: positions that met the trigger
    closed: list[Closed] = field(default_factory=list)
    steps: list[After] = field(default_factory=list)

    def is_restored(self, looked: Looked) -> bool:
        """Whether liquidation stops and the holder regains control."""
        return self._is_enough(looked.equity, looked)

    def _is_enough(self, equity: float, looked: Looked) -> bool:
        """Whether an equity is above the margin that restores the account."""
        level = looked.maintenance_margin
        if self.cross.restored_above == "initial":
            level = max(level, looked.initial_margin)
        return equity > level or (self.strict and equity == level)

    def liquidate(self) -> None:
        """Take the venue's steps, for one position or group after another, until restored or fully closed."""
        while self.positions() and not self._take_steps():
            pass

    def _take_steps(self) -> bool:
        """Take the steps for the positions that are first in order; return whether the liquidation ends."""
        targets: list[Key] = []
        for step in self.cross.steps:
            if step in OF_POSITIONS and not targets:
                targets = self._targets()
            before = (len(self.closed), self.wallet)
            self._take(step, [key for key in targets if key in self.positions()])
            if before == (len(self.closed), self.wallet):
                continue
            looked, left = self.look(), self.positions()
            restored = self.is_restored(looked) if left else None
            self.steps.append(After(step, self.wallet, looked, len(left), restored))
            if restored or not left:
                return True
            if targets and not any(key in left for key in targets):
                break
        return False

    def _take(self, step: str, targets: list[Key]) -> None:
        """Take one step: for the whole account, or for the given positions."""
        taken: dict[str, Callable[[], None]] = {
            "cancel_orders": self._cancel_orders,
            "convert_collateral": self._convert_collateral,
            "self_trade": self._self_trade,
            "step_down_tiers": partial(self._step_down_tiers, targets),
            "reduce": partial(self._reduce, targets),
            "take_over": partial(self._take_over, targets),
            "close": partial(self._close, targets),
        }
        taken[step]()

    def _targets(self) -> list[Key]:
        """Return the positions that are closed first."""
        positions, order = self.positions(), self.cross.order
        if order == "all":
            return list(positions)
        if order == "largest_loss":
            return [min(positions, key=self.result)]
        if order == "largest_notional":
            return [max(positions, key=lambda key: quantity_of(positions[key]) * self.price[key[0]])]
        looked = self.look()
        return [key for key in positions if key in self.triggered] or [
            next(key for key, equity in self.equities().items() if not self._is_enough(equity, looked))
        ]

    def _bankruptcy_prices(self, targets: list[Key]) -> dict[Key, float]:
        """Return where each position's equity is used up, of several the share of its notional."""
        positions, equities = self.positions(), self.equities()
        notional = {key: quantity_of(positions[key]) * self.price[key[0]] for key in targets}
        whole = sum(notional.values())
        return {
            key: self.price[key[0]] - key[1] * equities[key] * (value / whole) / quantity_of(positions[key])
            for key, value in notional.items()
        }

    def _book_price(self, key: Key) -> float:
        return self.price[key[0]] * (1 - key[1] * self.cross.slippage)

    def _close_share(self, step: str, key: Key, share: float, price: float, fee: float = 0.0) -> None:
        """Close the same share of every leg of a position."""
        for part in self.positions()[key]:
            quantity = part.quantity if share >= 1 else part.quantity * share
            result = self.result_of(part, quantity, price) - fee * quantity * price
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
                side: quantity_of(positions[symbol, side]) for side in (1.0, -1.0) if (symbol, side) in positions
            }
            if len(sides) == 2:
                traded = min(sides.values())
                for side, quantity in sides.items():
                    fee = self.cross.self_trade_fee
                    self._close_share("self_trade", (symbol, side), traded / quantity, self.price[symbol], fee)

    def _step_down_tiers(self, targets: list[Key]) -> None:
        for key in targets:
            while (tier := self.tier(parts := self.positions()[key])) > self.rules.tier_first[parts[0].group]:
                size = self.table_size(parts)
                below = self.rules.floor[tier] * (
                    1 - 1e-12
                )  # just inside the lower tier, wherever a size on the boundary belongs
                price = self._bankruptcy_prices([key])[key]
                self._close_share("step_down_tiers", key, 1 - below / size, price)
                if self.is_restored(self.look()):
                    return

    def _reduce(self, targets: list[Key]) -> None:
        for number in range(self.cross.rounds):
            for key in targets:
                share = 1 / (self.cross.rounds - number)
                self._close_share("reduce", key, share, self._book_price(key))
            if self.is_restored(self.look()):
                return

    def _take_over(self, targets: list[Key]) -> None:
        prices = self._bankruptcy_prices(targets)
        for key, price in prices.items():
            self._close_share("take_over", key, 1.0, price)

    def _close(self, targets: list[Key]) -> None:
        for key in targets:
            self._close_share("close", key, 1.0, self._book_price(key))
