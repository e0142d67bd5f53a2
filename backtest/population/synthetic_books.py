"""Synthetic books: positions drawn from stated laws.

Most exchanges publish no books, so every number here is an assumption. The book's ``assumptions`` list each of
them, the seed, and whether the positions drawn meet the figures published of real books.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

import numpy as np
import polars as pl

from backtest.amounts import percent
from backtest.book.book import Book
from backtest.engine.columns import categories
from backtest.errors import ArgumentError, quoted
from backtest.kernel.types import Flags, Floats, Integers
from backtest.market.market import Market
from backtest.population.draws import (
    HoldingLaw,
    LeverageMix,
    SizeLaw,
    entry_rows,
    parts_by_table,
    shares_by_symbol,
    traded_notional,
)
from backtest.population.sides import SideLaw
from backtest.population.targets import of_positions
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side, Time

__all__ = ["HIGH", "LOW", "MIXED", "LeverageMix", "synthetic"]

#: A retail venue of 2021: many positions at high leverage.
MIXED = LeverageMix(((2, 5, 0.15), (5, 10, 0.20), (10, 20, 0.25), (20, 50, 0.25), (50, 125, 0.15)))
LOW = LeverageMix(((2, 5, 1.0),))
HIGH = LeverageMix(((20, 125, 1.0),))

Entries = Literal["volume", "time"]

#: Positions of a book: more than a memory holds.
MOST = 10**10


@checked
def synthetic(
    market: Market,
    venue: Venue,
    *,
    count: int,
    seed: int,
    tiers: Tiers = "strict",
    symbol_shares: Mapping[str, float] | None = None,
    entries: Entries = "volume",
    long_share: float = 0.5,
    funding_lean: float = 0.0,
    leverage_mix: LeverageMix = MIXED,
    median_size: float = 900.0,
    size_spread: float = 2.15,
    tail_index: float = 1.0,
    largest_size: float = 1e8,
    median_holding: timedelta | None = timedelta(hours=12),
    holding_spread: float = 1.4,
) -> Book:
    """Return a synthetic book: independent positions, each opened at a bar's open at the mark price.

    Parameters
    ----------
    market, venue, tiers
        Where positions are opened, and the rules that limit their size and leverage, as for ``sweep``.
    count
        Positions drawn.
    seed
        The same seed gives the same book; other tiers change only the sizes and leverages they limit.
    symbol_shares
        Shares of positions by symbol. By default by notional traded, or equal where bars have no volume.
    entries
        Chance of a bar within its symbol: ``volume``, proportional to the notional traded in it where bars have
        volume; ``time``, equal.
    long_share, funding_lean
        Share of positions that are long: a half, because every contract has two sides. The lean is added where the
        last funding rate at or before the entry was positive, and subtracted where it was negative.
    leverage_mix
        Shares of positions by range of leverage. Leverage beyond the limit of a position's tier is lowered to it.
    median_size, size_spread
        Sizes are entry notionals in quote currency (of face-value contracts, payouts), lognormal: the median at
        the mix's typical leverage, and the standard deviation of the logarithm. The defaults fit the liquidations
        that one venue published. Size falls with leverage.
    tail_index, largest_size
        The largest hundredth follows a Pareto law of this index (real books: 0.8 to 1.2), truncated at the
        largest size or at the end of the tier table.
    median_holding, holding_spread
        The time to the exit is lognormal: the defaults have a mean of 32 hours, about what open interest over
        volume gives. None: held to the end.

    Raises
    ------
    ArgumentError
        For a number out of its range, or shares that do not add up to one.
    DataError
        For a lean by funding in a market without.
    TiersError
        Where positions are opened while no tiers are in force.

    Examples
    --------
    >>> from backtest.population import synthetic
    >>> drawn = synthetic(market, "binance", count=1_000, seed=1, median_holding=None)
    >>> drawn.assumptions[0]
    'synthetic book: 1,000 positions, seed 1, opened at the open of a bar at the mark price'
    >>> drawn.positions["leverage"].median()
    15.0
    """
    _require_whole("count", count, least=1, most=MOST)
    _require_whole("seed", seed, least=0)
    laws = _Laws(
        shares_by_symbol(market, symbol_shares),
        entries,
        SideLaw(long_share, funding_lean),
        leverage_mix,
        SizeLaw(median_size, size_spread, tail_index, largest_size),
        HoldingLaw(median_holding, holding_spread),
    )
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = _draw(market, laws, rng, count=count, venue=venue, tiers=tiers)
    stated = f"synthetic book: {count:,} positions, seed {seed}, opened at the open of a bar at the mark price"
    return Book(_positions(market, drawn), assumptions=(stated, *_assumptions(market, laws, drawn)))


@dataclass(frozen=True, eq=False)
class _Laws:
    """Laws of one book."""

    symbol_shares: Mapping[str, float]
    entries: Entries
    sides: SideLaw
    leverage_mix: LeverageMix
    sizes: SizeLaw
    holding: HoldingLaw

    def __post_init__(self) -> None:
        """Raise for an unknown profile of entries, and for what is no mix."""
        if self.entries not in get_args(Entries):
            raise ArgumentError(
                f"must be one of {', '.join(get_args(Entries))}, is {self.entries!r}", argument="entries"
            )
        if not isinstance(self.leverage_mix, LeverageMix):
            raise ArgumentError(f"must be a LeverageMix, is {self.leverage_mix!r}", argument="leverage_mix")

    def profile(self, market: Market) -> Floats:
        """Return (rows,) weights of an entry in each bar; zeros where all bars are alike."""
        traded = traded_notional(market)
        return traded if self.entries == "volume" else np.zeros_like(traded)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A book as arrays, (n,) each, in the order of the market's bars."""

    rows: Integers  #: bar of the entry
    is_short: Flags
    exit_time: Integers | None  #: ms
    size: Floats  #: quote
    quantity: Floats
    leverage: Floats
    lowered: float  #: share of positions whose tier did not allow the leverage drawn


