"""One set of options for every command that draws: each gives the same files of every chart."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from backtest.__main__ import main
from backtest.cli.parser import build_parser

DRAWN = {
    "run": ["cascade"],
    "levels": ["levels", "map", "clusters"],
    "replay": ["fund", "losses", "mark_BTCUSDT"],
    "policy": ["policies", "frontier", "procedures"],
}
OWN = {"replay": ["--mark-impact", "1e-10", "--exogenous", "--fund", "1e6"]}
GRID = """
question = "Caps"
venue = "binance"
tiers = "nearest"
[grid]
caps = ["none", 20]
procedures = ["returned", "to_fund"]
[[histories]]
name = "May 2021"
sample = true
symbols = ["BTCUSDT"]
[[books]]
name = "mixed"
count = 300
seed = 1
"""
WINDOW = ["--symbol", "BTCUSDT", "--from", "2021-05-19", "--until", "2021-05-20", "--count", "300", "--seed", "1"]


def run(command: str, folder: Path, *options: str) -> Path:
    """Run a command on a day of the sample and return its folder."""
    out = folder / "out"
    given = WINDOW
    if command == "policy":
        (folder / "grid.toml").write_text(GRID)
        given = [str(folder / "grid.toml")]
    assert main([command, *given, *OWN.get(command, []), *options, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("command", DRAWN)
def test_every_command_that_draws__has_the_same_options(command: str) -> None:
    known = build_parser().commands[command].format_help()
    for option in ("--formats", "--look", "--colours", "--size", "--timezone", "--caption"):
        assert option in known


@pytest.mark.parametrize("command", DRAWN)
def test_charts__are_written_in_every_format_that_is_named(command: str, tmp_path: Path, capsys) -> None:
    look = ["--look", "dark", "--colours", "vendor", "--size", "portrait", "--timezone", "Asia/Tokyo"]
    out = run(command, tmp_path, "--formats", "svg,png", "pdf", *look, "--caption", "ours & theirs")
    capsys.readouterr()
    for name in DRAWN[command]:
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width == 1080
            assert picture.height >= 1080 if name == "levels" else picture.height > 300
            assert picture.getpixel((1, 1))[:3] == (13, 16, 23)
            assert "ours & theirs" in picture.text["Description"]
        title, description, *_ = ElementTree.parse(out / f"{name}.svg").getroot()
        assert title.text
        assert "ours & theirs" in description.text
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    words = " ".join(ElementTree.parse(out / f"{DRAWN[command][0]}.svg").getroot().itertext())
    assert ("JST" in words) == (command != "policy")
    assert "$" not in "".join(ElementTree.parse(out / f"{name}.svg").getroot()[0].text for name in DRAWN[command])
    assert json.loads((out / "summary.json").read_text())["arguments"]["timezone"] == "Asia/Tokyo"


@pytest.mark.parametrize("command", ["run", "replay", "policy"])
def test_charts__are_png_alone_unless_others_are_named(command: str, tmp_path: Path, capsys) -> None:
    out = run(command, tmp_path)
    capsys.readouterr()
    drawn = {path.suffix for path in out.iterdir() if path.stem in DRAWN[command]} - {".parquet"}
    assert drawn == {".png"}
    if command == "policy":
        assert (out / "report.html").read_text("utf-8").count("data:image/png;base64") == 3
