"""The quality report: what a walk over the bars, one by one, would say; told, printed, drawn."""

import itertools
import math
import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from polars.testing import assert_frame_equal

from backtest.__main__ import main
from backtest.chart.liquidations.cascade_figures import cascade
from backtest.chart.liquidations.quality import quality_strip, strip_height
from backtest.chart.style.time_axis import days
from backtest.errors import ArgumentError
from backtest.market import Market, quality
from backtest.market.repairs import REPAIRS, Repairs

START = datetime(2021, 5, 19, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPOT = Path(__file__).parents[2] / "shared" / "data" / "spot_1m_may_2021.parquet"


def bars(
    closes: list[float], minutes: list[int] | None = None, symbol: str = "BTCUSDT", **more: object
) -> pl.DataFrame:
    """Return bars that open where they close."""
    times = [START + n * MINUTE for n in (minutes or range(len(closes)))]
    prices = dict.fromkeys(("open", "high", "low", "close"), closes)
    return pl.DataFrame({"symbol": symbol, "time": times, **prices, **more}).cast(
        {"time": pl.Datetime("ms", "UTC")}
    )


def told(found: pl.DataFrame, check: str) -> list[tuple[object, ...]]:
    """Return symbol, first and last minute since the start, bars and worst of what a check found."""
    rows = found.filter(check=check).select("symbol", "start", "end", "bars", "worst").rows()
    return [(name, (a - START) // MINUTE, (b - START) // MINUTE, *rest) for name, a, b, *rest in rows]


def walk(market: Market, symbol: str, limits: quality.Limits) -> list[tuple[object, ...]]:
    """Return what a report of one symbol should hold, bar by bar: check, start, end, bars, worst."""
    rows = market.bars.filter(symbol=symbol).to_dicts()
    step = timedelta(milliseconds=int(market.intervals[market.symbols.index(symbol)]))
    follows = [False, *(b["time"] - a["time"] == step for a, b in itertools.pairwise(rows))]
    changes = [None, *(math.log(b["close"] / a["close"]) for a, b in itertools.pairwise(rows))]
    changes = [change if whole else None for change, whole in zip(changes, follows, strict=True)]
    found = []
    for before, after in itertools.pairwise(rows):
        if after["time"] - before["time"] > step:
            missing = (after["time"] - before["time"]) // step - 1
            found.append(("gap", before["time"] + step, after["time"], missing, None))
    known = [abs(change) for change in changes if change is not None]
    jump = max(limits.jump, limits.jump_deviations * 1.4826 * statistics.median(known)) if known else math.inf
    flags = {
        "flat": [change == 0 and row["high"] == row["low"] for change, row in zip(changes, rows, strict=True)],
        "jump": [change is not None and abs(change) >= jump for change in changes],
    }
    values = {"flat": [None] * len(rows), "jump": changes}
    for name in ("index", "last"):
        if market.has(name):
            apart = [[math.log(row[at] / row[f"{name}_{at}"]) for at in ("low", "high", "close")] for row in rows]
            values[name] = [max(three, key=abs) for three in apart]
            flags[name] = [abs(value) >= limits.distance for value in values[name]]
    for check, flagged in flags.items():
        run: list[int] = []
        for n in range(len(rows) + 1):
            on = n < len(rows) and flagged[n]
            if run and not (on and follows[n]):
                if check != "flat" or len(run) >= limits.flat_bars:
                    worst = max((values[check][k] for k in run), key=abs) if check != "flat" else None
                    found.append((check, rows[run[0]]["time"], rows[run[-1]]["time"] + step, len(run), worst))
                run = []
            if on:
                run.append(n)
    order = {check: place for place, check in enumerate(quality.CHECKS)}
    return sorted(found, key=lambda row: (order[row[0]], row[1]))


@pytest.mark.parametrize("seed", range(30))
def test_report__equals_a_walk_over_the_bars(seed):
    rng = np.random.default_rng(seed)
    parts = []
    for symbol in ("BTCUSDT", "ETHUSDT")[: 1 + seed % 2]:
        count = int(rng.integers(2, 120))
        minutes = np.cumsum(rng.choice([1, 1, 1, 1, 1, 4], count)).tolist()
        walked = np.cumsum(rng.choice([0, 0, 0, 0.001, -0.001, 0.02], count))
        closes = 100 * np.exp(walked)
        beside = {
            f"{name}_{part}": closes * np.exp(rng.choice([0, 0, 0.011, -0.02], count))
            for name in ("index", "last")
            for part in ["close"]
        }
        for name in ("index", "last"):
            beside |= {f"{name}_{part}": beside[f"{name}_close"] for part in ("open", "high", "low")}
            beside[f"{name}_low"] = beside[f"{name}_low"] * rng.choice([1, 1, 1, 0.95], count)
            beside[f"{name}_high"] = beside[f"{name}_high"] * rng.choice([1, 1, 1, 1.03], count)
        parts.append(bars(closes.tolist(), minutes, symbol, **beside))
    market = Market(pl.concat(parts))
    limits = quality.Limits(flat_bars=2, jump_deviations=3.0)
    found = quality.report(market, limits=limits)
    expected = [(symbol, *row) for symbol in market.symbols for row in walk(market, symbol, limits)]
    assert found.select("symbol", "check", "start", "end", "bars").rows() == [row[:-1] for row in expected]
    for worst, (*_, right) in zip(found["worst"], expected, strict=True):
        assert worst == (None if right is None else pytest.approx(right, rel=1e-9, abs=1e-15))


def test_report__of_a_smooth_history_is_empty():
    market = Market(bars([100 + n / 10 for n in range(50)]))
    found = quality.report(market)
    assert found.is_empty()
    assert dict(found.schema) == quality.SCHEMA
    assert quality.summary(found).is_empty()


def test_report__changes_nothing():
    market = Market(bars([100.0, 100.0, 130.0], [0, 1, 5]))
    before = market.bars.clone()
    quality.report(market, limits=quality.Limits(flat_bars=1))
    assert_frame_equal(market.bars, before)


def test_report__ends_of_the_span_that_have_no_bars_are_gaps():
    market = Market(bars([100.0, 101.0, 102.0], [10, 11, 12]))
    found = quality.report(market, span=(START, START + 20 * MINUTE))
    assert told(found, "gap") == [("BTCUSDT", 0, 10, 10, None), ("BTCUSDT", 13, 20, 7, None)]
    exact = quality.report(market, span=(START + 10 * MINUTE, START + 13 * MINUTE))
    assert told(exact, "gap") == []


def test_report__funding_that_is_missing_is_told_at_either_end_and_between():
    hour = [60 * n for n in range(100)]
    stamps = [START + timedelta(hours=h, milliseconds=7) for h in (16, 24, 48, 56, 64)]
    funding = pl.DataFrame({"symbol": "BTCUSDT", "time": stamps, "rate": 0.0001})
    found = quality.report(Market(bars([100 + n / 10 for n in range(100)], hour), funding))
    assert told(found, "funding") == [
        ("BTCUSDT", 0, 16 * 60, 16, None),
        ("BTCUSDT", 24 * 60, 48 * 60, 24, None),
        ("BTCUSDT", 64 * 60, 100 * 60, 35, None),
    ]
    assert told(quality.report(Market(bars([100 + n / 10 for n in range(100)], hour))), "funding") == []


def test_report__compares_with_spot_where_both_have_a_bar():
    market = Market(bars([100.0, 101.0, 102.0, 103.0]))
    spot = Market(bars([100.1, 98.0, 103.0], [0, 1, 3]))
    found = quality.report(market, reference=spot)
    assert told(found, "reference") == [("BTCUSDT", 1, 2, 1, pytest.approx(math.log(101 / 98)))]


def test_report__a_wick_of_the_last_price_is_far_from_the_mark_though_it_closes_there():
    closes = [100.0, 101.0, 102.0]
    last = {f"last_{part}": closes for part in ("open", "high", "close")} | {"last_low": [100.0, 80.0, 102.0]}
    found = quality.report(Market(bars(closes, **last)))
    assert told(found, "last") == [("BTCUSDT", 1, 2, 1, pytest.approx(math.log(101 / 80)))]


def test_report__counts_late_funding_stamps_as_repairs():
    late = [0, 1_001, 4_000, 60_001, 0]
    times = [START + 8 * 60 * MINUTE * number + timedelta(milliseconds=own) for number, own in enumerate(late)]
    funding = pl.DataFrame({"symbol": "BTCUSDT", "time": times, "rate": 1e-4})
    market = Market(bars([100.0] * 40), funding)
    assert (market.charge_times - market.funding["time"].to_physical().to_numpy()).tolist() == [
        0,
        -1001,
        -4000,
        0,
        0,
    ]
    found = quality.report(market, repairs={"BTCUSDT": Repairs({"duplicate": 3})}).filter(check="repair")
    assert found.select("symbol", "bars", "note").rows() == [
        ("BTCUSDT", 3, REPAIRS["duplicate"]),
        ("BTCUSDT", 2, REPAIRS["late"]),
    ]


def test_report__repairs_stand_in_it_without_times():
    repairs = {"BTCUSDT": Repairs({"duplicate": 3}), "ETHUSDT": Repairs({"zero": 2})}
    found = quality.report(Market(bars([100.0, 101.0])), repairs=repairs)
    assert found.select("symbol", "check", "start", "bars").rows() == [
        ("BTCUSDT", "repair", None, 3),
        ("ETHUSDT", "repair", None, 2),
    ]
    assert found["note"][0] == "rows that repeat another, left out"


def test_report__summary_counts_stretches_and_keeps_the_worst_with_its_sign():
    market = Market(bars([100.0, 150.0, 151.0, 90.0, 90.5, 91.0]))
    row = quality.summary(quality.report(market)).row(0, named=True)
    assert (row["check"], row["stretches"], row["bars"], row["longest"]) == ("jump", 2, 2, MINUTE)
    assert row["worst"] == pytest.approx(math.log(90 / 151))


@pytest.mark.parametrize("name", ["flat_bars", "jump_deviations", "jump", "distance", "funding_hours"])
def test_limits__must_be_above_zero(name):
    with pytest.raises(ArgumentError, match=f"{name} must be above zero, is 0"):
        quality.Limits(**{name: 0})


def test_strip__draws_a_row_a_check_where_the_stretches_are():
    market = Market(bars([100.0, 101.0, 102.0, 150.0, 90.0], [0, 1, 30, 31, 32]))
    limits = quality.Limits(jump_deviations=0.5)
    found = quality.report(market, repairs={"BTCUSDT": Repairs({"zero": 1})}, limits=limits)
    ax = quality_strip(found, Figure().add_subplot(), start=START, end=START + 33 * MINUTE)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gaps", "jumps"]
    spans = [[path.get_extents().intervalx.tolist() for path in row.get_paths()] for row in ax.collections]
    minute = days(START + MINUTE) - days(START)
    at = [[(np.array(one) - days(START)) / minute for one in row] for row in spans]
    np.testing.assert_allclose(at[0], [[2, 30]], atol=1e-6)
    np.testing.assert_allclose(at[1], [[31, 33]], atol=1e-6)
    assert [text.get_text() for text in ax.texts] == ["1", "1"]


def test_strip__of_nothing_says_so():
    found = quality.report(Market(bars([100.0, 100.1])))
    ax = quality_strip(found, Figure().add_subplot(), start=START, end=START + MINUTE)
    assert ax.get_title(loc="left") == "Data quality: no findings"
    assert len(ax.collections) == 0


def test_strip__stands_under_a_chart_where_anything_was_found():
    market = Market(bars([100.0, 101.0, 102.0], [0, 1, 30]))
    found = quality.report(market)
    flow = (
        market.bars.select("time")
        .with_columns(
            **{f"{side}_{name}": pl.lit(1.0) for side in ("long", "short") for name in ("notional", "share")}
        )
        .with_columns(notional=pl.lit(2.0), share=pl.lit(2.0))
    )
    drawn = {
        name: cascade(flow, market.bars, title="", quality=own)
        for name, own in {"found": found, "clean": found.clear(), "unasked": None}.items()
    }
    assert {name: len(figure.axes) for name, figure in drawn.items()} == {"found": 3, "clean": 2, "unasked": 2}
    panels = sorted(drawn["found"].axes, key=lambda ax: ax.get_position().y0)
    assert panels[0].get_title(loc="left") == "Data quality: findings"
    assert panels[0].get_xlim() == panels[1].get_xlim()
    assert strip_height(found.clear()) == 0


def test_run__draws_the_strip_for_prices_it_was_given_and_not_for_the_sample(tmp_path, monkeypatch):
    drawn = []

    def kept(*given: object, quality: pl.DataFrame | None, **more: object) -> Figure:
        drawn.append(quality)
        return cascade(*given, quality=quality, **more)

    monkeypatch.setattr("backtest.chart.liquidations.cascade_figures.cascade", kept)
    bars([100.0, 101.0, 102.0, 103.0], [0, 60, 120, 300]).write_parquet(tmp_path / "bars.parquet")
    out = ["--count", "50", "--out", str(tmp_path / "out")]
    assert main(["run", "--bars", str(tmp_path / "bars.parquet"), *out]) == 0
    assert main(["run", "--chart", "BTCUSDT", "--symbol", "BTCUSDT", "--until", "2021-05-11", *out]) == 0
    assert drawn[0].select("check", "bars").rows() == [("gap", 2)]
    assert drawn[1] is None


@pytest.mark.real
@pytest.mark.skipif(not SPOT.exists(), reason="no real data beside the repository")
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT"])
def test_real_spot__has_the_one_outage_of_april_2021(symbol):
    market = Market(pl.read_parquet(SPOT).filter(symbol=symbol).drop("volume"))
    (row,) = quality.report(market).filter(check="gap").to_dicts()
    times = market.bars["time"]
    (place,) = (times.diff() > MINUTE).arg_true()
    assert (row["start"], row["end"]) == (times[place - 1] + MINUTE, times[place])
    assert row["bars"] == (row["end"] - row["start"]) // MINUTE
    outage = datetime(2021, 4, 25, 4, tzinfo=UTC), datetime(2021, 4, 25, 8, 45, tzinfo=UTC)
    assert outage[0] <= row["start"] <= outage[0] + 2 * MINUTE
    assert outage[1] - 2 * MINUTE <= row["end"] <= outage[1]


@pytest.mark.real
@pytest.mark.skipif(not SPOT.exists(), reason="no real data beside the repository")
def test_real_last__of_ether_fell_a_fifth_below_the_mark_in_may_2021():
    mark = pl.read_parquet(SPOT.with_name("mark_1h.parquet")).filter(symbol="ETHUSDT")
    last = pl.read_parquet(SPOT.with_name("last_1h.parquet")).drop("volume")
    named = last.rename({part: f"last_{part}" for part in ("open", "high", "low", "close")})
    found = quality.report(Market(mark.join(named, on=["symbol", "time"], maintain_order="left")))
    crash = pl.col("start").dt.date() == datetime(2021, 5, 19).date()
    (row,) = found.filter(crash, check="last").to_dicts()
    assert row["start"] <= datetime(2021, 5, 19, 13, tzinfo=UTC) < row["end"]
    assert row["worst"] == pytest.approx(math.log(1764.26 / 1400.73), rel=1e-3)
