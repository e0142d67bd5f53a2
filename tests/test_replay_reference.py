"""The replay against the reference, every procedure and rank of deleveraging, on small random markets."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import pytest
from random_cases import with_additions, with_recorded_exits
from replay_cases import Coupled, coupled_case, few, taking_over, unbounded
from replay_reference import World, reference_replay

from backtest import Book, Market
from backtest.engine.replay.ledger_units import MOST_LOTS
from backtest.engine.replay.replay import Replay, replay

#: How many random markets are compared; the engine's author runs twenty times as many.
MARKETS = int(os.environ.get("BACKTEST_REPLAY_MARKETS", "160"))
BATCHES = 4


def replayed(coupled: Coupled, threads: int = 1) -> Replay:
    case = coupled.case
    options = {name: value for name, value in case.options.items() if name != "gap_limit_ms"}
    return replay(
        Book(case.positions, case.adjustments),
        Market(case.bars, case.funding, gap_limit=None),
        coupled.venue,
        fund=coupled.fund,
        impact=coupled.impact,
        exogenous=True,
        seed=coupled.seed,
        threads=threads,
        **options,
    )


def referred(coupled: Coupled) -> World:
    case = coupled.case
    total = float(np.sum(case.positions["quantity"].to_numpy()))
    if case.adjustments is not None:
        total += case.adjustments["quantity_change"].clip(lower_bound=0.0).sum()
    options = {name: value for name, value in case.options.items() if name != "entry_bar"}
    return reference_replay(
        case.positions,
        case.adjustments,
        case.bars,
        case.funding,
        coupled.venue,
        impact=coupled.impact,
        fund=coupled.fund,
        lot=10.0 ** np.ceil(np.log10(total / MOST_LOTS)),
        seed=coupled.seed,
        **options,
    )


def difference(found: Replay, expected: World) -> str:
    """Return what differs first, or nothing."""
    offsets = np.array(expected.offsets)
    wrong = np.flatnonzero(offsets != found.impact["offset"].to_numpy())
    told = f"offset of bar {wrong[0]}" if wrong.size else ""
    waves = [units / expected.unit for units in expected.first_waves]
    told += "" if waves == found.impact["first_wave"].to_list() else " first waves"
    for number, (p, row) in enumerate(zip(expected.positions, found.outcomes.iter_rows(named=True), strict=True)):
        pairs = {
            "outcome": (p.outcome, row["outcome"]),
            "filled": (p.filled, row["filled_in_market"]),
            "taken": (p.taken, row["taken_over"]),
            "deleveraged": (p.deleveraged, row["deleveraged"]),
            "fees": (p.fees / expected.unit, row["fees"]),
            "fund_effect": (p.fund_effect / expected.unit, row["fund_effect"]),
            "entry": (p.entered[0], row["moved_entry_price"]),
            "margin": (p.entered[1], row["moved_margin"]),
            "clawed": (p.clawed / expected.unit, row["clawed_back"]),
        }
        if p.outcome not in ("open", "reduced", "unknown", "rejected"):
            pairs["pnl"] = ((p.pocket + p.fees) / expected.unit, row["realised_pnl"])
            pairs["fill"] = (p.fill_price if np.isfinite(p.fill_price) else None, row["fill_price"])
            pairs["notional"] = (p.fill_notional, row["fill_notional"])
            pairs["equity"] = (p.equity, row["equity_at_fill"])
            pairs["shortfall"] = (max(0.0, -p.equity), row["shortfall"])
        off = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if off:
            return f"{told}; position row {number}: (reference, replay) {off}\n{row}"
    cash = {row["account"]: row["cash"] for row in found.ledger.iter_rows(named=True)}
    cash["traders"] += cash.pop("pending")
    off = {name: (amount, cash[name]) for name, amount in expected.cash.items() if cash[name] != amount}
    told += f" cash {off}" if off else ""
    ours = [(row["liquidated_id"], row["counterparty_id"]) for row in found.adl.iter_rows(named=True)]
    told += "" if ours == [pair[:2] for pair in expected.adl] else " deleveraging"
    return told


#: Markets in which engine and reference once differed: a position of the wave under way as its own counterparty.
FOUND = ([3, 333, 6], [3, 329, 6])


def assert_equal_to_the_reference(coupled: Coupled, told: str, threads: int = 1) -> None:
    if coupled.case.positions.is_empty():
        return
    found = replayed(coupled, threads)
    assert_sound(found)
    differs = difference(found, referred(coupled))
    if differs:
        pytest.fail(f"{told}: {differs}\n{coupled.venue.procedure}\n{coupled.impact}")


def assert_fund_adds_up(found: Replay) -> None:
    """Check that the fund's change is what each position, deposits and inventory brought it."""
    began = -int(found.ledger.row(by_predicate=pl.col("account") == "owners", named=True)["cash"])
    ended = int(found.ledger.row(by_predicate=pl.col("account") == "fund", named=True)["cash"])
    parts = [*found.outcomes["fund_effect"], *found.fund["inventory"]]
    assert ended - began == sum(round(part * found.unit) for part in parts)


