"""Before the first run of a machine a command says that it compiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from backtest.cli.common.compile_notice import compiling
from backtest.cli.common.progress import Clock
from backtest.kernel import compile as kernels


def test_compiling__is_said_until_the_kernel_is_kept_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "COMPILED", True)
    monkeypatch.setattr(kernels, "CACHE_FOLDER", tmp_path)
    assert "compiling it first" in compiling("replay.run")
    (tmp_path / "kernel_abc").mkdir()
    (tmp_path / "kernel_abc" / "replay.run-172.py311.nbi").touch()
    assert compiling("replay.run") == ""
    assert "compiling it first" in compiling("replay.finish")
    monkeypatch.setattr(kernels, "CACHE_FOLDER", None)
    assert "compiling it first" in compiling("replay.run")


def test_stage__shows_its_note_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    clock = Clock()
    with clock.stage("replay", "compiling it first"):
        pass
    assert "replay ... (compiling it first)" in capsys.readouterr().err
    assert list(clock.seconds) == ["replay"]
