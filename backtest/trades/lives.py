"""Lives of trades on a venue: the bars each is certainly open in, and what its margin must hold there.

A trade is liquidated where its margin is at most what its hardest bar asks for. That bar is the one with the
least X of the crossing condition (``kernel.margin.position``) at a tier's rate, whatever the margin: one range
minimum a tier answers for every margin, size and leverage. Of the bar that an entry lies inside the close counts,
of the bar that the exit lies inside the opening.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from backtest.engine.market_arrays import crossing_values
from backtest.engine.sweep.prepare import Prepared
from backtest.kernel.choices import ContractKind, KeyedBy
from backtest.kernel.margin.sizes import notional_of
from backtest.kernel.types import Flags, Floats, Integers
from backtest.rules.contract import Contract
from backtest.rules.margin import table_size
from backtest.rules.rulebook import Tree
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import is_in_force
from backtest.trades.range_minima import range_minima


@dataclass(frozen=True, eq=False)
class Lives:
    """Trades of one contract, side and tier table: when they are open, and the hardest bar of each tier."""

    contract: Contract
    table: TierTable
    side: float  #: +1 long, -1 short
    rows: Integers  #: (n,) which of the trades
    entry_price: Floats  #: (n,)
    entry_funding: Floats  #: (n,) cumulative at the entry
    lowest: Floats  #: (tiers, n) least X; infinite for a life without a certain price
    places: Integers  #: (tiers, n) the bar it lies in, of the market's
    prices: Floats  #: (tiers, n) the price it is of
    fundings: Floats  #: (tiers, n) cumulative funding then
    at_entry: Floats  #: (tiers, n) X at the entry price
    in_force: bool = True  #: whether the table was in force at the entries

    @cached_property
    def kind(self) -> int:
        """How the contract pays."""
        return ContractKind.code(self.contract.kind)

    @property
    def tiers(self) -> int:
        """How many lines the requirement is the highest of."""
        return int(self.lowest.shape[0])

    def notional(self, quantity: Floats, price: Floats | None = None) -> Floats:
        """Return notionals at a price, at the entry where none is given."""
        return np.asarray(notional_of(self.kind, quantity, self.entry_price if price is None else price))

    def allowed(self, quantity: Floats, leverage: Floats) -> Flags:
        """Return whether the table allows these sizes and leverages."""
        size = table_size(self.contract, self.table, quantity=quantity, entry_price=self.entry_price)
        limits = np.asarray(self.table.max_leverages)[self._tier(size)]
        return (size <= self.table.cap) & (leverage <= limits * (1 + 1e-9))

    def limits(self, quantity: Floats) -> Floats:
        """Return the highest leverage that the table allows each size."""
        size = table_size(self.contract, self.table, quantity=quantity, entry_price=self.entry_price)
        return np.where(size <= self.table.cap, np.asarray(self.table.max_leverages)[self._tier(size)], 0.0)

    def _tier(self, size: Floats) -> Integers:
        return self.table.tier_of(size) if self.table.by_size else np.zeros(size.size, np.int64)

    def needed(self, quantity: Floats, leverage: Floats) -> tuple[Floats, Integers]:
        """Return the margin at or below which each trade is liquidated, and the tier that decides.

        Minus infinity for a life without a certain price: no margin is liquidated there.
        """
        return self._needed_at(self.lowest, quantity, leverage)

    def needed_to_open(self, quantity: Floats, leverage: Floats) -> Floats:
        """Return the margin below which a venue would not have opened each trade."""
        return self._needed_at(self.at_entry, quantity, leverage)[0]

    def _needed_at(self, values: Floats, quantity: Floats, leverage: Floats) -> tuple[Floats, Integers]:
        own = self.side * quantity
        inverse = self.kind == ContractKind.INVERSE
        anchor = -own / self.entry_price if inverse else own * self.entry_price
        lines = (anchor - own * self.entry_funding) - quantity * values + self._levels(quantity, leverage)
        tier = np.argmax(lines, axis=0)
        without_fee = np.take_along_axis(lines, tier[None], axis=0)[0]
        return self._with_reserve(quantity, without_fee), tier

    def _levels(self, quantity: Floats, leverage: Floats) -> Floats:
        """Return (tiers, n) what each line adds to the loss a position may make, without the fee reserved."""
        if self.contract.requirement_is_constant:
            base = self._constant(quantity, leverage)
            return (base + self.contract.mark_fee_rate * quantity if self.contract.kind == "face_value" else base)[
                None
            ]
        assert self.table.amounts is not None
        amounts = np.asarray(self.table.amounts)[: self.tiers, None]
        if self.table.keyed_by == KeyedBy.MARGINAL:
            return np.broadcast_to(-amounts, (self.tiers, quantity.size))
        size = table_size(self.contract, self.table, quantity=quantity, entry_price=self.entry_price)
        own = self.table.tier_of(size) == np.arange(self.tiers)[:, None]
        return np.where(own, 0.0, -np.inf)

    def _constant(self, quantity: Floats, leverage: Floats) -> Floats:
        """Return requirements that the mark price does not change."""
        notional = self.notional(quantity)
        if self.table.keyed_by == KeyedBy.LEVERAGE:
            return self.table.rate_factor / np.maximum(leverage, 1.0) * notional
        assert self.table.amounts is not None
        rates, amounts = np.asarray(self.table.rates)[:, None], np.asarray(self.table.amounts)[:, None]
        if self.table.keyed_by == KeyedBy.MARGINAL:
            return np.asarray((rates * notional - amounts).max(axis=0))
        size = table_size(self.contract, self.table, quantity=quantity, entry_price=self.entry_price)
        return np.asarray(rates[self.table.tier_of(size), 0] * notional)

    def _reserve(self, quantity: Floats) -> tuple[Floats, Floats]:
        """Return c0 and c1 of the closing fee reserved at bankruptcy, max(0, c0 + c1 M) of a margin M."""
        fee = self.contract.bankruptcy_fee_rate
        at_zero = fee * self.notional(quantity)
        sign = self.side if self.kind == ContractKind.INVERSE else -self.side
        moves = self.kind != ContractKind.FACE_VALUE
        return at_zero, np.full(quantity.size, sign * fee if moves else 0.0)

    def _with_reserve(self, quantity: Floats, margin: Floats) -> Floats:
        """Return margins that cover a requirement and the closing fee that depends on the margin itself."""
        if not self.contract.bankruptcy_fee_rate:
            return margin
        if self.contract.margin_includes_closing_fee:
            return self.with_fee(quantity, margin)
        at_zero, rise = self._reserve(quantity)
        with_fee = (margin + at_zero) / (1.0 - rise)
        if self.kind == ContractKind.FACE_VALUE:  # its fee does not change with the price, until that is nothing
            whole = self._never_bankrupt(quantity)
            return np.where(with_fee < whole, with_fee, np.maximum(margin, whole))
        with np.errstate(invalid="ignore"):  # minus infinity, where no margin is liquidated
            return np.where(at_zero + rise * with_fee > 0, with_fee, margin)

    def _fee(self, quantity: Floats, margin: Floats) -> Floats:
        """Return the closing fee at the price where a margin is used up."""
        at_zero, rise = self._reserve(quantity)
        fee = np.maximum(at_zero + rise * np.where(np.isfinite(margin), margin, 0.0), 0.0)
        if self.kind == ContractKind.FACE_VALUE:
            return np.where(margin < self._never_bankrupt(quantity), fee, 0.0)
        return np.asarray(fee)

    def with_fee(self, quantity: Floats, margin: Floats) -> Floats:
        """Return margins with the closing fee, where the venue's margins include it."""
        return margin + self._fee(quantity, margin) if self.contract.margin_includes_closing_fee else margin

    def without_fee(self, quantity: Floats, margin: Floats) -> Floats:
        """Return the margins that come to these with the closing fee."""
        if not self.contract.margin_includes_closing_fee:
            return margin
        at_zero, rise = self._reserve(quantity)
        alone = (margin - at_zero) / (1.0 + rise)
        return np.where(self._fee(quantity, alone) > 0, alone, margin)

    def _never_bankrupt(self, quantity: Floats) -> Floats:
        """Return the margin from which on no positive price makes equity zero."""
        return quantity * self.entry_price if self.side > 0 else np.full(quantity.size, np.inf)

    def closest(
        self, quantity: Floats, margin: Floats, leverage: Floats, tier: Integers
    ) -> tuple[Integers, Floats, Floats, Floats]:
        """Return the hardest bar, its price, maintenance over equity, and the liquidation price; NaN without."""
        places = np.take_along_axis(self.places, tier[None], axis=0)[0]
        known = places >= 0
        worst, funding = (np.take_along_axis(each, tier[None], axis=0)[0] for each in (self.prices, self.fundings))
        own, inverse = self.side * quantity, self.kind == ContractKind.INVERSE
        moved = 1 / self.entry_price - 1 / worst if inverse else worst - self.entry_price
        equity = margin + own * moved - own * (funding - self.entry_funding)
        reserve = self._fee(quantity, self.without_fee(quantity, margin))
        notional = self.notional(quantity, worst)
        levels = self._levels(quantity, leverage) + reserve
        if self.contract.requirement_is_constant:
            fee = 0.0 if self.contract.kind == "face_value" else self.contract.mark_fee_rate
            kept = levels[0] + fee * notional
        else:
            kept = ((self._rates[:, None] + self.contract.mark_fee_rate) * notional + levels).max(axis=0)
        anchor = -(margin + own / self.entry_price) if inverse else own * self.entry_price - margin
        loss = anchor + own * (funding - self.entry_funding) + levels
        reached = loss / (quantity * self._slopes[:, None])
        towards = -self.side if inverse else self.side
        price = towards * (towards * reached).max(axis=0)
        with np.errstate(divide="ignore"):  # equity may be nothing there, and a price infinite
            ratio = kept / equity
            price = 1 / price if inverse else price
        good = known & np.isfinite(price) & (price > 0)
        nothing = np.full(places.size, np.nan)
        return (
            places,
            np.where(known, worst, nothing),
            np.where(known, ratio, nothing),
            np.where(good, price, nothing),
        )

    @cached_property
    def _rates(self) -> Floats:
        return _rates_of(self.contract, self.table)[: self.tiers]

    @cached_property
    def _slopes(self) -> Floats:
        fee = self.contract.mark_fee_rate
        if self.kind == ContractKind.INVERSE:
            return -(self.side + self._rates + fee)
        if self.kind == ContractKind.FACE_VALUE:
            return np.full(self.tiers, self.side)
        return self.side - self._rates - fee


