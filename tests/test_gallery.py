"""The gallery of charts: where its script writes, and that its pictures, commands and lines are as they stand."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from example_world import world
from matplotlib.figure import Figure
from PIL import Image

from backtest.chart import levels, liquidations, venues
from backtest.cli.parser import build_parser

SCRIPT = Path(__file__).parents[1] / "docs" / "gallery.py"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gallery__writes_to_the_folder_asked_for(gallery, tmp_path):
    out = gallery.folder(["--out", str(tmp_path / "pictures" / "new")])
    assert out == tmp_path / "pictures" / "new"
    gallery.write(out, Figure(figsize=(2, 1), dpi=50), "empty")
    assert [path.name for path in out.iterdir()] == ["empty.png"]
    with Image.open(out / "empty.png") as picture:
        assert picture.size == (100, 50)


def test_gallery__writes_to_the_images_of_the_documentation_by_default(gallery):
    assert gallery.folder([]) == SCRIPT.parent / "images"


PAGE = (SCRIPT.parent / "gallery.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```\n(backtest .*?)```", PAGE, re.DOTALL)


def test_page__names_every_chart_of_the_package():
    words = set(re.findall(r"\w+", PAGE))
    for package in (levels, liquidations, venues, levels.marks, venues.policy, venues.procedures):
        charts = {name for name in package.__all__ if name.islower() and name != "style"}
        assert charts <= words, sorted(charts - words)


def test_page__shows_pictures_that_are_there_and_every_picture_is_shown_somewhere():
    shown = set(re.findall(r"\(images/(\S+)\)", PAGE))
    there = {path.name for path in (SCRIPT.parent / "images").iterdir()}
    assert shown <= there
    pages = [*SCRIPT.parent.glob("*.md"), SCRIPT.parents[1] / "README.md"]
    assert there == set(re.findall(r"images/([\w.]+)", "".join(path.read_text("utf-8") for path in pages)))


@pytest.mark.parametrize("command", [line for block in COMMANDS for line in block.strip().splitlines()])
def test_commands__are_ones_that_there_are(command):
    name, *words = command.split()[1:]
    build_parser().parse_args([name, *words])


@pytest.mark.parametrize("lines", BLOCKS)
def test_lines__run_as_they_stand(lines):
    exec(compile(lines, "gallery.md", "exec"), {**world(), "ax": Figure(figsize=(8, 5)).add_subplot()})
