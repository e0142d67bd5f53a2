"""Results are of the inputs and of the code that a run is given, not of others that look alike."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from object_store import object_store
from polars.testing import assert_frame_equal
from scale_cases import Case, case

from backtest import Book, sweep
from backtest.__main__ import main
from backtest.errors import ArgumentError, IncompleteError
from backtest.market.sources import Settings
from backtest.scale import Prices, batched_sweeps, inputs
from backtest.scale import sweep as sweep_batches


@pytest.fixture
def made(tmp_path: Path) -> Case:
    return case(tmp_path / "made", count=60)


def swept(made: Case, out: Path, **settings):
    return sweep_batches(made.positions, made.prices, made.venue, out, batch_rows=10, **settings)


def rewritten(path: Path, *changes: pl.Expr) -> None:
    """Write another file of the same size and time of the last change, as rsync -t and cp -p leave it."""
    frame = pl.read_parquet(path)
    plain = {"compression": "uncompressed", "statistics": False, "use_pyarrow": False}
    frame.write_parquet(path, **plain)
    before = path.stat()
    other = path.with_name("other")
    frame.with_columns(changes).write_parquet(other, **plain)
    assert other.stat().st_size == before.st_size
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copy2(other, path)
    other.unlink()
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


DOUBLED = pl.col("quantity") * 2


def test_positions_of_the_same_size_and_time__are_swept_again(tmp_path, made):
    rewritten(made.positions / "1.parquet")
    swept(made, tmp_path / "out")
    rewritten(made.positions / "1.parquet", DOUBLED)
    again = swept(made, tmp_path / "out")
    assert again.swept == 2
    book = Book(pl.read_parquet(made.positions / "*.parquet"))
    assert_frame_equal(again.outcomes().collect(), sweep(book, made.market, made.venue), check_exact=True)


def test_bars_of_the_same_size_and_time__are_another_job(tmp_path, made):
    rewritten(made.folder / "bars.parquet")
    swept(made, tmp_path / "out")
    rewritten(made.folder / "bars.parquet", pl.col("open", "high", "low", "close") * 2)
    with pytest.raises(ArgumentError, match="another job"):
        swept(made, tmp_path / "out")


def test_a_copied_file__is_the_same(tmp_path, made):
    swept(made, tmp_path / "out")
    for path in (made.positions / "1.parquet", made.folder / "bars.parquet"):
        path.write_bytes(path.read_bytes())
    assert swept(made, tmp_path / "out").swept == 0


def test_objects_written_over__are_swept_again(tmp_path, made):
    with object_store(tmp_path) as storage:
        prices = Prices("s3://made/bars.parquet", "s3://made/funding.parquet", storage=storage)

        def remote():
            source = "s3://made/positions/*.parquet"
            return sweep_batches(source, prices, made.venue, tmp_path / "out", batch_rows=20, storage=storage)

        assert remote().swept == 3
        assert remote().swept == 0
        path = made.positions / "1.parquet"
        pl.read_parquet(path).with_columns(DOUBLED).write_parquet(path)
        again = remote()
        assert again.swept == 1
        book = Book(pl.read_parquet(made.positions / "*.parquet"))
        assert_frame_equal(again.outcomes().collect(), sweep(book, made.market, made.venue), check_exact=True)
        bars = made.folder / "bars.parquet"
        pl.read_parquet(bars).with_columns(pl.col("open", "high", "low", "close") * 2).write_parquet(bars)
        with pytest.raises(ArgumentError, match="another job"):
            remote()


@pytest.mark.parametrize("file", ["positions/1.parquet", "bars.parquet"])
def test_a_worker_that_sees_another_file__refuses(tmp_path, made, file):
    def change(progress):
        if progress.finished == 0 and not progress.failed:
            rewritten(made.folder / file, DOUBLED if file.startswith("positions") else pl.col("open", "high") * 2)

    path = made.folder / file
    pl.read_parquet(path).write_parquet(path, compression="uncompressed", statistics=False)
    with pytest.raises(IncompleteError, match=r"it is not the file of [\d,]+ bytes that the driver sees") as error:
        swept(made, tmp_path / "out", report=change)
    assert len(error.value.failed) == (2 if file.startswith("positions") else 6)


def test_a_file_elsewhere__is_compared_by_its_content(made):
    path = str(made.positions / "1.parquet")
    found = inputs.identity_of(path)
    elsewhere = inputs.Identity(found.size, found.sha256, ("another machine",))
    inputs.require_same(path, elsewhere, "positions")
    with pytest.raises(inputs.DataError, match=r"has the SHA-256 .*, the driver's 0000"):
        inputs.require_same(path, inputs.Identity(found.size, "0" * 64, ()), "positions")
    with pytest.raises(inputs.DataError, match="is absent"):
        inputs.require_same(path + "x", elsewhere, "positions")


def test_other_code__is_another_job_and_no_worker(tmp_path, made, monkeypatch):
    swept(made, tmp_path / "out")
    monkeypatch.setattr(batched_sweeps, "code_digest", lambda: "of another version")
    with pytest.raises(ArgumentError, match="another job"):
        swept(made, tmp_path / "out")
    with pytest.raises(IncompleteError, match="runs other code of this package than the driver"):
        swept(made, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--out", "s3://bucket/out"],
        ["sweep", "--out", "gs://bucket/out"],
        ["replay", "--out", "s3://bucket/out"],
        ["levels", "--out", "file:///tmp/out"],
        ["policy", "grid.toml", "--out", "https://host/out"],
        ["fetch", "binance", "mark", "--out", "s3://bucket/out"],
        ["fetch", "binance", "mark", "--folder", "s3://bucket/data"],
    ],
)
def test_addresses__are_no_folders_to_write_to(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert "must be a folder of this machine, is the address" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_addresses_in_python__are_no_folders_to_write_to(tmp_path, made):
    with pytest.raises(ArgumentError, match="folder must be a folder of this machine, is the address 's3:/"):
        swept(made, Path("s3://bucket/out"))
    with pytest.raises(ArgumentError, match="folder must be a folder of this machine"):
        Settings(folder=Path("s3://bucket/data"))
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]


def test_relative_paths__are_the_drivers(tmp_path, made, monkeypatch):
    monkeypatch.chdir(made.folder)

    def move(_):
        monkeypatch.chdir(tmp_path)

    result = sweep_batches("positions", Prices("bars.parquet", "funding.parquet"), made.venue, "out", report=move)
    assert result.folder == made.folder / "out"
    assert result.rows == 60
