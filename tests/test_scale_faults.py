"""What goes wrong in a long run: killed workers and drivers, damaged files, a full disk, two drivers at once."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
from object_store import object_store
from polars.testing import assert_frame_equal
from scale_cases import Case, case

from backtest import Venue, sweep
from backtest.__main__ import INCOMPLETE, REFUSED, main
from backtest.errors import ArgumentError, DataError, IncompleteError
from backtest.scale import Cluster, Prices, Processes, Progress, Serial
from backtest.scale import sweep as sweep_batches
from backtest.scale.executors import MEMORY, Done, LostError
from backtest.scale.manifest import opened
from backtest.study.levels.grid import level_grid
from backtest.study.levels.levels import levels_of

VENUE = """\
name = "made"
title = "Made"
settlement = "USDT"
[rules]
basis = "mark"
[default]
like = "BTCUSDT"
[contracts.BTCUSDT]
[[contracts.BTCUSDT.tables]]
name = "always"
rows = [
  { floor = 0, rate = 0.005, max_leverage = 50 },
  { floor = 5_000, rate = 0.01, max_leverage = 50 },
  { floor = 50_000, rate = 0.02, max_leverage = 50 },
]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def outcomes(made: Case) -> pl.DataFrame:
    return sweep(made.book, made.market, made.venue)


def swept(made: Case, folder: Path, positions: Path | None = None, **settings):
    source = positions or made.positions
    return sweep_batches(
        source, made.prices, made.venue, folder, adjustments=made.adjustments, batch_rows=250, **settings
    )


def words(made: Case, out: Path, *more: str) -> list[str]:
    venue = made.folder / "venue.toml"
    venue.write_text(VENUE)
    given = {"bars": "bars.parquet", "funding": "funding.parquet", "positions": "positions"}
    files = [word for name, file in given.items() for word in (f"--{name}", str(made.folder / file))]
    return [
        "sweep",
        *files,
        "--adjustments",
        str(made.adjustments),
        "--venue",
        str(venue),
        "--out",
        str(out),
        *more,
    ]


def left(folder: Path) -> list[str]:
    """Return what was begun and not finished."""
    return [str(path) for path in folder.rglob("*") if ".partial" in path.name or ".drafts" in str(path)]


def test_a_killed_worker__costs_no_result(tmp_path, made, outcomes):
    with closing(Processes(2)) as executor:
        killed: list[int] = []

        def kill(progress: Progress) -> None:
            if progress.finished == 3 and not killed:
                killed.append(executor.pids[0])
                os.kill(executor.pids[0], signal.SIGKILL)

        result = swept(made, tmp_path / "out", executor=executor, report=kill)
    assert killed
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)
    assert left(tmp_path) == []


