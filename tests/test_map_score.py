"""Score of a map and magnet test: against plain counting, and against what must come out by construction."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from level_cases import START, funded, market, positions, venue, waiting_only

from backtest import Book, population
from backtest.errors import ArgumentError, DataError
from backtest.schemas.frames import Time
from backtest.study.levels.clusters import Crowding
from backtest.study.levels.evaluation.labels import hidden_events, recorded_events
from backtest.study.levels.evaluation.magnet_test import (
    FEWEST_BLOCKS,
    FEWEST_PAIRS,
    Pull,
    conclusive,
    magnet,
    targets,
)
from backtest.study.levels.evaluation.scores import Trial, looks, predictions, ranked, round_step, score
from backtest.study.levels.grid import level_grid, milliseconds, moment_of
from backtest.study.levels.levels import levels, levels_of, without_drift

HISTORY = market(bars=600, seed=4, daily=0.006)
BOOK = Book(waiting_only(positions(HISTORY, count=4_000)))
TRUTH = Book(waiting_only(positions(HISTORY, count=4_000, seed=9)))
GRID = level_grid(HISTORY, "A", bins=120)
TRIAL = Trial(every=timedelta(hours=4), reach=0.1, window=timedelta(days=3))
PULL = Pull(every=timedelta(hours=4), horizon=timedelta(hours=12), nearest=0.005, window=timedelta(days=3))


@pytest.fixture(scope="module")
def found():
    return levels_of(BOOK, HISTORY, venue(), GRID)


@pytest.fixture(scope="module")
def labels():
    return hidden_events(TRUTH, HISTORY, venue(), "A")


def test_ranked__is_the_width_that_is_emptier_and_the_part_in_the_top() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        values, widths = rng.integers(0, 5, 40).astype(float), rng.uniform(0.5, 2.0, 40)
        emptier, in_top = ranked(values, widths, 0.1)
        for at in range(40):
            below, tied = widths[values < values[at]].sum(), widths[values == values[at]].sum()
            assert emptier[at] == pytest.approx((below + tied / 2) / widths.sum())
        assert (in_top * widths).sum() == pytest.approx(0.1 * widths.sum())
        assert in_top[values == values.max()].min() >= in_top.max() - 1e-12


def test_score__equals_counting_dollar_by_dollar(found, labels) -> None:
    scored = score(found, HISTORY, labels, seed=1, trial=TRIAL).filter(pl.col("predictor") == "map")
    edges, events = GRID.price_edges, labels.events
    whole, part, taken, taken_touched, part_touched = 0.0, 0.0, 0, 0.0, 0.0
    for look in looks(found, HISTORY, labels, TRIAL):
        column = GRID.column_at(look.moment)
        held = found.amounts()[:, column]
        inside = [at for at in range(GRID.bins) if look.inside[at]]
        touched = [at for at in inside if look.touched[at]]
        window = events.filter(pl.col("time") >= look.moment, pl.col("time") < look.moment + timedelta(hours=4))
        for price, notional in window.select("price", "notional").iter_rows():
            at = int(np.searchsorted(edges, price, side="right")) - 1
            if at in inside:
                whole += notional
                part += notional * share_below(held, inside, at)
                taken += 1
            if at in touched:
                taken_touched += notional
                part_touched += notional * share_below(held, touched, at)
    assert taken > 100
    assert scored["area"][0] == pytest.approx(part / whole, rel=1e-4)
    assert scored["area"][1] == pytest.approx(part_touched / taken_touched, rel=1e-4)
    assert scored["notional"][0] == pytest.approx(whole, rel=1e-6)


def share_below(held: np.ndarray, among: list[int], at: int) -> float:
    """Return the share of some bins' width that is emptier than one of them, ties half."""
    widths = np.log(GRID.price_edges[1:] / GRID.price_edges[:-1])
    below = sum(
        widths[other] * (1.0 if held[other] < held[at] else 0.5) for other in among if held[other] <= held[at]
    )
    return below / sum(widths[other] for other in among)


def test_uniform_map__knows_nothing_and_bands_hold_their_estimates(found, labels) -> None:
    scored = score(found, HISTORY, labels, seed=1, trial=TRIAL)
    uniform = scored.filter(pl.col("predictor") == "uniform")
    np.testing.assert_allclose(uniform["area"], 0.5, atol=1e-4)
    np.testing.assert_allclose(uniform["captured"], 0.1, atol=1e-4)
    for name in ("area", "captured", "lead"):
        assert (scored[f"{name}_low"] <= scored[name] + 1e-9).all()
        assert (scored[name] <= scored[f"{name}_high"] + 1e-9).all()
    own = scored.filter(pl.col("predictor") == "map")
    assert own["lead"].abs().max() == 0.0
    lead = own.join(uniform, on="bins", suffix="_uniform")
    np.testing.assert_allclose(lead["area"] - lead["area_uniform"], lead["lead_uniform"], atol=1e-9)


