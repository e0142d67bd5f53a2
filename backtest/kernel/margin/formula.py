"""The margin model, one position at a time: the definitions every kernel shares.

Float64, in the order written, no fused operations. ``side`` is +1 or -1, ``funding`` cumulative funding a unit of
quantity. See ``docs/model.md`` for the formulas and their units.

A position's maintenance requirement is, apart from the closing fee at the mark, either a constant or the highest
of its tiers' lines r_k N - a_k. The *level* of a tier is what it adds to the loss a position may make: the
threshold and the liquidation price of that tier are the same expression in it.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import helper
from backtest.kernel.margin import sizes
from backtest.kernel.types import Floats


@helper
def or_nan(price: float) -> float:
    """Return a price, or NaN where it is no positive number."""
    return price if 0.0 < price < np.inf else np.nan


#: The notional of a position in settlement currency, and the quantity of a notional.
notional, quantity_of = helper(sizes.notional_of), helper(sizes.quantity_of)


@helper
def result(kind: int, side: float, quantity: float, entry_price: float, price: float) -> float:
    """Return the result of a position, or of closing it, at a price, before funding."""
    if kind == ContractKind.INVERSE:
        return (side * quantity) * (1.0 / entry_price - 1.0 / price)
    return (side * quantity) * (price - entry_price)


@helper
def equity(
    kind: int,
    side: float,
    quantity: float,
    entry_price: float,
    margin: float,
    entry_funding: float,
    price: float,
    funding: float,
) -> float:
    """Return margin plus unrealised result less funding paid since the entry."""
    moved = result(kind, side, quantity, entry_price, price)
    return (margin + moved) - (side * quantity) * (funding - entry_funding)


@helper
def average_entry(kind: int, quantity: float, entry_price: float, added: float, price: float) -> float:
    """Return the entry price of a position with an addition: the mean, of an inverse contract the harmonic one."""
    if kind == ContractKind.INVERSE:
        return (quantity + added) / (quantity / entry_price + added / price)
    return (quantity * entry_price + added * price) / (quantity + added)


@helper
def margin_kept(pro_rata: bool, margin: float, share: float, realised: float) -> float:
    """Return the margin a reduction leaves; ``share`` is the part of the quantity that stays open."""
    return margin * share if pro_rata else margin + realised


@helper
def paid_out(pro_rata: bool, margin: float, share: float, realised: float) -> float:
    """Return what a reduction pays out to the holder's wallet, negative where it takes a loss from it."""
    return (margin - margin * share) + realised if pro_rata else 0.0


@helper
def tiered(rates: Floats, amounts: Floats, first: int, last: int, notional_: float) -> float:
    """Return the highest of the lines of tiers ``first`` to ``last`` (inclusive) at a notional."""
    highest = rates[first] * notional_ - amounts[first]
    for tier in range(first + 1, last + 1):
        line = rates[tier] * notional_ - amounts[tier]
        highest = max(highest, line)
    return highest


@helper
def anchor(kind: int, side: float, quantity: float, entry_price: float, margin: float) -> float:
    """Return the part of a threshold that depends on the position alone."""
    if kind == ContractKind.INVERSE:
        return -(margin + (side * quantity) / entry_price)
    return (side * quantity) * entry_price - margin


@helper
def slope(kind: int, side: float, rate: float, fee: float) -> float:
    """Return what multiplies the price (inverse: its reciprocal) where a tier's requirement meets equity."""
    if kind == ContractKind.INVERSE:
        return -(side + rate + fee)
    if kind == ContractKind.FACE_VALUE:
        return side
    return side - rate - fee


@helper
def bankruptcy_price(kind: int, side: float, quantity: float, anchor_: float, funding_since_entry: float) -> float:
    """Return the price where equity is zero; zero or less, or infinite (inverse), where no such price exists."""
    unit = -side if kind == ContractKind.INVERSE else side
    return crossing_price(kind, side, quantity, anchor_, funding_since_entry, 0.0, unit)


@helper
def reserved_fee(
    kind: int, side: float, quantity: float, anchor_: float, fee: float, included_fee: float
) -> float:
    """Return the closing fee reserved at the bankruptcy price, 0 where that price is not positive.

    ``included_fee`` is the fee the margin includes, or 0: equity at the venue's bankruptcy price is just this fee.
    """
    if fee == 0.0:
        return 0.0
    level = included_fee * quantity if kind == ContractKind.FACE_VALUE else 0.0
    unit = slope(kind, side, 0.0, included_fee)
    price = crossing_price(kind, side, quantity, anchor_, 0.0, level, unit)
    return fee * notional(kind, quantity, price) if 0.0 < price < np.inf else 0.0


@helper
def initial_margin(
    kind: int, side: float, quantity: float, entry_price: float, leverage: float, included_fee: float
) -> float:
    """Return entry notional / leverage, and the closing fee where the margin includes it."""
    margin = notional(kind, quantity, entry_price) / leverage
    anchor_ = anchor(kind, side, quantity, entry_price, margin)
    return margin + reserved_fee(kind, side, quantity, anchor_, included_fee, 0.0)


@helper
def constant_level(kind: int, quantity: float, base: float, reserved: float, fee: float) -> float:
    """Return the level of a constant requirement; a face-value notional makes the closing fee part of it."""
    level = reserved + base
    return level + fee * quantity if kind == ContractKind.FACE_VALUE else level


@helper
def maintenance_margin(
    kind: int,
    quantity: float,
    price: float,
    rates: Floats,
    amounts: Floats,
    first: int,
    last: int,
    constant: bool,
    base: float,
    reserved: float,
    fee: float,
) -> float:
    """Return the equity a position must keep at a price; ``base`` is used where the requirement is constant."""
    notional_ = notional(kind, quantity, price)
    if not constant:
        base = tiered(rates, amounts, first, last, notional_)
    return (base + fee * notional_) + reserved


@helper
def crossing_price(
    kind: int,
    side: float,
    quantity: float,
    anchor_: float,
    funding_since_entry: float,
    level: float,
    slope_: float,
) -> float:
    """Return the price where equity meets the requirement of one tier.

    Zero or less, or infinite (inverse), where no such price exists.
    """
    met = ((anchor_ + (side * quantity) * funding_since_entry) + level) / (quantity * slope_)
    if kind == ContractKind.INVERSE:
        return 1.0 / met if met > 0.0 else np.inf
    return met


@helper
def liquidation_price(
    kind: int,
    side: float,
    quantity: float,
    anchor_: float,
    funding_since_entry: float,
    rates: Floats,
    amounts: Floats,
    first: int,
    last: int,
    constant: bool,
    level: float,
    fee: float,
) -> float:
    """Return the price where equity meets the maintenance margin.

    Zero or less, or infinite (inverse), where no such price exists. For a ``constant`` requirement ``level`` is
    all of it and tiers do not matter; otherwise it is the fee reserved at bankruptcy, and the tiers are ``first``
    to ``last`` (inclusive): the first price reached on the way down (long) or up counts.
    """
    if constant:
        slope_ = slope(kind, side, 0.0, fee)
        return crossing_price(kind, side, quantity, anchor_, funding_since_entry, level, slope_)
    best = -side * np.inf
    for tier in range(first, last + 1):
        price = crossing_price(
            kind, side, quantity, anchor_, funding_since_entry, level - amounts[tier],
            slope(kind, side, rates[tier], fee),
        )  # fmt: skip
        if side * price > side * best:
            best = price
    return best
