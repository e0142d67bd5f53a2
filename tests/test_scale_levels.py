"""Levels and gaps of books in batches: cell for cell and row for row what the whole book gives in memory."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from level_cases import market, positions, venue
from polars.testing import assert_frame_equal
from scale_cases import Case, case

from backtest import Book, Venue
from backtest.errors import ArgumentError, DataError
from backtest.scale import Prices, Processes, Progress, Result
from backtest.scale import sweep as sweep_batches
from backtest.study.levels.grid import LevelGrid, level_grid
from backtest.study.levels.levels import Levels, levels_of
from backtest.study.partial_sums.levels import level_changes, levels_from, merge_level_changes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("levels"))


@pytest.fixture(scope="module")
def grids(made: Case) -> list[LevelGrid]:
    """Return grids of two symbols of three, two of them of one, of equal widths and of equal ratios."""
    first, last = made.market.bars.select(a=pl.col("time").min(), b=pl.col("time").max()).row(0)
    later = first + (last - first) / 10
    return [
        level_grid(made.market, "SOLUSDT", bins=40, columns=90),
        level_grid(made.market, "BTCUSDT", bins=25, columns=33, logarithmic=True),
        level_grid(made.market, "BTCUSDT", window=(later, last), prices=(70.0, 130.0), bins=10, columns=200),
    ]


@pytest.fixture(scope="module")
def whole(made: Case, grids: list[LevelGrid]) -> dict[bool, list[Levels]]:
    """Return the maps of the whole book in memory, still and moved by funding."""
    return {
        drift: [levels_of(made.book, made.market, made.venue, grid, drift=drift) for grid in grids]
        for drift in (False, True)
    }


def swept(made: Case, folder: Path, **settings) -> Result:
    return sweep_batches(made.positions, made.prices, made.venue, folder, adjustments=made.adjustments, **settings)


def assert_same(found: list[Levels], expected: list[Levels]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.grid.price_edges, theirs.grid.price_edges)
        for side in ("long", "short"):
            np.testing.assert_array_equal(getattr(ours, side), getattr(theirs, side))
            np.testing.assert_array_equal(ours.outside[side], theirs.outside[side])
            np.testing.assert_array_equal(ours.triggered[side], theirs.triggered[side])
        assert (ours.unit, ours.measure, ours.assumptions) == (theirs.unit, theirs.measure, theirs.assumptions)
        assert_frame_equal(ours.totals(), theirs.totals(), check_exact=True)
        assert_frame_equal(ours.to_frame(), theirs.to_frame(), check_exact=True)


@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize("batch_rows", [137, 500, 100_000])
def test_levels_of_batches_of_any_size__are_those_of_the_whole_book(
    tmp_path, made, grids, whole, batch_rows, drift
):
    assert all(found.long.any() and found.short.any() for found in whole[drift])
    assert whole[drift][2].outside["long"].any()
    assert whole[drift][0].triggered["long"].any()
    result = swept(made, tmp_path / "out", batch_rows=batch_rows, levels=grids, drift=drift)
    assert_same(result.levels(), whole[drift])


def test_levels_under_other_conventions__are_those_of_the_whole_book(tmp_path, made, grids):
    asked = {"intrabar": "optimistic", "entry_bar": "tested", "leverage_limit": "filter"}
    result = swept(made, tmp_path / "out", batch_rows=300, levels=grids, **asked)
    expected = [levels_of(made.book, made.market, made.venue, grid, **asked) for grid in grids]
    assert_same(result.levels(), expected)


def test_levels_by_processes__are_those_of_the_whole_book(tmp_path, made, grids, whole):
    with closing(Processes(2)) as executor:
        result = swept(made, tmp_path / "out", batch_rows=400, levels=grids, executor=executor)
    assert_same(result.levels(), whole[False])


def test_levels_without_adjustments__are_those_of_the_whole_book(tmp_path, made, grids):
    book = Book(made.book.positions)
    result = sweep_batches(
        made.positions, made.prices, made.venue, tmp_path / "out", batch_rows=300, levels=grids[0]
    )
    assert_same(result.levels(), [levels_of(book, made.market, made.venue, grids[0])])


def test_batches_in_which_nobody_acted__add_up_with_those_in_which_some_did(tmp_path, made, grids):
    """Levels of the latter are followed piece by piece, those of the former stand where they stood."""
    own = made.book.positions.filter(pl.col("symbol") == "BTCUSDT")[:100]
    few = made.book.adjustments.join(own, on="position_id", how="semi")
    assert few.height > 3
    few.write_parquet(tmp_path / "few.parquet")
    result = sweep_batches(
        made.positions, made.prices, made.venue, tmp_path / "out", adjustments=tmp_path / "few.parquet",
        batch_rows=200, levels=grids,
    )  # fmt: skip
    book = Book(made.book.positions, few)
    assert_same(result.levels(), [levels_of(book, made.market, made.venue, grid) for grid in grids])


def test_levels_of_a_run_that_was_stopped__are_those_of_the_whole_book(tmp_path, made, grids, whole):
    def stop(progress: Progress) -> None:
        if progress.finished == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(made, tmp_path / "out", batch_rows=250, levels=grids, report=stop)
    assert not (tmp_path / "out" / "levels.parquet").exists()
    result = swept(made, tmp_path / "out", batch_rows=250, levels=grids)
    assert result.swept == 8
    assert_same(result.levels(), whole[False])
    lost = sorted((tmp_path / "out" / "parts" / "levels").glob("*"))[3]
    lost.unlink()
    again = swept(made, tmp_path / "out", batch_rows=250, levels=grids)
    assert again.swept == 1
    assert_same(again.levels(), whole[False])


def test_other_grids__are_another_run(tmp_path, made, grids):
    swept(made, tmp_path / "out", levels=grids[0])
    with pytest.raises(ArgumentError, match="finished parts of another job"):
        swept(made, tmp_path / "out", levels=grids[1])
    with pytest.raises(ArgumentError, match="finished parts of another job"):
        swept(made, tmp_path / "out")


def test_a_run_that_is_asked_for_no_levels__has_none(tmp_path, made):
    result = swept(made, tmp_path / "out")
    assert result.levels() == []
    assert not (tmp_path / "out" / "levels.parquet").exists()


def test_levels_of_nobody__are_nothing(tmp_path, made, grids):
    made.book.positions.filter(pl.col("symbol") == "ETHUSDT").write_parquet(tmp_path / "other.parquet")
    result = sweep_batches(
        tmp_path / "other.parquet", made.prices, made.venue, tmp_path / "out", levels=grids, batch_rows=400
    )
    assert not any(found.long.any() or found.triggered["short"].any() for found in result.levels())


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_levels_in_coins__add_up_in_the_unit_of_the_run(tmp_path, kind):
    history = market()
    rules: Venue = venue(kind)
    held = positions(history)
    history.bars.write_parquet(tmp_path / "bars.parquet")
    held.write_parquet(tmp_path / "held.parquet")
    grid = level_grid(history, "A", bins=30, columns=48)
    result = sweep_batches(
        tmp_path / "held.parquet", Prices(str(tmp_path / "bars.parquet")), rules, tmp_path / "out",
        batch_rows=70, unit=1e-8, levels=grid,
    )  # fmt: skip
    assert_same(result.levels(), [levels_of(Book(held), history, rules, grid, unit=1e-8)])


def test_changes__merge_in_any_order_and_give_the_map_back(grids, whole):
    rng = np.random.default_rng(3)
    found = whole[True][0]
    assert_same(
        [levels_from(level_changes(found, 5), grids[0], 5, unit=0.01, assumptions=found.assumptions)], [found]
    )
    parts = pl.concat([level_changes(each, number) for number, each in enumerate(whole[True])] * 2)
    doubled = merge_level_changes(parts[rng.permutation(parts.height)])
    assert_frame_equal(doubled, merge_level_changes(parts))
    again = levels_from(doubled, grids[0], 0, unit=0.01)
    np.testing.assert_array_equal(again.long, 2 * found.long)
    np.testing.assert_array_equal(again.triggered["short"], 2 * found.triggered["short"])


def test_more_units_than_an_int64_holds__are_refused(whole):
    changes = level_changes(whole[False][0], 0).with_columns(units=pl.lit(2**61, pl.Int64))
    with pytest.raises(DataError, match="levels: amounts must add up to less than"):
        merge_level_changes(pl.concat([changes, changes]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"levels": ["BTCUSDT"]}, r"levels\[0\] must be a LevelGrid, is 'BTCUSDT'"),
        ({"drift": True}, "drift moves levels: give grids for levels too"),
    ],
)
def test_levels_that_cannot_be_served__are_told_at_once(tmp_path, made, settings, said):
    with pytest.raises(ArgumentError, match=said):
        swept(made, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_grids_of_unknown_symbols__are_refused(tmp_path, made):
    grid = level_grid(market(), "A", bins=5, columns=5)
    with pytest.raises(ArgumentError, match=r"symbol must be one of the bars' .*: 1 of 1 grids are not, .* 'A'"):
        swept(made, tmp_path / "out", levels=grid)


@pytest.mark.parametrize("limit", [timedelta(hours=6), timedelta(days=1), None])
def test_gaps_of_batches__are_those_of_the_market(tmp_path, made, limit):
    prices = Prices(made.prices.bars, gap_limit=limit)
    result = sweep_batches(made.positions, prices, made.venue, tmp_path / "out", batch_rows=300)
    gaps = prices.market(prices.known).gaps()
    assert gaps.height == 3
    assert_frame_equal(result.gaps(), gaps, check_exact=True)