def _rates_of(contract: Contract, table: TierTable) -> Floats:
    """Return the rates of the lines that a requirement is the highest of; zero where it is constant."""
    return np.zeros(1) if contract.requirement_is_constant else np.asarray(table.rates)


def lives_of(
    prepared: Prepared,
    *,
    symbol: Integers,
    side: Integers,
    entry_time: Integers,
    exit_time: Integers,
    entry_price: Floats,
    largest: Floats,
) -> list[Lives]:
    """Return the lives of trades, by contract, side and table.

    Parameters
    ----------
    prepared : market and rules as a sweep prepares them
    symbol, side : (n,) number of the symbol; 0 long, 1 short
    entry_time, exit_time : (n,) ms; exits are openings of bars, or beyond all where a trade stays open
    entry_price : (n,)
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
                    entry_time[rows], exit_time[rows], entry_price[rows], float(largest[rows].max()),
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
    ends = np.minimum(
        np.searchsorted(bars.time[own], exit_time), _known_until(prepared, symbol, starts, entry_time)
    )
    worst = (bars.low if side > 0 else bars.high)[own]
    rates = _rates_of(contract, table)
    if table.keyed_by == KeyedBy.MARGINAL and not contract.requirement_is_constant:
        inverse = contract.kind == "inverse"
        growth = entry_price.max() / bars.low[own].min() if inverse else bars.high[own].max() / entry_price.min()
        rates = rates[: max(1, int(np.searchsorted(table.floors, largest * max(float(growth), 1.0))))]
    edges = _edges(prepared, symbol, side, starts, ends, entry_time, exit_time, entry_funding, stamps)
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
        contract, table, side, rows, entry_price, entry_funding, least, places, prices, fundings, at_entry
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
) -> tuple[_Edge, _Edge]:
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
