"""A liquidation is its own side's, whichever leg of the bar it is met on; and no lot is lost or found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from replay_cases import coupled_case
from test_replay import assert_closes, book, market, plain_venue
from test_replay_reference import replayed

from backtest import Impact, replay
from backtest.engine.replay import session
from backtest.kernel.replay.codes import WAITING
from backtest.kernel.replay.state import World


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> list[World]:
    """Return the list in which every world that is built ends up, as it was left."""
    built: list[World] = []

    def remembered(*given: Any) -> Any:
        found = finished(*given)
        built.append(found.world)
        return found

    finished = session.finished
    monkeypatch.setattr(session, "finished", remembered)
    return built


def assert_lots_close(world: World) -> None:
    """What traders, market and backstop hold is zero together, and each what its positions and inventory say."""
    book = world.book
    held = np.where(book["status"] == WAITING, 0, book["lots"]) * (1 - 2 * book["side"].astype(np.int64))
    for number, symbol in enumerate(world.symbols):
        traders, _, backstop = (int(lots) for lots in symbol["stock"])
        assert symbol["stock"].sum() == 0
        assert traders == held[book["symbol"] == number].sum()
        assert backstop == int(symbol["inventory"][0]) - int(symbol["inventory"][1])


def test_lots__always_close(worlds: list[World]) -> None:
    for number in range(60):
        coupled = coupled_case(np.random.default_rng([number, 11]), 40)
        if not coupled.case.positions.is_empty():
            replayed(coupled)
            assert_lots_close(worlds[-1])


#: A bar whose high side is walked first, and one that goes as low and is walked low side first.
HIGH_FIRST, LOW_FIRST = (100, 101, 80, 80), (100, 121, 80, 80)
LONG = {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0, "take_profit_price": 101.0}


def crossed(bar: tuple[float, float, float, float]) -> Any:
    opening, high, low, close = bar
    last = {"open": opening, "high": high, "low": low, "close": close}
    both = {f"last_{name}": [100.0, float(price), 80.0] for name, price in last.items()}
    return market((100, 100, 100, 100), bar, (80, 80, 80, 80), **both)


@pytest.mark.parametrize("bar", [HIGH_FIRST, LOW_FIRST])
def test_sides__counterparties_of_a_long_are_shorts(bar: Any, worlds: list[World]) -> None:
    others = [
        {"entry_price": 50.0, "quantity": 3.0, "margin": 100.0, "take_profit_price": None},
        {"side": "short", "entry_price": 150.0, "quantity": 3.0, "margin": 200.0, "take_profit_price": None},
    ]
    found = replay(book(LONG, *others), crossed(bar), plain_venue(0.01), fill_price="last_extreme")
    assert found.adl.select("liquidated_id", "counterparty_id", "price").rows() == [(0, 2, 90.0)]
    assert_closes(found)
    assert_lots_close(worlds[-1])


@pytest.mark.parametrize("bar", [HIGH_FIRST, LOW_FIRST])
def test_sides__a_long_moves_the_mark_down_and_is_of_the_first_wave(bar: Any) -> None:
    venue = plain_venue(0.01, adl_trigger="never")
    found = replay(book(LONG), crossed(bar), venue, impact=Impact(mark=1e-3), exogenous=True)
    step = found.impact.row(1, named=True)
    sold = 90 / 0.99
    assert step["offset"] == pytest.approx(-1e-3 * sold)
    assert (step["long_executed"], step["first_wave"]) == (pytest.approx(sold), pytest.approx(sold))


def test_sides__what_nobody_takes_moves_the_mark_once() -> None:
    """A short liquidated with the longs' wave has their needs passed on in the middle of it."""
    short = {"side": "short", "entry_price": 100.0, "quantity": 2.0, "margin": 25.0, "take_profit_price": 92.0}
    long = {"entry_price": 100.0, "quantity": 1.0, "margin": 8.0, "take_profit_price": None}
    path = crossed((100, 140, 80, 80))
    found = replay(
        book(short, long), path, plain_venue(0.01), impact=Impact(mark=1e-6), exogenous=True,
        fill_price="last_extreme",
    )  # fmt: skip
    sold = found.impact.row(1, named=True)
    moved = 1e-6 * (sold["short_executed"] - sold["long_executed"])
    assert sold["short_executed"] > 0 < sold["long_executed"]
    assert found.impact["offset"][1] == pytest.approx(moved)
