"""Margins and prices in closed form, for any number of positions under one contract and one tier table.

Every function takes scalars or arrays of one length by keyword and returns (n,) float64. ``side`` is +1 long, -1
short; margins and notionals are in settlement currency; ``funding`` is cumulative funding per unit of
quantity since the entry (the holder has paid side x quantity x funding). A price is NaN where no
positive one exists: a long with more margin than notional cannot be liquidated. Formulas and their sources:
``docs/model.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backtest.errors import ArgumentError
from backtest.kernel.choices import ContractKind
from backtest.kernel.compile import suited
from backtest.kernel.margin import prices, sizes
from backtest.kernel.types import Floats, readonly
from backtest.rules.contract import Contract
from backtest.rules.rulebook import rules_of
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked

__all__ = [
    "bankruptcy_price",
    "equity",
    "initial_margin",
    "liquidation_price",
    "maintenance_margin",
    "notional",
    "takeover_price",
]
__dir__ = __all__.copy

Values = Any  # a number or an array of them


@checked
def notional(contract: Contract, *, quantity: Values, price: Values) -> Floats:
    """Return the notional at a price, in settlement currency: q P, q / P (inverse) or q (face value).

    Examples
    --------
    >>> from backtest.rules import margin
    >>> margin.notional(contract, quantity=2, price=[40_000, 50_000])
    array([ 80000., 100000.])
    """
    quantity, price = _arrays(quantity=quantity, price=price)
    return np.array(sizes.notional_of(ContractKind.code(contract.kind), quantity, price))


@checked
def initial_margin(
    contract: Contract, *, quantity: Values, entry_price: Values, leverage: Values, side: Values = None
) -> Floats:
    """Return the margin needed to open: entry notional / leverage.

    Where the contract's margin includes the closing fee it is added, and ``side`` must be given.

    Examples
    --------
    >>> from backtest.rules import margin
    >>> margin.initial_margin(contract, quantity=2, entry_price=50_000, leverage=[10, 20])
    array([10000.,  5000.])
    """
    fee = contract.included_fee_rate
    if fee and side is None:
        raise ArgumentError(
            f"is needed: the margin of {contract.symbol} includes the closing fee", argument="side"
        )
    *opened, leverage = _arrays(
        side=1 if side is None else side, quantity=quantity, entry_price=entry_price, leverage=leverage
    )
    return _computed(
        prices.initial_margins, leverage.size, ContractKind.code(contract.kind), *opened, leverage, fee
    )


@checked
def equity(
    contract: Contract,
    *,
    side: Values,
    quantity: Values,
    entry_price: Values,
    margin: Values,
    price: Values,
    funding: Values = 0.0,
) -> Floats:
    """Return margin plus unrealised result less funding, in settlement currency.

    Examples
    --------
    >>> from backtest.rules import margin
    >>> margin.equity(contract, side=1, quantity=2, entry_price=50_000, margin=10_000, price=[50_000, 46_000])
    array([10000.,  2000.])
    """
    *held, price, funding = _arrays(
        side=side, quantity=quantity, entry_price=entry_price, margin=margin, price=price, funding=funding
    )
    return _computed(
        prices.equities, price.size, ContractKind.code(contract.kind), prices.Positions(*held), price, funding
    )


@checked
def maintenance_margin(
    contract: Contract,
    table: TierTable,
    *,
    side: Values,
    quantity: Values,
    entry_price: Values,
    margin: Values,
    price: Values,
    leverage: Values = None,
) -> Floats:
    """Return the equity that a position must keep at a price, with the closing fee where the venue reserves one.

    ``leverage`` is the selected leverage, for rates that depend on it; entry notional / margin if not given.

    Examples
    --------
    >>> from backtest.rules import margin
    >>> held = {"side": 1, "quantity": 2, "entry_price": 50_000, "margin": 10_000}
    >>> margin.maintenance_margin(contract, table, price=[50_000, 46_000], **held)
    array([450., 410.])
    """
    given = {"side": side, "quantity": quantity, "entry_price": entry_price, "margin": margin, "price": price}
    positions, price, selected = _with_leverages(contract, table, leverage, **given)
    return _computed(
        prices.maintenance_margins, price.size, rules_of(contract, table, selected), positions, selected, price
    )


@checked
def liquidation_price(
    contract: Contract,
    table: TierTable,
    *,
    side: Values,
    quantity: Values,
    entry_price: Values,
    margin: Values,
    leverage: Values = None,
    funding: Values = 0.0,
) -> Floats:
    """Return the mark price at which equity meets the maintenance margin.

    Linear, tier k with mark basis: (s q E - M + s q F - a_k) / (q (s - r_k - f)), the highest over k for a long
    and the lowest for a short; with a constant requirement mm: (s q E - M + s q F + mm) / (q (s - f)).

    Examples
    --------
    >>> from backtest.rules import margin
    >>> held = {"quantity": 2, "entry_price": 50_000, "margin": 10_000}
    >>> margin.liquidation_price(contract, table, side=["long", "short"], **held).round(2)
    array([45201.01, 54751.24])
    """
    given = {"side": side, "quantity": quantity, "entry_price": entry_price, "margin": margin, "funding": funding}
    positions, funding, selected = _with_leverages(contract, table, leverage, **given)
    return _computed(
        prices.liquidation_prices, funding.size, rules_of(contract, table, selected), positions, selected, funding
    )


@checked
def bankruptcy_price(
    contract: Contract,
    *,
    side: Values,
    quantity: Values,
    entry_price: Values,
    margin: Values,
    funding: Values = 0.0,
) -> Floats:
    """Return the mark price at which equity is zero, before any liquidation fee: E - s M / q where linear.

    Examples
    --------
    >>> from backtest.rules import margin
    >>> margin.bankruptcy_price(contract, side=["long", "short"], quantity=2, entry_price=50_000, margin=10_000)
    array([45000., 55000.])
    """
    *held, funding = _arrays(side=side, quantity=quantity, entry_price=entry_price, margin=margin, funding=funding)
    return _computed(
        prices.bankruptcy_prices, funding.size, ContractKind.code(contract.kind), prices.Positions(*held), funding
    )


@checked
def takeover_price(
    venue: Venue,
    contract: Contract,
    table: TierTable,
    *,
    side: Values,
    quantity: Values,
    entry_price: Values,
    margin: Values,
    leverage: Values = None,
    funding: Values = 0.0,
) -> Floats:
    """Return the price at which the venue's engine or backstop takes over a position, by the venue's rule.

    ``bankruptcy``: the bankruptcy price. ``bankruptcy_with_fee``, and ``bankruptcy`` where the margin includes the
    closing fee: where equity equals that fee, linear (E - s M / q) / (1 - s fee). ``backstop``: the liquidation
    price less a discount against the holder.

    Examples
    --------
    >>> from backtest.rules import margin
    >>> held = {"side": 1, "quantity": 2, "entry_price": 50_000, "margin": 10_000}
    >>> margin.takeover_price(venue, contract, table, **held)
    array([45000.])
    """
    (signed,) = _arrays(side=side)
    held = {
        "side": signed,
        "quantity": quantity,
        "entry_price": entry_price,
        "margin": margin,
        "funding": funding,
    }
    if venue.takeover_price == "backstop":
        reached = liquidation_price(contract, table, leverage=leverage, **held)
        return reached * (1.0 - signed * venue.takeover_discount)
    bankrupt = bankruptcy_price(contract, **held)
    if venue.takeover_price == "bankruptcy" and not contract.margin_includes_closing_fee:
        return bankrupt
    fee = contract.closing_fee_rate
    if contract.kind == "inverse":
        return bankrupt * (1.0 + signed * fee)
    if contract.kind == "face_value":
        return bankrupt + signed * fee
    return bankrupt / (1.0 - signed * fee)


def table_size(contract: Contract, table: TierTable, *, quantity: Floats, entry_price: Floats) -> Floats:
    """Return sizes in the unit a table is measured in: entry notional, or contracts."""
    return table.size_of(quantity, notional(contract, quantity=quantity, price=entry_price))


def _computed(kernel: Callable[..., None], rows: int, *arguments: Any) -> Floats:
    """Return what a kernel writes for so many rows."""
    found = np.empty(rows)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        suited(kernel, rows)(*arguments, found)
    return found


def _with_leverages(
    contract: Contract, table: TierTable, leverage: Values, **values: Values
) -> tuple[prices.Positions, Floats, Floats]:
    """Return positions, the value given last, and (n,) selected leverages; any number where no rate needs them."""
    arrays = _arrays(**values, **({} if leverage is None else {"leverage": leverage}))
    *held, last = arrays[: len(values)]
    positions = prices.Positions(*held)
    if table.by_size:
        selected = np.ones(last.size)
    elif leverage is None:
        entry_notional = notional(contract, quantity=positions.quantity, price=positions.entry_price)
        selected = np.asarray(entry_notional / positions.margin)
    else:
        selected = arrays[-1]
    return positions, last, readonly(selected)


def signs(side: Values) -> Values:
    """Return sides as +1 and -1 where they are the words long and short."""
    words = np.asarray(side)
    if words.dtype.kind not in "OU" or words.size == 0:
        return side
    known = {"long": 1.0, "short": -1.0}
    return np.array([known.get(str(word).lower(), word) for word in words.ravel()], object).reshape(words.shape)


def _arrays(**values: Values) -> list[Floats]:
    """Return the arguments as read-only arrays of one length; errors name the argument."""
    arrays = []
    for name, value in values.items():
        try:
            array = np.asarray(signs(value) if name == "side" else value, np.float64)
        except (TypeError, ValueError):
            raise ArgumentError(f"must be a number or an array of them, is {value!r}", argument=name) from None
        if not np.isfinite(array).all():
            raise ArgumentError(f"must be finite, is {value!r}", argument=name)
        if name in ("quantity", "entry_price", "price", "leverage") and not (array > 0).all():
            raise ArgumentError(f"must be above zero, is {value!r}", argument=name)
        if name == "side" and not (np.abs(array) == 1).all():
            raise ArgumentError(f"must be +1 (long) or -1 (short), is {value!r}", argument="side")
        arrays.append(np.atleast_1d(array))
    try:
        return [readonly(array) for array in np.broadcast_arrays(*arrays)]
    except ValueError:
        sizes = ", ".join(f"{name} {array.size}" for name, array in zip(values, arrays, strict=True))
        raise ArgumentError(f"must have one length: {sizes}", argument="arrays") from None