def _draw(
    market: Market, laws: _Laws, rng: np.random.Generator, *, count: int, venue: Venue, tiers: Tiers
) -> _Drawn:
    """Return a book; whatever the tiers are, the same numbers are drawn in the same order."""
    rows = entry_rows(market, laws.symbol_shares, laws.profile(market), count, rng)
    leverage = laws.leverage_mix.draw(rng, count)
    is_short = rng.random(count) >= laws.sides.long_shares(market, rows)
    exit_time = laws.holding.exit_times(market.times[rows], rng)
    normal, price = rng.standard_normal(count), market.prices("mark", "open")[rows]
    size, quantity, limit = np.empty(count), np.empty(count), np.empty(count)
    for part in parts_by_table(market, venue, tiers, rows):
        own = part.rows
        relative = leverage[own] / laws.leverage_mix.typical
        bound = part.largest_size(price[own], laws.sizes.largest_size)
        size[own] = laws.sizes.sizes(relative, normal[own], bound, rng)
        quantity[own] = part.quantity(size[own], price[own])
        limit[own] = part.leverage_limit(quantity[own], price[own])
    lowered = float(np.mean(leverage > limit))
    np.minimum(leverage, limit, out=leverage)
    return _Drawn(rows, is_short, exit_time, size, quantity, leverage, lowered)


def _positions(market: Market, drawn: _Drawn) -> pl.DataFrame:
    count = drawn.rows.size
    exit_time = pl.Series(drawn.exit_time) if drawn.exit_time is not None else pl.repeat(None, count, eager=True)
    return pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": _symbols(market, drawn.rows),
            "side": categories(Side, drawn.is_short.astype(np.uint32)),
            "entry_time": pl.Series(market.times[drawn.rows]).cast(Time),
            "entry_price": market.prices("mark", "open")[drawn.rows],
            "quantity": drawn.quantity,
            "leverage": drawn.leverage,
            "exit_time": exit_time.cast(Time),
        }
    )


def _symbols(market: Market, rows: Integers) -> pl.Series:
    counts = np.diff(np.searchsorted(rows, market.firsts)).tolist()
    named = zip(market.symbols, counts, strict=True)
    return pl.concat([pl.repeat(symbol, n, dtype=pl.String, eager=True) for symbol, n in named], rechunk=True)


def _assumptions(market: Market, laws: _Laws, drawn: _Drawn) -> Iterator[str]:
    """Yield the assumptions, and the book as drawn compared with published figures of 2021."""
    in_time = "in proportion to notional traded" if laws.profile(market).any() else "uniform over time"
    by_symbol = ", ".join(f"{symbol} {percent(share)}" for symbol, share in laws.symbol_shares.items())
    yield f"entries: {in_time}, by symbol {by_symbol}, {laws.sides}"
    yield (
        f"leverage by count: {laws.leverage_mix}, log-uniform inside a range, whole numbers, "
        f"{percent(drawn.lowered)} of positions lowered to the limit of their tier"
    )
    yield f"sizes: {laws.sizes}"
    yield f"exits: {laws.holding}"
    yield from of_positions(drawn.leverage, drawn.size)


def _require_whole(name: str, value: int, *, least: int, most: int | None = None) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ArgumentError(f"must be a whole number of at least {least}, is {value!r}", argument=name)
    if most is not None and value > most:
        raise ArgumentError(f"must be at most {most:,}, is {quoted(value)}", argument=name)
