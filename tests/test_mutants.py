"""Files changed at random: refused in one line with nothing written, or read as a slow, independent reading does.

``BACKTEST_MUTANTS=500 pytest tests/test_mutants.py`` tries so many of each type of file.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import trade_logs
from bad_kinds import as_csv, as_parquet, bars, funding, good_files, positions
from mutants import (
    frame,
    moment,
    mutant_of_bytes,
    mutant_of_text,
    mutant_of_toml,
    number,
    slow_rows,
    slow_venue,
    words,
)
from reference import reference_outcomes
from test_bad_input import contents, run, write
from test_full_disk import files as good_grid

from backtest.errors import DataError
from backtest.market.repairs import Reading
from backtest.market.sources import read as read_archive

COUNT = int(os.environ.get("BACKTEST_MUTANTS", "12"))

PRICES = ("open", "high", "low", "close")
BARS = {"symbol": words, "time": moment, **dict.fromkeys(PRICES, number)}
FUNDING = {"symbol": words, "time": moment, "rate": number}
POSITIONS = {
    "position_id": words,
    "symbol": words,
    "side": words,
    "entry_time": moment,
    "entry_price": number,
    "quantity": number,
    "leverage": number,
}
SWEEP = "sweep --venue venue.toml --out out --bars {bars} --positions {positions} --funding {funding}"
COMPARED = (
    "outcome",
    "outcome_time",
    "fill_price",
    "liquidation_price",
    "realised_pnl",
    "shortfall",
    "entry_notional",
)


def moving() -> pl.DataFrame:
    """Return bars that fall far enough to liquidate some of the positions."""
    fall = pl.when(pl.int_range(pl.len()) >= 30).then(0.85).otherwise(1.0)
    return bars().with_columns(pl.col(PRICES) * fall)


GOOD = {"bars": moving(), "positions": positions(), "funding": funding()}


def outcome(folder: Path, text: str) -> int:
    """Return the exit code of a command, which has printed one line where it is refused, and written nothing."""
    before = contents(folder)
    code, _, err = run(text, folder)
    assert code in (0, 2), err
    if code == 2:
        assert err.count("\n") == 1, err
        assert err.startswith("backtest: error: ")
        assert contents(folder) == before
    else:
        assert err == ""
    return code


def rng_of(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def referred(given: dict[str, pl.DataFrame], venue: Any) -> pl.DataFrame:
    """Return the reference's outcomes of frames, in the columns that are compared."""
    shape = good_files()["positions.parquet"].columns
    held = given["positions"].select(name for name in given["positions"].columns if name in shape)
    found = reference_outcomes(held, None, given["bars"], given["funding"], venue)
    return found.select(COMPARED)


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    for name in COMPARED:
        for one, other in zip(found[name].to_list(), expected[name].to_list(), strict=True):
            same = one == other or (
                isinstance(one, float) and isinstance(other, float) and math.isnan(one + other)
            )
            assert same, (name, one, other)


def venue() -> Any:
    return slow_venue(good_files()["venue.toml"].encode())


@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("name", ["bars", "positions", "funding"])
def test_mutants_of_csv(tmp_path, name, seed):
    data = mutant_of_text(as_csv(GOOD[name]), rng_of(f"{name}.csv", seed))
    write(good_files() | {f"{each}.parquet": held for each, held in GOOD.items()}, tmp_path)
    (tmp_path / f"{name}.csv").write_bytes(data)
    file = {each: f"{each}.csv" if each == name else f"{each}.parquet" for each in GOOD}
    if outcome(tmp_path, SWEEP.format(**file)) == 0:
        kinds = {"bars": BARS, "positions": POSITIONS, "funding": FUNDING}[name]
        rows = slow_rows(data, kinds)
        given = GOOD | {name: frame(rows, ("time", "entry_time"))}
        assert_same(pl.read_parquet(tmp_path / "out" / "outcomes.parquet"), referred(in_order(given), venue()))


def in_order(given: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return frames with sides in the package's own words, as the reference takes them."""
    sides = {"buy": "long", "sell": "short", "+1": "long", "1": "long", "-1": "short"}
    held = given["positions"]
    if "position_id" not in held.columns:  # numbered by the reader
        held = held.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("position_id"), pl.all())
    held = held.with_columns(pl.col("side").cast(pl.String).str.to_lowercase().replace(sides))
    return given | {"positions": held}


@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("batches", ["", " --batch-rows 2"])
@pytest.mark.parametrize("name", ["bars", "positions", "funding"])
def test_mutants_of_parquet(tmp_path, capfd, name, batches, seed):
    data = mutant_of_bytes(as_parquet(GOOD[name]), rng_of(f"{name}.parquet", seed))
    write(
        good_files() | {f"{each}.parquet": held for each, held in GOOD.items()} | {f"{name}.parquet": data},
        tmp_path,
    )
    text = SWEEP.format(**{each: f"{each}.parquet" for each in GOOD}) + batches
    code, _, err = run(text, tmp_path)
    assert capfd.readouterr().err == ""
    assert code in (0, 2, *((3,) if batches and name == "positions" else ()))
    assert err.count("\n") == (1 if code else 0), err
    if code == 0 and not batches:
        given = in_order(GOOD | {name: pl.read_parquet(io.BytesIO(data))})
        assert_same(pl.read_parquet(tmp_path / "out" / "outcomes.parquet"), referred(given, venue()))


