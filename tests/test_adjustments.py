"""Positions that grow and shrink, against numbers worked out by hand and against exact arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ulp
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, replay, sweep, sweep_accounts
from backtest.book import Accounts
from backtest.errors import DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable

START = datetime(2021, 5, 19, tzinfo=UTC)
HOUR = timedelta(hours=1)
RATE = 0.005


def market(*opens: float, low: float | None = None) -> Market:
    """Return hourly bars that stand still at each opening; the last one's low may lie lower."""
    lows = [*opens[:-1], opens[-1] if low is None else low]
    times = [START + HOUR * hour for hour in range(len(opens))]
    prices = {"open": opens, "high": opens, "low": lows, "close": opens}
    return Market(pl.DataFrame({"symbol": "BTCUSDT", "time": times} | prices), gap_limit=None)


def venue(kind: str = "linear", **rules: Any) -> Venue:
    contract = Contract(symbol="BTCUSDT", kind=kind, tables=(TierTable(name="one", rates=[RATE]),))
    return Venue(name="hand", title="By hand", contracts={"BTCUSDT": contract}, **rules)


def position(price: float, **columns: Any) -> pl.DataFrame:
    row = {"position_id": 1, "symbol": "BTCUSDT", "side": "long", "entry_time": START, "entry_price": price}
    return pl.DataFrame([row | {"quantity": 1.0, "leverage": 10.0} | columns])


def change(hour: float, **columns: float | None) -> pl.DataFrame:
    return pl.DataFrame({"position_id": [1], "time": [START + hour * HOUR]} | {n: [v] for n, v in columns.items()})


@pytest.mark.parametrize(("release", "expected"), [("pro_rata", 45_180.72), ("keep", 40_160.64)])
def test_half_of_a_long_closed_at_the_entry(release: str, expected: float) -> None:
    history, rules = market(50_000.0, 50_000.0, 50_000.0), Venue.load("binance").with_(release=release)
    book = Book(position(50_000.0), change(1, quantity_change=-0.5))
    for outcomes in (sweep(book, history, rules), replay(book, history, rules).outcomes):
        assert outcomes["liquidation_price"].item() == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("kind", ["linear", "inverse"])
@pytest.mark.parametrize("side", ["long", "short"])
def test_halves__agree_with_exact_arithmetic(kind: str, side: str) -> None:
    """Half is closed again and again: 4 units in the last place of prices, and of the notional for money."""
    rng = np.random.default_rng(7)
    for _ in range(30):
        opens = (50_000 * np.exp(rng.normal(0, 0.01, 6))).tolist()
        quantity = float(rng.uniform(0.5, 2) * (1 if kind == "linear" else 50_000))
        held = position(opens[0], side=side, quantity=quantity, leverage=5.0, exit_time=START + 5 * HOUR)
        parts = [quantity / 2**n for n in (1, 2, 3)]
        changes = pl.concat([change(n + 1, quantity_change=-part) for n, part in enumerate(parts)])
        row = sweep(Book(held, changes), market(*opens), venue(kind)).row(0, named=True)
        s, q, E, *P = (Fraction(x) for x in (1 if side == "long" else -1, quantity, *opens))  # noqa: N806
        worth = (lambda price: -1 / price) if kind == "inverse" else (lambda price: price)
        earned = sum(s * q / 2**n * (worth(P[n - 1]) - worth(E)) for n in (1, 2, 3))
        notional = q / E if kind == "inverse" else q * E
        last = s * q / 8 * (worth(P[4]) - worth(E))
        exact = {
            "equity_at_fill": (notional / 5 / 8 + last, notional),
            "realised_pnl": (earned + last, notional),
            "bankruptcy_price": priced(E, s, Fraction(1, 5), Fraction(0), kind),
            "liquidation_price": priced(E, s, Fraction(1, 5), Fraction(RATE), kind),
        }
        for name, (value, scale) in exact.items():
            assert abs(Fraction(row[name]) - value) <= 4 * Fraction(ulp(float(scale))), name


def priced(E: Fraction, s: Fraction, margin: Fraction, rate: Fraction, kind: str) -> tuple[Fraction, Fraction]:  # noqa: N803
    """Return where margin and result, of a notional of 1 at the entry, meet a rate, and the scale of its error."""
    price = E * (1 - s * margin) / (1 - s * rate) if kind == "linear" else E * (1 + s * rate) / (1 + s * margin)
    return price, price


def test_a_change_of_nothing__is_skipped_exactly() -> None:
    rng = np.random.default_rng(3)
    opens = (50_000 * np.exp(rng.normal(0, 0.01, 12))).tolist()
    stamps = pl.DataFrame({"symbol": "BTCUSDT", "time": [START + n * HOUR for n in range(12)], "rate": 0.00013})
    history = Market(market(*opens).bars, stamps, gap_limit=None)
    nothing = change(4.5, margin_change=0.0, quantity_change=0.0)
    book, plain = Book(position(opens[0]), nothing), Book(position(opens[0]))
    assert book.adjustments is None
    assert sweep(book, history, venue()).equals(sweep(plain, history, venue()))


