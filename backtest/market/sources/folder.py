"""Folder of fetched data: the platform's folder for caches, or the one ``BACKTEST_DATA`` names."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "BACKTEST_DATA"


def data_folder() -> Path:
    """Return the folder of fetched data; it need not exist yet.

    ``backtest/data`` in, on Linux, ``$XDG_CACHE_HOME`` or ``~/.cache``; on macOS ``~/Library/Caches``; on Windows
    ``%LOCALAPPDATA%``. The variable ``BACKTEST_DATA`` names another folder.

    Examples
    --------
    >>> from backtest.market.sources import data_folder
    >>> data_folder()  # doctest: +SKIP
    PosixPath('/home/me/.cache/backtest/data')
    >>> data_folder().is_absolute()
    True
    """
    from platformdirs import user_cache_path

    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache_path("backtest", False, opinion=False) / "data"
