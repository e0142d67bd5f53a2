"""Bars that trades are open in: whole ones, and single prices in those of entry and exit."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from backtest.engine.market_arrays import crossing_values
from backtest.engine.sweep.prepare import Prepared
from backtest.kernel.types import Flags, Floats, Integers
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Tree
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import is_in_force
from backtest.trades.holding.lives import Lives, rates_of
from backtest.trades.holding.range_minima import range_minima


def lives_of(
    prepared: Prepared,
    *,
    symbol: Integers,
    side: Integers,
    entry_time: Integers,
    exit_time: Integers,
    exit_price: Floats,
    entry_price: Floats,
    largest: Floats,
) -> list[Lives]:
    """Return the lives of trades, by contract, side and table.

    Parameters
    ----------
    prepared : market and rules as a sweep prepares them
    symbol, side : (n,) number of the symbol; 0 long, 1 short
    entry_time, exit_time : (n,) ms; exits beyond all bars where a trade stays open
    exit_price, entry_price : (n,) exits NaN where they are not known
    largest : (n,) the largest notional at the entry that will be asked about
    """
    found = []
    starts = [group.start for group in prepared.rules.groups]
    for number, group in enumerate(prepared.rules.groups):
        following = [s for s, g in zip(starts, prepared.rules.groups, strict=True) if g.symbol == group.symbol]
        later = min([start for start in following if start > group.start], default=np.iinfo(np.int64).max)
        inside = (symbol == group.symbol) & (entry_time >= group.start) & (entry_time < later)
        if number == prepared.rules.rules.first[group.symbol]:  # the first table applies before its start as well
            inside = (symbol == group.symbol) & (entry_time < later)
        for code, sign in ((0, 1.0), (1, -1.0)):
            rows = np.flatnonzero(inside & (side == code))
            if rows.size and group.known:
                lives = _lives(
                    prepared, group.symbol, group.contract, group.table, sign, rows,
                    entry_time[rows], exit_time[rows], exit_price[rows], entry_price[rows],
                    float(largest[rows].max()),
                )  # fmt: skip
                found.append(replace(lives, in_force=is_in_force(group.source)))
    return found


def _lives(
    prepared: Prepared,
    symbol: int,
    contract: Contract,
    table: TierTable,
    side: float,
    rows: Integers,
    entry_time: Integers,
    exit_time: Integers,
    exit_price: Floats,
    entry_price: Floats,
    largest: float,
) -> Lives:
    bars, funding = prepared.bars, prepared.funding
    first, last = bars.first[symbol], bars.first[symbol + 1]
    own = slice(first, last)
    sums = funding.cumulative[funding.first[symbol] + funding.charged[own].astype(np.int64)]
    stamps = funding.time[funding.first[symbol] : funding.first[symbol + 1]]
    entry_funding = funding.cumulative[funding.first[symbol] + np.searchsorted(stamps, entry_time, side="right")]
    starts = np.searchsorted(bars.time[own], entry_time)
    left, exit_time = exit_time, _opening_of(bars.time[own], int(bars.interval[symbol]), exit_time)
    ends = np.minimum(
        np.searchsorted(bars.time[own], exit_time), _known_until(prepared, symbol, starts, entry_time)
    )
    worst = (bars.low if side > 0 else bars.high)[own]
    rates = rates_of(contract, table)
    if contract.follows_mark(table):
        inverse = contract.kind == "inverse"
        growth = entry_price.max() / bars.low[own].min() if inverse else bars.high[own].max() / entry_price.min()
        rates = rates[: max(1, int(np.searchsorted(table.floors, largest * max(float(growth), 1.0))))]
    edges = _edges(prepared, symbol, side, starts, ends, entry_time, exit_time, entry_funding, stamps)
    if bars.traded:
        edges += (_at_exit(prepared, symbol, starts, left, exit_price, entry_time, stamps),)
    found: list[tuple[Floats, Integers, Floats, Floats, Floats]] = []
    for rate in rates:
        tree = Tree(symbol, int(side), float(rate))
        least, places = range_minima(crossing_values(tree, contract, worst, sums)[0], starts, ends)
        prices, fundings = worst[places], sums[places]
        for edge in edges:
            values = crossing_values(tree, contract, edge.prices, edge.fundings)[0]
            nearer = edge.there & (values < least)
            least, places = np.where(nearer, values, least), np.where(nearer, edge.places, places)
            prices, fundings = np.where(nearer, edge.prices, prices), np.where(nearer, edge.fundings, fundings)
        at_entry = crossing_values(tree, contract, entry_price, entry_funding)[0]
        found.append((least, places, prices, fundings, at_entry))
    least, places, prices, fundings, at_entry = (np.array(each) for each in zip(*found, strict=True))
    return Lives(
        symbol, contract, table, side, rows, entry_price, entry_funding, least, places, prices, fundings, at_entry
    )


class _Edge(NamedTuple):
    """One price of each life that lies in the bar of its entry or of its exit, (n,) each."""

    there: Flags
    places: Integers
    prices: Floats
    fundings: Floats


def _edges(
    prepared: Prepared,
    symbol: int,
    side: float,
    starts: Integers,
    ends: Integers,
    entry_time: Integers,
    exit_time: Integers,
    entry_funding: Floats,
    stamps: Integers,
) -> tuple[_Edge, ...]:
    """Return the close of the bar that each entry lies inside, and the opening at which each life ends."""
    bars, funding = prepared.bars, prepared.funding
    own = slice(bars.first[symbol], bars.first[symbol + 1])
    times, count = bars.time[own], int(bars.first[symbol + 1] - bars.first[symbol])
    before = np.maximum(starts - 1, 0)
    closes_at = times[before] + bars.interval[symbol]
    inside = (starts > 0) & (entry_time > times[before]) & (entry_time < closes_at) & (exit_time > entry_time)
    sums = funding.cumulative[funding.first[symbol] : funding.first[symbol + 1]]
    by_close = sums[np.searchsorted(stamps, closes_at - 1, side="right")]
    kinder = side * np.minimum(side * entry_funding, side * by_close)  # a stamp inside the bar may have saved it
    last = np.minimum(np.searchsorted(times, exit_time), count - 1)
    leaves = (times[last] == exit_time) & (last == ends) & (exit_time >= entry_time)
    at_exit = sums[np.searchsorted(stamps, np.where(leaves, exit_time, 0), side="right")]
    return (
        _Edge(inside, before, bars.close[own][before], kinder),
        _Edge(leaves, last, bars.open[own][last], at_exit),
    )


def _opening_of(times: Integers, interval: int, moments: Integers) -> Integers:
    """Return the opening of the bar that each moment lies inside; the moment where it lies in none."""
    bars = np.searchsorted(times, moments, side="right") - 1
    inside = (bars >= 0) & (moments < times[np.maximum(bars, 0)] + interval)
    return np.asarray(np.where(inside, times[np.maximum(bars, 0)], moments))


def _at_exit(
    prepared: Prepared,
    symbol: int,
    starts: Integers,
    exit_time: Integers,
    exit_price: Floats,
    entry_time: Integers,
    stamps: Integers,
) -> _Edge:
    """Return the price that each trade was closed at, which liquidates where it is of the series that triggers."""
    bars, funding = prepared.bars, prepared.funding
    own = slice(bars.first[symbol], bars.first[symbol + 1])
    times = bars.time[own]
    known = exit_time <= times[-1] + bars.interval[symbol]
    known &= np.searchsorted(times, exit_time) <= _known_until(prepared, symbol, starts, entry_time)
    sums = funding.cumulative[funding.first[symbol] : funding.first[symbol + 1]]
    places = np.maximum(np.searchsorted(times, exit_time, side="right") - 1, 0)
    paid = sums[np.searchsorted(stamps, np.where(known, exit_time, 0), side="right")]
    return _Edge(known & ~np.isnan(exit_price), places, exit_price, paid)


def _known_until(prepared: Prepared, symbol: int, starts: Integers, entry_time: Integers) -> Integers:
    """Return the first bar of each life that can no longer be tested: after a long gap, or after the last bar."""
    bars = prepared.bars
    first, count = bars.first[symbol], int(bars.first[symbol + 1] - bars.first[symbol])
    gaps = bars.gap[bars.gap_first[symbol] : bars.gap_first[symbol + 1]]
    until = np.append(gaps, count)[np.searchsorted(gaps, starts, side="right")]
    at_gap = np.isin(starts, gaps)
    if at_gap.any():  # entered inside a gap
        times = bars.time[first : first + count]
        opened = times[np.minimum(starts, count - 1)]
        missing_from = np.maximum(entry_time, times[np.maximum(starts - 1, 0)] + bars.interval[symbol])
        until = np.where(at_gap & (opened - missing_from > bars.gap_limit), starts, until)
    return until
