"""Fills of liquidations after a delay: right where bars hide nothing, the same money at any width of bars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Book, Impact, Market, Venue, sweep
from backtest.errors import ArgumentError
from backtest.rules import Contract, TierTable
from backtest.study import policy
from backtest.study.policy import Delay
from backtest.study.policy.delays import delayed

START = datetime(2024, 1, 1, tzinfo=UTC)
SECOND = 1_000


def venue(kind: str = "linear") -> Venue:
    table = TierTable(name="all", rates=np.full(1, 0.004))
    return Venue(name="own", title="Own", default=Contract(symbol="*", kind=kind, tables=(table,)), contracts={})


def still(*prices: float, minutes: tuple[int, ...] | None = None, volume: float = 1e9) -> Market:
    """Return one-minute bars that each stand still at a price, so that their paths are known."""
    at = range(len(prices)) if minutes is None else minutes
    return Market({"symbol": "X", "time": [START + timedelta(minutes=m) for m in at], "volume": volume,
                   **{part: list(prices) for part in ("open", "high", "low", "close")}})  # fmt: skip


def one(side: str = "long", **columns: Any) -> Book:
    return Book({"symbol": ["X"], "side": [side], "entry_time": [START], "entry_price": [100.0], "quantity": [1.0],
                 "leverage": [20.0]} | columns)  # fmt: skip


def filled(
    market: Market, seconds: float, book: Book | None = None, kind: str = "linear", **impact: Any
) -> dict[str, Any]:
    swept = sweep(book or one(), market, venue(kind))
    return delayed(swept, market, "mark", Delay(seconds, Impact(**impact)), 0).row(0, named=True)


@pytest.mark.parametrize(
    ("seconds", "price"),
    [(1, 94.0), (59, 94.0), (61, 92.0), (119, 92.0), (121, 97.0), (10_000, 97.0)],
)
def test_fill__is_the_price_after_the_delay(seconds: float, price: float) -> None:
    found = filled(still(100, 94, 92, 97), seconds)
    assert found["outcome_time"] == START + timedelta(minutes=1)
    assert found["fill_price"] == pytest.approx(price)
    assert found["equity_at_fill"] == pytest.approx(5 + price - 100)
    assert found["shortfall"] == pytest.approx(max(0, 95 - price))
    assert found["realised_pnl"] == pytest.approx(-5 if price < 95 else price - 100)
    assert found["fill_notional"] == pytest.approx(price)


def test_after_a_gap__the_next_open_fills() -> None:
    assert filled(still(100, 94, 91, minutes=(0, 1, 5)), 120)["fill_price"] == pytest.approx(91)


def test_inverse_contract__counts_in_coin() -> None:
    held = one(quantity=[100.0])
    found = filled(still(100, 94, 92), 70, held, "inverse")
    assert found["equity_at_fill"] == pytest.approx(1 / 20 + 100 * (1 / 100 - 1 / 92))
    assert found["fill_notional"] == pytest.approx(100 / 92)


def test_short__is_the_mirror_image() -> None:
    found = filled(still(100, 106, 108), 70, one("short"))
    assert (found["fill_price"], found["shortfall"]) == (pytest.approx(108), pytest.approx(3))


def test_size__takes_the_time_that_the_volume_needs() -> None:
    # 94 of notional at 10 % of 6 units of 94 a minute: 10 a minute take 100 s
    assert filled(still(100, 94, 92, 97, volume=6.0), 1, participation=0.1)["fill_price"] == pytest.approx(92)
    assert filled(still(100, 94, 92, 97, volume=4.0), 1, participation=0.1)["fill_price"] == pytest.approx(97)


def test_volume__is_counted_over_the_bars_that_follow() -> None:
    # a bar without volume takes nothing; 94 at 10 % need 940: the third bar trades 9,200 and is done early in it
    bars = still(100, 94, 92, 97).bars.with_columns(volume=pl.Series([0.0, 0.0, 100.0, 100.0]))
    found = filled(Market(bars), 1, participation=0.1)
    assert found["fill_price"] == pytest.approx(92)
    never = filled(still(100, 94, 92, 97, volume=1.0), 1, participation=0.1)
    assert never["fill_price"] == pytest.approx(97)  # the last close


def test_volume_of_an_inverse_contract__is_in_coin() -> None:
    # 100 / 94 coins at 10 % need 10.64 coins: the second bar trades 10, the third the rest
    found = filled(still(100, 94, 92, 97, volume=10.0), 1, one(quantity=[100.0]), "inverse", participation=0.1)
    assert found["fill_price"] == pytest.approx(92)


def test_an_entry_bar_tested_whole__keeps_the_fill_where_the_path_fell_before_the_entry() -> None:
    bars = Market({"symbol": "X", "time": [START, START + timedelta(hours=1)], "open": [100.0, 100.5],
                   "high": [101.0, 100.5], "low": [94.0, 100.5], "close": [100.5, 100.5]})  # fmt: skip
    late = one(entry_time=[START + timedelta(minutes=59, seconds=59)])
    swept = sweep(late, bars, venue(), entry_bar="tested")
    assert swept["outcome"].to_list() == ["liquidated"]
    found = delayed(swept, bars, "mark", Delay(10), 0)
    assert found["realised_pnl"][0] <= 0
    assert found["fill_price"].to_list() == swept["fill_price"].to_list()


def test_symbols_of_unlike_bars__are_filled_on_their_own() -> None:
    slow = Market({"symbol": "Y", "time": [START + timedelta(hours=h) for h in range(3)],
                   **{part: [100.0, 94.0, 92.0] for part in ("open", "high", "low", "close")}})  # fmt: skip
    both = Market(pl.concat([still(100, 94, 92, 97).bars.drop("volume"), slow.bars]))
    held = Book({"symbol": ["X", "Y"], "side": ["long"] * 2, "entry_time": [START] * 2, "entry_price": [100.0] * 2,
                 "quantity": [1.0] * 2, "leverage": [20.0] * 2})  # fmt: skip
    found = delayed(sweep(held, both, venue()), both, "mark", Delay(70), 0)
    assert found["fill_price"].to_list() == pytest.approx([92.0, 94.0])


def test_impact__makes_fills_worse() -> None:
    assert filled(still(100, 94, 94), 1, linear=1e-3)["fill_price"] == pytest.approx(94 * (1 - 1e-3 * 94))
    assert filled(still(100, 106, 106), 1, one("short"), linear=1e-3)["fill_price"] > 106


def test_other_rows_and_columns__stay() -> None:
    twice = {"symbol": "X", "side": "long", "entry_time": START, "entry_price": 100.0, "quantity": 1.0}
    book = Book({name: [value] * 2 for name, value in twice.items()} | {"leverage": [20.0, 2.0]})
    market = still(100, 94, 92)
    swept = sweep(book, market, venue())
    found = delayed(swept, market, "mark", Delay(70), 0)
    assert found[1].equals(swept[1])
    money = ["fill_price", "fill_notional", "equity_at_fill", "shortfall", "realised_pnl"]
    assert found.drop(money).equals(swept.drop(money))


def brownian(seed: int, days: int = 4) -> Market:
    """Return bars of five seconds of a walk of 200 % a year."""
    rng, count = np.random.default_rng(seed), days * 17_280
    walk = 100 * np.exp(np.append(0.0, np.cumsum(rng.normal(0, 2 * np.sqrt(5 / 31_536_000), count))))
    opening, close = walk[:-1], walk[1:]
    times = pl.Series(1_704_067_200_000 + 5 * SECOND * np.arange(count)).cast(pl.Datetime("ms", "UTC"))
    return Market({"symbol": "X", "time": times, "open": opening, "high": np.maximum(opening, close),
                   "low": np.minimum(opening, close), "close": close})  # fmt: skip


def test_shortfall__does_not_depend_on_the_width_of_bars() -> None:
    found: dict[str, list[float]] = {"1m": [], "5m": [], "1h": []}
    worst: dict[str, list[float]] = {"1m": [], "1h": []}
    for seed in range(32):
        rng, fine = np.random.default_rng(seed), brownian(seed)
        entry = rng.integers(0, 94, 1_000) * 720
        price = fine.prices("mark", "open")[entry]
        held = Book({"symbol": ["X"] * 1_000, "side": np.where(rng.random(1_000) < 0.5, "long", "short"),
                     "entry_time": fine.bars["time"].gather(entry), "entry_price": price, "quantity": 100 / price,
                     "leverage": rng.choice([20.0, 30, 50, 80], 1_000)})  # fmt: skip
        for every, sums in found.items():
            bars = fine.resample(every)
            swept = sweep(held, bars, venue())
            sums.append(delayed(swept, bars, "mark", Delay(120), seed)["shortfall"].sum())
            if every in worst:
                worst[every].append(
                    sweep(held, bars.with_last_price(), venue(), fill_price="last_extreme")["shortfall"].sum()
                )
    minutes = np.mean(found["1m"])
    for every in ("5m", "1h"):
        assert abs(np.mean(found[every]) / minutes - 1) < 0.1, every
    assert np.mean(worst["1h"]) > 3 * np.mean(worst["1m"])  # what a delay takes the place of


def test_grid__settles_the_delayed_fill_between_the_two_ends() -> None:
    market = brownian(1, 3).resample("5m")
    entries = market.bars[:600:10]
    book = Book({"symbol": ["X"] * 60, "side": ["long", "short"] * 30, "entry_time": entries["time"],
                 "entry_price": entries["open"], "quantity": [1.0] * 60, "leverage": [50.0] * 60})  # fmt: skip
    grid = policy.Grid(
        fills=("liquidation_price", "delayed", "worst_price"), funds=(0.0, 1.0), delay=Delay(60, draws=3)
    )
    found = policy.run([policy.History("one", market)], {"one": {"own": book}}, venue(), grid)
    sums = found.filter(response="same_size", fund=0.0).select(
        "fill", "shortfall", "adl", "liquidated", "bar_seconds"
    )
    best, middle, worst = sums.rows(named=True)
    assert best["shortfall"] == 0 < middle["shortfall"] < worst["shortfall"]
    assert middle["shortfall"] == pytest.approx(middle["adl"])
    assert best["liquidated"] == middle["liquidated"] == worst["liquidated"]
    assert middle["bar_seconds"] == 300
    swept = sweep(book, market, venue())
    drawn = [delayed(swept, market, "mark", grid.delay, seed)["shortfall"].sum() for seed in range(3)]
    assert middle["shortfall"] == pytest.approx(np.mean(drawn), abs=0.01 * 60)


def test_what_a_delay_cannot_be__is_refused() -> None:
    for wrong, match in ((lambda: Delay(0), "seconds must be"), (lambda: Delay(True), "seconds must be"),
                         (lambda: Delay(draws=True), "draws must be"), (lambda: Delay(draws=0), "draws must be"),
                         (lambda: Delay(impact=Impact(mark=1e-9)), "cannot move the mark")):  # fmt: skip
        with pytest.raises(ArgumentError, match=match):
            wrong()
    dry = Market(still(100, 94).bars.drop("volume"))
    with pytest.raises(ArgumentError, match="delay needs bars with a column volume"):
        filled(dry, 1, participation=0.1)
    grid = policy.Grid(fills=("delayed",))
    with pytest.raises(ArgumentError, match="fills must be of liquidation_price, worst_price, one is 'delayed'"):
        policy.run([policy.History("one", still(100, 94))], {"one": {"own": one()}}, venue(), grid,
                   settlement=policy.Replayed())  # fmt: skip
