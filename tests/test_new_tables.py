"""New tables of tiers and open positions: they keep the table of their entry, or come under the new one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Accounts, Book, Market, Venue, liquidate_accounts, replay, sweep, sweep_accounts, trades
from backtest.errors import DataError, InputWarning, RulesError
from backtest.rules import Contract, TierTable
from backtest.rules.cross import Cross
from backtest.study.survival import lifetimes

START = datetime(2024, 3, 1, tzinfo=UTC)
NOON = START + timedelta(hours=12)


def tables(late: float = 0.05, begins: datetime = NOON, **own: Any) -> tuple[TierTable, ...]:
    """Return 0.5 % until a time, another rate from then on."""
    return (
        TierTable(name="early", rates=np.full(1, 0.005), end=begins),
        TierTable(name="late", rates=np.full(1, late), start=begins, **own),
    )


def venue(apply: str = "always", own: tuple[TierTable, ...] | None = None, **rules: Any) -> Venue:
    contract = Contract(symbol="X", tables=tables() if own is None else own)
    return Venue(name="own", title="Own", contracts={"X": contract}, tiers_apply=apply, **rules)


def market(*closes: float, hours: int = 24) -> Market:
    """Return hourly bars that stand at prices, the last one to the end."""
    prices = [*closes, *[closes[-1]] * (hours - len(closes))]
    times = [START + timedelta(hours=hour) for hour in range(hours)]
    return Market({"symbol": "X", "time": times, **dict.fromkeys(("open", "high", "low", "close"), prices)})


def book(changes: dict[str, Any] | None = None, **columns: Any) -> Book:
    """Return a long of 1 from 100 with 20x leverage, entered at 01:00."""
    row = {"symbol": ["X"], "side": ["long"], "entry_time": [START + timedelta(hours=1)], "entry_price": [100.0],
           "quantity": [1.0], "leverage": [20.0]}  # fmt: skip
    return Book(row | columns, changes)


FELL = market(100.0, 100.0, 97.0)


@pytest.mark.parametrize("run", [sweep, lambda *all_: replay(*all_).outcomes])
def test_example_of_the_page(run):
    found = run(book(), FELL, venue()).row(0, named=True)
    assert found["outcome"] == "liquidated"
    assert found["outcome_time"] == NOON
    assert found["liquidation_price"] == pytest.approx(100)
    assert (found["fill_price"], found["tier_table"], found["tier_source"]) == (97, "late", "announced")
    kept = run(book(), FELL, venue("entry")).row(0, named=True)
    assert (kept["outcome"], kept["tier_table"]) == ("open", "early")
    assert kept["liquidation_price"] == pytest.approx(95.48, abs=0.005)


def test_a_bar_that_a_table_begins_inside__is_tested_under_the_one_before():
    inside = venue(own=tables(begins=NOON + timedelta(minutes=30)))
    found = sweep(book(), FELL, inside)
    assert found["outcome_time"][0] == NOON + timedelta(hours=1)
    ends = market(100.0, 100.0, 97.0, hours=13)
    assert sweep(book(), ends, inside)["tier_table"].to_list() == ["early"]


def test_exits_at_the_open_of_a_new_table__come_after_its_test():
    at_noon = book(exit_time=[NOON])
    assert sweep(at_noon, FELL, venue())["outcome"].to_list() == ["liquidated"]
    assert replay(at_noon, FELL, venue()).outcomes["outcome"].to_list() == ["liquidated"]
    before = book(exit_time=[NOON - timedelta(hours=1)])
    assert sweep(before, FELL, venue())["tier_table"].to_list() == ["early"]


def test_margin_added_before_a_new_table__holds_it():
    added = {"position_id": [0], "time": [NOON - timedelta(hours=1)], "margin_change": [3.0]}
    for change, outcome in ((3.0, "open"), (2.8, "liquidated")):
        held = book(added | {"margin_change": [change]})
        assert sweep(held, FELL, venue())["outcome"].to_list() == [outcome]
        assert replay(held, FELL, venue()).outcomes["outcome"].to_list() == [outcome]


def test_a_lower_rate__saves_what_the_old_table_would_have_liquidated():
    lower = venue(own=tables(late=0.001))
    falls = market(*[100.0] * 14, 95.3)
    assert sweep(book(), falls, lower)["outcome"].to_list() == ["open"]
    assert sweep(book(), falls, lower.with_(tiers_apply="entry"))["outcome"].to_list() == ["liquidated"]


def test_a_gap_between_tables__leaves_the_one_before():
    apart = (
        TierTable(name="early", rates=np.full(1, 0.005), end=NOON),
        TierTable(name="late", rates=np.full(1, 0.05), start=NOON + timedelta(hours=4)),
    )
    found = sweep(book(), FELL, venue(own=apart))
    assert found["outcome_time"][0] == NOON + timedelta(hours=4)
    sooner = sweep(book(), FELL, venue(own=apart), tiers="later").row(0, named=True)
    assert (sooner["outcome_time"], sooner["tier_source"]) == (NOON, "later")


@pytest.mark.parametrize("run", [sweep, replay])
def test_a_table_that_took_over_without_being_in_force__is_warned_of(run):
    apart = (
        TierTable(name="early", rates=np.full(1, 0.005), end=NOON),
        TierTable(name="late", rates=np.full(1, 0.05), start=NOON + timedelta(hours=4)),
    )
    with pytest.warns(InputWarning, match=r"open positions in X came under tier table late, .*\(later\): 1 of 1"):
        run(book(), FELL, venue(own=apart), tiers="later")


def test_copies_of_one_table__change_nothing():
    same = venue(own=tables(late=0.005))
    assert sweep(book(), FELL, same)["tier_table"].to_list() == ["early"]
    assert (
        sweep(book(), FELL, same)
        .drop("tier_table")
        .equals(sweep(book(), FELL, same.with_(tiers_apply="entry")).drop("tier_table"))
    )


def test_additions__are_asked_for_the_limits_of_their_own_time():
    small = tables(late=0.005, max_leverages=np.full(1, 10.0))
    rules = venue(own=(small[0], small[1]))
    standing = market(100.0)
    more = {"position_id": [0], "time": [NOON], "quantity_change": [1.0], "price": [100.0]}
    with pytest.raises(DataError, match="leverage"):
        sweep(book(more), standing, rules, leverage_limit="error")
    assert sweep(book(more), standing, rules.with_(tiers_apply="entry"))["outcome"].to_list() == ["open"]
    earlier = more | {"time": [NOON - timedelta(hours=1)]}
    assert sweep(book(earlier), standing, rules)["outcome"].to_list() == ["open"]


def test_open_and_unknown_positions__have_the_table_they_were_last_under():
    gap = market(100.0).bars.filter(
        ~pl.col("time").is_between(NOON - timedelta(hours=3), NOON + timedelta(hours=6))
    )
    found = sweep(book(), Market(gap, gap_limit=timedelta(hours=2)), venue())
    assert found.select("outcome", "tier_table").rows() == [("unknown", "early")]
    assert sweep(book(), market(100.0), venue(own=tables(late=0.04)))["tier_table"].to_list() == ["late"]


def test_trades__are_asked_under_every_table_they_were_held_under():
    log = trades.read({"symbol": ["X"], "side": ["long"], "entry_time": [START + timedelta(hours=1)],
                       "entry_price": [100.0], "quantity": [1.0], "leverage": [20.0]})  # fmt: skip
    found = trades.check(log, FELL, venues=[venue()]).rows.row(0, named=True)
    assert (found["outcome"], found["tier_source"]) == ("liquidated", "late")
    assert found["highest_surviving_leverage"] == pytest.approx(100 / (3 + 0.05 * 97), rel=1e-6)
    assert found["margin_that_holds"] == pytest.approx(3 + 0.05 * 97, rel=1e-6)
    calm = trades.check(log, FELL, venues=[venue("entry")]).rows.row(0, named=True)
    assert calm["highest_surviving_leverage"] == pytest.approx(100 / (3 + 0.005 * 97), rel=1e-6)


def test_lifetimes__end_where_a_new_table_begins():
    found = lifetimes(FELL, venue(), leverages=[20.0]).bars["long"][0]
    assert found[1] == 12
    assert lifetimes(FELL, venue("entry"), leverages=[20.0]).bars["long"][0][1] < 0


def test_accounts__come_under_new_tables_as_isolated_positions_do():
    legs = {"account_id": ["a"], "symbol": ["X"], "side": ["long"], "entry_time": [START + timedelta(hours=1)],
            "entry_price": [100.0], "quantity": [1.0]}  # fmt: skip
    held = Accounts({"account_id": ["a"], "wallet": [5.0]}, legs)
    found = sweep_accounts(held, FELL, venue())
    assert found.accounts.select("outcome", "outcome_time").rows() == [("liquidated", NOON)]
    assert found.legs["tier_table"].to_list() == ["late"]
    kept = sweep_accounts(held, FELL, venue("entry"))
    assert kept.accounts["outcome"].to_list() == ["open"]
    assert kept.legs["tier_table"].to_list() == ["early"]
    reduced = liquidate_accounts(held, FELL, venue(cross=Cross(steps=("take_over",))))
    assert reduced.steps["maintenance_margin"].to_list() == [0.0]
    assert reduced.accounts["first_trigger"].to_list() == [NOON]


def test_shipped_venues__say_what_their_notices_do():
    stated = {name: Venue.load(name) for name in ("binance", "bybit", "okx", "hyperliquid")}
    assert {name: own.tiers_apply for name, own in stated.items()} == {
        "binance": "always", "bybit": "always", "okx": "always", "hyperliquid": "entry",
    }  # fmt: skip
    assert all(own.provenance["tiers_apply"].confidence == "official" for own in stated.values())


def test_other_words__are_refused():
    with pytest.raises(RulesError, match=r"rules\.tiers_apply: must be one of entry, always, is 'never'"):
        Venue.from_dict(
            {"name": "own", "title": "Own", "rules": {"basis": "mark", "tiers_apply": "never"},
             "contracts": {"X": {"tables": [{"name": "t", "rows": [{"floor": 0, "rate": 0.005}]}]}}}
        )  # fmt: skip