def test_map_that_knows_the_truth__leads_over_every_baseline_where_the_price_came_through() -> None:
    events = hidden_events(BOOK, HISTORY, venue(), "A").events
    known = levels_of(BOOK, HISTORY, venue(), GRID)
    scored = score(
        known, HISTORY, recorded_events(events, source="the same, pretended recorded"), seed=1, trial=TRIAL
    )
    touched = scored.filter(pl.col("bins") == "touched")
    best = touched.filter(pl.col("predictor") == "map")["area"][0]
    for name in ("uniform", "volatility", "round", "shifted"):
        assert best > touched.filter(pl.col("predictor") == name)["area"][0]


def test_labels_of_the_same_book__are_refused(found) -> None:
    same = hidden_events(BOOK, HISTORY, venue(), "A")
    with pytest.raises(ArgumentError, match="the same book as the labels"):
        score(found, HISTORY, same, seed=1, trial=TRIAL)
    shuffled = Book(BOOK.positions.sample(fraction=1.0, shuffle=True, seed=1))
    with pytest.raises(ArgumentError, match="the same book as the labels"):
        score(levels_of(shuffled, HISTORY, venue(), GRID), HISTORY, same, seed=1, trial=TRIAL)
    anonymous = levels(without_drift(BOOK, HISTORY, venue()), GRID)
    with pytest.raises(ArgumentError, match="must carry their book"):
        score(anonymous, HISTORY, same, seed=1, trial=TRIAL)
    assert (
        score(anonymous, HISTORY, recorded_events(same.events, source="recorded"), seed=1, trial=TRIAL).height
        == 12
    )


def test_recorded_events__of_another_symbol_are_never_the_maps(found) -> None:
    times = pl.Series([START, START], dtype=Time)
    events = pl.DataFrame({"symbol": ["A", "B"], "time": times, "price": [100.0, 2.0], "notional": [1.0, 5.0]})
    assert recorded_events(events, source="a feed", symbol="A").events["notional"].to_list() == [1.0]
    with pytest.raises(
        DataError, match=r"events: symbol must be one that is named, of several: there are 'A', 'B'"
    ):
        recorded_events(events, source="a feed")
    with pytest.raises(DataError, match=r"events: symbol must be 'C' in some rows: there are 'A', 'B'"):
        recorded_events(events, source="a feed", symbol="C")
    with pytest.raises(ArgumentError, match=r"labels must be of the map's symbol 'A', are of 'B'"):
        score(found, HISTORY, recorded_events(events[1:], source="a feed"), seed=1, trial=TRIAL)


def test_hidden_truth__may_pay_funding_and_thin_out() -> None:
    paying = funded(HISTORY)
    book = population.from_open_interest(paying, venue()).book
    events = hidden_events(book, paying, venue(), "A")
    assert events.book is not None
    assert events.source.startswith("hidden truth")
    assert events.events["notional"].sum() > 0
    assert events.events["time"].is_sorted()


def test_looks__use_only_what_lies_before_and_whole_horizons_after(found, labels) -> None:
    seen = list(looks(found, HISTORY, labels, TRIAL))
    closes = dict(zip((HISTORY.bars["time"] + timedelta(hours=1)).to_list(), HISTORY.bars["close"], strict=True))
    assert len(seen) > 100
    for look in seen:
        assert look.price == closes[look.moment]
        assert look.moment + TRIAL.ahead <= START + timedelta(hours=600)
        assert not (look.touched & ~look.inside).any()
        assert look.labels[~look.inside].sum() == 0


