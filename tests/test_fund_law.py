"""A larger fund and deleveraging: what holds for one event, and what need not hold for several."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from event_cases import FUNDS, Borne, begun, borne, breaches, orders, played, random_event
from test_replay import assert_closes, book, market, plain_venue

from backtest import replay

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
    assert 0 < broken < markets / 5


def test_of_two_at_once__the_worst_price_of_the_pool_keeps_a_counterparty_out() -> None:
    """Without a fund two longs are passed on together, and the short would lose at the first one's price.

    With a fund that pays for the first the second is passed on alone, at a price the short gains by: more is
    deleveraged, later losses of nobody are less.
    """
    rows = [
        {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"entry_price": 100.0, "quantity": 1.0, "margin": 20.0},
        {"side": "short", "entry_price": 85.0, "quantity": 1.0, "margin": 85.0},
    ]
    path = market((100, 100, 100, 100), (70, 70, 70, 70))
    none, some = (replay(book(*rows), path, plain_venue(0.01), fund=fund) for fund in (0.0, 20.0))
    assert (borne(none).quantity, borne(none).money) == (0.0, 30.0)
    assert (borne(some).quantity, borne(some).money) == (1.0, 10.0)
    assert some.adl["price"].to_list() == [80.0]
