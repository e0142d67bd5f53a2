"""A stored set of sweeps, account sweeps, replays, levels and grids, and the canonical hash of every column.

``python tests/yardstick.py`` prints what differs from the stored hashes, ``--write`` stores those of today: only
where a change of outcomes is meant. Inputs that this machine draws differently (another mathematical library) are
left out of the comparison.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import level_cases
import numpy as np
import polars as pl
import policy_cases
from canonical import frame_hashes, frames_hash
from counterfactual_cases import two_policies
from random_accounts import random_case as random_account_case
from random_cases import random_case
from replay_cases import coupled_case
from test_accounts_reference import swept as swept_accounts
from test_replay_reference import replayed
from test_sweep_reference import swept

from backtest import Book, Venue, liquidate_accounts, market, population, sweep
from backtest.book import Accounts
from backtest.market import Market
from backtest.study.levels.grid import level_grid
from backtest.study.levels.level_maps import level_map
from backtest.study.levels.levels import levels_of
from backtest.study.policy.evaluations import run
from backtest.study.policy.grid import Grid, History

STORED = Path(__file__).parent / "data" / "yardstick.json"
ETH_TIERS = {"ETHUSDT": "2022-02-16"}


class Measured(NamedTuple):
    """What a case was given and what came of it."""

    inputs: str
    results: dict[str, pl.DataFrame]


def sweeps(number: int) -> Measured:
    case = random_case(np.random.default_rng([77, number]), 300)
    return Measured(_inputs(case), {"outcomes": swept(case)})


def account_sweeps(number: int) -> Measured:
    case = random_account_case(np.random.default_rng([78, number]))
    found = swept_accounts(case)
    limit = case.options["gap_limit_ms"]
    history = Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))
    stepped = liquidate_accounts(Accounts(**case.frames), history, case.venue)
    results = {"accounts": found.accounts, "legs": found.legs}
    return Measured(_inputs(case), results | {f"liquidated_{n}": f for n, f in stepped._asdict().items()})


def replays(number: int) -> Measured:
    coupled = coupled_case(np.random.default_rng([79, number]))
    found = replayed(coupled)
    names = ("outcomes", "fund", "adl", "impact", "ledger")
    return Measured(_inputs(coupled.case), {name: getattr(found, name) for name in names})


def counterfactuals(number: int) -> Measured:
    two = two_policies(np.random.default_rng([80, number]))
    if two is None:
        return Measured("", {})
    facts = two.replayed(two.venue, two.fund, two.unmoved)
    policy = two.replayed(two.policy, two.policy_fund, two.impact, facts=facts.flow)
    names = ("outcomes", "fund", "impact", "ledger", "flow")
    return Measured(_inputs(two.case), {name: getattr(policy, name) for name in names})


def sample(venue: str) -> Measured:
    """The bundled sample under a shipped venue: swept, and replayed under its own procedure."""
    history = market.sample()
    rules = Venue.load(venue)
    if venue != "binance":
        history = Market(history.bars.filter(pl.col("symbol") == "BTCUSDT"), history.funding, gap_limit=None)
    stand_ins = ETH_TIERS if venue == "binance" else "nearest"
    book = population.synthetic(history, rules, count=20_000, seed=5, tiers=stand_ins)
    outcomes = sweep(book, history, rules, tiers=stand_ins)
    return Measured(frames_hash(history.bars, book.positions), {"outcomes": outcomes})


def levels(number: int) -> Measured:
    history = level_cases.market(seed=number)
    history = level_cases.funded(history) if number % 2 else history
    rows = level_cases.waiting_only(level_cases.positions(history))
    found = levels_of(
        Book(rows),
        history,
        level_cases.venue(),
        level_grid(history, "A", bins=80, columns=60),
        drift=bool(number % 2),
    )
    results = {"cells": found.to_frame(), "totals": found.totals()}
    outcomes = sweep(Book(rows), history.without_funding(), level_cases.venue())
    results["map"] = level_map(outcomes, history, "A").bars
    return Measured(frames_hash(history.bars, history.funding, rows), results)


def grids(number: int) -> Measured:
    history = policy_cases.random_market(seed=number, last=True)
    book = policy_cases.random_book(history)
    grid = Grid(
        caps=(None, 20.0),
        rate_scales=(1.0, 2.0),
        liquidation_fees=(0.0, 0.01),
        funds=(0.0, 1e5),
        procedures=("returned",),
    )
    found = run([History("one", history)], {"one": {"book": book}}, policy_cases.venue(), grid)
    return Measured(frames_hash(history.bars, book.positions), {"cells": found})


CASES: dict[str, tuple[Callable[..., Measured], tuple[object, ...]]] = {
    "sweep": (sweeps, tuple(range(12))),
    "accounts": (account_sweeps, tuple(range(12))),
    "replay": (replays, tuple(range(16))),
    "counterfactual": (counterfactuals, tuple(range(6))),
    "sample": (sample, ("binance", "bybit", "ascendex", "mexc", "primexbt")),
    "levels": (levels, tuple(range(4))),
    "grid": (grids, tuple(range(2))),
}


def measured(kind: str) -> dict[str, dict[str, object]]:
    """Return the hashes of a kind's cases, by case."""
    make, arguments = CASES[kind]
    found = {f"{kind} {argument}": make(argument) for argument in arguments}
    return {
        name: {"inputs": case.inputs, "results": {key: frame_hashes(f) for key, f in case.results.items()}}
        for name, case in found.items()
    }


def differences(kind: str, stored: dict[str, dict]) -> Iterator[str]:
    """Yield what differs from the stored hashes; columns that are new are none of them."""
    for name, case in measured(kind).items():
        kept = stored.get(name)
        if kept is None or kept["inputs"] != case["inputs"]:
            yield f"{name}: its inputs are drawn differently here"
            continue
        for frame, columns in kept["results"].items():
            for column, digest in columns.items():
                now = case["results"].get(frame, {}).get(column)  # type: ignore[attr-defined]
                if now != digest:
                    yield f"{name}: {frame}.{column} {'is gone' if now is None else 'differs'}"


def _inputs(case) -> str:
    return frames_hash(
        case.bars,
        case.funding,
        *getattr(case, "frames", {}).values(),
        _tables(case.venue),
        *(() if hasattr(case, "frames") else (case.positions, case.adjustments)),
    )


def _tables(venue: Venue) -> pl.DataFrame:
    values = [v for contract in venue.contracts.values() for t in contract.tables for v in (*t.rates, *t.floors)]
    return pl.DataFrame({"values": pl.Series(values, dtype=pl.Float64)})


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store the results of now")
    if parser.parse_args().write:
        found = {name: case for kind in CASES for name, case in measured(kind).items()}
        STORED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        return
    stored = json.loads(STORED.read_text())
    told = [line for kind in CASES for line in differences(kind, stored)]
    print("\n".join(told) or "every column equals the stored one")
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