def test_later_bars__change_no_earlier_prediction(labels) -> None:
    cut = START + timedelta(hours=400)
    shorter = type(HISTORY)(HISTORY.bars.filter(pl.col("time") < cut))
    book = Book(BOOK.positions.filter(pl.col("entry_time") < cut))
    grid = level_grid(shorter, "A", bins=120)
    one, other = (levels_of(book, prices, venue(), grid) for prices in (shorter, HISTORY))
    *_, early = looks(one, shorter, labels, TRIAL)
    same = next(look for look in looks(other, HISTORY, labels, TRIAL) if look.moment == early.moment)
    for before, after in zip(predictions(one, early).values(), predictions(other, same).values(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_predictions__stand_where_they_say(found, labels) -> None:
    look = next(look for look in looks(found, HISTORY, labels, TRIAL) if look.labels.any())
    told = predictions(found, look, TRIAL)
    middle = np.sqrt(GRID.price_edges[:-1] * GRID.price_edges[1:])
    assert np.argmax(told["volatility"]) == np.argmin(np.abs(np.log(middle / look.price)))
    step = round_step(look.price)
    assert told["round"].max() <= 0
    assert np.argmax(told["round"]) == np.argmin(np.abs(middle - np.rint(middle / step) * step))
    assert told["shifted"].sum() > 0
    assert not np.array_equal(told["shifted"], told["map"])
    np.testing.assert_allclose(told["map x volatility"], told["map"] * told["volatility"])


@pytest.mark.parametrize(
    ("price", "step"), [(43_000.0, 1_000), (3_400.0, 100), (0.000123, 1e-5), (100_000.0, 10_000)]
)
def test_round_prices__are_two_figures(price: float, step: float) -> None:
    assert round_step(price) == pytest.approx(step)


def test_nothing_liquidated__is_refused(found) -> None:
    none = recorded_events(pl.DataFrame({"time": [], "price": [], "notional": []}, schema={
        "time": Time, "price": pl.Float64, "notional": pl.Float64}), source="nobody")  # fmt: skip
    with pytest.raises(DataError, match="no liquidation"):
        score(found, HISTORY, none, seed=1, trial=TRIAL)
    with pytest.raises(ArgumentError, match="column of the map"):
        score(found, HISTORY, none, seed=1, trial=Trial(every=timedelta(minutes=1)))
    for wrong in ({"every": timedelta(0)}, {"reach": 1.5}, {"top": 0.0}):
        with pytest.raises(ArgumentError):
            Trial(**wrong)


def test_targets__were_reached_exactly_where_the_bars_say(found) -> None:
    told = targets(found, HISTORY, pull=PULL)
    assert told.height > 50
    bars = HISTORY.bars
    for row in told.iter_rows(named=True):
        after = bars.filter(pl.col("time") >= row["time"], pl.col("time") < row["time"] + PULL.horizon)
        low, high = after["low"].min(), after["high"].max()
        mirror = row["price"] ** 2 / row["centre"]
        assert row["reached"] == (low <= row["centre"] <= high)
        assert row["mirror"] in (None, low <= mirror <= high)
        assert (row["centre"] < row["price"]) == (row["side"] == "long")
        assert PULL.nearest <= abs(row["centre"] / row["price"] - 1) <= PULL.furthest
    assert told["mirror"].null_count() < told.height
    assert told["other_times"].is_between(0, 1).all()


def test_magnet__is_the_mean_difference_with_a_band(found) -> None:
    told = targets(found, HISTORY, pull=PULL)
    result = magnet(found, HISTORY, seed=1, pull=PULL)
    assert result["placebo"].to_list() == ["mirror"] * 3 + ["other_times"] * 3
    kept = told.drop_nulls("mirror")
    difference = (kept["reached"].cast(float) - kept["mirror"].cast(float)).mean()
    assert result["difference"][0] == pytest.approx(difference, abs=1e-6)
    assert result["pairs"][0] == kept.height
    assert result["pairs"][1] + result["pairs"][2] == result["pairs"][0]
    assert result["difference_low"][0] <= difference <= result["difference_high"][0]
    other = told.filter(~pl.col("round"))
    expected = (other["reached"].cast(float) - other["other_times"]).mean()
    assert result["difference"][5] == pytest.approx(expected, abs=1e-6)


def test_magnet__says_which_comparisons_rest_on_enough(found) -> None:
    result = magnet(found, HISTORY, seed=1, pull=PULL)
    told = targets(found, HISTORY, pull=PULL).drop_nulls("mirror")
    for row in result.filter(placebo="mirror").iter_rows(named=True):
        flags = {"all": pl.lit(True), "round": pl.col("round"), "other": ~pl.col("round")}[row["prices"]]
        days = told.filter(flags)["time"].dt.date().n_unique()
        assert row["blocks_held"] == days
    small = result.with_columns(pairs=pl.Series([FEWEST_PAIRS, FEWEST_PAIRS - 1, 900, 900, 900, 900]))
    small = small.with_columns(blocks_held=pl.Series([FEWEST_BLOCKS, 90, FEWEST_BLOCKS - 1, 90, 90, 1]))
    assert conclusive(small).rows() == small[[0, 3, 4]].rows()


def test_random_walk__is_not_drawn_to_clusters() -> None:
    history = market(bars=3_000, seed=11, daily=0.004)
    book = population.from_open_interest(history, venue()).book
    found = levels_of(book, history, venue(), level_grid(history, "A", bins=200, columns=3_000))
    result = magnet(found, history, seed=1, pull=PULL, rule=Crowding(times=1.5))
    assert result["pairs"][0] > 100
    assert result["difference_low"][0] <= 0 <= result["difference_high"][0]


def test_magnet__refuses_maps_without_clusters(found) -> None:
    with pytest.raises(DataError, match="no cluster"):
        magnet(found, HISTORY, seed=1, pull=PULL, rule=Crowding(times=1e6))
    for wrong in ({"nearest": 0.2}, {"horizon": timedelta(0)}, {"tolerance": 1.0}):
        with pytest.raises(ArgumentError):
            Pull(**wrong)
    assert moment_of(milliseconds(START)) == START
