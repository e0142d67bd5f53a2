"""Orders, takeovers and counterparties of single liquidations, counted by hand; money is conserved in each."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_replay import MINUTE, NOON, assert_closes, book, cash, market, plain_venue

from backtest import Impact, replay
from backtest.engine.replay.replay import Replay
from backtest.kernel.replay.proportions import cut_part, raised_part, rounded_part
from backtest.rules.procedure import Procedure
from backtest.study.fund.loss_waterfall import who_bore

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


# --- inventory


@pytest.mark.parametrize("unwind", ["at_once", "share"])
def test_inventory__that_nobody_takes_is_sold_and_its_loss_is_a_deficit(unwind: Any) -> None:
    row = {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    halves = {"step": "fraction", "step_fraction": 0.5, "rounds": 1, "unwind": unwind}
    found = played([row], [CALM, flat(80.0), flat(80.0)], **halves)
    assert found.outcomes.select("filled_in_market", "taken_over", "realised_pnl").row(0) == (0.5, 0.5, -10)
    assert (cash(found, "deficit"), cash(found, "backstop")) == (-10, 0)
    assert any("uncovered deficit of 10.00" in note for note in found.notes)


def test_inventory__that_is_held_says_what_it_has_lost() -> None:
    row = {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    halves = {"step": "fraction", "step_fraction": 0.5, "rounds": 1, "unwind": "hold"}
    found = played([row], [CALM, flat(80.0), flat(80.0)], **halves)
    assert cash(found, "deficit") == 0
    assert any("not sold have lost 10.00 at the last mark" in note for note in found.notes)


def test_inventory__is_paid_by_the_fund_then_taken_by_who_suits_then_sold() -> None:
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"side": "short", "entry_price": 150.0, "quantity": 0.1, "margin": 30.0},
    ]
    halves = {"step": "fraction", "step_fraction": 0.5, "rounds": 1}
    found = played(rows, [CALM, flat(80.0), flat(80.0)], fund=2.0, **halves)
    # half a coin at 100 brings 40: the fund bears a fifth of the loss of 10, the short takes a tenth at 100
    assert found.adl.select("liquidated_id", "quantity", "price").rows() == [(None, pytest.approx(0.1), 100)]
    assert cash(found, "deficit") == pytest.approx(-6)
    assert found.fund["fund"][-1] == 0


# --- fees, and return of control


@pytest.mark.parametrize("fee", [0.0, 0.01])
def test_fee__is_not_charged_on_an_order_beyond_bankruptcy(fee: float) -> None:
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": 10.0, "margin": 100.0},
        {"side": "short", "entry_price": 100.0, "quantity": 20.0, "margin": 1000.0},
    ]
    rules = {"liquidation_fee_rate": fee, "remainder": "fund", "impact": Impact(linear=1.2667e-4)}
    found = played(rows, [CALM, (100.0, 100.0, 94.0, 95.0), flat(95.0)], fund=5.0, **rules)
    assert found.adl["price"].to_list() == [pytest.approx(90.0)]
    assert found.outcomes.select("realised_pnl", "fees", "fund_effect").row(0) == (-100, 0, -5)


def test_fee__is_at_most_what_the_rest_would_have_at_the_fill() -> None:
    # three of ten are sold at 90.02, where ten would have 0.25 of equity: less than the fee of 2.70
    row = {"side": "long", "entry_price": 100.0, "quantity": 10.0, "margin": 100.0}
    rules = {"step": "fraction", "step_fraction": 0.3, "round_seconds": 60.0, "liquidation_fee_rate": 0.01}
    found = played([row], [CALM, (100.0, 100.0, 94.0, 95.0), flat(95.0)], impact=Impact(linear=3.5e-4), **rules)
    price, equity = found.trace.filter(pl.col("step") == "filled").select("price", "equity").row(0)
    before = 100 - 10 * (100 - price)
    assert 0 < before < 0.01 * 3 * price
    assert found.outcomes["fees"][0] >= int(before * 1e6) / 1e6
    assert equity == pytest.approx(100 - 3 * (100 - price) - 7 * (100 - 94.736842) - before, abs=1e-4)


def test_pending_order__is_not_sent_once_the_position_is_healthy() -> None:
    row = {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    rules = {"step": "fraction", "step_fraction": 0.1, "round_seconds": 60.0}
    found = played([row], [CALM, (100.0, 100.0, 94.0, 94.5), (99.0, 100.0, 99.0, 99.0)], fund=4.0, **rules)
    assert steps(found)[-2:] == ["waits", "control returned"]
    assert found.outcomes.select("outcome", "filled_in_market").row(0) == ("reduced", pytest.approx(0.1))


def test_pending_order__for_all_is_not_sent_either() -> None:
    row = {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    bars = [CALM, (100.0, 100.0, 94.0, 94.5), (99.0, 100.0, 99.0, 99.0)]
    found = played([row], bars, impact=Impact(participation=1e-5))
    assert steps(found) == ["entered", "triggered", "filled", "waits", "control returned"]
    assert found.outcomes["outcome"][0] == "reduced"


def test_opening__has_one_pool_of_pending_orders_and_inventory() -> None:
    short = {"side": "short", "entry_price": 120.0, "quantity": 3.0, "margin": 100.0}
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"side": "long", "entry_price": 100.0, "quantity": 2.0, "margin": 20.0},
        short,
        short,
    ]
    halves = {"step": "fraction", "step_fraction": 0.5, "slices": "takeover", "partial_from": 150.0}
    rules = {"order_notional": 60.0, "round_seconds": 60.0, "unwind": "share", "unwind_share": 1.0}
    bars = [CALM, (100.0, 100.0, 94.0, 94.0), flat(80.0), flat(80.0)]
    found = played(rows, bars, adl_rank="pro_rata", **halves, **rules)
    # the rest of the first is 0.37, of the second 1 was taken over: each short takes half of all, in this order
    assert found.adl["time"].n_unique() == 1
    assert found.adl.select("liquidated_id", "counterparty_id").rows() == [(0, 2), (None, 2), (None, 3)]
    assert found.adl["quantity"].sum() == pytest.approx(1.36667, abs=1e-4)


def test_least_size__ends_what_repeated_fractions_leave() -> None:
    row = {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    rules = {"step": "fraction", "step_fraction": 0.5, "adl_trigger": "never"}
    bars = [CALM, *((90 + 1 / n, 90 + 1 / n, 90.0, 90.0) for n in range(1, 40))]
    found = played([row], bars, **rules)
    sold = found.trace.filter(pl.col("step") == "filled")
    assert found.outcomes["outcome"][0] == "liquidated"
    assert (sold["held"].to_numpy()[:-1] >= 0.001).all()
    assert sold["held"][-1] == 0


# --- columns


def test_triggered__counts_a_position_once_a_bar() -> None:
    row = {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    found = played([row], [CALM, (100.0, 100.0, 93.0, 93.0)], step="fraction", step_fraction=0.1)
    assert steps(found).count("triggered") > 1
    assert found.impact["long_triggered"][1] == pytest.approx(90 / 0.95)


def test_moved_entry__is_a_column_with_its_margin() -> None:
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": 10.0, "margin": 100.0},
        {"side": "long", "entry_price": 94.0, "quantity": 10.0, "margin": 94.0, "entry_time": NOON + 2 * MINUTE},
    ]
    bars = [CALM, (100.0, 100.0, 94.0, 94.0), flat(94.0)]
    venue = plain_venue(0.05).with_(remainder="fund", procedure=Procedure())
    impact = Impact(mark=1e-4)
    found = replay(book(*rows), market(*bars), venue, fund=1000.0, impact=impact, exogenous=True)
    factor = np.exp(found.impact["offset"][1])
    assert found.outcomes["moved_entry_price"].to_list() == [100, pytest.approx(94 * factor)]
    assert found.outcomes["moved_margin"].to_list() == [100, pytest.approx(94 * factor)]
    assert found.outcomes["entry_price"].to_list() == [100, 94]


def test_fund__changes_by_what_positions_deposits_and_inventory_bring_it() -> None:
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"side": "short", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
    ]
    rules = {"step": "fraction", "step_fraction": 0.5, "rounds": 1, "liquidation_fee_rate": 0.01}
    rules |= {"trading_fee_rate": 0.001, "trading_fee_fund_share": 0.5}
    venue = plain_venue(0.05).with_(remainder="fund", procedure=Procedure(**rules))
    path, deposits = market(CALM, flat(91.0), flat(108.0)), [(NOON + MINUTE, 3.0)]
    found = replay(book(*rows), path, venue, fund=2.0, deposits=deposits)
    parts = found.outcomes["fund_effect"].sum() + found.fund["deposits"].sum() + found.fund["inventory"].sum()
    assert found.fund["fund"][-1] - 2 == pytest.approx(parts, abs=1e-9)
    assert (found.fund["deposits"].sum(), found.fund["inventory"].sum() != 0) == (3, True)


def test_return_of_control__is_not_decided_by_the_last_digit() -> None:
    # pieces taken over at bankruptcy leave equity at the maintenance margin: none of them heals
    for quantity in np.random.default_rng(5).uniform(1, 9, 12):
        row = {"side": "long", "entry_price": 100.0, "quantity": quantity, "margin": 10 * quantity}
        rules = {"step": "fraction", "step_fraction": 0.1, "slices": "takeover", "unwind": "hold"}
        found = played([row], [CALM, (100.0, 100.0, 94.0, 96.0)], **rules)
        assert (steps(found).count("taken over"), found.outcomes["outcome"][0]) == (10, "liquidated")


def test_takeover_below__the_maintenance_margin_itself_spares_who_is_at_it() -> None:
    for quantity in np.random.default_rng(6).uniform(1, 9, 12):
        row = {"side": "long", "entry_price": 100.0, "quantity": quantity, "margin": 10 * quantity}
        found = played([row], [CALM, (100.0, 100.0, 94.0, 96.0)], takeover_below=1.0)
        assert steps(found) == ["entered", "triggered", "filled", "settled"]


# --- who pays


@pytest.mark.parametrize("rules", [
    {"adl_trigger": "never"},
    {"adl_trigger": "fund_empty"},
    {"takeover_below": 0.9, "inventory": "backstop", "unwind": "hold"},
    {"takeover_below": 0.9},
    {"clawback": True, "adl_profit_required": True},
])  # fmt: skip
@pytest.mark.parametrize("fee", [0.0, 0.01])
def test_who_bore__adds_up_to_what_the_liquidated_lost_in_the_market(fee: float, rules: dict[str, Any]) -> None:
    rows = [
        {"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": 10.0},
        {"side": "long", "entry_price": 100.0, "quantity": 2.0, "margin": 30.0},
        {"side": "short", "entry_price": 100.0, "quantity": 0.3, "margin": 30.0},
    ]
    fees = {
        "liquidation_fee_rate": fee,
        "trading_fee_rate": fee,
        "trading_fee_fund_share": 0.5,
        "fee_fund_share": 0.7,
    }
    found = played(
        rows, [CALM, (100.0, 100.0, 91.0, 91.0), flat(80.0)], fund=4.0, remainder="fund", **rules, **fees
    )
    bore = dict(who_bore(found).iter_rows())
    prices = found.outcomes.filter("liquidated")
    at_fills = sum(row["quantity"] * 100 - row["fill_notional"] for row in prices.iter_rows(named=True))
    given_up = found.adl["given_up"].sum()  # fills of what was passed on are at its price, not at the mark
    taken = dict(found.ledger.select("account", "total").iter_rows())["backstop"] / found.unit
    sold = found.fund["inventory"].sum()
    assert sum(bore.values()) == pytest.approx(at_fills + given_up - taken - sold, abs=1e-5)
