"""Every compile option in one place, and a disk cache that cannot lie.

numba looks at one source file to decide whether a cached kernel is still good, so an edit in a *helper's* file
leaves the old code in use. Here the cache folder is named by a hash of all kernel sources and of the compiler's
version: any edit starts a new folder. The folder is set around each decoration only, so that kernels of other
packages keep their own caches. A folder that belongs to somebody else, or that others can write to, is never
read (a cached kernel is code), and where nothing is writable kernels are compiled in memory. A large kernel is
compiled with notice (``backtest.kernel.notice``).

``error_model="numpy"`` leaves out Python's check for division by zero (kernels never divide by zero).
``_nrt=False`` leaves out reference counts: kernels allocate nothing, and counting the arrays handed from helper to
helper made the sweep 4 times slower. There is no ``fastmath``: it deletes tests for NaN and infinity, and changes
the last digits of the definition.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import config
from numba.extending import register_jitable
from platformdirs import user_cache_path

from backtest.kernel import notice

if sys.byteorder != "little":  # a block's first match is its lowest bit, which holds on little-endian only
    raise ImportError("the compiled kernels need a little-endian machine")

APPLICATION = "liquidation-backtest"

#: False under NUMBA_DISABLE_JIT=1, when kernels run as plain Python (slow; for tests and coverage).
COMPILED = not config.DISABLE_JIT


def _digest(home: Path = Path(__file__).parent) -> str:
    found = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for source in sorted(home.rglob("*.py")):
        found.update(source.relative_to(home).as_posix().encode() + source.read_bytes())
    return found.hexdigest()[:16]


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
        folder = _base() / _digest()
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


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop that the rest of the package calls: without the interpreter lock, kept on disk."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_FOLDER or "")
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", _nrt=False, cache=CACHE_FOLDER is not None)(
            function
        )
    finally:
        config.CACHE_DIR = before
    if CACHE_FOLDER is not None:
        compiled._cache.save_overload = _if_there_is_room(compiled._cache.save_overload)
    return compiled


def _if_there_is_room(save: Callable[..., None]) -> Callable[..., None]:
    """Keep a kernel where the disk takes it: on a full one it is compiled again, and this process goes on."""

    def saved(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    return saved


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
