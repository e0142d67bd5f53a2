"""Where data are kept: the platform's folder for caches, or the one ``BACKTEST_DATA`` names."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "BACKTEST_DATA"


def data_folder(
    environment: Mapping[str, str] | None = None, *, platform: str = sys.platform, home: Path | None = None
) -> Path:
    """Return the folder of fetched data; it need not exist yet.

    Linux: ``$XDG_CACHE_HOME`` or ``~/.cache``; macOS: ``~/Library/Caches``; Windows: ``%LOCALAPPDATA%``; in it
    ``backtest/data``. ``BACKTEST_DATA`` replaces all of it.
    """
    variables = os.environ if environment is None else environment
    if variables.get(VARIABLE):
        return Path(variables[VARIABLE]).expanduser()
    home = home or Path("~").expanduser()
    if platform == "darwin":
        caches = home / "Library" / "Caches"
    elif platform == "win32":
        caches = Path(variables.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        asked = Path(variables.get("XDG_CACHE_HOME", ""))
        caches = asked if asked.is_absolute() else home / ".cache"  # a relative one is to be ignored
    return caches / "backtest" / "data"
