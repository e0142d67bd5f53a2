"""Folder of imported tier tables: one Parquet file a venue, which joins the tables of the venue of that name."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: The variable that names the folder of data, below which the tables lie too.
VARIABLE = "BACKTEST_DATA"

#: Names of venues that can be names of files.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def tiers_folder() -> Path:
    """Return the folder of imported tables; it need not exist yet.

    ``backtest/tiers`` in the platform's folder for the data of a user, on Linux ``$XDG_DATA_HOME`` or
    ``~/.local/share``; ``tiers`` below the folder that the variable ``BACKTEST_DATA`` names.
    """
    from platformdirs import user_data_path

    named = os.environ.get(VARIABLE)
    return (Path(named).expanduser() if named else user_data_path("backtest", False)) / "tiers"


def imported_file(venue: str) -> Path | None:
    """Return the file of the tables imported for a venue, where there is one."""
    if not NAME.fullmatch(venue):
        return None
    path = tiers_folder() / f"{venue}.parquet"
    return path if path.is_file() else None