def assert_sound(found: Replay) -> None:
    """Check that the ledger closes, the fund is not negative, and every price and amount is one there can be."""
    assert found.ledger.select(pl.col("cash", "unrealised", "total").sum()).row(0) == (0, 0, 0)
    assert (found.fund["fund"] >= 0).all()
    assert_fund_adds_up(found)
    for name in ("fill_price", "fill_notional", "fees", "filled_in_market", "taken_over", "deleveraged"):
        assert found.outcomes[name].is_null().sum() + found.outcomes[name].is_between(0, 1e300).sum() == len(
            found.outcomes
        ), name


@pytest.mark.parametrize("batch", range(BATCHES))
def test_replay__equals_the_bar_by_bar_reference(batch: int) -> None:
    for number in range(-(-MARKETS // BATCHES)):
        seed = [batch, number, 6]
        coupled = coupled_case(np.random.default_rng(seed))
        assert_equal_to_the_reference(coupled, f"coupled_case(default_rng({seed}))", 1 + number % 2)


@pytest.mark.parametrize("seed", FOUND)
def test_replay__equals_the_reference_where_it_once_did_not(seed: list[int]) -> None:
    assert_equal_to_the_reference(coupled_case(np.random.default_rng(seed)), f"coupled_case(default_rng({seed}))")


@pytest.mark.parametrize("count", [1, 2])
def test_replay__equals_the_reference_in_books_of_one_and_two(count: int) -> None:
    for number in range(MARKETS // 4):
        coupled = few(coupled_case(np.random.default_rng([number, count, 8])), count)
        assert_equal_to_the_reference(coupled, f"few(coupled_case(default_rng([{number}, {count}, 8])), {count})")


def test_replay__equals_the_reference_where_steps_are_taken_over() -> None:
    for number in range(MARKETS // 4):
        rng = np.random.default_rng([number, 9])
        coupled = taking_over(coupled_case(rng), rng)
        assert_equal_to_the_reference(coupled, f"taking_over with default_rng([{number}, 9])")


def test_replay__equals_the_reference_where_exits_are_recorded() -> None:
    for number in range(MARKETS // 2):
        seed = [23, number]
        rng = np.random.default_rng(seed)
        coupled = coupled_case(rng)
        if coupled.case.positions.is_empty():
            continue
        recorded = with_recorded_exits(coupled.case, rng)
        coupled = coupled._replace(case=recorded)
        assert_equal_to_the_reference(coupled, f"recorded exits with default_rng({seed})", 1 + number % 2)


def test_replay__equals_the_reference_where_positions_grow() -> None:
    for number in range(MARKETS // 2):
        rng = np.random.default_rng([number, 10])
        coupled = coupled_case(rng)
        coupled = coupled._replace(case=with_additions(rng, coupled.case))
        if number % 4 == 0:
            coupled = few(coupled, 1)
        assert_equal_to_the_reference(coupled, f"with_additions, default_rng([{number}, 10])")


def test_replay__always_closes() -> None:
    for number in range(MARKETS):
        coupled = coupled_case(np.random.default_rng([number, 7]), 40)
        if coupled.case.positions.is_empty():
            continue
        assert_sound(replayed(coupled))


def test_replay__equals_the_reference_where_fees_bite_beyond_margins_and_adl_is_at_the_mark() -> None:
    beyond = 0
    for number in range(-(-MARKETS // BATCHES)):
        seed = [number, 7]
        rng = np.random.default_rng(seed)
        coupled = unbounded(coupled_case(rng), rng)
        assert_equal_to_the_reference(coupled, f"unbounded(coupled_case(default_rng({seed})))")
        beyond += coupled.venue.procedure.liquidation_fee_beyond_margin
    assert beyond > 0.4 * number
