"""Liquidation procedure of a venue, and market impact of its orders.

A procedure is part of a venue's rules; an impact is an assumption about the market. ``docs/replay.md`` explains
each setting in the order of events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from backtest.errors import RulesError
from backtest.kernel.choices import (
    AdlPrice,
    AdlRank,
    AdlTrigger,
    Choice,
    InLowest,
    Inventory,
    Last,
    OrderLimit,
    OrderType,
    Slices,
    Step,
    Until,
    Unwind,
    WaveOrder,
)  # fmt: skip
from backtest.rules.problems import Problems
from backtest.schemas.arguments import spelled
from backtest.shown import shown

#: Settings that are choices.
CODES: dict[str, type[Choice]] = {
    "step": Step,
    "until": Until,
    "slices": Slices,
    "in_lowest": InLowest,
    "order_type": OrderType,
    "order_limit": OrderLimit,
    "last": Last,
    "inventory": Inventory,
    "unwind": Unwind,
    "adl_trigger": AdlTrigger,
    "adl_rank": AdlRank,
    "adl_price": AdlPrice,
}
CHOICES = {name: codes.names() for name, codes in CODES.items()}
SWITCHES = ("adl_profit_required", "clawback", "restore_orders", "liquidation_fee_beyond_margin")
SHARES = (
    "fee_fund_share",
    "trading_fee_fund_share",
    "remainder_fund_share",
    "unwind_share",
    "adl_drop",
    "takeover_below",
)
#: Whole numbers, and the least of each.
COUNTS = {"rounds": 0, "tier_step": 1, "whole_tiers": 1}
RATES = ("liquidation_fee_rate", "trading_fee_rate", "backstop_deviation")


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown()
class Procedure:
    """A venue's liquidation procedure: steps, takeover, fees, fund and auto-deleveraging (ADL).

    Examples
    --------
    >>> from backtest import Procedure
    >>> thirds = Procedure(step="fraction", step_fraction=1 / 3, rounds=3)
    >>> thirds.last, venue.with_(procedure=thirds).procedure.rounds
    ('takeover', 3)
    >>> venue.procedure.order_type
    'immediate_or_cancel'
    """

    step: Literal["all", "fraction", "tier", "enough"] = "all"  #: how much an order closes
    step_fraction: float = 1.0  #: of the quantity at the trigger, for step "fraction"
    tier_step: int = 1  #: tiers down per step, for step "tier"
    whole_tiers: int = 1  #: positions in this tier (counted from the lowest) or below take no step
    in_lowest: Literal["order", "last"] = "order"  #: closes them: one order for all, or the last rule
    partial_from: float = 0.0  #: entry notional from which steps apply; smaller positions close fully
    until: Literal["maintenance", "initial"] = "maintenance"  #: margin above which liquidation stops
    order_notional: float = np.inf  #: largest order, settlement currency
    order_type: Literal["resting", "immediate_or_cancel", "fill_or_kill"] = "resting"  #: unfilled quantity
    order_limit: Literal["none", "bankruptcy"] = "none"  #: worst price of an order
    takeover_below: float = 0.0  #: equity below this share of the maintenance margin: takeover at once
    rounds: int = 0  #: orders before the last rule applies; 0: no limit
    round_seconds: float = 1.0  #: duration of one order
    slices: Literal["market", "takeover"] = "market"  #: destination of a step's quantity
    last: Literal["takeover", "market"] = "takeover"  #: closes the rest after the last round
    liquidation_fee_rate: float = 0.0  #: of the notional closed, at most the remaining equity
    liquidation_fee_beyond_margin: bool = False  #: all of it, whatever equity remains
    fee_fund_share: float = 1.0
    trading_fee_rate: float = 0.0  #: of entries and of closes by the holder
    trading_fee_fund_share: float = 0.0
    remainder_fund_share: float = 0.5  #: fund's share of a shared remaining margin; the rest goes to the backstop
    inventory: Literal["fund", "backstop"] = "fund"  #: bears the result of positions taken over
    backstop_capacity: float = np.inf  #: notional per hour that a backstop takes over
    backstop_deviation: float = 0.0  #: negative equity a backstop bears, of the notional taken over
    unwind: Literal["at_once", "share", "hold"] = "at_once"  #: sale of positions taken over
    unwind_share: float = 0.1  #: of a bar's volume
    adl_trigger: Literal["never", "fund_empty", "fund_drop"] = "fund_empty"
    adl_drop: float = 0.3  #: fall of the fund from its highest that starts ADL
    adl_hours: float = 8.0  #: within which the fund must have fallen
    adl_rank: str = "profit_leverage"
    adl_price: Literal["bankruptcy", "mark", "takeover"] = "bankruptcy"
    adl_mark_beyond: float = np.inf  #: of the mark: bankruptcy prices further from it are settled at the mark
    adl_profit_required: bool = True
    clawback: bool = False  #: uncovered deficit is taken from unrealised profits
    restore_orders: bool = False  #: stops and take-profits are restored when liquidation stops

    def __post_init__(self) -> None:
        """Refuse unknown choices and numbers out of range, all at once."""
        problems = Problems()
        for name, choices in CHOICES.items():
            problems.require_choice(f"procedure.{name}", getattr(self, name), choices)
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                problems.add(f"procedure.{name}", f"must be true or false, is {getattr(self, name)!r}")
        for name in (*SHARES, "step_fraction"):
            _require(problems, name, getattr(self, name), least=0.0, most=1.0)
        for name in RATES:
            _require(problems, name, getattr(self, name), least=0.0, most=0.5)
        for name in ("partial_from", "order_notional", "backstop_capacity", "adl_hours", "adl_mark_beyond"):
            _require(problems, name, getattr(self, name), least=0.0, most=np.inf)
        _require(problems, "round_seconds", self.round_seconds, least=1e-3, most=86_400.0)
        for name, least in COUNTS.items():
            _require_count(problems, name, getattr(self, name), least)
        for name in ("step_fraction", "order_notional"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and value == 0:
                problems.add(f"procedure.{name}", "must be above zero")
        if self.slices == "takeover" and self.step == "all":
            problems.add(
                "procedure.slices",
                "'takeover' is of steps, and step 'all' takes none: give step='fraction' with step_fraction=1 to "
                "have the whole position taken over, or slices='market'",
            )
        problems.raise_if_any("procedure")


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown()
class Impact:
    """Market impact of liquidation orders: an assumption, off by default.

    ``linear`` and ``square_root`` make fills worse, ``mark`` moves the mark price itself. Do not count the same
    impact in both.

    Examples
    --------
    >>> from backtest import Impact, replay
    >>> linear = Impact(linear=1e-9)  # 1 million of notional costs 0.1 %
    >>> replay(book, market, venue, fund=1e5, impact=linear)
    Replay(1,000 positions: 601 exited, 334 liquidated, 65 open)
    """

    participation: float = np.inf  #: largest share of a bar's volume that liquidations fill, both sides together
    linear: float = 0.0  #: fraction of the price per unit of notional executed in the bar and side
    square_root: float = 0.0  #: fraction of the price for orders equal to the bar's notional volume
    mark: float = 0.0  #: change of the mark's logarithm per unit of notional executed
    permanent: float = 1.0  #: part of the mark's move that stays
    half_life_seconds: float = 3600.0  #: of the part that decays
    largest_offset: float = 1.0  #: bound of the mark's logarithmic offset, up or down
    waves: int = 0  #: waves of liquidations a bar and side may see; 0: until none follows
    order: Literal["price", "largest", "id"] = "price"  #: within a wave

    def __post_init__(self) -> None:
        """Refuse numbers out of range, all at once."""
        problems = Problems()
        problems.require_choice("order", self.order, WaveOrder.names())
        if self.participation != np.inf:  # no limit
            _require(problems, "participation", self.participation, least=0.0, most=1.0, prefix="")
        for name in ("linear", "square_root", "mark"):
            _require(problems, name, getattr(self, name), least=0.0, most=1e12, prefix="")
        _require(problems, "permanent", self.permanent, least=0.0, most=1.0, prefix="")
        _require(problems, "half_life_seconds", self.half_life_seconds, least=1e-3, most=1e12, prefix="")
        _require(problems, "largest_offset", self.largest_offset, least=0.0, most=10.0, prefix="")
        if not isinstance(self.waves, int) or not 0 <= self.waves < 2**31:
            problems.add("waves", f"must be a whole number of 0 or more, is {self.waves!r}")
        problems.raise_if_any("impact")


PROCEDURE_RULES = tuple(item.name for item in fields(Procedure))


def rule_type(name: str) -> type:
    """Return the type of a procedure's setting in a file."""
    if name in CHOICES:
        return str
    if name in SWITCHES:
        return bool
    return int if name in COUNTS else float


def _require_count(problems: Problems, name: str, value: Any, least: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not least <= value < 2**31:
        problems.add(f"procedure.{name}", f"must be a whole number of {least} or more, is {value!r}")


def _require(
    problems: Problems, name: str, value: Any, *, least: float, most: float, prefix: str = "procedure."
) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        between = f"lie between {least:g} and {most:g}" if np.isfinite(most) else f"be at least {least:g}"
        problems.add(f"{prefix}{name}", f"must {between}, is {value!r}")


__all__ = ["PROCEDURE_RULES", "Impact", "Procedure", "RulesError", "rule_type"]
