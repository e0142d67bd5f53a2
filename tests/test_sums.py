"""Sums of outcomes in one compiled pass: to the last digit those that polars' own groups give."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import sums_reference
from outcome_cases import with_kinds
from polars.testing import assert_frame_equal
from scale_cases import BARS, SYMBOLS, made_market, made_positions, made_venue, moments

from backtest import Book, Market, sweep
from backtest.errors import DataError
from backtest.schemas.frames import Outcome, Side
from backtest.study.liquidations.grouping import LEVERAGE_EDGES
from backtest.study.partial_sums import arrays
from backtest.study.partial_sums.outcomes import condense, condense_ends

ROWS = 1_500
KINDS = {"ETHUSDT": "inverse", "SOLUSDT": "face_value"}


@pytest.fixture(scope="module")
def market() -> Market:
    return made_market(np.random.default_rng(1))


def invented(
    rng: np.random.Generator, market: Market, rows: int = ROWS, kinds: dict[str, str] | None = None
) -> pl.DataFrame:
    """Return outcomes that no sweep gives: ties of a cent, leverage at edges, now and then nothing."""
    symbol = rng.integers(0, len(SYMBOLS), rows)
    outcome = rng.integers(0, 6, rows)
    openings = market.times[market.firsts[0] : market.firsts[1]]
    time = pl.Series(openings[rng.integers(0, openings.size, rows)])
    after_gap = market.gaps()["end"].to_physical()[0]
    entry = moments(rng.integers(-200, BARS, rows))
    halves = rng.integers(-400, 400, rows) / 200 + rng.choice([0.0, 1e-12], rows)
    some = pl.Series(rng.random(rows) < 0.9)
    whole = pl.DataFrame(
        {
            "symbol": np.array(SYMBOLS)[symbol],
            "side": pl.Series(Side.categories, dtype=Side).gather(rng.integers(0, 2, rows)),
            "entry_time": entry,
            "entry_price": np.exp2(rng.integers(-3, 8, rows)),
            "quantity": rng.integers(1, 4_000, rows) / 200,
            "leverage": np.where(
                rng.random(rows) < 0.3, rng.choice(LEVERAGE_EDGES, rows), rng.uniform(1, 130, rows)
            ),
            "margin": rng.uniform(0.5, 40, rows),
            "weight": rng.integers(1, 9, rows) / 4 + rng.choice([0.0, 5e-7], rows),
            "outcome": pl.Series(Outcome.categories, dtype=Outcome).gather(outcome),
            "liquidated": outcome == 0,
            "ambiguous": rng.random(rows) < 0.2,
            "outcome_time": time.set(pl.Series(rng.random(rows) < 0.2), after_gap).cast(entry.dtype),
            "fill_notional": rng.integers(0, 10_000, rows) / 200,
            "shortfall": np.maximum(halves, 0),
        }
    )
    nothing = [pl.when(some).then(name).alias(name) for name in ("outcome_time", "fill_notional", "shortfall")]
    return with_kinds(whole.with_columns(nothing), kinds)


SHAPES = {
    "as it is": lambda outcomes: outcomes,
    "of one symbol": lambda outcomes: outcomes.filter(pl.col("symbol") == "SOLUSDT"),
    "told by its margin": lambda outcomes: outcomes.drop("leverage"),
    "without weights": lambda outcomes: outcomes.drop("weight"),
    "in pieces": lambda outcomes: pl.concat([outcomes[:700], outcomes[700:]], rechunk=False),
    "of nothing": lambda outcomes: outcomes.head(0),
    "where nothing came": lambda outcomes: outcomes.with_columns(
        pl.lit(None, outcomes.schema[name]).alias(name) for name in ("outcome_time", "fill_notional", "shortfall")
    ),
}


@pytest.mark.parametrize("kinds", [None, KINDS], ids=["linear", "mixed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums__are_those_of_the_reference(market, shape, kinds):
    for seed in range(4):
        outcomes = SHAPES[shape](invented(np.random.default_rng(seed), market, kinds=kinds))
        ours, theirs = condense(outcomes, None), sums_reference.condensed(outcomes)
        assert_frame_equal(ours, theirs, check_exact=True)
        ours = condense_ends(outcomes, market)
        assert_frame_equal(ours, sums_reference.condensed_lives(outcomes, market), check_exact=True)


def test_sums_of_a_sweep__are_those_of_the_reference(market):
    book = Book(made_positions(market, ROWS, np.random.default_rng(2)))
    outcomes = sweep(book, market, made_venue())
    assert_frame_equal(condense(outcomes, None), sums_reference.condensed(outcomes), check_exact=True)
    lives = sums_reference.condensed_lives(outcomes, market)
    assert_frame_equal(condense_ends(outcomes, market), lives, check_exact=True)


@pytest.mark.parametrize("unit", [0.01, 1e-8, 3.0])
def test_sums_of_a_book_that_thins_out__are_those_of_the_reference(market, unit):
    rng = np.random.default_rng(3)
    outcomes = invented(rng, market, kinds=KINDS)
    share = pl.Series(rng.choice([0.0, 0.5, 1.0, 0.123_456_78], ROWS))
    thinning = outcomes.with_columns(surviving_weight=pl.col("weight") * share)
    for frame in (thinning, thinning.drop("weight")):
        ours = condense(frame, None, unit=unit)
        assert_frame_equal(ours, sums_reference.condensed(frame, unit), check_exact=True)
    with pytest.raises(DataError, match="lives need rows that end at once"):
        condense_ends(thinning, market)


def test_groups__find_more_room_as_often_as_they_need_it(market, monkeypatch):
    outcomes = invented(np.random.default_rng(4), market)
    expected = condense(outcomes, None), condense_ends(outcomes, market)
    assert min(found.height for found in expected) > 4 * 16
    monkeypatch.setattr(arrays, "FIRST_ROOM", 4)
    assert_frame_equal(condense(outcomes, None), expected[0], check_exact=True)
    assert_frame_equal(condense_ends(outcomes, market), expected[1], check_exact=True)


def test_times_at_both_ends_of_the_calendar__are_told_apart(market):
    outcomes = invented(np.random.default_rng(5), market, 300, KINDS)
    far = pl.Series(np.resize([-62_135_596_800_000, -1, 0, 253_402_214_400_000], 300))
    outcomes = outcomes.with_columns(outcome_time=far.cast(outcomes.schema["outcome_time"]))
    ours = condense(outcomes, None)
    assert_frame_equal(ours, sums_reference.condensed(outcomes), check_exact=True)
    assert ours["outcome_time"].n_unique() == 4


def test_amounts_beyond_int64__are_refused_by_their_row(market):
    outcomes = invented(np.random.default_rng(6), market, 50)
    large = pl.when(pl.int_range(pl.len()) == 7).then(1e18).otherwise(pl.col("entry_notional"))
    with pytest.raises(DataError, match=r"must add up to less than 2\^62 units: with row 7 they are more"):
        condense(outcomes.with_columns(entry_notional=large))
    with pytest.raises(DataError, match="with row 3 they are more"):
        condense_ends(
            outcomes.with_columns(weight=pl.when(pl.int_range(pl.len()) == 3).then(1e13).otherwise(1.0)), market
        )


def test_sums_beyond_int64__are_refused_where_no_row_is(market):
    outcomes = invented(np.random.default_rng(6), market, 50).with_columns(symbol=pl.lit("BTCUSDT"))
    alike = outcomes.with_columns(pl.col("side", "outcome", "leverage", "liquidated", "ambiguous").first())
    alike = alike.with_columns(
        pl.col("outcome_time", "entry_time").first(), entry_price=1.0, contract_kind=pl.lit("linear")
    )
    with pytest.raises(DataError, match=r"add up to less than 2\^62 units: with row 1 they are more"):
        condense(alike.with_columns(entry_notional=pl.lit(3e16), weight=pl.lit(1.0)))
    with pytest.raises(DataError, match="with row 4 they are more"):
        condense_ends(alike.with_columns(entry_notional=pl.lit(1.0), weight=pl.lit(1e12)), market)


def test_lives_of_any_step__round_their_durations_up(market):
    outcomes = invented(np.random.default_rng(7), market, 200)
    minutes = condense_ends(outcomes, market, timedelta(minutes=1))
    days = condense_ends(outcomes, market, timedelta(days=1))
    assert minutes["weight"].sum() == days["weight"].sum()
    rounded = (minutes["duration"].dt.total_milliseconds() / 86_400_000).ceil().cast(pl.Int64)
    assert rounded.drop_nulls().unique().sort().to_list() == [
        length.days for length in days["duration"].drop_nulls().unique().sort()
    ]
