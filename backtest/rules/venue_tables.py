"""Contracts of a venue with the tables beside its file: those it names, those imported, and other names of all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backtest.errors import RulesError
from backtest.rules.contract import Contract
from backtest.rules.imported import imported_file
from backtest.rules.releases import ReleaseFile, Releases
from backtest.rules.rule_files import tables_path
from backtest.rules.settings import Settings


class Stored:
    """The tables in the folder of imported tables."""


#: Imported tables that join a venue: those stored under its name, others, or none.
Joining = ReleaseFile | None | type[Stored]


def with_tables(
    reader: Settings,
    folder: Path,
    imported: Joining,
    settings: dict[str, Any],
    contracts: dict[str, Contract],
    rules: dict[str, Any],
) -> Mapping[str, Contract]:
    """Return the contracts that a file lists with those of files of tables, and their other names.

    Parameters
    ----------
    reader
        Notes problems by their path.
    folder
        The venue file's.
    imported
        Imported tables that join it.
    settings
        The venue's.
    contracts
        Those that the file lists.
    rules
        Those of contracts that it does not list.
    """
    files = _named(reader, folder, settings) if "releases" in settings else []
    files += _imported(reader, imported, str(settings.get("name")))
    alias = reader.of_type("alias", settings.get("alias", ""), str) or ""
    before, named, after = alias.partition("{symbol}")
    if alias and (not named or re.search("[{}]", before + after)):
        reader.problems.add("alias", f"must hold {{symbol}} once, like '{{symbol}}USDT', is {alias!r}")
        return contracts
    return Releases(contracts, tuple(files), rules, alias) if files or alias else contracts


def _imported(reader: Settings, imported: Joining, name: str) -> list[ReleaseFile]:
    """Return the imported tables of the venue, where there are any."""
    if not isinstance(imported, type):
        return [imported] if imported else []
    path = imported_file(name)
    try:
        return [ReleaseFile.read(path, replaces=True)] if path else []
    except RulesError as error:
        reader.problems.add("imported tables", f"{error} (remove the file to go on without them)")
        return []


def _named(reader: Settings, folder: Path, settings: dict[str, Any]) -> list[ReleaseFile]:
    """Return the file of tables that a venue file names."""
    path = tables_path(folder, str(reader.of_type("releases", settings["releases"], str)))
    if not path.is_file():
        reader.problems.add("releases", f"there is no file {path}")
        return []
    try:
        return [ReleaseFile.read(path)]
    except RulesError as error:
        reader.problems.add("releases", str(error))
        return []
