"""Calculator of one isolated position: checks what it is given, and chooses the tier table of its entry."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backtest.amounts import plain
from backtest.errors import ArgumentError
from backtest.rules import margin as margins
from backtest.rules.position import PositionPrices, opening_margin
from backtest.rules.timeline import Tiers, table_at
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked


@checked
def position_prices(
    venue: Venue,
    symbol: str,
    *,
    side: Any,
    entry_price: float,
    quantity: float,
    leverage: float | None = None,
    margin: float | None = None,
    time: datetime | None = None,
    tiers: Tiers | None = None,
) -> PositionPrices:
    """Return the liquidation, bankruptcy and takeover price of one isolated position, without funding.

    Parameters
    ----------
    venue
        A venue, its name, or the path of its file.
    symbol
        A contract that it lists.
    side : "long", "short", +1 or -1
    entry_price : quote per base
    quantity : base; quote for an inverse contract
    leverage
        As selected; None: entry notional / margin.
    margin : settlement currency
        None: entry notional / leverage, and the closing fee where margins include it.
    time
        Entry time, which selects the tier table; None: now.
    tiers
        Table of an entry at a time for which none is known to be in force; None: ``"strict"`` with a time, which
        refuses it, ``"nearest"`` without.

    Returns
    -------
    PositionPrices
        What ``backtest price`` prints: prices, ``table()``, ``way()``, rate, tier, limit and ``problems``.

    Raises
    ------
    ArgumentError
        Where neither margin nor leverage is given, a number is not above zero, or the position is larger than the
        table covers.
    RulesError
        For an unknown venue or symbol; a ``TiersError`` where no table is known to be in force at the time.

    Examples
    --------
    >>> from backtest import position_prices
    >>> held = position_prices("ascendex", "BTCUSDT", side="long", entry_price=50_000, quantity=1, leverage=10)
    >>> held.liquidation_price, held.bankruptcy_price
    (48000.0, 45000.0)
    >>> held.table().columns
    ['name', 'price', 'move']
    """
    numbers = {"entry_price": entry_price, "quantity": quantity, "leverage": leverage, "margin": margin}
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise ArgumentError(f"must be a finite number above zero, is {value!r}", argument=name)
    if margin is None and leverage is None:
        raise ArgumentError("is needed, or a margin, or both", argument="leverage")
    signed = margins.signs(side)
    if np.ndim(signed) or signed not in (1, -1):
        raise ArgumentError(f"must be long, short, +1 or -1, is {side!r}", argument="side")
    contract = venue.contract(symbol)
    if contract.kind == "face_value" and entry_price > 1:
        raise ArgumentError(
            f"of a face-value contract is at most 1, is {plain(entry_price)}", argument="entry_price"
        )
    if leverage is None:
        leverage = float(margins.notional(contract, quantity=quantity, price=entry_price)[0]) / (margin or 1.0)
    moment = time or datetime.now(UTC)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    table, source = table_at(contract, moment, tiers or ("nearest" if time is None else "strict"))
    side = int(signed)
    margin = margin or opening_margin(contract, side, quantity, entry_price, leverage)
    found = PositionPrices(venue, contract, table, source, side, quantity, entry_price, margin, leverage)
    if found.size[0] > table.cap:
        raise ArgumentError(
            f"{plain(quantity)} is beyond table {table.name!r}, which covers {table.size} up to "
            f"{plain(table.cap)}: this is {plain(found.size[0])}",
            argument="quantity",
        )
    return found
