"""Settings of a procedure that need others, as the page of the replay lists them: alone they change nothing."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from polars.testing import assert_frame_equal
from replay_cases import Coupled, coupled_case
from test_replay_reference import replayed

from backtest import Procedure
from backtest.errors import RulesError

PAGE = Path(__file__).parents[1] / "docs" / "replay.md"

#: Settings that need others, another value than the default, and a procedure without what they need.
WITHOUT: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "step_fraction": ((0.1,), {"step": "tier"}),
    "tier_step": ((3,), {"step": "fraction", "step_fraction": 0.3}),
    "whole_tiers": ((3,), {"step": "enough"}),
    "in_lowest": (("last",), {"step": "fraction", "step_fraction": 0.3}),
    "partial_from": ((1e6,), {"step": "all"}),
    "until": (("initial",), {"step": "all"}),
    "order_limit": (("bankruptcy",), {"slices": "takeover", "step": "fraction", "step_fraction": 0.3}),
    "fee_fund_share": ((0.2,), {"liquidation_fee_rate": 0.0}),
    "liquidation_fee_beyond_margin": ((True,), {"liquidation_fee_rate": 0.0}),
    "trading_fee_fund_share": ((0.5,), {"trading_fee_rate": 0.0}),
    "remainder_fund_share": ((0.1,), {}),
    "backstop_capacity": ((0.0,), {"inventory": "fund"}),
    "backstop_deviation": ((0.1,), {"inventory": "fund"}),
    "unwind_share": ((0.5,), {"unwind": "at_once"}),
    "adl_drop": ((0.01,), {"adl_trigger": "fund_empty"}),
    "adl_hours": ((0.1,), {"adl_trigger": "fund_empty"}),
    "adl_rank": (("bitmex", "pro_rata"), {"adl_trigger": "never"}),
    "adl_price": (("mark", "takeover"), {"adl_trigger": "never"}),
    "adl_profit_required": ((False,), {"adl_trigger": "never"}),
    "adl_mark_beyond": ((0.0, 0.05), {"adl_trigger": "fund_empty", "adl_price": "mark"}),
}


def test_page__lists_the_settings_that_need_others():
    table = PAGE.read_text("utf-8").split("**Settings that need others.**")[1].split("**Order price.**")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [name for cell in first for name in re.findall(r"`(\w+)`", cell)] == list(WITHOUT)


def test_slices__of_no_steps_are_refused():
    with pytest.raises(RulesError, match=r"procedure\.slices: 'takeover' is of steps, and step 'all' takes none"):
        Procedure(step="all", slices="takeover")


def differing(coupled: Coupled, base: dict[str, Any], changed: dict[str, Any]) -> bool:
    """Return whether a changed procedure gives another result than the base."""
    one, other = (replayed(coupled._replace(venue=coupled.venue.with_(**own))) for own in (base, base | changed))
    try:
        for frame in ("outcomes", "fund", "adl", "ledger"):
            assert_frame_equal(getattr(one, frame), getattr(other, frame))
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", WITHOUT)
def test_setting__changes_nothing_without_what_it_needs(name):
    values, unmet = WITHOUT[name]
    remainder = {"remainder": "fund"} if name == "remainder_fund_share" else {}
    for seed in range(3):
        coupled = coupled_case(np.random.default_rng([5, seed]), 30)
        for value in values:
            assert not differing(coupled, {"slices": "market"} | unmet | remainder, {name: value})


def test_settings__change_something_with_what_they_need():
    met: dict[str, Any] = {"slices": "market", "step": "fraction", "step_fraction": 0.5, "partial_from": 0.0}
    cases = [coupled_case(np.random.default_rng([5, seed]), 30) for seed in range(6)]
    for name, value in (("step_fraction", 0.1), ("until", "initial"), ("partial_from", 1e12)):
        assert any(differing(case, met, {name: value}) for case in cases), name
