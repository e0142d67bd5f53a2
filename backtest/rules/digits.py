"""Prices to a venue's own digits, for display: on its tick, by its rounding. No calculation uses them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from backtest.kernel.types import Floats
from backtest.rules.contract import Contract

#: Ticks that a price may lie beside a multiple of the tick by rounding of floats.
ALLOWANCE = 1e-9


def on_tick(contract: Contract, price: Any, side: Any) -> Floats:
    """Return liquidation prices as the venue shows them, (n,); as they are where its tick is not known.

    Parameters
    ----------
    price : (n,) or one; NaN stays
    side : (n,) or one, +1 long, -1 short
    """
    exact = np.atleast_1d(np.asarray(price, np.float64))
    if contract.tick == 0:
        return exact
    ticks = exact / contract.tick
    slack = ALLOWANCE + 1e-15 * np.abs(ticks)
    if contract.tick_rounding == "nearest":
        whole = np.floor(ticks + 0.5 + slack)
    else:
        long = np.asarray(side) > 0
        whole = np.where(long, np.ceil(ticks - slack), np.floor(ticks + slack))
    rounded: Floats = np.round(whole * contract.tick, decimals(contract.tick))
    return rounded


def shown_prices(frame: pl.DataFrame, contract: Callable[[str], Contract]) -> pl.DataFrame:
    """Return outcomes with their ``liquidation_price`` as the venue shows it, by ``symbol`` and ``side``."""
    prices = frame["liquidation_price"].to_numpy().copy()
    symbols, long = frame["symbol"].to_numpy(), (frame["side"].cast(pl.String) == "long").to_numpy()
    for symbol in frame["symbol"].unique():
        rows = symbols == symbol
        prices[rows] = on_tick(contract(symbol), prices[rows], np.where(long[rows], 1, -1))
    return frame.with_columns(liquidation_price=pl.Series(prices).fill_nan(None))


def decimals(step: float) -> int:
    """Return how many decimals a step has: 1 of 0.5, 0 of 10."""
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def is_whole(contract: Contract, quantity: float) -> bool:
    """Return whether a quantity is a whole number of contracts; true where their size is not known."""
    if contract.lot == 0:
        return True
    count = quantity / contract.lot
    return abs(count - round(count)) <= ALLOWANCE * max(1.0, count)


def tick_sentence(contract: Contract) -> str:
    """Return how the venue rounds the liquidation prices that it shows."""
    how = {"nearest": "to the nearest", "against_holder": "up for a long, down for a short"}[
        contract.tick_rounding
    ]
    return f"{contract.tick:g}: liquidation prices are shown rounded {how}, never calculated so"
