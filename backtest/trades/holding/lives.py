"""Lives of trades on a venue: the bars each is certainly open in, and what its margin must hold there.

A trade is liquidated where its margin is at most what its hardest bar asks for. That bar is the one with the
least X of the crossing condition (``kernel.margin.position``) at a tier's rate, whatever the margin: one range
minimum a tier answers for every margin, size and leverage. Of the bar that an entry lies inside the close counts,
of the bar that the exit lies inside the opening. The price of the exit counts where the venue triggers on traded
prices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backtest.engine import tier_choice
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin.sizes import notional_of
from backtest.kernel.types import Flags, Floats, Integers
from backtest.rules.contract import Contract
from backtest.rules.margin import table_size
from backtest.rules.tiers import TierTable


@dataclass(frozen=True, eq=False)
class Lives:
    """Trades of one contract, side and tier table: when they are open, and the hardest bar of each tier."""

    symbol: int  #: of the market's symbols
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
        size = self._size(quantity)
        limits = np.asarray(self.table.max_leverages)[self._tier(size)]
        return (size <= self.table.cap) & (leverage <= limits * (1 + 1e-9))

    def limits(self, quantity: Floats) -> Floats:
        """Return the highest leverage that the table allows each size."""
        size = self._size(quantity)
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
        return tier_choice.line_levels(self.table, self.tiers, self._size(quantity))

    def _constant(self, quantity: Floats, leverage: Floats) -> Floats:
        """Return requirements that the mark price does not change."""
        return tier_choice.constant_requirement(
            self.table, notional=self.notional(quantity), size=self._size(quantity), leverage=leverage
        )

    def _size(self, quantity: Floats) -> Floats:
        return table_size(self.contract, self.table, quantity=quantity, entry_price=self.entry_price)

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
        return rates_of(self.contract, self.table)[: self.tiers]

    @cached_property
    def _slopes(self) -> Floats:
        fee = self.contract.mark_fee_rate
        if self.kind == ContractKind.INVERSE:
            return -(self.side + self._rates + fee)
        if self.kind == ContractKind.FACE_VALUE:
            return np.full(self.tiers, self.side)
        return self.side - self._rates - fee


def rates_of(contract: Contract, table: TierTable) -> Floats:
    """Return the rates of the lines that a requirement is the highest of; zero where it is constant."""
    return np.zeros(1) if contract.requirement_is_constant else np.asarray(table.rates)
