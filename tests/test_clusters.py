"""Clusters: found where levels crowd, followed through time, and by their outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from level_cases import HOUR, START, market, positions, venue, waiting_only

from backtest import Book, Market, population, sweep
from backtest.errors import ArgumentError
from backtest.kernel.types import readonly
from backtest.schemas.frames import Time
from backtest.study.levels.cluster_tracks import track
from backtest.study.levels.clusters import Crowding, clusters_at, daily_volatility, runs
from backtest.study.levels.grid import LevelGrid, level_grid, milliseconds, moment_of
from backtest.study.levels.levels import Levels, levels_of, without_drift
from backtest.study.levels.past_clusters import cluster_outcomes

EVERYTHING = Crowding(times=2.0, reach=0.5, stretch=0.0, bridge=0.0, least_share=0.0)


def grid(bins: int = 100, columns: int = 1) -> LevelGrid:
    """Return bins of width 1 from 50 on."""
    return LevelGrid("A", np.arange(50.0, 51.0 + bins), False, milliseconds(START), HOUR, 1, columns)


def flat(bars: int, prices: list[float] | None = None) -> Market:
    """Return bars that stand still at 100, or whose lows, highs and closes are given prices."""
    closes = prices or [100.0] * bars
    times = [START + timedelta(hours=number) for number in range(bars)]
    frame = pl.DataFrame(
        {"symbol": "A", "time": times, "open": closes, "high": closes, "low": closes, "close": closes}
    )
    return Market(frame.cast({"time": Time}))


def levels(cells: np.ndarray, columns: int = 1, side: str = "long") -> Levels:
    """Return a map of one side from its cells in currency, (bins,) or (bins, columns)."""
    units = np.asarray(cells, np.float64).reshape(len(cells), -1) * 100
    held = np.broadcast_to(units.astype(np.int64), (len(cells), columns)).copy()
    nothing, none = np.zeros_like(held), {"long": np.zeros(columns, int), "short": np.zeros(columns, int)}
    both = {"long": nothing, "short": nothing, side: readonly(held)}
    return Levels(grid(len(cells), columns), both["long"], both["short"], none, none)


def plain_runs(cells: list[float], times: float) -> list[tuple[int, int]]:
    """Return maximal runs of bins that hold at least a multiple of the mean, one bin after another."""
    mean, found, first = sum(cells) / len(cells), [], None
    for place, amount in enumerate([*cells, -1.0]):
        if amount >= times * mean and first is None:
            first = place
        elif amount < times * mean and first is not None:
            found.append((first, place))
            first = None
    return found


def test_runs__are_the_bins_that_hold_a_multiple_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        cells = np.zeros(100)
        cells[:50] = rng.lognormal(0, 1.5, 50).round(2)
        found = runs(cells, grid(), "long", 100.0, EVERYTHING)
        assert [(run.first, run.stop) for run in found] == plain_runs(cells[:50].tolist(), 2.0)
        for run in found:
            assert run.notional == pytest.approx(cells[run.first : run.stop].sum())
            assert run.share == pytest.approx(run.notional / cells.sum())


def test_runs__bridge_short_interruptions_and_leave_out_small_crowds() -> None:
    cells = np.ones(100)
    cells[[10, 11, 13, 30]] = 50.0
    both = runs(cells, grid(), "long", 100.0, replace(EVERYTHING, bridge=0.01))
    assert [(run.first, run.stop) for run in both] == [(10, 14), (30, 31)]
    large = runs(cells, grid(), "long", 100.0, replace(EVERYTHING, bridge=0.01, least_share=0.3))
    assert [(run.first, run.stop) for run in large] == [(10, 14)]


def test_runs__look_only_ahead_of_the_price_and_within_reach() -> None:
    cells = np.ones(100)
    cells[[20, 80]] = 100.0
    assert [run.first for run in runs(cells, grid(), "long", 100.0, EVERYTHING)] == [20]
    assert [run.first for run in runs(cells, grid(), "short", 100.0, EVERYTHING)] == [80]
    assert runs(cells, grid(), "long", 100.0, replace(EVERYTHING, reach=0.2)) == []
    assert runs(np.zeros(100), grid(), "long", 100.0, EVERYTHING) == []


def test_averaging__makes_the_width_of_bins_matter_less() -> None:
    cells = np.full(100, 0.2)
    cells[20:30:2] = 10.0
    found = runs(cells, grid(), "long", 100.0, replace(EVERYTHING, stretch=0.03))
    assert [(run.first, run.stop) for run in found] == [(19, 30)]


def test_clusters_at__tell_centre_width_distance_and_days_of_volatility() -> None:
    cells = np.ones(100)
    cells[[20, 21]] = 100.0, 300.0
    history = market(bars=60, daily=0.001)
    found = clusters_at(levels(cells, 60), history, rule=EVERYTHING).row(0, named=True)
    price = history.bars["close"][-1]
    centre = (100 * 70.5 + 300 * 71.5) / 400
    assert found["centre"] == pytest.approx(centre)
    assert (found["price_low"], found["price_high"]) == (70.0, 72.0)
    assert found["width"] == pytest.approx(2 / price)
    assert found["distance"] == pytest.approx(centre / price - 1)
    daily = daily_volatility(history, "A", START + timedelta(hours=60))
    assert found["days"] == pytest.approx(-np.log(centre / price) / daily)
    assert found["time"] == START + timedelta(hours=60)


def test_days_of_volatility__are_nan_where_returns_are_too_few() -> None:
    cells = np.ones(100)
    cells[20] = 100.0
    assert np.isnan(clusters_at(levels(cells, 3), flat(3), rule=EVERYTHING)["days"][0])


def test_leverage_make_up__adds_up_to_one_and_equals_what_stands_there() -> None:
    history = market(bars=300)
    book = Book(waiting_only(positions(history, count=3_000)))
    found = levels_of(book, history, venue(), level_grid(history, "A", bins=120))
    outcomes = without_drift(book, history, venue())
    clusters = clusters_at(found, history, START + timedelta(hours=200), outcomes=outcomes)
    assert clusters.height >= 2
    buckets = clusters.columns[clusters.columns.index("mean_leverage") + 1 :]
    np.testing.assert_allclose(clusters.select(pl.sum_horizontal(buckets)).to_series(), 1.0)
    at = START + timedelta(hours=200)
    for row in clusters.iter_rows(named=True):
        own = outcomes.filter(
            pl.col("side") == row["side"],
            pl.col("liquidation_price").is_between(row["price_low"], row["price_high"], closed="left"),
            pl.col("entry_time") <= at,
            pl.col("outcome_time").is_null() | (pl.col("outcome_time") >= at),
        ).with_columns(amount=pl.col("liquidation_price") * pl.col("quantity") * pl.col("weight"))
        total = own["amount"].sum()
        assert row["notional"] == pytest.approx(total, abs=0.01 * own.height)
        mean = (own["leverage"] * own["amount"]).sum() / total
        assert row["mean_leverage"] == pytest.approx(mean)
    assert clusters["notional"].is_sorted(descending=True)


@pytest.mark.parametrize("thins", [False, True])
def test_aftermath__shares_add_up_and_equal_the_outcomes(thins: bool) -> None:
    history = market(bars=300)
    book = Book(positions(history, count=3_000))
    if thins:
        book = population.from_open_interest(history, venue()).book
    found = levels_of(book, history, venue(), level_grid(history, "A", bins=120))
    outcomes = without_drift(book, history, venue())
    at, until = START + timedelta(hours=150), START + timedelta(hours=250)
    clusters = clusters_at(found, history, at)
    became = cluster_outcomes(clusters, outcomes, "A", until, survival=book.survival)
    shares = became.select(pl.sum_horizontal("triggered", "closed", "open")).to_series()
    np.testing.assert_allclose(shares, 1.0)
    assert became["triggered"].max() > 0
    at_once = cluster_outcomes(clusters, outcomes, "A", at, survival=book.survival)
    np.testing.assert_allclose(at_once["open"], 1.0)
    if thins:
        return
    for row in became.iter_rows(named=True):
        own = outcomes.filter(
            pl.col("side") == row["side"],
            pl.col("liquidation_price").is_between(row["price_low"], row["price_high"], closed="left"),
            pl.col("entry_time") <= at,
            pl.col("outcome_time").is_null() | (pl.col("outcome_time") >= at),
        ).with_columns(amount=pl.col("liquidation_price") * pl.col("quantity") * pl.col("weight"))
        gone = own.filter(pl.col("liquidated") & (pl.col("outcome_time") < until))
        assert row["triggered"] == pytest.approx(gone["amount"].sum() / own["amount"].sum())
        assert row["first_triggered"] == gone["outcome_time"].min()


def test_lives__begin_grow_and_end_as_the_map_says() -> None:
    cells = np.ones((100, 6))
    cells[20, 1:] = [50, 80, 120, 120, 120]  # born in the second column, grows
    cells[30, :3] = 90.0  # there from the start; the price comes for it in the fourth
    cells[10, 2:4] = 70.0  # dissolves
    prices = [100.0, 100.0, 100.0, 80.5, 100.0, 100.0]
    cells[31:50, 3:] = 0.0  # what the price reached is gone
    found = track(levels(cells, 6), flat(6, prices), rule=EVERYTHING)
    by_centre = {round(row["centre"], 1): row for row in found.clusters.iter_rows(named=True)}
    assert by_centre[80.5]["fate"] == "reached"
    assert by_centre[80.5]["ended"] == START + timedelta(hours=4)
    assert by_centre[60.5]["fate"] == "dissolved"
    grown = by_centre[70.5]
    assert (grown["fate"], grown["ended"]) == ("open", None)
    assert (grown["born"], grown["peak_time"]) == (START + timedelta(hours=2), START + timedelta(hours=4))
    assert (grown["notional_born"], grown["notional_peak"], grown["notional_last"]) == (50.0, 120.0, 120.0)
    seen = found.seen.filter(pl.col("cluster") == grown["cluster"])
    assert seen["notional"].to_list() == [50.0, 80.0, 120.0, 120.0, 120.0]


def test_clusters__that_grow_together_merge() -> None:
    cells = np.ones((100, 2))
    cells[[20, 21, 24], 0] = [90.0, 90.0, 60.0]
    cells[20:25, 1] = 90.0
    found = track(levels(cells, 2), flat(2), rule=EVERYTHING).clusters
    assert found["fate"].to_list() == ["open", "merged"]


def test_known_clusters__live_on_at_a_lower_crowding() -> None:
    cells = np.ones((100, 2))
    cells[20] = [3.0, 1.7]
    kept = track(levels(cells, 2), flat(2), rule=EVERYTHING).clusters
    lost = track(levels(cells, 2), flat(2), rule=replace(EVERYTHING, keep=1.0)).clusters
    assert (kept["fate"].to_list(), lost["fate"].to_list()) == (["open"], ["dissolved"])


def test_shorts__are_followed_upwards() -> None:
    cells = np.ones((100, 2))
    cells[70, 0] = 90.0
    found = track(levels(cells, 2, "short"), flat(2, [100.0, 125.0]), rule=EVERYTHING).clusters
    assert found.row(0, named=True)["side"] == "short"
    assert found["fate"].to_list() == ["reached"]


def test_real_tracks__are_looked_at_every_so_many_columns() -> None:
    history = market(bars=300)
    book = population.from_open_interest(history, venue()).book
    of_book = levels_of(book, history, venue(), level_grid(history, "A", bins=150))
    found = track(of_book, history, every=4)
    assert found.clusters.height >= 3
    hours = {(time - START) / timedelta(hours=4) for time in found.seen["time"]}
    assert all(hour == int(hour) for hour in hours)
    assert set(found.seen["cluster"]) == set(found.clusters["cluster"])


def test_crowding__refuses_what_makes_no_sense() -> None:
    for wrong in ({"times": 0.0}, {"reach": 1.0}, {"least_share": 2.0}, {"stretch": 1.0}, {"keep": 0.0}):
        with pytest.raises(ArgumentError, match=r"must|needs"):
            Crowding(**wrong)
    with pytest.raises(ArgumentError, match="every"):
        track(levels(np.ones(100), 2), flat(2), every=0)


def test_moments__are_those_of_the_columns() -> None:
    history = market(bars=30)
    outcomes = sweep(Book(positions(history)), history, venue(), leverage_limit="cap")
    found = levels_of(Book(positions(history)), history, venue(), level_grid(history, "A"))
    clusters = clusters_at(found, history, START + timedelta(hours=20, minutes=59), outcomes=outcomes)
    assert clusters["time"].unique().to_list() in ([], [moment_of(milliseconds(START) + 20 * HOUR)])
