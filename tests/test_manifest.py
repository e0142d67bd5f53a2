"""The manifest: nothing finished is lost or done again, whenever a job is killed, and nobody works beside it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backtest.errors import ArgumentError
from backtest.scale.manifest import LOCK, MANIFEST, opened

JOB = {"settings": [1, 2], "version": "1"}


def written(text: str):
    return lambda path: path.write_text(text)


def test_finished_shards__are_found_again(tmp_path: Path) -> None:
    with opened(tmp_path / "job", JOB, suffix=".txt") as manifest:
        assert len(manifest) == 0
        path = manifest.finish("a / 1", written("one"))
        assert path.suffix == ".txt"
        manifest.finish("b", written("two"))
        with pytest.raises(ArgumentError, match="is finished already"):
            manifest.finish("b", written("three"))
    with opened(tmp_path / "job", JOB, suffix=".txt") as manifest:
        assert len(manifest) == 2
        assert "a / 1" in manifest
        assert "c" not in manifest
        assert manifest.file("a / 1").read_text() == "one"


def test_a_shard_that_fails__leaves_no_file_of_it(tmp_path: Path) -> None:
    def breaks(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), opened(tmp_path, JOB) as manifest:
        manifest.finish("a", breaks)
    with opened(tmp_path, JOB) as manifest:
        assert "a" not in manifest
        assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, MANIFEST]


def test_a_job_that_finishes_nothing__leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), opened(tmp_path / "a" / "b", JOB):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with contextlib.suppress(RuntimeError), opened(tmp_path / "a" / "b", JOB) as manifest:
        manifest.finish("a", written("one"))
        raise RuntimeError
    assert (tmp_path / "a" / "b" / MANIFEST).exists()


def test_a_file_that_changed_or_vanished__is_not_finished(tmp_path: Path) -> None:
    with opened(tmp_path, JOB) as manifest:
        first, second = manifest.finish("a", written("one")), manifest.finish("b", written("two"))
        manifest.finish("c", written("three"))
    first.write_text("other")
    second.unlink()
    with opened(tmp_path, JOB) as manifest:
        assert [shard in manifest for shard in "abc"] == [False, False, True]
        manifest.finish("a", written("one"))
    with opened(tmp_path, JOB) as manifest:
        assert [shard in manifest for shard in "abc"] == [True, False, True]


@pytest.mark.parametrize("kept", range(0, 200, 7))
def test_a_manifest_cut_anywhere__is_taken_up(tmp_path: Path, kept: int) -> None:
    with opened(tmp_path, JOB) as manifest:
        manifest.finish("a", written("one"))
        manifest.finish("b", written("two"))
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - kept] if kept < len(whole) else b"")
    with opened(tmp_path, JOB) as manifest:
        for shard in "ab":
            if shard not in manifest:
                manifest.finish(shard, written("again"))
    lines = path.read_bytes().split(b"\n")
    assert list(json.loads(lines[0])) == ["job", "parts"]
    with opened(tmp_path, JOB) as manifest:
        assert len(manifest) == 2


def test_another_jobs_folder__is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, JOB):
        pass
    with (
        pytest.raises(ArgumentError, match="finished parts of another job"),
        opened(tmp_path, {**JOB, "version": "2"}),
    ):
        pass


def test_a_second_driver__is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    """The first is killed with no chance to clean up: its lock goes with it, its finished shard stays."""
    script = (
        "import sys, time; from pathlib import Path; from backtest.scale.manifest import opened\n"
        "with opened(Path(sys.argv[1]), {'settings': [1, 2], 'version': '1'}) as manifest:\n"
        "    manifest.finish('a', lambda path: path.write_text('one'))\n"
        "    def slow(path):\n"
        "        path.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
        "    manifest.finish('b', slow)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(ArgumentError, match="another process"), opened(tmp_path, JOB):
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    time.sleep(0.01)
    with opened(tmp_path, JOB) as manifest:
        assert ["a" in manifest, "b" in manifest] == [True, False]
        assert not list(tmp_path.glob(".partial-*"))
