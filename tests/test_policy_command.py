"""The command ``backtest policy``: what it writes, how it survives a kill, what it refuses, how a page looks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtest.__main__ import main
from backtest.cli.common.progress import Progress
from backtest.cli.policy.grid_file import read_grid
from backtest.errors import RulesError
from backtest.study.policy.grid import KEYS

START = datetime(2021, 5, 1, tzinfo=UTC)
GRID = """
question = "What <if>?"
venue = "binance"
tiers = "nearest"
[grid]
caps = ["none", 20]
rate_scales = [1, 2]
liquidation_fees = [0, 0.005]
funds = [0, 1000]
fills = ["liquidation_price", "worst_price"]
[changes."entry basis"]
basis = "entry"
[[histories]]
name = "falls"
bars = "bars.parquet"
[[histories]]
name = "falls, its first half"
bars = "bars.parquet"
until = 2021-05-15T00:00:00Z
[[books]]
name = "mixed"
count = 300
seed = 1
[[books]]
name = "high"
leverage_mix = "high"
count = 200
seed = 2
[bands]
block_days = 3
draws = 20
"""


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    """A grid over a month of hours that fall and swing."""
    rng = np.random.default_rng(4)
    close = 50_000 * np.exp(np.cumsum(rng.standard_t(3, 24 * 30) * 0.008 - 0.0004))
    opening = np.append(50_000.0, close[:-1])
    pl.DataFrame(
        {
            "symbol": "BTCUSDT",
            "time": [START + timedelta(hours=hour) for hour in range(close.size)],
            "open": opening,
            "high": np.maximum(opening, close) * 1.002,
            "low": np.minimum(opening, close) * 0.996,
            "close": close,
        }
    ).write_parquet(tmp_path / "bars.parquet")
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def changed(grid_file: Path, old: str, new: str) -> Path:
    text = grid_file.read_text()
    assert old in text
    grid_file.write_text(text.replace(old, new, 1))
    return grid_file


class Page(HTMLParser):
    """What a page holds: sections by id, the words in it, pictures, and everything it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections, self.words, self.pictures, self.fetched = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        found = dict(attrs)
        if tag == "section":
            self.sections.append(found["id"])
        if tag == "img":
            self.pictures.append(found)
        sources = [value for name, value in attrs if name in ("src", "href")]
        self.fetched += [source for source in sources if not source.startswith(("data:", "#"))]
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)

    def handle_data(self, data) -> None:
        self.words.append(data)


def test_policy__writes_a_row_a_combination_charts_and_a_report(tmp_path, capsys, grid_file) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(grid_file), "--out", str(out)]) == 0
    policies = pl.read_parquet(out / "policies.parquet")
    assert policies.height == 2 * 2 * (2 * 2 * 2 * 2) * 4 * 3
    assert policies.select(pl.struct(KEYS).is_unique().all()).item()
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "cells", "frontier.png", "policies.parquet", "policies.png", "report.html", "summary.json"
    ]  # fmt: skip
    printed = capsys.readouterr()
    assert printed.err == ""  # nobody watches
    assert (
        "Caps on leverage, falls, filled at the worst price of the bar, fully closed, remaining margin "
        "returned, fund 0, "
        "fee 0.00 %; each figure is the median over 2 books, column by column; in brackets their range"
        in printed.out
    )
    assert "What would change the conclusion" in printed.out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["policies"] == 64
    assert set(summary["inputs"]) == {str(grid_file), str(tmp_path / "bars.parquet")}
    assert summary["settlement"] == "fund path without feedback or partial liquidation"
    page = Page((out / "report.html").read_text("utf-8"))
    assert page.sections == ["answer", "assumed", "tables", "charts", "changes", "words"]
    assert page.fetched == []  # it needs nothing but itself
    assert len(page.pictures) == 2
    assert all(picture["alt"] for picture in page.pictures)
    assert "What <if>?" in page.words
    told = " ".join(page.words)
    for sentence in (*summary["answer"], *summary["sensitivity"]):
        assert sentence in told


def test_policy__says_what_its_figures_are_the_middle_of(tmp_path, grid_file) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(grid_file), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    for sentence in summary["answer"][:2]:
        assert "Each figure is the median over 2 books, column by column" in sentence
    changes = summary["sensitivity"]
    whose = [sentence for sentence in changes if sentence.startswith("Book: ")]
    assert whose
    assert all(told.endswith(": medians of the changes within each history and response.") for told in whose)
    responses = [sentence for sentence in changes if sentence.startswith("Traders' response: ")]
    told = ": medians of the changes within each history and book, not of the tables' medians."
    assert responses
    assert all(sentence.endswith(told) for sentence in responses)


def test_policy__tells_a_cap_that_changes_nothing_once(tmp_path, capsys, grid_file) -> None:
    assert main(["policy", str(grid_file), "--out", str(tmp_path / "out")]) == 0
    blocks = [block for block in capsys.readouterr().out.split("\n\n") if block.startswith("Caps on leverage")]
    assert len(blocks) == 4
    for block in blocks:
        rows = [line for line in block.splitlines() if line.startswith(("none ", "20x "))]
        assert [line.split("  ")[0] for line in rows] == ["none", "20x", "20x", "20x"]
        assert rows[0].split()[1] == "any"


