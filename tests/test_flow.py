"""Each statistic of the liquidated flow against a plain-Python accumulation over the rows."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from outcome_cases import with_kinds

from backtest.errors import ArgumentError
from backtest.schemas.frames import OUTCOME_COLUMNS, Outcome, Side
from backtest.study.liquidations import flow

START = datetime(2021, 5, 18, 22, tzinfo=UTC)
END = datetime(2021, 5, 20, 5, 59, tzinfo=UTC)
KINDS = {"BTCUSD": "inverse", "YES": "face_value"}


def random_outcomes(seed: int = 0, rows: int = 2_000, weighted: bool = True) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    minutes = int((END - START).total_seconds() // 60)
    outcome = rng.choice(Outcome.categories.to_list(), rows, p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    times = [START + timedelta(minutes=int(minute)) for minute in rng.integers(0, minutes + 1, rows)]
    entry_price = rng.uniform(20_000, 60_000, rows)
    frame = pl.DataFrame(
        {
            "position_id": np.arange(rows),
            "symbol": rng.choice(["BTCUSDT", "BTCUSD", "YES"], rows),
            "side": rng.choice(["long", "short"], rows, p=[0.8, 0.2]),
            "entry_price": entry_price,
            "quantity": rng.lognormal(0, 2, rows),
            "margin": rng.lognormal(8, 1, rows),
            "leverage": rng.choice([2.0, 5.0, 7.5, 10.0, 25.0, 100.0, 125.0], rows),
            "weight": rng.lognormal(1, 1, rows).round(3),
            "outcome": outcome,
            "liquidated": outcome == "liquidated",
            "outcome_time": times,
            "liquidation_price": entry_price * rng.uniform(0.5, 1.5, rows),
            "fill_notional": rng.lognormal(9, 3, rows),
            "shortfall": rng.lognormal(3, 1, rows) * (rng.uniform(size=rows) < 0.1),
            "ambiguous": rng.uniform(size=rows) < 0.05,
        },
        schema_overrides={"side": Side, "outcome": Outcome, "outcome_time": OUTCOME_COLUMNS["outcome_time"]},
    )
    frame = with_kinds(frame, KINDS)
    return frame if weighted else frame.drop("weight")


def notional_at_entry(row: dict) -> float:
    quantity, price = row["quantity"], row["entry_price"]
    return {"inverse": quantity / price, "face_value": quantity}.get(KINDS.get(row["symbol"]), quantity * price)


def accumulate(outcomes: pl.DataFrame, key) -> dict:
    """Add up liquidated rows by a key: notional, entry notional, count, shortfall."""
    sums: dict = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for row in outcomes.filter("liquidated").iter_rows(named=True):
        weight = row.get("weight", 1.0)
        values = (row["fill_notional"], notional_at_entry(row), 1.0, row["shortfall"])
        for slot, value in enumerate(values):
            sums[key(row)][slot] += weight * value
    return sums


def assert_same(table: pl.DataFrame, sums: dict, keys: int = 1) -> None:
    found = {row[:keys] if keys > 1 else row[0]: row[keys:] for row in table.iter_rows()}
    assert set(found) == set(sums)
    for key, values in sums.items():
        assert found[key] == pytest.approx(values, rel=1e-9, abs=20)  # a cent a row from rounding


def hour(row: dict) -> datetime:
    return row["outcome_time"].replace(minute=0)


@pytest.mark.parametrize("weighted", [True, False])
def test_concentration__is_the_largest_row_of_each_hour_over_its_sum(weighted):
    outcomes = random_outcomes(weighted=weighted)
    largest: dict = defaultdict(float)
    for row in outcomes.filter("liquidated").iter_rows(named=True):
        largest[hour(row)] = max(largest[hour(row)], row.get("weight", 1.0) * notional_at_entry(row))
    sums = accumulate(outcomes, hour)
    found = flow.concentration(outcomes)
    assert found["time"].to_list() == sorted(sums)
    expected = [largest[time] / sums[time][1] for time in found["time"]]
    assert found["largest_share"].to_list() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("weighted", [True, False])
def test_liquidated__by_hour_and_side_equals_adding_up_rows(weighted):
    outcomes = random_outcomes(weighted=weighted)
    table = flow.liquidated(outcomes, [flow.interval("1h"), "side"])
    assert_same(table, accumulate(outcomes, lambda row: (hour(row), row["side"])), keys=2)


def test_liquidated__by_symbol_equals_adding_up_rows():
    outcomes = random_outcomes()
    assert_same(flow.liquidated(outcomes, ["symbol"]), accumulate(outcomes, lambda row: row["symbol"]))


def test_liquidated__by_price_bin_equals_adding_up_rows():
    outcomes = random_outcomes()
    table = flow.liquidated(outcomes, [flow.price_bin(500.0)])
    assert_same(table, accumulate(outcomes, lambda row: row["liquidation_price"] // 500.0 * 500.0))


def test_liquidated__by_leverage_bucket_equals_adding_up_rows():
    def bucket(row: dict) -> str:
        below = {5.0: "below 5x", 10.0: "5x to 10x", 100.0: "10x to 100x"}
        return next((label for edge, label in below.items() if row["leverage"] < edge), "100x and more")

    outcomes = random_outcomes()
    key = flow.leverage_bucket(flow.leverage(outcomes), edges=(5, 10, 100))
    table = flow.liquidated(outcomes, [key])
    assert_same(table, accumulate(outcomes, bucket))
    assert table["leverage_bucket"].to_list() == ["below 5x", "5x to 10x", "10x to 100x", "100x and more"]


def test_leverage__is_entry_notional_over_margin_where_only_the_margin_is_given():
    outcomes = random_outcomes(rows=50).drop("leverage")
    expected = [notional_at_entry(row) / row["margin"] for row in outcomes.iter_rows(named=True)]
    assert outcomes.select(flow.leverage(outcomes)).to_series().to_list() == pytest.approx(expected)


def test_liquidated__unit_decides_what_amounts_are_rounded_to():
    outcomes = random_outcomes(rows=3).with_columns(
        liquidated=pl.lit(True),
        fill_notional=pl.Series([0.004, 0.004, 1.0]),
        weight=pl.lit(1.0),
        side=pl.lit("long", Side),
    )
    assert flow.liquidated(outcomes, ["side"])["notional"].item() == 1.0
    assert flow.liquidated(outcomes, ["side"], unit=1e-8)["notional"].item() == 1.008


@pytest.mark.parametrize("every", ["15m", "1h", "1d"])
def test_by_interval__has_every_interval_and_equals_adding_up_rows(every):
    outcomes = random_outcomes()
    table = flow.by_interval(outcomes, start=START, end=END, every=every)
    step = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "1d": timedelta(days=1)}[every]
    first = START.replace(hour=0) if every == "1d" else START
    sums = accumulate(outcomes, lambda row: (first + (row["outcome_time"] - first) // step * step, row["side"]))
    book = sum(row["weight"] * notional_at_entry(row) for row in outcomes.iter_rows(named=True))
    assert table["time"].to_list() == [first + step * n for n in range((END - first) // step + 1)]
    for row in table.iter_rows(named=True):
        for side in ("long", "short"):
            notional, entry_notional, count, _ = sums.get((row["time"], side), [0.0] * 4)
            assert row[f"{side}_notional"] == pytest.approx(notional, abs=1)
            assert row[f"{side}_count"] == pytest.approx(count, abs=1e-3)
            assert row[f"{side}_share"] == pytest.approx(entry_notional / book, abs=1e-9)
        assert row["notional"] == pytest.approx(row["long_notional"] + row["short_notional"])


def test_by_interval__leaves_out_liquidations_outside_the_window():
    outcomes = random_outcomes()
    whole = flow.by_interval(outcomes, start=START, end=END)
    part = flow.by_interval(outcomes, start=START + timedelta(hours=3), end=START + timedelta(hours=6, minutes=59))
    assert part.equals(whole.slice(3, 4))


def test_by_interval__of_nothing_is_all_zeros():
    outcomes = random_outcomes().with_columns(liquidated=pl.lit(False))
    table = flow.by_interval(outcomes, start=START, end=END)
    assert table.height == 32
    assert table.drop("time").sum().row(0) == (0.0,) * 9


def test_by_interval__refuses_a_window_that_ends_before_it_starts():
    with pytest.raises(ArgumentError, match="must not end before it starts"):
        flow.by_interval(random_outcomes(rows=5), start=END, end=START)


def test_sums__do_not_depend_on_the_order_of_rows():
    outcomes = random_outcomes()
    shuffled = outcomes.sample(fraction=1.0, shuffle=True, seed=3)
    keys = [flow.interval("1h"), "side", "symbol"]
    assert flow.liquidated(outcomes, keys).equals(flow.liquidated(shuffled, keys))
    assert flow.summary(outcomes).equals(flow.summary(shuffled))


def test_a_weight__counts_like_as_many_rows():
    outcomes = random_outcomes().with_columns(weight=pl.lit(3.0))
    repeated = pl.concat([outcomes.drop("weight")] * 3)
    assert flow.summary(outcomes)["liquidated"].item() == flow.summary(repeated)["liquidated"].item()
    assert flow.summary(outcomes)["liquidated_notional"].item() == pytest.approx(
        flow.summary(repeated)["liquidated_notional"].item(), rel=1e-9
    )


def test_ranks__count_the_heavier_intervals_and_are_null_where_nothing_was_liquidated():
    hourly = flow.by_interval(random_outcomes(rows=60), start=START, end=END)
    notionals = hourly["notional"].to_list()
    expected = [1 + sum(other > notional for other in notionals) if notional else None for notional in notionals]
    assert None in expected
    assert flow.ranks(hourly)["rank"].to_list() == expected


def test_ranks__of_a_window_are_those_of_the_whole_history():
    hourly = flow.by_interval(random_outcomes(), start=START, end=END)
    window = flow.ranks(hourly, START + timedelta(hours=2), START + timedelta(hours=5))
    assert window.equals(flow.ranks(hourly).slice(2, 4))


def test_heaviest__are_the_largest_notionals_in_order():
    hourly = flow.by_interval(random_outcomes(), start=START, end=END)
    table = flow.heaviest(hourly, 5)
    assert table["rank"].to_list() == [1, 2, 3, 4, 5]
    assert table["notional"].to_list() == sorted(hourly["notional"].to_list(), reverse=True)[:5]


def test_heaviest__of_an_empty_flow_is_empty():
    outcomes = random_outcomes().with_columns(liquidated=pl.lit(False))
    assert flow.heaviest(flow.by_interval(outcomes, start=START, end=END)).is_empty()


def test_run_ranks__add_up_consecutive_hours():
    hourly = flow.by_interval(random_outcomes(), start=START, end=END)
    notionals = hourly["notional"].to_list()
    expected = [sum(notionals[first : first + 3]) for first in range(len(notionals) - 2)]
    runs = flow.run_ranks(hourly, hours=3)
    assert runs["notional"].to_list() == pytest.approx(expected)
    assert runs.sort("rank")["notional"][0] == pytest.approx(max(expected))
    assert (runs["last"] - runs["start"]).unique().to_list() == [timedelta(hours=2)]


def test_run_ranks__refuse_a_flow_that_is_not_hourly():
    with pytest.raises(ArgumentError, match="hourly"):
        flow.run_ranks(flow.by_interval(random_outcomes(), start=START, end=END, every="15m"))


def test_tally__counts_every_outcome():
    outcomes = random_outcomes()
    table = flow.tally(outcomes)
    counts = defaultdict(float)
    for row in outcomes.iter_rows(named=True):
        counts[row["outcome"]] += row["weight"]
    assert dict(table.select("outcome", "count").iter_rows()) == pytest.approx(counts)
    assert table["share"].sum() == pytest.approx(1)


def test_summary__equals_adding_up_rows():
    outcomes = random_outcomes()
    rows = [row for row in outcomes.iter_rows(named=True) if row["outcome"] != "rejected"]
    gone = [row for row in rows if row["liquidated"]]
    book = sum(row["weight"] * notional_at_entry(row) for row in rows)
    notional = sum(row["weight"] * row["fill_notional"] for row in gone)
    longs = sum(row["weight"] * row["fill_notional"] for row in gone if row["side"] == "long")
    expected = {
        "positions": sum(row["weight"] for row in rows),
        "book_notional": book,
        "liquidated": sum(row["weight"] for row in gone),
        "liquidated_share": sum(row["weight"] for row in gone) / sum(row["weight"] for row in rows),
        "notional_share": sum(row["weight"] * notional_at_entry(row) for row in gone) / book,
        "long_part": sum(row["weight"] * notional_at_entry(row) for row in gone if row["side"] == "long")
        / sum(row["weight"] * notional_at_entry(row) for row in gone),
        "liquidated_notional": notional,
        "long_share": longs / notional,
        "shortfall": sum(row["weight"] * row["shortfall"] for row in gone),
        **{
            name: sum(row["weight"] for row in outcomes.iter_rows(named=True) if row[name])
            for name in ("certainly_liquidated", "possibly_liquidated", "ambiguous")
        },
        "unknown": sum(row["weight"] for row in rows if row["outcome"] == "unknown"),
        "rejected": sum(row["weight"] for row in outcomes.iter_rows(named=True) if row["outcome"] == "rejected"),
    }
    assert flow.summary(outcomes).row(0, named=True) == pytest.approx(expected, rel=1e-7, abs=1)


def test_summary__of_no_positions_has_no_shares():
    totals = flow.summary(random_outcomes().clear()).row(0, named=True)
    assert totals["positions"] == 0
    assert np.isnan(totals["liquidated_share"])
