"""Liquidation at risk: plain-Python sums, what a sweep of the move liquidates, and quantiles by hand."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from outcome_cases import with_kinds

from backtest import Book, Market, Venue, sweep
from backtest.errors import ArgumentError
from backtest.schemas.frames import Outcome, Side
from backtest.study.prediction import liquidation_at_risk

START = datetime(2021, 5, 19, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TIME = pl.Datetime("ms", "UTC")
KINDS = {"BTCUSD": "inverse", "YES": "face_value"}
SYMBOLS = ("BTCUSDT", "BTCUSD", "YES")


def random_bars(rows: int = 60, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = [
        pl.DataFrame(
            {
                "symbol": symbol,
                "time": [START + MINUTE * row for row in range(rows)],
                "open": 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows))),
            },
            schema_overrides={"time": TIME},
        )
        for symbol in SYMBOLS
    ]
    return pl.concat(frames)


def random_outcomes(rows: int = 1_500, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    entry = rng.integers(0, 50, rows)
    outcome = rng.choice(Outcome.categories.to_list(), rows)
    side = rng.choice(["long", "short"], rows)
    distance = np.where(side == "long", -1, 1) * rng.uniform(0.01, 0.9, rows)
    ended = [
        None if what == "open" else START + MINUTE * int(first + held)
        for what, first, held in zip(outcome, entry, rng.integers(0, 30, rows), strict=True)
    ]
    prices = 100 * (1 + distance)
    frame = pl.DataFrame(
        {
            "symbol": rng.choice(SYMBOLS, rows),
            "side": side,
            "entry_time": [START + MINUTE * int(minute) for minute in entry],
            "quantity": rng.lognormal(3, 2, rows),
            "weight": rng.lognormal(0, 1, rows),
            "outcome": outcome,
            "outcome_time": ended,
            "liquidation_price": [None if price < 20 else price for price in prices],
        },
        schema_overrides={"side": Side, "outcome": Outcome, "entry_time": TIME, "outcome_time": TIME},
    )
    return with_kinds(frame, KINDS)


def plain(outcomes: pl.DataFrame, bars: pl.DataFrame, moment: datetime, move: float) -> dict:
    """Add up the positions standing at a moment that a move liquidates, one by one."""
    marks = {
        symbol: bars.filter(pl.col("symbol") == symbol, pl.col("time") == moment)["open"].item()
        for symbol in SYMBOLS
    }
    sums = {"long": 0.0, "short": 0.0, "all": 0.0}
    for row in outcomes.iter_rows(named=True):
        mark, ended = marks[row["symbol"]], row["outcome_time"]
        at_opening = row["outcome"] in ("exited", "unknown")
        gone = ended is not None and (ended < moment or (ended == moment and at_opening))
        if row["entry_time"] > moment or gone or row["outcome"] == "rejected":
            continue
        kind = KINDS.get(row["symbol"])
        notional = {"inverse": row["quantity"] / mark, "face_value": row["quantity"]}.get(
            kind, row["quantity"] * mark
        )
        sums["all"] += row["weight"] * notional
        price = row["liquidation_price"]
        if price is not None and (
            price >= mark * (1 - move) if row["side"] == "long" else price <= mark * (1 + move)
        ):
            sums[row["side"]] += row["weight"] * notional
    return sums


def test_by_move__equals_adding_up_positions_one_by_one():
    outcomes, bars = random_outcomes(), random_bars()
    moment, moves = START + 30 * MINUTE, [0.02, 0.1, 0.35, 0.7]
    table = liquidation_at_risk.by_move(outcomes, bars, moment, moves, unit=1e-6)
    for row in table.iter_rows(named=True):
        sums = plain(outcomes, bars, moment, row["move"])
        for side in ("long", "short"):
            assert row[f"{side}_notional"] == pytest.approx(sums[side], abs=0.01)
            assert row[f"{side}_share"] == pytest.approx(sums[side] / sums["all"], abs=1e-9)


def test_by_move__never_falls_with_the_move_and_stays_below_the_book():
    table = liquidation_at_risk.by_move(random_outcomes(), random_bars(), START + 30 * MINUTE)
    for name in table.columns[1:]:
        assert (table[name].diff().drop_nulls() >= 0).all()
    assert (table["long_share"] + table["short_share"] <= 1).all()


def test_by_move__knows_no_bar_after_the_moment():
    outcomes, bars = random_outcomes(), random_bars()
    moment = START + 30 * MINUTE + timedelta(seconds=20)
    until = bars.filter(pl.col("time") <= moment)
    assert liquidation_at_risk.by_move(outcomes, bars, moment).equals(
        liquidation_at_risk.by_move(outcomes, until, moment)
    )
    assert liquidation_at_risk.by_move(outcomes, bars, moment).equals(
        liquidation_at_risk.by_move(outcomes, bars, START + 30 * MINUTE)
    )


def test_by_move__does_not_depend_on_the_order_of_rows():
    outcomes, bars = random_outcomes(), random_bars()
    shuffled = outcomes.sample(fraction=1.0, shuffle=True, seed=2)
    found, again = (liquidation_at_risk.by_move(rows, bars, START + 30 * MINUTE) for rows in (outcomes, shuffled))
    assert found.equals(again)


def test_by_move__of_no_standing_book_has_no_shares():
    table = liquidation_at_risk.by_move(random_outcomes(), random_bars(), START - MINUTE, [0.1])
    assert table["long_notional"].item() == 0
    assert math.isnan(table["long_share"].item())


def swept(move: float, side: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a book swept through one bar that moves against a side, and the bars."""
    extreme = 100 * (1 - move) if side == "long" else 100 * (1 + move)
    last = {"open": 100.0, "high": max(100.0, extreme), "low": min(100.0, extreme), "close": extreme}
    still = {"open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0}
    times = pl.Series([START + MINUTE * row for row in range(3)], dtype=TIME)
    bars = pl.DataFrame([still, still, last]).with_columns(symbol=pl.lit("BTCUSDT"), time=times)
    rng, rows = np.random.default_rng(3), 500
    positions = pl.DataFrame(
        {
            "position_id": np.arange(rows),
            "symbol": "BTCUSDT",
            "side": [side] * rows,
            "entry_time": [START] * rows,
            "entry_price": 100.0,
            "quantity": rng.lognormal(0, 1, rows),
            "leverage": rng.integers(2, 50, rows).astype(float),
        },
        schema_overrides={"side": Side, "entry_time": TIME},
    )
    return sweep(Book(positions), Market(bars), Venue.load("binance"), tiers="nearest"), bars


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("move", [0.03, 0.1, 0.3])
def test_by_move__is_what_a_sweep_of_that_move_liquidates(side, move):
    outcomes, bars = swept(move, side)
    expected = (outcomes.filter("liquidated")["quantity"] * 100).sum()
    assert 0 < expected < 100 * outcomes["quantity"].sum()
    table = liquidation_at_risk.by_move(outcomes, bars, START + 2 * MINUTE, [move])
    assert table[f"{side}_notional"].item() == pytest.approx(expected, abs=5)  # a cent a position
    other = "short" if side == "long" else "long"
    assert table[f"{other}_notional"].item() == 0


def random_flow(rows: int = 120) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    times = [START + HOUR * row for row in range(rows)]
    sides = {f"{side}_notional": rng.lognormal(12, 2, rows).round(2) for side in ("long", "short")}
    frame = pl.DataFrame({"time": times, **sides}, schema_overrides={"time": TIME})
    return frame.with_columns(notional=pl.col("long_notional") + pl.col("short_notional"))


@pytest.mark.parametrize("hours", [1, 8])
def test_by_horizon__equals_sorted_windows_in_plain_python(hours):
    frame = random_flow()
    table = liquidation_at_risk.by_horizon(frame, hours * HOUR, [0.25, 0.5, 0.9, 0.999, 1.0])
    for name in ("long_notional", "short_notional", "notional"):
        amounts = frame[name].to_list()
        windows = sorted(sum(amounts[first : first + hours]) for first in range(len(amounts) - hours + 1))
        for level, found in table.select("level", name).iter_rows():
            expected = next(each for place, each in enumerate(windows, 1) if place >= level * len(windows))
            assert found == pytest.approx(expected, abs=0.1)
    assert table["windows"][0] == 121 - hours
    assert table["independent"][0] == 120 // hours


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: liquidation_at_risk.by_move(random_outcomes(), random_bars(), START, []),
            "moves must be fractions",
        ),
        (lambda: liquidation_at_risk.by_move(random_outcomes(), random_bars(), START, [0.2, 0.1]), "rising"),
        (lambda: liquidation_at_risk.by_move(random_outcomes(), random_bars(), START, [0.0]), "above zero"),
        (lambda: liquidation_at_risk.by_horizon(random_flow(), timedelta(minutes=90)), "whole intervals"),
        (lambda: liquidation_at_risk.by_horizon(random_flow(), 121 * HOUR), "from one to all of it"),
        (lambda: liquidation_at_risk.by_horizon(random_flow(), HOUR, [0.0]), "levels must lie above 0"),
    ],
)
def test_arguments_that_cannot_be_served__are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
