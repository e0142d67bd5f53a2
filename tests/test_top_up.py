"""Margin added automatically to isolated positions, against bars walked one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, sweep
from backtest.engine.sweep.top_up import sweep_with_top_ups
from backtest.errors import ArgumentError, DataError
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time

START = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RATE = 0.125
BARS = 60


def venue() -> Venue:
    contract = Contract(symbol="X", tables=(TierTable(name="t", rates=[RATE], max_leverages=[8.0]),))
    return Venue(name="hand", title="By hand", contracts={"X": contract})


def market(rng: np.random.Generator) -> Market:
    close = np.round(64 * np.exp(np.cumsum(rng.normal(0, 0.04, BARS))) * 16) / 16
    opening = np.append(64.0, close[:-1])
    reach = np.round(rng.exponential(1.0, (2, BARS)) * 16) / 16
    return Market(
        pl.DataFrame(
            {
                "symbol": ["X"] * BARS,
                "time": pl.Series([START + MINUTE * bar for bar in range(BARS)]).cast(Time),
                "open": opening,
                "high": np.maximum(opening, close) + reach[0],
                "low": np.maximum(np.minimum(opening, close) - reach[1], 0.0625),
                "close": close,
            }
        )
    )


def positions(rng: np.random.Generator, prices: Market, count: int) -> pl.DataFrame:
    entry = rng.integers(0, BARS - 1, count)
    return pl.DataFrame(
        {
            "position_id": rng.permutation(count),
            "account_id": rng.integers(0, count // 3, count),
            "symbol": ["X"] * count,
            "side": pl.Series(["long", "short"]).gather(rng.integers(0, 2, count)).cast(Side),
            "entry_time": pl.Series([START + MINUTE * int(bar) for bar in entry]).cast(Time),
            "entry_price": prices.prices("mark", "open")[entry],
            "quantity": 2.0 ** rng.integers(-1, 3, count),
            "leverage": rng.choice([2.0, 4.0, 8.0], count),
        }
    )


def walked(held: pl.DataFrame, wallets: dict[int, float], prices: Market, share: float) -> dict[int, Any]:
    """Return the bar each position is liquidated in, bar by bar, position by position in the order given."""
    low, high = prices.prices("mark", "low"), prices.prices("mark", "high")
    rows = held.to_dicts()
    margins = [row["quantity"] * row["entry_price"] / row["leverage"] for row in rows]
    initial, gone, left = list(margins), {row["position_id"]: None for row in rows}, dict(wallets)
    for bar in range(BARS):
        for number, row in enumerate(rows):
            time = START + MINUTE * bar
            if time < row["entry_time"] or gone[row["position_id"]] is not None:
                continue
            s, price = (1, low[bar]) if row["side"] == "long" else (-1, high[bar])

            def spent(number: int = number, row: Any = row, s: int = s, price: float = price) -> bool:
                equity = margins[number] + s * row["quantity"] * (price - row["entry_price"])
                return bool(equity <= RATE * row["quantity"] * price)

            while spent() and left.get(row["account_id"], 0.0) > 0:
                amount = min(left[row["account_id"]], initial[number] * share)
                margins[number] += amount
                left[row["account_id"]] -= amount
            if spent():
                gone[row["position_id"]] = time
    return {"gone": gone, "left": left}


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_sweep_with_top_ups__equals_a_walk_bar_by_bar(share: float) -> None:
    added = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        prices = market(rng)
        held = positions(rng, prices, 60)
        wallets = pl.DataFrame({"account_id": np.arange(15), "wallet": 2.0 ** rng.integers(0, 7, 15)})
        found = sweep_with_top_ups(Book(held), wallets, prices, venue(), share=share)
        expected = walked(held, dict(wallets.iter_rows()), prices, share)
        assert found.outcomes["position_id"].equals(held["position_id"])
        times = [
            time if hit else None for time, hit in found.outcomes.select("outcome_time", "liquidated").iter_rows()
        ]
        assert times == list(expected["gone"].values())
        assert dict(found.wallets.select("account_id", "left").iter_rows()) == expected["left"]
        added += found.additions.height
    assert added > 50


def test_sweep_with_top_ups__adds_no_money_that_rounding_left() -> None:
    times = [START + MINUTE * bar for bar in range(3)]
    falling = {"symbol": ["X"] * 3, "time": times, "open": [100.0, 100, 60]}
    falling |= {"high": [100.0, 100, 60], "low": [100.0, 60, 60], "close": [100.0, 60, 60]}
    prices = Market(pl.DataFrame(falling, schema_overrides={"time": Time}))
    one = {"position_id": [1], "account_id": [1], "symbol": ["X"], "side": ["long"], "entry_time": times[:1]}
    held = pl.DataFrame(one | {"entry_price": [100.0], "quantity": [0.08], "leverage": [8.0]})
    wallets = pl.DataFrame({"account_id": [1], "wallet": [0.7]})
    found = sweep_with_top_ups(Book(held), wallets, prices, venue(), share=0.1)
    # seven of 0.1: in float64 six of them leave 0.1 and a little more, or less
    assert found.additions.height == 7
    assert found.wallets["left"].to_list() == [0.0]


def test_sweep_with_top_ups__adds_nothing_where_nobody_needs_it() -> None:
    rng = np.random.default_rng(3)
    prices = market(rng)
    book = Book(positions(rng, prices, 30).with_columns(adds_margin=pl.lit(False)))
    wallets = pl.DataFrame({"account_id": [0, 1], "wallet": [1e6, 1e6]})
    found = sweep_with_top_ups(book, wallets, prices, venue())
    assert found.additions.is_empty()
    bare = sweep(book, prices, venue())
    assert found.outcomes.drop("margin_added", "margin").equals(bare)


def test_sweep_with_top_ups__refuses_what_it_cannot_use() -> None:
    rng = np.random.default_rng(3)
    prices = market(rng)
    held = positions(rng, prices, 3 * 3)
    twice = pl.DataFrame({"account_id": [0, 0], "wallet": [1.0, 1.0]})
    with pytest.raises(DataError, match="wallets: account_id must not repeat"):
        sweep_with_top_ups(Book(held), twice, prices, venue())
    with pytest.raises(DataError, match="positions need a column account_id"):
        sweep_with_top_ups(Book(held.drop("account_id")), twice.head(1), prices, venue())
    with pytest.raises(ArgumentError, match="share must be a number of at least"):
        sweep_with_top_ups(Book(held), twice.head(1), prices, venue(), share=0)
