"""Maintenance margin: whether a tier's rate covers closing a liquidated position of its size.

Closing a notional Q takes tau = Q / (participation x volume a unit of time) and costs a fee and the impact
Y sigma sqrt(Q / V), sigma the volatility of a day and V the volume of one (Donier and Bonart 2015 on BTC). While
closing lasts, the price moves further against the position. So a rate of the notional suffices at level q when

    required = fee + impact(Q) + q-quantile of the adverse move within tau

and where it does not, the venue bears the difference. The adverse move is taken from every open, and also, because
venues close positions only when markets move against them, from the fills of liquidations at the tier's highest
leverage: equal positions opened at every bar (or every few) that the sweep liquidates. The resolution is whole
bars: a position that takes less than one is exposed for one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import notional_of
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side
from backtest.study.margins.close_out import USUAL, Closing, Exit, after_liquidation
from backtest.study.margins.tail_laws import MOVES

#: Keeps a notional at a tier's end inside it after dividing by the price and multiplying again.
WITHIN = 1 - 1e-9

#: A move this much beyond a rate is at the rate, but for rounding.
ROUNDING = 1e-12

LEVELS = (0.99, 0.995, 0.999)

#: Rates are suggested in steps of it.
RATE_STEP = 0.0005

#: Candidate sizes for a suggested cap.
SIZES = tuple(digit * 10.0**power for power in range(3, 10) for digit in (1, 2, 5))

BEYOND = dict.fromkeys(("rate", "shortfall_share", "bad_debt"), pl.Float64)
TIER: dict[str, Any] = {
    "tier": pl.Int64,
    "side": Side,
    "condition": pl.String,
    **dict.fromkeys(("floor", "size", "contracts", "max_leverage"), pl.Float64),
    "time_to_close": pl.Duration("us"),
    "cost": pl.Float64,
    "moves": pl.Int64,
}
SUGGESTED = BEYOND | dict.fromkeys(("suggested_rate", "suggested_cap"), pl.Float64)
BAD_DEBT: dict[str, Any] = {"side": Side, "size": pl.Float64, "time_to_close": pl.Duration("us"), **BEYOND}


@checked
def tier_adequacy(
    market: Market,
    venue: Venue,
    *,
    table: str,
    symbol: str | None = None,
    closing: Closing = USUAL,
    levels: Sequence[float] = LEVELS,
    level: float = 0.995,
    open_end: float = 10_000_000.0,
) -> pl.DataFrame:
    """Return whether each tier's maintenance rate covers closing its largest position.

    Parameters
    ----------
    market : bars with ``volume`` in base units, unless ``closing`` gives the volume
    venue, table : the table of tiers of the symbol's contract; sizes in contracts are turned into settlement
        currency at the median close of the bars, and moves after liquidation are for that number of contracts
    levels : of the required rates; ``level`` is that of the suggestions
    open_end : size assumed for a last tier without an end

    Returns
    -------
    A row a tier, side and ``condition`` (``every opening``, or ``after liquidation`` at the tier's highest
    leverage; none where the table lacks it or nothing was liquidated): ``floor, size`` (assumed) in
    settlement currency, ``contracts`` (null where the table does not count them), ``rate, max_leverage,
    time_to_close, cost`` (fee and impact), ``moves`` (their number), ``required_L`` for each level in per cent,
    ``shortfall_share`` of moves, ``bad_debt`` expected per million closed, ``suggested_rate``, the required one at
    ``level`` in steps of 0.05 %, and ``suggested_cap``, the largest round size up to which the rate suffices at
    every open: null where none does.

    Raises
    ------
    DataError
        For bars without volume where none is given.
    ArgumentError
        For a table keyed by leverage, which has no sizes; levels out of their range.

    Examples
    --------
    >>> from backtest.study import margins
    >>> terms = margins.Closing(daily_volume=1e10)
    >>> found = margins.tier_adequacy(market, venue, table="2021-03-18", closing=terms)
    >>> found.filter(side="long", condition="every opening").select("tier", "rate", "required_99").head(2)
    shape: (2, 3)
    ┌──────┬───────┬─────────────┐
    │ tier ┆ rate  ┆ required_99 │
    │ ---  ┆ ---   ┆ ---         │
    │ i64  ┆ f64   ┆ f64         │
    ╞══════╪═══════╪═════════════╡
    │ 1    ┆ 0.004 ┆ 0.067576    │
    │ 2    ┆ 0.005 ┆ 0.06779     │
    └──────┴───────┴─────────────┘
    """
    if not all(0 < each < 1 for each in (*levels, level)):
        raise ArgumentError(f"must lie between 0 and 1, are {[*levels, level]}", argument="levels")
    terms = Exit.of(market, closing, symbol, venue)
    found = venue.contract(terms.market.symbols[0]).table(table)
    if not found.by_size:
        raise ArgumentError(
            f"tier_adequacy needs tiers by size: those of {table} are by leverage, one rate for any size"
        )
    rows = [
        row
        for tier in range(len(found))
        for side in MOVES
        for row in _tier_rows(terms, venue, found, tier, side, (levels, level, open_end))
    ]
    required = {f"required_{100 * each:g}": pl.Float64 for each in levels}
    return pl.DataFrame(rows, schema=TIER | required | SUGGESTED)


@checked
def bad_debt(
    market: Market,
    *,
    sizes: Sequence[float],
    rates: Sequence[float],
    symbol: str | None = None,
    closing: Closing = USUAL,
    venue: Venue | None = None,
) -> pl.DataFrame:
    """Return the expected bad debt of closing positions, by size and maintenance rate.

    Parameters
    ----------
    sizes : notional in settlement currency
    venue : gives the kind of contract; linear without one

    Returns
    -------
    ``side, size, rate, time_to_close, shortfall_share`` of moves from every open that the rate does not cover,
    ``bad_debt`` expected per million of notional closed.

    Examples
    --------
    >>> from backtest.study import margins
    >>> terms = margins.Closing(daily_volume=1e10)
    >>> found = margins.bad_debt(market, sizes=[1e5], rates=[0.005, 0.05], closing=terms)
    >>> found.select("side", "rate", pl.col("shortfall_share").round(3)).rows()
    [('long', 0.005, 0.733), ('long', 0.05, 0.027), ('short', 0.005, 0.735), ('short', 0.05, 0.017)]
    """
    terms = Exit.of(market, closing, symbol, venue)
    needed = {
        (side, float(size)): terms.moves(side, terms.bars(size)) + terms.cost(size)
        for size in sizes
        for side in MOVES
    }
    rows = [
        {"side": side, "size": size, "time_to_close": terms.time(size), **_beyond(moves, float(rate))}
        for (side, size), moves in needed.items()
        for rate in rates
    ]
    return pl.DataFrame(rows, schema=BAD_DEBT)


def _tier_rows(
    terms: Exit,
    venue: Venue,
    table: TierTable,
    tier: int,
    side: str,
    settings: tuple[Sequence[float], float, float],
) -> Iterator[dict[str, Any]]:
    levels, level, open_end = settings
    worth, quantity = _contract(terms, venue, table)
    ends = [*table.floors[1:], table.cap if math.isfinite(table.cap) else max(open_end / worth, table.floors[-1])]
    size, rate, leverage = float(ends[tier]) * worth, float(table.rates[tier]), float(table.max_leverages[tier])
    horizon, cost = terms.bars(size), terms.cost(size)
    conditions = {"every opening": terms.moves(side, horizon)}
    if math.isfinite(leverage):
        held = size if quantity is None else float(ends[tier]) * quantity
        conditions["after liquidation"] = after_liquidation(
            terms.market, venue, table.name, held * WITHIN, side=side, leverage=leverage, horizon=horizon,
            counted="notional" if quantity is None else "quantity",
        )  # fmt: skip
    for condition, moves in conditions.items():
        if not moves.size:
            continue
        needed = moves + cost
        required = float(np.quantile(needed, level))
        yield {
            "tier": tier + 1,
            "side": side,
            "condition": condition,
            "floor": float(table.floors[tier]) * worth,
            "size": size,
            "contracts": None if quantity is None else float(ends[tier]),
            "max_leverage": leverage,
            "time_to_close": terms.time(size),
            "cost": cost,
            "moves": moves.size,
            **{f"required_{100 * each:g}": float(np.quantile(needed, each)) for each in levels},
            **_beyond(needed, rate),
            "suggested_rate": math.ceil(required / RATE_STEP - 1e-9) * RATE_STEP,
            "suggested_cap": _suggested_cap(terms, side, rate, level),
        }


def _contract(terms: Exit, venue: Venue, table: TierTable) -> tuple[float, float | None]:
    """Return the value of the table's unit of size, and its quantity where it is a contract."""
    if table.size == "notional":
        return 1.0, None
    kind = ContractKind.code(venue.contract(terms.market.symbols[0]).kind)
    return table.contract_size * notional_of(kind, 1.0, terms.price), table.contract_size


def _beyond(needed: Floats, rate: float) -> dict[str, float]:
    """Return how often closing cost more than a rate, and the expected excess per million."""
    beyond = np.where(needed > rate + ROUNDING, needed - rate, 0.0)
    return {"rate": rate, "shortfall_share": float((beyond > 0).mean()), "bad_debt": float(beyond.mean()) * 1e6}


def _suggested_cap(terms: Exit, side: str, rate: float, level: float) -> float | None:
    cap = None
    for size in SIZES:
        if terms.cost(size) + float(np.quantile(terms.moves(side, terms.bars(size)), level)) > rate:
            return cap
        cap = size
    return cap
