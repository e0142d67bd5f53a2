"""Imbalance, its memory, and the forced share of falls in open interest, against plain Python."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from outcome_cases import with_kinds

from backtest.errors import ArgumentError, DataError
from backtest.schemas.frames import Side
from backtest.study.liquidations import flow, imbalance

START = datetime(2021, 5, 19, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("ms", "UTC")


def random_flow(rows: int = 200, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    longs, shorts = (rng.lognormal(10, 2, rows) * (rng.uniform(size=rows) < 0.6) for _ in range(2))
    times = [START + HOUR * row for row in range(rows)]
    frame = pl.DataFrame(
        {"time": times, "long_notional": longs, "short_notional": shorts}, schema_overrides={"time": TIME}
    )
    return frame.with_columns(notional=pl.col("long_notional") + pl.col("short_notional"))


def plain_imbalance(frame: pl.DataFrame) -> list:
    rows = frame.select("long_notional", "short_notional").iter_rows()
    return [(longs - shorts) / (longs + shorts) if longs + shorts else None for longs, shorts in rows]


def random_outcomes(rows: int = 300, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    symbol = rng.choice(["BTCUSDT", "BTCUSD"], rows)
    price, quantity = rng.uniform(30_000, 40_000, rows), rng.lognormal(0, 1, rows)
    frame = pl.DataFrame(
        {
            "symbol": symbol,
            "side": rng.choice(["long", "short"], rows),
            "liquidated": rng.uniform(size=rows) < 0.7,
            "outcome_time": [START + timedelta(minutes=int(minute)) for minute in rng.integers(0, 600, rows)],
            "fill_price": price,
            "fill_notional": np.where(symbol == "BTCUSD", 1_000 * quantity / price, quantity * price),
            "weight": rng.lognormal(0, 1, rows).round(3),
        },
        schema_overrides={"side": Side, "outcome_time": TIME},
    )
    return with_kinds(frame, {"BTCUSD": "inverse"})


def random_bars(hours: int = 10, seed: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    times = [START + timedelta(minutes=10 * row) for row in range(6 * hours)]
    frames = [
        pl.DataFrame(
            {"symbol": symbol, "time": times, "open_interest": 1_000 + np.cumsum(rng.normal(0, 20, len(times)))},
            schema_overrides={"time": TIME},
        )
        for symbol in ("BTCUSDT", "BTCUSD")
    ]
    return pl.concat(frames)


def test_imbalance__equals_plain_python_and_is_null_where_nothing_happened():
    frame = random_flow()
    found = imbalance.by_interval(frame)["imbalance"].to_list()
    expected = plain_imbalance(frame)
    assert None in expected
    assert found == expected


def test_imbalance__changes_sign_where_sides_are_exchanged():
    frame = random_flow()
    mirrored = frame.rename({"long_notional": "short_notional", "short_notional": "long_notional"})
    found, other = (imbalance.by_interval(each)["imbalance"] for each in (frame, mirrored))
    assert (found == -other).all()


def test_imbalance__of_a_swept_flow_takes_any_measure():
    outcomes = random_outcomes().with_columns(entry_notional=1.0, shortfall=0.0)
    table = flow.by_interval(outcomes, start=START, end=START + 9 * HOUR)
    for measure in ("notional", "count", "share"):
        assert imbalance.by_interval(table, measure)["imbalance"].is_between(-1, 1).all()


def test_autocorrelation__equals_plain_python():
    frame = random_flow()
    values = plain_imbalance(frame)
    table = imbalance.autocorrelation(frame, [1, 2, 7])
    for lag, found, pairs in table.iter_rows():
        both = [(now, then) for now, then in zip(values[lag:], values, strict=False) if None not in (now, then)]
        assert pairs == len(both)
        assert found == pytest.approx(np.corrcoef(np.array(both).T)[0, 1])


def test_autocorrelation__of_a_remembered_side_is_what_it_was_made_with():
    rng, kept = np.random.default_rng(3), 0.8
    value = [0.0]
    for shock in rng.normal(0, 0.05, 20_000):
        value.append(kept * value[-1] + shock)
    share = np.clip(np.array(value), -1, 1)
    frame = random_flow(len(value)).with_columns(long_notional=1 + share, short_notional=1 - share)
    found = imbalance.autocorrelation(frame, [1, 2, 3])["autocorrelation"]
    assert found.to_list() == pytest.approx([kept, kept**2, kept**3], abs=0.02)


def test_autocorrelation__is_nan_where_it_cannot_be_computed():
    table = imbalance.autocorrelation(random_flow(3), [3])
    assert math.isnan(table["autocorrelation"].item())
    assert table["pairs"].item() == 0


def test_autocorrelation__refuses_uneven_intervals_and_lags_of_nothing():
    frame = random_flow(20)
    with pytest.raises(ArgumentError, match="evenly spaced"):
        imbalance.autocorrelation(frame.filter(pl.int_range(pl.len()) != 5), [1])
    with pytest.raises(ArgumentError, match="lags must be"):
        imbalance.autocorrelation(frame, [0])


def test_forced_share__equals_plain_python():
    outcomes, bars = random_outcomes(), random_bars()
    table = imbalance.forced_share(outcomes, bars, "1h")
    assert table.height == 20
    for symbol in ("BTCUSDT", "BTCUSD"):
        before = None
        for row in table.filter(pl.col("symbol") == symbol).iter_rows(named=True):
            inside = [
                each["weight"]
                * (each["fill_notional"] if symbol == "BTCUSD" else each["fill_notional"] / each["fill_price"])
                for each in outcomes.iter_rows(named=True)
                if each["liquidated"]
                and each["symbol"] == symbol
                and row["time"] <= each["outcome_time"] < row["time"] + HOUR
            ]
            last = bars.filter(pl.col("symbol") == symbol, pl.col("time") < row["time"] + HOUR)["open_interest"][
                -1
            ]
            assert row["liquidated_quantity"] == pytest.approx(sum(inside), abs=1e-6)
            if before is None:
                assert row["open_interest_fall"] is None
                assert row["forced_share"] is None
            else:
                assert row["open_interest_fall"] == pytest.approx(before - last)
                expected = sum(inside) / (before - last) if before > last else None
                assert row["forced_share"] == (None if expected is None else pytest.approx(expected, abs=1e-6))
            before = last
    assert table["forced_share"].null_count() > 2


def test_forced_share__does_not_depend_on_the_order_of_rows():
    outcomes, bars = random_outcomes(), random_bars()
    shuffled = outcomes.sample(fraction=1.0, shuffle=True, seed=4)
    assert imbalance.forced_share(outcomes, bars).equals(imbalance.forced_share(shuffled, bars))


def test_forced_share__needs_open_interest():
    with pytest.raises(DataError, match="bars must have open_interest in base units"):
        imbalance.forced_share(random_outcomes(), random_bars().drop("open_interest"))
