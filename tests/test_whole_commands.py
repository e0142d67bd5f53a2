"""Whole commands do each thing once, and nothing that can be done beside another after it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from random_cases import random_case

from backtest import Book, Conventions, Market, Venue, sweep, tiers_used
from backtest.__main__ import main
from backtest.cli.common.outputs import Later, outputs
from backtest.engine.input_warnings import _last_opened
from backtest.engine.sweep import sweep as engine
from backtest.engine.sweep.sweep import sweep_with_tiers
from backtest.errors import ArgumentError
from backtest.market import sample
from backtest.rules.rulebook import groups_after


@pytest.mark.parametrize("seed", range(6))
def test_sweep_with_tiers__is_the_sweep_and_the_tiers_used(seed):
    case = random_case(np.random.default_rng(seed), 60)
    options = dict(case.options)
    limit = options.pop("gap_limit_ms")
    market = Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))
    book, conventions = Book(case.positions, case.adjustments), Conventions(leverage_limit="error", **options)
    outcomes, used = sweep_with_tiers(book, market, case.venue, conventions=conventions)
    assert outcomes.equals(sweep(book, market, case.venue, conventions=conventions))
    assert used.equals(tiers_used(book, market, case.venue, conventions=conventions))


def test_sweep_with_tiers__counts_positions_that_are_left_out():
    held = {"symbol": "BTCUSDT", "side": "long", "entry_price": 40_000.0, "quantity": 1.0}
    rows = [{**held, "entry_time": datetime(2021, 5, 18, tzinfo=UTC), "leverage": each} for each in (5.0, 1_000.0)]
    book, venue, market = Book(pl.DataFrame(rows)), Venue.load("binance"), sample()
    conventions = Conventions(leverage_limit="filter")
    outcomes, used = sweep_with_tiers(book, market, venue, conventions=conventions)
    assert outcomes.height == 1
    assert used.equals(tiers_used(book, market, venue, conventions=conventions))
    assert used["positions"].to_list() == [2]


@pytest.mark.parametrize("command", ["run --count 500", "levels --count 500 --formats json"])
def test_commands__prepare_and_survey_a_book_once(tmp_path, monkeypatch, command):
    counts = {"prepare": 0, "survey": 0}

    def counted(module, name):
        original = getattr(module, name)

        def call(*args, **named):
            counts[name] += 1
            return original(*args, **named)

        monkeypatch.setattr(module, name, call)

    counted(engine, "prepare")
    counted(engine.admission, "survey")
    assert main([*command.split(), "--symbol", "BTCUSDT", "--out", str(tmp_path / "out")]) == 0
    assert counts == {"prepare": 1, "survey": 1}


def test_later__returns_or_raises_what_the_job_did_in_its_own_thread():
    assert Later(lambda: threading.current_thread() is threading.main_thread()).result() is False

    def fail():
        raise ValueError("no room")

    job = Later(fail)
    with pytest.raises(ValueError, match="no room"):
        job.result()


def test_last_opened__counts_where_no_bar_is_missing_as_a_search_does():
    opened = np.arange(0, 1_000, 10)
    moments = np.array([-5, 0, 1, 9, 10, 995, 990, 2_000])
    expected = np.maximum(np.searchsorted(opened, moments, side="right") - 1, 0)
    assert _last_opened(opened, 10, moments).tolist() == expected.tolist()
    gaps = np.delete(opened, [3, 40])
    expected = np.maximum(np.searchsorted(gaps, moments, side="right") - 1, 0)
    assert _last_opened(gaps, 10, moments).tolist() == expected.tolist()


def test_groups_after__follow_one_another_as_long_as_tables_take_over():
    rules = SimpleNamespace(successor=np.array([1, 2, -1, -1]), start=np.array([0, 10, 20, 5]))
    group, moment = np.array([0, 0, 0, 1, 3, 2]), np.array([5, 10, 25, 19, 99, 99])
    assert groups_after(rules, group, moment).tolist() == [0, 1, 2, 1, 3, 2]


def test_outputs__frames_are_whole_when_the_folder_is_given_back(tmp_path):
    frame = pl.DataFrame({"number": np.arange(100_000)})
    with outputs(tmp_path) as files:
        for name in ("a.parquet", "b.parquet"):
            files.write_parquet(name, frame)
        files.write_summary({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet", "summary.json"]
    assert all(pl.read_parquet(tmp_path / name).equals(frame) for name in ("a.parquet", "b.parquet"))


def test_outputs__an_error_of_writing_is_one_line_and_leaves_nothing(tmp_path):
    def write(*names, then=None):
        with outputs(tmp_path) as files:
            for name in names:
                files.write_parquet(name, pl.DataFrame({"number": np.arange(100_000)}))
            if then is not None:
                raise then

    with pytest.raises(ArgumentError, match="cannot be written to"):
        write("folder/there/is/none.parquet", "a.parquet")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError):
        write("a.parquet", then=KeyError("elsewhere"))
    assert list(tmp_path.iterdir()) == []
