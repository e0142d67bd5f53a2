"""One account in liquidation: the steps of a venue's procedure, at the prices of its trigger.

Prices stand still while the steps are taken; what a step closes is settled into the wallet,

    W = W + (s*d)*(fill - E) - (s*d)*(F - F_e),

collateral at the mark less its cost. A takeover at the bankruptcy price, P - s * equity / Q, uses up the equity
that the profit rule lets the position use; of positions that go together each uses the share of its notional, or
of its maintenance margin. Every amount is rounded to a whole unit, and a takeover's is what is left when the
equity is taken off the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from backtest.engine.accounts.account import Key, Looked, Standing, quantity_of
from backtest.engine.money import split
from backtest.rules.cross import OF_POSITIONS, Cross

#: Share from which on all of a position is closed: what rounding would leave of it is no position.
WHOLE = 1 - 1e-12


class Closed(NamedTuple):
    """A part of a leg, or collateral, that a step closed."""

    step: str
    leg: int  #: row, -1 for collateral
    coin: int
    quantity: float
    price: float | None  #: None where no price uses up the equity
    result: int  #: into the wallet


class After(NamedTuple):
    """The account after a step."""

    step: str
    wallet: int
    looked: Looked
    positions: int
    restored: bool | None  #: None where no position remains


@dataclass
class Account(Standing):
    """An account at the prices that liquidate it."""

    order_margin: int
    cross: Cross
    strict: bool
    triggered: frozenset[Key]  #: positions that met the trigger
    closed: list[Closed] = field(default_factory=list)
    steps: list[After] = field(default_factory=list)

    def is_restored(self, looked: Looked) -> bool:
        """Whether liquidation stops and the holder regains control."""
        return self._is_enough(looked.equity, looked)

    def _is_enough(self, equity: int, looked: Looked) -> bool:
        """Whether an equity is above the margin that restores the account."""
        level = looked.maintenance_margin
        if self.cross.restored_above == "initial":
            level = max(level, looked.initial_margin or 0)
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

    def _take_over_share(self, step: str, targets: list[Key], share: float) -> None:
        """Close a share of positions at their bankruptcy prices: the same share of the equity they may use."""
        positions, equities = self.positions(), self.equities()
        by_margin = self.cross.equity_shared_by == "maintenance"
        notionals = (quantity_of(positions[key]) * self.price[key[0]] for key in targets)
        weights = [self.maintenance_margin(key) for key in targets] if by_margin else list(notionals)
        for number, key in enumerate(targets):
            equity = self.currency(equities[key]) * (weights[number] / sum(weights))
            price = self.price[key[0]] - key[1] * equity / quantity_of(positions[key])
            used = split(equities[key], weights)[number]
            self._close_share(step, key, share, price, used=used if share >= WHOLE else round(used * share))

    def _book_price(self, key: Key) -> float:
        """Return what an order in the book fills at: the mark, worse by the slippage."""
        symbol, side = key
        if symbol in self.inverse:
            return 1 / (self.mark[symbol] * (1 + side * self.cross.slippage))
        return self.mark[symbol] * (1 - side * self.cross.slippage)

    def _price_of(self, symbol: int, value: float) -> float | None:
        """Return the price that a value of the grid is of."""
        if symbol not in self.inverse:
            return value
        if value == self.price[symbol]:
            return self.mark[symbol]
        return 1 / value if value > 0 else None

    def _close_share(
        self, step: str, key: Key, share: float, price: float, *, fee: float = 0.0, used: int | None = None
    ) -> None:
        """Close the same share of every leg of a position, at a price, or at the mark less what is used up."""
        parts = self.positions()[key]
        uses = [0] * len(parts) if used is None else split(used, [part.quantity for part in parts])
        at = price if used is None else self.price[key[0]]
        for part, use in zip(parts, uses, strict=True):
            quantity = part.quantity if share >= WHOLE else part.quantity * share
            result = self.result_of(part, quantity, at, fee) - use
            self.wallet += result
            part.quantity -= quantity
            self.closed.append(Closed(step, part.row, -1, quantity, self._price_of(key[0], price), result))

    def _cancel_orders(self) -> None:
        self.wallet += self.order_margin
        self.order_margin = 0

    def _convert_collateral(self) -> None:
        for coin in self.coins:
            if coin.units != 0:
                price = self.price[coin.symbol]
                value = coin.units * price
                result = self.units(value - self.cross.conversion_cost * abs(value))
                self.wallet += result
                self.closed.append(Closed("convert_collateral", -1, coin.row, coin.units, price, result))
                coin.units = 0.0

    def _self_trade(self) -> None:
        positions = self.positions()
        for symbol in {key[0] for key in positions}:
            sides = {side: quantity_of(parts) for (own, side), parts in positions.items() if own == symbol}
            if len(sides) == 2:
                traded = min(sides.values())
                for side, quantity in sides.items():
                    share, fee = traded / quantity, self.cross.self_trade_fee
                    self._close_share("self_trade", (symbol, side), share, self.price[symbol], fee=fee)

    def _step_down_tiers(self, targets: list[Key]) -> None:
        for key in targets:
            while (tier := self.tier(parts := self.positions()[key])) > self.rules.tier_first[parts[0].group]:
                below = self.rules.floor[tier] * WHOLE  # inside the lower tier, wherever its boundary belongs
                self._take_over_share("step_down_tiers", [key], 1 - below / self.table_size(parts))
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
        self._take_over_share("take_over", targets, 1.0)

    def _close(self, targets: list[Key]) -> None:
        for key in targets:
            self._close_share("close", key, 1.0, self._book_price(key))
