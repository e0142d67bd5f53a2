"""What the README shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from backtest.cli.parser import build_parser
from backtest.rules import venue_files

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def python_example() -> str:
    """Return the README's Python example."""
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_python_example__runs_and_prints_two_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(python_example(), names)
    assert isinstance(names["facts"], pl.DataFrame)
    assert isinstance(names["capped"], pl.DataFrame)
    assert names["capped"]["liquidated"].sum() < names["facts"]["liquidated"].sum()
    assert capsys.readouterr().out.count("shape:") == 2


def test_python_example__is_about_ten_lines() -> None:
    lines = [line for line in python_example().splitlines() if line]
    assert len(lines) <= 11


def test_commands__are_ones_the_command_line_knows() -> None:
    commands = re.findall(r"^backtest (.+)$", README, re.MULTILINE)
    assert len(commands) >= 10
    for command in commands:
        build_parser().parse_args(command.split())


def test_grids__it_names_are_there() -> None:
    grids = re.findall(r"^backtest policy (\S+)", README, re.MULTILINE)
    assert grids
    assert all((ROOT / grid).exists() for grid in grids)


def test_notebooks__are_as_many_as_it_says() -> None:
    there = len(list((ROOT / "notebooks").glob("*.ipynb")))
    words = ("five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    assert f"{words[there - 5]} [notebooks](notebooks)" in README.lower()


def test_readme__names_every_venue() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.MULTILINE)) == set(venue_files())


def test_readme__links_to_files_that_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
