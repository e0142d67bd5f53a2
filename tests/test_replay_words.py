"""Every venue's procedure reads as a sentence."""

from __future__ import annotations

import pytest

from backtest.cli.replay_words import PRICES, RANKS, TRIGGERS, procedure_in_words
from backtest.rules.procedure import CHOICES, Procedure
from backtest.rules.venue import Venue

TOLD = {
    "ascendex": """2 % of it sold at a time until equity is above the initial margin, 50 times at most, then the
        rest taken over; deleveraging where the fund is empty, the ten largest pro rata, at the takeover's
        price""",
    "ascend": """40 % of it sold at a time until equity is above the maintenance margin, then the rest sold in the
        market; no deleveraging""",
    "mexc": """one tier down taken over at a time until equity is above the maintenance margin, then the rest
        taken over; deleveraging where the fund is empty, by BitMEX's score, at the bankruptcy price""",
    "primexbt": """one order for everything, what it leaves sold in the market; deleveraging where the fund is
        empty, the most profitable and leveraged first, at the bankruptcy price""",
    "okx": """2 tiers down sold at a time until equity is above the maintenance margin, then the rest taken over;
        deleveraging where the fund has fallen 30 % in 8 hours, the most profitable and leveraged first, at the
        mark""",
    "hyperliquid": """20 % of it sold at a time (from 100,000 of notional) until equity is above the maintenance
        margin, once at most, then the rest sold in the market; deleveraging where the fund is empty, the most
        profitable and leveraged first, at the bankruptcy price""",
}


def test_words__are_of_every_choice() -> None:
    assert set(RANKS) == set(CHOICES["adl_rank"])
    assert set(PRICES) == set(CHOICES["adl_price"])
    assert {*TRIGGERS, "never"} == set(CHOICES["adl_trigger"])
    for step in CHOICES["step"]:
        assert procedure_in_words(Procedure(step=step))


@pytest.mark.parametrize("name", TOLD)
def test_procedure_in_words__is_the_venue_s(name: str) -> None:
    assert procedure_in_words(Venue.load(name).procedure) == " ".join(TOLD[name].split())
