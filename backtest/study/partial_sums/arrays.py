"""Arrays of outcomes for the kernels of sums, and their results as columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.columns import categories
from backtest.engine.sweep.survey import symbol_codes
from backtest.errors import DataError
from backtest.kernel.arrays import NO_TIME
from backtest.kernel.study import sums
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.schemas.frames import Side
from backtest.study.liquidations.exact_sums import require
from backtest.study.liquidations.grouping import LEVERAGE_EDGES, bucket_type

#: Groups there is room for at first; four times as many whenever they do not suffice.
FIRST_ROOM = 4_096

#: Flags of outcomes, from the lowest bit.
FLAGS = ("liquidated", "certainly_liquidated", "possibly_liquidated", "ambiguous")

EDGES = readonly(np.array(LEVERAGE_EDGES))


def symbols_of(outcomes: pl.DataFrame) -> tuple[str, ...]:
    """Return the symbols of outcomes; a part of a book mostly has one."""
    symbols = outcomes["symbol"]
    if symbols.len() and (symbols == symbols[0]).all():
        return (symbols[0],)
    return tuple(symbols.unique(maintain_order=True))


def rows_of(outcomes: pl.DataFrame, symbols: tuple[str, ...]) -> sums.Rows:
    """Return the columns of outcomes that every sum needs."""
    require(outcomes, "entry_notional")
    notional, has_leverage = floats(outcomes, "entry_notional"), "leverage" in outcomes.columns
    has_weight = "weight" in outcomes.columns
    return sums.Rows(
        symbol=symbol_codes(outcomes["symbol"], symbols),
        side=_codes(outcomes["side"]),
        outcome=_codes(outcomes["outcome"]),
        time=readonly(outcomes["outcome_time"].to_physical().fill_null(NO_TIME).rechunk().to_numpy()),
        entry_notional=notional,
        leverage=floats(outcomes, "leverage" if has_leverage else "margin"),
        has_leverage=has_leverage,
        weight=floats(outcomes, "weight") if has_weight else notional,
        has_weight=has_weight,
    )


def fills_of(outcomes: pl.DataFrame) -> sums.Fills:
    """Return what flows need of outcomes beside."""
    notional, decays = floats(outcomes, "fill_notional"), "surviving_weight" in outcomes.columns
    flags = [outcomes[name].to_numpy().astype(np.uint8) << bit for bit, name in enumerate(FLAGS)]
    return sums.Fills(
        flags=readonly(np.bitwise_or.reduce(flags)),
        left=floats(outcomes, "surviving_weight") if decays else notional,
        decays=decays,
        notional=notional,
        shortfall=floats(outcomes, "shortfall"),
    )


def spans_of(outcomes: pl.DataFrame, symbols: tuple[str, ...], market: Market) -> sums.Spans:
    """Return when positions began, and when bars, long gaps and histories of their symbols end."""
    number = np.array([market.symbols.index(symbol) for symbol in symbols], np.int64)
    places = pl.DataFrame(
        {"symbol": symbols, "place": np.arange(len(symbols))}, schema_overrides={"symbol": pl.String}
    )
    gaps = market.gaps().filter("long").join(places, on="symbol").sort("place", "end")
    return sums.Spans(
        entry_time=readonly(outcomes["entry_time"].to_physical().rechunk().to_numpy()),
        interval=readonly(market.intervals[number]),
        last=readonly((market.times[market.firsts[1:] - 1] + market.intervals)[number]),
        gap_first=readonly(np.searchsorted(gaps["place"].to_numpy(), np.arange(len(symbols) + 1))),
        gap_start=readonly(gaps["start"].to_physical().to_numpy()),
        gap_end=readonly(gaps["end"].to_physical().to_numpy()),
    )


def add_up(add: Callable[[int, sums.Groups, int], tuple[int, int]], rows: int) -> sums.Groups:
    """Return the groups of all rows.

    Parameters
    ----------
    add : a kernel of sums, which adds rows from one on to groups, of which there are so many
    rows : how many there are to add

    Raises
    ------
    DataError
        For amounts of more units than int64 holds.
    """
    groups = room(FIRST_ROOM)
    row, count = add(0, groups, 0)
    while row < rows:
        if count == sums.TOO_LARGE:
            raise DataError(
                f"outcomes: amounts must add up to less than 2^62 units: with row {row:,} they are more"
            )
        groups = more_room(groups, count)
        row, count = add(row, groups, count)
    return groups._replace(
        code=groups.code[:count],
        moment=groups.moment[:count],
        sums=groups.sums[:count],
        largest=groups.largest[:count],
    )


def trader_columns(symbols: tuple[str, ...], traders: Integers) -> dict[str, pl.Series]:
    """Return symbol, side and leverage bucket from their bits."""
    return {
        "symbol": pl.Series(symbols, dtype=pl.String).gather(traders >> 4),
        "side": categories(Side, traders >> 3 & 1),
        "leverage_bucket": categories(bucket_type(), traders & 7),
    }


def floats(outcomes: pl.DataFrame, name: str) -> Floats:
    """Return a column of numbers, NaN for null."""
    return readonly(outcomes[name].fill_null(float("nan")).rechunk().to_numpy())


def _codes(column: pl.Series) -> Any:
    return readonly(column.to_physical().rechunk().to_numpy())


def room(size: int) -> sums.Groups:
    """Return empty groups, with room for a power of two of them."""
    return sums.Groups(
        slot=np.full(2 * size, -1),
        code=np.empty(size, np.int64),
        moment=np.empty(size, np.int64),
        sums=np.zeros((size, sums.WIDTH), np.int64),
        largest=np.full(size, np.nan),
    )


def more_room(groups: sums.Groups, count: int) -> sums.Groups:
    """Return the same groups in four times the room."""
    larger = room(4 * count)
    for own, known in zip(larger[1:], groups[1:], strict=True):
        own[:count] = known
    sums.place_again(larger, count)
    return larger
