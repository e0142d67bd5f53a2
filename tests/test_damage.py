"""Damaged Parquet: one line that names the file, and nothing of what polars' threads print as they panic."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from archive_server import kline_path, kline_rows, lines, serving, zipped
from bad_kinds import SWEEP, as_parquet, bars, good_files
from test_bad_input import contents, run, write

from backtest.errors import DataError
from backtest.market import load, panics
from backtest.market.sources import archives, store
from backtest.market.sources.reader import READERS

RANGES = as_parquet(bars())


def beyond_the_file() -> bytes:
    """Return Parquet whose footer names a column that reaches beyond the end: polars panics over it."""
    for place in range(len(RANGES) - 8, 0, -1):
        damaged = bytearray(RANGES)
        damaged[place] |= 0x7F
        if panicked(bytes(damaged)):
            return bytes(damaged)
    raise AssertionError


def panicked(data: bytes) -> bool:
    try:
        with panics.quiet():
            pl.read_parquet(data)
    except pl.exceptions.PanicException:
        return True
    except (pl.exceptions.PolarsError, OSError):
        return False
    return False


@pytest.mark.parametrize("more", ["", " --batch-rows 2", " --levels BTCUSDT"])
@pytest.mark.parametrize("kind", ["panics", "cut short", "overwritten"])
def test_damaged_bars__are_one_line_on_the_error_stream(tmp_path, capfd, kind, more):
    whole = RANGES
    damage = {"cut short": whole[: len(whole) // 2], "overwritten": whole[:100] + bytes(200) + whole[300:]}
    write(good_files() | {"bars.parquet": damage.get(kind) or beyond_the_file()}, tmp_path)
    before = contents(tmp_path)
    code, out, err = run(SWEEP + more, tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "bars file" in err
    assert "bars.parquet cannot be read as Parquet: " in err
    assert contents(tmp_path) == before
    assert capfd.readouterr().err == ""


def test_damaged_positions__in_batches_are_one_line_and_leave_the_other_batches(tmp_path, capfd):
    files = good_files()
    write(files, tmp_path)
    (tmp_path / "positions").mkdir()
    for number in range(2):
        files["positions.parquet"].with_columns(pl.col("position_id") + 10 * number).write_parquet(
            tmp_path / "positions" / f"{number}.parquet"
        )
    whole = (tmp_path / "positions" / "1.parquet").read_bytes()
    (tmp_path / "positions" / "1.parquet").write_bytes(whole[:40] + bytes(200) + whole[240:])
    words = SWEEP.replace("positions.parquet", "positions") + " --batch-rows 2"
    code, _, err = run(words, tmp_path)
    assert (code, err.count("\n")) == (3, 1), err
    assert "positions file" in err
    assert "1.parquet cannot be read as Parquet: " in err
    assert len(list((tmp_path / "out" / "outcomes").iterdir())) == 2
    assert not (tmp_path / "out" / "summary.json").exists()
    assert capfd.readouterr().err == ""


def test_quiet__prints_afterwards_what_others_wrote_meanwhile(capfd):
    inside, written = threading.Event(), threading.Event()

    def other() -> None:
        with panics.quiet():
            inside.set()
            written.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with panics.quiet():
        os.write(2, b"kept\n")
    written.set()
    thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "kept\nafter\n"


def test_quiet__drops_what_was_written_where_reading_fails(capfd):

    def read() -> None:
        with panics.quiet():
            os.write(2, b"a stack\n")
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        read()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_quiet__does_without_an_error_stream():
    code = "import os; os.close(2)\nfrom backtest.market import panics\nwith panics.quiet(): print('read')"
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout == "read\n"


def test_stored_rows__that_are_damaged_are_refused_by_name(tmp_path):
    series = archives.series("binance", "mark", "BTCUSDT", "1h")
    moment = datetime(2021, 5, 1, tzinfo=UTC)
    times = pl.Series([moment + timedelta(hours=n) for n in range(3)], dtype=pl.Datetime("ms", "UTC"))
    rows = pl.DataFrame({"symbol": "BTCUSDT", "time": times, "close": 1.0})
    store.extend(tmp_path, series, rows)
    (part,) = tmp_path.rglob("recent.parquet")
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"recent.parquet cannot be read .*: remove and fetch them again"):
        store.extend(tmp_path, series, rows)


def test_a_download__that_cannot_be_used_is_removed_whatever_the_reason(tmp_path, monkeypatch):
    def breaks(*_):
        raise RuntimeError("not foreseen")

    span = ("2021-05-01", "2021-06-01")
    with serving() as archive:
        archive.put(
            kline_path("monthly", "2021-05"), zipped(lines(kline_rows(date(2021, 5, 1), 31, step=3_600_000)))
        )
        given = {"interval": "1h", "also": (), "folder": tmp_path, "hosts": archive.hosts}
        with monkeypatch.context() as patch:
            patch.setitem(READERS, "mark_klines", breaks)
            with pytest.raises(RuntimeError):
                load("binance", "BTCUSDT", *span, **given)
        assert not list(tmp_path.rglob("*.partial"))
        assert load("binance", "BTCUSDT", *span, **given).bars.height == 31 * 24
