"""Counterfactuals against the reference and their laws, every procedure, on small random markets."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from counterfactual_cases import FRAMES, Two, same, several_symbols, two_policies
from counterfactual_reference import Merged, reference_counterfactual
from random_cases import with_recorded_exits
from test_replay_reference import difference

from backtest.engine.replay.ledger_units import MOST_LOTS
from backtest.kernel.compile import COMPILED

#: How many random markets are tried, each replayed up to five times; their author tried twenty times as many.
#: As plain Python a market takes a minute.
MARKETS = int(os.environ.get("BACKTEST_REPLAY_MARKETS", "160")) // (4 if COMPILED else 40)


def cases(kind: int, markets: int = MARKETS) -> Iterator[tuple[str, Two]]:
    made = two_policies if kind < 80 else several_symbols
    for number in range(markets if kind < 80 else 4 * markets):  # few draws have several symbols of one currency
        two = made(np.random.default_rng([number, kind]))
        if two is not None:
            yield f"{made.__name__}(default_rng([{number}, {kind}]))", two


def referred(two: Two) -> tuple[Merged, Merged]:
    case = two.case
    total = float(np.sum(case.positions["quantity"].to_numpy()))
    options = {name: value for name, value in case.options.items() if name != "entry_bar"}
    return reference_counterfactual(
        case.positions, case.adjustments, case.bars, case.funding, two.venue, policy=two.policy,
        policy_fund=two.policy_fund, impact=two.impact, facts=two.unmoved, fund=two.fund, seed=two.seed,
        lot=10.0 ** np.ceil(np.log10(total / MOST_LOTS)), **options,
    )  # fmt: skip


def test_counterfactual__equals_the_reference_that_asks_every_position_after_every_event() -> None:
    moved = 0
    for title, two in cases(77):
        facts = two.facts()
        found = two.replayed(two.policy, two.policy_fund, two.impact, facts=facts.flow)
        known, expected = referred(two)
        assert not difference(facts, known), f"{title}: facts: {difference(facts, known)}"
        assert not difference(found, expected), f"{title}: {difference(found, expected)}"
        events = list(zip(found.flow["price"], found.flow["notional"], strict=True))
        openings = expected.history.series[expected.rules.trigger_series]
        prices = [e.price if math.isfinite(e.price) else openings[e.bar].open for e in expected.flow]
        assert events == list(zip(prices, [e.notional for e in expected.flow], strict=True)), title
        moved += int((found.impact["offset"] != 0).any())
        assert found.ledger.select(pl.col("cash", "unrealised", "total").sum()).row(0) == (0, 0, 0), title
        assert (found.fund["fund"] >= 0).all(), title
    assert moved > MARKETS / 4


def test_counterfactual__equals_the_reference_where_holders_leave_inside_bars() -> None:
    left = 0
    for number in range(MARKETS):
        rng = np.random.default_rng([number, 79])
        two = two_policies(rng)
        if two is None:
            continue
        two = two._replace(case=with_recorded_exits(two.case, rng))
        facts = two.facts()
        found = two.replayed(two.policy, two.policy_fund, two.impact, facts=facts.flow)
        known, expected = referred(two)
        assert not difference(facts, known), f"{number}: facts: {difference(facts, known)}"
        assert not difference(found, expected), f"{number}: {difference(found, expected)}"
        same_world = two.replayed(two.venue, two.fund, two.impact, facts=facts.flow)
        assert (same_world.impact["offset"] == 0).all(), number
        left += found.flow["stage"].is_in(["actions", "exits"]).sum()
    assert left > 0 or MARKETS < 10


@pytest.mark.parametrize("number", [1148, 5377])
def test_counterfactual__who_is_liquidated_at_every_price_acts_at_the_opening_wherever_that_moves(number) -> None:
    """Facts of inverse longs; a short whose equity a clawback took, in a narrow bar that others have moved."""
    rng = np.random.default_rng([number, 909])
    two = two_policies(rng, int(rng.choice([1, 2, 3, 10, 40])))
    assert two is not None
    facts = two.facts()
    assert facts.flow["price"].is_between(0, 1e50).all()  # at the opening, where no price is too high
    found = two.replayed(two.policy, two.policy_fund, two.impact, facts=facts.flow)
    known, expected = referred(two)
    assert not difference(facts, known)
    assert not difference(found, expected)


@pytest.mark.parametrize("kind", [78, 88])
def test_counterfactual__the_same_policy_is_the_plain_replay_to_the_last_digit(kind: int) -> None:
    for title, two in cases(kind):
        facts = two.facts()
        plain = two.replayed(two.venue, two.fund, two.unmoved)
        assert not same(facts, plain, FRAMES[:-1]), f"{title}: {same(facts, plain, FRAMES[:-1])}"
        found = two.replayed(two.venue, two.fund, two.impact, facts=facts.flow)
        assert (found.impact["offset"] == 0.0).all(), title
        assert not same(found, facts), f"{title}: {same(found, facts)}"


@pytest.mark.parametrize("kind", [79, 89])
def test_counterfactual__without_strength_is_the_plain_replay_of_the_policy(kind: int) -> None:
    for title, two in cases(kind, MARKETS // 2):
        facts = two.facts()
        found = two.replayed(two.policy, two.policy_fund, two.unmoved, facts=facts.flow, record_flow=True)
        plain = two.replayed(two.policy, two.policy_fund, two.unmoved)
        assert not same(found, plain, FRAMES[:-1]), f"{title}: {same(found, plain, FRAMES[:-1])}"


def test_counterfactual__of_several_symbols_closes_and_moves_each_by_its_own_flow() -> None:
    both = 0
    for title, two in cases(87):
        facts = two.facts()
        found = two.replayed(two.policy, two.policy_fund, two.impact, facts=facts.flow)
        assert found.ledger.select(pl.col("cash", "unrealised", "total").sum()).row(0) == (0, 0, 0), title
        assert (found.fund["fund"] >= 0).all(), title
        flows = pl.concat([facts.flow, found.flow]).group_by("symbol").agg(pl.col("notional").sum())
        still = set(found.impact.group_by("symbol").agg(pl.col("offset").abs().max()).filter(offset=0)["symbol"])
        both += int(flows.height > 1)
        assert set(found.impact["symbol"]) - set(flows.filter(pl.col("notional") > 0)["symbol"]) <= still, title
    assert both > 0 or MARKETS < 20
