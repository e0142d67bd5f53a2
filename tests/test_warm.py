"""Notices before kernels are compiled, and compiling all of them beforehand."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import SimpleNamespace

import pytest
from numba.core.registry import CPUDispatcher

import backtest
from backtest import kernel
from backtest.__main__ import main
from backtest.cli.common.progress import Clock, notices_above_progress
from backtest.errors import ArgumentError
from backtest.kernel.compile import CACHE_FOLDER, COMPILED
from backtest.kernel.notice import LARGE, SECONDS, Notice
from backtest.scale import precompile

compiled_only = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")


def starting(name: str) -> SimpleNamespace:
    """Return what numba announces when it compiles a kernel."""
    module, _, function = name.rpartition(".")
    python = SimpleNamespace(__module__=module, __name__=function)
    return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=python)})


def dispatchers() -> Iterator[CPUDispatcher]:
    for found in walk_packages(kernel.__path__, f"{kernel.__name__}."):
        for value in vars(import_module(found.name)).values():
            if isinstance(value, CPUDispatcher) and value.py_func.__module__ == found.name:
                yield value


def test_a_notice__names_what_is_compiled_for_how_long_and_that_it_is_once(tmp_path, caplog) -> None:
    notice = Notice(tmp_path)
    notice.on_start(starting("backtest.kernel.sweep.passive.cross"))
    notice.on_start(starting("backtest.kernel.sweep.managed.live"))
    notice.on_start(starting("backtest.kernel.margin.prices.equities"))
    notice.on_start(starting("somebody.elses.function"))
    (told,) = caplog.messages
    assert told == (
        "backtest compiles its sweep kernels, about 15 s, once on this machine; "
        "`backtest warm` compiles everything beforehand"
    )
    assert [(record.name, record.levelname) for record in caplog.records] == [("backtest", "WARNING")]


def test_a_notice__says_where_kernels_cannot_be_kept(caplog) -> None:
    Notice(None).on_start(starting("backtest.kernel.replay.run.run"))
    assert "replay kernels" in caplog.text
    assert "in every process anew" in caplog.text


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_a_notice__goes_to_stderr_unless_it_is_silenced(level) -> None:
    program = (
        f"import logging; logging.getLogger('backtest').setLevel(logging.{level})\n"
        "from types import SimpleNamespace as Name\n"
        "from backtest.kernel.notice import Notice\n"
        "python = Name(__module__='backtest.kernel.replay.run', __name__='run')\n"
        "Notice(None).on_start(Name(data={'dispatcher': Name(py_func=python)}))\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == (level == "WARNING")


def test_a_notice__takes_the_place_of_progress_on_a_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    logger = logging.getLogger("backtest")
    monkeypatch.setattr(logger, "handlers", [])
    notices_above_progress()
    notices_above_progress()
    with Clock().stage("replay"):
        logger.warning("compiling")
    assert capsys.readouterr().err == "replay ...\r\x1b[Kcompiling\n\r\x1b[K"


@compiled_only
def test_large_kernels__exist() -> None:
    names = {f"{found.py_func.__module__}.{found.py_func.__name__}" for found in dispatchers()}
    assert set(LARGE) <= names
    assert set(LARGE.values()) == set(SECONDS)


@compiled_only
def test_warm__compiles_every_kernel() -> None:
    done: list[None] = []
    assert backtest.warm(report=lambda: done.append(None)) == CACHE_FOLDER
    assert len(done) == len(precompile.JOBS)


#: Prints the kernels that warm leaves out, and then those that a command needs in another form.
AFTER_WARM = """
import sys
from test_warm import dispatchers
import backtest
from backtest.__main__ import main

backtest.warm()
known = {kernel: set(kernel.signatures) for kernel in dispatchers()}
print("warm", [kernel.__name__ for kernel, signatures in known.items() if not signatures], file=sys.stderr)
for words in sys.stdin.read().splitlines():
    assert main(words.split()) == 0, words
    new = [kernel.__name__ for kernel, signatures in known.items() if set(kernel.signatures) != signatures]
    print(words.split()[0], new, file=sys.stderr)
"""
COMMANDS = """run --count 500 --out run
run --count 500 --venue bybit --tiers nearest --symbol BTCUSDT --gap-limit 8 --out bybit
replay --count 500 --venue mexc --symbol BTCUSDT --tiers nearest --out replay
replay --count 500 --venue binance --symbol BTCUSDT --tiers nearest --fund 1e6 --out partial
levels --count 500 --out levels
policy grid.toml --out policy
venues binance
price --venue ascendex --side long --entry-price 50000 --quantity 1 --leverage 25 --margin 5000"""


@compiled_only
def test_commands__compile_nothing_after_warm(tmp_path) -> None:
    grid = 'tiers = "nearest"\n[grid]\ncaps = ["none", 10]\n[[histories]]\nname = "May"\nsample = true\n'
    grid += '[[books]]\nname = "mixed"\ncount = 500\n'
    (tmp_path / "grid.toml").write_text(grid)
    finished = subprocess.run(
        [sys.executable, "-c", AFTER_WARM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=COMMANDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    lines = [line for line in finished.stderr.splitlines() if line.endswith("]")]
    assert lines == ["warm []"] + [f"{words.split()[0]} []" for words in COMMANDS.splitlines()]


@compiled_only
def test_the_command_warm__says_where_kernels_are_kept_and_how_large(capsys) -> None:
    assert main(["warm", "--processes", "1"]) == 0
    printed = capsys.readouterr()
    assert str(CACHE_FOLDER) in printed.out
    assert " MB in " in printed.out
    assert printed.err == ""


@compiled_only
def test_warm_in_processes__is_refused_where_nothing_can_be_kept(monkeypatch) -> None:
    monkeypatch.setattr(precompile, "CACHE_FOLDER", None)
    with pytest.raises(ArgumentError, match="NUMBA_CACHE_DIR"):
        precompile.warm(2)
