"""The margin model over arrays of positions under one contract and one table of tiers."""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.arrays import Rules
from backtest.kernel.compile import helper, kernel
from backtest.kernel.margin import formula, position
from backtest.kernel.margin.position import Segment
from backtest.kernel.types import Floats


class Positions(NamedTuple):
    """What was opened, (n,) each."""

    side: Floats
    quantity: Floats
    entry_price: Floats
    margin: Floats


@helper
def opened(rules: Rules, positions: Positions, leverage: Floats, i: int) -> Segment:
    """Return a position under the only group there is, its funding counted from the entry."""
    return position.begin(
        rules, 0, 0, positions.side[i], positions.quantity[i], positions.entry_price[i], positions.margin[i],
        leverage[i], 0.0,
    )  # fmt: skip


@kernel
def liquidation_prices(
    rules: Rules, positions: Positions, leverage: Floats, funding: Floats, prices: Floats
) -> None:
    """Write the price where equity meets the maintenance margin, NaN where no positive one exists."""
    for i in range(prices.shape[0]):
        held = opened(rules, positions, leverage, i)
        prices[i] = formula.or_nan(position.liquidation_price(rules, held, held.first, held.last, funding[i]))


@kernel
def bankruptcy_prices(kind: int, positions: Positions, funding: Floats, prices: Floats) -> None:
    """Write the price where equity is zero, NaN where no positive one exists."""
    for i in range(prices.shape[0]):
        side, quantity = positions.side[i], positions.quantity[i]
        anchored = formula.anchor(kind, side, quantity, positions.entry_price[i], positions.margin[i])
        price = formula.bankruptcy_price(kind, side, quantity, anchored, funding[i])
        prices[i] = formula.or_nan(price)


@kernel
def equities(kind: int, positions: Positions, price: Floats, funding: Floats, equities_: Floats) -> None:
    """Write equity at a price, after funding."""
    for i in range(equities_.shape[0]):
        equities_[i] = formula.equity(
            kind,
            positions.side[i],
            positions.quantity[i],
            positions.entry_price[i],
            positions.margin[i],
            0.0,
            price[i],
            funding[i],
        )


@kernel
def initial_margins(
    kind: int, side: Floats, quantity: Floats, entry_price: Floats, leverage: Floats, fee: float, margins: Floats
) -> None:
    """Write the margins that open positions; ``fee`` is the closing fee they include, or 0."""
    for i in range(margins.shape[0]):
        margins[i] = formula.initial_margin(kind, side[i], quantity[i], entry_price[i], leverage[i], fee)


@kernel
def maintenance_margins(
    rules: Rules, positions: Positions, leverage: Floats, price: Floats, margins: Floats
) -> None:
    """Write the equity each position must keep at a price."""
    for i in range(margins.shape[0]):
        held = opened(rules, positions, leverage, i)
        margins[i] = position.requirement(rules.rate, rules.amount, held, price[i])
