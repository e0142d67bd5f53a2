"""``backtest price``: the prices that matter to one isolated position, and the way to them."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from backtest.cli import volatility
from backtest.cli.text import NOTHING, day, facts, number, percent, price, table
from backtest.errors import ArgumentError
from backtest.rules import margin
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.timeline import milliseconds, timeline
from backtest.rules.venue import Venue

DEFAULT_SYMBOL = "BTCUSDT"

#: How far on the way from the entry to liquidation the rows of the table stand.
WAY = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)

#: Status by equity over maintenance margin, from each edge up. The documents print 4.0, 3.2 and 2.8 as healthy, 2.0
#: as caution, 1.2 as warning and 1.0 as liquidation; the edges between are assumed half-way.
STATUS = ((2.4, "Healthy"), (1.6, "Caution"), (1.0, "Warning"))


@dataclass(frozen=True, eq=False)
class Position:
    """One position under one table of a venue's contract."""

    venue: Venue
    contract: Contract
    table: TierTable
    side: int
    quantity: float
    entry_price: float
    margin: float
    leverage: float

    @property
    def held(self) -> dict[str, float]:
        """What the functions of ``rules.margin`` call a position."""
        return {
            "side": self.side,
            "quantity": self.quantity,
            "entry_price": self.entry_price,
            "margin": self.margin,
        }

    @cached_property
    def entry_notional(self) -> float:
        """Notional at the entry."""
        return float(margin.notional(self.contract, quantity=self.quantity, price=self.entry_price)[0])

    @cached_property
    def liquidation_price(self) -> float:
        """Where equity meets the maintenance margin; NaN where no positive price does."""
        found = margin.liquidation_price(self.contract, self.table, leverage=self.leverage, **self.held)
        return float(found[0])

    @cached_property
    def bankruptcy_price(self) -> float:
        """Where equity is zero; NaN where no positive price does."""
        return float(margin.bankruptcy_price(self.contract, **self.held)[0])

    @cached_property
    def takeover_price(self) -> float:
        """What the venue's engine or backstop pays."""
        found = margin.takeover_price(
            self.venue, self.contract, self.table, leverage=self.leverage, **self.held
        )
        return float(found[0])

    def equity(self, at: Any) -> Any:
        """Margin plus unrealised result at prices."""
        return margin.equity(self.contract, price=at, **self.held)

    def maintenance_margin(self, at: Any) -> Any:
        """Equity to be kept at prices."""
        return margin.maintenance_margin(
            self.contract, self.table, leverage=self.leverage, price=at, **self.held
        )
