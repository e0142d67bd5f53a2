"""What a venue does with a position once it is to be liquidated, and how its book takes the orders.

A procedure is part of a venue's rules; an impact is an assumption about the market. ``docs/replay.md`` tells what
each setting means in the order things happen.
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
SWITCHES = ("adl_profit_required", "clawback", "restore_orders")
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
    """A venue's liquidation procedure: steps, takeover, fees, fund and auto-deleveraging."""

    step: Literal["all", "fraction", "tier", "enough"] = "all"  #: how much an order closes
    step_fraction: float = 1.0  #: of the quantity at the trigger, where a step is a fraction
    tier_step: int = 1  #: how many tiers a step leads down, where a step is a tier
    whole_tiers: int = 1  #: positions in this tier, counted from the lowest, or in a lower one take no step
    in_lowest: Literal["order", "last"] = "order"  #: what becomes of them: one order for all, or the last rule
    partial_from: float = 0.0  #: entry notional from which steps apply; smaller positions are closed whole
    until: Literal["maintenance", "initial"] = "maintenance"  #: what equity must exceed for control to return
    order_notional: float = np.inf  #: largest order, settlement currency
    order_type: Literal["resting", "immediate_or_cancel", "fill_or_kill"] = "resting"  #: what it leaves unfilled
    order_limit: Literal["none", "bankruptcy"] = "none"  #: the worst price an order may get
    takeover_below: float = 0.0  #: share of the maintenance margin below which equity means takeover at once
    rounds: int = 0  #: orders a procedure may send before its last rule applies; 0: any number
    round_seconds: float = 1.0  #: how long one order takes
    slices: Literal["market", "takeover"] = "market"  #: where a step's quantity goes
    last: Literal["takeover", "market"] = "takeover"  #: what becomes of the rest after the last round
    liquidation_fee_rate: float = 0.0  #: of the notional closed, at most the equity left
    fee_fund_share: float = 1.0
    trading_fee_rate: float = 0.0  #: of entries and of closes by the holder
    trading_fee_fund_share: float = 0.0
    remainder_fund_share: float = 0.5  #: the fund's part of a shared remainder; the rest is the backstop's
    inventory: Literal["fund", "backstop"] = "fund"  #: who gains or loses on what was taken over
    backstop_capacity: float = np.inf  #: notional an hour that a backstop takes over
    backstop_deviation: float = 0.0  #: of the notional taken over, the negative equity a backstop bears
    unwind: Literal["at_once", "share", "hold"] = "at_once"  #: how what was taken over is sold
    unwind_share: float = 0.1  #: of a bar's volume
    adl_trigger: Literal["never", "fund_empty", "fund_drop"] = "fund_empty"
    adl_drop: float = 0.3  #: fall of the fund from its highest that starts deleveraging
    adl_hours: float = 8.0  #: within which the fund must have fallen
    adl_rank: str = "profit_leverage"
    adl_price: Literal["bankruptcy", "mark", "takeover"] = "bankruptcy"
    adl_profit_required: bool = True
    clawback: bool = False  #: what nobody covers is taken from unrealised profits
    restore_orders: bool = False  #: stops and take-profits come back with control

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
        for name in ("partial_from", "order_notional", "backstop_capacity", "adl_hours"):
            _require(problems, name, getattr(self, name), least=0.0, most=np.inf)
        _require(problems, "round_seconds", self.round_seconds, least=1e-3, most=86_400.0)
        for name, least in COUNTS.items():
            _require_count(problems, name, getattr(self, name), least)
        for name in ("step_fraction", "order_notional"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and value == 0:
                problems.add(f"procedure.{name}", "must be above zero")
        problems.raise_if_any("procedure")


@spelled
@dataclass(frozen=True, eq=False, kw_only=True)
@shown()
class Impact:
    """How the market takes liquidation orders: an assumption, and off by default.

    ``linear`` and ``square_root`` make fills worse, ``mark`` moves the mark price itself: the same impact is not
    to be counted in both.
    """

    participation: float = np.inf  #: share of a bar's volume that liquidations may be of, both sides together
    linear: float = 0.0  #: fraction of the price a unit of notional executed in the bar and side
    square_root: float = 0.0  #: fraction of the price where orders equal the bar's notional volume
    mark: float = 0.0  #: logarithm of the mark a unit of notional executed
    permanent: float = 1.0  #: part of the mark's move that stays
    half_life_seconds: float = 3600.0  #: of the part that does not
    largest_offset: float = 1.0  #: bound of the mark's logarithmic offset, either way
    generations: int = 0  #: waves of liquidations a bar and side may see; 0: until none follows
    order: Literal["price", "largest", "id"] = "price"  #: within a wave

    def __post_init__(self) -> None:
        """Refuse numbers out of range, all at once."""
        problems = Problems()
        problems.require_choice("order", self.order, WaveOrder.names())
        _require(problems, "participation", self.participation, least=0.0, most=np.inf, prefix="")
        for name in ("linear", "square_root", "mark"):
            _require(problems, name, getattr(self, name), least=0.0, most=1e12, prefix="")
        _require(problems, "permanent", self.permanent, least=0.0, most=1.0, prefix="")
        _require(problems, "half_life_seconds", self.half_life_seconds, least=1e-3, most=1e12, prefix="")
        _require(problems, "largest_offset", self.largest_offset, least=0.0, most=10.0, prefix="")
        if not isinstance(self.generations, int) or not 0 <= self.generations < 2**31:
            problems.add("generations", f"must be a whole number of 0 or more, is {self.generations!r}")
        problems.raise_if_any("impact")


PROCEDURE_RULES = tuple(item.name for item in fields(Procedure))


def rule_type(name: str) -> type:
    """Return what a setting of a procedure must be written as."""
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
