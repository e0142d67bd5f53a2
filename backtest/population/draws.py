"""Laws of a synthetic book: leverage, sizes, holding times and entries, and the tiers that limit them.

Each law describes itself in words for the book's assumptions. Draws are arrays in the order of a market's bars: by
symbol, then by time. A size is the entry notional in quote currency; of a face-value contract, its payout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.margin import table_size
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import Tiers, by_symbol, not_in_force, timeline
from backtest.rules.venue import Venue

#: Where the Pareto tail of sizes begins, in standard deviations above the median: the largest hundredth.
TAIL_FROM = 2.3263478740408408

#: Size falls with leverage to this power: the median size at 100 times is a tenth of that at 10.
SIZE_BY_LEVERAGE = -1.0

#: Sizes stay this fraction under the end of a table, so that no rounding passes it.
CLEARANCE = 1e-9

LONGEST_HOLDING = timedelta(days=36_525)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class LeverageMix:
    """Shares of positions, by count, in ranges of leverage; log-uniform inside a range, in whole numbers."""

    ranges: tuple[tuple[float, float, float], ...]  #: (lowest, highest, share)

    def __post_init__(self) -> None:
        """Raise for an invalid range, and for shares that do not add up to one."""
        for low, high, share in self.ranges:
            if not (1 <= low <= high < np.inf and 0 <= share <= 1):
                raise ArgumentError(
                    "leverage_mix needs ranges with 1 <= lowest <= highest and shares from 0 to 1, "
                    f"has ({low:g}, {high:g}, {share:g})"
                )
        require_shares("the shares of leverage_mix", [share for *_, share in self.ranges])

    def __str__(self) -> str:
        return ", ".join(f"{low:g} to {high:g} times {100 * share:g} %" for low, high, share in self.ranges)

    @property
    def typical(self) -> float:
        """The geometric mean."""
        return float(np.exp(sum(share * np.log(low * high) / 2 for low, high, share in self.ranges)))

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Return (count,) leverages."""
        shares = np.array([share for *_, share in self.ranges])
        ends = np.cumsum(shares)
        cumulative = np.stack([ends - shares, ends], axis=1).ravel()
        bounds = np.log([bound for low, high, _ in self.ranges for bound in (low, high)])
        leverage = np.asarray(np.interp(rng.random(count), cumulative, bounds), np.float64)
        np.exp(leverage, out=leverage)
        return np.rint(leverage, out=leverage)


@dataclass(frozen=True)
class SizeLaw:
    """Lognormal sizes that fall with leverage, their largest hundredth after a truncated Pareto law."""

    median_size: float  #: quote, at the typical leverage
    size_spread: float  #: standard deviation of the logarithm
    tail_index: float
    largest_size: float  #: quote

    def __post_init__(self) -> None:
        """Raise for numbers that are not finite and above zero (the spread: zero or more)."""
        for name in ("median_size", "tail_index", "largest_size"):
            require_number(name, getattr(self, name), above_zero=True)
        require_number("size_spread", self.size_spread)

    def __str__(self) -> str:
        return (
            f"lognormal with median {self.median_size:,.10g} at the typical leverage and logarithmic spread "
            f"{self.size_spread:g}, falling with leverage^{SIZE_BY_LEVERAGE:g}, the largest hundredth Pareto with "
            f"index {self.tail_index:g} up to {self.largest_size:,.10g} or the end of the tiers"
        )

    def sizes(self, relative: Floats, normal: Floats, bound: Floats, rng: np.random.Generator) -> Floats:
        """Return sizes.

        Parameters
        ----------
        relative : (n,) leverage over the typical leverage
        normal : (n,) standard normal draws
        bound : (n,) quote, the largest size of each
        rng : for a uniform draw for each size in the tail
        """
        median = self.median_size * relative**SIZE_BY_LEVERAGE
        size: Floats = median * np.exp(self.size_spread * normal)
        tail = np.flatnonzero(normal > TAIL_FROM)
        start = median[tail] * np.exp(self.size_spread * TAIL_FROM)
        beyond = np.minimum(start / bound[tail], 1.0) ** self.tail_index
        size[tail] = start * (1 - rng.random(tail.size) * (1 - beyond)) ** (-1 / self.tail_index)
        return np.minimum(size, bound, out=size)


@dataclass(frozen=True)
class HoldingLaw:
    """Lognormal times from entry to exit."""

    median_holding: timedelta | None  #: None: held to the end
    holding_spread: float  #: standard deviation of the logarithm

    def __post_init__(self) -> None:
        """Raise for a median that is no time, and a spread that is no number."""
        median = self.median_holding
        is_time = isinstance(median, timedelta) and MILLISECOND <= median <= LONGEST_HOLDING
        if median is not None and not is_time:
            raise ArgumentError(
                f"must be a timedelta from a millisecond to a century, or None, is {median!r}",
                argument="median_holding",
            )
        require_number("holding_spread", self.holding_spread)

    def __str__(self) -> str:
        if self.median_holding is None:
            return "held to the end"
        return (
            f"held for a lognormal time with median {self.median_holding / timedelta(hours=1):g} hours and "
            f"logarithmic spread {self.holding_spread:g}"
        )

    def exit_times(self, entry_times: Integers, rng: np.random.Generator) -> Integers | None:
        """Return (n,) UTC milliseconds at which positions are closed."""
        if self.median_holding is None:
            return None
        held = rng.standard_normal(entry_times.size)
        held *= self.holding_spread
        np.exp(held, out=held)
        held *= self.median_holding / MILLISECOND
        np.clip(held, 1, LONGEST_HOLDING / MILLISECOND, out=held)
        return entry_times + held.astype(np.int64)


