"""What a replay keeps in memory, and that neither room, threads nor the index of deleveraging change an answer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
import pytest
from replay_cases import Coupled, coupled_case
from test_replay_reference import replayed

from backtest import Book, Market, Venue, replay
from backtest.engine.replay import records, session, state
from backtest.engine.replay.replay import Replay
from backtest.engine.replay.state import Setup
from backtest.kernel import threads
from backtest.kernel.replay import entries
from backtest.kernel.replay.adl_ranking import BOUNDED
from backtest.schemas.frames import Side, Time

FRAMES = ("outcomes", "fund", "adl", "impact", "ledger", "trace", "flow")
MINUTE = 60_000
START = 1_609_459_200_000


def written(found: Replay) -> dict[str, bytes]:
    """Return the bytes each frame is written as."""
    files = {}
    for name in FRAMES:
        file = io.BytesIO()
        getattr(found, name).write_ipc(file)
        files[name] = file.getvalue()
    return files


def coupled_cases(seed: int, count: int) -> list[Coupled]:
    found = [coupled_case(np.random.default_rng([number, seed])) for number in range(count)]
    return [coupled for coupled in found if not coupled.case.positions.is_empty()]


def test_replay__same_seed_same_bytes_with_one_thread_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "CHUNK", 7)  # so that two threads have something to share
    for coupled in coupled_cases(21, 40):
        assert written(replayed(coupled, 1)) == written(replayed(coupled, 2))


def test_replay__room_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = coupled_cases(22, 25)
    expected = [written(replayed(coupled)) for coupled in cases]
    monkeypatch.setattr(state, "PLACES", 1)
    monkeypatch.setattr(session, "SPARE", 8)
    assert [written(replayed(coupled)) for coupled in cases] == expected


def against_one(count: int) -> tuple[Book, Market]:
    """Return longs that the third bar opens beyond bankruptcy, one short against them all, and bars after it."""
    opening = np.array([100.0, 100.0, 60.0, 60.0, 60.0])
    times = pl.Series(START + MINUTE * np.arange(opening.size)).cast(Time)
    prices = dict.fromkeys(("open", "high", "low", "close"), opening)
    positions = {
        "position_id": np.arange(count + 1),
        "symbol": pl.repeat("BTCUSDT", count + 1, eager=True),
        "side": pl.Series(["short"] + ["long"] * count, dtype=Side),
        "entry_time": pl.Series(np.full(count + 1, START)).cast(Time),
        "entry_price": np.full(count + 1, 100.0),
        "quantity": np.append(float(count), np.ones(count)),
        "leverage": np.append(1.0, np.full(count, 10.0)),
    }
    bars = pl.DataFrame({"symbol": pl.repeat("BTCUSDT", opening.size, eager=True), "time": times, **prices})
    return Book(pl.DataFrame(positions)), Market(bars)


def test_replay__loses_no_match_of_a_bar_that_has_more_than_there_was_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "SPARE", 8)
    count = 2 * entries.ROOM + 52  # what a first bar makes room for, and more
    book, market = against_one(count)
    found = replay(book, market, Venue.load("binance").with_(adl_trigger="fund_empty"), tiers="nearest")
    assert found.adl["liquidated_id"].to_list() == list(range(1, count + 1))
    assert found.adl["quantity"].sum() == count


@pytest.mark.parametrize("rank", [rank.name.lower() for rank in BOUNDED])
def test_ranks__the_index_finds_whom_a_scan_finds(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, asked = [], 0
    for coupled in coupled_cases(23, 25):
        rules = {"adl_trigger": "fund_empty", "adl_rank": rank, "clawback": False}
        cases.append(coupled._replace(venue=coupled.venue.with_(**rules), fund=0.0))
    expected = [replayed(coupled) for coupled in cases]
    monkeypatch.setattr(records, "INDEX_LEAST", 0)
    monkeypatch.setattr(records, "INDEX_AFTER", 0)
    for coupled, scanned in zip(cases, expected, strict=True):
        assert written(replayed(coupled)) == written(scanned)
        asked += scanned.adl.height
    assert asked > 40


def crowd(count: int, bars: int) -> tuple[Book, Market]:
    """Return positions of which a tenth are open at a time, on a random walk."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, bars)))
    opening = np.append(100.0, close[:-1])
    columns = {
        "open": opening,
        "high": np.maximum(opening, close) * 1.0005,
        "low": np.minimum(opening, close) * 0.9995,
        "close": close,
    }
    times = pl.Series(START + MINUTE * np.arange(bars)).cast(Time)
    frame = pl.DataFrame({"symbol": pl.repeat("BTCUSDT", bars, eager=True), "time": times, **columns})
    entry = rng.integers(0, bars - 1, count)
    leaves = entry + rng.integers(1, bars // 5, count)
    positions = {
        "position_id": np.arange(count),
        "symbol": pl.repeat("BTCUSDT", count, eager=True),
        "side": pl.Series(["long", "short"], dtype=Side).gather(rng.integers(0, 2, count)),
        "entry_time": pl.Series(START + MINUTE * entry).cast(Time),
        "entry_price": opening[entry],
        "quantity": rng.exponential(1.0, count) + 0.01,
        "leverage": rng.uniform(2, 100, count),
        "exit_time": pl.Series(START + MINUTE * leaves).cast(Time),
    }
    return Book(pl.DataFrame(positions)), Market(frame)


def sizes(*parts: Any) -> int:
    return sum(array.nbytes for part in parts for array in part if isinstance(array, np.ndarray))


def test_replay__keeps_less_than_300_bytes_a_position(monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Setup] = []
    finished = session.finished
    monkeypatch.setattr(session, "finished", lambda setup: stages.append(finished(setup)) or stages[-1])
    count = 40_000
    book, market = crowd(count, 2_000)
    venue = Venue.load("binance").with_(adl_trigger="fund_empty", step="fraction", step_fraction=0.25)
    replay(book, market, venue, tiers="nearest", leverage_limit="cap")
    world, plan = stages[-1].world, stages[-1].agenda
    per_position = sizes(stages[-1].found) + sizes((plan.entry, plan.exit, world.places))
    per_open = sizes((world.book, world.nodes, world.wave, world.ranking))
    assert per_position / count < 166  # of which the outcomes' own columns are 147
    assert per_open / world.book.size < 480
    assert (per_position + per_open) / count < 300
