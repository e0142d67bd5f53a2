"""Books in batches: row for row and sum for sum what one sweep in memory gives, however they are cut."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scale_cases
from bad_kinds import good_files
from outcome_cases import with_kinds
from polars.testing import assert_frame_equal
from scale_cases import Case, case, made_venue

from backtest import Book, sweep, tiers_used
from backtest.errors import ArgumentError, DataError, IncompleteError, RulesError
from backtest.scale import Cluster, Executor, Prices, Processes, Progress, Result, Serial
from backtest.scale import sweep as sweep_batches
from backtest.scale.batches import plan
from backtest.scale.executors import LostError, WorkError
from backtest.study.levels.grid import level_grid
from backtest.study.levels.levels import levels_of
from backtest.study.liquidations import flow
from backtest.study.liquidations.cascades import find, pulses
from backtest.study.liquidations.segmentation import GapRule, ThresholdRule
from backtest.study.partial_sums.outcomes import coarsen, condense, condense_lives, merge, merge_pulses, pulses_of
from backtest.study.survival import survival


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("scale"))


@pytest.fixture(scope="module")
def outcomes(made: Case) -> pl.DataFrame:
    return sweep(made.book, made.market, made.venue)


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Workers that several tests share: starting them is most of the time."""
    with closing(Shared(Processes(2))) as shared:
        yield shared
        shared.executor.close()


