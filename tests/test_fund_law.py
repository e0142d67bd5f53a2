"""A larger fund and deleveraging: what holds for one event, and what need not hold for several."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from event_cases import FUNDS, Borne, begun, borne, breaches, orders, played, random_event
from test_replay import assert_closes, book, market, plain_venue

from backtest import Impact, replay

EVENTS = 100


@pytest.fixture(scope="module")
def one_event() -> list[tuple[str, bool, list[Borne], float]]:
    """Markets in which one position is liquidated: what deleverages, whether by one order, what funds left."""
    found = []
    for number in range(EVENTS):
        event = random_event(np.random.default_rng([number, 1]), 1)
        runs = [played(event, fund) for fund in FUNDS]
        for run in runs:
            assert_closes(run)
        if max(map(begun, runs)) == 1:
            trigger, single = event.venue.procedure.adl_trigger, max(map(orders, runs)) <= 1
            found.append((trigger, single, [borne(run) for run in runs], event.scale))
    return found


def test_of_one_event__a_larger_fund_never_means_more_deleveraging_and_never_an_earlier_one(one_event) -> None:
    """However the position is closed, where counterparties are turned to once the fund is empty."""
    told = [runs for trigger, _, runs, _ in one_event if trigger == "fund_empty"]
    assert sum(runs[0].quantity > 0 for runs in told) > 25
    for runs in told:
        for small, large in pairwise(runs):
            assert large.quantity <= small.quantity * (1 + 1e-9)
            assert large.first is None or (small.first is not None and large.first >= small.first)


def test_of_one_order__neither_does_it_where_counterparties_are_turned_to_when_the_fund_falls(one_event) -> None:
    told = [(runs, scale) for trigger, single, runs, scale in one_event if trigger == "fund_drop" and single]
    assert sum(runs[0].quantity > 0 for runs, _ in told) > 5
    for runs, scale in told:
        for small, large in pairwise(runs):
            assert not breaches(small, large, scale) & {"more deleveraged", "earlier"}


def test_of_several_events__it_may_and_that_is_counted() -> None:
    broken = markets = 0
    for number in range(150):
        event = random_event(np.random.default_rng([number, 4]), 4)
        runs = [borne(played(event, fund)) for fund in FUNDS]
        if any(run.quantity > 0 for run in runs):
            markets += 1
            broken += any("more deleveraged" in breaches(*pair, event.scale) for pair in pairwise(runs))
    assert markets > 60
    assert broken < markets / 20


def test_of_two_at_once__what_the_fund_pays_for_is_sold_and_lowers_the_price_of_the_next() -> None:
    """Without a fund the first long is passed on, and the second fetches enough in the book.

    With a fund that pays for the first, its sale lowers the price that the second gets: now that one lacks, the
    fund is empty, and twice as much is passed on. What others lose by it is less all the same.
    """
    rows = [
        {"entry_price": 100.0, "quantity": 10.0, "margin": 100.0},
        {"entry_price": 100.0, "quantity": 20.0, "margin": 400.0},
        {"side": "short", "entry_price": 95.0, "quantity": 40.0, "margin": 4_000.0},
    ]
    path = market((100, 100, 100, 100), (84, 84, 80.5, 81))
    found = {
        fund: borne(replay(book(*rows), path, plain_venue(0.01), fund=fund, impact=Impact(linear=1e-5)))
        for fund in (0.0, 64.0, 80.0)
    }
    assert found[0.0].quantity == pytest.approx(10)
    assert found[64.0].quantity == pytest.approx(19.1, abs=0.1)
    assert found[80.0].quantity == 0
    assert found[0.0].money > found[64.0].money == found[80.0].money == 0


def test_of_two_at_once__the_worst_price_of_the_pool_keeps_nobody_out() -> None:
    """Without a fund two longs are passed on together, and the short would lose at the first one's price.

    It takes the second one at that one's own price, as it does where a fund pays for the first.
    """
    rows = [
        {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"entry_price": 100.0, "quantity": 1.0, "margin": 20.0},
        {"side": "short", "entry_price": 85.0, "quantity": 1.0, "margin": 85.0},
    ]
    path = market((100, 100, 100, 100), (70, 70, 70, 70))
    none, some = (replay(book(*rows), path, plain_venue(0.01), fund=fund) for fund in (0.0, 20.0))
    assert (borne(none).quantity, borne(none).money) == (1.0, 30.0)
    assert (borne(some).quantity, borne(some).money) == (1.0, 10.0)
    assert none.adl["price"].to_list() == some.adl["price"].to_list() == [80.0]