def test_a_killed_driver__is_taken_up_where_it_stood(tmp_path, made, outcomes):
    """The driver kills itself, workers and all unsaid, after four of twelve batches."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from scale_cases import made_venue\n"
        "from backtest.scale import Prices, Processes, sweep\n"
        "made, out = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "def kill(progress):\n"
        "    if progress.finished == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    prices = Prices(str(made / 'bars.parquet'), str(made / 'funding.parquet'))\n"
        "    sweep(made / 'positions', prices, made_venue(), out, adjustments=made / 'adjustments.parquet',\n"
        "          batch_rows=250, executor=Processes(2), report=kill)\n"
    )
    path = tmp_path / "driver.py"
    path.write_text(script)
    here = str(Path(__file__).parent)
    run = subprocess.run([sys.executable, path, made.folder, tmp_path / "out", here], capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert not (tmp_path / "out" / "flow.parquet").exists()
    time.sleep(0.5)  # its workers end when they next look for it
    told: list[Progress] = []
    result = swept(made, tmp_path / "out", report=told.append)
    assert told[0].finished == 4
    assert result.swept == 8
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)
    assert left(tmp_path) == []


def test_a_finished_run__is_not_done_again_unless_a_file_of_it_changed(tmp_path, made, outcomes):
    assert swept(made, tmp_path / "out").swept == 12
    assert swept(made, tmp_path / "out").swept == 0
    one, other, third = sorted((tmp_path / "out" / "outcomes").glob("*"))[:3]
    one.write_bytes(one.read_bytes()[:-1])
    other.unlink()
    data = bytearray(third.read_bytes())
    data[len(data) // 2] ^= 1
    third.write_bytes(data)
    result = swept(made, tmp_path / "out")
    assert result.swept == 3
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)


def test_another_run__is_refused_in_the_same_folder(tmp_path, made):
    swept(made, tmp_path / "out")
    with pytest.raises(ArgumentError, match="finished parts of another job"):
        swept(made, tmp_path / "out", intrabar="optimistic")


def test_a_damaged_file__is_named_and_the_others_complete_until_it_is_mended(tmp_path, made, outcomes):
    shutil.copytree(made.positions, tmp_path / "positions")
    bad = tmp_path / "positions" / "1.parquet"
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(IncompleteError, match=r"1 of 9 batches could not be swept.*1.parquet") as raised:
        swept(made, tmp_path / "out", tmp_path / "positions")
    assert list(raised.value.failed) == ["00001-00000"]
    done = pl.concat([outcomes[:1000], outcomes[2000:]])
    assert_frame_equal(pl.read_parquet(tmp_path / "out" / "outcomes"), done, check_exact=True)
    assert not (tmp_path / "out" / "flow.parquet").exists()  # sums that lack a file would be believed
    shutil.copy(made.positions / "1.parquet", bad)
    result = swept(made, tmp_path / "out", tmp_path / "positions")
    assert result.swept == 4
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)


def test_damage_inside_a_file__names_the_rows(tmp_path, made):
    shutil.copytree(made.positions, tmp_path / "positions")
    bad = tmp_path / "positions" / "2.parquet"
    data = bytearray(bad.read_bytes())
    data[20:400] = bytes(380)
    bad.write_bytes(data)
    with pytest.raises(IncompleteError, match=r"2.parquet, rows 0 to 250: .*cannot be read as Parquet"):
        swept(made, tmp_path / "out", tmp_path / "positions")


def test_refused_positions__are_named_by_their_batch_and_the_others_complete(tmp_path, made):
    shutil.copytree(made.positions, tmp_path / "positions")
    file = tmp_path / "positions" / "0.parquet"
    wrong = pl.when(pl.int_range(pl.len()) == 300).then(-1.0).otherwise(pl.col("quantity"))
    pl.read_parquet(file).with_columns(quantity=wrong).write_parquet(file)
    with pytest.raises(
        IncompleteError, match=r"0.parquet, rows 250 to 500: positions: quantity must be above zero"
    ):
        sweep_batches(tmp_path / "positions", made.prices, made.venue, tmp_path / "out", batch_rows=250)
    assert len(list((tmp_path / "out" / "outcomes").glob("*.parquet"))) == 11


def test_the_command__ends_with_3_and_one_line_where_a_file_is_damaged(tmp_path, made, capsys):
    shutil.copytree(made.folder, tmp_path / "made")
    copy = Case(tmp_path / "made", made.book, made.market, made.venue)
    bad = copy.positions / "0.parquet"
    bad.write_bytes(b"PAR1")
    assert main(words(copy, tmp_path / "out", "--batch-rows", "500")) == INCOMPLETE
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "1 of 5 batches could not be swept, the others are finished and stay" in printed.err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_the_command__in_batches_prints_and_writes_what_it_does_in_memory(tmp_path, made, capsys):
    assert main(words(made, tmp_path / "batches", "--batch-rows", "700", "--workers", "2")) == 0
    ours = capsys.readouterr().out
    whole = tmp_path / "whole.parquet"
    pl.read_parquet(made.positions).write_parquet(whole)
    at = words(made, tmp_path / "memory")
    at[at.index("--positions") + 1] = str(whole)
    assert main(at) == 0
    theirs = capsys.readouterr().out
    assert ours.split("\n\n")[:2] == theirs.split("\n\n")[:2]
    one, other = (json.loads((tmp_path / kind / "summary.json").read_text()) for kind in ("batches", "memory"))
    line = next(line for line in theirs.splitlines() if line.startswith("gaps"))
    assert line.split() in [told.split() for told in ours.splitlines()]
    for name in ("outcomes", "totals", "tiers", "gaps"):
        assert one[name] == other[name]
    frames = (
        pl.read_parquet(tmp_path / "batches" / "outcomes"),
        pl.read_parquet(tmp_path / "memory/outcomes.parquet"),
    )
    assert_frame_equal(*frames, check_exact=True)


def test_the_command__in_batches_tells_columns_that_may_be_misspelt(tmp_path, made, capsys):
    given = tmp_path / "given.parquet"
    pl.read_parquet(made.positions).rename({"take_profit_price": "take_proft_price"}).write_parquet(given)
    at = words(made, tmp_path / "out", "--batch-rows", "700")
    at[at.index("--positions") + 1] = str(given)
    assert main(at) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "column take_proft_price is carried along unread: is it take_profit_price?" in printed


def test_the_command__adds_up_levels_of_the_symbols_asked_for(tmp_path, made, capsys):
    more = ("--batch-rows", "450", "--levels", "SOLUSDT", "--levels", "BTCUSDT", "--levels", "SOLUSDT")
    assert main(words(made, tmp_path / "out", *more)) == 0
    assert "levels_SOLUSDT.parquet" in capsys.readouterr().out
    venue = Venue.load(made.folder / "venue.toml")
    for symbol in ("SOLUSDT", "BTCUSDT"):
        grid = level_grid(made.market, symbol)
        expected = levels_of(made.book, made.market, venue, grid).to_frame()
        found = pl.read_parquet(tmp_path / "out" / f"levels_{symbol}.parquet")
        assert_frame_equal(found, expected, check_exact=True)


def test_the_command__refuses_levels_of_unknown_symbols(tmp_path, made, capsys):
    assert main(words(made, tmp_path / "out", "--levels", "XRPUSDT")) == REFUSED
    told = "--levels must name symbols of the bars (BTCUSDT, ETHUSDT, SOLUSDT): XRPUSDT is not in them"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_full_disk__is_said_and_leaves_nothing_half_written(tmp_path, made, outcomes):
    """Files may not grow beyond a limit for a while, which is what a full disk is to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(
            IncompleteError, match=r"results cannot be written: .*outcomes/.*: File too large; 0 of 12"
        ):
            swept(made, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(tmp_path) == []
    assert [str(path) for path in (tmp_path / "out" / "outcomes").glob("*")] == []
    assert_frame_equal(swept(made, tmp_path / "out").outcomes().collect(), outcomes, check_exact=True)


def test_a_disk_that_fills_up__keeps_what_is_finished(tmp_path, made, outcomes):
    """Each file is small enough; the driver's account of them is what no longer fits."""
    full = OSError(28, "No space left on device", str(tmp_path / "out"))

    class Full(Serial):
        def gather(self):
            for number, done in enumerate(super().gather()):
                yield done if number < 5 else type(done)(done.name, error=full)

    with pytest.raises(IncompleteError, match=r"No space left on device; 5 of 12 batches are finished and stay"):
        swept(made, tmp_path / "out", executor=Full())
    result = swept(made, tmp_path / "out")
    assert result.swept == 7
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)


