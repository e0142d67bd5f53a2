"""Where data are kept: the platform's folder for caches, or the one ``BACKTEST_DATA`` names."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "BACKTEST_DATA"


def data_folder() -> Path:
    """Return the folder of fetched data; it need not exist yet.

    Linux: ``$XDG_CACHE_HOME`` or ``~/.cache``; macOS: ``~/Library/Caches``; Windows: ``%LOCALAPPDATA%``; in it
    ``backtest/data``. ``BACKTEST_DATA`` replaces all of it.
    """
    from platformdirs import user_cache_path

    asked = os.environ.get(VARIABLE)
    return Path(asked).expanduser() if asked else user_cache_path("backtest", False, opinion=False) / "data"
