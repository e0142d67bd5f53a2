"""An output folder holds the files of one run, or none: whenever a run is killed, and however many run at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from bad_kinds import SWEEP, good_files
from test_bad_input import write as write_files

from backtest.__main__ import main
from backtest.cli.common.outputs import LOCK, held, outputs
from backtest.cli.parser import build_parser
from backtest.errors import ArgumentError

SMALL = "run --count 200 --symbol BTCUSDT --from 2021-05-19 --until 2021-05-20"


class Killed(BaseException):
    """The process has been killed: nothing after it happens any more."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch):
    """Let so many changes of the folders happen, renames and removals, and none after them."""
    done: list[str] = []

    def counted(happens):
        def change(*given, **named):
            if len(done) >= step:
                raise Killed
            done.append(str(given[0]))
            return happens(*given, **named)

        return change

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        yield done


def write(folder: Path, content: str, names: tuple[str, ...] = ("a.txt", "b.txt", "c.txt")) -> None:
    with held(folder), outputs(folder) as files:
        for name in names:
            files.path(name).write_text(content)
        files.write_summary({"content": content})


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file() and path.name != LOCK}


def test_a_kill__between_any_two_changes_leaves_one_whole_result_or_none(tmp_path, monkeypatch):
    whole = {}
    for run in ("old", "new"):
        write(tmp_path / run, run)
        whole[run] = content(tmp_path / run)
    ends = set()
    for step in range(20):
        folder = tmp_path / str(step)
        write(folder, "old")
        try:
            with killed_at(step, monkeypatch):
                write(folder, "new")
            ends.add("finished")
            break
        except Killed:
            found = content(folder)
            if "summary.json" in found:
                ends.add(json.loads(found["summary.json"])["content"])
                assert found == whole[json.loads(found["summary.json"])["content"]]
            else:
                ends.add("none")
        write(folder, "new")
        assert content(folder) == whole["new"]
        assert sorted(path.name for path in folder.iterdir()) == sorted([LOCK, *whole["new"]])
    assert ends == {"old", "none", "new", "finished"}


def test_a_kill__of_a_command_leaves_one_whole_result_or_none(tmp_path, monkeypatch):
    seeds = {}
    for seed in ("1", "2"):
        assert main([*SMALL.split(), "--seed", seed, "--out", str(tmp_path / seed)]) == 0
        seeds[seed] = (tmp_path / seed / "outcomes.parquet").read_bytes()
    folder = tmp_path / "out"
    for step in range(20):
        if (folder / LOCK).exists():
            shutil.rmtree(folder)
        shutil.copytree(tmp_path / "1", folder)
        try:
            with killed_at(step, monkeypatch):
                assert main([*SMALL.split(), "--seed", "2", "--out", str(folder)]) == 0
            break
        except Killed:
            if (folder / "summary.json").exists():
                seed = json.loads((folder / "summary.json").read_text())["book"]["seed"]
                assert (folder / "outcomes.parquet").read_bytes() == seeds[str(seed)]
    assert step >= 6
    assert not list(folder.glob(".partial-*"))


@pytest.mark.parametrize("first", range(3))
def test_a_kill__of_a_run_in_batches_loses_nothing_and_mixes_nothing(tmp_path, monkeypatch, first):
    """At every sixth change, from each of three beginnings: the same command again completes what is there."""
    write_files(good_files(), tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [*SWEEP.split(), "--batch-rows", "2"]
    assert main([*words, "--out", "whole"]) == 0
    whole = batched(tmp_path / "whole")
    for step in range(2 * first, 400, 6):
        out = f"out{step}"
        try:
            with killed_at(step, monkeypatch):
                main([*words, "--out", out])
            break
        except Killed:
            if (tmp_path / out / "summary.json").exists():
                assert batched(tmp_path / out) == whole
        assert main([*words, "--out", out]) == 0
        assert batched(tmp_path / out) == whole
        assert not [path for path in (tmp_path / out).rglob(".*") if path.name != LOCK]
    assert 20 < step < 399


def batched(folder: Path) -> dict[str, bytes]:
    """Return the results of a run in batches."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_what_a_killed_run_left__is_removed_by_the_next(tmp_path):
    tempfile.mkdtemp(prefix=".partial-", dir=tmp_path)
    write(tmp_path, "new")
    assert not list(tmp_path.glob(".partial-*"))


def test_a_run__into_a_folder_that_another_holds_is_refused_before_any_work(tmp_path, capsys):
    out = tmp_path / "out"
    with held(out):
        (out / ".partial-theirs").mkdir()
        assert main([*SMALL.split(), "--out", str(out)]) == 2
        said = f"--out {out} is in use by another process: wait for it to end, or name another folder"
        assert capsys.readouterr().err == f"backtest: error: {said}\n"
        assert (out / ".partial-theirs").exists()
    assert main([*SMALL.split(), "--out", str(out)]) == 0


def test_outputs__leave_nothing_behind_when_one_of_them_fails(tmp_path):
    def write_and_fail() -> None:
        out = tmp_path / "deep" / "out"
        with held(out), outputs(out) as files:
            files.path("whole.txt").write_text("whole")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_outputs__keep_what_was_there_when_they_fail(tmp_path):
    (tmp_path / "result.txt").write_text("before")

    def write_and_fail() -> None:
        with held(tmp_path), outputs(tmp_path) as files:
            files.path("result.txt").write_text("after")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]
    assert (tmp_path / "result.txt").read_text() == "before"


def test_outputs__pass_on_errors_that_are_not_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError), held(tmp_path), outputs(tmp_path):
        (tmp_path / "nowhere").read_text()
    with pytest.raises(pl.exceptions.ColumnNotFoundError), held(tmp_path), outputs(tmp_path):
        pl.DataFrame().select("a")


SLOW = """
import sys, time
from backtest.cli.common import outputs
from backtest.__main__ import main
from backtest.cli.run import command
def slow(options):
    with outputs.outputs(options.out) as files:
        files.path("half.txt").write_text("half")
        print("ready", flush=True)
        time.sleep(60)
command.run = slow
sys.exit(main(["run", "--out", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_ends_a_run__leaves_nothing(tmp_path, number):
    words = [sys.executable, "-c", SLOW, str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_the_caller_ignores__stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["venues"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_two_holders__of_a_folder_are_refused(tmp_path):
    with held(tmp_path), pytest.raises(ArgumentError, match="in use by another process"), held(tmp_path):
        pass


def test_out__is_a_folder_of_its_own_for_each_command_unless_named():
    parser = build_parser()
    words = {
        "check": "trades.csv",
        "policy": "grid.toml",
        "sweep": "--bars bars.parquet --positions book.parquet --venue binance",
        **dict.fromkeys(("levels", "replay", "run"), ""),
    }
    for command, rest in words.items():
        assert parser.parse_args([command, *rest.split()]).out == Path("out", command)
        assert parser.parse_args([command, *rest.split(), "--out", "mine"]).out == Path("mine")
    required = [name for name, own in parser.commands.items() if "out" in {each.dest for each in own._actions}]
    assert sorted([*words, "fetch"]) == sorted(required)  # fetch writes to --out alone


def test_out__of_one_command_leaves_those_of_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in ("run", "replay"):
        assert main([command, "--count", "200", "--symbol", "BTCUSDT"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {"run", "replay"}
    assert f"out{os.sep}run{os.sep}outcomes.parquet" in capsys.readouterr().out
