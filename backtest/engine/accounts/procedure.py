"""One account in liquidation: the steps of a venue's procedure, at the prices of its trigger.

Prices stand still while the steps are taken; what a step closes is settled into the wallet,

    W = W + (s*d)*(fill - E) - (s*d)*(F - F_e),

collateral at the mark less its cost. A takeover at the bankruptcy price, P - s * equity / Q, uses up the equity
that the profit rule lets the position use; of positions that go together each uses the share of its notional, or
of its maintenance margin. Every amount is rounded to a whole unit, and a takeover's is what is left when the
equity is taken off the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from backtest.engine.accounts.account import Key, Looked, Part, Standing, quantity_of
from backtest.engine.accounts.whole_contracts import (
    as_whole,
    at_least,
    contracts_of,
    quantity_of_contracts,
    spread,
    without,
)
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

    def _take_over_share(self, step: str, targets: list[Key], share: float | Fraction) -> None:
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
        self,
        step: str,
        key: Key,
        share: float | Fraction,
        price: float,
        *,
        fee: float = 0.0,
        used: int | None = None,
    ) -> None:
        """Close the same share of every leg of a position, at a price, or at the mark less what is used up."""
        parts = self.positions()[key]
        quantities = _quantities(parts, share)
        weights = quantities if parts[0].lot else [part.quantity for part in parts]
        uses = [0] * len(parts) if used is None else split(used, weights)
        at = price if used is None else self.price[key[0]]
        for part, quantity, use in zip(parts, quantities, uses, strict=True):
            if part.lot and quantity == 0:
                continue
            result = self.result_of(part, quantity, at, fee) - use
            self.wallet += result
            part.quantity = as_whole(part.quantity - quantity, part.lot)
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
            sides = {side: parts for (own, side), parts in positions.items() if own == symbol}
            if len(sides) == 2:
                held = {side: _amount(parts) for side, parts in sides.items()}
                traded = min(held.values())
                for side, amount in held.items():
                    share = _share(traded, amount)
                    fee, price = self.cross.self_trade_fee, self.price[symbol]
                    self._close_share("self_trade", (symbol, side), share, price, fee=fee)

    def _step_down_tiers(self, targets: list[Key]) -> None:
        for key in targets:
            while (parts := self.positions().get(key)) and self.tier(parts) > self.rules.tier_first[
                parts[0].group
            ]:
                self._take_over_share("step_down_tiers", [key], self._share_above(parts))
                if self.is_restored(self.look()):
                    return

    def _is_above_first(self, parts: list[Part]) -> bool:
        """Return whether a position is above the first tier of its table."""
        return self.tier(parts) > int(self.rules.tier_first[parts[0].group])

    def _share_above(self, parts: list[Part]) -> float | Fraction:
        """Return the share of a position that must go for the rest to be in a lower tier."""
        tier, size = self.tier(parts), self.table_size(parts)
        floor = self.rules.floor[tier]
        if parts[0].lot == 0:
            return float(1 - floor * WHOLE / size)  # inside the lower tier, wherever its boundary belongs
        total, closed = sum(contracts_of(parts)), at_least(parts, size, floor)
        while closed < total and self.tier(without(parts, closed)) >= tier:
            closed += 1
        return Fraction(closed, total)

    def _reduce(self, targets: list[Key]) -> None:
        first = {key: _amount(self.positions()[key]) for key in targets}
        for number in range(self.cross.rounds):
            for key in targets:
                if share := _share_of_round(first[key], number, self.cross.rounds):
                    self._close_share("reduce", key, share, self._book_price(key))
            if self.is_restored(self.look()):
                return

    def _take_over(self, targets: list[Key]) -> None:
        self._take_over_share("take_over", targets, 1.0)

    def _close(self, targets: list[Key]) -> None:
        for key in targets:
            self._close_share("close", key, 1.0, self._book_price(key))


def _amount(parts: list[Part]) -> float | int:
    """Return the quantity of a position, a whole number of contracts where their size is known."""
    return sum(contracts_of(parts)) if parts[0].lot else quantity_of(parts)


def _share(amount: float | int, whole: float | int) -> float | Fraction:
    """Return an amount's share of another, exactly where both count contracts."""
    return Fraction(amount, whole) if isinstance(amount, int) and isinstance(whole, int) else amount / whole


def _share_of_round(first: float | int, number: int, rounds: int) -> float | Fraction:
    """Return the share of what is left of an amount that a round closes, rounds counted from 0."""
    if not isinstance(first, int):
        return 1 / (rounds - number)
    before, after = (-(-first * passed // rounds) for passed in (number, number + 1))
    return Fraction(after - before, first - before) if after > before else 0.0


def _quantities(parts: list[Part], share: float | Fraction) -> list[float]:
    """Return what a share of a position is of each leg: whole contracts, rounded up together, where known."""
    if share >= WHOLE:
        return [part.quantity for part in parts]
    if parts[0].lot == 0:
        return [part.quantity * float(share) for part in parts]
    counts = contracts_of(parts)
    closed = math.ceil(share * sum(counts))
    return [
        quantity_of_contracts(count, part.lot) for count, part in zip(spread(closed, counts), parts, strict=True)
    ]
