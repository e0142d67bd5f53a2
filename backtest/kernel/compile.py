"""Every compile option in one place, and a disk cache that cannot lie.

numba looks at one source file to decide whether a cached kernel is still good, so an edit in a *helper's* file
leaves the old code in use. Here the name of a cached kernel holds a hash of its file, of every kernel file that it
imports, and of the compiler's version: an edit compiles anew what it can change, and nothing else. A folder that
belongs to somebody else, or that others can write to, is never read (a cached kernel is code), and where nothing
is writable kernels are compiled in memory. A large kernel is compiled with notice (``backtest.kernel.notice``).

``error_model="numpy"`` leaves out Python's check for division by zero (kernels never divide by zero).
``_nrt=False`` leaves out reference counts: kernels allocate nothing, and counting the arrays handed from helper to
helper made the sweep 4 times slower. There is no ``fastmath``: it deletes tests for NaN and infinity, and changes
the last digits of the definition.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.extending import register_jitable
from platformdirs import user_cache_path

from backtest.kernel import notice

if sys.byteorder != "little":  # a block's first match is its lowest bit, which holds on little-endian only
    raise ImportError("the compiled kernels need a little-endian machine")

APPLICATION = "liquidation-backtest"

#: False under NUMBA_DISABLE_JIT=1, when kernels run as plain Python (slow; for tests and coverage).
COMPILED = not config.DISABLE_JIT


KERNELS = Path(__file__).parent
IMPORT = re.compile(r"^\s*from backtest\.kernel(\S*) import ([^()\n]*|\([^)]*\))", re.MULTILINE)


def digest(file: Path, kernels: Path = KERNELS) -> str:
    """Return a hash of a kernel file, of all that it imports from the kernels, and of the compiler's version."""
    found = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for source in sorted(_with_imports(file, kernels)):
        name = source.relative_to(kernels) if source.is_relative_to(kernels) else source
        found.update(name.as_posix().encode() + _source(source))
    return found.hexdigest()[:16]


def _with_imports(file: Path, kernels: Path) -> set[Path]:
    found, next_ones = set[Path](), [file]
    while next_ones:
        if (source := next_ones.pop()) not in found:
            found.add(source)
            next_ones.extend(_imports(source, kernels))
    return found


_source = cache(Path.read_bytes)


@cache
def _imports(file: Path, kernels: Path) -> list[Path]:
    """Return the kernel files that one imports, its package's own among them."""
    found = [file.with_name("__init__.py")]
    for module, names in IMPORT.findall(_source(file).decode()):
        home = kernels.joinpath(*module.split(".")[1:])
        found += home.with_suffix(".py"), home / "__init__.py"
        found += (home / f"{name}.py" for name in re.findall(r"\w+", names))
    return [source for source in found if source.is_file()]


def _base() -> Path:
    asked = os.environ.get("NUMBA_CACHE_DIR")
    return Path(asked) / APPLICATION if asked else user_cache_path(APPLICATION, False, opinion=False)


def _is_ours(folder: Path) -> bool:
    """Whether a folder is this user's own and closed to writing by others."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.lstat()
    private = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and private


def cache_folder() -> Path | None:
    """Return the folder compiled kernels are kept in, or None where there is none to be had."""
    try:
        folder = _base() / "kernels"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (_is_ours(folder.parent) and _is_ours(folder)):
            return None
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # nowhere to write, or no home
        return None


CACHE_FOLDER = cache_folder() if COMPILED else None
if COMPILED:
    notice.install(CACHE_FOLDER)


class _Place(_CacheLocator):  # type: ignore[misc]
    """Where a kernel is kept: its name holds the hash of its sources."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self.line, self.digest = function.__code__.co_firstlineno, digest(Path(file))

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Place:
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(CACHE_FOLDER)

    def get_source_stamp(self) -> str:
        return self.digest

    def get_disambiguator(self) -> str:
        return f"{self.line}-{self.digest}"


class _Kept(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Place,)


class _Cache(FunctionCache):  # type: ignore[misc]
    """Compiled forms of a kernel on the disk; on a full one it is compiled again, and this process goes on."""

    _impl_class = _Kept

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop that the rest of the package calls: without the interpreter lock, kept on disk."""
    compiled = numba.njit(nogil=True, error_model="numpy", _nrt=False)(function)
    if CACHE_FOLDER is not None:
        compiled._cache = _Cache(function)
    return compiled


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a scalar function into its callers: never called across, so its many arguments cost nothing.

    A helper that calls large parts is compiled with all of them once more: better to write that into the kernel.
    """
    return _inner(function, forceinline=True)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call from many places: one copy of it instead of one a call."""
    return _inner(function)


def _inner(function: Callable[..., Any], **options: bool) -> Callable[..., Any]:
    """Leave a function as it is for Python, and let kernels compile it as theirs.

    A compiled way in from Python for each of the 150 functions inside kernels took two fifths of all compiling
    (69 against 41 s of processor time for a first replay).
    """
    jitable = register_jitable(error_model="numpy", _nrt=False, no_cfunc_wrapper=True, **options)
    compiled: Callable[..., Any] = jitable(function)
    return compiled
