"""Market arrays for kernels: bars, funding charges, and forests of min-trees."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from backtest.kernel.arrays import Bars, Forest, Funding
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin import formula
from backtest.kernel.search import min_tree
from backtest.kernel.sweep.bar_events import Watched
from backtest.kernel.types import Codes, Flags, Floats, Integers, aligned, readonly
from backtest.market.market import Market
from backtest.rules.contract import Contract
from backtest.rules.rulebook import Rulebook, Tree
from backtest.schemas.symbols import rows_by_symbol

BEYOND_ALL = np.iinfo(np.int64).max


def bars_of(market: Market, series: str, fill_price: str, gap_limit: timedelta | None) -> Bars:
    """Return a market's bars with the trigger series and the fill prices.

    Raises
    ------
    ArgumentError
        For a price the bars do not hold.
    """
    fill_long, fill_short = {
        "liquidation_price": ("open", "open"),
        "last_close": ("close", "close"),
        "last_extreme": ("low", "high"),
    }[fill_price]
    replaced = fill_price != "liquidation_price"
    filled_from = "last" if replaced else "mark"
    rows = [slice(a, b) for a, b in zip(market.firsts[:-1], market.firsts[1:], strict=True)]
    gaps = [market.long_gaps(symbol, gap_limit) for symbol in range(len(rows))]
    limit = 0 if gap_limit is None else round(gap_limit.total_seconds() * 1000)
    regular = [
        market.times[part][-1] - market.times[part][0] == interval * (part.stop - part.start - 1)
        for part, interval in zip(rows, market.intervals, strict=True)
    ]
    return Bars(
        first=readonly(market.firsts),
        interval=readonly(market.intervals),
        regular=readonly(np.array(regular)),
        time=market.times,
        open=market.prices(series, "open"),
        high=market.prices(series, "high"),
        low=market.prices(series, "low"),
        close=market.prices(series, "close"),
        traded=series == "last",
        mark_open=market.prices("mark", "open"),
        fill_long=market.prices(filled_from, fill_long),
        fill_short=market.prices(filled_from, fill_short),
        replaced=replaced,
        gap_first=readonly(np.cumsum([0, *(gap.size for gap in gaps)])),
        gap=readonly(np.concatenate(gaps).astype(np.int64)),
        gap_limit=limit,
    )


def funding_of(market: Market, contracts: Sequence[Contract]) -> Funding:
    """Return the charges of each symbol and their running sums, by bar and by time."""
    parts = _all_charges(market, contracts)
    sums = [np.concatenate([[0.0], np.cumsum(amounts)]) for _, amounts, _ in parts]
    return Funding(
        first=readonly(np.cumsum([0, *(total.size for total in sums)])),
        time=readonly(np.concatenate([np.append(times, BEYOND_ALL) for times, _, _ in parts])),
        cumulative=readonly(np.concatenate(sums)),
        lowest=readonly(np.concatenate([_suffix(np.minimum, total) for total in sums])),
        highest=readonly(np.concatenate([_suffix(np.maximum, total) for total in sums])),
        charged=readonly(np.concatenate([charged for _, _, charged in parts])),
    )


def charge_amounts(market: Market, contracts: Sequence[Contract]) -> Floats:
    """Return each charge per unit, laid out as the running sums: zero before a symbol's first."""
    parts = [np.append(0.0, amounts) for _, amounts, _ in _all_charges(market, contracts)]
    return readonly(np.concatenate(parts))


def _all_charges(market: Market, contracts: Sequence[Contract]) -> list[tuple[Integers, Floats, Codes]]:
    own = [] if market.funding is None else rows_by_symbol(market.funding["symbol"], market.symbols)
    return [
        _charges(market, number, contract, own[number] if own else None)
        for number, contract in enumerate(contracts)
    ]


def _charges(
    market: Market, number: int, contract: Contract, own: Integers | None
) -> tuple[Integers, Floats, Codes]:
    """Return effective times and amounts of a symbol's charges, and how many were made by each opening.

    ``own`` are its rows of the funding; None without funding.
    """
    rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
    openings = market.times[rows]
    count = openings.size
    if market.funding is None or own is None:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(count, np.int32)
    stamps, rates = market.charge_times[own], market.funding["rate"].to_numpy()[own]
    bars = np.searchsorted(openings, stamps)
    kept = (stamps >= openings[0]) & (bars < count)
    stamps, rates, bars = stamps[kept], rates[kept], bars[kept]
    marks = market.prices("mark", "open")[rows][bars]
    amounts = rates / marks if contract.kind == "inverse" else rates * marks
    charged = np.searchsorted(bars, np.arange(count), side="right").astype(np.int32)
    return stamps, amounts, charged


