"""Steps of a traced position in sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from test_replay import book, market, plain_venue, replay

from backtest.cli.replay.trace import SENTENCES, narrated, step_text
from backtest.kernel.replay.state import STEPS

NOW = datetime(2021, 5, 19, 12, tzinfo=UTC)
ROW = {
    "time": NOW,
    "price": 90.5,
    "quantity": 0.4,
    "held": 0.6,
    "equity": 25.0,
    "maintenance_margin": 15.0,
    "fund": 7.0,
}


def test_sentences__are_of_every_step() -> None:
    assert set(SENTENCES) == set(STEPS)


@pytest.mark.parametrize(
    ("step", "more", "sentence"),
    [
        (
            "filled",
            {},
            "an order closed 0.4 at 90.5; holds 0.6, equity $25 against $15 of maintenance margin; fund $7",
        ),
        ("taken over", {"price": None, "held": 0.0}, "0.4 taken over at no possible price; fund $7"),
        (
            "clawed back",
            {"quantity": 1_500.0},
            "$1.5 k of profit clawed back for another's shortfall, at a mark of 90.5",
        ),
    ],
)
def test_step_text__is_a_step_in_a_sentence(step: str, more: dict[str, Any], sentence: str) -> None:
    assert step_text({**ROW, "step": step, **more}, "USDT").startswith(f"2021-05-19 12:00  {sentence}")


def test_narrated__ends_with_why_it_stopped() -> None:
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 10.0})
    path = market((100, 100, 100, 100), (100, 100, 80, 80))
    rules = plain_venue(0.05, adl_trigger="never", step="fraction", step_fraction=0.4)
    lines = narrated(replay(held, path, rules, trace=0).trace, "USDT").splitlines()
    assert lines[0] == "Trace"
    assert "triggered at 94.7" in lines[2]
    assert "control returned" in lines[4]
    assert "equity is high enough to end the procedure" in lines[-1]
