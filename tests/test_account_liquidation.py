"""What a venue's procedure makes of an account: worked by hand, and what must always hold."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from random_accounts import random_case
from test_accounts_reference import swept

from backtest import Accounts, Market, Venue, liquidate_accounts
from backtest.engine.accounts.liquidate import Liquidations
from backtest.engine.money import QUOTE_UNIT
from backtest.errors import DataError, RulesError
from backtest.rules.contract import Contract
from backtest.rules.cross import Cross
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time

START = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROFITS = ("shared", "excluded", "per_position")


def market(**closes: list[float]) -> Market:
    """Return flat bars: each symbol stands at one price a minute."""
    frames = [
        pl.DataFrame(
            {
                "symbol": symbol,
                "time": pl.Series([START + MINUTE * bar for bar in range(len(prices))]).cast(Time),
                **{part: [float(price) for price in prices] for part in ("open", "high", "low", "close")},
            }
        )
        for symbol, prices in closes.items()
    ]
    return Market(pl.concat(frames))


def venue(table: dict[str, Any] | None = None, **contract: Any) -> Venue:
    given = {"name": "t", "model": "flat", "rates": [0.1], "max_leverages": [4.0]} | (table or {})
    default = Contract(symbol="any", tables=(TierTable(**given),), **({"basis": "entry"} | contract))
    return Venue(name="hand", title="By hand", contracts={}, default=default)


def accounts(wallet: float, *legs: tuple[Any, ...], order_margin: float = 0.0, **more: Any) -> Accounts:
    """Return one account; legs are symbol, side, price, quantity."""
    rows = [
        {"leg_id": number, "account_id": 1, "symbol": symbol, "side": side, "entry_time": START}
        | {"entry_price": float(price), "quantity": float(quantity)}
        for number, (symbol, side, price, quantity) in enumerate(legs)
    ]
    frame = pl.DataFrame({"account_id": [1], "wallet": [float(wallet)], "order_margin": [order_margin]})
    return Accounts(frame, pl.DataFrame(rows), **more)


def steps_of(found: Liquidations) -> list[str]:
    return found.steps["step"].to_list()


def test_liquidate_accounts__cancelling_orders_alone_can_restore_an_account() -> None:
    held = accounts(25, ("X", "long", 100, 1), order_margin=10)
    cross = Cross(steps=("cancel_orders", "take_over"))
    found = liquidate_accounts(held, market(X=[100, 94, 94]), venue(), cross=cross)
    # 25 - 10 - 6 = 9 is below 10; without the orders it is 19
    assert found.steps.select("step", "equity", "maintenance_margin", "restored").rows() == [
        ("cancel_orders", 19.0, 10.0, True)
    ]
    assert found.accounts["outcome"].to_list() == ["open"]
    assert found.legs["quantity_left"].to_list() == [1.0]
    again = liquidate_accounts(held, market(X=[100, 94, 84]), venue(), cross=cross)
    assert steps_of(again) == ["cancel_orders", "take_over"]
    assert again.steps["trigger"].to_list() == [1, 2]


def test_liquidate_accounts__takeover_at_the_bankruptcy_price_leaves_nothing() -> None:
    held = accounts(20, ("X", "long", 100, 1))
    found = liquidate_accounts(held, market(X=[100, 88]), venue(), cross=Cross(steps=("take_over",)))
    # equity 8 at 88: bankrupt at 80, whatever the mark does in the bar
    assert found.closed.select("quantity", "fill_price", "result").rows() == [(1.0, 80.0, -20.0)]
    assert found.accounts.select("remainder", "shortfall").rows() == [(0.0, 0.0)]


def test_liquidate_accounts__closing_in_the_book_returns_the_rest_or_leaves_a_shortfall() -> None:
    held = accounts(20, ("X", "long", 100, 1))
    found = liquidate_accounts(held, market(X=[100, 88]), venue(), cross=Cross(slippage=0.25))
    assert found.closed["fill_price"].to_list() == [66.0]
    assert found.accounts.select("remainder", "shortfall").rows() == [(0.0, 14.0)]
    found = liquidate_accounts(held, market(X=[100, 88]), venue())
    assert found.accounts.select("remainder", "shortfall").rows() == [(8.0, 0.0)]


def test_liquidate_accounts__self_trade_closes_the_smaller_side_against_the_larger() -> None:
    held = accounts(20, ("X", "long", 100, 2), ("X", "short", 100, 1))
    cross = Cross(steps=("self_trade", "take_over"))
    found = liquidate_accounts(held, market(X=[100, 86, 86]), venue(), cross=cross)
    # equity 20 - 14 = 6 against 30: one of each closed at 86, then 6 against 10: not enough
    assert steps_of(found) == ["self_trade", "take_over"]
    assert found.steps["maintenance_margin"].to_list() == [10.0, 0.0]
    roomy = accounts(40, ("X", "long", 100, 2), ("X", "short", 100, 1))
    found = liquidate_accounts(roomy, market(X=[100, 86, 86]), venue(), cross=cross)
    assert found.steps.select("step", "equity", "restored").rows() == [("self_trade", 26.0, True)]
    assert found.legs["quantity_left"].to_list() == [1.0, 0.0]
    fee = replace(cross, self_trade_fee=0.01)
    found = liquidate_accounts(roomy, market(X=[100, 86, 86]), venue(), cross=fee)
    assert found.steps["equity"].to_list() == pytest.approx([26.0 - 2 * 0.86])


def test_liquidate_accounts__tiers_are_stepped_down_one_at_a_time_at_the_bankruptcy_price() -> None:
    tiers = {"floors": [0.0, 100, 200], "rates": [0.05, 0.1, 0.2], "max_leverages": [20.0, 10.0, 5.0]}
    held = accounts(90, ("X", "long", 100, 3))
    cross = Cross(steps=("step_down_tiers", "take_over"), order="triggered", profit="per_position")
    found = liquidate_accounts(held, market(X=[100, 89, 89]), venue(tiers), cross=cross)
    # 90 - 33 = 57 is below 60; a third taken over at the bankruptcy price 70 leaves 38 of equity for two
    assert found.closed.select("quantity", "fill_price").rows()[0] == pytest.approx((1.0, 70.0))
    assert found.steps.select("equity", "maintenance_margin").rows()[0] == pytest.approx((38.0, 20.0))
    assert found.accounts["outcome"].to_list() == ["open"]


def test_liquidate_accounts__conversion_frees_what_the_haircut_held_back() -> None:
    haircuts = pl.DataFrame({"symbol": ["C"], "floor": [0.0], "haircut": [0.5]})
    coins = pl.DataFrame({"account_id": [1], "symbol": ["C"], "quantity": [2.0]})
    held = accounts(0, ("X", "long", 100, 1), collateral=coins, haircuts=haircuts)
    cross = Cross(steps=("convert_collateral", "take_over"), conversion_cost=0.1)
    found = liquidate_accounts(held, market(X=[100, 90, 90], C=[20, 20, 20]), venue(), cross=cross)
    # 20 of 40 count: 10 is not above 10; converted, 36 - 10 = 26 is
    assert found.closed.select("leg_id", "symbol", "quantity", "fill_price", "result").rows() == [
        (None, "C", 2.0, 20.0, 36.0)
    ]
    assert found.steps.select("step", "equity", "restored").rows() == [("convert_collateral", 26.0, True)]
    assert found.accounts["outcome"].to_list() == ["open"]


def test_liquidate_accounts__reduction_stops_in_the_round_that_restores() -> None:
    held = accounts(20, ("X", "long", 100, 1))
    cross = Cross(steps=("reduce", "take_over"), rounds=10, restored_above="initial")
    found = liquidate_accounts(held, market(X=[100, 90, 90]), venue(), cross=cross)
    # equity 10 stays; the initial margin is a quarter of what is left: 25 q < 10 first at q = 0.3
    assert found.closed["quantity"].sum() == pytest.approx(0.7)
    assert found.steps.select("step", "restored").rows() == [("reduce", True)]
    bare = liquidate_accounts(held, market(X=[100, 90, 90]), venue(), cross=replace(cross, slippage=0.2))
    assert bare.accounts["outcome"].to_list() == ["liquidated"]  # each round loses more than it frees


def test_liquidate_accounts__refuses_an_initial_margin_that_nothing_tells() -> None:
    held = accounts(20, ("X", "long", 100, 1))
    cross = Cross(steps=("reduce", "take_over"), restored_above="initial")
    with pytest.raises(RulesError, match="the initial margin of X is not known: its table 't' states no highest"):
        liquidate_accounts(held, market(X=[100, 90]), venue({"max_leverages": [np.inf]}), cross=cross)


def test_liquidate_accounts__an_initial_margin_that_is_not_known_is_null() -> None:
    held = accounts(21, ("X", "long", 100, 2))
    cross = Cross(steps=("reduce", "take_over"), rounds=4)
    known = liquidate_accounts(held, market(X=[100, 95]), venue(), cross=cross)
    assert known.steps["initial_margin"].to_list() == [25.0]  # a quarter of 100, half of the position
    bare = liquidate_accounts(held, market(X=[100, 95]), venue({"max_leverages": [np.inf]}), cross=cross)
    assert bare.steps["initial_margin"].to_list() == [None]


def test_liquidate_accounts__order_decides_which_position_goes_first() -> None:
    prices = market(X=[100, 80, 80], Y=[100, 105, 105])
    held = accounts(30, ("X", "long", 100, 1), ("Y", "short", 100, 2))
    first = {
        order: liquidate_accounts(held, prices, venue(), cross=Cross(order=order)).closed["symbol"][0]
        for order in ("largest_loss", "largest_notional")
    }
    assert first == {"largest_loss": "X", "largest_notional": "Y"}


@pytest.mark.parametrize(
    ("order", "profit", "quantities"),
    [
        *itertools.product(("largest_notional", "largest_loss"), PROFITS, [[0.0, 24.5]]),
        ("triggered", "per_position", [0.0, 24.5]),
        ("all", "shared", [12.5, 12.25]),
        ("triggered", "shared", [12.5, 12.25]),
    ],
)
@pytest.mark.parametrize("last", ["take_over", "close"])
def test_liquidate_accounts__steps_keep_to_a_position_until_it_is_closed(
    order: str, profit: str, quantities: list[float], last: str
) -> None:
    held = accounts(60, ("X", "long", 100, 50), ("Y", "long", 100, 49))
    cross = Cross(steps=("reduce", last), order=order, profit=profit, rounds=4)
    found = liquidate_accounts(held, market(X=[100, 100], Y=[100, 100]), venue({"rates": [0.02]}), cross=cross)
    # X is reduced to nothing: 60 against 98; half of Y needs 49. All together: a quarter of both needs 49.50
    assert found.legs["quantity_left"].to_list() == quantities
    assert found.steps["restored"].to_list() == ([False, True] if quantities[0] == 0 else [True])
    assert found.steps["wallet"].to_list()[-1] == 60.0


def test_liquidate_accounts__a_position_stepped_down_is_taken_over_before_the_next() -> None:
    tiers = {"floors": [0.0, 1_000, 10_000], "rates": [0.01, 0.02, 0.5], "max_leverages": [9.0, 5.0, 2.0]}
    held = accounts(15, ("X", "long", 100, 120), ("Y", "long", 100, 50))
    cross = Cross(steps=("step_down_tiers", "take_over"), order="largest_notional")
    found = liquidate_accounts(held, market(X=[100, 100], Y=[100, 100]), venue(tiers), cross=cross)
    assert found.closed["symbol"].to_list() == ["X"] * 3 + ["Y"] * 2
    # tiers of X, then what is left of it, at 100 - 15 / 120; nothing is left for Y
    assert found.closed["fill_price"].to_list() == pytest.approx([99.875] * 3 + [100.0] * 2)


def test_liquidate_accounts__of_excluded_profits_the_triggered_position_goes_first() -> None:
    prices = market(X=[100, 80, 80], Y=[100, 120, 120])
    held = accounts(25, ("X", "long", 100, 1), ("Y", "long", 100, 1))
    own = Cross(steps=("take_over",), order="triggered", profit="per_position")
    found = liquidate_accounts(held, prices, venue(), cross=own)
    # X sees 25 - 20 = 5 of equity and is bankrupt at 75; Y keeps its own profit of 20 against 10
    assert found.closed.select("symbol", "fill_price").rows() == [("X", 75.0)]
    assert found.steps.select("wallet", "equity", "positions", "restored").rows() == [(0.0, 20.0, 1, True)]
    usable = liquidate_accounts(held, prices, venue(), cross=Cross())
    assert usable.closed.is_empty()  # 25 + 0 against 20


@pytest.mark.parametrize(
    ("order", "x", "quantity", "prices"),
    [
        # X may use 1,400 - 1,500 + 1,000 = 900: 110 - 9; its profit of 100 is settled, so that Y may use 0
        ("largest_notional", 110, 100, [("X", 101.0), ("Y", 70.0)]),
        # Y may use 1,400 - 1,500: 70 + 2, and X its profit of 1,000 against 200
        ("triggered", 110, 100, [("Y", 72.0)]),
        # both trigger, X comes first and may use -90: 101 + 9, and Y 0
        ("triggered", 101, 10, [("X", 110.0), ("Y", 70.0)]),
        # 11,000 / 14,500 of 900 and 3,500 / 14,500 of -100
        ("all", 110, 100, [("X", 110 - 9 * 110 / 145), ("Y", 70 + 2 * 35 / 145)]),
    ],
)
def test_liquidate_accounts__a_takeover_uses_the_equity_that_the_position_may_use(
    order: str, x: float, quantity: float, prices: list[tuple[str, float]]
) -> None:
    held = accounts(1_400, ("X", "long", 100, quantity), ("Y", "long", 100, 50))
    cross = Cross(steps=("take_over",), order=order, profit="per_position")
    found = liquidate_accounts(held, market(X=[100, x], Y=[100, 70]), venue({"rates": [0.02]}), cross=cross)
    assert found.closed["symbol"].to_list() == [symbol for symbol, _ in prices]
    assert found.closed["fill_price"].to_list() == pytest.approx([price for _, price in prices])
    assert found.accounts["shortfall"].fill_null(0.0).to_list() == [0.0]


@pytest.mark.parametrize("profit", PROFITS)
def test_liquidate_accounts__order_triggered_takes_the_positions_that_the_sweep_names(profit: str) -> None:
    for case in (random_case(np.random.default_rng([11, seed]), 40) for seed in range(6)):
        outcomes = swept(case, profit=profit)
        limit = case.options["gap_limit_ms"]
        limit = None if limit is None else timedelta(milliseconds=limit)
        found = liquidate_accounts(
            Accounts(**case.frames), Market(case.bars, case.funding, gap_limit=limit), case.venue,
            cross=Cross(steps=("take_over",), order="triggered", profit=profit, hedged=case.options["hedged"]),
            convention=case.options["convention"],
        )  # fmt: skip
        first = found.closed.filter(pl.col("trigger") == 1).group_by("account_id", maintain_order=True)
        first = first.agg(leg_id=pl.first("leg_id"))
        taken = first.join(outcomes.legs, on="leg_id")
        assert taken.height == outcomes.accounts["liquidated"].sum() > 0
        assert taken["triggered"].all()


@pytest.mark.parametrize("steps", [("take_over",), ("step_down_tiers", "take_over")])
@pytest.mark.parametrize("order", ["all", "largest_loss"])
def test_liquidate_accounts__takeovers_at_bankruptcy_leave_exactly_nothing(
    steps: tuple[str, ...], order: str
) -> None:
    closed = 0
    for seed in range(4):
        case = random_case(np.random.default_rng([12, seed]), 40)
        frames = case.frames | {"collateral": case.frames["collateral"].clear()}
        frames["accounts"] = frames["accounts"].select("account_id", "wallet")
        history = Market(case.bars, case.funding, gap_limit=None)
        found = liquidate_accounts(Accounts(**frames), history, case.venue, cross=Cross(steps=steps, order=order))
        gone = found.accounts.filter(pl.col("outcome") == "liquidated")
        assert gone.select("remainder", "shortfall").sum_horizontal().sum() == 0.0
        closed += gone.height
    assert closed > 20


def test_liquidate_accounts__a_side_longer_by_rounding_alone_is_traded_whole() -> None:
    held = accounts(
        20, ("X", "long", 100, 0.1), ("X", "long", 100, 0.2), ("X", "short", 100, 0.3), ("Y", "long", 100, 1)
    )
    cross = Cross(steps=("self_trade", "take_over"))
    found = liquidate_accounts(held, market(X=[100, 100], Y=[100, 88]), venue(), cross=cross)
    assert 0.1 + 0.2 > 0.3
    assert found.legs["quantity_left"].to_list()[:3] == [0.0, 0.0, 0.0]
    assert found.steps["positions"].to_list()[0] == 1


def test_liquidate_accounts__a_position_grown_beyond_its_table_after_a_restoration_is_named() -> None:
    later = pl.DataFrame(
        {
            "leg_id": [0, 1],
            "account_id": [2, 2],
            "symbol": ["X", "X"],
            "side": ["long", "long"],
            "entry_time": pl.Series([START, START + 3 * MINUTE]).cast(Time),
            "entry_price": [100.0, 100.0],
            "quantity": [1.0, 9.0],
        }
    )
    frame = pl.DataFrame({"account_id": [1, 2], "wallet": [500.0, 25.0], "order_margin": [0.0, 10.0]})
    other = later.head(1).with_columns(leg_id=pl.lit(7), account_id=pl.lit(1))
    held = Accounts(frame, pl.concat([later, other.cast(later.schema)]))
    cross = Cross(steps=("cancel_orders", "take_over"))
    with pytest.raises(DataError, match=r"a size their tiers cover: 1 of 2 rows .* first row 1 \(account_id=2\)"):
        liquidate_accounts(held, market(X=[100, 94, 94, 94, 94]), venue({"cap": 500.0}), cross=cross)


def test_liquidate_accounts__a_hedged_account_is_exempt_where_the_venue_says_so() -> None:
    prices = market(X=[100, 50, 50])
    held = accounts(5, ("X", "long", 100, 1), ("X", "short", 100, 1))
    assert liquidate_accounts(held, prices, venue(), cross=Cross(hedged="exempt")).closed.is_empty()
    assert liquidate_accounts(held, prices, venue()).closed.height == 2


@pytest.mark.parametrize(
    ("name", "first_steps"),
    [
        ("mexc", ["cancel_orders", "self_trade", "step_down_tiers", "take_over"]),
        ("ascendex", ["cancel_orders", "convert_collateral", "reduce", "take_over"]),
        ("binance", ["cancel_orders", "close"]),
        ("bybit", ["cancel_orders", "step_down_tiers", "take_over"]),
    ],
)
def test_venues__tell_their_procedure_for_accounts(name: str, first_steps: list[str]) -> None:
    found = Venue.load(name)
    assert list(found.cross.steps) == first_steps
    assert {f"cross.{rule}" for rule in ("profit", "steps", "order")} <= set(found.provenance)


def test_cross__refuses_steps_that_leave_positions_over() -> None:
    with pytest.raises(RulesError, match=r"steps: the last must be take_over or close"):
        Cross(steps=("reduce",))
    with pytest.raises(RulesError, match="steps: there is no step 'sell'"):
        Cross(steps=("sell", "close"))


PROCEDURES = (
    Cross(),
    Cross(
        steps=("cancel_orders", "self_trade", "step_down_tiers", "take_over"), order="triggered",
        profit="per_position",
    ),
    Cross(
        steps=("cancel_orders", "convert_collateral", "reduce", "take_over"), restored_above="initial",
        profit="excluded", rounds=7, slippage=0.01, conversion_cost=0.02,
    ),
    Cross(steps=("step_down_tiers", "close"), order="largest_loss", hedged="exempt"),
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(PROCEDURES)))
def test_liquidate_accounts__books_every_change_of_the_wallet(number: int) -> None:
    cross = PROCEDURES[number]
    for seed in range(6):
        case = random_case(np.random.default_rng([7, seed]), 40)
        frames = case.frames | {"transfers": case.frames["transfers"].clear()}
        frames["legs"] = frames["legs"].with_columns(exit_time=pl.lit(None, Time))
        case = case._replace(frames=frames)
        limit = case.options["gap_limit_ms"]
        limit = None if limit is None else timedelta(milliseconds=limit)
        found = liquidate_accounts(
            Accounts(**frames), Market(case.bars, case.funding, gap_limit=limit), case.venue, cross=cross
        )
        outcomes = swept(case, profit=cross.profit, hedged=cross.hedged, convention="joint_worst").accounts
        assert (outcomes["liquidated"] == (found.accounts["triggers"] > 0)).all()
        assert outcomes.filter("liquidated")["outcome_time"].equals(
            found.accounts.filter(pl.col("triggers") > 0)["first_trigger"]
        )
        check_wallets(found)
        check_quantities(found)
        if cross.steps == ("close",):  # at the mark: what the sweep itself closes at
            left = (found.accounts["remainder"] - found.accounts["shortfall"]).drop_nulls().to_list()
            at_fill = outcomes["equity_at_fill"].drop_nulls().to_list()
            assert at_fill == pytest.approx(left, rel=1e-9, abs=10 / QUOTE_UNIT)


def check_wallets(found: Liquidations) -> None:
    """The wallet after the last step is what was there and what was closed; given back only above the margin."""
    results = found.closed.group_by("account_id").agg(pl.col("result").sum())
    last = found.steps.group_by("account_id", maintain_order=True).last()
    freed = found.steps.filter(pl.col("step") == "cancel_orders").select("account_id", freed=True)
    own = found.accounts.join(last, on="account_id").join(results, on="account_id", how="left")
    own = own.join(freed, on="account_id", how="left")
    if "order_margin" in own.columns:
        held_back = pl.when(pl.col("freed").is_null()).then("order_margin").otherwise(0.0)
        own = own.with_columns(wallet=pl.col("wallet") - held_back)
    gap = own["wallet"] + own["result"].fill_null(0.0) - own["wallet_right"]
    assert (gap.abs() < 1.01 / QUOTE_UNIT).all()  # wallet and order margin are rounded at the trigger, once
    money = pl.concat([found.steps["wallet"], found.closed["result"], found.accounts["shortfall"].drop_nulls()])
    assert ((money * QUOTE_UNIT - (money * QUOTE_UNIT).round()).abs() < 1e-3).all()
    restored = found.steps.filter("restored")
    assert (restored["equity"] >= restored["maintenance_margin"]).all()
    gone = own.filter(pl.col("outcome") == "liquidated")
    assert (gone["positions"] == 0).all()


def check_quantities(found: Liquidations) -> None:
    """What was closed and what is left add up to every leg."""
    closed = found.closed.drop_nulls("leg_id").group_by("leg_id").agg(pl.col("quantity").sum().alias("gone"))
    legs = found.legs.join(closed, on="leg_id", how="left").with_columns(pl.col("gone").fill_null(0.0))
    assert ((legs["quantity_left"] + legs["gone"] - legs["quantity"]).abs() <= 1e-9 * legs["quantity"]).all()


def test_takeover__shares_equity_by_notional_or_by_maintenance_margin() -> None:
    # 1 ETH at 300 and 20 %, 2 BTC at 100 and 5 %, equity 10 against 70: dYdX shares it 60 to 10, others 3 to 2
    tables = {"BTC": 0.05, "ETH": 0.2}
    contracts = {
        symbol: Contract(symbol=symbol, tables=(TierTable(name="t", rates=[rate]),))
        for symbol, rate in tables.items()
    }
    own = Venue(name="hand", title="By hand", contracts=contracts)
    held = accounts(10.0, ("ETH", "long", 300, 1), ("BTC", "long", 100, 2))
    history = market(ETH=[300, 300], BTC=[100, 100])
    for by, expected in (("maintenance", [300 - 60 / 7, 100 - 5 / 7]), ("notional", [294.0, 98.0])):
        rules = Cross(steps=("take_over",), equity_shared_by=by)  # type: ignore[arg-type]
        closed = liquidate_accounts(held, history, own, cross=rules).closed.sort("fill_price", descending=True)
        assert closed["fill_price"].to_list() == pytest.approx(expected)
    assert Venue.load("dydx").cross.equity_shared_by == "maintenance"
