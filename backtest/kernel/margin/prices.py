"""The margin model over arrays of positions under one contract and one table of tiers."""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.compile import kernel
from backtest.kernel.margin import formula
from backtest.kernel.types import Floats, Integers


class Terms(NamedTuple):
    """A contract's rules, and which tiers each position is under."""

    kind: int  #: LINEAR, INVERSE or FACE_VALUE
    constant: bool  #: the requirement is the one at the entry notional
    fee: float  #: closing fee reserved at the mark
    reserved_fee: float  #: closing fee reserved at bankruptcy
    rates: Floats  #: (k,)
    amounts: Floats  #: (k,)
    first: Integers  #: (n,) first of a position's tiers
    last: Integers  #: (n,) last of them, inclusive


class Positions(NamedTuple):
    """What was opened, (n,) each."""

    side: Floats
    quantity: Floats
    entry_price: Floats
    margin: Floats


@kernel
def liquidation_prices(terms: Terms, positions: Positions, funding: Floats, prices: Floats) -> None:
    """Write the price where equity meets the maintenance margin, NaN where no positive one exists."""
    for i in range(prices.shape[0]):
        side, quantity = positions.side[i], positions.quantity[i]
        anchored = formula.anchor(terms.kind, side, quantity, positions.entry_price[i], positions.margin[i])
        level = formula.reserved_fee(terms.kind, side, quantity, anchored, terms.reserved_fee)
        if terms.constant:
            entry_notional = formula.notional(terms.kind, quantity, positions.entry_price[i])
            base = formula.tiered(terms.rates, terms.amounts, terms.first[i], terms.last[i], entry_notional)
            level = formula.constant_level(terms.kind, quantity, base, level, terms.fee)
        price = formula.liquidation_price(
            terms.kind,
            side,
            quantity,
            anchored,
            funding[i],
            terms.rates,
            terms.amounts,
            terms.first[i],
            terms.last[i],
            terms.constant,
            level,
            terms.fee,
        )
        prices[i] = formula.or_nan(price)


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
def maintenance_margins(terms: Terms, positions: Positions, price: Floats, margins: Floats) -> None:
    """Write the equity each position must keep at a price."""
    for i in range(margins.shape[0]):
        side, quantity = positions.side[i], positions.quantity[i]
        anchored = formula.anchor(terms.kind, side, quantity, positions.entry_price[i], positions.margin[i])
        reserved = formula.reserved_fee(terms.kind, side, quantity, anchored, terms.reserved_fee)
        entry_notional = formula.notional(terms.kind, quantity, positions.entry_price[i])
        first, last = terms.first[i], terms.last[i]
        base = formula.tiered(terms.rates, terms.amounts, first, last, entry_notional)
        margins[i] = formula.maintenance_margin(
            terms.kind,
            quantity,
            price[i],
            terms.rates,
            terms.amounts,
            first,
            last,
            terms.constant,
            base,
            reserved,
            terms.fee,
        )
