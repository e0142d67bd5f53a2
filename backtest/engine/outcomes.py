"""Frames of outcomes, from the arrays that kernels write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from backtest.engine import columns
from backtest.engine.notional import contract_kind, entry_notional
from backtest.kernel.arrays import NO_TIME, Positions
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.types import Bytes, Flags, Integers
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook, groups_after

#: Types of arrays that hold no float64.
FLAGS = ("ambiguous", "certainly_liquidated", "possibly_liquidated", "begun")
TYPES = {"outcome": np.uint8, "time": np.int64, **dict.fromkeys(FLAGS, np.bool_)}

#: Amounts and quantities of a replay, zero where nothing happened.
SUMMED = ("filled", "taken", "deleveraged", "fees", "fund_effect", "clawed", "added", "grown")


def empty(fields: Iterable[str], count: int, **sizes: int) -> dict[str, Any]:
    """Return an array for each field of outcomes; ``sizes`` of those whose size is not ``count``."""
    return {name: np.empty(sizes.get(name, count), TYPES.get(name, np.float64)) for name in fields}


def groups_at_the_end(
    rules: Rulebook, market: Market, positions: Positions, groups: Integers, outcome: Bytes, time: Integers
) -> Integers:
    """Return the groups that positions were last under; ``groups`` are those of their entries.

    Parameters
    ----------
    outcome, time : (n,) code, and opening of the bar, of each position's outcome; ``NO_TIME`` where there is none
    """
    if (rules.rules.successor < 0).all():
        return groups
    last = time.copy()
    lost = np.flatnonzero(outcome == OutcomeCode.UNKNOWN)
    for number, (first, end) in enumerate(zip(market.firsts[:-1], market.firsts[1:], strict=True)):
        own = lost[positions.symbol[lost] == number] if lost.size else lost
        openings = market.times[first:end]
        last[own] = openings[np.searchsorted(openings, time[own]) - 1]
    never = np.flatnonzero(time == NO_TIME)
    last[never] = market.times[market.firsts[1:] - 1][positions.symbol[never]]
    last[outcome == OutcomeCode.REJECTED] = NO_TIME
    return groups_after(rules.rules, groups, last)


def tiers_of(rules: Rulebook, groups: Integers) -> dict[str, pl.Series]:
    """Return the tier table of each position, and how it comes to apply."""
    of_groups = {
        "tier_table": [own.table.name for own in rules.groups],
        "tier_source": [own.tier_source for own in rules.groups],
    }
    return {
        name: pl.Series(values, dtype=pl.String).gather(pl.Series(groups)) for name, values in of_groups.items()
    }


def price_venue(market: Market) -> pl.Expr:
    """Return the expression of the venue that the prices are from, null where it is not known."""
    return pl.lit(market.price_venue or None, pl.String)


def reject(arrays: Mapping[str, Any], rejected: Flags) -> None:
    """Write the outcome of positions that could not have been opened: of all else there is nothing.

    Parameters
    ----------
    arrays : (n,) as kernels wrote them, by field
    rejected : (n,) which positions
    """
    if not rejected.any():
        return
    nothing = {"outcome": OutcomeCode.REJECTED, "time": NO_TIME} | dict.fromkeys(SUMMED, 0.0)
    for name, array in arrays.items():
        if array.size:
            array[rejected] = nothing.get(name, np.nan if array.dtype == np.float64 else False)


def named(
    positions: pl.DataFrame,
    contracts: Sequence[Contract],
    outcome: pl.Enum,
    arrays: dict[str, Any],
    origin: Mapping[str, Any],
    names: Iterable[str],
) -> pl.DataFrame:
    """Return positions with the columns of their outcomes; missing values are null.

    Parameters
    ----------
    contracts : of the positions' symbols
    outcome : what the codes of ``outcome`` mean
    arrays : (n,) by the name of their column; ``grown``, what additions add to entry notionals, may be empty
    origin : what :func:`tiers_of` returns, and ``price_venue``
    names : of the columns, in order: those of the arrays, and what follows from them and from the positions
    """
    time, until = arrays["outcome_time"], arrays["outcome_until"]
    opened = entry_notional(contracts)
    values = {
        name: array for name, array in arrays.items() if array.dtype == np.float64 and array.size == time.size
    }
    found: dict[str, Any] = {name: columns.numbers(array) for name, array in values.items()} | {
        **{name: pl.Series(array) for name, array in arrays.items() if array.dtype == np.bool_},
        "outcome": columns.categories(outcome, arrays["outcome"]),
        "liquidated": pl.Series(arrays["outcome"] == OutcomeCode.LIQUIDATED),
        "outcome_time": columns.times(time),
        "outcome_until": columns.times(until, time != NO_TIME),
        "entry_notional": opened if arrays["grown"].size == 0 else opened + columns.numbers(arrays["grown"]),
        "contract_kind": contract_kind(contracts),
        **origin,
    }
    return positions.with_columns(**{name: found[name] for name in names})
