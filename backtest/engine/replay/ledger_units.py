"""Units of money and lots of quantity in 64 bits, and the refusal of books that could overflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.engine import market_arrays
from backtest.engine.money import COIN_UNIT, QUOTE_UNIT
from backtest.engine.replay.arguments import Options
from backtest.engine.sweep.admission import Admitted
from backtest.engine.sweep.prepare import Prepared
from backtest.errors import ArgumentError, DataError
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import notional_of
from backtest.kernel.types import Floats

#: Money and lots must add up below these, an eighth of what 64 bits hold.
MOST_UNITS, MOST_LOTS = 2.0**60, 1e18


ADDED = {"quantity_change": pl.Float64, "share": pl.Float64, "price": pl.Float64}


class Sums(NamedTuple):
    """Sums of a symbol's positions, and their range of prices."""

    number: int  #: of the symbol
    quantity: float  #: with additions
    smallest: float
    margin: float
    on_leverage: float  #: quantity whose initial margin may be put in later
    lowest_entry: float
    highest_entry: float


def unit_of(prepared: Prepared, symbols: tuple[str, ...]) -> float:
    """Return how many whole units make one of settlement currency; coin and quote do not mix.

    Raises
    ------
    ArgumentError
        For a book of contracts that settle in different currencies.
    """
    contracts = {group.contract.symbol: group.contract for group in prepared.rules.groups}
    coins = sorted(symbol for symbol in symbols if contracts[symbol].kind == "inverse")
    if coins and (len(coins) < len(symbols) or len(coins) > 1):
        raise ArgumentError(
            f"one fund holds one currency: {', '.join(symbols)} settle in several (coin: {', '.join(coins)}); "
            "replay each by itself"
        )
    return COIN_UNIT if coins else QUOTE_UNIT


def sums_of(admitted: Admitted, prepared: Prepared) -> tuple[Sums, ...]:
    """Return the sums of the positions of each symbol."""
    kinds = {group.symbol: ContractKind.code(group.contract.kind) for group in prepared.rules.groups}
    return tuple(_sums(admitted, kinds))


def _sums(admitted: Admitted, kinds: dict[int, int]) -> Iterator[Sums]:
    positions = admitted.positions
    single = len(np.unique(positions.symbol)) == 1
    for number in np.unique(positions.symbol):
        own: Any = slice(None) if single else positions.symbol == number
        quantity, price = positions.quantity[own], positions.entry_price[own]
        added = _additions(admitted, int(number))
        if positions.has_margin:
            margin = float(positions.margin[own].sum())
        else:
            notional = notional_of(kinds[int(number)], quantity, price)
            margin = float((notional / positions.leverage[own]).sum())
        yield Sums(
            int(number),
            float(quantity.sum() + added["quantity_change"].sum()),
            float(np.append(added["quantity_change"], quantity.min()).min()),
            margin,
            float(added["share"].sum()),
            float(np.append(added["price"], price.min()).min()),
            float(np.append(added["price"], price.max()).max()),
        )


def _additions(admitted: Admitted, symbol: int) -> pl.DataFrame:
    """Return additions to a symbol's positions: ``quantity_change``, its ``share`` at the leverage, ``price``."""
    positions, changes = admitted.positions, admitted.adjustments
    if changes is None:
        return pl.DataFrame({"quantity_change": [], "share": [], "price": []}, schema_overrides=ADDED)
    rows = changes["row"].to_numpy()
    leverage = positions.leverage if positions.has_leverage else np.ones(positions.quantity.size)
    own = changes.with_columns(leverage=leverage[rows], symbol=positions.symbol[rows])
    own = own.filter(pl.col("quantity_change") > 0, symbol=symbol)
    entry = pl.Series(positions.entry_price).gather(own["row"])
    return own.select(
        "quantity_change",
        share=pl.col("quantity_change") / pl.col("leverage"),
        price=pl.col("price").fill_null(entry),
    )


def lots_of(sums: tuple[Sums, ...], prepared: Prepared) -> Floats:
    """Return (symbols,) the lot of each, as fine as 64 bits allow.

    Raises
    ------
    DataError
        Where a quantity is less than half a lot.
    """
    lots = np.ones(len(prepared.market.symbols))
    for own in sums:
        lots[own.number] = 10.0 ** np.ceil(np.log10(own.quantity / MOST_LOTS))
        if np.rint(own.smallest / lots[own.number]) < 1:
            raise DataError(
                f"positions: quantities of {prepared.market.symbols[own.number]} must lie within seventeen orders "
                f"of magnitude of their sum: the smallest is {own.smallest:g}, the sum {own.quantity:g}"
            )
    return lots


def _stretch(options: Options) -> float:
    """Return the largest factor by which an offset multiplies or divides prices."""
    return float(np.exp(options.impact.largest_offset if options.impact.mark > 0 else 0.0))


def _flows(sums: tuple[Sums, ...], prepared: Prepared, options: Options, changes: float) -> float:
    """Return the most that funding and changes of margin can add up to, in settlement currency."""
    market, first = prepared.market, prepared.funding.first
    amounts = np.abs(market_arrays.charge_amounts(market, prepared.contracts))
    total = changes
    for own in sums:
        charged = float(amounts[first[own.number] + 1 : first[own.number + 1]].sum())
        total += own.quantity * charged * _stretch(options)
    return total


def require_range(
    sums: tuple[Sums, ...], prepared: Prepared, options: Options, unit: float, changes: float
) -> None:
    """Refuse what could overflow 64 bits, at the farthest prices the history and the offset allow.

    ``changes`` is what all changes of margin add up to.
    """
    market, stretch = prepared.market, _stretch(options)
    total = float(options.fund) + sum(abs(amount) for _, amount in options.deposits)
    total += _flows(sums, prepared, options, changes)
    for own in sums:
        rows = slice(int(market.firsts[own.number]), int(market.firsts[own.number + 1]))
        kind = next(group.contract.kind for group in prepared.rules.groups if group.symbol == own.number)
        high, low = float(prepared.bars.high[rows].max()), float(prepared.bars.low[rows].min())
        far, near = max(high, own.highest_entry) * stretch, min(low, own.lowest_entry) / stretch
        dearest = near if kind == "inverse" else far
        worth = notional_of(ContractKind.code(kind), 1.0, dearest) if dearest > 0 else np.inf
        total += (own.quantity + own.on_leverage) * worth + own.margin * stretch
    if not total * unit < MOST_UNITS:
        raise DataError(
            "positions: notionals, margins and their changes, funding and fund must add up to less than "
            f"{MOST_UNITS / unit:,.4g} of settlement currency, what units of {1 / unit:g} can count: they may "
            f"reach {total:,.4g}"
        )
