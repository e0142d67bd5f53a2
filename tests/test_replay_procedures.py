"""The steps of single venues: their worked figures, and each setting against a case counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from random_cases import random_case
from replay_cases import random_procedure
from test_replay import MINUTE, NOON, assert_closes, book, cash, market, plain_venue

from backtest import Book, Impact, Market, Venue, replay
from backtest.engine.replay.replay import Replay
from backtest.errors import ArgumentError, RulesError
from backtest.rules.contract import Contract
from backtest.rules.procedure import Procedure
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time

CALM = (100.0, 100.0, 100.0, 100.0)


def tiered(**rules: Any) -> Venue:
    """Return a venue of four flat tiers by entry notional: 1, 2, 3 and 4 % from 0, 100, 200 and 300."""
    table = TierTable(name="steps", model="flat", floors=[0, 100, 200, 300], rates=[0.01, 0.02, 0.03, 0.04])
    contract = Contract(symbol="BTCUSDT", tables=(table,), basis="entry")
    return Venue(name="tiered", title="Tiered", contracts={"BTCUSDT": contract}).with_(
        adl_trigger="never", remainder="fund", step="tier", **rules
    )


def down(price: float, **more: Any) -> Any:
    return market(CALM, (100.0, 100.0, price, price), (price, price, price, price), **more)


def at_year(path: Market, year: int) -> Market:
    """Return the same bars in another year."""
    shift = f"-{NOON.year - year}y"
    return Market(path.bars.with_columns(pl.col("time").dt.offset_by(shift)))


def steps(found: Replay) -> list[str]:
    return found.trace["step"].to_list()


#: 3.5 of 100: the fourth tier. Liquidated where 3.5 (100 - P) = 40 - 14.
LARGE = {"entry_price": 100.0, "quantity": 3.5, "margin": 40.0}
LARGE_PRICE = 100 - 26 / 3.5


# --- OKX: two tiers a step, the two lowest taken over whole


def test_okx__steps_down_two_tiers_from_the_third_on_and_takes_over_the_lowest_two() -> None:
    # 700 ETH are 7,000 contracts, the third tier (1 %); two tiers down are 300 ETH, the first one's end (0.4 %)
    row = {"entry_price": 2_000.0, "quantity": 700.0, "margin": 28_000.0}
    trigger = (700 * 2_000 - 28_000) / (700 * (1 - 0.01 - 0.0005)) - 1e-6  # maintenance and fee at the mark
    row["entry_time"] = NOON.replace(year=2021)
    path = at_year(market((2_000.0,) * 4, (2_000.0, 2_000.0, trigger, trigger), symbol="ETHUSDT"), 2021)
    held = book(row, symbol="ETHUSDT")
    found = replay(held, path, Venue.load("okx"), trace=0)
    assert steps(found) == ["entered", "triggered", "filled", "control returned"]
    assert found.trace["quantity"][2] == pytest.approx(400)
    small = book(
        row | {"quantity": 500.0, "margin": 20_000.0} | {"entry_time": held.positions["entry_time"][0]},
        symbol="ETHUSDT",
    )
    lower = (500 * 2_000 - 20_000) / (500 * (1 - 0.005 - 0.0005)) - 1e-6
    path = at_year(market((2_000.0,) * 4, (2_000.0, 2_000.0, lower, lower), symbol="ETHUSDT"), 2021)
    second = replay(small, path, Venue.load("okx"), trace=0)
    assert steps(second) == ["entered", "triggered", "taken over", "settled"]
    assert second.outcomes["realised_pnl"].item() == -20_000
    assert_closes(found)
    assert_closes(second)


@pytest.mark.parametrize(("tiers", "left"), [(1, 3.0), (2, 2.0), (3, 1.0), (99, 1.0)])
def test_tier_step__leads_down_as_many_tiers(tiers: int, left: float) -> None:
    found = replay(book(LARGE), down(LARGE_PRICE), tiered(tier_step=tiers), trace=0)
    assert steps(found) == ["entered", "triggered", "filled", "control returned"]
    assert found.trace["held"][2] == pytest.approx(left)
    assert_closes(found)


@pytest.mark.parametrize(("lowest", "ended"), [(3, "filled"), (4, "filled")])
def test_whole_tiers__take_no_step(lowest: int, ended: str) -> None:
    found = replay(book(LARGE), down(LARGE_PRICE), tiered(whole_tiers=lowest), trace=0)
    assert found.trace["quantity"][2] == pytest.approx(0.5 if lowest == 3 else 3.5)
    assert steps(found)[2] == ended


# --- Bybit, Binance, BitMEX: orders that fill now, whole or not at all


def with_volume(bar_volume: float) -> Any:
    return down(LARGE_PRICE, volume=[1e6, bar_volume, 1e6])


def gap_with_volume(bar_volume: float) -> Any:
    """Return an opening at 90, where closing a little of ``LARGE`` heals nothing: equity 5, maintenance 14."""
    return market(CALM, (90.0,) * 4, (90.0,) * 4, volume=[1e6, bar_volume, 1e6])


HALF = Impact(participation=0.5)


def test_fill_or_kill__takes_over_the_rest_where_the_book_has_no_room() -> None:
    rules = {"in_lowest": "last", "order_type": "fill_or_kill", "unwind": "hold"}
    room = replay(book(LARGE), with_volume(1.1), tiered(**rules), impact=HALF, trace=0)  # a step is 0.5
    assert steps(room) == ["entered", "triggered", "filled", "control returned"]
    none = replay(book(LARGE), with_volume(0.9), tiered(**rules), impact=HALF, trace=0)
    assert steps(none) == ["entered", "triggered", "taken over", "settled"]
    assert none.outcomes["taken_over"].item() == 3.5
    assert_closes(room)
    assert_closes(none)


def test_immediate_or_cancel__fills_what_there_is_and_takes_over_the_rest() -> None:
    rules = {"in_lowest": "last", "order_type": "immediate_or_cancel", "unwind": "hold"}
    found = replay(book(LARGE), gap_with_volume(0.9), tiered(**rules), impact=HALF, trace=0)
    assert steps(found) == ["entered", "triggered", "filled", "taken over", "settled"]
    assert found.outcomes["filled_in_market"].item() == pytest.approx(0.45)
    assert_closes(found)


def test_immediate_or_cancel__gives_back_what_it_healed() -> None:
    """Maintenance falls in proportion and the fill is at the mark: any closed part heals where the tier falls."""
    rules = {"in_lowest": "last", "order_type": "immediate_or_cancel", "tier_step": 3}
    found = replay(book(LARGE), with_volume(2.0), tiered(**rules), impact=HALF, trace=0)  # 1 of the 2.5 asked
    assert steps(found) == ["entered", "triggered", "filled", "control returned"]
    assert found.outcomes["outcome"].item() == "reduced"


def test_resting__waits_for_room() -> None:
    found = replay(book(LARGE), gap_with_volume(0.9), tiered(), impact=HALF, trace=0)
    assert "waits" in steps(found)
    assert found.outcomes.select("filled_in_market", "taken_over").row(0) == (pytest.approx(1.5), 0)
    assert_closes(found)


def test_cancelled_orders__then_sell_in_the_market_to_the_end_where_that_is_the_last_rule() -> None:
    rules = {"in_lowest": "last", "order_type": "fill_or_kill", "last": "market"}
    found = replay(book(LARGE), gap_with_volume(0.9), tiered(**rules), impact=HALF, trace=0)
    assert steps(found)[:3] == ["entered", "triggered", "filled"]
    assert steps(found)[-3:] == ["waits", "filled", "settled"]
    assert found.outcomes["filled_in_market"].item() == pytest.approx(3.5)
    assert_closes(found)


def test_bybit__takes_over_the_lowest_tier_and_steps_down_from_the_second() -> None:
    time = NOON.replace(year=2021)

    def run(quantity: float) -> Replay:
        margin = quantity * 40_000 * 0.02
        row = {"entry_price": 40_000.0, "quantity": quantity, "margin": margin, "entry_time": time}
        path = at_year(market((40_000.0,) * 4, (40_000.0, 40_000.0, 39_600.0, 39_600.0)), 2021)
        return replay(book(row), path, Venue.load("bybit"), trace=0)

    small, large = run(25.0), run(75.0)  # 1 and 3 million
    assert steps(small) == ["entered"]  # 1 % of 0.5 % maintenance is not met by a fall of 1 %
    assert steps(large) == ["entered", "triggered", "filled", "control returned"]
    assert large.outcomes["filled_in_market"].item() == pytest.approx(25)


def test_order_limit__sells_nothing_beyond_bankruptcy() -> None:
    """A gap to 80 opens far beyond 90: the order does not fill, the fund takes over at 90 and sells at 80."""
    row = {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0}
    path = market(CALM, (80.0, 80.0, 80.0, 80.0))
    rules = {"adl_trigger": "never", "order_limit": "bankruptcy", "order_type": "fill_or_kill"}
    found = replay(book(row), path, plain_venue(0.01, **rules), fund=100.0, trace=0)
    assert steps(found) == ["entered", "triggered", "taken over", "settled"]
    assert found.outcomes["fill_price"].item() == pytest.approx(90)
    assert found.fund["fund"][-1] == pytest.approx(90)
    assert_closes(found)


@pytest.mark.parametrize(("kind", "sold"), [("immediate_or_cancel", 0.5), ("fill_or_kill", 0.0)])
def test_order_limit__holds_for_the_mean_price_after_impact(kind: str, sold: float) -> None:
    """A gap to 91, where an order of notional N gets 91 (1 - linear N / 2) in the mean: half of it meets 90."""
    row, opening = {"entry_price": 100.0, "quantity": 1.0, "margin": 10.0}, 91.0
    linear = (1 - 90 / opening) / (0.5 * 0.5 * opening)
    rules = {"adl_trigger": "never", "order_limit": "bankruptcy", "order_type": kind, "unwind": "hold"}
    table = TierTable(name="one rate", model="flat", rates=[0.02])
    contract = Contract(symbol="BTCUSDT", tables=(table,), basis="entry")
    venue = Venue(name="plain", title="Plain", contracts={"BTCUSDT": contract}).with_(**rules)
    found = replay(book(row), market(CALM, (opening,) * 4), venue, impact=Impact(linear=linear))
    assert found.outcomes["filled_in_market"].item() == pytest.approx(sold)
    assert found.outcomes["taken_over"].item() == pytest.approx(1 - sold)
    assert_closes(found)


# --- Hyperliquid: a fifth first, the vault below two thirds of maintenance


def test_hyperliquid__sells_a_fifth_above_100_000_and_returns_what_is_left() -> None:
    row = {"entry_price": 50_000.0, "quantity": 4.0, "margin": 10_000.0}
    trigger = (4 * 50_000 - 10_000) / (4 * (1 - 0.0125))
    path = market((50_000.0,) * 4, (50_000.0, 50_000.0, trigger - 1e-6, trigger), (trigger,) * 4)
    found = replay(book(row), path, Venue.load("hyperliquid"), trace=0, tiers="2026-09-27")
    assert steps(found) == ["entered", "triggered", "filled", "control returned"]
    assert found.trace["quantity"][2] == pytest.approx(0.8)
    small = replay(
        book({**row, "quantity": 1.9, "margin": 4_750.0}),
        path,
        Venue.load("hyperliquid"),
        trace=0,
        tiers="2026-09-27",
    )
    assert steps(small) == ["entered", "triggered", "filled", "settled"]
    left = 0.0125 * 1.9 * trigger
    assert small.outcomes["realised_pnl"].item() == pytest.approx(left - 4_750, rel=1e-6)
    assert_closes(found)


def test_hyperliquid__the_vault_takes_over_below_two_thirds_of_maintenance_and_keeps_the_rest() -> None:
    row = {"entry_price": 50_000.0, "quantity": 4.0, "margin": 10_000.0}
    opening = 48_000.0  # equity 2,000 against 2,400 of maintenance
    at_trigger = replay(
        book(row), market((50_000.0,) * 4, (opening,) * 4), Venue.load("hyperliquid"), trace=0, tiers="2026-09-27"
    )
    assert steps(at_trigger)[2] == "filled"
    lower = 47_890.0  # 1,560 against 2,394.50: less than two thirds, 1,596.33
    found = replay(
        book(row), market((50_000.0,) * 4, (lower,) * 4), Venue.load("hyperliquid"), trace=0, tiers="2026-09-27"
    )
    assert steps(found) == ["entered", "triggered", "taken over", "settled"]
    assert found.outcomes["realised_pnl"].item() == -10_000
    assert found.outcomes["fill_price"].item() == pytest.approx(47_500)
    assert cash(found, "backstop") == pytest.approx(1_560)  # sold at once at 47,890
    assert_closes(found)


# --- what the fund gets where a fill is better than bankruptcy


def test_btcmex__the_fund_gets_60_of_a_fill_at_3060() -> None:
    """Its printed example: liquidated at 3,100, bankrupt at 3,000, filled at 3,060."""
    table = TierTable(name="one rate", model="flat", rates=[100 / 3_300])
    contract = Contract(symbol="BTCUSDT", tables=(table,), basis="entry")
    venue = Venue(name="plain", title="Plain", contracts={"BTCUSDT": contract}).with_(remainder="fund")
    last = {f"last_{name}": [3_300.0, 3_060.0] for name in ("open", "high", "low", "close")}
    path = market((3_300.0,) * 4, (3_300.0, 3_300.0, 3_099.0, 3_100.0), **last)
    row = {"entry_price": 3_300.0, "quantity": 1.0, "margin": 300.0}
    found = replay(book(row), path, venue, fill_price="last_close")
    prices = found.outcomes.select("liquidation_price", "bankruptcy_price", "fill_price").row(0)
    assert prices == pytest.approx((3_100, 3_000, 3_060))
    assert found.fund["fund"][-1] == pytest.approx(60)
    assert_closes(found)


# --- prices there cannot be


def test_takeover__never_pays_a_price_there_cannot_be() -> None:
    """A long from 0.2 with 0.22 of margin left and 0.3 of maintenance: bankrupt at -0.02, liquidated at once."""
    table = TierTable(name="one rate", model="flat", rates=[0.3])
    contract = Contract(symbol="EVENT", tables=(table,), kind="face_value", basis="entry")
    venue = Venue(name="odds", title="Odds", contracts={"EVENT": contract}).with_(
        adl_trigger="never", rounds=1, slices="takeover", step="fraction", remainder="returned", unwind="hold"
    )
    path = market((0.2,) * 4, (0.2, 0.2, 0.05, 0.05), symbol="EVENT")
    row = {"entry_price": 0.2, "quantity": 100.0, "margin": 31.0, "leverage": 100 / 22}
    taken = pl.DataFrame({"position_id": [0], "time": [NOON + MINUTE], "margin_change": [-9.0]})
    found = replay(Book(book(row, symbol="EVENT").positions, taken), path, venue)
    assert found.outcomes["fill_price"].item() == 0
    assert found.outcomes["realised_pnl"].item() == -20  # all that can be lost; 2 of margin go back
    assert_closes(found)


def test_takeover__of_an_inverse_short_without_a_bankruptcy_price_has_none() -> None:
    table = TierTable(name="one rate", model="flat", rates=[0.5])
    contract = Contract(symbol="XBTUSD", tables=(table,), kind="inverse", basis="entry", settlement="BTC")
    venue = Venue(name="coin", title="Coin", contracts={"XBTUSD": contract}).with_(
        adl_trigger="never", rounds=1, slices="takeover", step="fraction", remainder="returned", unwind="hold"
    )
    path = market(CALM, (100.0, 500.0, 100.0, 500.0), symbol="XBTUSD")
    row = {"side": "short", "entry_price": 100.0, "quantity": 100.0, "margin": 1.2, "leverage": 1.0}
    found = replay(book(row, symbol="XBTUSD"), path, venue)
    assert found.outcomes["fill_price"].item() is None
    assert found.outcomes["realised_pnl"].item() == -1
    assert found.outcomes["fees"].item() == 0
    assert_closes(found)


# --- pools of needs


def test_deleveraging__a_need_nobody_suits_does_not_keep_others_from_counterparties() -> None:
    """Longs bankrupt at 90 and at 99; the short entered at 95 may take at 90, and at 99 would lose."""
    longs = [{"side": "long", "entry_price": 100.0, "quantity": 1.0, "margin": margin} for margin in (10.0, 1.0)]
    short = {"side": "short", "entry_price": 95.0, "quantity": 1.0, "margin": 50.0}
    found = replay(book(*longs, short), market(CALM, (80.0,) * 4), plain_venue(0.001))
    assert found.adl.select("liquidated_id", "counterparty_id", "price").rows() == [(0, 2, 90.0)]
    assert cash(found, "deficit") == pytest.approx(-19)  # the other one, sold at 80
    assert_closes(found)


# --- turn within a bar


@pytest.mark.parametrize("entry_bar", ["tested", "untested"])
def test_turn__is_by_id_whatever_the_order_of_rows(entry_bar: Any) -> None:
    """Two positions fall beyond their margin in one bar, entered and left there, and the fund can pay for one."""
    late = NOON + 0.5 * MINUTE
    rows = [{"entry_price": 100.0, "quantity": 1.0, "margin": margin, "entry_time": late, "position_id": number}
            for number, margin in ((7, 10.0), (3, 12.0), (5, 11.0))]  # fmt: skip
    rules = plain_venue(0.001, adl_trigger="never", clawback=False)
    bars = [CALM, CALM, (80.0,) * 4] if entry_bar == "untested" else [(100.0, 100.0, 80.0, 80.0), (80.0,) * 4]
    last = {f"last_{name}": [bar[at] for bar in bars] for at, name in enumerate(("open", "high", "low", "close"))}
    path, held = market(*bars, **last), book(*rows)
    if entry_bar == "untested":
        held = Book(held.positions.with_columns(exit_time=pl.lit(NOON + 2 * MINUTE).cast(Time)))
    one = replay(held, path, rules, fund=9.0, entry_bar=entry_bar, fill_price="last_extreme")
    for order in ([1, 2, 0], [2, 1, 0], [0, 2, 1]):
        other = replay(
            Book(held.positions[order]), path, rules, fund=9.0, entry_bar=entry_bar, fill_price="last_extreme"
        )
        assert other.outcomes.sort("position_id").equals(one.outcomes.sort("position_id"))
        assert other.ledger.equals(one.ledger)
    paid = dict(one.outcomes.select("position_id", "fund_effect").rows())
    assert paid[3] == -8
    assert sum(paid.values()) == -9
    assert_closes(one)


# --- what is refused


@pytest.mark.parametrize("name", ["fees", "fund_effect", "clawed_back", "filled_in_market"])
def test_replay__refuses_columns_that_it_adds(name: str) -> None:
    held = book({"entry_price": 100.0, "quantity": 1.0, "margin": 50.0})
    with pytest.raises(ArgumentError, match=f"columns a replay adds: rename or drop {name}"):
        replay(Book(held.positions.with_columns(pl.lit(1.0).alias(name))), market(CALM), plain_venue())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tier_step": 0}, "tier_step: must be a whole number of 1 or more"),
        ({"whole_tiers": 1.5}, "whole_tiers: must be a whole number of 1 or more"),
        ({"takeover_below": 2.0}, "takeover_below: must lie between 0 and 1"),
        ({"order_type": "maybe"}, "order_type: must be one of resting, immediate_or_cancel, fill_or_kill"),
        ({"order_limit": "mark"}, "order_limit: must be one of none, bankruptcy"),
        ({"in_lowest": "wait"}, "in_lowest: must be one of order, last"),
    ],
)
def test_procedure__refuses_what_is_no_rule(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RulesError, match=told):
        Procedure(**given)


def test_book_of_one__is_what_it_is_in_a_book_of_many_where_nothing_couples() -> None:
    rng = np.random.default_rng(8)
    rows = [LARGE | {"quantity": float(q), "margin": float(12 * q)} for q in rng.uniform(0.3, 4.0, 12)]
    rules = tiered(in_lowest="last", tier_step=2, order_type="immediate_or_cancel", takeover_below=0.6)
    path = down(88.9)
    together = replay(book(*rows), path, rules, fund=1e4)
    for number, row in enumerate(rows):
        alone = replay(book(row), path, rules, fund=1e4).outcomes
        assert_frame_equal(
            alone.drop("position_id"), together.outcomes[number].drop("position_id"), rel_tol=1e-9, abs_tol=1e-5
        )


def test_two_symbols__are_each_by_itself_where_the_fund_never_lacks() -> None:
    """What couples symbols is the fund, clawback and nothing else."""
    compared = 0
    for number in range(80):
        rng = np.random.default_rng([number, 12])
        case = random_case(rng, 40)
        kinds = {case.venue.contract(symbol).kind for symbol in case.positions["symbol"].unique()}
        if compared == 5:
            break
        if "inverse" in kinds or len(case.positions["symbol"].unique()) < 2:
            continue
        procedure = replace(random_procedure(rng, 100.0), adl_trigger="never", clawback=False)
        venue = case.venue.with_(procedure=procedure)
        options = {
            name: value for name, value in case.options.items() if name not in ("gap_limit_ms", "entry_bar")
        }
        bars = case.bars.with_columns(volume=pl.lit(50.0))

        def run(rows: pl.Expr, told: Any = (case, bars, venue, options)) -> pl.DataFrame:
            case, bars, venue, options = told
            positions, changes = case.positions.filter(rows), case.adjustments
            if changes is not None:
                changes = changes.filter(pl.col("position_id").is_in(positions["position_id"].implode()))
            found = replay(Book(positions, changes), Market(bars, case.funding), venue, fund=1e12, **options)
            return found.outcomes.sort("position_id")

        together = run(pl.lit(value=True))
        alone = [run(pl.col("symbol") == symbol) for symbol in case.positions["symbol"].unique()]
        assert_frame_equal(together, pl.concat(alone).sort("position_id"))
        compared += 1
    assert compared == 5
