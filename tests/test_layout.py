"""The package stays easy to find one's way in: small folders, one-way layers, no names twice."""

from __future__ import annotations

from pathlib import Path

import backtest

PACKAGE = Path(backtest.__file__).parent

#: Files a reader can hold at once; one folder, the kernels of the replay, may have a few more than 20.
MOST_FILES, LARGE = 25, 20


def sizes() -> dict[str, int]:
    """Return how many Python files each folder of the package has, but for its ``__init__``."""
    folders = [PACKAGE, *(folder for folder in PACKAGE.rglob("*") if folder.is_dir())]
    counts = {folder: len([path for path in folder.glob("*.py") if path.stem != "__init__"]) for folder in folders}
    return {str(folder.relative_to(PACKAGE)): count for folder, count in counts.items() if count}


def test_folders__hold_few_files() -> None:
    assert {folder: count for folder, count in sizes().items() if count > MOST_FILES} == {}
    assert len([folder for folder, count in sizes().items() if count > LARGE]) <= 1


def test_folders__are_packages_with_a_line_that_names_their_subject() -> None:
    unnamed = [
        folder for folder in sizes() if not (PACKAGE / folder / "__init__.py").read_text().startswith('"""')
    ]
    assert unnamed == []