class Shared:
    """An executor that outlives the runs that close it."""

    def __init__(self, executor: Executor) -> None:
        self.executor, self.threads = executor, executor.threads
        self.submit, self.gather = executor.submit, executor.gather

    def close(self) -> None:
        """Stay."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    cluster = Cluster("local", 2)
    yield Shared(cluster)
    cluster.close()


def test_the_example_of_the_page__runs_as_a_file(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "scale.md").read_text("utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    files = good_files()
    for name in ("bars", "funding", "positions"):
        path = tmp_path / ("positions/part.parquet" if name == "positions" else f"{name}.parquet")
        path.parent.mkdir(exist_ok=True)
        files[f"{name}.parquet"].write_parquet(path)
    (tmp_path / "example.py").write_text(found[1].replace("Processes(8)", "Processes(2)"))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert pl.scan_parquet(tmp_path / "out" / "outcomes").collect().height == files["positions.parquet"].height


def swept(made: Case, folder: Path, positions: Path | None = None, **settings) -> Result:
    given = positions or made.positions
    return sweep_batches(given, made.prices, made.venue, folder, adjustments=made.adjustments, **settings)


def assert_same(result: Result, made: Case, outcomes: pl.DataFrame) -> None:
    """Assert that outcomes and every sum are those of one sweep in memory."""
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)
    assert_frame_equal(result.flow(), condense(outcomes), check_exact=True)
    assert_frame_equal(result.pulses().collect(), pulses(outcomes), check_exact=True)
    assert_frame_equal(result.lives(), condense_lives(survival.lives(outcomes, made.market)), check_exact=True)
    assert_frame_equal(result.tiers(), tiers_used(made.book, made.market, made.venue))
    assert_frame_equal(result.gaps(), made.market.gaps(), check_exact=True)


@pytest.mark.parametrize("batch_rows", [137, 500, 2_000, 100_000])
def test_batches_of_any_size__give_the_rows_and_sums_of_one_sweep(tmp_path, made, outcomes, batch_rows):
    assert set(outcomes["outcome"].unique()) == {
        "liquidated", "stopped", "took_profit", "exited", "open", "unknown"
    } - ({"open"} if "open" not in outcomes["outcome"] else set())  # fmt: skip
    result = swept(made, tmp_path / "out", batch_rows=batch_rows)
    assert result.batches == {137: 24, 500: 6, 2_000: 2, 100_000: 1}[batch_rows]  # of three files of 1,000 rows
    assert_same(result, made, outcomes)


def test_processes__give_the_rows_and_sums_of_one_sweep(tmp_path, made, outcomes, processes):
    assert_same(swept(made, tmp_path / "out", batch_rows=400, executor=processes), made, outcomes)


def test_a_dask_cluster__gives_the_rows_and_sums_of_one_sweep(tmp_path, made, outcomes, cluster):
    grid = level_grid(made.market, "BTCUSDT", bins=20, columns=50)
    result = swept(made, tmp_path / "out", batch_rows=400, executor=cluster, levels=grid)
    assert_same(result, made, outcomes)
    (found,) = result.levels()
    expected = levels_of(made.book, made.market, made.venue, grid)
    assert_frame_equal(found.to_frame(), expected.to_frame(), check_exact=True)
    assert_frame_equal(found.totals(), expected.totals(), check_exact=True)


def test_rules__reach_every_batch(tmp_path, made):
    rules = {"intrabar": "optimistic", "leverage_limit": "cap", "entry_bar": "tested"}
    expected = sweep(made.book, made.market, made.venue, **rules)
    result = swept(made, tmp_path / "out", batch_rows=300, **rules)
    assert_frame_equal(result.outcomes().collect(), expected, check_exact=True)


def test_positions_left_out__are_left_out_of_their_batches(tmp_path, made):
    positions = made.book.positions.with_columns(
        leverage=pl.when(pl.col("position_id") % 5 == 0).then(60.0).otherwise(pl.col("leverage"))
    )
    positions.write_parquet(tmp_path / "many.parquet")
    expected = sweep(Book(positions), made.market, made.venue, leverage_limit="filter")
    result = sweep_batches(
        tmp_path / "many.parquet",
        made.prices,
        made.venue,
        tmp_path / "out",
        batch_rows=700,
        leverage_limit="filter",
    )
    assert_frame_equal(result.outcomes().collect(), expected, check_exact=True)
    assert (result.positions, result.rows) == (3_000, expected.height)


def test_the_sums_of_batches__serve_flows_cascades_and_survival(tmp_path, made, outcomes):
    result = swept(made, tmp_path / "out", batch_rows=250)
    start, end = made.market.bars.select(a=pl.col("time").min(), b=pl.col("time").max()).row(0)
    whole, window = result.flow(), {"start": start, "end": end}
    for every in ("1h", "6h", "1d"):
        ours, theirs = (flow.by_interval(frame, every=every, **window) for frame in (whole, outcomes))
        assert_frame_equal(ours, theirs, check_exact=True)
    assert_frame_equal(flow.summary(whole), flow.summary(outcomes), check_exact=True)
    assert_frame_equal(flow.tally(whole), flow.tally(outcomes), check_exact=True)
    assert_frame_equal(flow.concentration(whole), flow.concentration(outcomes), check_exact=True)
    by_leverage = flow.leverage_bucket(flow.leverage(outcomes))
    assert_frame_equal(
        flow.liquidated(whole, ["symbol", "side", "leverage_bucket"]),
        flow.liquidated(outcomes, ["symbol", "side", by_leverage]),
        check_exact=True,
    )
    minute = scale_cases.timedelta(minutes=1)
    for rule in (GapRule(5 * minute, bar=minute), ThresholdRule(0.9, bar=minute)):
        assert_frame_equal(find(result.pulses().collect(), rule), find(pulses(outcomes), rule), check_exact=True)
    lives = survival.lives(outcomes, made.market)
    in_hours = lives.with_columns(
        by_leverage, duration=(pl.col("duration") - pl.duration(milliseconds=1)).dt.total_hours() + 1
    ).with_columns(
        duration=pl.when(lives["duration"].dt.total_milliseconds() == 0)
        .then(pl.duration(hours=0, time_unit="ms"))
        .otherwise(pl.duration(hours=pl.col("duration"), time_unit="ms"))
    )
    for keys in ([], ["side"], ["symbol", "leverage_bucket"]):
        ours, theirs = (survival.kaplan_meier(frame, keys) for frame in (result.lives(), in_hours))
        assert_frame_equal(ours, theirs, check_exact=True)
        ours, theirs = (survival.aalen_johansen(frame, keys) for frame in (result.lives(), in_hours))
        assert_frame_equal(ours, theirs, check_exact=True)


def test_condensed_outcomes_of_a_thinning_book__serve_flows_and_merge(outcomes):
    left = outcomes["weight"] * pl.Series([(number % 7) / 7 for number in range(outcomes.height)])
    thinning = outcomes.with_columns(surviving_weight=left)
    parts = pl.concat([condense(thinning[:1_111], None), condense(thinning[1_111:], None)])
    whole = merge(parts)
    assert_frame_equal(whole, condense(thinning, None), check_exact=True)
    assert_frame_equal(coarsen(whole, "1h"), condense(thinning), check_exact=True)
    assert_frame_equal(flow.summary(whole), flow.summary(thinning), check_exact=True)
    assert_frame_equal(pulses_of(whole), pulses(thinning), check_exact=True)
    halves = pl.concat([pulses(thinning[:1_111]), pulses(thinning[1_111:])])
    assert_frame_equal(merge_pulses(halves), pulses(thinning), check_exact=True)


def test_condensed_outcomes_of_inverse_contracts__are_in_their_coin(outcomes):
    outcomes, terms = with_kinds(outcomes, {"ETHUSDT": "inverse"}), {"unit": 1e-8}
    whole = condense(outcomes, **terms)
    assert_frame_equal(flow.summary(whole, unit=1e-8), flow.summary(outcomes, **terms), check_exact=True)
    ours, theirs = flow.concentration(whole, unit=1e-8), flow.concentration(outcomes, **terms)
    assert_frame_equal(ours, theirs, check_exact=True)


def test_condensed_outcomes__refuse_to_be_split_further(outcomes):
    condensed, time = condense(outcomes), outcomes["outcome_time"]
    with pytest.raises(ArgumentError, match="must not split"):
        flow.by_interval(condensed, start=time.min(), end=time.max(), every="15m")
    with pytest.raises(ArgumentError, match="must not split"):
        flow.by_interval(condensed, start=time.min() + scale_cases.timedelta(minutes=30), end=time.max())
    with pytest.raises(ArgumentError, match="unit must be the one"):
        flow.summary(condensed, unit=1.0)


def test_sums_alone__can_be_had(tmp_path, made, outcomes):
    result = swept(made, tmp_path / "out", keep_outcomes=False)
    assert_frame_equal(flow.summary(result.flow()), flow.summary(outcomes))
    assert not (tmp_path / "out" / "outcomes").exists()


def test_a_folder_of_hive_partitions__keeps_its_columns(tmp_path, made):
    positions = made.book.positions.drop("note")
    for symbol in scale_cases.SYMBOLS:
        (tmp_path / "hive" / f"symbol={symbol}").mkdir(parents=True)
        own = positions.filter(pl.col("symbol") == symbol).drop("symbol")
        own.write_parquet(tmp_path / "hive" / f"symbol={symbol}" / "0.parquet")
    result = sweep_batches(tmp_path / "hive", made.prices, made.venue, tmp_path / "out", batch_rows=450)
    whole = pl.scan_parquet(tmp_path / "hive", hive_partitioning=True).collect()
    assert_frame_equal(result.outcomes().collect(), sweep(Book(whole), made.market, made.venue), check_exact=True)


def test_a_symbol_of_one_bar__is_as_long_as_in_the_whole_market(tmp_path, made):
    lone = made.market.bars.head(1).with_columns(symbol=pl.lit("LONE"))
    bars = pl.concat([made.market.bars, lone])
    bars.write_parquet(tmp_path / "bars.parquet")
    prices = Prices(str(tmp_path / "bars.parquet"))
    assert prices.market(("LONE",)).intervals[-1] == 60_000
    assert prices.market(("BTCUSDT",)).symbols == ("BTCUSDT",)


def test_progress__counts_up_to_the_end_and_estimates_the_rest(tmp_path, made):
    told: list[Progress] = []
    swept(made, tmp_path / "out", batch_rows=500, report=told.append)
    assert [progress.finished for progress in told] == list(range(7))
    assert [progress.done for progress in told] == list(range(0, 3_001, 500))
    half = told[3]
    assert half.seconds_left == pytest.approx(half.seconds)
    assert told[-1].seconds_left == 0


def test_an_empty_book__gives_no_rows_and_its_columns(tmp_path, made):
    made.book.positions.head(0).write_parquet(tmp_path / "none.parquet")
    result = sweep_batches(tmp_path / "none.parquet", made.prices, made.venue, tmp_path / "out")
    assert_frame_equal(
        result.outcomes().collect(), sweep(Book(made.book.positions.head(0)), made.market, made.venue)
    )
    assert result.pulses().collect().is_empty()


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"batch_rows": 0}, ArgumentError, "batch_rows must be at least 1, is 0"),
        ({"every": "hourly"}, ArgumentError, "every must be an interval like 15m, 1h or 1d, is 'hourly'"),
        ({"unit": 0.0}, ArgumentError, "unit must be above zero, is 0.0"),
        ({"intrabar": "worst"}, ArgumentError, "intrabar must be one of"),
        ({"trigger_price": "last"}, ArgumentError, "bars must have columns last_open"),
        (
            {"adjustments": "nowhere.parquet"},
            DataError,
            r"adjustments .*nowhere\.parquet: there is no such Parquet file",
        ),
    ],
)
def test_what_no_batch_could_be_swept_with__is_told_once_and_at_once(tmp_path, made, settings, kind, said):
    with pytest.raises(kind, match=said):
        sweep_batches(made.positions, made.prices, made.venue, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / "outcomes").exists()


def test_inputs_that_are_no_parquet__are_named(tmp_path, made):
    (tmp_path / "positions.csv").write_text("position_id\n")
    for source, said in (("nowhere", "there is no such Parquet file"), ("positions.csv", "must end in .parquet")):
        with pytest.raises(DataError, match=said):
            sweep_batches(tmp_path / source, made.prices, made.venue, tmp_path / "out")
    with pytest.raises(DataError, match="bars nowhere: there is no such Parquet file"):
        sweep_batches(made.positions, Prices("nowhere"), made.venue, tmp_path / "out")
    with pytest.raises(DataError, match="at least one row in the window"):
        sweep_batches(made.positions, Prices(made.prices.bars, symbols=("XRPUSDT",)), made.venue, tmp_path / "out")


def test_funding_of_other_symbols__is_refused_as_in_memory(tmp_path, made):
    made.market.funding.with_columns(symbol=pl.lit("BTC-PERP")).write_parquet(tmp_path / "other.parquet")
    prices = Prices(made.prices.bars, str(tmp_path / "other.parquet"))
    with pytest.raises(DataError, match="there are only BTC-PERP"):
        sweep_batches(made.positions, prices, made.venue, tmp_path / "out")


def test_a_position_twice__is_told_before_any_work(tmp_path, made):
    shutil.copytree(made.positions, tmp_path / "positions")
    again = pl.read_parquet(tmp_path / "positions" / "0.parquet").head(2)
    again.write_parquet(tmp_path / "positions" / "3.parquet")
    with pytest.raises(DataError, match=r"position_id must not repeat, .* 2 or more are used again"):
        sweep_batches(tmp_path / "positions", made.prices, made.venue, tmp_path / "out", batch_rows=400)
    assert not (tmp_path / "out" / "outcomes").exists()


TEXT, NUMBERS = pl.concat_str(pl.lit("p"), "position_id"), pl.col("position_id")
DIGITS, CATEGORIES = NUMBERS.cast(pl.String), TEXT.cast(pl.Categorical)


@pytest.mark.parametrize(
    ("ids", "adjusted"),
    [(TEXT, TEXT), (CATEGORIES, TEXT), (DIGITS, NUMBERS), (NUMBERS, DIGITS), (NUMBERS.cast(pl.Int32), NUMBERS)],
    ids=["text", "categories", "text and numbers", "numbers and text", "short numbers"],
)
def test_ids_of_any_type__give_the_rows_of_one_sweep(tmp_path, made, ids, adjusted):
    positions, changes = named(tmp_path, made, ids), made.book.adjustments.drop("row")
    changes.with_columns(position_id=adjusted).write_parquet(tmp_path / "changes.parquet")
    result = sweep_batches(
        positions,
        made.prices,
        made.venue,
        tmp_path / "out",
        adjustments=tmp_path / "changes.parquet",
        batch_rows=400,
    )
    book = Book(pl.read_parquet(positions), pl.read_parquet(tmp_path / "changes.parquet"))
    expected = sweep(book, made.market, made.venue)
    assert_frame_equal(result.outcomes().collect(), expected, check_exact=True)


def test_positions_without_ids__are_numbered_through_all_files(tmp_path, made):
    positions = named(tmp_path, made, None)
    result = sweep_batches(positions, made.prices, made.venue, tmp_path / "out", batch_rows=400)
    expected = sweep(pl.read_parquet(positions), made.market, made.venue)
    assert_frame_equal(result.outcomes().collect(), expected, check_exact=True)
    assert expected["position_id"].to_list() == list(range(expected.height))


def test_text_ids__are_checked_across_batches(tmp_path, made):
    positions, changes = named(tmp_path, made, TEXT), made.book.adjustments.drop("row")
    changes.with_columns(position_id=pl.lit("stranger")).write_parquet(tmp_path / "changes.parquet")
    options = {"batch_rows": 400, "adjustments": tmp_path / "changes.parquet"}
    with pytest.raises(DataError, match=r"1 of 1 ids are not, the lowest 'stranger'"):
        sweep_batches(positions, made.prices, made.venue, tmp_path / "out", **options)
    with pytest.raises(DataError, match=r"position_id must be one of those there are, which are whole numbers"):
        sweep_batches(made.positions, made.prices, made.venue, tmp_path / "out", **options)
    pl.read_parquet(positions / "0.parquet").head(2).write_parquet(positions / "3.parquet")
    with pytest.raises(DataError, match=r"position_id must not repeat, .* 2 or more are used again, .* 'p\d+'"):
        sweep_batches(positions, made.prices, made.venue, tmp_path / "out", batch_rows=400)


def named(folder: Path, made: Case, ids: pl.Expr | None) -> Path:
    """Write the positions with other ids, or without."""
    (folder / "positions").mkdir()
    for path in made.positions.glob("*.parquet"):
        own = pl.read_parquet(path)
        changed = own.drop("position_id") if ids is None else own.with_columns(position_id=ids)
        changed.write_parquet(folder / "positions" / path.name)
    return folder / "positions"


def test_an_adjustment_of_nobody__is_told_before_any_work(tmp_path, made):
    stranger = pl.read_parquet(made.adjustments).head(1).with_columns(position_id=pl.lit(9_999_999, pl.Int64))
    pl.concat([pl.read_parquet(made.adjustments), stranger]).write_parquet(tmp_path / "more.parquet")
    with pytest.raises(DataError, match=r"1 of \d+ ids are not, the lowest 9999999"):
        sweep_batches(
            made.positions, made.prices, made.venue, tmp_path / "out", adjustments=tmp_path / "more.parquet"
        )


def test_files_of_different_columns__are_refused(tmp_path, made):
    shutil.copytree(made.positions, tmp_path / "positions")
    first = tmp_path / "positions" / "1.parquet"
    pl.read_parquet(first).drop("weight").write_parquet(first)
    with pytest.raises(DataError, match=r"same columns: .*1.parquet differs from .*0.parquet in weight"):
        sweep_batches(tmp_path / "positions", made.prices, made.venue, tmp_path / "out")


def test_positions_of_unknown_symbols__are_refused_by_their_batch(tmp_path, made):
    positions = made.book.positions.head(10).with_columns(symbol=pl.lit("XRPUSDT"))
    positions.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(IncompleteError, match=r"symbol must be one of the bars' \(BTCUSDT, ETHUSDT, SOLUSDT\)"):
        sweep_batches(tmp_path / "x.parquet", made.prices, made.venue, tmp_path / "out")


def test_a_venue_without_a_symbol__is_told_at_once(tmp_path, made):
    contract = made.venue.contracts["ETHUSDT"]
    other = type(made.venue)(name="other", title="Other", contracts={"ETHUSDT": contract})
    with pytest.raises(RulesError):
        sweep_batches(made.positions, made.prices, other, tmp_path / "out")


EXECUTORS = {"serial": Serial, "processes": lambda: Processes(2, prepare=None)}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_executors__give_every_result_and_every_error_by_its_name(kind):
    with closing(EXECUTORS[kind]()) as executor:
        for number in range(5):
            executor.submit(f"square {number}", scale_cases.square, number)
        executor.submit("refused", scale_cases.refuse, 3)
        done = {each.name: each for each in executor.gather()}
    assert [done[f"square {number}"].result() for number in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises((ValueError, WorkError), match="3 is not to be had"):
        done["refused"].result()


def test_processes__have_one_thread_each_and_share_the_work():
    with closing(Processes(2, prepare=None)) as executor:
        for number in range(4):
            executor.submit(f"id {number}", scale_cases.process_id)
        executor.submit("threads", scale_cases.settings_of_threads)
        done = {each.name: each.result() for each in executor.gather()}
    assert done.pop("threads") == (1, "1")
    assert len(set(done.values())) == 2


def test_a_worker_that_dies__costs_time_and_no_result(tmp_path):
    with closing(Processes(2, prepare=None)) as executor:
        executor.submit("dies once", scale_cases.die_once, str(tmp_path / "died"))
        executor.submit("square", scale_cases.square, 3)
        done = {each.name: each.result() for each in executor.gather()}
    assert done == {"dies once": "alive", "square": 9}
    assert (tmp_path / "died").exists()


def test_work_that_kills_every_worker__is_given_up_by_name():
    with closing(Processes(1, retries=1, prepare=None)) as executor:
        executor.submit("deadly", scale_cases.die)
        executor.submit("square", scale_cases.square, 3)
        done = {each.name: each for each in executor.gather()}
    assert done["square"].result() == 9
    with pytest.raises(LostError, match="2 workers died over it, the last with signal 9"):
        done["deadly"].result()


def test_a_cluster__gives_results_errors_and_survives_a_dead_worker(tmp_path, cluster):
    cluster.submit("square", scale_cases.square, 3)
    cluster.submit("refused", scale_cases.refuse, 3)
    cluster.submit("dies once", scale_cases.die_once, str(tmp_path / "died"))
    cluster.submit("threads", scale_cases.settings_of_threads)
    done = {each.name: each for each in cluster.gather()}
    assert done["square"].result() == 9
    assert done["dies once"].result() == "alive"
    assert done["threads"].result() == (1, "1")
    with pytest.raises(WorkError, match="ValueError: 3 is not to be had"):
        done["refused"].result()


def test_no_scheduler_at_an_address__is_said():
    pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ArgumentError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1"),
    ):
        Cluster("tcp://127.0.0.1:1")


def test_a_venue__has_one_name_wherever_it_is_loaded():
    from backtest.scale.batched_sweeps import _digest

    assert _digest(made_venue()) == _digest(made_venue())
    assert _digest(made_venue()) != _digest(made_venue().with_(closing_fee="at_mark", closing_fee_rate=0.001))


def test_records__hold_no_keys_of_object_storage(tmp_path, made):
    swept(made, tmp_path / "out", storage={"aws_secret_access_key": "hidden"})
    kept = [path.read_text("utf-8") for path in (tmp_path / "out" / "shards").glob("*.json*")]
    assert len(kept) == 2
    assert not any("hidden" in text for text in kept)


def small_files(made: Case, folder: Path) -> Path:
    """Return a folder with the positions in 30 files, one of them empty."""
    (folder / "small").mkdir()
    whole = pl.concat(pl.read_parquet(path) for path in sorted(made.positions.iterdir()))
    cuts = [
        0,
        *sorted(np.random.default_rng(5).integers(0, whole.height, 28).tolist()),
        whole.height,
        whole.height,
    ]
    for number, (begin, end) in enumerate(pairwise(cuts)):
        whole[begin:end].write_parquet(folder / "small" / f"{number:03d}.parquet")
    return folder / "small"


def test_small_files__share_batches(tmp_path, made, outcomes):
    positions = small_files(made, tmp_path)
    batches = plan(str(positions), 700)
    assert [path for batch in batches for path in batch.paths] == [
        str(path) for path in sorted(positions.iterdir())
    ]
    assert 5 <= len(batches) <= 9
    assert all(batch.rows <= 700 for batch in batches)
    result = swept(made, tmp_path / "out", positions=positions, batch_rows=700)
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)
    unnamed = tmp_path / "unnamed"
    unnamed.mkdir()
    for path in sorted(positions.iterdir()):
        pl.read_parquet(path).drop("position_id").write_parquet(unnamed / path.name)
    found = sweep_batches(unnamed, made.prices, made.venue, tmp_path / "other", batch_rows=700)
    assert found.outcomes().collect()["position_id"].to_list() == list(range(3_000))


def test_small_files__that_change_are_swept_again_and_damaged_ones_named(tmp_path, made):
    positions = small_files(made, tmp_path)
    first = swept(made, tmp_path / "out", positions=positions, batch_rows=700)
    changed = sorted(positions.iterdir())[7]
    rows = pl.read_parquet(changed)
    rows.with_columns(pl.col("quantity") * 2).write_parquet(changed)
    assert swept(made, tmp_path / "out", positions=positions, batch_rows=700).swept == 1 < first.batches
    data = bytearray(rows.write_parquet(changed) or changed.read_bytes())
    data[8:200] = bytes(192)
    changed.write_bytes(data)
    with pytest.raises(
        IncompleteError, match=rf"1 of \d+ batches .*positions file \S*{changed.name} cannot be read"
    ):
        swept(made, tmp_path / "out", positions=positions, batch_rows=700)