def traded_notional(market: Market) -> Floats:
    """Return (rows,) the notional traded in each bar at the bar's open (mark price); zeros without volume."""
    openings = market.prices("mark", "open")
    volume = market.bars["volume"].to_numpy() if "volume" in market.bars.columns else np.zeros(openings.size)
    return np.asarray(volume * openings)


def shares_by_symbol(market: Market, shares: Mapping[str, float] | None) -> dict[str, float]:
    """Return each symbol's share of positions: as given, or by notional traded, or equal where none is known."""
    if shares is not None:
        unknown = sorted(set(shares) - set(market.symbols))
        if unknown:
            known = ", ".join(market.symbols)
            raise ArgumentError(f"symbol_shares name {', '.join(unknown)}: the market has {known}")
        require_shares("symbol_shares", list(shares.values()))
        return dict(shares)
    traded = np.add.reduceat(traded_notional(market), market.firsts[:-1])
    weights = traded if traded.any() else np.ones(traded.size)
    return dict(zip(market.symbols, (weights / weights.sum()).tolist(), strict=True))


def entry_rows(
    market: Market, shares: Mapping[str, float], profile: Floats, count: int, rng: np.random.Generator
) -> Integers:
    """Return (count,) the bar each position is opened at, ascending.

    Within a symbol the chance of a bar is proportional to its ``profile``, such as the notional traded in it, or
    equal where that is zero throughout.
    """
    chances = np.zeros(market.times.size)
    for symbol, first, stop in zip(market.symbols, market.firsts[:-1], market.firsts[1:], strict=True):
        own = profile[first:stop]
        if not own.any():
            own = np.asarray(market.prices("mark", "open")[first:stop] > 0, np.float64)
        if shares.get(symbol, 0.0) > 0 and not own.any():
            raise ArgumentError(f"symbol_shares: no bar of {symbol} opens at a price above zero")
        chances[first:stop] = shares.get(symbol, 0.0) * own / max(own.sum(), 1e-300)
    return np.repeat(np.arange(chances.size), rng.multinomial(count, chances / chances.sum()))


@dataclass(frozen=True, eq=False)
class Part:
    """Positions of one contract that were opened under one table."""

    rows: slice
    contract: Contract
    table: TierTable

    def quantity(self, size: Floats, price: Floats) -> Floats:
        """Return quantities: base for linear contracts, the size itself for others."""
        return size / price if self.contract.kind == "linear" else size

    def largest_size(self, price: Floats, largest: float) -> Floats:
        """Return (n,) the largest size, or the one at the end of the table where that is lower."""
        one = self.quantity(np.ones(price.size), price)
        unit = table_size(self.contract, self.table, quantity=one, entry_price=price)
        return np.minimum(self.table.cap * (1 - CLEARANCE) / unit, largest)

    def leverage_limit(self, quantity: Floats, price: Floats) -> Floats:
        """Return (n,) the highest leverage the tier of each position allows, in whole numbers."""
        size = table_size(self.contract, self.table, quantity=quantity, entry_price=price)
        return np.asarray(np.floor(self.table.max_leverages)[self.table.tier_of(size)])


def parts_by_table(market: Market, venue: Venue, tiers: Tiers, rows: Integers) -> Iterator[Part]:
    """Yield positions by contract and table, in order; raise where no tiers were in force at an entry."""
    tables = by_symbol(tiers, venue.contracts_of(market.symbols, ()))
    times, ends = market.times[rows], np.searchsorted(rows, market.firsts)
    for symbol, first, stop in zip(market.symbols, ends[:-1], ends[1:], strict=True):
        if first == stop:
            continue
        contract = venue.contract(symbol)
        line = timeline(contract, tables)
        cuts = [first, *(first + np.searchsorted(times[first:stop], line.starts[1:])), stop]
        for table, begin, end in zip(line.tables, cuts[:-1], cuts[1:], strict=True):
            if begin < end and table is None:
                there = f"{end - begin:,} of {rows.size:,} have none, all in {contract.symbol}"
                sentence = f"positions need margin tiers in force at their entry: {there}"
                raise not_in_force(sentence, contract, int(times[begin]))
            if begin < end and table is not None:
                yield Part(slice(begin, end), contract, table)


def require_number(name: str, value: float, *, above_zero: bool = False) -> None:
    """Raise unless a value is a finite number, zero or more."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value < 0 or (above_zero and value == 0):
        rule = "above zero" if above_zero else "not negative"
        raise ArgumentError(f"must be finite and {rule}, is {value!r}", argument=name)


def require_shares(name: str, shares: list[float]) -> None:
    """Raise unless shares lie from 0 to 1 and add up to 1."""
    for share in shares:
        require_number(name, share)
    if abs(sum(shares) - 1) > 1e-9:
        raise ArgumentError(f"must add up to 1, they add up to {sum(shares):g}", argument=name)
