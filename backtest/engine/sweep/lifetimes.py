"""Holding periods until liquidation of positions opened at every bar, at every leverage and on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine import market_arrays
from backtest.engine.conventions import Conventions
from backtest.engine.sweep.prepare import Prepared, prepare
from backtest.errors import ArgumentError, TiersError
from backtest.kernel.study import lifetimes as kernel
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Codes, Floats, Integers, readonly
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time
from backtest.shown import shown

SIDES = {"long": 1.0, "short": -1.0}
SURVIVED, NOT_ALLOWED = kernel.SURVIVED, kernel.NOT_ALLOWED
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, eq=False)
@shown()
class Lifetimes:
    """The bar that liquidates a position opened at each bar's opening, counted from the symbol's first bar."""

    symbol: str
    leverages: Floats  #: (leverages,)
    interval: int  #: ms a bar covers
    times: Integers  #: (bars,) openings, ms
    known_until: Integers  #: (bars,) ms up to which the outcome of an entry at each opening is known
    bars: dict[str, Codes]  #: by side, (leverages, bars): a bar, or SURVIVED, or NOT_ALLOWED by its tier


@checked
def lifetimes(
    market: Market,
    venue: Venue,
    *,
    symbol: str | None = None,
    leverages: Sequence[float],
    notional: float = 10_000.0,
    horizon: timedelta | None = None,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> Lifetimes:
    """Return when a position opened at the opening of each bar would have been liquidated.

    Parameters
    ----------
    market, venue, tiers, threads
        As for ``sweep``, which gives the same answers for the same positions as rows.
    symbol
        Of the market; may be left out where there is only one.
    leverages
        Selected leverages, each opened with the initial margin.
    notional
        At the entry, in settlement currency: decides the tier.
    horizon
        Liquidations at or after this time from the entry are not looked for; None: to the end.

    Raises
    ------
    ArgumentError
        For an unknown symbol, numbers out of their range.
    TiersError
        For bars in which no table was in force.

    Examples
    --------
    >>> from backtest.study import survival
    >>> survival.lifetimes(market, venue, leverages=[10, 50]).bars["long"].shape
    (2, 408)
    """
    name = symbol_of(market, symbol)
    chosen = _checked(leverages, notional, horizon)
    prepared = _prepared(market, venue, name, chosen, tiers)
    number = market.symbols.index(name)
    times = market.times[market.firsts[number] : market.firsts[number + 1]]
    knowledge = np.empty(times.size, np.int64)
    kernel.ends_of_knowledge(prepared.bars, number, knowledge)
    interval = int(market.intervals[number])
    ends = knowledge
    if horizon is not None:
        ends = np.minimum(knowledge, np.searchsorted(times, times + horizon // MILLISECOND))
    trees = np.array([tree.symbol == number for tree in prepared.rules.trees])
    forest = market_arrays.forest_of(
        market, prepared.bars, prepared.funding, prepared.rules, trees, prepared.series
    )
    found: dict[str, Codes] = {}
    for side, sign in SIDES.items():
        trial = kernel.Trial(number, sign, float(notional), readonly(chosen), readonly(ends))
        hits: Codes = np.empty(chosen.size * times.size, np.int32)

        def run(begin: int, stop: int, trial: kernel.Trial = trial, hits: Codes = hits) -> None:
            shared = (prepared.bars, prepared.funding, prepared.rules.rules, forest, trial)
            kernel.first_bars(*shared, kernel.scratch(), hits, begin, stop)

        in_chunks(run, hits.size, threads)
        found[side] = hits.reshape(chosen.size, times.size)
    _require_tables(found, times, name)
    return Lifetimes(name, chosen, interval, times, times[knowledge - 1] + interval, found)


@checked
def symbol_of(market: Market, symbol: str | None) -> str:
    """Return the symbol asked for, or the only one there is."""
    if symbol is None and len(market.symbols) == 1:
        return market.symbols[0]
    if symbol not in market.symbols:
        known = ", ".join(market.symbols)
        raise ArgumentError(f"must be one of the bars' ({known}), is {symbol!r}", argument="symbol")
    return symbol


def _checked(leverages: Sequence[float], notional: float, horizon: timedelta | None) -> Floats:
    chosen = np.array(leverages, np.float64)
    if chosen.ndim != 1 or not chosen.size or not ((chosen >= 1) & np.isfinite(chosen)).all():
        raise ArgumentError(f"must be numbers of 1 or more, are {list(leverages)!r}", argument="leverages")
    if not 0 < notional < np.inf:
        raise ArgumentError(f"must be finite and above zero, is {notional!r}", argument="notional")
    if horizon is not None and horizon < MILLISECOND:
        raise ArgumentError(f"must be above zero, is {horizon}", argument="horizon")
    return chosen


def _prepared(market: Market, venue: Venue, symbol: str, leverages: Floats, tiers: Tiers) -> Prepared:
    """Return the arrays of a market and a venue, prepared for a book of these leverages."""
    first = market.bars.filter(pl.col("symbol") == symbol).head(1)
    book = Book(
        pl.DataFrame(
            {
                "position_id": np.arange(leverages.size),
                "symbol": pl.repeat(symbol, leverages.size, eager=True),
                "side": pl.repeat("long", leverages.size, eager=True).cast(Side),
                "entry_time": pl.repeat(first["time"][0], leverages.size, eager=True).cast(Time),
                "entry_price": np.repeat(max(first["open"][0], 1e-9), leverages.size),
                "quantity": np.ones(leverages.size),
                "leverage": leverages,
            }
        )
    )
    return prepare(book, market, venue, Conventions(tiers=tiers))


def _require_tables(found: dict[str, Codes], times: Integers, symbol: str) -> None:
    without = found["long"][0] == kernel.NO_TABLE
    if without.any():
        first = pl.Series([times[np.argmax(without)]]).cast(Time)[0]
        raise TiersError(
            f"{symbol}: no table of tiers was in force at {without.sum():,} of {times.size:,} openings, "
            f"first at {first:%Y-%m-%d %H:%M} UTC"
        )
