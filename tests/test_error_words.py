"""A wrong argument is named as its caller knows it: the argument in Python, the option on the command line."""

from __future__ import annotations

import pickle
from typing import Any

import polars as pl
import pytest

from backtest import Book, Impact, Market, Venue, market, population, replay, sweep
from backtest.__main__ import main
from backtest.cli.policy.grid_file import read_grid
from backtest.errors import ArgumentError, DataError, RulesError, TiersError
from backtest.market.sources.fetcher import Settings

SAMPLE = market.sample()
BARS = Market(SAMPLE.bars.filter(pl.col("symbol") == "BTCUSDT")).resample("1h")
BINANCE = Venue.load("binance")
BOOK = population.synthetic(BARS, BINANCE, count=20, seed=1)
RUN = "--symbol BTCUSDT --count 20"


def positions(**changes: Any) -> Book:
    return Book(BOOK.positions.with_columns(**changes))


@pytest.mark.parametrize(
    ("call", "said", "words", "option"),
    [
        (lambda: sweep(BOOK, BARS, BINANCE, tiers="winter"), "tiers must", f"run {RUN} --tiers x", "--tiers must"),
        (lambda: replay(BOOK, BARS, BINANCE, trace=99), "trace must", f"replay {RUN} --trace 99", "--trace must"),
        (
            lambda: replay(BOOK, BARS, BINANCE, entry_bar="tested", impact=Impact(linear=1e-9)),
            "entry_bar must",
            f"replay {RUN} --entry-bar tested --impact 1e-9",
            "--entry-bar must",
        ),
        (
            lambda: Settings(parallel=99),
            "parallel must",
            "fetch binance --symbol BTCUSDT --from 2021-05-01 --parallel 99",
            "--parallel must",
        ),
        (
            lambda: Settings(hosts={"kraken": "http://127.0.0.1"}),
            "hosts must",
            "fetch binance --symbol BTCUSDT --from 2021-05-01 --host kraken=http://127.0.0.1",
            "--host must",
        ),
        (
            lambda: Settings(offline=True, refresh=True),
            "offline asks",
            "fetch binance --symbol BTCUSDT --from 2021-05-01 --offline --refresh",
            "--offline asks",
        ),
    ],
)  # fmt: skip
def test_a_wrong_argument__is_named_by_python_and_by_its_option(tmp_path, capsys, call, said, words, option):
    with pytest.raises(ArgumentError, match=f"^{said}"):
        call()
    out = [] if words.startswith("fetch") else ["--out", str(tmp_path / "out")]
    assert main([*words.split(), *out]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"backtest: error: {option}")
    assert err.count("\n") == 1


def test_what_would_serve_instead__is_written_as_the_caller_writes_it(tmp_path, capsys):
    book = positions(leverage=pl.lit(500.0))
    with pytest.raises(DataError, match=r"\(leverage_limit='cap' or leverage_limit='filter'\)$"):
        sweep(book, BARS, BINANCE)
    book.positions.write_parquet(tmp_path / "book.parquet")
    BARS.bars.write_parquet(tmp_path / "bars.parquet")
    words = f"sweep --bars {tmp_path}/bars.parquet --positions {tmp_path}/book.parquet --venue binance"
    assert main([*words.split(), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.endswith("(--leverage-limit cap or --leverage-limit filter)\n")
    assert main([*words.split(), "--batch-rows", "9", "--out", str(tmp_path / "batches")]) == 3
    assert capsys.readouterr().err.endswith("(--leverage-limit cap or --leverage-limit filter)\n")


def test_substitute_tables__are_offered_by_the_nearest_and_by_name():
    okx = Venue.load("okx")
    bars = Market(SAMPLE.bars.filter(pl.col("symbol") == "ETHUSDT")).resample("1h")
    book = population.synthetic(bars, okx, count=20, seed=1, tiers="nearest")
    with pytest.raises(TiersError, match=r"\(tiers='nearest' or tiers='[^']+'\)$") as caught:
        sweep(book, bars, okx)
    name = caught.value.remedies[1][1]
    assert sweep(book, bars, okx, tiers=name, leverage_limit="filter").height > 0


def test_grid_files__are_told_by_their_keys(tmp_path):
    grid = tmp_path / "grid.toml"
    books = '[[books]]\nname = "b"\ncount = 10\n'
    grid.write_text(f'[grid]\ncaps = [0.5]\n[[histories]]\nname = "h"\nsample = true\n{books}')
    with pytest.raises(RulesError, match=r"grid\.caps: must be 1 or more, is 0\.5"):
        read_grid(grid)
    grid.write_text(f'[[histories]]\nname = "h"\nsample = true\nsymbols = ["XRPUSDT"]\n{books}')
    with pytest.raises(ArgumentError, match=r"histories\[0\]\.symbols XRPUSDT is not in the bars"):
        read_grid(grid).history("h")
    grid.write_text(f'[[histories]]\nname = "h"\nsample = true\nfrom = 2031-01-01\n{books}')
    with pytest.raises(ArgumentError, match=r"histories\[0\]\.from leaves no bars"):
        read_grid(grid).history("h")


def test_errors__come_back_whole_from_another_process():
    error = ArgumentError("must be above zero, is 0", argument="unit", remedies=(("unit", "0.01"),))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "unit must be above zero, is 0 (unit='0.01')"
    assert again.message(lambda name: f"--{name}", "{} {}") == "--unit must be above zero, is 0 (--unit 0.01)"
    assert again.message(lambda _: None) == "unit must be above zero, is 0"
