"""One isolated position under one tier table of a venue, with every figure of the calculator."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np

from backtest.cli.common.changed_rules import read_venue
from backtest.errors import ArgumentError
from backtest.kernel.types import Floats
from backtest.rules import margin as margins
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import table_at
from backtest.rules.venue import Venue

DEFAULT_SYMBOL = "BTCUSDT"


@dataclass(frozen=True, eq=False)
class Position:
    """A position; amounts in settlement currency, prices NaN where there is no positive one."""

    venue: Venue
    contract: Contract
    table: TierTable
    source: str  #: how the table comes to apply
    side: int  #: +1 long, -1 short
    quantity: float
    entry_price: float
    margin: float
    leverage: float  #: as selected

    @property
    def arguments(self) -> dict[str, float]:
        """The position as keyword arguments of the functions of ``rules.margin``."""
        names = ("side", "quantity", "entry_price", "margin")
        return {name: getattr(self, name) for name in names}

    @property
    def currency(self) -> str:
        """The settlement currency."""
        return self.venue.settlement_of(self.contract.symbol)

    @property
    def entry_notional(self) -> float:
        """Notional at the entry."""
        return float(self.notional(self.entry_price)[0])

    @property
    def initial_margin(self) -> float:
        """The smallest margin that opens the position."""
        return opening_margin(self.contract, self.side, self.quantity, self.entry_price, self.leverage)

    @cached_property
    def liquidation_price(self) -> float:
        """Price at which equity equals the maintenance margin."""
        found = margins.liquidation_price(self.contract, self.table, leverage=self.leverage, **self.arguments)
        return float(found[0])

    @cached_property
    def bankruptcy_price(self) -> float:
        """Price at which equity is zero, before any liquidation fee."""
        return float(margins.bankruptcy_price(self.contract, **self.arguments)[0])

    @cached_property
    def takeover_price(self) -> float:
        """Price that the venue's engine or backstop pays."""
        found = margins.takeover_price(
            self.venue, self.contract, self.table, leverage=self.leverage, **self.arguments
        )
        return float(found[0])

    @cached_property
    def tier(self) -> int:
        """The tier used, counted from 0: at the liquidation price where the notional follows the mark."""
        if self.contract.follows_mark(self.table) and np.isfinite(self.liquidation_price):
            return int(self.table.tier_of(self.notional(self.liquidation_price))[0])
        return self.entry_tier

    @cached_property
    def entry_tier(self) -> int:
        """The tier of the size at the entry, counted from 0, whose leverage limit applies."""
        return int(self.table.tier_of(self.size)[0])

    @property
    def rate(self) -> float:
        """The maintenance margin rate used."""
        return self.table.rate_of(self.tier, self.leverage)

    @property
    def leverage_limit(self) -> float:
        """Highest leverage of the tier; infinite where the sources do not say."""
        return float(self.table.max_leverages[self.entry_tier])

    @property
    def size(self) -> Floats:
        """Size as the table counts it, (1,)."""
        quantity, price = np.array([self.quantity]), np.array([self.entry_price])
        return margins.table_size(self.contract, self.table, quantity=quantity, entry_price=price)

    def notional(self, price: float) -> Floats:
        """Return the notional at a price, (1,)."""
        return margins.notional(self.contract, quantity=self.quantity, price=price)

    def equity(self, price: float) -> float:
        """Return margin plus unrealised result at a price."""
        return float(margins.equity(self.contract, price=price, **self.arguments)[0])

    def maintenance_margin(self, price: float) -> float:
        """Return the maintenance margin at a price."""
        found = margins.maintenance_margin(
            self.contract, self.table, leverage=self.leverage, price=price, **self.arguments
        )
        return float(found[0])

    def liquidated_at(self, price: float) -> bool:
        """Return whether a price liquidates, by comparison with the liquidation price, free of rounding."""
        return self.side * (price - self.liquidation_price) <= 0


def opening_margin(contract: Contract, side: int, quantity: float, entry_price: float, leverage: float) -> float:
    """Return the margin that a leverage asks for."""
    held = {"side": side, "quantity": quantity, "entry_price": entry_price, "leverage": leverage}
    return float(margins.initial_margin(contract, **held)[0])


def position_of(options: Namespace, entry_time: datetime) -> Position:
    """Return the position of the options; the entry time selects its tier table.

    Raises
    ------
    ArgumentError
        Where neither margin nor leverage is given, or the position is larger than the table covers.
    TiersError
        Where no table is known to be in force at the entry, and none was asked for in its place.
    """
    if options.margin is None and options.leverage is None:
        raise ArgumentError("price needs --margin, --leverage, or both")
    venue = read_venue(options)
    contract = venue.contract(options.symbol or _default_symbol(venue))
    if contract.kind == "face_value" and options.entry_price > 1:
        raise ArgumentError(f"--entry-price of a face-value contract is at most 1, is {options.entry_price:,.10g}")
    notional = float(margins.notional(contract, quantity=options.quantity, price=options.entry_price)[0])
    side = 1 if options.side == "long" else -1
    position = Position(
        venue,
        contract,
        *table_at(contract, entry_time, options.tiers or ("nearest" if options.date is None else "strict")),
        side,
        options.quantity,
        options.entry_price,
        options.margin or opening_margin(contract, side, options.quantity, options.entry_price, options.leverage),
        options.leverage or notional / options.margin,
    )
    if position.size[0] > position.table.cap:
        raise ArgumentError(
            f"--quantity {options.quantity:,.10g} is beyond table {position.table.name!r}, which covers "
            f"{position.table.size} up to {position.table.cap:,.10g}: this is {position.size[0]:,.10g}"
        )
    return position


def _default_symbol(venue: Venue) -> str:
    return DEFAULT_SYMBOL if DEFAULT_SYMBOL in venue.contracts else next(iter(venue.contracts), DEFAULT_SYMBOL)
