"""Steps of a procedure in whole contracts: by hand, and random accounts against the simulator of the page."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from random_accounts import Case, random_case, with_ties
from random_coin_accounts import random_coin_case
from test_account_liquidation import accounts, market, venue
from test_accounts_from_the_documents import compare, liquidated, random_cross

from backtest import Venue, liquidate_accounts
from backtest.errors import DataError
from backtest.rules.cross import Cross

Rng = np.random.Generator

#: A position of 25,000 contracts of 0.1: the third tier begins above 12,000.
CONTRACTS = {
    "size": "contracts",
    "contract_size": 0.1,
    "floors": [0.0, 6_000, 12_000],
    "rates": [0.01, 0.02, 0.05],
}
STEPPED = Cross(steps=("step_down_tiers", "take_over"))


def in_contracts(boundary: str = "lower") -> Venue:
    return venue(CONTRACTS | {"max_leverages": [9.0, 5.0, 2.0], "boundary": boundary}, lot=0.1, basis="mark")


def closed_of(found: Any) -> list[tuple[Any, ...]]:
    return found.closed.select("step", "leg_id", "quantity").rows()


@pytest.mark.parametrize(
    ("boundary", "closed", "left"), [("lower", 1_300.0, 1_200.0), ("higher", 1_300.1, 1_199.9)]
)
def test_step_down__leaves_the_floor_where_it_belongs_to_the_lower_tier(
    boundary: str, closed: float, left: float
) -> None:
    held = accounts(10_000, ("X", "long", 100, 2_500))
    found = liquidate_accounts(held, market(X=[100, 100, 100]), in_contracts(boundary), cross=STEPPED)
    # 10,000 against 5 % of 250,000; 13,000 of 25,000 contracts take 5,200 with them, 4,800 against 2,400 remain
    assert closed_of(found) == [("step_down_tiers", 0, closed)]
    assert found.legs["quantity_left"].to_list() == [left]
    assert found.steps["restored"].to_list() == [True]
    wallet = 10_000 - round(10_000_000_000 * round(closed * 10) / 25_000) / 1e6
    assert found.steps["wallet"].to_list() == [wallet]


def test_step_down__without_a_known_size_leaves_what_it_left_before() -> None:
    held = accounts(10_000, ("X", "long", 100, 2_500))
    bare = in_contracts().with_(lot=0)
    found = liquidate_accounts(held, market(X=[100, 100, 100]), bare, cross=STEPPED)
    assert found.legs["quantity_left"].to_list() == pytest.approx([1_200.0], rel=1e-11)
    assert found.legs["quantity_left"][0] < 1_200


def test_step_down__of_one_contract_above_the_floor_takes_it_over() -> None:
    tiers = {"floors": [0.0, 50, 150], "rates": [0.05, 0.1, 0.2], "max_leverages": [20.0, 10.0, 5.0]}
    held = accounts(8, ("X", "long", 100, 1))
    found = liquidate_accounts(held, market(X=[100, 98]), venue(tiers, lot=1.0), cross=STEPPED)
    assert closed_of(found) == [("step_down_tiers", 0, 1.0)]
    assert found.closed["fill_price"].to_list() == [92.0]
    assert found.accounts.select("outcome", "remainder", "shortfall").row(0) == ("liquidated", 0.0, 0.0)


def test_step_down__skips_a_tier_that_holds_no_whole_number_of_contracts() -> None:
    tiers = {"floors": [0.0, 100, 150], "rates": [0.05, 0.1, 0.2], "max_leverages": [20.0, 10.0, 5.0]}
    held = accounts(30, ("X", "long", 100, 2))
    found = liquidate_accounts(held, market(X=[100, 100]), venue(tiers, lot=1.0), cross=STEPPED)
    # 200 is above 150; one contract of 100 is in the first tier: 30 against 40, then 15 against 5
    assert closed_of(found) == [("step_down_tiers", 0, 1.0)]
    assert found.steps.select("equity", "maintenance_margin", "restored").rows() == [(15.0, 5.0, True)]


def test_step_down__counts_the_legs_that_are_left_at_their_own_entry_prices() -> None:
    tiers = {"floors": [0.0, 1_000], "rates": [0.01, 0.5], "max_leverages": [20.0, 2.0]}
    held = accounts(50, ("X", "long", 10, 20), ("X", "long", 300, 4))
    found = liquidate_accounts(held, market(X=[58, 58, 58]), venue(tiers, lot=1.0), cross=STEPPED)
    # entry notional 1,400. Of 7 contracts legs give 5 and 2: 150 + 600 left. Of 6: 5 and 1, 1,050 left: too much
    assert closed_of(found) == [("step_down_tiers", 0, 5.0), ("step_down_tiers", 1, 2.0)]
    assert found.legs["quantity_left"].to_list() == [15.0, 2.0]


def test_reduce__closes_whole_contracts_the_rounds_together_rounded_up() -> None:
    held = accounts(20, ("X", "long", 100, 7))
    cross = Cross(steps=("reduce", "take_over"), rounds=5, slippage=0.2)
    found = liquidate_accounts(held, market(X=[100, 100]), venue({"rates": [0.5]}, lot=1.0), cross=cross)
    # 7/5, 14/5, 21/5, 28/5, 7 contracts: 2, 3, 5, 6, 7
    assert closed_of(found) == [("reduce", 0, quantity) for quantity in (2.0, 1.0, 2.0, 1.0, 1.0)]
    fewer = liquidate_accounts(
        accounts(20, ("X", "long", 100, 2)), market(X=[100, 100]), venue({"rates": [0.5]}, lot=1.0), cross=cross
    )
    assert closed_of(fewer) == [("reduce", 0, 1.0), ("reduce", 0, 1.0)]


def test_reduce__closes_the_first_leg_last() -> None:
    held = accounts(5, ("X", "long", 100, 0.3), ("X", "long", 100, 0.4))
    cross = Cross(steps=("reduce", "take_over"), rounds=7)
    found = liquidate_accounts(held, market(X=[100, 100]), venue({"rates": [0.9]}, lot=0.1), cross=cross)
    # one contract a round, of which the first leg's share is less than one until it alone is left
    assert closed_of(found) == [("reduce", leg, 0.1) for leg in (1, 1, 1, 1, 0, 0, 0)]


def test_self_trade__nets_whole_contracts_and_nothing_that_one_side_does_not_have() -> None:
    held = accounts(
        20, ("X", "long", 100, 0.1), ("X", "long", 100, 0.2), ("X", "short", 100, 0.7), ("Y", "long", 100, 1)
    )
    cross = Cross(steps=("self_trade", "take_over"))
    found = liquidate_accounts(held, market(X=[100, 100], Y=[100, 88]), venue(lot=0.1), cross=cross)
    traded = found.closed.filter(pl.col("step") == "self_trade")
    assert traded.select("leg_id", "quantity").rows() == [(0, 0.1), (1, 0.2), (2, 0.3)]
    later = found.closed.filter(pl.col("step") == "take_over", pl.col("leg_id") == 2)
    assert later["quantity"].to_list() == [0.4]


@pytest.mark.parametrize("step", ["take_over", "close"])
def test_last_steps__close_one_contract_as_they_close_many(step: str) -> None:
    held = accounts(20, ("X", "long", 100, 0.1 * 3), ("Y", "short", 50, 1))
    found = liquidate_accounts(
        held, market(X=[100, 40], Y=[50, 50]), venue({"rates": [0.4]}, lot=0.1), cross=Cross(steps=(step,))
    )
    assert closed_of(found) == [(step, 0, 0.3), (step, 1, 1.0)]  # not 0.30000000000000004
    assert found.legs["quantity_left"].to_list() == [0.0, 0.0]


@pytest.mark.parametrize("quantity", [0.25, 0.05, 1e-12, 0.1 * (1 + 1e-8), 1e40])
def test_legs__that_are_no_whole_number_of_contracts_are_refused(quantity: float) -> None:
    held = accounts(20, ("X", "long", 100, 0.3), ("X", "long", 100, quantity))
    with pytest.raises(DataError) as caught:
        liquidate_accounts(held, market(X=[100, 40]), venue(lot=0.1), cross=Cross())
    assert str(caught.value).startswith(
        "legs: quantity must be a whole number of contracts, which X has of 0.1 (where that is wrong: "
        "venue.with_(lot=0), or lot = 0.0 in a venue file): 1 of 2 rows breaks this, first row 1 (leg_id=1"
    )
    if quantity < 1e9:
        liquidate_accounts(held, market(X=[100, 40]), venue(lot=0.1).with_(lot=0), cross=Cross())


@pytest.mark.parametrize("lot", [1e-320, 5e-324, 1e308])
def test_sizes_of_contracts__that_no_quantity_counts_are_refused(lot: float) -> None:
    held = accounts(20, ("X", "long", 100, 1.0))
    with pytest.raises(DataError, match="quantity must be a whole number of contracts"):
        liquidate_accounts(held, market(X=[100, 40]), venue(lot=lot), cross=Cross())


def test_size_of_a_substitutes_contract__is_not_the_symbols() -> None:
    own = venue(lot=0.1)
    listed = dataclasses.replace(own, contracts={"Z": dataclasses.replace(own.default, symbol="Z")})  # type: ignore[type-var]
    held = accounts(20, ("X", "long", 100, 0.25))
    with pytest.warns(UserWarning, match="Z"):
        found = liquidate_accounts(
            held, market(X=[100, 20]), listed.with_(like="Z"), cross=Cross(steps=("take_over",))
        )
    assert closed_of(found) == [("take_over", 0, 0.25)]


def in_whole_contracts(rng: Rng, case: Case) -> Case:
    """Return a case whose contracts have a size, most of them one or a few tens to a leg."""
    lots = {}
    for symbol in case.venue.contracts:
        typical = case.frames["legs"].filter(pl.col("symbol") == symbol)["quantity"].median()
        size = float(f"{(typical or 1.0) / float(rng.choice([0.5, 2, 7, 40])):.0e}")  # type: ignore[operator]
        lots[symbol] = float(rng.choice([size, size, 0.0]))
    contracts = {name: own.with_(lot=lots[name]) for name, own in case.venue.contracts.items()}
    quantities = [
        whole(quantity, lots[symbol])
        for symbol, quantity in case.frames["legs"].select("symbol", "quantity").rows()
    ]
    frames = case.frames | {"legs": case.frames["legs"].with_columns(quantity=pl.Series(quantities))}
    own = dataclasses.replace(case.venue, contracts=contracts)
    frames["accounts"] = with_ties(rng, frames, case.bars, case.funding, own, case.options)
    return case._replace(frames=frames, venue=own)


def whole(quantity: float, lot: float) -> float:
    return float(max(1, round(quantity / lot)) * Decimal(repr(lot))) if lot else quantity


@pytest.mark.parametrize("batch", range(4))
def test_liquidation_in_whole_contracts__does_what_the_page_says(batch: int) -> None:
    compare([43, batch], lambda rng: in_whole_contracts(rng, random_case(rng, 12)))


@pytest.mark.parametrize("leverages", [True, False])
def test_liquidation_of_coin_accounts_in_whole_contracts__does_what_the_page_says(leverages: bool) -> None:
    compare([44, leverages], lambda rng: in_whole_contracts(rng, random_coin_case(rng, 12, leverages=leverages)))


def test_quantities_closed_and_left__are_multiples_of_the_contract_to_the_last_digit() -> None:
    shown = 0
    for number in range(12):
        rng = np.random.default_rng([45, number])
        case = in_whole_contracts(rng, random_case(rng, 20))
        found = liquidated(case, random_cross(rng, case.options))
        lots = {name: own.lot for name, own in case.venue.contracts.items()}
        parts = found.closed.drop_nulls("leg_id").select("symbol", "quantity").rows()
        left = found.legs.select("symbol", "quantity_left").rows()
        for symbol, quantity in (row for row in (*parts, *left) if lots[row[0]] and row[1]):
            assert whole(quantity, lots[symbol]) == quantity
            shown += 1
        gone = found.closed.drop_nulls("leg_id").group_by("leg_id").agg(gone=pl.col("quantity").sum())
        legs = found.legs.join(gone, on="leg_id", how="left").with_columns(pl.col("gone").fill_null(0.0))
        assert ((legs["quantity_left"] + legs["gone"] - legs["quantity"]).abs() <= 1e-9 * legs["quantity"]).all()
    assert shown > 400
