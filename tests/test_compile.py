"""The cache of compiled kernels: never stale, never somebody else's, never required."""

from __future__ import annotations

import ast
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import backtest
from backtest.kernel import compile as compiling
from backtest.kernel.threads import CHUNK, in_chunks

PACKAGE = Path(backtest.__file__).parent
ANSWER = """
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules import margin
contract = Contract(symbol="X", tables=(TierTable(name="t", rates=[0.005]),))
print(margin.bankruptcy_price(contract, side=1, quantity=1, entry_price=100, margin=[10] * 100)[0])
"""


def answer(home: Path, cache: str, largest_file: int | None = None) -> str:
    """Run a kernel of the package copied to ``home``, in a process that may write so many bytes a file."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = {**os.environ, "PYTHONPATH": str(home), "NUMBA_CACHE_DIR": cache}
    run = subprocess.run(
        [sys.executable, "-c", ANSWER], env=environment, cwd=home, capture_output=True, text=True, check=True,
        preexec_fn=limit,
    )  # fmt: skip
    return run.stdout.strip()


@pytest.mark.skipif(not compiling.COMPILED, reason="nothing is compiled")
def test_cache__sees_an_edit_in_another_kernel_file(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "backtest", ignore=shutil.ignore_patterns("__pycache__"))
    cache = str(tmp_path / "cache")
    assert answer(tmp_path, cache) == "90.0"
    formula = tmp_path / "backtest" / "kernel" / "margin" / "formula.py"
    edited = formula.read_text().replace("- margin", "- 2.0 * margin")
    assert edited != formula.read_text()
    formula.write_text(edited)
    assert answer(tmp_path, cache) == "80.0"
    assert len(list((tmp_path / "cache").rglob("prices.bankruptcy_prices-*.nbi"))) == 2


def test_digest__changes_with_an_edit_in_what_a_kernel_imports_and_with_no_other(tmp_path: Path) -> None:
    kernels = tmp_path / "kernel"
    shutil.copytree(PACKAGE / "kernel", kernels, ignore=shutil.ignore_patterns("__pycache__"))
    roots = {file: kernels / file for file in ("sweep/passive.py", "accounts/sweep.py", "replay/run.py")}

    def changed_by(edited: str) -> set[str]:
        before = {name: compiling.digest(file, kernels) for name, file in roots.items()}
        source = kernels / edited
        source.write_text(source.read_text() + "# edited")
        compiling._source.cache_clear()
        return {name for name, file in roots.items() if compiling.digest(file, kernels) != before[name]}

    assert changed_by("margin/formula.py") == changed_by("__init__.py") == set(roots)
    assert "accounts/sweep.py" not in changed_by("sweep/__init__.py") | changed_by("sweep/passive.py")
    assert changed_by("accounts/terms.py") == {"accounts/sweep.py"}
    assert changed_by("replay/adl.py") == changed_by("replay/__init__.py") == {"replay/run.py"}


@pytest.mark.parametrize("file", sorted((PACKAGE / "kernel").rglob("*.py")), ids=lambda file: file.stem)
def test_digest__finds_every_import_of_the_kernels(file: Path) -> None:
    found = {source.relative_to(PACKAGE / "kernel") for source in compiling._imports(file, PACKAGE / "kernel")}
    for line in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("backtest.kernel"):
            home = Path(*str(line.module).split(".")[2:])
            homes = (
                {home.with_suffix(".py"), *(home / f"{alias.name}.py" for alias in line.names)}
                if home.parts
                else {Path(f"{alias.name}.py") for alias in line.names}
            )
            assert homes & found, line.module
        assert not (isinstance(line, ast.ImportFrom) and line.level)
        assert not (isinstance(line, ast.Import) and any(name.name.startswith("backtest") for name in line.names))


@pytest.mark.skipif(not compiling.COMPILED, reason="nothing is compiled")
def test_cache__is_not_needed(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "backtest", ignore=shutil.ignore_patterns("__pycache__"))
    occupied = tmp_path / "a file"
    occupied.touch()
    assert answer(tmp_path, str(occupied / "cache")) == "90.0"


@pytest.mark.skipif(not compiling.COMPILED, reason="nothing is compiled")
def test_cache__on_a_full_disk_is_done_without(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "backtest", ignore=shutil.ignore_patterns("__pycache__"))
    assert answer(tmp_path, str(tmp_path / "cache"), largest_file=5_000) == "90.0"
    assert list((tmp_path / "cache").rglob("*.nbc")) == []


def damaged(data: bytes) -> dict[str, bytes]:
    """Return a file's content after several kinds of damage."""
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    return {"cut short": data[: len(data) // 2], "empty": b"", "overwritten": bytes(len(data)), "a bit": flipped}


@pytest.mark.skipif(not compiling.COMPILED, reason="nothing is compiled")
def test_cache__that_is_damaged_is_dropped_and_made_again(tmp_path: Path) -> None:
    assert answer(PACKAGE.parent, str(tmp_path)) == "90.0"
    whole = {path: path.read_bytes() for path in tmp_path.rglob("prices.bankruptcy_prices-*.nb[ci]")}
    assert len(whole) == 2
    for damage in ("cut short", "overwritten", "a bit"):
        for path, data in whole.items():
            path.write_bytes(damaged(data)[damage])
        assert answer(PACKAGE.parent, str(tmp_path)) == "90.0"
        assert all(path.read_bytes()[:32] != bytes(32) and path.stat().st_size > 100 for path in whole)
    made = {path: path.stat().st_ino for path in whole}
    assert answer(PACKAGE.parent, str(tmp_path)) == "90.0"
    assert {path: path.stat().st_ino for path in whole} == made  # read, not made again


def test_files__of_the_cache_give_back_what_was_kept_and_nothing_else(tmp_path: Path) -> None:
    files = compiling._Files(str(tmp_path), "kernel", "its sources")
    files.save("form", b"code")
    assert files.load("form") == b"code"
    assert files.load("another form") is None
    assert compiling._Files(str(tmp_path), "kernel", "other sources").load("form") is None
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        for data in damaged(whole).values():
            path.write_bytes(data)
            assert files.load("form") is None
            assert not path.exists()
        path.write_bytes(whole)
    (tmp_path / "kernel.1.nbc").write_bytes((tmp_path / "kernel.nbi").read_bytes())
    assert files.load("form") is None  # whole, but another file


def test_files__of_two_forms_under_one_name_are_not_taken_for_one_another(tmp_path: Path) -> None:
    one, other = (compiling._Files(str(tmp_path), "kernel", "its sources") for _ in range(2))
    one.save("form", b"code")
    index = tmp_path / "kernel.nbi"
    index.unlink()
    other.save("other form", b"other code")  # by a process that saw no index yet
    one._save_index({"form": "kernel.1.nbc"})
    assert one.load("form") is None


@pytest.mark.parametrize("mask", [0o002, 0o000, 0o022, 0o077])
def test_cache_folder__is_used_under_any_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    before = os.umask(mask)
    try:
        folder = compiling.cache_folder()
    finally:
        os.umask(before)
    assert folder == tmp_path / "new" / "liquidation-backtest" / "kernels"
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700


def test_cache_folder__closes_what_an_earlier_umask_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (tmp_path / "liquidation-backtest").mkdir()
    (tmp_path / "liquidation-backtest").chmod(0o775)
    assert compiling.cache_folder() is not None
    assert (tmp_path / "liquidation-backtest").stat().st_mode & 0o777 == 0o755


def test_cache_folder__is_the_one_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiling.cache_folder() == tmp_path / "liquidation-backtest" / "kernels"


def test_cache_folder__refuses_one_that_others_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    folder = compiling.cache_folder()
    assert folder is not None
    folder.chmod(0o777)
    assert compiling.cache_folder() is None


def test_cache_folder__refuses_one_that_belongs_to_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiling.cache_folder() is not None
    monkeypatch.setattr(os, "getuid", lambda: 12_345)
    assert compiling.cache_folder() is None


def test_cache_folder__refuses_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "liquidation-backtest").symlink_to(elsewhere)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiling.cache_folder() is None


def test_other_packages__keep_their_own_cache_folder(tmp_path: Path) -> None:
    code = "import os, numba; from backtest.kernel.margin import prices; print(numba.config.CACHE_DIR)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(tmp_path)


def test_in_chunks__covers_everything_once_in_order() -> None:
    count = 2 * CHUNK + 3
    for threads in (1, 2, 5):
        spans = in_chunks(lambda begin, stop: (begin, stop), count, threads)
        assert [begin for begin, _ in spans] == [0, CHUNK, 2 * CHUNK]
        assert [stop for _, stop in spans] == [CHUNK, 2 * CHUNK, count]
    assert in_chunks(lambda begin, stop: (begin, stop), 0) == []
