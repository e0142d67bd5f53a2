"""The replay with every coupling off is the sweep: bars, prices and flags bit for bit, money within its unit."""

from __future__ import annotations

import os
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from random_cases import Case, random_case, with_additions, with_recorded_exits

from backtest import Book, Market, sweep
from backtest.engine.replay.replay import Replay, replay
from backtest.schemas.frames import OUTCOME_COLUMNS

POSITIONS = int(os.environ.get("BACKTEST_REFERENCE_POSITIONS", "20000"))
BATCHES, A_CASE = 4, 300
POSTINGS = 24  # of one position at the most here: entry, four changes of three each, funding, close

#: Money differs by its unit; a replay resolves what bars hide in less detail.
EXACT = OUTCOME_COLUMNS.keys() - {"realised_pnl", "certainly_liquidated", "possibly_liquidated"}


def one_symbol(case: Case, symbol: str) -> tuple[Book, Market]:
    positions = case.positions.filter(pl.col("symbol") == symbol)
    changes = case.adjustments
    if changes is not None:
        changes = changes.filter(pl.col("position_id").is_in(positions["position_id"].implode()))
    limit = case.options["gap_limit_ms"]
    market = Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))
    return Book(positions, changes), market


def assert_closes(found: Replay) -> None:
    assert found.ledger["cash"].sum() == 0
    assert found.ledger["unrealised"].sum() == 0
    assert found.ledger["total"].sum() == 0
    assert (found.fund["fund"] >= 0).all()


def assert_equal(expected: pl.DataFrame, found: Replay, title: str) -> None:
    outcomes = found.outcomes
    for name in EXACT:
        wrong = expected[name].cast(pl.String).ne_missing(outcomes[name].cast(pl.String))
        if wrong.any():
            row = int(wrong.arg_true()[0])
            pytest.fail(
                f"{title}: {name} of {int(wrong.sum())} rows, first {row}: sweep {expected[name][row]!r}, replay "
                f"{outcomes[name][row]!r}\n{expected.row(row, named=True)}\n{outcomes.row(row, named=True)}"
            )
    own = expected["realised_pnl"]
    assert (own.is_null() == outcomes["realised_pnl"].is_null()).all()
    assert ((own - outcomes["realised_pnl"]).abs() <= POSTINGS / found.unit + own.abs() * 1e-12).all(), title


@pytest.mark.parametrize("batch", range(BATCHES))
def test_replay__without_coupling_equals_the_sweep(batch: int) -> None:
    for number in range(-(-POSITIONS // (BATCHES * A_CASE))):
        seed = [batch, number, 5]
        rng = np.random.default_rng(seed)
        case = random_case(rng, A_CASE)
        if number % 3 == 0:
            case = with_additions(rng, case)
        if number % 2 == 0:
            case = with_recorded_exits(case, rng)
        venue = case.venue.with_(adl_trigger="never")
        options = {name: value for name, value in case.options.items() if name != "gap_limit_ms"}
        for symbol in case.positions["symbol"].unique(maintain_order=True):
            book, market = one_symbol(case, symbol)
            title = f"random_case(default_rng({seed}), {A_CASE}) {symbol}"
            expected = sweep(book, market, venue, threads=1, **options)
            found = replay(book, market, venue, threads=1 + number % 2, **options)
            assert_equal(expected, found, title)
            assert_closes(found)
