"""Bad input: each kind ends as one line that says what to do, with exit code 2, and writes nothing.

The lines are those of ``docs/bad_input.md``. Run as a script, this module writes that page anew; read what
changed in it as a user would.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bad_kinds import Kind, good_files, kinds

from backtest.__main__ import main

PAGE = Path(__file__).parents[1] / "docs" / "bad_input.md"
SIGN = "backtest: error: "
EVERY_KIND = [kind for group in kinds().values() for kind in group]

#: What Python or polars adds, which differs between their versions.
BORROWED = re.compile(r"(cannot be read as Parquet|is not valid TOML): .*|(?<=choose from ).*(?=\) )")

INTRODUCTION = """\
# Error messages

This page lists what each mistake in a file, a frame or an option prints. Look up the message, or the mistake,
to see what to correct.

```
$ backtest run --bars nowhere.parquet
backtest: error: bars file nowhere.parquet does not exist
```

A mistake prints one line on the error stream. It begins with `backtest: error: ` (left out below), the exit
code is 2, and nothing is written. In Python the same sentences are the messages of `DataError`, `RulesError`,
`TiersError` and `ArgumentError`, all of them `BacktestError`; they name arguments where the command line names
options. The exit code of a long job of which parts are not done is 3, that of a command ended by a signal 128 and
its number (130 by Ctrl-C, 143 by `kill`): it removes what is half-written first.

Without `--out` a command writes to a folder of its own, `out/COMMAND`, so that `replay` does not replace what
`run` wrote. A folder with `summary.json` holds the files of one run, which `files` in it names: the summary is
removed before the first file of a new run is moved there, and comes last. A folder without it holds no result:
that run was killed. While a run works, no other can write to its folder (`.lock` there).

Rows are counted from 0, as in polars, also those of a CSV file: row 0 is the line after the header.
All mistakes in a venue file or a grid file are reported together, each by its path. `...` marks text by Python
or polars.

This page is written by `python tests/test_bad_input.py`, from the kinds that are tested.
"""


@pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.wrong)
def test_bad_input__ends_as_one_documented_line_and_writes_nothing(tmp_path, kind):
    code, out, err, before, after = outcome(kind, tmp_path)
    assert code == 2
    assert out == ""
    assert err.startswith(SIGN)
    assert err.count("\n") == 1
    assert told(err, tmp_path) == documented()[kind.wrong]
    assert after == before


def test_bad_input__page_is_in_step_with_the_kinds():
    assert list(documented()) == [kind.wrong for kind in EVERY_KIND]
    assert PAGE.read_text("utf-8") == page(documented())


def test_bad_input__kinds_differ_from_good_input_in_nothing_else(tmp_path):
    write(good_files(), tmp_path)
    words = "sweep --bars bars.parquet --funding funding.parquet --positions positions.parquet"
    more = "--adjustments adjustments.parquet --venue venue.toml --out out"
    code, _, err = run(f"{words} {more}", tmp_path)
    assert (code, err) == (0, "")


def outcome(kind: Kind, folder: Path) -> tuple[int, str, str, dict[str, Any], dict[str, Any]]:
    """Return exit code, output and errors of a command, and the files before and after it."""
    write(good_files() | dict(kind.files), folder)
    before = contents(folder)
    return *run(kind.words, folder), before, contents(folder)


def run(words: str, folder: Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        return main(words.split()), out.getvalue(), err.getvalue()


def write(files: dict[str, Any], folder: Path) -> None:
    for name, content in files.items():
        if isinstance(content, pl.DataFrame):
            content.write_parquet(folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def contents(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def told(err: str, folder: Path) -> str:
    """Return the line without its sign, the folder of the test, and what is borrowed."""
    line = err.strip().removeprefix(SIGN).replace(f"{folder}{os.sep}", "")
    return BORROWED.sub(lambda found: f"{found[1]}: ..." if found[1] else "...", line)


def documented() -> dict[str, str]:
    """Return what is told of each kind, from the page."""
    rows = re.findall(r"^\| (.+?) \| `(.+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {wrong: line.replace(r"\|", "|") for wrong, line in rows}


def page(lines: dict[str, str]) -> str:
    """Return the page: a table of kinds for everything they are about."""
    parts = [INTRODUCTION]
    for title, group in kinds().items():
        rows = [f"| {kind.wrong} | `{lines[kind.wrong].replace('|', chr(92) + '|')}` |" for kind in group]
        parts.append("\n".join([f"## {title}\n", "| mistake | message |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def collected() -> dict[str, str]:
    """Return what every kind is told now."""
    lines = {}
    for kind in EVERY_KIND:
        with tempfile.TemporaryDirectory() as name:
            lines[kind.wrong] = told(outcome(kind, Path(name))[2], Path(name))
    return lines


if __name__ == "__main__":
    ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(collected()), "utf-8")
    print(f"{PAGE}: {len(EVERY_KIND)} kinds")
