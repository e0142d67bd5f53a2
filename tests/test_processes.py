"""What others do to a process: fork it after polars was used, change arrays that were given, choose threads."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scale_cases import case
from test_scale_faults import VENUE

from backtest import Accounts, Book, Market
from backtest.scale import merge

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
from backtest import Venue, market
from backtest.errors import BacktestError
from backtest.market.files import read_frame
from backtest.schemas.frames import BARS
if sys.argv[1] == "used":
    market.sample()
child = os.fork()
if child == 0:
    try:
        market.sample()
        print("worked")
    except BacktestError as error:
        print(error)
    try:
        read_frame("nowhere.csv", BARS)
    except BacktestError as error:
        print(type(error).__name__)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
market.sample()
print("parent works")
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux alone lists threads")
@pytest.mark.parametrize("used", ["used", "not used"])
def test_a_fork__after_polars_was_used_is_refused_in_the_child(used):
    words = [sys.executable, "-c", FORK, used]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    child, reading, parent = run.stdout.splitlines()
    assert (reading, parent) == ("DataError" if used == "not used" else "BacktestError", "parent works")
    if used == "used":
        assert child.startswith("this process was forked after polars was used")
        assert 'multiprocessing.get_context("spawn")' in child
    else:
        assert child == "worked"


def hours(count: int) -> pl.Series:
    start = datetime(2021, 5, 18, tzinfo=UTC)
    return pl.Series([start + timedelta(hours=n) for n in range(count)], dtype=pl.Datetime("ms", "UTC"))


@pytest.mark.parametrize("count", [1, 2, 48])
def test_arrays_behind_a_frame__do_not_change_what_was_made_of_it(count):
    times = hours(count).to_physical().to_numpy().copy()
    prices = {name: np.full(count, 100.0) for name in ("open", "high", "low", "close")}
    stamps = pl.Series(times).cast(pl.Datetime("ms", "UTC"))
    market = Market(pl.DataFrame({"symbol": ["BTCUSDT"] * count, "time": stamps, **prices}))
    quantity, wallet = np.ones(count), np.ones(count)
    held = {"symbol": "BTCUSDT", "side": "long", "entry_time": hours(count), "entry_price": 100.0}
    book = Book(pl.DataFrame({**held, "quantity": quantity, "leverage": 2.0}))
    ids = pl.int_range(count, eager=True)
    legs = pl.DataFrame({**held, "leg_id": ids, "account_id": ids, "quantity": quantity})
    accounts = Accounts(pl.DataFrame({"account_id": ids, "wallet": wallet}), legs)
    for given in (times, *prices.values(), quantity, wallet):
        given[:] = 7
    assert market.bars["time"].equals(hours(count))
    assert set(market.bars["low"]) == set(market.prices("mark", "close").tolist()) == {100.0}
    assert set(book.positions["quantity"]) == set(accounts.legs["quantity"]) == {1.0}
    assert set(accounts.accounts["wallet"]) == {1.0}


COMMANDS = {
    "levels": "levels --count 3000 --symbol BTCUSDT --from 2021-05-18 --until 2021-05-20 --formats json parquet",
    "run": "run --count 3000 --from 2021-05-18 --until 2021-05-20",
    "batches": "sweep --batch-rows 100 --levels ETHUSDT --leverage-limit cap",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_files__have_the_same_bytes_under_any_number_of_threads(tmp_path, name):
    found = {}
    if name == "batches":
        made = case(tmp_path / "case", count=600)
        (tmp_path / "venue.toml").write_text(VENUE)
        given = {
            "bars": made.folder / "bars.parquet",
            "positions": made.positions,
            "venue": tmp_path / "venue.toml",
        }
        more = [word for option, path in given.items() for word in (f"--{option}", str(path))]
    else:
        more = []
    for threads in ("1", "3"):
        out = tmp_path / threads
        more_words = [*more, "--out", str(out)] + ([] if more else ["--threads", threads])
        words = [sys.executable, "-m", "backtest", *COMMANDS[name].split(), *more_words]
        subprocess.run(words, env={**os.environ, "POLARS_MAX_THREADS": threads}, capture_output=True, check=True)
        found[threads] = {path.relative_to(out): path.read_bytes() for path in out.rglob("*.parquet")}
    assert len(found["1"]) >= 3
    assert [file for file, data in found["3"].items() if data != found["1"][file]] == []


def test_sums_of_batches__are_written_alike_in_however_many_chunks_they_come(tmp_path):
    whole = pl.DataFrame({"row": np.arange(3_000)})
    chunks = pl.concat([whole[:10], whole[10:2_000], whole[2_000:]], rechunk=False)
    assert chunks.n_chunks() == 3
    for name, frame in (("whole", whole), ("chunks", chunks)):
        merge._write(tmp_path, f"{name}.parquet", frame)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "chunks.parquet").read_bytes()
