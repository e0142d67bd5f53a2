"""Every compile option in one place, and a disk cache that cannot lie.

numba looks at one source file to decide whether a cached kernel is still good, so an edit in a *helper's* file
leaves the old code in use. Here the name of a cached kernel holds a hash of its file, of every kernel file that it
imports, and of the compiler's version: an edit compiles anew what it can change, and nothing else. A file carries
its checksum: one that is cut short or overwritten is removed and made again. A folder that belongs to somebody
else, or that others can write to, is never read (a cached kernel is code), and where nothing is writable kernels
are compiled in memory. A large kernel is compiled with notice (``backtest.kernel.notice``).

``error_model="numpy"`` leaves out Python's check for division by zero (kernels never divide by zero).
``_nrt=False`` leaves out reference counts: kernels allocate nothing, and counting the arrays handed from helper to
helper made the sweep 4 times slower. There is no ``fastmath``: it deletes tests for NaN and infinity, and changes
the last digits of the definition.
"""

from __future__ import annotations

import hashlib
import os
import pickle
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
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.extending import register_jitable
from platformdirs import user_cache_path

from backtest.kernel import notice
from backtest.kernel.linking import InnerCompiler, KernelCompiler

if sys.byteorder != "little":  # a block's first match is its lowest bit, which holds on little-endian only
    raise ImportError("the compiled kernels need a little-endian machine")

APPLICATION = "liquidation-backtest"

#: False under NUMBA_DISABLE_JIT=1, when kernels run as plain Python (slow; for tests and coverage).
COMPILED = not config.DISABLE_JIT


#: So few rows are computed as plain Python where a kernel is ``suited`` to that (a row takes some 20 us).
FEW = 64

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


def _close(folder: Path) -> None:
    """Close a folder of this user's to writing by others, to whom a umask like 002 has opened it.

    Only the folder that holds the cache: what others may have written into the cache itself stays unread.
    """
    found = folder.lstat()
    if hasattr(os, "getuid") and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
        folder.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))


def cache_folder() -> Path | None:
    """Return the folder compiled kernels are kept in, or None where there is none to be had."""
    try:
        folder = _base() / "kernels"
        for place in (folder.parent, folder):  # the mode is that of the last alone
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        _close(folder.parent)
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


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """Index and compiled forms of a kernel, a checksum before each; a damaged file is removed.

    Compiled code of which a byte has changed may crash, or give wrong numbers. A form also holds what it is the
    form of, because two processes that compile at once may give two of them one name.
    """

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        known, data = super().load(key) or (None, None)
        return data if known == key else None

    def _load_index(self) -> Any:
        stamp, names = _unpacked(Path(self._index_path)) or ("", {})
        return names if stamp == self._source_stamp else {}

    def _save_index(self, overloads: Any) -> None:
        self._write(self._index_path, (self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return _unpacked(Path(self._data_path(name)))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _write(self, path: str, content: Any) -> None:
        packed = self._dump(content)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(packed).digest() + packed)


def _unpacked(path: Path) -> Any:
    """Return the content of a file of the cache; None where there is none, or it was damaged and is removed."""
    try:
        checksum, packed = (data := path.read_bytes())[:32], data[32:]
    except OSError:
        return None
    if hashlib.sha256(packed).digest() == checksum:
        return pickle.loads(packed)
    with suppress(OSError):
        path.unlink()
    return None


class _Cache(FunctionCache):  # type: ignore[misc]
    """Compiled forms of a kernel on the disk; on a full one it is compiled again, and this process goes on."""

    _impl_class = _Kept

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        place = self._impl.locator
        self._cache_file = _Files(place.get_cache_path(), self._impl.filename_base, place.get_source_stamp())

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop that the rest of the package calls: without the interpreter lock, kept on disk."""
    compiled = numba.njit(pipeline_class=KernelCompiler, nogil=True, error_model="numpy", _nrt=False)(function)
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
    jitable = register_jitable(
        pipeline_class=InnerCompiler, error_model="numpy", _nrt=False, no_cfunc_wrapper=True, **options
    )
    compiled: Callable[..., Any] = jitable(function)
    return compiled


def suited(kernel: Callable[..., Any], rows: int) -> Callable[..., Any]:
    """Return a kernel, or for few rows the plain function it was made of: loading compiled code takes longer."""
    return kernel.py_func if COMPILED and rows <= FEW else kernel  # type: ignore[attr-defined]
