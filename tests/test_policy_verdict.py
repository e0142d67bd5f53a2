"""The verdict of a grid: the highest cap that keeps a tolerance, and what breaks it."""

from __future__ import annotations

from itertools import product
from typing import Any

import polars as pl
import pytest

from backtest.cli.policy.grid_file import read_grid
from backtest.cli.policy.results import Tried
from backtest.cli.policy.verdict import verdict
from backtest.errors import RulesError
from backtest.study import policy
from backtest.study.policy.evaluations import TYPES

CAPS, HISTORIES, BOOKS = (None, 50.0, 20.0), ("May", "June"), ("a", "b")


def tried(shortfall: dict[Any, float], tolerance: dict[str, float], fill: str = "delayed") -> Tried:
    """Return a grid in which each history and book has ten per million less than the one before."""
    grid = policy.Grid(caps=CAPS, fills=(fill,), responses=("same_size",))
    rows = []
    for cap, (place, (history, book)) in product(CAPS, enumerate(product(HISTORIES, BOOKS))):
        amount = (shortfall[cap] - 10 * place) if shortfall[cap] else 0.0
        rows.append(
            dict.fromkeys(TYPES)
            | {
                "history": history, "book": book, "change": "current rules", "cap": cap, "rate_scale": 1.0,
                "fill": fill, "response": "same_size", "liquidation_fee": 0.0, "fund": 0.0,
                "procedure": "returned", "settlement": "s", "bar_seconds": 60.0,
                "intended_notional": 1e6, "freedom": 1.0, "shortfall": amount, "adl": amount,
                "liquidated_share": 0.1 if cap == 20 else 0.3, "traders_losses": 0.0,
            }
        )  # fmt: skip
    return Tried(grid, pl.DataFrame(rows, schema_overrides=TYPES), tolerance)


def one(found: Tried) -> str:
    (sentence,) = verdict(found)
    return sentence


def test_highest_cap__is_the_one_that_every_history_and_book_keeps() -> None:
    said = one(tried({None: 200.0, 50.0: 61.0, 20.0: 49.0}, {"shortfall_per_million": 50.0}))
    assert said == (
        "Tolerance: at most 50.0 of shortfall per million of intended notional, in each of 4 pairs of history and "
        "book, filled after the delay: the highest cap that keeps it is, by what traders do, same size, more "
        "margin: 20x (with 50x it is 61.0 in May, a)."
    )


def test_a_tolerance_just_met__is_kept() -> None:
    assert "margin: 50x (without a cap it is 200.0 in May, a)." in one(
        tried({None: 200.0, 50.0: 50.0, 20.0: 49.0}, {"shortfall_per_million": 50.0})
    )


def test_no_cap_needed__and_none_that_helps() -> None:
    assert one(tried({None: 40.0, 50.0: 40.0, 20.0: 40.0}, {"adl_per_million": 50.0})).endswith(": no cap at all.")
    assert one(tried({None: 90.0, 50.0: 80.0, 20.0: 70.0}, {"adl_per_million": 50.0})).endswith(
        ": none of the grid (with 20x it is 70.0 in May, a)."
    )


def test_shares__are_of_positions_whatever_the_fill() -> None:
    said = one(tried(dict.fromkeys(CAPS, 1.0), {"liquidated_share": 0.2}, "liquidation_price"))
    assert said.startswith("Tolerance: at most 20.0 % of the positions opened liquidated, in each of 4")
    assert "20x (with 50x it is 30.0 % in May, a)" in said


def test_a_share_of_nothing__breaks_no_tolerance() -> None:
    found = tried(dict.fromkeys(CAPS, 1.0), {"liquidated_share": 0.2})
    nothing = pl.when(cap=20.0, book="a").then(float("nan")).otherwise("liquidated_share")
    kept = Tried(found.grid, found.policies.with_columns(liquidated_share=nothing), found.tolerance)
    assert "more margin: 20x (with 50x" in one(kept)


def test_a_lower_cap_that_breaks_it__is_named() -> None:
    said = one(tried({None: 200.0, 50.0: 40.0, 20.0: 60.0}, {"shortfall_per_million": 50.0}))
    assert said.endswith(
        "50x (without a cap it is 200.0 in May, a), though a lower cap breaks it (with 20x it is 60.0 in May, a)."
    )


def test_at_the_liquidation_price__nothing_is_judged_that_is_nothing_by_construction() -> None:
    said = one(tried(dict.fromkeys(CAPS, 0.0), {"shortfall_per_million": 5.0}, "liquidation_price"))
    assert "not judged" in said


@pytest.mark.parametrize("tolerance", [{}])
def test_without_a_tolerance__there_is_no_verdict(tolerance) -> None:
    assert list(verdict(tried(dict.fromkeys(CAPS, 1.0), tolerance))) == []


def test_bad_tolerances__are_named(tmp_path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        "[tolerance]\nshortfall_per_million = -1\nliquidated_share = 20\nlosses = 3\n"
        '[[histories]]\nname = "May"\nsample = true\n[[books]]\nname = "mixed"\ncount = 10\n'
    )
    with pytest.raises(RulesError) as refused:
        read_grid(grid)
    said = str(refused.value)
    assert "3 problems" in said
    assert "tolerance.shortfall_per_million: must lie between 0 and 1,000,000, is -1" in said
    assert "tolerance.liquidated_share: must lie between 0 and 1, is 20" in said
    assert "tolerance.losses: is not a setting" in said
