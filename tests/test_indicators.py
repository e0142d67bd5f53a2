"""Indicators know nothing of the future, and their scores are what counting pairs by hand gives."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest import Book, Market, Venue, population, sweep
from backtest.errors import ArgumentError, DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time
from backtest.study.liquidations import flow
from backtest.study.prediction.crowding import Levels, crowding, levels, liquidation_at_risk
from backtest.study.prediction.evaluate import Trial, area_under_curve
from backtest.study.prediction.indicators import (
    Indicator,
    from_bars,
    from_funding,
    funding_z_score,
    open_interest_over_volume,
    realised_volatility,
)
from backtest.study.prediction.labels import Labels, fingerprint, hidden_truth, recorded
from backtest.study.stats import logistic
from backtest.study.stats.bootstrap import resampling

START = datetime(2021, 5, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BARS = 240
MIX = {3.0: 0.4, 10.0: 0.4, 50.0: 0.2}
OTHER_MIX = {5.0: 0.5, 20.0: 0.3, 100.0: 0.2}


def venue(kind: str = "linear") -> Venue:
    table = TierTable(name="one", rates=np.full(1, 0.005))
    return Venue(name="one", title="One tier", contracts={"A": Contract(symbol="A", kind=kind, tables=(table,))})


def hours(count: int, start: datetime = START) -> pl.Series:
    return pl.datetime_range(start, start + HOUR * (count - 1), "1h", time_unit="ms", eager=True).cast(Time)


def bars(count: int = BARS, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opening = np.concatenate([[100.0], close[:-1]])
    return pl.DataFrame(
        {
            "symbol": pl.repeat("A", count, eager=True),
            "time": hours(count),
            "open": opening,
            "high": np.maximum(opening, close) * (1 + rng.exponential(0.003, count)),
            "low": np.minimum(opening, close) * (1 - rng.exponential(0.003, count)),
            "close": close,
            "volume": rng.exponential(2_000, count),
            "spot_volume": rng.exponential(1_000, count),
            "open_interest": 1_000 * np.exp(np.cumsum(rng.normal(0, 0.05, count))),
        }
    )


def funding(count: int = BARS // 8, seed: int = 2) -> pl.DataFrame:
    rates = np.random.default_rng(seed).normal(1e-3, 2e-3, count).round(8)
    stamps = pl.datetime_range(START, START + 8 * HOUR * (count - 1), "8h", time_unit="ms", eager=True).cast(Time)
    return pl.DataFrame({"symbol": pl.repeat("A", count, eager=True), "time": stamps, "rate": rates})


@cache
def market() -> Market:
    return Market(bars(), funding())


def book_of(history: Market, mix: dict[float, float] = MIX, turnover: float = 0.05) -> Book:
    return population.from_open_interest(history, venue(), leverage_mix=mix, turnover=turnover).book


@cache
def book() -> Book:
    return book_of(market())


@cache
def its_levels() -> Levels:
    return levels(book(), market(), venue())


def values(indicator: Indicator) -> np.ndarray:
    return indicator.values["value"].to_numpy()


@cache
def unchanged() -> list[Indicator]:
    return indicators_of(market())


def indicators_of(history: Market) -> list[Indicator]:
    waiting = levels(book_of(history), history, venue())
    return [
        from_bars(history, realised_volatility()),
        from_bars(history, open_interest_over_volume("spot")),
        from_bars(history, open_interest_over_volume("futures")),
        from_funding(history, funding_z_score(3 * DAY)),
        crowding(waiting),
        crowding(waiting, 0.02, measure="share"),
        liquidation_at_risk(waiting),
        liquidation_at_risk(waiting, 3.0, measure="share"),
    ]


@settings(deadline=None, derandomize=True, max_examples=12)
@given(known=st.integers(25, BARS - 12), seed=st.integers(2, 2**32 - 1), scale=st.sampled_from([0.5, 1.0, 3.0]))
def test_indicators__of_a_bar_are_not_changed_by_later_bars_or_funding(known, seed, scale):
    other = bars(seed=seed).with_columns(pl.col("open", "high", "low", "close") * scale)
    later = pl.int_range(pl.len()) >= known
    changed = bars().with_columns(
        pl.when(later).then(other[name]).otherwise(pl.col(name)).alias(name) for name in other.columns[2:]
    )
    after_close = pl.col("time") > START + known * HOUR
    stamps = funding().with_columns(rate=pl.when(after_close).then(0.02).otherwise("rate"))
    for before, after in zip(unchanged(), indicators_of(Market(changed, stamps)), strict=True):
        np.testing.assert_array_equal(values(before)[:known], values(after)[:known], err_msg=before.name)
        assert not np.array_equal(values(before)[known:], values(after)[known:], equal_nan=True), before.name


def test_indicators__are_known_at_the_close():
    for indicator in unchanged():
        assert indicator.values["known_at"].to_list() == [START + HOUR * (number + 1) for number in range(BARS)]


def test_realised_volatility__is_the_root_mean_square_of_a_day_of_returns():
    close = bars()["close"].to_list()
    returns = [math.log(after / before) for before, after in pairwise(close)]
    expected = [math.sqrt(statistics.fmean(r * r for r in returns[at - 24 : at])) for at in range(24, BARS)]
    found = values(from_bars(market(), realised_volatility()))
    assert found[24:] == pytest.approx(expected)
    assert np.isnan(found[:24]).all()


@pytest.mark.parametrize(("of", "column"), [("spot", "spot_volume"), ("futures", "volume")])
def test_open_interest_over_volume__is_in_bars_of_the_mean_volume_and_names_it(of, column):
    rows = bars().to_dicts()
    expected = [
        rows[at]["open_interest"] / statistics.fmean(row[column] for row in rows[at - 23 : at + 1])
        for at in range(24, BARS)
    ]
    indicator = from_bars(market(), open_interest_over_volume(of))
    assert indicator.name == f"open interest over {of} volume"
    assert values(indicator)[24:] == pytest.approx(expected)


def test_open_interest_over_volume__is_nan_where_there_was_none():
    still = bars().with_columns(volume=pl.lit(0.0))
    assert np.isnan(values(from_bars(Market(still), open_interest_over_volume("futures")))).all()


def test_funding_z_score__is_that_of_the_last_stamp_at_or_before_the_close():
    rates = funding()["rate"].to_list()
    found = values(from_funding(market(), funding_z_score(3 * DAY)))
    for bar in (71, 72, 78, 79, 80, 200):
        last = (bar + 1) // 8
        window = rates[last - 8 : last + 1]
        expected = (rates[last] - statistics.fmean(window)) / statistics.stdev(window)
        assert found[bar] == pytest.approx(expected)
    assert np.isnan(found[:71]).all()


def test_funding_z_score__is_nan_for_constant_rates_and_for_stamps_older_than_a_day():
    settled = pl.int_range(pl.len()) >= 10  # constant from 80 hours on: all of a day at 96
    constant = funding().with_columns(rate=pl.when(settled).then(1e-4).otherwise("rate"))
    found = values(from_funding(Market(bars(), constant), funding_z_score(DAY)))
    assert np.isnan(found[95:]).all()
    assert np.isfinite(found[32:95]).all()
    ended = funding().head(12)  # the last at 88 hours
    found = values(from_funding(Market(bars(), ended), funding_z_score(DAY)))
    assert list(np.isfinite(found[[110, 111, 112, 200]])) == [True, True, False, False]


def standing_by_hand(given: Book, history: Market, kind: str, distance: list[float]) -> list[dict[str, float]]:
    """Walk every position by itself, and add up what stands at each close: all of it, and near the mark."""
    rules = venue(kind)
    prices = sweep(Book(given.positions), Market(history.bars), rules)["liquidation_price"].to_list()
    rows = sweep(given, history, rules).to_dicts()
    logs = None if given.survival is None else given.survival.to_dicts()
    found = []
    for at, bar in enumerate(history.bars.to_dicts()):
        close = bar["time"] + HOUR
        sums = {"long": 0.0, "short": 0.0, "all": 0.0}
        for row, level in zip(rows, prices, strict=True):
            gone = row["outcome_time"] is not None and row["outcome_time"] <= bar["time"]
            if row["entry_time"] > close or gone:
                continue
            left = row["quantity"] * row.get("weight", 1.0)
            if logs is not None:
                entered = next(log for log in logs if log["time"] >= row["entry_time"])
                left *= math.exp(logs[at + 1][row["side"]] - entered[row["side"]])
            sums["all"] += left
            if level is None:
                continue
            away = 1 - distance[at] if row["side"] == "long" else 1 + distance[at]
            ends = sorted(math.floor(math.log(price) / 1e-3) for price in (bar["close"], bar["close"] * away))
            sums[row["side"]] += left * (ends[0] <= math.floor(math.log(level) / 1e-3) <= ends[1])
        found.append(sums)
    return found


def a_given_book(history: Market, kind: str) -> Book:
    """Return positions of all leverages that enter anywhere, some to leave by themselves."""
    rng = np.random.default_rng(4)
    count = 60
    bar = rng.integers(0, BARS - 30, count)
    price = history.bars["open"].to_numpy()[bar]
    minutes = rng.integers(0, 60, count)
    entry = [START + timedelta(hours=int(h), minutes=int(m)) for h, m in zip(bar, minutes, strict=True)]
    return Book(
        pl.DataFrame(
            {
                "position_id": np.arange(count),
                "symbol": ["A"] * count,
                "side": rng.choice(["long", "short"], count),
                "entry_time": entry,
                "entry_price": price,
                "quantity": rng.uniform(1, 2, count) * (price if kind == "inverse" else 1),
                "leverage": rng.choice([1.0, 5.0, 20.0, 50.0], count),
                "exit_time": [None if n % 3 else moment + 29 * HOUR for n, moment in enumerate(entry)],
            },
            schema_overrides={"side": Side, "entry_time": Time, "exit_time": Time},
        )
    )


@pytest.mark.parametrize("kind", ["linear", "inverse", "thinning"])
def test_crowding__equals_walking_every_position_by_itself(kind):
    history = Market(bars().head(72), funding()) if kind == "thinning" else market()
    given = book_of(history) if kind == "thinning" else a_given_book(history, kind)
    kind = "linear" if kind == "thinning" else kind
    sums = standing_by_hand(given, history, kind, [0.05] * history.bars.height)
    near = np.array([bar["long"] + bar["short"] for bar in sums])
    close = history.bars["close"].to_numpy()
    waiting = levels(given, history, venue(kind))
    notional = near / close if kind == "inverse" else near * close
    assert near.max() > 0
    np.testing.assert_allclose(values(crowding(waiting)), notional, rtol=1e-9, atol=1e-6)
    with np.errstate(invalid="ignore"):
        share = near / np.array([bar["all"] for bar in sums])
    np.testing.assert_allclose(values(crowding(waiting, measure="share")), share, rtol=1e-9, atol=1e-9)


def test_liquidation_at_risk__is_the_worse_side_within_some_deviations_of_the_horizon():
    history = market()
    given = a_given_book(history, "linear")
    volatility = values(from_bars(history, realised_volatility()))
    distance = 2 * math.sqrt(4) * np.nan_to_num(volatility)
    sums = standing_by_hand(given, history, "linear", list(distance))
    worse = np.array([max(bar["long"], bar["short"]) for bar in sums]) * history.bars["close"].to_numpy()
    found = values(liquidation_at_risk(levels(given, history, venue()), horizon=4 * HOUR))
    np.testing.assert_allclose(found[24:], worse[24:], rtol=1e-9, atol=1e-6)
    assert np.isnan(found[:24]).all()


def test_crowding__never_sees_a_position_entered_in_a_long_gap():
    gap = pl.int_range(pl.len()).is_between(20, 30)
    history = Market(bars().filter(~gap))
    entered = {"entry_time": START + 22 * HOUR, "entry_price": 100.0, "quantity": 1.0, "leverage": 20.0}
    position = pl.DataFrame({"position_id": 0, "symbol": "A", "side": "long", **entered})
    lost = Book(position.with_columns(pl.col("side").cast(Side), pl.col("entry_time").cast(Time)))
    assert sweep(lost, history, venue())["outcome"].item() == "unknown"
    share = values(crowding(levels(lost, history, venue()), 0.5, measure="share"))
    assert np.isnan(share).all()  # nothing ever stands


def test_levels__refuse_books_with_adjustments():
    changes = pl.DataFrame(
        {"position_id": [0], "time": [START + 200 * HOUR], "margin_change": [1.0]}
    ).with_columns(pl.col("time").cast(Time))
    positions = a_given_book(market(), "linear").positions
    entered = positions.with_columns(entry_time=pl.lit(START).cast(Time), exit_time=None)
    with pytest.raises(ArgumentError, match="has adjustments"):
        levels(Book(entered, changes), market(), venue())


@pytest.mark.parametrize("within", [0.0, 1.0, float("nan")])
def test_crowding__refuses_distances_that_are_none(within):
    with pytest.raises(ArgumentError, match="within must lie above 0"):
        crowding(its_levels(), within)


def test_crowding__refuses_an_unknown_measure():
    with pytest.raises(ArgumentError, match="measure must be notional or share"):
        crowding(its_levels(), measure="dollars")


def test_indicators__refuse_what_they_cannot_look_at():
    with pytest.raises(DataError, match="bars need the column spot_volume"):
        from_bars(Market(bars().drop("spot_volume")), open_interest_over_volume())
    with pytest.raises(ArgumentError, match="of must be spot or futures"):
        open_interest_over_volume("options")
    with pytest.raises(DataError, match="needs funding"):
        from_funding(Market(bars()), funding_z_score())
    both = pl.concat([bars(), bars().with_columns(symbol=pl.lit("B"))])
    with pytest.raises(ArgumentError, match="describes one symbol: the market holds A, B"):
        from_bars(Market(both), realised_volatility())
    again = pl.DataFrame({"known_at": hours(2)[[0, 0]], "value": [1.0, 2.0]})
    with pytest.raises(DataError, match="known_at must rise"):
        Indicator("twice", again)


def test_hidden_truth__is_the_flow_of_the_next_interval_and_carries_its_book():
    labels = hidden_truth(book(), market(), venue(), every=4 * HOUR)
    expected = flow.by_interval(
        sweep(book(), market(), venue()), start=START, end=START + (BARS - 1) * HOUR, every="4h"
    )
    assert labels.flow.equals(expected.select("time", "notional"))
    assert labels.book == fingerprint(book())
    assert "hidden truth; " in labels.source


def test_hidden_truth__leaves_out_intervals_that_bars_do_not_cover():
    holes = Market(bars().filter(~pl.int_range(pl.len()).is_in([9, 10])))
    truth = hidden_truth(book_of(holes), holes, venue(), every=4 * HOUR)
    assert truth.flow["time"][:3].to_list() == [START, START + 4 * HOUR, START + 12 * HOUR]


@pytest.mark.parametrize("every", [timedelta(minutes=30), timedelta(minutes=90)])
def test_hidden_truth__refuses_intervals_that_are_not_whole_bars(every):
    with pytest.raises(ArgumentError, match="every must be whole bars of 1:00:00"):
        hidden_truth(book(), market(), venue(), every=every)


def test_recorded__refuses_intervals_that_overlap_and_negative_notionals():
    with pytest.raises(DataError, match="times must rise by 1 day"):
        recorded(pl.DataFrame({"time": hours(3), "notional": [1.0, 2.0, 3.0]}), every=DAY, source="test")
    with pytest.raises(DataError, match="notional"):
        recorded(pl.DataFrame({"time": hours(2), "notional": [1.0, -2.0]}), every=HOUR, source="test")


def disguised(given: Book) -> Book:
    """Return the same book: other ids, another order, columns carried along."""
    renumbered = given.positions.sample(fraction=1.0, shuffle=True, seed=3).with_columns(
        position_id=pl.int_range(pl.len(), dtype=pl.Int64) + 7, note=pl.lit("mine")
    )
    return Book(renumbered.select(sorted(renumbered.columns)), survival=given.survival)


def test_fingerprint__is_of_what_a_book_holds_and_how_it_thins_out():
    same = book()
    assert fingerprint(disguised(same)) == fingerprint(same)
    heavier = same.positions.with_columns(pl.col("weight") * 1.001)
    faster = same.survival.with_columns(pl.col("long") * 1.001)
    others = [
        Book(heavier, survival=same.survival),
        Book(same.positions, survival=faster),
        Book(same.positions),
        Book(same.positions[1:], survival=same.survival),
        book_of(market(), turnover=0.06),
    ]
    assert len({fingerprint(other) for other in (same, *others)}) == 6


def test_trial__refuses_an_indicator_computed_from_the_book_behind_the_labels():
    labels = hidden_truth(disguised(book()), market(), venue())
    trial = Trial(labels, splits=2)
    volatility, crowd = from_bars(market(), realised_volatility()), crowding(its_levels())
    for score in (
        lambda: trial.scores([crowd], baseline=volatility, seed=1),
        lambda: trial.scores([volatility], baseline=crowd, seed=1),
        lambda: trial.combined("both", [volatility, crowd]),
    ):
        with pytest.raises(ArgumentError, match="from the book behind the labels"):
            score()


def test_trial__takes_an_indicator_of_another_book_and_remembers_it_in_combinations():
    trial = Trial(hidden_truth(book_of(market(), OTHER_MIX, 0.1), market(), venue()), 0.8, splits=2)
    volatility, crowd = from_bars(market(), realised_volatility()), crowding(its_levels())
    both = trial.combined("both", [volatility, crowd])
    assert both.books == {fingerprint(book())}
    table = trial.scores([crowd, both], baseline=volatility, seed=1, length=DAY, draws=99)
    assert table["indicator"].to_list() == ["crowding within 5 %", "both"]
    with pytest.raises(ArgumentError, match="from the book behind the labels"):
        Trial(hidden_truth(book(), market(), venue())).scores([both], baseline=volatility, seed=1)


def pairs_won(rows: list[tuple[float, bool]]) -> tuple[float, int]:
    """Count, pair by pair, how often an event stands above another row; a tie is half."""
    high = [value for value, exceeds in rows if exceeds]
    low = [value for value, exceeds in rows if not exceeds]
    return sum((a > b) + (a == b) / 2 for a in high for b in low), len(high) * len(low)


@pytest.mark.parametrize("ties", [2, 5, 1_000])
def test_area_under_curve__equals_counting_pairs_with_ties_at_half(ties):
    rng = np.random.default_rng(ties)
    value, exceeds = rng.integers(0, ties, 150).astype(float), rng.uniform(size=150) < 0.3
    won, pairs = pairs_won(list(zip(value, exceeds, strict=True)))
    assert area_under_curve(value, exceeds) == won / pairs
    assert area_under_curve(-value, exceeds) == pytest.approx(1 - won / pairs)


def test_area_under_curve__of_equal_values_is_half_and_of_one_kind_is_nan():
    assert area_under_curve(np.ones(6), np.arange(6) < 2) == 0.5
    assert area_under_curve(np.arange(6.0), np.arange(6) >= 2) == 1.0
    assert math.isnan(area_under_curve(np.ones(6), np.ones(6, bool)))


def test_trial__an_event_exceeds_the_quantile_and_does_not_just_reach_it():
    notional = [0.0] * 16 + [3.0, 3.0, 3.0, 5.0]
    labels = recorded(pl.DataFrame({"time": hours(20), "notional": notional}), every=HOUR, source="test")
    assert Trial(labels, 0.9, splits=2).events["exceeds"].to_list() == [False] * 19 + [True]
    assert Trial(labels, 0.9, splits=2).events["split"].to_list() == [0] * 10 + [1] * 10


def simulated(
    rng: np.random.Generator, blocks: int = 20, shifts: tuple[float, ...] = (1.0, 0.5), noise: float = 0.3
) -> tuple[Labels, list[Indicator]]:
    """Return labels, and indicators that stand so many deviations higher before events.

    A part of each value's noise is shared by a whole day.
    """
    count = 24 * blocks
    notional = rng.uniform(size=count)
    exceeds = notional > np.quantile(notional, 0.8, method="higher")
    found = []
    for number, shift in enumerate(shifts):
        daily = np.repeat(rng.normal(size=blocks), 24)
        value = shift * exceeds + math.sqrt(noise) * daily + math.sqrt(1 - noise) * rng.normal(size=count)
        found.append(Indicator(f"{number}", pl.DataFrame({"known_at": hours(count), "value": value})))
    labels = recorded(pl.DataFrame({"time": hours(count), "notional": notional}), every=HOUR, source="simulated")
    return labels, found


def test_scores__compare_within_parts_and_their_bands_draw_blocks_again():
    labels, (first, second) = simulated(np.random.default_rng(1), blocks=6)
    trial = Trial(labels, 0.8, splits=3)
    rows = trial.events.with_columns(value=first.values["value"].round(1), other=second.values["value"])
    first = Indicator("first", rows.select("known_at", "value"))
    row = trial.scores([first], baseline=second, seed=5, length=DAY, draws=20).row(0, named=True)

    def area(column: str):
        def of(frame: pl.DataFrame) -> float:
            parts = [frame.filter(pl.col("split") == part) for part in range(3)]
            counted = [pairs_won(list(part.select(column, "exceeds").iter_rows())) for part in parts]
            return sum(won for won, _ in counted) / sum(pairs for _, pairs in counted)

        return of

    weights = rows["exceeds"].cast(pl.Int64)
    plan = resampling(rows["known_at"], seed=5, weights=weights, length=DAY, draws=20)
    drawn, beside = (plan.of_frame(rows, area(name), time="known_at") for name in ("value", "other"))
    for name, values_ in (("area", drawn), ("baseline_area", beside), ("difference", drawn - beside)):
        band = plan.band(values_)
        found = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
        assert found == pytest.approx([band.estimate, band.low, band.high], abs=1e-12)
    assert row["effective_blocks"] == band.effective_blocks
    assert (row["intervals"], row["exceeding"]) == (144, weights.sum())


def test_scores__recover_known_areas_and_their_bands_cover_them():
    rng = np.random.default_rng(7)
    true = [NormalDist().cdf(shift / math.sqrt(2)) for shift in (1.0, 0.5)]
    wanted = {"area": true[0], "baseline_area": true[1], "difference": true[0] - true[1]}
    covered, areas, runs = dict.fromkeys(wanted, 0), [], 120
    for _ in range(runs):
        labels, (first, second) = simulated(rng)
        table = Trial(labels, 0.8, splits=1).scores([first], baseline=second, seed=rng, length=DAY, draws=199)
        row = table.row(0, named=True)
        areas.append(row["area"])
        for name, value in wanted.items():
            covered[name] += row[f"{name}_low"] <= value <= row[f"{name}_high"]
    assert statistics.fmean(areas) == pytest.approx(true[0], abs=0.01)
    for name, count in covered.items():
        # 95 % of 120 within three binomial deviations, and a hair for few blocks
        assert 0.88 <= count / runs <= 1.0, (name, count / runs)


def test_scores__of_noise_are_a_null_result_with_a_band_around_one_half():
    labels, (signal, noise) = simulated(np.random.default_rng(3), blocks=60, shifts=(1.0, 0.0))
    row = Trial(labels, 0.8).scores([noise], baseline=signal, seed=1, length=DAY, draws=199).row(0, named=True)
    assert row["area_low"] < 0.5 < row["area_high"]
    assert row["difference_high"] < 0


def test_scores__state_what_they_rest_on():
    labels, (first, second) = simulated(np.random.default_rng(1), blocks=20)
    trial = Trial(labels, 0.8, splits=4, purge=2 * HOUR, embargo=DAY)
    row = trial.scores([first], baseline=second, seed=1, length=2 * DAY, draws=50, confidence=0.9).row(
        0, named=True
    )
    stated = {
        "indicator": "0",
        "baseline": "1",
        "intervals": 480,
        "quantile": 0.8,
        "horizon": HOUR,
        "labels": "simulated",
        "splits": 4,
        "purge": 2 * HOUR,
        "embargo": DAY,
        "block": 2 * DAY,
        "draws": 50,
        "confidence": 0.9,
    }
    assert {name: row[name] for name in stated} == stated
    assert 5 < row["effective_blocks"] <= row["blocks"] <= 11


def test_scores__use_the_intervals_that_every_indicator_knows():
    labels, (first, second) = simulated(np.random.default_rng(1))
    unknown = pl.int_range(pl.len()) < 24
    late = first.values.with_columns(value=pl.when(unknown).then(float("nan")).otherwise("value"))
    row = Trial(labels, 0.8).scores([Indicator("late", late)], baseline=second, seed=1, length=DAY, draws=50)
    assert row["intervals"].item() == 480 - 24
    elsewhere = second.values.with_columns(pl.col("known_at").dt.offset_by("10y"))
    with pytest.raises(DataError, match="no interval in common: elsewhere, 1"):
        Trial(labels).scores([Indicator("elsewhere", elsewhere)], baseline=second, seed=1)


@pytest.mark.parametrize(("purge", "embargo"), [(0 * HOUR, 0 * HOUR), (3 * HOUR, 7 * HOUR), (DAY, 2 * DAY)])
def test_training__leaves_no_interval_near_the_part_it_is_scored_on(purge, embargo):
    labels, _ = simulated(np.random.default_rng(1))
    trial = Trial(labels, splits=5, purge=purge, embargo=embargo)
    for split in range(5):
        part = trial.events.filter(pl.col("split") == split)["known_at"].to_list()
        learned = trial.events.filter(trial.training(split))["known_at"].to_list()
        kept_out = {moment for moment in trial.events["known_at"] if moment not in learned}
        assert len(part) == 96
        assert not set(part) & set(learned)
        assert all(moment + HOUR + purge <= part[0] or moment >= part[-1] + HOUR + embargo for moment in learned)
        gaps = (purge if split else 0 * HOUR) + (embargo if split < 4 else 0 * HOUR)
        assert len(kept_out) == 96 + gaps / HOUR


def test_combined__is_fitted_outside_the_part_it_is_scored_on():
    labels, parts = simulated(np.random.default_rng(1))
    trial = Trial(labels, 0.8, splits=4)
    scores = values(trial.combined("both", parts))
    features = np.stack([values(part) for part in parts], axis=1)
    exceeds = trial.events["exceeds"].to_numpy()
    for split in range(4):
        train = trial.events.select(trial.training(split)).to_series().to_numpy()
        test = (trial.events["split"] == split).to_numpy()
        np.testing.assert_array_equal(
            scores[test], logistic.fitted(features[train], exceeds[train], features[test])
        )


def test_combined__tells_more_than_either_of_two_that_know_different_things():
    labels, parts = simulated(np.random.default_rng(2), blocks=60, shifts=(0.7, 0.7), noise=0.1)
    trial = Trial(labels, 0.8, splits=4)
    table = trial.scores(
        [trial.combined("both", parts), parts[1]], baseline=parts[0], seed=1, length=DAY, draws=199
    )
    assert table["difference_low"][0] > 0
    assert table["difference_low"][1] < 0 < table["difference_high"][1]


def test_combined__needs_events_to_learn_from():
    labels, parts = simulated(np.random.default_rng(1))
    for splits in (1, 2):
        with pytest.raises(ArgumentError, match="needs events and others: fewer splits"):
            Trial(labels, 0.8, splits=splits, purge=30 * DAY, embargo=30 * DAY).combined("both", parts)


def test_logistic__ends_where_the_penalised_likelihood_is_flat():
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(400), rng.normal(size=(400, 3))])
    exceeds = rng.uniform(size=400) < 1 / (1 + np.exp(-design @ [-1.0, 0.5, -2.0, 0.0]))
    found = logistic.coefficients(design, exceeds)
    chance = 1 / (1 + np.exp(-design @ found))
    np.testing.assert_allclose(design.T @ (exceeds - chance), [0, *found[1:]], atol=1e-8)
    assert found == pytest.approx([-1.0, 0.5, -2.0, 0.0], abs=0.4)


def test_logistic__stays_finite_where_a_feature_separates():
    value = np.arange(50.0)[:, None]
    scores = logistic.fitted(value, value[:, 0] >= 40, value)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 1.0}, "quantile must lie between 0 and 1"),
        ({"splits": 0}, "splits must lie between 1 and the intervals"),
        ({"splits": 1_000}, "splits must lie between 1 and the intervals"),
        ({"purge": -HOUR}, "must not be negative"),
        ({"embargo": -HOUR}, "must not be negative"),
    ],
)
def test_trial__refuses_numbers_out_of_range(options, message):
    labels, _ = simulated(np.random.default_rng(1))
    with pytest.raises(ArgumentError, match=message):
        Trial(labels, **options)
