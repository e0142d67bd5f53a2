"""Options of a holder near liquidation: add margin, lower the leverage, reduce, set a stop.

At one moment, from the margin formulas alone; ``study.holders.precautions`` replays the same over a history.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.rules import margin as formulas
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable

__all__ = ["stop_against_liquidation", "ways"]
__dir__ = __all__.copy


def ways(
    contract: Contract,
    table: TierTable,
    *,
    side: int,
    quantity: float,
    entry_price: float,
    margin: float,
    price: float,
    added_margin: float = 0.0,
    lower_leverage: float | None = None,
    reduced_share: float = 0.5,
) -> pl.DataFrame:
    """Return a position at a mark price as it is, and after each option of its holder.

    Parameters
    ----------
    side, quantity, entry_price, margin
        The position; +1 long, -1 short.
    price
        The mark price now. A reduction closes at it, and its realised PnL is added to the margin.
    added_margin
        Settlement currency put in.
    lower_leverage
        Leverage the position would have been opened with; None: half of the actual one.
    reduced_share
        Share of the quantity closed, between 0 and 1.

    Returns
    -------
    ``way`` (as it is, margin added, leverage lowered, reduced), ``quantity, margin, equity, maintenance_margin``,
    ``margin_ratio`` (equity over maintenance margin: 1 is liquidation), ``liquidation_price`` and ``distance`` (a
    fraction of the mark price, negative beyond it).

    Examples
    --------
    >>> from backtest.study import holders
    >>> held = {"side": 1, "quantity": 0.1, "entry_price": 40_000, "margin": 200}
    >>> found = holders.options.ways(contract, table, **held, price=39_000, added_margin=100)
    >>> found.select("way", pl.col("liquidation_price").round())
    shape: (4, 2)
    ┌──────────────────┬───────────────────┐
    │ way              ┆ liquidation_price │
    │ ---              ┆ ---               │
    │ str              ┆ f64               │
    ╞══════════════════╪═══════════════════╡
    │ as it is         ┆ 38153.0           │
    │ margin added     ┆ 37149.0           │
    │ leverage lowered ┆ 36145.0           │
    │ reduced          ┆ 37149.0           │
    └──────────────────┴───────────────────┘
    """
    if not 0 < reduced_share < 1:
        raise ArgumentError(f"must lie between 0 and 1, is {reduced_share!r}", argument="reduced_share")
    opened = float(formulas.notional(contract, quantity=quantity, price=entry_price).item())
    leverage = opened / margin
    lower = leverage / 2 if lower_leverage is None else lower_leverage
    kept = quantity * (1 - reduced_share)
    closed = {"side": side, "quantity": quantity - kept, "entry_price": entry_price}
    booked = formulas.equity(contract, **closed, margin=0.0, price=price).item()
    rows = {
        "as it is": (quantity, margin, leverage),
        "margin added": (quantity, margin + added_margin, leverage),
        "leverage lowered": (quantity, opened / lower, lower),
        "reduced": (kept, margin + booked, leverage),
    }
    columns = [np.array(column, np.float64) for column in zip(*rows.values(), strict=True)]
    held = {"side": side, "quantity": columns[0], "entry_price": entry_price, "margin": columns[1]}
    equity = formulas.equity(contract, **held, price=price)
    needed = formulas.maintenance_margin(contract, table, **held, price=price, leverage=columns[2])
    reached = formulas.liquidation_price(contract, table, **held, leverage=columns[2])
    return pl.DataFrame(
        {
            "way": list(rows),
            "quantity": columns[0],
            "margin": columns[1],
            "equity": equity,
            "maintenance_margin": needed,
            "margin_ratio": equity / needed,
            "liquidation_price": reached,
            "distance": side * (price - reached) / price,
        }
    )


def stop_against_liquidation(
    contract: Contract,
    table: TierTable,
    *,
    side: int,
    quantity: float,
    entry_price: float,
    margin: float,
    stop_price: float,
    slippage: float = 0.0,
    penalty_rate: float = 0.0,
    gap: float = 0.0,
) -> pl.DataFrame:
    """Return liquidation against a stop: trigger, fill, cost and remaining margin of each.

    Parameters
    ----------
    slippage
        How much worse than its price the stop fills, a fraction of it.
    penalty_rate
        The venue's fee on a liquidation, a fraction of the notional closed, at most the remaining margin.
    gap
        How much worse than its own price the liquidation fills, a fraction of it.

    Returns
    -------
    ``way`` (liquidation, stop as intended, stop as filled, stop that failed), ``set_by`` (venue,
    holder), ``price`` (that triggers), ``fill_price, loss`` (of the position), ``penalty``, ``remaining_margin``
    (at least 0) and ``remaining_share`` of the margin. A stop that fails leaves the liquidation to come.

    Examples
    --------
    >>> from backtest.study import holders
    >>> held = {"side": 1, "quantity": 0.1, "entry_price": 40_000, "margin": 200}
    >>> found = holders.options.stop_against_liquidation(
    ...     contract, table, **held, stop_price=39_000, slippage=0.002
    ... )
    >>> found.select("way", pl.col("remaining_margin").round())
    shape: (4, 2)
    ┌──────────────────┬──────────────────┐
    │ way              ┆ remaining_margin │
    │ ---              ┆ ---              │
    │ str              ┆ f64              │
    ╞══════════════════╪══════════════════╡
    │ liquidation      ┆ 15.0             │
    │ stop as intended ┆ 100.0            │
    │ stop as filled   ┆ 92.0             │
    │ stop that failed ┆ 15.0             │
    └──────────────────┴──────────────────┘
    """
    held = {"side": side, "quantity": quantity, "entry_price": entry_price, "margin": margin}
    reached = float(formulas.liquidation_price(contract, table, **held).item())
    if not side * entry_price > side * stop_price > side * reached:
        raise ArgumentError(
            f"must lie between the entry price {entry_price:g} and the liquidation price {reached:g}, "
            f"is {stop_price:g}",
            argument="stop_price",
        )
    worse = np.array([reached * (1 - side * gap), stop_price, stop_price * (1 - side * slippage)])
    fills = np.append(worse, worse[0])
    left = formulas.equity(contract, **held, price=fills)
    by_venue = np.array([True, False, False, True])
    fee = penalty_rate * formulas.notional(contract, quantity=quantity, price=fills)
    penalty = np.where(by_venue, np.clip(fee, 0.0, np.maximum(left, 0.0)), 0.0)
    remaining = np.maximum(left - penalty, 0.0)
    return pl.DataFrame(
        {
            "way": ["liquidation", "stop as intended", "stop as filled", "stop that failed"],
            "set_by": ["venue", "holder", "holder", "venue"],
            "price": np.array([reached, stop_price, stop_price, reached], np.float64),
            "fill_price": fills,
            "loss": margin - left,
            "penalty": penalty,
            "remaining_margin": remaining,
            "remaining_share": remaining / margin,
        }
    )
