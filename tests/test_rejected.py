"""Positions whose margin is below the maintenance margin at their entry: rejected, and in no share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from backtest import Book, Market, Venue, replay, sweep
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.study import holders, survival
from backtest.study.liquidations import flow
from backtest.study.partial_sums import outcomes as partial_sums

NOON = datetime(2022, 8, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TABLE = TierTable(name="t", rates=[0.25])
VENUE = Venue(name="v", title="V", contracts={"X": Contract(symbol="X", tables=(TABLE,))})
#: At 5x the margin is 20 %, below the maintenance rate of 25 %; at 2x it is liquidated at 66.67.
LEVERAGES = [5.0, 2.0, 2.0, 3.0]


def history() -> Market:
    prices = {"open": [100.0, 100.0], "high": [101.0, 101.0], "low": [100.0, 66.0], "close": [100.0, 100.0]}
    return Market(pl.DataFrame({"symbol": "X", "time": [NOON, NOON + HOUR], **prices}))


def book() -> Book:
    rows = {"symbol": "X", "side": ["long", "long", "short", "long"], "entry_time": NOON, "entry_price": 100.0}
    return Book(pl.DataFrame({"position_id": [0, 1, 2, 3], **rows, "quantity": 1.0, "leverage": LEVERAGES}))


def test_sweep__rejects_what_could_not_have_been_opened():
    found = sweep(book(), history(), VENUE)
    assert found["outcome"].to_list() == ["rejected", "liquidated", "open", "liquidated"]
    row = found.row(0, named=True)
    money = ("outcome_time", "outcome_until", "liquidation_price", "fill_price", "realised_pnl", "funding_paid")
    assert [row[name] for name in money] == [None] * len(money)
    flags = ("liquidated", "certainly_liquidated", "possibly_liquidated", "ambiguous")
    assert not any(row[name] for name in flags)
    assert row["entry_notional"] == 100.0


def test_sweep__of_rejected_positions_alone_and_with_a_stop():
    rows = book().positions.head(1)
    for frame in (rows, rows.with_columns(stop_price=90.0)):
        assert sweep(Book(frame), history(), VENUE)["outcome"].to_list() == ["rejected"]
        assert replay(Book(frame), history(), VENUE).outcomes["outcome"].to_list() == ["rejected"]


def test_replay__does_not_admit_them():
    found = replay(book(), history(), VENUE, fund=1_000.0)
    assert found.outcomes["outcome"].to_list() == ["rejected", "liquidated", "open", "liquidated"]
    without = replay(Book(book().positions.tail(3)), history(), VENUE, fund=1_000.0)
    assert found.ledger.equals(without.ledger)
    assert found.impact.equals(without.impact)
    assert found.outcomes.tail(3).equals(without.outcomes)
    row = found.outcomes.row(0, named=True)
    assert (row["fees"], row["filled_in_market"], row["pnl_at_end"]) == (0.0, 0.0, None)


def test_shares__are_of_the_positions_opened_and_the_rest_is_counted():
    found = sweep(book(), history(), VENUE)
    opened = found.filter(pl.col("outcome") != "rejected")
    totals = flow.summary(found).row(0, named=True)
    assert totals == flow.summary(opened).row(0, named=True) | {"rejected": 1.0}
    assert (totals["positions"], totals["liquidated_share"], totals["book_notional"]) == (3.0, 2 / 3, 300.0)
    shares = dict(flow.tally(found).select("outcome", "share").iter_rows())
    assert (shares["liquidated"], shares["open"], shares["rejected"]) == (2 / 3, 1 / 3, None)


def test_batches_and_survival__leave_them_out():
    found, market = sweep(book(), history(), VENUE), history()
    parts = [partial_sums.condense(found[rows]) for rows in ([0, 1], [2, 3])]
    assert flow.summary(partial_sums.merge(pl.concat(parts))).equals(flow.summary(found))
    lives = survival.lives(found, market)
    assert lives["position_id"].to_list() == [1, 2, 3]
    assert partial_sums.condense_ends(found, market).equals(partial_sums.condense_lives(lives))


def test_precautions__count_those_opened():
    lower = {"half the leverage": holders.precautions.lowering_leverage(2)}
    found = holders.precautions.compared(book(), history(), VENUE, lower)
    assert found["positions"].to_list() == [3, 4]
    assert found["liquidated_share"].to_list() == [2 / 3, 0.25]
