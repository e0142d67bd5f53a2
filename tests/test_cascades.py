"""Cascades against a plain walk through the liquidations, one after the other."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from outcome_cases import with_kinds

from backtest.errors import ArgumentError, DataError
from backtest.schemas.frames import Side, Time
from backtest.study.liquidations import flow
from backtest.study.liquidations.cascades import (
    by_hour_of_day,
    compare,
    find,
    pulses,
    running_totals,
    with_price_moves,
)
from backtest.study.liquidations.segmentation import GapRule, PeakRule, Rule, ThresholdRule

START = datetime(2021, 5, 19, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOURS = 30
RULES = [
    GapRule(5 * MINUTE, bar=MINUTE),
    GapRule(2 * MINUTE, bar=MINUTE),
    ThresholdRule(0.8, bar=MINUTE),
    ThresholdRule(0.5, bar=MINUTE, long_share=0.65),
    PeakRule(0.1, bar=MINUTE),
    PeakRule(0.01, bar=MINUTE),
]


def random_outcomes(seed: int = 0, rows: int = 500) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 60 * HOURS, 40)
    minutes = np.clip(rng.choice(centres, rows) + rng.geometric(0.2, rows), 0, 60 * HOURS - 1)
    outcomes = pl.DataFrame(
        {
            "symbol": rng.choice(["BTCUSDT", "ETHUSDT"], rows),
            "side": rng.choice(["long", "short"], rows, p=[0.7, 0.3]),
            "entry_price": rng.uniform(30_000, 60_000, rows),
            "quantity": rng.lognormal(0, 1, rows),
            "weight": rng.integers(1, 5, rows).astype(float),
            "outcome_time": [START + int(minute) * MINUTE for minute in minutes],
            "liquidated": rng.random(rows) < 0.8,
            "fill_notional": rng.lognormal(8, 2, rows).round(2),
        },
        schema_overrides={"side": Side, "outcome_time": Time},
    )
    return with_kinds(outcomes)


def random_bars(seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for symbol in ("BTCUSDT", "ETHUSDT"):
        opening = rng.uniform(100, 200, 60 * HOURS)
        times = [START + minute * MINUTE for minute in range(60 * HOURS)]
        high, low = opening + rng.uniform(5, 9, opening.size), opening - rng.uniform(5, 9, opening.size)
        bars = {"time": times, "open": opening, "high": high, "low": low, "close": opening + rng.uniform(-4, 4)}
        frames.append(pl.DataFrame(bars, schema_overrides={"time": Time}).with_columns(symbol=pl.lit(symbol)))
    return pl.concat(frames)


def bar_totals(outcomes: pl.DataFrame, symbol: str | None) -> dict[datetime, dict[str, Any]]:
    """Return what each bar holds, added up row by row."""
    bars: dict[datetime, dict[str, Any]] = defaultdict(
        lambda: {"long": 0.0, "short": 0.0, "count": 0.0, "largest": 0.0}
    )
    for row in outcomes.iter_rows(named=True):
        if row["liquidated"] and symbol in (None, row["symbol"]):
            bar = bars[row["outcome_time"]]
            bar[row["side"]] += row["fill_notional"] * row["weight"]
            bar["count"] += row["weight"]
            bar["largest"] = max(bar["largest"], row["fill_notional"])
    return dict(sorted(bars.items()))


def takes_part(bar: dict[str, Any], totals: list[float], rule: Rule) -> bool:
    whole = bar["long"] + bar["short"]
    if isinstance(rule, GapRule):
        return True
    if isinstance(rule, PeakRule):
        return whole >= rule.fraction * max(totals)
    level = sorted(totals)[math.ceil(rule.quantile * (len(totals) - 1) - 1e-9)]
    return whole >= level and bar["long"] >= rule.long_share * whole


def walked(outcomes: pl.DataFrame, symbol: str | None, rule: Rule) -> list[dict[str, Any]]:
    """Return the cascades found by walking from bar to bar."""
    bars = bar_totals(outcomes, symbol)
    totals = [bar["long"] + bar["short"] for bar in bars.values()]
    cascades: list[list[datetime]] = []
    for time, bar in bars.items():
        if takes_part(bar, totals, rule):
            if not cascades or time - cascades[-1][-1] > rule.reach:
                cascades.append([])
            cascades[-1].append(time)
    return [described([(time, bars[time]) for time in times], rule.bar) for times in cascades]


def described(bars: list[tuple[datetime, dict[str, Any]]], bar: timedelta) -> dict[str, Any]:
    start, end = bars[0][0], bars[-1][0] + bar
    longs = sum(held["long"] for _, held in bars)
    notional = longs + sum(held["short"] for _, held in bars)
    peak = max(bars, key=lambda pair: pair[1]["long"] + pair[1]["short"])
    return {
        "start": start,
        "end": end,
        "peak_time": peak[0],
        "notional": notional,
        "count": sum(held["count"] for _, held in bars),
        "long_share": longs / notional,
        "peak_notional": peak[1]["long"] + peak[1]["short"],
        "largest_fill": max(held["largest"] for _, held in bars),
        "duration": end - start,
        "speed": notional / ((end - start) / MINUTE),
    }


def assert_same(table: pl.DataFrame, expected: list[dict[str, Any]]) -> None:
    assert table.height == len(expected)
    for row, cascade in zip(table.iter_rows(named=True), expected, strict=True):
        for name, value in cascade.items():
            close = pytest.approx(value, rel=1e-9, abs=1e-6) if isinstance(value, float) else value
            assert row[name] == close, name


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_find__equals_walking_from_bar_to_bar(rule: Rule, seed: int) -> None:
    outcomes = random_outcomes(seed)
    table = find(pulses(outcomes), rule)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        expected = walked(outcomes, symbol, rule)
        assert expected
        assert_same(table.filter(pl.col("symbol") == symbol), expected)
    assert table["rule"].unique().to_list() == [str(rule)]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_find__across_symbols_lets_a_cascade_run_through_several(rule: Rule) -> None:
    outcomes = random_outcomes()
    assert_same(find(pulses(outcomes, across_symbols=True), rule), walked(outcomes, None, rule))


def test_find__of_a_flow_equals_that_of_its_outcomes() -> None:
    outcomes = random_outcomes()
    by_minute = flow.by_interval(outcomes, start=START, end=START + timedelta(hours=HOURS), every="1m")
    table = find(by_minute, GapRule(5 * MINUTE, bar=MINUTE))
    expected = find(pulses(outcomes, across_symbols=True), GapRule(5 * MINUTE, bar=MINUTE))
    assert table["largest_fill"].is_null().all()
    assert table.drop("largest_fill").equals(expected.drop("largest_fill"))


def test_find__keeps_every_liquidation_by_the_gap_rule() -> None:
    outcomes = random_outcomes()
    table, gone = find(pulses(outcomes), GapRule(5 * MINUTE, bar=MINUTE)), outcomes.filter("liquidated")
    whole = sum(row["fill_notional"] * row["weight"] for row in gone.iter_rows(named=True))
    assert table["notional"].sum() == pytest.approx(whole, abs=0.01)
    assert table["count"].sum() == gone["weight"].sum()


def test_find__does_not_depend_on_the_order_of_rows() -> None:
    outcomes = random_outcomes()
    shuffled = outcomes.sample(fraction=1.0, shuffle=True, seed=2)
    rule = GapRule(5 * MINUTE, bar=MINUTE)
    assert find(pulses(outcomes), rule).equals(
        find(pulses(shuffled).sample(fraction=1, shuffle=True, seed=1), rule)
    )


def test_find__in_nothing_finds_nothing() -> None:
    none = random_outcomes().with_columns(liquidated=pl.lit(False))
    for rule in RULES:
        assert find(pulses(none), rule).is_empty()


def test_find__of_exact_stamps_has_no_speed_for_a_single_one() -> None:
    one = random_outcomes().filter("liquidated").head(1)
    row = find(pulses(one), GapRule(MINUTE, bar=timedelta(0))).row(0, named=True)
    assert row["duration"] == timedelta(0)
    assert math.isnan(row["speed"])


def test_pulses__without_weights_count_each_row_once() -> None:
    outcomes = random_outcomes()
    assert pulses(outcomes.drop("weight")).equals(pulses(outcomes.with_columns(weight=pl.lit(1.0))))


def test_pulses__take_the_weight_that_was_left_at_the_liquidation() -> None:
    outcomes = random_outcomes()
    left = outcomes.with_columns(surviving_weight=pl.col("weight") / 4)
    assert pulses(left)["count"].to_list() == (pulses(outcomes)["count"] / 4).to_list()
    assert pulses(left)["notional"].to_list() == pytest.approx((pulses(outcomes)["notional"] / 4).to_list(), abs=1)


def test_price_moves__are_those_of_the_bars_within() -> None:
    bars = random_bars()
    table = with_price_moves(find(pulses(random_outcomes()), GapRule(5 * MINUTE, bar=MINUTE)), bars.reverse())
    for row in table.iter_rows(named=True):
        inside = bars.filter(
            pl.col("symbol") == row["symbol"], pl.col("time") >= row["start"], pl.col("time") < row["end"]
        )
        first = inside["open"][0]
        assert row["price_move"] == pytest.approx(inside["close"][-1] / first - 1)
        assert row["lowest_move"] == pytest.approx(inside["low"].min() / first - 1)
        assert row["highest_move"] == pytest.approx(inside["high"].max() / first - 1)


def test_price_moves__are_null_where_no_bar_opens() -> None:
    cascades = find(pulses(random_outcomes()), GapRule(5 * MINUTE, bar=MINUTE))
    moved = with_price_moves(cascades, random_bars().filter(pl.col("symbol") == "ETHUSDT"))
    by_symbol = moved.group_by("symbol").agg(pl.col("price_move").null_count(), rows=pl.len()).sort("symbol")
    assert by_symbol["price_move"].to_list() == [by_symbol["rows"][0], 0]
    assert moved.select(cascades.columns).equals(cascades)


def test_price_moves__across_symbols_need_bars_of_one() -> None:
    across = find(pulses(random_outcomes(), across_symbols=True), GapRule(5 * MINUTE, bar=MINUTE))
    with pytest.raises(DataError, match="choose one"):
        with_price_moves(across, random_bars())
    one = with_price_moves(across, random_bars().filter(pl.col("symbol") == "BTCUSDT"))
    assert one["price_move"].null_count() == 0


def test_compare__puts_runs_side_by_side() -> None:
    rule = GapRule(5 * MINUTE, bar=MINUTE)
    runs = {name: find(pulses(random_outcomes(seed)), rule) for seed, name in enumerate(("history", "capped"))}
    table = compare(runs)
    assert table["run"].to_list() == ["history", "capped"]
    for row, cascades in zip(table.iter_rows(named=True), runs.values(), strict=True):
        sizes = sorted(cascades["notional"])
        longs = sum(part["notional"] * part["long_share"] for part in cascades.iter_rows(named=True))
        assert row["cascades"] == len(sizes)
        assert row["notional"] == pytest.approx(sum(sizes))
        assert row["count"] == sum(cascades["count"])
        assert row["long_share"] == pytest.approx(longs / sum(sizes))
        assert row["median"] == pytest.approx(float(np.median(sizes)))
        assert row["ninth_decile"] == sizes[math.ceil(0.9 * (len(sizes) - 1))]
        assert row["largest"] == sizes[-1]
        assert row["share_of_largest"] == pytest.approx(sizes[-1] / sum(sizes))
        assert row["longest"] == max(cascades["duration"])
        assert row["fastest"] == max(cascades["speed"])


def test_compare__of_a_run_without_cascades_has_no_sizes() -> None:
    rule = GapRule(5 * MINUTE, bar=MINUTE)
    row = compare({"none": find(pulses(random_outcomes().clear()), rule)}).row(0, named=True)
    assert (row["cascades"], row["notional"], row["median"]) == (0, 0.0, None)


def test_compare__refuses_cascades_of_different_rules() -> None:
    found = pulses(random_outcomes())
    with pytest.raises(
        ArgumentError, match=r"one rule, come from: gap of at most 0:02:00.*; gap of at most 0:05:00"
    ):
        compare({"a": find(found, RULES[0]), "b": find(found, RULES[1])})


def test_by_hour_of_day__is_the_mean_over_days() -> None:
    outcomes = random_outcomes()
    table = by_hour_of_day(
        flow.by_interval(outcomes, start=START, end=START + timedelta(hours=HOURS), every="15m")
    )
    sums: dict[tuple[int, str], float] = defaultdict(float)
    for row in outcomes.filter("liquidated").iter_rows(named=True):
        sums[row["outcome_time"].hour, row["side"]] += row["fill_notional"] * row["weight"]
    for row in table.iter_rows(named=True):
        assert row["hours"] == (2 if 10 <= row["hour"] <= 16 else 1)
        for side in ("long", "short"):
            assert row[f"{side}_notional"] == pytest.approx(sums[row["hour"], side] / row["hours"], abs=0.01)
        assert row["notional"] == pytest.approx(row["long_notional"] + row["short_notional"])


def test_by_hour_of_day__is_nan_for_hours_that_the_flow_does_not_hold() -> None:
    short = flow.by_interval(random_outcomes(), start=START, end=START + timedelta(hours=3))
    table = by_hour_of_day(short)
    assert table["hour"].to_list() == list(range(24))
    assert table.filter(pl.col("notional").is_nan())["hour"].to_list() == [*range(10), *range(14, 24)]
    assert table["hours"].sum() == 4


def test_running_totals__end_at_the_total() -> None:
    by_hour = flow.by_interval(random_outcomes(), start=START, end=START + timedelta(hours=HOURS))
    totals = running_totals(by_hour)
    assert totals["time"].equals(by_hour["time"])
    for part in flow.PARTS:
        steps = [totals[f"{part}notional"][0], *totals[f"{part}notional"].diff()[1:]]
        assert steps == pytest.approx(by_hour[f"{part}notional"].to_list(), abs=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda: GapRule(1.9 * MINUTE, bar=MINUTE),
        lambda: GapRule(timedelta(0), bar=timedelta(0)),
        lambda: ThresholdRule(1.1, bar=MINUTE),
        lambda: ThresholdRule(0.9, bar=timedelta(0)),
        lambda: ThresholdRule(0.9, bar=MINUTE, long_share=-0.1),
        lambda: PeakRule(math.nan, bar=MINUTE),
        lambda: PeakRule(0.1, bar=-MINUTE),
    ],
)
def test_rules__that_mean_nothing_are_refused(build) -> None:
    with pytest.raises(ArgumentError, match="must"):
        build()


def test_rules__write_out_all_their_parameters() -> None:
    assert str(GapRule(5 * MINUTE, bar=MINUTE)) == "gap of at most 0:05:00, bars of 0:01:00"
    assert "0.95 quantile, long share at least 0.65" in str(ThresholdRule(0.95, bar=MINUTE, long_share=0.65))
    assert "at least 0.1 of the heaviest" in str(PeakRule(0.1, bar=MINUTE))