@pytest.mark.parametrize("seed", range(3 * COUNT))
def test_mutants_of_venue_files(tmp_path, seed):
    data = mutant_of_toml(good_files()["venue.toml"], rng_of("venue", seed))
    write(good_files() | {f"{each}.parquet": held for each, held in GOOD.items()} | {"venue.toml": data}, tmp_path)
    outcome(tmp_path, "venues venue.toml")
    if outcome(tmp_path, SWEEP.format(**{each: f"{each}.parquet" for each in GOOD})) == 0:
        found = pl.read_parquet(tmp_path / "out" / "outcomes.parquet")
        if not found["outcome"].is_in(["rejected"]).any():  # the reference is not asked to admit positions
            assert_same(found, referred(GOOD, slow_venue(data)))


@pytest.mark.parametrize("seed", range(COUNT))
def test_mutants_of_grid_files(tmp_path, seed):
    given = good_grid()
    write(given | {"grid.toml": mutant_of_toml(given["grid.toml"], rng_of("grid", seed))}, tmp_path)
    if outcome(tmp_path, "policy grid.toml --out out") == 0:
        found = pl.read_parquet(tmp_path / "out" / "policies.parquet")
        assert (
            found.height
            == found.unique(["history", "book", "change", "cap", "rate_scale", "fill", "response"]).height
        )
        assert found["liquidated_share"].is_between(0, 1).all()


@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("name", ["freqtrade", "plain"])
def test_mutants_of_trade_lists(tmp_path, name, seed):
    if name == "plain":
        rows = [{"symbol": "BTCUSDT", "side": side, "entry_time": trade_logs.at(opened), "entry_price": entry,
                 "exit_time": trade_logs.at(closed), "exit_price": exit_, "quantity": quantity, "leverage": 10.0}
                for side, quantity, opened, entry, closed, exit_, _ in trade_logs.TRADES]  # fmt: skip
        data, file = mutant_of_text(as_csv(pl.DataFrame(rows)), rng_of(name, seed)), "trades.csv"
    else:
        whole = trade_logs.freqtrade(tmp_path).read_bytes()
        for left in tmp_path.iterdir():
            left.unlink()
        data, file = mutant_of_bytes(whole, rng_of(name, seed)), "trades.json"
    (tmp_path / file).write_bytes(data)
    if outcome(tmp_path, f"check {file} --out out --tiers nearest") == 0 and name == "plain":
        kinds = {"side": words, "entry_price": number, "quantity": number, "leverage": number}
        slow = [(row.get("entry_price"), row.get("quantity")) for row in slow_rows(data, kinds)]
        found = pl.read_parquet(tmp_path / "out" / "trades.parquet").unique("trade_id", maintain_order=True)
        assert found.height <= len(slow)
        assert set(found.select("entry_price", "quantity").iter_rows()) <= set(slow)


@pytest.mark.parametrize("seed", range(4 * COUNT))
def test_mutants_of_archives(tmp_path, seed):
    lines = [
        f"{1_621_425_600_000 + n * 60_000},{38_000 + n},{38_100 + n},{37_900 + n},{38_050 + n},1.5,"
        f"{1_621_425_659_999 + n * 60_000},57000,10,0.5,19000,0"
        for n in range(30)
    ]
    rng, name = rng_of("archive", seed), "BTCUSDT-1m-2021-05-19"
    inside = seed % 2 == 0
    text = mutant_of_text("\n".join(lines) + "\n", rng) if inside else ("\n".join(lines) + "\n").encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", text)
    path = tmp_path / f"{name}.zip"
    path.write_bytes(held.getvalue() if inside else mutant_of_bytes(held.getvalue(), rng))
    reading, refusal = read_or_refused(path)
    if reading is None:
        assert "\n" not in refusal
        return
    expected = slow_klines(text)
    dropped = sum(
        reading.repairs.counts.get(kind, 0) for kind in ("duplicate", "conflicting", "impossible", "off_grid")
    )
    found = {row[0]: row[1:] for row in reading.rows.select("time", *PRICES).iter_rows()}
    assert len(found) + dropped == sum(map(len, expected.values()))
    for at, prices in found.items():
        assert prices in expected[at]


def read_or_refused(path: Path) -> tuple[Reading | None, str]:
    try:
        return read_archive(path, "klines", symbol="BTCUSDT"), ""
    except DataError as error:
        return None, str(error)


def slow_klines(text: bytes) -> dict[Any, list[tuple[float, ...]]]:
    """Return the prices of klines by their time, of which one may have several."""
    found: dict[Any, list[tuple[float, ...]]] = {}
    for line in text.decode().replace("\r\n", "\n").splitlines():
        cells = line.split(",")
        if len(cells) >= 5 and cells[0].strip():
            at = moment(cells[0].strip())
            if at is not None and at.year < 1975:
                at += (at - moment("0")) * 999  # written in seconds
            found.setdefault(at, []).append(tuple(number(cell.strip()) or math.nan for cell in cells[1:5]))
    return found


def test_mutants__are_refused_and_read_both(tmp_path):
    """Changes are neither so large that all are refused, nor so small that none are."""
    codes = []
    for seed in range(30):
        folder = tmp_path / str(seed)
        folder.mkdir()
        write(good_files() | {"bars.csv": mutant_of_text(as_csv(moving()), rng_of("bars.csv", seed))}, folder)
        codes.append(
            run(SWEEP.format(bars="bars.csv", positions="positions.parquet", funding="funding.parquet"), folder)[0]
        )
    assert 3 <= codes.count(0) <= 27
