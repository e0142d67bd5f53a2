"""Whole contracts: quantities of legs, and parts of a position that a step closes, as numbers of contracts.

A quantity is a number of contracts times their size, rounded once. A size of 0 is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate, pairwise

import polars as pl

from backtest.amounts import plain
from backtest.book.accounts import Accounts
from backtest.engine.accounts.account import Part, cost_of, quantity_of
from backtest.errors import DataError
from backtest.rules.contract import ALLOWANCE, Contract
from backtest.schemas.validation import offence

#: From here on float64 does not hold every whole number.
MOST_CONTRACTS = 2.0**53


def size_of_contract(contract: Contract) -> float:
    """Return the size of a symbol's contract; 0 where it is not known, or is that of another symbol."""
    return 0.0 if contract.like else contract.lot


def require_whole(accounts: Accounts, contracts: Iterable[Contract]) -> None:
    """Refuse legs that are no whole number of contracts.

    Raises
    ------
    DataError
        For the legs of the first such symbol.
    """
    sizes = {contract.symbol: size_of_contract(contract) for contract in contracts}
    sizes = {symbol: lot for symbol, lot in sizes.items() if lot}
    if not sizes:
        return
    lot = pl.col("symbol").replace_strict(sizes, default=None, return_dtype=pl.Float64)
    count = pl.col("quantity") / lot
    near = (count - count.round()).abs() <= ALLOWANCE * count.clip(lower_bound=1.0)
    wrong = ~(near & (count > 0.5) & (count < MOST_CONTRACTS)).fill_null(value=True)
    bad = accounts.legs.select(row=wrong.arg_max(), any=wrong.any()).row(0)
    if bad[1]:
        symbol = accounts.legs["symbol"][bad[0]]
        sentence = (
            f"quantity must be a whole number of contracts, which {symbol} has of {plain(sizes[symbol])} "
            "(where that is wrong: venue.with_(lot=0), or lot = 0.0 in a venue file)"
        )
        own = wrong & (pl.col("symbol") == symbol)
        raise DataError(offence(accounts.legs, "legs", sentence, own, ("symbol", "quantity")))


def contracts_of(parts: list[Part]) -> list[int]:
    """Return the number of contracts of each leg."""
    return [round(part.quantity / part.lot) for part in parts]


def quantity_of_contracts(count: int, lot: float) -> float:
    """Return a number of contracts as a quantity, rounded once."""
    return float(count * Decimal(repr(lot)))


def as_whole(quantity: float, lot: float) -> float:
    """Return the whole number of contracts next to a quantity, as a quantity; as it is without a known size."""
    return quantity_of_contracts(round(quantity / lot), lot) if lot else quantity


def spread(closed: int, counts: list[int]) -> list[int]:
    """Return what each leg closes of a number of contracts: the first legs together their share, rounded down."""
    total = sum(counts)
    ends = [0, *(closed * upto // total for upto in accumulate(counts))]
    return [after - before for before, after in pairwise(ends)]


def without(parts: list[Part], closed: int) -> list[Part]:
    """Return copies of the legs that are left of a position when a number of its contracts is closed."""
    counts = contracts_of(parts)
    return [
        replace(part, quantity=quantity_of_contracts(count - gone, part.lot))
        for part, count, gone in zip(parts, counts, spread(closed, counts), strict=True)
        if count > gone
    ]


def at_least(parts: list[Part], size: float, floor: float) -> int:
    """Return a number of contracts that must be closed at least, one or more, for a size to fall to a floor.

    Of a size at entry prices the legs close more or less than their share, each by less than one contract.
    """
    total = sum(contracts_of(parts))
    beside = sum(part.entry_price for part in parts) * quantity_of(parts) / cost_of(parts)
    return max(1, int(total * (1 - floor / size) - beside) - 1)
