"""Accounts under a procedure against a simulator written from docs/accounts.md alone, on random markets."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from accounts_procedure_simulator import simulate
from accounts_simulator import Account, World, ms
from random_accounts import Case, random_case
from random_coin_accounts import random_coin_case

from backtest import Accounts, Market, liquidate_accounts
from backtest.engine.accounts.liquidate import Liquidations
from backtest.rules.cross import Cross

#: How many random markets are compared.
MARKETS = int(os.environ.get("BACKTEST_DOCUMENT_MARKETS", "40"))
BATCHES = 4
A_MARKET = 12
#: Rounding of sums in another order, in whole units; equity nearer than this to its margin is a tie.
TIE = 20

Rng = np.random.Generator

STEPS = ("cancel_orders", "convert_collateral", "self_trade", "step_down_tiers", "reduce")


def random_cross(rng: Rng, options: dict[str, str]) -> Cross:
    """Return steps in any order, under any order of positions and rule of profit."""
    chosen = [str(step) for step in rng.permutation(STEPS)[: int(rng.integers(0, 5))]]
    return Cross(
        profit=options["profit"],  # type: ignore[arg-type]
        hedged=options["hedged"],  # type: ignore[arg-type]
        steps=(*chosen, str(rng.choice(["take_over", "take_over", "close"]))),
        order=str(rng.choice(["all", "triggered", "largest_loss", "largest_notional"])),  # type: ignore[arg-type]
        restored_above=str(rng.choice(["maintenance", "maintenance", "initial"])),  # type: ignore[arg-type]
        equity_shared_by=str(rng.spawn(1)[0].choice(["notional", "maintenance"])),  # type: ignore[arg-type]
        rounds=int(rng.integers(1, 6)),
        slippage=float(rng.choice([0.0, 0.01])),
        conversion_cost=float(rng.choice([0.0, 0.02])),
        self_trade_fee=float(rng.choice([0.0, 0.001])),
    )


def liquidated(case: Case, cross: Cross) -> Liquidations:
    limit = case.options["gap_limit_ms"]
    history = Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))
    return liquidate_accounts(
        Accounts(**case.frames), history, case.venue, cross=cross, convention=case.options["convention"]
    )


@pytest.mark.parametrize("batch", range(BATCHES))
def test_liquidate_accounts__does_what_the_page_says(batch: int) -> None:
    compare([41, batch], lambda rng: random_case(rng, A_MARKET))


@pytest.mark.parametrize("leverages", [True, False])
def test_liquidation_of_coin_accounts__does_what_the_page_says(leverages: bool) -> None:
    compare([42, leverages], lambda rng: random_coin_case(rng, A_MARKET, leverages=leverages))


def compare(seed: list[int], case_of: Callable[[Rng], Case]) -> None:
    """Fail where the simulator and the product differ in any of some random markets."""
    triggered, ties, differing = 0, 0, []
    for number in range(-(-MARKETS // BATCHES)):
        rng = np.random.default_rng([*seed, number])
        case = case_of(rng)
        cross = random_cross(rng, case.options)
        if "leverage" not in case.frames["legs"].columns:
            cross = dataclasses.replace(cross, restored_above="maintenance")
        world = World(
            case.frames, case.bars, case.funding, case.venue, cross, case.options["convention"],
            case.options["gap_limit_ms"],
        )  # fmt: skip
        found = liquidated(case, cross)
        for account in simulate(world):
            lines = differences(f"{[*seed, number]} {cross}", account, found, world.unit)
            is_tie = bool(lines) and account.narrowest <= TIE
            differing += [] if is_tie else lines
            ties += is_tie
            triggered += bool(account.triggers)
    assert not differing, "\n".join(differing[:10])
    assert ties <= 0.01 * triggered
    assert triggered > MARKETS / BATCHES


def differences(title: str, account: Account, found: Liquidations, unit: int) -> list[str]:
    """Return what differs between the simulator and the product."""
    number = account.row["account_id"]
    own = pl.col("account_id") == number
    row = found.accounts.filter(own).row(0, named=True)
    left = account.left
    pairs = {
        "outcome": (account.outcome, row["outcome"]),
        "outcome_time": (account.time, row["outcome_time"] and ms(row["outcome_time"])),
        "triggers": (len(account.triggers), row["triggers"]),
        "first_trigger": (next(iter(account.triggers), None), row["first_trigger"] and ms(row["first_trigger"])),
        "remainder": (None if left is None else max(left, 0) / unit, row["remainder"]),
        "shortfall": (None if left is None else max(-left, 0) / unit, row["shortfall"]),
    }
    steps = found.steps.filter(own).select(
        "step", "wallet", "equity", "maintenance_margin", "initial_margin", "positions", "restored"
    )
    closed = found.closed.filter(own).select("step", "leg_id", "quantity", "fill_price", "result")
    quantities = dict(found.legs.filter(own).select("leg_id", "quantity_left").iter_rows())
    pairs["steps"] = (account.steps, steps.rows())
    pairs["closed"] = (account.closed, closed.rows())
    pairs["quantity_left"] = ([leg.q for leg in account.legs], [quantities[leg.id] for leg in account.legs])
    return [
        f"{title}, account {number}, {name}: page {page}, product {product}"
        for name, (page, product) in pairs.items()
        if not alike(page, product, TIE / unit)
    ]


def alike(one: object, other: object, near: float) -> bool:
    """Whether values are equal, numbers but for rounding."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(alike(a, b, near) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= near + 1e-9 * abs(one)
    return one == other
