"""Cross liquidation prices equal the sweep on ramps of prices, published examples, and a plain evaluation."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from random_accounts import START, random_venue

from backtest import Accounts, Market, Venue, account_prices, position_prices, sweep_accounts
from backtest.engine.accounts import nearest_roots
from backtest.errors import ArgumentError, DataError, RulesError, TiersError
from backtest.rules import Contract, TierTable
from backtest.schemas.frames import Side, Time

MARKS = {"AAAUSDT": 64.0, "BBBUSDT": 60.0, "CCCUSDT": 70.0}
NOON = datetime(2021, 5, 19, 12, tzinfo=UTC)

#: Binance's table of BTCUSD in coin-margined futures, in BTC: floor, rate, highest leverage.
COIN_M = [
    (0, 0.004, 125), (5, 0.005, 100), (10, 0.01, 50), (20, 0.025, 20), (50, 0.05, 10), (100, 0.1, 5),
    (200, 0.125, 4), (400, 0.15, 3), (1_000, 0.25, 2),
]  # fmt: skip


def plain_table(*rates: float, floors: tuple[float, ...] = (0.0,), **rules) -> TierTable:
    return TierTable(name="own", rates=list(rates), floors=list(floors), dated="always", **rules)


def venue_of(rules: dict[str, dict], **changes) -> Venue:
    contracts = {symbol: Contract(symbol=symbol, **own) for symbol, own in rules.items()}
    return Venue(name="own", title="Own", contracts=contracts, **changes)


def account(wallet: float, *legs: tuple, **more) -> Accounts:
    rows = [
        {
            "account_id": 0,
            "symbol": symbol,
            "side": side,
            "entry_time": NOON,
            "entry_price": price,
            "quantity": size,
        }
        for symbol, side, price, size in legs
    ]
    return Accounts({"account_id": [0], "wallet": [wallet]}, pl.DataFrame(rows), **more)


def only(found, name: str):
    return found.symbols[name].to_list()[0]


def test_coin_margined_account__is_liquidated_where_the_venues_calculator_says():
    # Binance's calculator, COIN-M: wallet 101 BTC, 100,000 contracts of 100 USD long from 45,000, cross
    floors, rates, _ = zip(*COIN_M, strict=True)
    venue = venue_of({"BTCUSD": {"kind": "inverse", "tables": (plain_table(*rates, floors=floors),)}})
    found = account_prices(account(101, ("BTCUSD", "long", 45_000, 1e7)), venue)
    assert round(only(found, "price_below"), 1) == 33_599.4
    assert only(found, "price_above") is None
    assert found.accounts["equity"][0] == pytest.approx(101)
    assert found.accounts["maintenance_margin"][0] == pytest.approx(0.125 * 1e7 / 45_000 - 11.605)
    assert found.positions["bankruptcy_price_by_notional"][0] == pytest.approx(1e7 / (1e7 / 45_000 + 101))


def test_published_cross_examples():
    # Binance FAQ of 2019/20: wallet 10.72 less other maintenance 1.3 plus other results 0.47, 0.4 %, one tier
    venue = venue_of({"BTCUSDT": {"tables": (plain_table(0.004),)}})
    found = account_prices(account(10.72 - 1.3 + 0.47, ("BTCUSDT", "short", 9_451.53, 0.005)), venue)
    assert only(found, "price_above") == pytest.approx(11_383.99, abs=0.005)
    # AscendEX, forced liquidation: 1 BTC from 50,000 at 25x with 5,000
    for side, name, price, bankrupt in (("long", "below", 46_200, 45_000), ("short", "above", 53_800, 55_000)):
        legs = pl.DataFrame({"account_id": [0], "symbol": ["BTCUSDT"], "side": [side], "entry_time": [NOON],
                             "entry_price": [50_000.0], "quantity": [1.0], "leverage": [25.0]})  # fmt: skip
        found = account_prices(
            Accounts({"account_id": [0], "wallet": [5_000.0]}, legs), "ascendex", tiers="nearest"
        )
        assert only(found, f"price_{name}") == pytest.approx(price, rel=1e-12)
        assert found.positions["bankruptcy_price_by_maintenance"][0] == bankrupt
        assert found.accounts.select("maintenance_margin", "equity").row(0) == (1_200.0, 5_000.0)
    # Bybit help 360039261334 (2020), inverse, cross: 10,000 USD long from 8,000 with 0.5 BTC, tick 0.5, long up
    found = account_prices(account(0.5, ("BTCUSD", "long", 8_000, 10_000)), "bybit", tiers="nearest")
    assert math.ceil(only(found, "price_below") * 2) / 2 == 5_739.5


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("included", [True, False])
def test_inverse_position_alone__is_an_isolated_one_with_the_wallet_as_margin(side: str, included: bool):
    venue = Venue.load("bybit").with_(margin_includes_closing_fee=included)
    for wallet in (0.02, 0.3, 0.9):
        found = account_prices(account(wallet, ("BTCUSD", side, 8_000, 10_000)), venue, tiers="nearest")
        isolated = position_prices(venue, "BTCUSD", side=side, entry_price=8_000, quantity=10_000, margin=wallet)
        assert only(found, "price_below" if side == "long" else "price_above") == pytest.approx(
            isolated.liquidation_price, rel=1e-12
        )
        assert found.accounts["maintenance_margin"][0] == pytest.approx(isolated.maintenance_margin(8_000))
        assert found.positions["bankruptcy_price_by_notional"][0] == pytest.approx(isolated.bankruptcy_price)


def test_bankruptcy_price__shares_equity_by_notional_or_by_maintenance_margin():
    # dYdX v4: -DNNV - TNC * DMMR / TMMR, of 1 from 300 at 20 % beside a notional of 200 at 5 %, with 10
    tables = {name: {"tables": (plain_table(rate),)} for name, rate in (("ETHUSD", 0.2), ("BTCUSD", 0.05))}
    legs = ("ETHUSD", "long", 300, 1.0), ("BTCUSD", "long", 100, 2.0)
    found = account_prices(account(10, *legs), venue_of(tables)).positions
    assert found["bankruptcy_price_by_maintenance"].round(2).to_list() == [291.43, 99.29]
    assert found["bankruptcy_price_by_notional"].to_list() == pytest.approx([294.0, 98.0])
    results = (
        300 - found["bankruptcy_price_by_maintenance"][0] + 2 * (100 - found["bankruptcy_price_by_maintenance"][1])
    )
    assert results == pytest.approx(10)


def test_excluded_profit__of_inverse_legs_is_no_margin():
    # the short's profit would carry the long further down: 0.1 BTC and losses alone are what counts
    venue = venue_of({"BTCUSD": {"kind": "inverse", "tables": (plain_table(0.01),)}})
    held = account(0.1, ("BTCUSD", "long", 40_000, 10_000), ("BTCUSD", "short", 40_000, 4_000))
    found = account_prices(held, venue, profit="excluded")
    # 0.1 + 10,000 (1 / 40,000 - y) = 0.01 x 14,000 y
    assert only(found, "price_below") == pytest.approx(10_140 / 0.35)
    shared = account_prices(held, venue, profit="shared")
    assert only(shared, "price_below") == pytest.approx(6_140 / 0.25)


def test_hedged_account__has_a_price_below_and_one_above():
    venue = venue_of({name: {"tables": (plain_table(0.01),)} for name in ("AAAUSDT", "BBBUSDT")})
    held = account(50.0, ("AAAUSDT", "long", 100, 10.0), ("AAAUSDT", "short", 100, 10.0))
    found = account_prices(held, venue).symbols.row(0, named=True)
    assert (found["price_below"], found["price_above"]) == (None, pytest.approx(50 / 0.2))
    held = account(50.0, ("AAAUSDT", "long", 100, 10.0), ("BBBUSDT", "short", 100, 10.0))
    found = account_prices(held, venue)
    assert found.symbols["price_below"].to_list() == [pytest.approx((1_000 - 50 + 10) / 9.9), None]
    assert found.accounts.select("factor_below", "factor_above").row(0) == (None, pytest.approx(2.5))
    assert account_prices(held, venue, hedged="exempt").accounts["factor_above"][0] == pytest.approx(2.5)
    held = account(50.0, ("AAAUSDT", "long", 100, 10.0), ("AAAUSDT", "short", 100, 10.0))
    assert only(account_prices(held, venue, hedged="exempt"), "price_above") is None


def random_book(rng: np.random.Generator, count: int, coins: bool) -> Accounts:
    """Return accounts of one to six legs, some hedged, some with collateral and debts."""
    symbols, legs, held = list(MARKS), [], []
    for number in range(count):
        for _ in range(int(rng.integers(1, 7))):
            price = float(rng.normal(64, 3))
            leverage = float(rng.choice([2, 4, 8, 16, 32]))
            side, quantity = str(rng.choice(["long", "short"])), float(rng.lognormal(0.5, 1))
            legs.append((number, str(rng.choice(symbols)), side, START, price, quantity, leverage))
        if coins and rng.random() < 0.4:
            held.append((number, str(rng.choice(symbols)), float(rng.normal(0.5, 1))))
    names = ("account_id", "symbol", "side", "entry_time", "entry_price", "quantity", "leverage")
    frame = pl.DataFrame(legs, schema=names, orient="row").with_columns(
        pl.col("side").cast(Side), pl.col("entry_time").cast(Time)
    )
    wallets = pl.DataFrame({"account_id": np.arange(count), "wallet": rng.exponential(200, count)})
    collateral = pl.DataFrame(held, schema={"account_id": pl.Int64, "symbol": pl.String, "quantity": pl.Float64},
                              orient="row")  # fmt: skip
    haircuts = pl.DataFrame({"symbol": ["BBBUSDT"] * 2, "floor": [0.0, 20.0], "haircut": [0.05, 0.3]})
    return Accounts(wallets, frame, collateral=collateral, haircuts=haircuts)


def ramp(moving: list[str], steps: np.ndarray) -> Market:
    """Return bars of one price each: the symbols that move by factors, the others still."""
    times = [START + timedelta(minutes=n) for n in range(steps.size + 1)]
    frames = []
    for symbol, mark in MARKS.items():
        path = np.append(mark, mark * steps if symbol in moving else np.full(steps.size, mark))
        columns = dict.fromkeys(("open", "high", "low", "close"), path)
        frames.append(pl.DataFrame({"symbol": symbol, "time": times, **columns}))
    return Market(pl.concat(frames).with_columns(pl.col("time").cast(Time)))


def first_bars(steps: np.ndarray, factor: pl.Series, *, down: bool) -> list[int | None]:
    """Return the bar in which a ramp reaches each factor; nothing where it never does."""
    reached = [None if f is None else np.flatnonzero(steps <= f if down else steps >= f) for f in factor]
    return [None if bars is None or bars.size == 0 else int(bars[0]) + 1 for bars in reached]


@pytest.mark.parametrize("profit", ["shared", "excluded", "per_position"])
@pytest.mark.parametrize("seed", range(3))
def test_prices__are_those_at_which_the_sweep_liquidates_on_ramps(seed: int, profit: str):
    rng = np.random.default_rng([seed, 7])
    venue = random_venue(rng, dyadic=False)
    venue = venue_of_marks(venue).with_(tiers_apply="entry")  # no table begins on the way along a ramp
    accounts = random_book(rng, 60, coins=True)
    found = account_prices(accounts, venue, MARKS, profit=profit)
    compared = 0
    for moving in (*([name] for name in MARKS), list(MARKS)):
        for down, steps in ((True, np.geomspace(1, 0.02, 1_200)[1:]), (False, np.geomspace(1, 8, 1_200)[1:])):
            swept = sweep_accounts(accounts, ramp(moving, steps), venue, profit=profit, bracket=False).accounts
            at = (swept["outcome_time"] - START).dt.total_minutes().to_list()
            at = [bar if gone else None for bar, gone in zip(at, swept["liquidated"], strict=True)]
            side = "below" if down else "above"
            if len(moving) == 1:
                own = found.symbols.filter(symbol=moving[0]).with_columns(
                    factor=pl.col(f"price_{side}") / pl.col("mark_price")
                )
                factor = accounts.accounts.join(own, on="account_id", how="left", maintain_order="left")["factor"]
            else:
                factor = found.accounts[f"factor_{side}"]
            expected = first_bars(steps, factor, down=down)
            at_once = found.accounts["liquidated"].to_list()
            expected = [0 if gone else bar for gone, bar in zip(at_once, expected, strict=True)]
            assert expected == at
            compared += sum(bar not in (None, 0) for bar in at)
    assert compared > 60


def venue_of_marks(venue: Venue) -> Venue:
    """Return a random venue for the symbols of these marks, all of linear contracts."""
    own = dict(zip(MARKS, venue.contracts.values(), strict=False))
    return dataclasses.replace(
        venue, contracts={name: dataclasses.replace(c, symbol=name, kind="linear") for name, c in own.items()}
    )


def left_over(legs: list[tuple], wallet: float, rules: dict[str, dict], prices: dict[str, float]) -> float:
    """Return equity less maintenance margin, from the definition alone; one position a symbol and side."""
    kept = wallet
    for symbol, side, entry, quantity in legs:
        sign, own = (1 if side == "long" else -1), rules[symbol]
        table, price = own["tables"][0], prices[symbol]
        inverse = own.get("kind") == "inverse"
        notional = quantity / price if inverse else quantity * price
        result = sign * quantity * ((1 / entry - 1 / price) if inverse else (price - entry))
        kept += result - max(table.rates * notional - table.amounts)
    return kept


@pytest.mark.parametrize("seed", range(24))
def test_inverse_and_mixed_accounts__are_at_zero_there_and_above_it_in_between(seed: int):
    rng = np.random.default_rng(seed)
    rules = {
        "BTCUSD": {"kind": "inverse", "tables": (plain_table(0.004, 0.01, 0.05, floors=(0, 4, 9)),)},
        "ETHBTC": {"tables": (plain_table(0.01, 0.03, floors=(0, 3)),)},
    }
    marks = {"BTCUSD": 40_000.0, "ETHBTC": 0.06}
    sides = rng.choice(["long", "short"], 3)
    legs = [("BTCUSD", sides[0], 41_000.0, float(rng.uniform(1e5, 4e5)))]
    legs += [("ETHBTC", sides[1], 0.055, float(rng.uniform(10, 120)))] if seed % 2 else []
    legs += [("BTCUSD", sides[2], 39_000.0, 5e4)] if sides[2] != sides[0] and seed % 3 else []
    wallet = float(rng.uniform(0.5, 6))
    found = account_prices(account(wallet, *legs), venue_of(rules), {k: marks[k] for k, *_ in legs})

    def at(prices: dict[str, float]) -> float:
        return left_over(legs, wallet, rules, marks | prices)

    assert found.accounts["equity"][0] - found.accounts["maintenance_margin"][0] == pytest.approx(at({}))
    assert found.accounts["liquidated"][0] == (at({}) <= 0)
    if at({}) <= 0:
        return
    ways = [({row["symbol"]: row["mark_price"]}, row["price_below"], row["price_above"])
            for row in found.symbols.iter_rows(named=True)]  # fmt: skip
    factors = found.accounts.select("factor_below", "factor_above").row(0)
    ways.append((marks, *factors))
    for moved, below, above in ways:
        scale = 1.0 if len(moved) > 1 else next(iter(moved.values()))
        for end, grid in ((below, np.geomspace(1, 1e-3, 400)), (above, np.geomspace(1, 1e3, 400))):
            last = end / scale if end is not None else grid[-1]
            inside = [f for f in grid if (f > last) == (last < 1) and abs(f - last) > 1e-9]
            assert all(at({k: v * f for k, v in moved.items()}) > 0 for f in inside)
            if end is not None:
                assert at({k: v * last for k, v in moved.items()}) == pytest.approx(0, abs=1e-8)
                assert at({k: v * (last + (1e-6 if last > 1 else -1e-6) * last) for k, v in moved.items()}) < 0


def test_face_value__is_worth_at_most_one():
    venue = venue_of({"YES": {"kind": "face_value", "tables": (plain_table(0.05),)}})
    found = account_prices(account(30, ("YES", "short", 0.5, 100.0)), venue)
    assert only(found, "price_above") == pytest.approx((30 + 50 - 5) / 100)
    assert found.accounts["factor_above"][0] == pytest.approx(1.5)
    found = account_prices(account(80, ("YES", "short", 0.5, 100.0)), venue)
    assert only(found, "price_above") is found.accounts["factor_above"][0] is None
    with pytest.raises(ArgumentError, match=r"prices of YES, a face-value contract, must be at most 1, is 1\.5"):
        account_prices(account(80, ("YES", "short", 0.5, 100.0)), venue, {"YES": 1.5})


def test_many_accounts__are_solved_in_parts_with_the_same_answer(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    venue = venue_of_marks(random_venue(rng, dyadic=False))
    accounts = random_book(rng, 40, coins=True)
    whole = account_prices(accounts, venue, MARKS)
    monkeypatch.setattr(nearest_roots, "CELLS", 30)
    parts = account_prices(accounts, venue, MARKS)
    assert whole.symbols.equals(parts.symbols)
    assert whole.accounts.equals(parts.accounts)
    alone = account_prices(
        accounts.only(7), venue, {k: MARKS[k] for k in accounts.only(7).symbols + accounts.only(7).coins}
    )
    assert alone.symbols.sort("symbol").equals(whole.symbols.filter(account_id=7).sort("symbol"))


def test_account_at_its_requirement__is_liquidated_or_not_by_the_trigger():
    # equity 10 = maintenance 10 at the mark of 100; a long falls below it when the price falls
    for trigger, gone in (("<=", True), ("<", False)):
        venue = venue_of({"AAAUSDT": {"tables": (plain_table(0.125),), "trigger": trigger}})
        found = account_prices(account(12.5, ("AAAUSDT", "long", 100, 1.0)), venue)
        assert found.accounts["liquidated"][0] is gone
        assert (only(found, "price_below"), only(found, "price_above")) == (None if gone else 100.0, None)


def test_distances__are_in_fractions_and_days_of_volatility():
    venue = venue_of({"AAAUSDT": {"tables": (plain_table(0.125),)}})
    daily = {"AAAUSDT": 0.04, "common": 0.02}
    found = account_prices(account(50, ("AAAUSDT", "long", 100, 1.0)), venue, daily_volatility=daily)
    price = 50 / 0.875
    assert only(found, "move_below") == pytest.approx(price / 100 - 1)
    assert only(found, "days_below") == pytest.approx(-math.log(price / 100) / 0.04)
    assert found.accounts["days_below"][0] == pytest.approx(-math.log(price / 100) / 0.02)
    assert "AccountPrices(own, 1 accounts, 1 positions" in repr(found)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prices": {"XUSDT": 1.0}}, ArgumentError, "prices 'XUSDT' is held by no account"),
        ({"prices": {"AAAUSDT": 0.0}}, ArgumentError, "prices of AAAUSDT must be a finite number above zero"),
        ({"profit": "none"}, ArgumentError, "profit must be one of shared, excluded, per_position, is 'none'"),
        ({"hedged": "no"}, ArgumentError, "hedged must be liquidatable or exempt"),
        ({"daily_volatility": {"X": 1.0}}, ArgumentError, "daily_volatility 'X' is held by no account"),
    ],
)
def test_bad_arguments__are_refused_by_name(change, error, message):
    venue = venue_of({"AAAUSDT": {"tables": (plain_table(0.01),)}})
    with pytest.raises(error, match=message):
        account_prices(account(50, ("AAAUSDT", "long", 100, 1.0)), venue, **change)


def test_accounts_that_no_venue_would_take__are_refused():
    venue = venue_of({"AAAUSDT": {"tables": (plain_table(0.01, cap=500.0),)}})
    with pytest.raises(DataError, match="positions must be of a size their tiers cover: 1 of 1"):
        account_prices(account(50, ("AAAUSDT", "long", 100, 6.0)), venue)
    coins = pl.DataFrame({"account_id": [0], "symbol": ["CUSDT"], "quantity": [1.0]})
    with pytest.raises(ArgumentError, match="prices must hold CUSDT"):
        account_prices(account(50, ("AAAUSDT", "long", 100, 1.0), collateral=coins), venue)
    moved = pl.DataFrame({"account_id": [0], "time": [NOON], "wallet_change": [1.0]})
    with pytest.raises(DataError, match="transfers are for sweeps"):
        account_prices(account(50, ("AAAUSDT", "long", 100, 1.0), transfers=moved), venue)
    two = account(1, ("BTCUSD", "long", 8_000, 10_000), ("BTCUSD", "short", 8_000, 10))
    with pytest.raises(DataError, match="legs: there must be a column leverage where an account holds more than"):
        account_prices(two, "bybit", tiers="nearest")
    mixed = account(1, ("BTCUSD", "long", 8_000, 10_000), ("BTCUSDT", "short", 8_000, 0.1))
    with pytest.raises(RulesError, match="settlement: all contracts an account holds must settle in one currency"):
        account_prices(mixed, "bybit", tiers="nearest")
    with pytest.raises(TiersError, match="margin tiers must be in force at the entry"):
        account_prices(account(50, ("ETHUSDT", "long", 100, 1.0)), "binance")