def test_an_addition__averages_entries_and_asks_its_margin_of_the_leverage() -> None:
    """10x from 50,000 and again from 40,000: as one entry at 45,000 at 10x, liquidated at 45,000 x 0.9 / 0.995."""
    history = market(50_000.0, 46_000.0, 46_000.0)
    for columns, margin in (({"price": 40_000.0}, 9_000.0), ({}, 9_600.0), ({"margin_change": 0.0}, 5_000.0)):
        book = Book(position(50_000.0), change(1, quantity_change=1.0, **columns))
        entry = (50_000 + columns.get("price", 46_000)) / 2
        row = sweep(book, history, venue()).row(0, named=True)
        assert row["liquidation_price"] == pytest.approx((2 * entry - margin) / (2 * (1 - RATE)))
        assert row["bankruptcy_price"] == pytest.approx(entry - margin / 2)
        assert (row["quantity"], row["entry_notional"]) == (1.0, 50_000 + columns.get("price", 46_000))
        assert replay(book, history, venue()).outcomes["entry_notional"].item() == row["entry_notional"]


def test_an_addition_to_an_inverse_position__takes_the_harmonic_mean() -> None:
    book = Book(position(50_000.0, quantity=1e5), change(1, quantity_change=1e5, price=40_000.0))
    row = sweep(book, market(50_000.0, 46_000.0), venue("inverse")).row(0, named=True)
    assert row["bankruptcy_price"] == pytest.approx(2 / (1 / 50_000 + 1 / 40_000) / 1.1)
    assert row["entry_notional"] == pytest.approx(1e5 / 50_000 + 1e5 / 40_000)


def test_an_addition__exits_with_the_rest() -> None:
    held = position(50_000.0, exit_time=START + 2 * HOUR)
    row = sweep(Book(held, change(1, quantity_change=3.0)), market(50_000.0, 48_000.0, 51_000.0), venue())
    assert row["realised_pnl"].item() == pytest.approx(1_000 + 3 * 3_000)
    assert row["fill_notional"].item() == 4 * 51_000


@pytest.mark.parametrize("basis", ["mark", "entry"])
@pytest.mark.parametrize("model", ["marginal", "flat"])
def test_an_addition__is_looked_up_at_the_new_size(basis: str, model: str) -> None:
    """What grew is liquidated where what was opened at the same size and price is."""
    table = TierTable(name="two", model=model, floors=[0.0, 60_000.0], rates=[0.01, 0.05])
    contract = Contract(symbol="BTCUSDT", basis=basis, tables=(table,))
    rules = Venue(name="hand", title="By hand", contracts={"BTCUSDT": contract})
    history = market(50_000.0, 50_000.0)
    grown = sweep(Book(position(50_000.0), change(1, quantity_change=1.0)), history, rules)
    whole = sweep(Book(position(50_000.0, quantity=2.0)), history, rules)
    alone = sweep(Book(position(50_000.0)), history, rules)
    assert grown["liquidation_price"].item() == pytest.approx(whole["liquidation_price"].item(), rel=1e-14)
    assert grown["liquidation_price"].item() > alone["liquidation_price"].item() + 100


def test_limits__hold_after_each_addition() -> None:
    table = TierTable(name="two", floors=[0.0, 60_000.0], rates=[0.01, 0.02], max_leverages=[20, 5], cap=1e6)
    rules = venue().with_(tables=(table,))
    history, grown = market(50_000.0, 50_000.0, 50_000.0), change(1, quantity_change=1.0)
    with pytest.raises(
        DataError, match=r"adjustments: a position's leverage must be within .* after each addition"
    ):
        sweep(Book(position(50_000.0), grown), history, rules)
    with pytest.raises(DataError, match=r"adjustments: a position's size must be one its tiers cover after each"):
        sweep(Book(position(50_000.0), change(1, quantity_change=100.0)), history, rules)
    assert sweep(Book(position(50_000.0), grown), history, rules, leverage_limit="filter").is_empty()
    capped = sweep(Book(position(50_000.0), grown), history, rules, leverage_limit="cap")
    assert capped["leverage"].item() == 5
    late = Book(position(50_000.0, exit_time=START + HOUR), change(2, quantity_change=1.0))
    assert sweep(late, history, rules)["outcome"].item() == "exited"


@pytest.mark.parametrize(("side", "s"), [("long", 1), ("short", -1)])
def test_in_accounts__an_addition_is_another_leg_and_both_come_to_one_price(side: str, s: int) -> None:
    held = position(50_000.0, side=side)
    added = change(1, quantity_change=0.5, price=48_000.0)
    rules, opens = venue(), (50_000.0, 49_000.0, 49_000.0)
    price = sweep(Book(held, added), market(*opens), rules)["liquidation_price"].item()
    wallet = 5_000.0 + 2_400.0
    leg = {"account_id": [1, 1], "symbol": ["BTCUSDT"] * 2, "side": [side] * 2, "quantity": [1.0, 0.5]}
    legs = leg | {"entry_price": [50_000.0, 48_000.0], "entry_time": [START, START + HOUR]}
    for nudge, liquidated in ((-1e-9, s > 0), (1e-9, s < 0)):
        reached = price * (1 + nudge)
        ends = {"low": min(reached, 49_000.0), "high": max(reached, 49_000.0)}
        last = pl.lit(START + 2 * HOUR) == pl.col("time")
        bars = market(*opens).bars.with_columns(
            **{name: pl.when(last).then(value).otherwise(name) for name, value in ends.items()}
        )
        history = Market(bars, gap_limit=None)
        isolated = sweep(Book(held, added), history, rules)["liquidated"].item()
        accounts = sweep_accounts(Accounts({"account_id": [1], "wallet": [wallet]}, legs), history, rules).accounts
        assert isolated == accounts["liquidated"].item() == liquidated