def test_a_second_driver__is_refused(tmp_path, made, capsys):
    words_of_it = words(made, tmp_path / "out", "--batch-rows", "500")
    with opened(tmp_path / "out" / "shards", {"any": "job"}):
        assert main(words_of_it) == REFUSED
        assert "by another process" in capsys.readouterr().err


def test_storage_options__of_polars_itself_are_numbers(tmp_path, made):
    with object_store(made.folder.parent) as storage:
        bars = f"s3://{made.folder.name}/bars.parquet"
        prices = Prices(bars, storage=storage | {"max_retries": "0", "retry_timeout_ms": "1000"})
        assert prices.known == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    for wrong, said in (
        ({"aws_regoin": "x"}, "did you mean aws_region"),
        ({"max_retries": "-1"}, "a number from 0"),
    ):
        with pytest.raises(ArgumentError, match=said):
            Prices(bars, storage=wrong)
        with pytest.raises(ArgumentError, match=said):
            sweep_batches(str(made.positions), made.prices, made.venue, tmp_path, storage=wrong)


@pytest.mark.parametrize("source", ["positions/0.parquet", "positions/*.parquet"])
def test_object_storage__is_read_by_polars_itself(tmp_path, made, source):
    with object_store(made.folder.parent) as storage:
        bucket = f"s3://{made.folder.name}"
        prices = Prices(f"{bucket}/bars.parquet", f"{bucket}/funding.parquet", storage=storage)
        result = sweep_batches(
            f"{bucket}/{source}", prices, made.venue, tmp_path / "out", batch_rows=400, storage=storage
        )
    rows = 1_000 if source.endswith("0.parquet") else 3_000
    without = sweep(type(made.book)(made.book.positions[:rows]), made.market, made.venue)
    assert_frame_equal(result.outcomes().collect(), without, check_exact=True)


@contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a scheduler and a worker as programs of their own; yield the address and the scheduler."""
    file, quiet = folder / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    starts = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1"]
    scheduler = subprocess.Popen([*starts, "--scheduler-file", str(file), "--no-dashboard"], **quiet)
    started = [scheduler]
    try:
        while not (file.exists() and file.read_text().rstrip().endswith("}")):
            assert scheduler.poll() is None
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
        started.append(subprocess.Popen([*worker, "--no-dashboard"], **quiet))
        yield address, scheduler
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_killed_scheduler__is_one_line_and_costs_no_finished_batch(tmp_path, made, outcomes, capfd):
    with dask_cluster(tmp_path) as (address, scheduler):

        def kill(progress: Progress) -> None:
            if progress.finished:
                scheduler.kill()

        said = (
            r"the scheduler at tcp://127\.0\.0\.1:\d+ no longer answers; \d+ of 12 batches are finished and stay"
        )
        with pytest.raises(IncompleteError, match=said):
            swept(made, tmp_path / "out", executor=Cluster(address), report=kill)
    assert capfd.readouterr().err == ""
    result = swept(made, tmp_path / "out")
    assert result.swept < 12
    assert_frame_equal(result.outcomes().collect(), outcomes, check_exact=True)


def test_workers_that_die_over_a_batch__are_told_as_out_of_memory_with_the_way_out(tmp_path, made):
    gone = f"3 workers died over it, the last with signal 9, {MEMORY}"

    class Deadly(Serial):
        def gather(self):
            for number, done in enumerate(super().gather()):
                yield Done(done.name, error=LostError(gone)) if number == 4 else done

    with pytest.raises(IncompleteError, match=r"signal 9, as where its memory runs out \(batch_rows='125'\)"):
        swept(made, tmp_path / "out", executor=Deadly())
    with closing(Processes(1, retries=0, prepare=None)) as executor:
        executor.submit("a", signal.raise_signal, signal.SIGKILL)
        (done,) = executor.gather()
    assert str(done.error) == f"1 workers died over it, the last with signal 9, {MEMORY}"


def test_a_missing_object__is_no_such_file(made):
    said = r"bars file s3://.*/nowhere\.parquet cannot be read as Parquet: there is no such file"
    with object_store(made.folder.parent) as storage, pytest.raises(DataError, match=said):
        print(Prices(f"s3://{made.folder.name}/nowhere.parquet", storage=storage).known)


def test_a_folder_of_another_job__says_what_differs(tmp_path, made):
    swept(made, tmp_path / "out")
    with pytest.raises(ArgumentError, match=r"of another job \(other conventions\.intrabar, every\): choose"):
        swept(made, tmp_path / "out", every="1d", intrabar="optimistic")
    bars = tmp_path / "bars.parquet"
    made.market.bars.with_columns(pl.col("close") * 1.0).write_parquet(bars, compression="lz4")
    with pytest.raises(ArgumentError, match=r"\(other files\..*bars\.parquet"):
        sweep_batches(made.positions, Prices(str(bars)), made.venue, tmp_path / "out", batch_rows=250)


def test_the_command__hints_at_batches_and_records_its_inputs(tmp_path, made, capsys):
    at = words(made, tmp_path / "out")
    at[at.index("--positions") + 1] = str(made.positions / "*.parquet")
    assert main(at) == REFUSED
    assert "is a pattern: add --batch-rows N to sweep the files it fits in batches" in capsys.readouterr().err
    assert main([*at, "--batch-rows", "700"]) == 0
    inputs = json.loads((tmp_path / "out" / "summary.json").read_text())["inputs"]
    files = [
        made.folder / "bars.parquet",
        made.adjustments,
        *sorted(made.positions.iterdir()),
        made.folder / "venue.toml",
    ]
    for file in files:
        assert inputs[str(file)] == sha256(file.read_bytes()).hexdigest()