def test_policy__of_one_book_has_no_median_to_tell(tmp_path, capsys, grid_file) -> None:
    text = grid_file.read_text()
    start, end = text.index('[[books]]\nname = "high"'), text.index("[bands]")
    grid_file.write_text(text[:start] + text[end:])
    assert main(["policy", str(grid_file), "--out", str(tmp_path / "out")]) == 0
    assert "median over" not in capsys.readouterr().out


def test_policy__asked_again_does_nothing_again(tmp_path, capsys, grid_file) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(grid_file), "--out", str(out)]) == 0
    first = capsys.readouterr().out
    cells = {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.parquet")}
    assert main(["policy", str(changed(grid_file, "What <if>?", "And what now?")), "--out", str(out)]) == 0
    second = capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.parquet")} == cells
    assert len(cells) == 64
    assert "(64 cells finished before)" in second
    start, end = "Caps on leverage", "What would change"
    assert second[second.index(start) : second.index(end)] == first[first.index(start) : first.index(end)]
    assert main(["policy", str(changed(grid_file, "count = 300", "count = 301")), "--out", str(out)]) == 2
    assert "holds the finished parts of another job" in capsys.readouterr().err


def test_a_killed_policy__goes_on_where_it_was(tmp_path, grid_file) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(["policy", str(grid_file), "--out", str(whole)]) == 0
    command = [sys.executable, "-m", "backtest", "policy", str(grid_file), "--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifest = killed / "cells" / "manifest.jsonl"
    while process.poll() is None and not (manifest.exists() and manifest.read_text().count("\n") > 5):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in (killed / "cells").glob("[!.]*.parquet")}
    assert 5 <= len(before) < 64
    assert not (killed / "policies.parquet").exists()
    assert main(["policy", str(grid_file), "--out", str(killed)]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (killed / "cells").glob("*.parquet")}
    noted = manifest.read_text()
    assert sum(after[name] == at for name, at in before.items() if name in noted) >= len(before) - 1
    assert len(after) == 64
    both = (pl.read_parquet(out / "policies.parquet") for out in (whole, killed))
    assert next(both).equals(next(both))


def shown_by_a_browser(page: Path, picture: Path, height: int = 2400) -> str:
    """Open a page in a browser, compare the picture with what a page must look like, and return what it shows."""
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if browser is None:
        pytest.skip("there is no chromium here")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    flags.append(f"--user-data-dir={picture.parent / 'profile'}")
    shown = subprocess.run(
        [browser, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    subprocess.run(
        [browser, *flags, f"--window-size=1100,{height}", f"--screenshot={picture}", page.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    from matplotlib.image import imread

    pixels = imread(picture)
    assert pixels.shape[:2] == (height, 1100)
    for top in range(0, height, 400):  # something is drawn all the way down
        assert pixels[top : top + 400, :, :3].min() < 0.5
    assert (pixels[:, -20:, :3] > 0.9).all()  # nothing runs over the edge
    return shown


def test_the_report__opens_in_a_browser(tmp_path, grid_file) -> None:
    out = tmp_path / "out"
    assert main(["policy", str(grid_file), "--out", str(out)]) == 0
    shown = shown_by_a_browser(out / "report.html", tmp_path / "page.png")
    assert "What would change the conclusion" in shown
    assert shown.count("<table") >= 5


def test_every_mistake__is_told_at_once(grid_file) -> None:
    text = grid_file.read_text().replace("count = 300", "counts = 300").replace("[changes.", "[grids]\n[changes.")
    grid_file.write_text(text.replace("funds = [0, 1000]", "funds = 7"))
    with pytest.raises(RulesError, match="has 3 problems") as refused:
        read_grid(grid_file)
    assert [path for path, _ in refused.value.problems] == ["grids", "grid.funds", "books[0].counts"]


def test_the_example_grid__is_read() -> None:
    file = read_grid(Path(__file__).parent.parent / "docs" / "july_2021.toml")
    assert file.grid.caps[:3] == (None, 50, 20)
    assert file.synthetic


def test_progress__tells_what_is_left_and_counts_only_what_was_worked(monkeypatch) -> None:
    moments = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    progress = Progress(4, "cell")
    progress.step(worked=False)
    assert str(progress) == "cell 1 of 4"
    progress.step()
    assert str(progress) == "cell 2 of 4, about 20 s left"


def test_policy__takes_the_rules_of_another_symbol_where_asked(grid_file: Path) -> None:
    with pytest.raises(RulesError, match="NOBODYUSDT"):
        read_grid(grid_file).venue.contract("NOBODYUSDT")
    asked = grid_file.read_text().replace('tiers = "nearest"', 'like = "BTCUSDT"\ntiers = "nearest"')
    grid_file.write_text(asked)
    assert read_grid(grid_file).venue.contract("NOBODYUSDT").like == "BTCUSDT"
    grid_file.write_text(asked.replace('like = "BTCUSDT"', 'like = "XYZ"'))
    with pytest.raises(RulesError, match="like: must be a symbol that venue 'binance' lists, is 'XYZ'"):
        read_grid(grid_file)
