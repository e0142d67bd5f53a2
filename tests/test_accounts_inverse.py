"""Accounts with inverse legs and reserved closing fees: the reference bit for bit, published figures, laws."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from account_reference import reference_account_outcomes
from random_coin_accounts import random_coin_case
from test_account_prices import COIN_M, NOON, account, first_bars, plain_table, venue_of
from test_accounts_reference import assert_same, swept, way  # noqa: F401 (a fixture)

from backtest import (
    Accounts,
    Market,
    Venue,
    account_prices,
    liquidate_accounts,
    position_prices,
    sweep_accounts,
)
from backtest.errors import DataError, RulesError
from backtest.rules import margin
from backtest.schemas.frames import ACCOUNT_OUTCOME_COLUMNS, LEG_OUTCOME_COLUMNS, Time
from backtest.study import holders

#: How many random accounts are compared.
ACCOUNTS = int(os.environ.get("BACKTEST_REFERENCE_ACCOUNTS", "960"))
BATCHES = 4
A_CASE = 60
MARKS = {"AAA": 64.0, "BBB": 60.0, "CCC": 70.0, "DDD": 64.0}


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.usefixtures("way")
def test_sweep_of_coin_accounts__equals_the_bar_by_bar_reference(batch: int) -> None:
    for number in range(-(-ACCOUNTS // (BATCHES * A_CASE))):
        rng = np.random.default_rng([63, batch, number])
        case = random_coin_case(rng, A_CASE, leverages=batch % 2 == 0)
        expected = reference_account_outcomes(case.frames, case.bars, case.funding, case.venue, **case.options)
        found = swept(case)
        title = f"random_coin_case(default_rng([63, {batch}, {number}]), {A_CASE}, leverages={batch % 2 == 0})"
        assert_same(title, case, expected[0], found.accounts, list(ACCOUNT_OUTCOME_COLUMNS))
        assert_same(title, case, expected[1], found.legs, list(LEG_OUTCOME_COLUMNS))


def test_account_by_itself__ends_as_it_does_among_others() -> None:
    case = random_coin_case(np.random.default_rng([64, 0]), 40)
    together = swept(case)
    for number in range(0, 40, 4):
        own = {
            name: frame.filter(pl.col("account_id") == number) if "account_id" in frame.columns else frame
            for name, frame in case.frames.items()
        }
        alone = swept(case._replace(frames=own))
        mine = pl.col("account_id") == number
        assert alone.accounts.equals(together.accounts.filter(mine))
        assert alone.legs.equals(together.legs.filter(mine))


def ramp(paths: dict[str, Any]) -> Market:
    """Return bars of one price each."""
    frames = []
    for symbol, path in paths.items():
        times = [NOON + timedelta(minutes=number) for number in range(len(path))]
        frames.append(
            pl.DataFrame(
                {"symbol": symbol, "time": times, **dict.fromkeys(("open", "high", "low", "close"), path)},
                schema_overrides={"time": Time, **dict.fromkeys(("open", "high", "low", "close"), pl.Float64)},
            )
        )
    return Market(pl.concat(frames), gap_limit=None)


def test_coin_margined_account__is_swept_as_the_venues_calculator_says() -> None:
    # Binance's calculator, COIN-M: wallet 101 BTC, 100,000 contracts of 100 USD long from 45,000, cross: 33,599.40
    floors, rates, _ = zip(*COIN_M, strict=True)
    venue = venue_of({"BTCUSD": {"kind": "inverse", "tables": (plain_table(*rates, floors=floors),)}})
    held = account(101, ("BTCUSD", "long", 45_000, 1e7))
    found = sweep_accounts(held, ramp({"BTCUSD": [45_000, 33_599.5, 33_599.4, 33_599.3]}), venue)
    row, leg = found.accounts.row(0, named=True), found.legs.row(0, named=True)
    assert row["outcome_time"] == NOON + timedelta(minutes=2)
    assert leg["fill_price"] == 33_599.4
    assert leg["realised_pnl"] == pytest.approx(1e7 / 45_000 - 1e7 / 33_599.4)
    assert row["equity_at_fill"] == pytest.approx(101 + leg["realised_pnl"])
    assert row["maintenance_margin"] == pytest.approx(0.125 * 1e7 / 33_599.4 - 11.605)


def test_bybits_inverse_example__is_liquidated_at_the_same_price_in_the_sweep() -> None:
    # Bybit help 360039261334 (2020): 10,000 USD long from 8,000 with 0.5 BTC: 5,739.5, before rounding 5,739.08
    held = account(0.5, ("BTCUSD", "long", 8_000, 10_000))
    found = sweep_accounts(held, ramp({"BTCUSD": [8_000, 5_739.1, 5_739.0]}), "bybit", tiers="nearest")
    assert found.accounts["outcome_time"][0] == NOON + timedelta(minutes=2)


def test_published_maintenance_margin__has_the_fee_to_close_at_the_price_the_leverage_gives() -> None:
    # Bybit help (unified account): 1 BTC from 40,000 at 50x, 0.5 %, taker fee 0.055 %: 221.56, of it 21.56 the fee
    rules = {"closing_fee": "at_bankruptcy", "closing_fee_rate": 0.00055, "margin_includes_closing_fee": True}
    venue = venue_of({"BTCUSDT": {"tables": (plain_table(0.005),), **rules}})
    legs = levered(("BTCUSDT", "long", 40_000, 1.0, 50.0))
    found = account_prices(Accounts({"account_id": [0], "wallet": [4_000.0]}, legs), venue)
    assert found.accounts["maintenance_margin"][0] == pytest.approx(221.56)


@pytest.mark.parametrize(("symbol", "quantity"), [("BTCUSD", 10_000.0), ("BTCUSDT", 0.5)])
@pytest.mark.parametrize("side", ["long", "short"])
def test_wallet_of_just_the_initial_margin__is_liquidated_where_the_isolated_position_is(
    symbol: str, quantity: float, side: str
) -> None:
    venue = Venue.load("bybit")
    contract = venue.contract(symbol)
    given = {"side": side, "quantity": quantity, "entry_price": 8_000.0}
    wallet = np.asarray(margin.initial_margin(contract, leverage=20.0, **given)).item()
    legs = levered((symbol, side, 8_000.0, quantity, 20.0))
    held = Accounts({"account_id": [0], "wallet": [wallet]}, legs)
    isolated = position_prices(venue, symbol, leverage=20.0, **given)
    found = account_prices(held, venue, tiers="nearest").symbols
    price = found["price_below" if side == "long" else "price_above"][0]
    assert price == pytest.approx(isolated.liquidation_price, rel=1e-12)
    towards = -1 if side == "long" else 1
    path = [8_000.0, price * (1 - towards * 1e-9), price * (1 + towards * 1e-9)]
    outcomes = sweep_accounts(held, ramp({symbol: path}), venue, tiers="nearest")
    assert outcomes.accounts["outcome_time"][0] == NOON + timedelta(minutes=2)


def levered(*legs: tuple[Any, ...]) -> pl.DataFrame:
    names = ("symbol", "side", "entry_price", "quantity", "leverage")
    return pl.DataFrame([dict(zip(names, leg, strict=True)) for leg in legs]).with_columns(
        pl.lit(0).alias("account_id"), entry_time=pl.lit(NOON).cast(Time)
    )


@pytest.mark.parametrize("leverages", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_prices__are_those_at_which_the_sweep_liquidates_on_ramps(seed: int, leverages: bool) -> None:
    case = random_coin_case(np.random.default_rng([65, seed, leverages]), 40, leverages=leverages)
    legs = case.frames["legs"].with_columns(entry_time=pl.lit(NOON).cast(Time), exit_time=None).drop("exit_time")
    wallets = pl.Series(np.random.default_rng(seed).exponential(100, len(case.frames["accounts"])))
    accounts = case.frames["accounts"].select("account_id", wallet=wallets)
    held = Accounts(accounts, legs, collateral=case.frames["collateral"], haircuts=case.frames["haircuts"])
    options = {"profit": case.options["profit"], "hedged": case.options["hedged"]}
    options |= {"tiers": "nearest"}
    found = account_prices(held, case.venue, {name: MARKS[name] for name in symbols_of(held)}, **options)
    at_once, compared = found.accounts["liquidated"].to_list(), 0
    for moving in (*([name] for name in symbols_of(held)), list(MARKS)):
        for side, steps in (("below", np.geomspace(1, 0.02, 600)[1:]), ("above", np.geomspace(1, 20, 600)[1:])):
            paths = {
                name: np.append(mark, mark * steps if name in moving else np.full(steps.size, mark))
                for name, mark in MARKS.items()
            }
            outcomes = sweep_accounts(held, ramp(paths), case.venue, bracket=False, **options).accounts
            at = (outcomes["outcome_time"] - NOON).dt.total_minutes().to_list()
            at = [bar if gone else None for bar, gone in zip(at, outcomes["liquidated"], strict=True)]
            factor = factors(found, accounts, moving, side)
            expected = [
                0 if gone else bar
                for gone, bar in zip(at_once, first_bars(steps, factor, down=side == "below"), strict=True)
            ]
            assert expected == at, (moving, side)
            compared += sum(bar not in (None, 0) for bar in at)
    assert compared > 40


def symbols_of(held: Accounts) -> list[str]:
    return list(dict.fromkeys([*held.symbols, *held.coins]))


def factors(found: Any, accounts: pl.DataFrame, moving: list[str], side: str) -> pl.Series:
    if len(moving) > 1:
        return found.accounts[f"factor_{side}"]
    own = found.symbols.filter(symbol=moving[0])
    own = own.with_columns(factor=pl.col(f"price_{side}") / pl.col("mark_price"))
    return accounts.join(own, on="account_id", how="left", maintain_order="left")["factor"]


def test_alerts_and_liquidations__take_inverse_legs() -> None:
    venue = venue_of({"BTCUSD": {"kind": "inverse", "tables": (plain_table(0.01),)}})
    held = account(0.2, ("BTCUSD", "long", 40_000, 20_000))
    market = ramp({"BTCUSD": [40_000, 34_000, 29_900, 28_800, 28_000]})
    # 0.2 + 20,000 (1 / 40,000 - y) = k 0.01 x 20,000 y: at 28,857.1 (k = 1) and 30,000 (k = 5)
    assert sweep_accounts(held, market, venue).accounts["outcome_time"][0] == NOON + timedelta(minutes=3)
    alerts = holders.replay_alerts(held, market, venue, ratio=0.2, quiet=timedelta(minutes=9))
    assert alerts["first_alert"][0] == NOON + timedelta(minutes=2)
    closed = liquidate_accounts(held, market, venue)
    left = 0.2 + 20_000 / 40_000 - 20_000 / 28_800
    assert closed.accounts["remainder"][0] == pytest.approx(max(left, 0), abs=2e-10)
    assert closed.closed["fill_price"].to_list() == [28_800.0]
    deribit = Venue.load("deribit")
    perpetual = account(0.2, ("BTC-PERPETUAL", "long", 40_000, 20_000))
    path = ramp({"BTC-PERPETUAL": [40_000, 34_000, 28_500, 28_000]})
    stepped = liquidate_accounts(perpetual, path, deribit, tiers="nearest")
    assert stepped.closed.height > 1


def test_leg_entered_after_the_last_bar__shows_the_table_of_its_own_entry() -> None:
    early = plain_table(0.01).__class__(name="early", rates=[0.01], end=NOON + timedelta(minutes=5))
    late = plain_table(0.01).__class__(name="late", rates=[0.02], start=NOON + timedelta(minutes=5))
    venue = venue_of({"BTCUSDT": {"tables": (early, late)}})
    legs = levered(("BTCUSDT", "long", 100.0, 1.0, 2.0), ("BTCUSDT", "long", 100.0, 1.0, 2.0)).with_columns(
        entry_time=pl.Series([NOON, NOON + timedelta(minutes=9)]).cast(Time)
    )
    held = Accounts({"account_id": [0], "wallet": [100.0]}, legs)
    found = sweep_accounts(held, ramp({"BTCUSDT": [100.0, 100.0]}), venue)
    assert found.legs["tier_table"].to_list() == ["early", "late"]


def test_accounts_that_hold_what_they_cannot__are_refused() -> None:
    market = ramp({"BTCUSD": [8_000.0, 8_000.0], "BTCUSDT": [8_000.0, 8_000.0]})
    two = account(1, ("BTCUSD", "long", 8_000, 10_000), ("BTCUSD", "short", 8_000, 10))
    for refused in (sweep_accounts, liquidate_accounts):
        with pytest.raises(
            DataError, match="there must be a column leverage where an account holds more than one"
        ):
            refused(two, market, "bybit", tiers="nearest")
        mixed = account(1, ("BTCUSD", "long", 8_000, 10_000), ("BTCUSDT", "short", 8_000, 0.1))
        with pytest.raises(RulesError, match="settlement: all contracts an account holds must settle in one"):
            refused(mixed, market, "bybit", tiers="nearest")
        coin = pl.DataFrame({"account_id": [0], "symbol": ["BTCUSD"], "quantity": [1.0]})
        backed = account(1, ("BTCUSD", "long", 8_000, 10_000), collateral=coin)
        with pytest.raises(RulesError, match="hold it under an index's symbol"):
            refused(backed, market, "bybit", tiers="nearest")