def _suffix(best: np.ufunc, values: Floats) -> Floats:
    return np.asarray(best.accumulate(values[::-1])[::-1])


def forest_of(market: Market, bars: Bars, funding: Funding, book: Rulebook, used: Flags, series: str) -> Forest:
    """Return the trees a sweep will search, built for the rates in use.

    The market keeps the last forest: a sweep under like rules does not build it again, and neither need the next
    batch of a book, unless it uses a tree that none before it did.
    """
    fees = {group.symbol: group.contract for group in book.groups}
    key = (
        series,
        book.trees,
        tuple((number, contract.kind, contract.mark_fee_rate) for number, contract in sorted(fees.items())),
    )
    last: tuple[Flags, Forest | None] = market.kept("forest", key) or (np.zeros_like(used), None)
    last_used, last_forest = last
    if last_forest is not None and not (used & ~last_used).any():
        return last_forest
    used = used | last_used
    values = [
        _crossing_values(tree, bars, funding, fees[tree.symbol]) if needed else None
        for tree, needed in zip(book.trees, used, strict=True)
    ]
    forest = _plant(market, values, [tree.symbol for tree in book.trees])
    return market.keep("forest", key, (used, forest))[1]


def watched_of(market: Market, series: str, triggers_liquidation: bool) -> Watched:
    """Return the series that stops and take-profits watch, with its trees."""
    opening, high, low, close = (market.prices(series, part) for part in ("open", "high", "low", "close"))
    values, symbols = [], []
    for number in range(len(market.symbols)):
        rows = slice(market.firsts[number], market.firsts[number + 1])
        values += [(low[rows], 0.0), (-high[rows], 0.0)]
        symbols += [number, number]
    return Watched(opening, high, low, close, _plant(market, values, symbols), triggers_liquidation)


def _crossing_values(tree: Tree, bars: Bars, funding: Funding, contract: Contract) -> tuple[Floats, float]:
    """Return X of the crossing condition over a symbol's bars, and the largest magnitude in it."""
    rows = slice(bars.first[tree.symbol], bars.first[tree.symbol + 1])
    worst = (bars.low if tree.side > 0 else bars.high)[rows]
    sums = funding.cumulative[funding.first[tree.symbol] + funding.charged[rows].astype(np.int64)]
    return crossing_values(tree, contract, worst, sums)


def crossing_values(tree: Tree, contract: Contract, worst: Floats, sums: Floats) -> tuple[Floats, float]:
    """Return X at worst prices and cumulative funding of bars, and the largest magnitude in it."""
    kind, fee = ContractKind.code(contract.kind), contract.mark_fee_rate
    if kind == ContractKind.INVERSE:
        worst = 1.0 / worst
    slope = formula.slope(kind, float(tree.side), tree.rate, fee)
    largest = (1.0 + tree.rate + fee) * float(worst.max()) + float(np.abs(sums).max())
    return slope * worst - tree.side * sums, largest


def _plant(market: Market, values: Sequence[tuple[Floats, float] | None], symbols: Sequence[int]) -> Forest:
    """Return a forest of the trees that have values; the others hold a number and no place."""
    layouts = [min_tree.layout(int(count)) for count in np.diff(market.firsts)]
    sizes = [0 if part is None else layouts[symbol].size for part, symbol in zip(values, symbols, strict=True)]
    base = np.concatenate([[0], np.cumsum(sizes)])
    forest = aligned(max(int(base[-1]), 1))
    for number, (part, symbol) in enumerate(zip(values, symbols, strict=True)):
        if part is not None:
            count = part[0].size
            forest[base[number] : base[number] + count] = part[0]
            min_tree.fill(forest, base[number], layouts[symbol].offsets, count)
    return Forest(
        values=readonly(forest),
        base=readonly(base[:-1]),
        scale=readonly(np.array([0.0 if part is None else part[1] for part in values])),
        level_first=readonly(np.cumsum([0, *(layout.offsets.size for layout in layouts)])),
        level=readonly(np.concatenate([layout.offsets for layout in layouts])),
    )
