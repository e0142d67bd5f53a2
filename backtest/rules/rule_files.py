"""Files that the rules of a venue are read from: its TOML file, and the tables beside it."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from backtest.errors import RulesError
from backtest.rules.imported import imported_file
from backtest.schemas.conversion import meant


def venue_files() -> dict[str, Any]:
    """Return the bundled venue files by venue name, sorted.

    Examples
    --------
    >>> from backtest.rules import venue_files
    >>> list(venue_files())
    ['ascend', 'ascendex', 'ascendex-2021-09', 'binance', 'bitmex', 'bybit', 'deribit', 'dydx',
     'hyperliquid', 'mexc', 'okx', 'primexbt']
    """
    folder = resources.files("backtest.rules") / "venues"
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    named = {file.name.removesuffix(".toml"): file for file in files}
    return dict(sorted(named.items()))


def venue_text(name_or_path: str | Path) -> tuple[str, str, Path]:
    """Return the text of a venue's file, what to call it in messages, and its folder.

    Raises
    ------
    RulesError
        For a name that is neither bundled nor a file, and a file that is not UTF-8 text.
    """
    bundled = venue_files()
    if str(name_or_path) in bundled:
        path = bundled[str(name_or_path)]
        return path.read_text("utf-8"), f"venue {name_or_path}", Path(str(path)).parent
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(bundled)
        asked = meant(str(name_or_path), bundled)
        raise RulesError(f"venue {str(name_or_path)!r} is neither a file nor one of {known}{asked}")
    try:
        return path.read_text("utf-8"), f"venue file {path}", path.parent
    except UnicodeDecodeError as error:
        raise RulesError(f"venue file {path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def tables_path(folder: Path, name: str) -> Path:
    """Return the file of tables that a venue file names: beside it, else beside the bundled venues.

    So a copy of a bundled venue's file keeps its tables.
    """
    beside, bundled = folder / name, Path(str(resources.files("backtest.rules") / "venues" / name))
    return bundled if not beside.is_file() and bundled.is_file() else beside


def rule_files(name_or_path: str | Path) -> dict[str, Path]:
    """Return every file that a venue's rules are read from: its own, of tables beside it, of imported tables.

    Those of a bundled venue are called by name, the others by path.
    """
    bundled = venue_files()
    text, _, folder = venue_text(name_or_path)
    found = {str(name_or_path): Path(str(bundled.get(str(name_or_path), name_or_path)))}
    settings = tomllib.loads(text)
    released = settings.get("releases")
    if released is not None:
        beside = tables_path(folder, str(released))
        found[str(released) if str(name_or_path) in bundled else str(beside)] = beside
    imported = imported_file(str(settings.get("name")))
    return found | ({str(imported): imported} if imported else {})
