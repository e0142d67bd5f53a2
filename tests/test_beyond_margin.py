"""Liquidation fees beyond the margin, and deleveraging at the mark where bankruptcy is far from it, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from test_replay import assert_closes, book, cash, market, plain_venue

from backtest import Venue, replay
from backtest.cli.common.procedure_text import sentence
from backtest.engine.replay.replay import Replay
from backtest.errors import RulesError
from backtest.rules import Procedure


def taken_over(**rules: Any) -> Replay:
    """Return a long of 1 from 100 with 10, taken over at 90, where it is bankrupt, and sold at the mark there."""
    path = market((100.0, 100.0, 100.0, 100.0), (90.0, 90.0, 90.0, 90.0))
    venue = plain_venue(0.02, takeover_below=1.0, remainder="fund", adl_trigger="never", **rules)
    return replay(book({"entry_price": 100.0, "quantity": 1.0, "margin": 10.0}), path, venue, fund=50.0)


def test_fee__beyond_the_margin_is_paid_by_the_fund() -> None:
    spared = taken_over(liquidation_fee_rate=0.02, fee_fund_share=0.25)
    assert (spared.outcomes["fees"][0], cash(spared, "fund"), cash(spared, "fees")) == (0.0, 50.0, 0.0)
    charged = taken_over(liquidation_fee_rate=0.02, fee_fund_share=0.25, liquidation_fee_beyond_margin=True)
    row = charged.outcomes.row(0, named=True)
    # 2 % of 90: a quarter to the fund, three to the venue; all of it is beyond the margin, and the fund covers it
    assert row["fees"] == pytest.approx(1.8)
    assert row["fund_effect"] == pytest.approx(0.45 - 1.8)
    assert cash(charged, "fund") == pytest.approx(50 - 1.35)
    assert cash(charged, "fees") == pytest.approx(1.35)
    assert row["realised_pnl"] - row["fees"] == pytest.approx(-10.0)  # the holder loses the margin, no more
    assert (row["equity_at_fill"], row["shortfall"]) == (0.0, 0.0)  # before the fee
    assert_closes(charged)


def test_fee__that_the_equity_pays_is_the_same_either_way() -> None:
    path = market((100.0, 100.0, 100.0, 100.0), (95.0, 95.0, 95.0, 95.0))
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 10.0})
    found = [
        replay(held, path, plain_venue(0.06, liquidation_fee_rate=0.01, liquidation_fee_beyond_margin=beyond))
        for beyond in (False, True)
    ]
    assert found[0].outcomes.equals(found[1].outcomes)
    assert found[0].outcomes["fees"][0] == pytest.approx(0.95, abs=0.02)


def deleveraged(far: float) -> Replay:
    """Return a long of 1 from 100 with 10 that opens at 80, and the short that must take it."""
    path = market((100.0, 100.0, 100.0, 100.0), (80.0, 80.0, 80.0, 80.0))
    rows = [
        {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"entry_price": 100.0, "quantity": 1.0, "margin": 50.0, "side": "short"},
    ]
    venue = plain_venue(0.01, adl_price="bankruptcy", adl_mark_beyond=far)
    return replay(book(*rows), path, venue, fund=0.0)


@pytest.mark.parametrize(("far", "price", "deficit"), [(0.2, 90.0, 0.0), (0.05, 80.0, 10.0), (0.125, 90.0, 0.0)])
def test_deleveraging__is_at_the_mark_where_bankruptcy_is_further_from_it(
    far: float, price: float, deficit: float
) -> None:
    found = deleveraged(far)
    assert found.adl["price"].to_list() == [price]
    short = found.outcomes.row(1, named=True)
    assert short["realised_pnl"] == pytest.approx(100 - price)
    assert found.outcomes["realised_pnl"][0] == pytest.approx(-10.0)
    assert -cash(found, "deficit") == pytest.approx(deficit)
    assert_closes(found)


def test_bybit__deleverages_at_the_mark_beyond_five_per_cent() -> None:
    own = Venue.load("bybit").procedure
    assert (own.adl_price, own.adl_mark_beyond) == ("bankruptcy", 0.05)
    said = sentence({"procedure": own, "remainder": "fund"})
    assert "at the bankruptcy price, at the mark where that is more than 5 % away" in said
    fee = sentence({"procedure": Procedure(liquidation_fee_rate=0.01, liquidation_fee_beyond_margin=True),
                    "remainder": "fund"})  # fmt: skip
    assert "a fee of 1 %, whatever equity remains" in fee


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"adl_mark_beyond": -0.1}, "adl_mark_beyond"),
        ({"adl_mark_beyond": float("nan")}, "adl_mark_beyond"),
        ({"adl_mark_beyond": "5 %"}, "adl_mark_beyond"),
        ({"liquidation_fee_beyond_margin": "yes"}, "liquidation_fee_beyond_margin: must be true or false"),
        ({"liquidation_fee_beyond_margin": 1}, "liquidation_fee_beyond_margin: must be true or false"),
    ],
)
def test_settings__out_of_range_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises((RulesError, ValueError), match=message):
        Procedure(**rules)
