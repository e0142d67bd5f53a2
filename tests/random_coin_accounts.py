"""Random accounts in a coin: inverse contracts, some linear ones that pay in the coin, reserved closing fees.

Made from the cases of ``random_accounts``. In the ``dyadic`` family prices are powers of two, so that 1 / price is
exact and ties are too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl
from random_accounts import (
    LENGTH_SHARES,
    LENGTHS,
    Case,
    random_accounts,
    random_bars,
    random_funding,
    random_venue,
    with_ties,
)

from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue

Rng = np.random.Generator

#: Prices begin here; quantities in quote are these, squared, times those in coin: worth about the same.
MIDDLE = 64.0


def random_coin_case(rng: Rng, count: int = 60, *, leverages: bool = True) -> Case:
    """Return accounts in a coin; without ``leverages`` each holds one position alone, of an inverse contract."""
    dyadic = bool(rng.random() < 0.5)
    length = int(rng.choice(LENGTHS, p=LENGTH_SHARES))
    venue = in_coin(rng, random_venue(rng, dyadic), plain=not leverages)
    inverse = [name for name, own in venue.contracts.items() if own.kind == "inverse"]
    bars = random_bars(rng, length, dyadic=False)
    frames = random_accounts(rng, bars, length, count, dyadic)
    bars, frames = scaled(bars, frames, inverse, dyadic)
    if not leverages:
        frames = alone(frames, inverse)
    options: dict[str, Any] = {
        "convention": str(rng.choice(["own_worst", "joint_worst", "closes"])),
        "profit": str(rng.choice(["shared", "shared", "excluded", "per_position"])),
        "hedged": str(rng.choice(["liquidatable", "exempt"])),
        "gap_limit_ms": int(rng.choice([60_000, 180_000, 21_600_000])) if rng.random() < 0.8 else None,
    }
    funding = random_funding(rng, length, dyadic)
    frames["accounts"] = with_ties(rng, frames, bars, funding, venue, options)
    return Case(frames, bars, funding, venue, options)


def in_coin(rng: Rng, venue: Venue, *, plain: bool) -> Venue:
    """Return a venue with most contracts inverse, and some fees reserved at bankruptcy."""
    contracts = {}
    for symbol, own in venue.contracts.items():
        kind = "inverse" if plain or rng.random() < 0.7 else "linear"
        changes: dict[str, Any] = {"kind": kind, "settlement": "COIN"}
        if plain and not all(table.by_size for table in own.tables):
            changes["tables"] = (TierTable(name="plain", rates=[1 / 64, 1 / 32], floors=[0.0, 64.0]),)
        if rng.random() < 0.5:
            changes |= {
                "closing_fee": "at_bankruptcy",
                "closing_fee_rate": 1 / 256,
                "margin_includes_closing_fee": bool(rng.random() < 0.5),
            }
        contracts[symbol] = dataclasses.replace(own, **changes)
    return dataclasses.replace(venue, contracts=contracts)


def scaled(
    bars: pl.DataFrame, frames: dict[str, pl.DataFrame], inverse: list[str], dyadic: bool
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Return quantities in quote, prices as powers of two, and collateral in other symbols alone."""
    own = pl.col("symbol").is_in(inverse)
    legs = frames["legs"].with_columns(pl.col("quantity") * pl.when(own).then(MIDDLE**2).otherwise(1.0))
    if dyadic:
        names = ("open", "high", "low", "close")
        bars = bars.with_columns(pl.when(own).then(power(name)).otherwise(sixteenth(name)) for name in names)
        price = "entry_price"
        legs = legs.with_columns(pl.when(own).then(power(price)).otherwise(sixteenth(price)))
    collateral = frames["collateral"].filter(~own)
    return bars, {**frames, "legs": legs, "collateral": collateral}


def power(name: str) -> pl.Expr:
    """Return the power of two nearest to a price whose distance from the middle counts eightfold."""
    steps = ((pl.col(name) / MIDDLE).log(2) * 8).round().clip(-5, 8)
    return (MIDDLE * pl.lit(2.0) ** steps).alias(name)


def sixteenth(name: str) -> pl.Expr:
    return ((pl.col(name) * 16).round() / 16).alias(name)


def alone(frames: dict[str, pl.DataFrame], inverse: list[str]) -> dict[str, pl.DataFrame]:
    """Return accounts of one position, without leverages and collateral: the legs that share the first one's."""
    legs = frames["legs"].filter(pl.col("symbol").is_in(inverse))
    first = [pl.col(name).first().over("account_id") for name in ("symbol", "side")]
    legs = legs.filter(pl.col("symbol") == first[0], pl.col("side") == first[1]).drop("leverage")
    accounts = frames["accounts"].filter(pl.col("account_id").is_in(legs["account_id"].implode()))
    transfers = frames["transfers"].filter(pl.col("account_id").is_in(legs["account_id"].implode()))
    return {
        **frames,
        "accounts": accounts,
        "legs": legs,
        "transfers": transfers,
        "collateral": frames["collateral"].clear(),
    }
