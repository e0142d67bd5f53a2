"""Every pair of settings of a replay: beside another value of one, the other still changes something.

Exceptions are refused, or documented in docs/replay.md. ``BACKTEST_PAIRS=all`` tries every pair (five minutes).
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pytest
from replay_cases import Coupled, coupled_case

from backtest import Book, Market, replay
from backtest.engine.replay.replay import Replay
from backtest.errors import RulesError

SHARE = 1 if os.environ.get("BACKTEST_PAIRS") == "all" else 40
MARKETS = 60 if SHARE > 1 else 400
STEPS = {"step": "fraction", "step_fraction": 0.3}
TAKEOVERS = STEPS | {"slices": "takeover"}
BACKSTOP = TAKEOVERS | {"inventory": "backstop"}
FRAMES = ("outcomes", "fund", "adl", "impact", "ledger")


class Scaled(NamedTuple):
    """A value per typical notional of a book."""

    value: float


class Setting(NamedTuple):
    """Where a setting belongs, two values of it, and what it needs."""

    place: str
    one: Any
    other: Any
    needs: dict[str, Any]


MOVED = {"mark": Scaled(0.01)}
SETTINGS = {
    "step": Setting("procedure", "fraction", "enough", {}),
    "step_fraction": Setting("procedure", 0.3, 0.7, {"step": "fraction"}),
    "tier_step": Setting("procedure", 1, 4, {"step": "tier"}),
    "whole_tiers": Setting("procedure", 1, 3, {"step": "tier"}),
    "in_lowest": Setting("procedure", "order", "last", {"step": "tier"}),
    "partial_from": Setting("procedure", 0.0, np.inf, {"step": "fraction"}),
    "until": Setting("procedure", "maintenance", "initial", {"step": "fraction"}),
    "order_type": Setting("procedure", "resting", "fill_or_kill", {"participation": 0.02}),
    "order_limit": Setting("procedure", "none", "bankruptcy", {"linear": Scaled(0.01), "slices": "market"}),
    "takeover_below": Setting("procedure", 0.0, 0.9, {}),
    "rounds": Setting("procedure", 0, 1, {"step": "fraction", "step_fraction": 0.2}),
    "round_seconds": Setting("procedure", 1.0, 600.0, {"step": "fraction", "step_fraction": 0.1}),
    "slices": Setting("procedure", "market", "takeover", {"step": "fraction"}),
    "last": Setting("procedure", "takeover", "market", {"step": "fraction", "step_fraction": 0.2, "rounds": 1}),
    "liquidation_fee_rate": Setting("procedure", 0.0, 0.01, {}),
    "fee_fund_share": Setting("procedure", 1.0, 0.2, {"liquidation_fee_rate": 0.01}),
    "liquidation_fee_beyond_margin": Setting("procedure", False, True, {"liquidation_fee_rate": 0.01}),
    "trading_fee_rate": Setting("procedure", 0.0, 0.001, {}),
    "trading_fee_fund_share": Setting("procedure", 0.0, 0.5, {"trading_fee_rate": 0.001}),
    "remainder_fund_share": Setting("procedure", 0.5, 0.1, {"remainder": "shared"}),
    "inventory": Setting("procedure", "fund", "backstop", TAKEOVERS),
    "backstop_capacity": Setting("procedure", np.inf, 0.0, BACKSTOP),
    "backstop_deviation": Setting("procedure", 0.0, 0.05, BACKSTOP),
    "unwind": Setting("procedure", "at_once", "hold", TAKEOVERS),
    "unwind_share": Setting("procedure", 0.001, 0.9, TAKEOVERS | {"unwind": "share"}),
    "adl_trigger": Setting("procedure", "never", "fund_empty", {}),
    "adl_rank": Setting("procedure", "profit_leverage", "pro_rata", {"adl_trigger": "fund_empty"}),
    "adl_price": Setting("procedure", "bankruptcy", "mark", {"adl_trigger": "fund_empty"}),
    "adl_mark_beyond": Setting("procedure", np.inf, 0.0, {"adl_trigger": "fund_empty", "adl_price": "bankruptcy"}),
    "adl_profit_required": Setting("procedure", True, False, {"adl_trigger": "fund_empty"}),
    "clawback": Setting("procedure", False, True, {}),
    "restore_orders": Setting("procedure", False, True, {"step": "fraction"}),
    "remainder": Setting("venue", "returned", "fund", {}),
    "takeover_price": Setting("venue", "bankruptcy", "backstop", TAKEOVERS),
    "takeover_discount": Setting("venue", 0.0, 0.02, TAKEOVERS | {"takeover_price": "backstop"}),
    "participation": Setting("impact", np.inf, 0.05, {}),
    "linear": Setting("impact", 0.0, Scaled(0.005), {}),
    "square_root": Setting("impact", 0.0, 0.01, {}),
    "mark": Setting("impact", 0.0, Scaled(0.01), {}),
    "permanent": Setting("impact", 1.0, 0.0, MOVED),
    "half_life_seconds": Setting("impact", 3600.0, 30.0, MOVED | {"permanent": 0.0}),
    "largest_offset": Setting("impact", 1.0, 0.003, MOVED),
    "waves": Setting("impact", 0, 1, MOVED),
    "order": Setting("impact", "price", "largest", MOVED),
    "intrabar": Setting("conventions", "pessimistic", "optimistic", {}),
    "exit_bar": Setting("conventions", "untested", "tested", {}),
}

#: Documented in docs/replay.md: beside the second value of the first, the others change nothing.
DOCUMENTED = {
    "slices": {"order_limit"},
    "partial_from": {"step_fraction", "slices"},
    "backstop_capacity": {"step_fraction", "last", "backstop_deviation", "unwind", "unwind_share"},
    "participation": {"unwind_share"},  # both bound what is sold in a bar
    "order_type": {"unwind_share"},
}


def are_apart(first: Setting, second: Setting, names: tuple[str, str]) -> bool:
    """Return whether two settings need nothing that the other excludes."""
    shared = first.needs.keys() & second.needs.keys()
    agree = all(first.needs[name] == second.needs[name] for name in shared)
    return agree and names[0] not in second.needs and names[1] not in first.needs


PAIRS = [
    (one, other)
    for one, other in permutations(SETTINGS, 2)
    if are_apart(SETTINGS[one], SETTINGS[other], (one, other)) and other not in DOCUMENTED.get(one, ())
]


@cache
def case(number: int) -> tuple[Coupled, Book, Market, float]:
    """Return a market and a book large enough for something to happen, and a typical notional."""
    rng = np.random.default_rng([41, number])
    while True:
        found = coupled_case(rng, 40)
        positions, symbol = found.case.positions, found.case.bars["symbol"][0]
        kind = found.venue.contract(symbol).kind
        if positions.height >= 20 and kind != "face_value" and found.case.bars.height > 20:
            break
    price = positions["entry_price"] if kind == "linear" else 1 / positions["entry_price"]
    scale = float((positions["quantity"] * price).mean())  # type: ignore[arg-type]
    market = Market(found.case.bars, found.case.funding, gap_limit=None)
    return found, Book(positions, found.case.adjustments), market, scale


def played(number: int, settings: dict[str, Any]) -> Replay:
    """Replay a market under its own random rules but for some settings."""
    found, book, market, scale = case(number)
    places: dict[str, dict[str, Any]] = {"procedure": {}, "venue": {}, "impact": {}, "conventions": {}}
    for name, value in settings.items():
        places[SETTINGS[name].place][name] = value.value / scale if isinstance(value, Scaled) else value
    own = places["procedure"]
    if own.get("step", found.venue.procedure.step) == "all":
        own = {"slices": "market"} | own
    venue = found.venue.with_(procedure=replace(found.venue.procedure, **own), **places["venue"])
    options = {name: value for name, value in found.case.options.items() if name != "gap_limit_ms"}
    return replay(
        book, market, venue, fund=found.fund, impact=replace(found.impact, **places["impact"]), exogenous=True,
        seed=found.seed, threads=1, **(options | places["conventions"]),
    )  # fmt: skip


def changes_something(one: str, other: str) -> bool:
    """Return whether a setting changes any of some markets beside another one's second value, or is refused."""
    first, second = SETTINGS[one], SETTINGS[other]
    base = first.needs | second.needs | {one: first.other}
    for number in range(MARKETS):
        try:
            pair = [played(number, base | {other: value}) for value in (second.one, second.other)]
        except RulesError:
            return True
        if any(not getattr(pair[0], name).equals(getattr(pair[1], name)) for name in FRAMES):
            return True
    return False


@pytest.mark.parametrize("group", range(4))
def test_pairs_of_settings__change_something_or_are_refused(group: int) -> None:
    asked = PAIRS[group * SHARE // 4 :: SHARE] if SHARE > 1 else PAIRS[group::4]
    assert [pair for pair in asked if not changes_something(*pair)] == []
