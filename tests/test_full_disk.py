"""A disk that is full at any write: one line, exit code 2, and nothing left, whatever the command."""

from __future__ import annotations

import contextlib
import io
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archive_server import Archive, kline_path, kline_rows, lines, serving, zipped
from bad_kinds import good_files
from test_bad_input import contents, write
from test_fetch_cli import MAY, words

from backtest.__main__ import main

GIVEN = "--bars bars.parquet --positions positions.parquet --venue venue.toml --out out"
TRADES = Path(__file__).parent.parent / "data" / "trades.json"

#: Commands that write, without those of batches, which keep what is finished.
COMMANDS = {
    "sweep": f"sweep {GIVEN}",
    "accounts": "sweep --bars bars.parquet --accounts accounts.parquet --legs legs.parquet --venue venue.toml "
    "--procedure --out out",
    "run": f"run {GIVEN}",
    "levels": f"levels {GIVEN} --formats json",
    "replay": f"replay {GIVEN} --trace 1",
    "policy": "policy grid.toml --out out",
    "check": f"check {TRADES} --out out",
}

#: Bytes that a file may have.
LIMITS = (0, 600, 3_000, 9_000, 40_000)


@contextmanager
def full_beyond(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, which is what a full disk is to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def outcome(words: list[str], folder: Path, size: int) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        full_beyond(size),
    ):
        return main(words), err.getvalue()


@pytest.fixture
def archive() -> Iterator[Archive]:
    """A month of hourly mark prices."""
    with serving() as archive:
        rows = kline_rows(MAY, 31, step=3_600_000, seed=1)
        archive.put(kline_path("monthly", "2021-05"), zipped(lines(rows)))
        yield archive


def files() -> dict[str, Any]:
    found = good_files()
    given = '[[books]]\nname = "given"\npositions = "positions.parquet"\n'
    return found | {"grid.toml": found["grid.toml"].replace(given, "").replace("count = 10", "count = 200")}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk__ends_a_command_in_one_line_and_leaves_nothing(tmp_path, name):
    write(files(), tmp_path)
    before = contents(tmp_path)
    for limit in LIMITS:
        code, err = outcome(COMMANDS[name].split(), tmp_path, limit)
        if code == 0:
            break
        assert (code, err.count("\n")) == (2, 1), err
        assert "File too large" in err
        if name == "policy" and limit == LIMITS[-1]:  # cells that are finished stay, as they do after a kill
            assert {path.name for path in (tmp_path / "out").iterdir()} == {"cells"}
            assert not list(tmp_path.rglob(".*"))
        else:
            assert contents(tmp_path) == before
    assert limit > 0


def test_a_full_disk__in_the_middle_of_a_grid_keeps_its_finished_cells(tmp_path):
    write(files(), tmp_path)
    words = COMMANDS["policy"].split()
    assert outcome(words, tmp_path, LIMITS[-1])[0] == 2
    kept = contents(tmp_path / "out" / "cells")
    assert outcome(words, tmp_path, resource.RLIM_INFINITY)[0] == 0
    after = contents(tmp_path / "out" / "cells")
    assert len(kept) > 3
    assert {path: after[path] for path in kept} == kept


@pytest.mark.parametrize("limit", LIMITS)
def test_a_full_disk__ends_a_fetch_in_one_line_and_the_next_fetch_is_whole(archive, tmp_path, limit):
    given = words(archive, Path("data"))
    given.insert(2, "mark")
    code, err = outcome(given, tmp_path, limit)
    if code:
        assert (code, err.count("\n")) == (2, 1), err
        assert "File too large" in err
    assert not list(tmp_path.rglob(".*.partial"))
    assert outcome(given, tmp_path, resource.RLIM_INFINITY) == (0, "")
    got = {path.name for path in tmp_path.rglob("*.parquet")}
    assert got == {"2021-05.parquet"}
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk__under_what_is_printed_is_one_line(tmp_path):
    words = [sys.executable, "-m", "backtest", "venues"]
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
    assert "No space left on device" in run.stderr
