"""Orders, takeovers and counterparties of single liquidations, counted by hand; money is conserved in each."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pytest
from test_replay import assert_closes, book, cash, market, plain_venue

from backtest import replay
from backtest.engine.replay.replay import Replay
from backtest.kernel.replay.proportions import cut_part, raised_part, rounded_part
from backtest.rules.procedure import Procedure

CALM = (100.0, 100.0, 100.0, 100.0)


def flat(price: float) -> tuple[float, float, float, float]:
    return (price, price, price, price)


def played(
    rows: Any, bars: Any, *, fund: float = 0.0, rate: float = 0.05, impact: Any = None, **rules: Any
) -> Replay:
    """Return a replay of the rows under one rate, after checking that money is conserved in it."""
    path = market(*bars, volume=[1e4] * len(bars))
    venue = plain_venue(rate).with_(remainder=rules.pop("remainder", "returned"), procedure=Procedure(**rules))
    found = replay(book(*rows), path, venue, fund=fund, impact=impact, trace=0)
    assert_closes(found)
    return found


def steps(found: Replay) -> list[str]:
    return found.trace["step"].to_list()


# --- parts of whole numbers


def test_parts__of_whole_numbers_are_those_of_python() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        total = int(rng.integers(1, 2 ** int(rng.integers(2, 61))))
        part = int(rng.integers(0, total + 1))
        amount = int(rng.integers(0, 2 ** int(rng.integers(1, 62))))
        given = [np.int64(number) for number in (amount, part, total)]
        assert cut_part(*given) == amount * part // total
        assert raised_part(*given) == -(-amount * part // total)
        nearest, left = divmod(amount * part, total)
        nearest += 2 * left > total or (2 * left == total and nearest % 2 == 1)
        assert rounded_part(*given) == nearest
        assert rounded_part(np.int64(-amount), *given[1:]) == -nearest


@pytest.mark.parametrize("quantity", [2.09, 2.091835474107102])
def test_tenths__close_in_ten_orders_and_the_tenth_is_passed_on(quantity: float) -> None:
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": quantity, "margin": 10 * quantity},
        {"side": "short", "entry_price": 150.0, "quantity": 3 * quantity, "margin": 300 * quantity},
    ]
    bars = [CALM, *(flat(88 - 0.1 * bar) for bar in range(14))]
    found = played(rows, bars, step="fraction", step_fraction=0.1, round_seconds=60.0)
    assert steps(found).count("filled") == 9
    assert found.adl["quantity"].to_list() == pytest.approx([quantity / 10])
    assert cash(found, "deficit") == 0
    assert found.outcomes["outcome_time"][0].minute == 10


@pytest.mark.parametrize("parts", [3, 7, 10, 50])
def test_fractions__close_in_as_many_orders_as_they_say(parts: int) -> None:
    for quantity in np.random.default_rng(parts).uniform(1, 10, 20):
        row = {"side": "long", "entry_price": 100.0, "quantity": quantity, "margin": 10 * quantity}
        bars = [CALM, *(flat(88.0) for _ in range(ceil(1.1 * parts)))]
        rules = {"step": "fraction", "step_fraction": 1 / parts, "round_seconds": 60.0, "adl_trigger": "never"}
        assert steps(played([row], bars, **rules)).count("filled") == parts
