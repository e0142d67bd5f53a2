"""What must hold of a sweep whatever the market, the book and the venue are: no reference, only relations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_cases import START, Case, History, Numbers, Rng, bars_of, funding_of, moments, random_bars, random_case
from test_sweep_reference import swept

from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.schemas import OUTCOME_COLUMNS, Side

lawful = settings(deadline=None, derandomize=True, max_examples=30)
seeds = st.integers(0, 2**32 - 1)
cases = seeds.map(lambda seed: random_case(np.random.default_rng(seed), 90))

HOUR = 3_600_000
MONEY = ["funding_paid", "equity_at_fill", "shortfall", "realised_pnl"]
PRICES = ["liquidation_price", "bankruptcy_price", "fill_price"]
PLANNED = ["exit_time", "stop_price", "take_profit_price"]


def results(outcomes: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Return the outcome columns (or some of them) in order of position."""
    return outcomes.sort("position_id").select(names or list(OUTCOME_COLUMNS))


def static(case: Case) -> Case:
    """Return a case whose holders only wait, entered on openings."""
    times = case.bars.group_by("symbol").agg(pl.col("time").alias("openings"))
    held = case.positions.drop(PLANNED, strict=False).join(times, on="symbol", maintain_order="left")
    entered = pl.col("openings").list.eval(pl.element()).list.last()
    first_after = pl.col("openings").list.eval(pl.element().sort())
    held = held.with_columns(first_after.alias("openings"))
    held = held.filter(pl.col("entry_time") <= entered).drop("openings")
    return case._replace(positions=held, adjustments=None)


@lawful
@given(case=cases, seed=seeds)
def test_sweep__permuting_positions_permutes_outcomes(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(case.positions.height)
    assert swept(case._replace(positions=case.positions[order])).equals(swept(case)[order])


@lawful
@given(case=cases, parts=st.integers(2, 5))
def test_sweep__splitting_the_book_and_concatenating_changes_nothing(case: Case, parts: int) -> None:
    step = -(-case.positions.height // parts)
    pieces = []
    for start in range(0, case.positions.height, step):
        positions, changes = case.positions[start : start + step], case.adjustments
        if changes is not None:
            changes = changes.join(positions, on="position_id", how="semi", maintain_order="left")
        pieces.append(swept(case._replace(positions=positions, adjustments=changes)))
    assert pl.concat(pieces).equals(swept(case))


@lawful
@given(case=cases)
def test_sweep__number_of_threads_changes_nothing(case: Case) -> None:
    assert swept(case, threads=2).equals(swept(case, threads=1))
