"""Benchmarks, which no test runs, take from the package what is there."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmark__imports_names_that_exist(path: Path) -> None:
    for line in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("backtest"):
            module = import_module(str(line.module))
            names = [alias.name for alias in line.names if not hasattr(module, alias.name)]
            assert [name for name in names if find_spec(f"{line.module}.{name}") is None] == []
