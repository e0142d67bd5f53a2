"""Positions that shrink, against numbers worked out by hand and against exact arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ulp
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, replay, sweep
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
