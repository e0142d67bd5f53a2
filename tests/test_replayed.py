"""Policies settled by the replay: as the fund path where nothing is coupled, and as the replay's own frames."""

from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from event_cases import FUNDS, random_event
from policy_cases import random_book, random_market, venue

from backtest import Book, Conventions, Impact, Market, Venue, replay, sweep
from backtest.engine.replay import totals
from backtest.errors import ArgumentError
from backtest.rules.contract import Contract
from backtest.rules.procedure import Procedure
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Side, Time
from backtest.study.policy.evaluations import evaluate, intended
from backtest.study.policy.frontier import laws
from backtest.study.policy.grid import Grid, History
from backtest.study.policy.replay_settlement import UNCOUPLED, Replayed, procedure_of
from backtest.study.policy.settlement import PROCEDURES, FundPath, Run, Settled, Terms

MARKET = Market(random_market(last=True).bars.with_columns(volume=pl.lit(300.0)))
BOOK = random_book(MARKET)
#: Amounts of the two settlements may differ by half a cent a position.
CENTS = 0.005 * len(BOOK)

VENUES = ("ascendex", "ascend", "mexc", "primexbt", "binance", "bitmex", "bybit", "okx", "hyperliquid")
NAMED = {name: procedure_of(Venue.load(name)) for name in VENUES}
OTHERS = {
    "quarters": {"step": "fraction", "step_fraction": 0.25, "adl_rank": "pro_rata", "clawback": True},
    "no room": {"procedure": Procedure(step="all", rounds=1, backstop_capacity=0.0, inventory="backstop")},
    "held": {"procedure": Procedure(rounds=1, slices="takeover", step="tier", unwind="share", unwind_share=0.01)},
}


def swept(
    book: Book = BOOK, market: Market = MARKET, rules: Venue | None = None, fill: str = "last_extreme"
) -> Run:
    rules = (rules or venue()).with_(remainder="returned")
    how = {"fill_price": fill, "stop_trigger": "last"}
    return Run(book, market, rules, sweep(book, market, rules, **how), conventions=Conventions(**how), threads=2)


def two_symbols() -> tuple[Book, Market, Venue]:
    bars = [random_market(seed=seed, last=True).bars.with_columns(symbol=pl.lit(name))
            for name, seed in (("X", 0), ("Y", 3))]  # fmt: skip
    rules = venue()
    both = {name: replace(rules.contract("X"), symbol=name) for name in ("X", "Y")}
    rows = [random_book(random_market(seed=seed), 300, seed).positions.with_columns(symbol=pl.lit(name))
            for name, seed in (("X", 0), ("Y", 3))]  # fmt: skip
    positions = pl.concat(rows).with_columns(position_id=pl.int_range(pl.len()))
    return Book(positions), Market(pl.concat(bars)).with_last_price(), replace(rules, contracts=both)


def adjusted() -> Book:
    """Return the book with margin added to some and a part of others closed by their holders."""
    some = BOOK.positions.gather_every(7)
    changes = some.select(
        "position_id",
        time=pl.col("entry_time") + timedelta(hours=5),
        margin_change=pl.col("quantity") * pl.col("entry_price") * 0.02,
        quantity_change=pl.when(pl.col("position_id") % 2 == 0).then(-pl.col("quantity") / 3).otherwise(0.0),
    )
    return Book(BOOK.positions, changes)


def coins() -> tuple[Book, Market, Venue]:
    table = TierTable(name="one", model="flat", rates=[0.01])
    rules = Venue(name="x", title="x", contracts={"X": Contract(symbol="X", kind="inverse", tables=(table,))})
    rows = BOOK.positions.with_columns(quantity=pl.col("quantity") * pl.col("entry_price"))
    return Book(rows), MARKET, rules


def assert_same(simple: Settled, replayed: Settled, but: tuple[str, ...] = (), within: float = CENTS) -> None:
    for name, value in asdict(simple).items():
        if name in but or (value is None and name != "first_adl"):
            continue
        ours = getattr(replayed, name)
        assert ours == value if name == "first_adl" else ours == pytest.approx(value, abs=within, rel=0), name


@pytest.mark.parametrize("fill", ["liquidation_price", "last_extreme"])
@pytest.mark.parametrize("case", ["one symbol", "two symbols", "adjusted"])
def test_where_nothing_is_coupled__the_replay_settles_as_the_fund_path(fill: str, case: str) -> None:
    cases = {
        "one symbol": (BOOK, MARKET, None),
        "two symbols": two_symbols(),
        "adjusted": (adjusted(), MARKET, None),
    }
    run = swept(*cases[case], fill)
    # either nothing comes into the fund, or it never runs dry: then no order within a bar makes a difference
    terms = [Terms(0.0, fund) for fund in (0.0, 500.0, 2_000.0, 1e6)]
    terms += [Terms(fee, 1e6, procedure) for fee in (0.0, 0.002) for procedure in PROCEDURES]
    for each, simple, replayed in zip(
        terms, FundPath().settle_each(run, terms), Replayed().settle_each(run, terms), strict=True
    ):
        assert_same(simple, replayed)
        assert replayed.begun == run.outcomes["liquidated"].sum()
        assert (replayed.released, replayed.adl_notional, replayed.clawed_back, replayed.backstop) == (
            0,
            0,
            0,
            0,
        ), each


def test_where_the_fund_runs_dry__a_bar_s_order_can_only_leave_more_uncovered() -> None:
    run = swept()
    terms = [Terms(0.002, fund, procedure) for fund in (0.0, 500.0) for procedure in PROCEDURES]
    for simple, replayed in zip(
        FundPath().settle_each(run, terms), Replayed().settle_each(run, terms), strict=True
    ):
        assert_same(simple, replayed, ("adl", "deficit", "fund_end", "fund_lowest", "first_adl"))
        assert replayed.adl >= simple.adl - CENTS
        assert replayed.fund_end - replayed.adl == pytest.approx(simple.fund_end - simple.adl, abs=CENTS)


def test_coins__are_settled_alike_and_their_notional_closed_is_that_at_the_entry() -> None:
    run = replace(swept(*coins()), unit=1e-8)
    terms = [Terms(0.0, 0.0), Terms(0.001, 1e3, "to_fund")]
    for simple, replayed in zip(
        FundPath().settle_each(run, terms), Replayed().settle_each(run, terms), strict=True
    ):
        assert_same(simple, replayed, within=1e-8 * len(BOOK))
        gone = run.outcomes.filter("liquidated")
        assert replayed.closed_notional == pytest.approx((gone["quantity"] / gone["entry_price"]).sum())


def slow(run: Run, terms: Terms, settlement: Replayed) -> dict[str, object]:
    """Work the amounts out of the frames that ``replay`` returns."""
    found = replay(
        run.book, run.market, settlement.rules(run, terms), fund=terms.fund, impact=settlement.impact,
        conventions=run.conventions,
    )  # fmt: skip
    rows, cash = found.outcomes, {row["account"]: row for row in found.ledger.iter_rows(named=True)}
    needing = found.adl["liquidated_id"].drop_nulls().unique()
    touched = (pl.col("filled_in_market") + pl.col("taken_over") > 0) | pl.col("liquidated")
    begun = rows.filter(touched | pl.col("position_id").is_in(needing.implode()))
    margin = begun["quantity"] * begun["entry_price"] / begun["leverage"]
    net = begun["pnl_at_end"] - begun["fees"]
    fund, fees = found.fund, float(rows["fees"].sum())
    given_up = float(found.adl["given_up"].clip(lower_bound=0).sum())
    clawed, deficit = float(rows["clawed_back"].sum()), -cash["deficit"]["cash"] / found.unit
    own = found.adl.filter(pl.col("liquidated_id").is_not_null()).group_by("liquidated_id").agg(
        pl.col("quantity").sum().alias("own")
    )  # fmt: skip
    closed = begun.join(own, left_on="position_id", right_on="liquidated_id", how="left").select(
        ((pl.col("filled_in_market") + pl.col("taken_over") + pl.col("own").fill_null(0)) * pl.col("entry_price"))
        .sum()
    )  # fmt: skip
    ends = fund.group_by("time", maintain_order=True).last()["fund"]
    return {
        "traders_losses": -float((net + begun["clawed_back"]).sum()),
        "returned": float((margin + net).sum()),
        "fees": fees,
        "kept": float(fund["paid_in"].sum()) - (fees - cash["fees"]["cash"] / found.unit),
        "shortfall": float(fund["paid_out"].sum()) + given_up + clawed + deficit,
        "fund_lowest": min(float(ends.min()), terms.fund),  # type: ignore[arg-type]
        "fund_end": float(fund["fund"][-1]),
        "adl": given_up + clawed + deficit,
        "deficit": deficit,
        "begun": begun.height,
        "begun_fees": float(begun["fees"].sum()),
        "released": begun.filter(~pl.col("liquidated")).height,
        "closed_notional": closed.item(),
        "adl_notional": float((found.adl["quantity"] * found.adl["price"]).sum()),
        "given_up": given_up,
        "clawed_back": clawed,
        "backstop": cash["backstop"]["total"] / found.unit,
    }


@pytest.mark.parametrize("fund", [0.0, 1_500.0])
def test_every_procedure__settles_as_its_own_frames_say(fund: float) -> None:
    settlement, run = Replayed(NAMED | OTHERS, Impact(linear=1e-7)), swept()
    terms = [Terms(fee, fund, name) for name in settlement.procedures for fee in (None, 0.01)]
    seen = dict.fromkeys(("released", "adl_notional", "given_up", "clawed_back", "backstop", "deficit"), 0.0)
    for each, settled in zip(terms, settlement.settle_each(run, terms), strict=True):
        told = asdict(settled)
        del told["first_adl"]
        assert told == pytest.approx(slow(run, each, settlement), rel=1e-9, abs=1e-3), each
        seen = {name: max(seen[name], abs(told[name])) for name in seen}
    assert all(seen.values())  # each of them is somebody's


def test_funds_that_were_never_short__share_one_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    settlement, run = Replayed({"binance": NAMED["binance"], "okx": NAMED["okx"]}, Impact(linear=1e-7)), swept()
    terms = [Terms(None, fund, name) for name in ("binance", "okx", "returned") for fund in (1e6, 0.0, 7e6, 1e5)]
    played = []
    play = totals.play
    monkeypatch.setattr(
        "backtest.study.policy.replay_settlement.play", lambda *given: played.append(given) or play(*given)
    )
    together = settlement.settle_each(run, terms)
    assert len(played) == 4 + 2 + 2  # what watches the fund's fall is replayed for each
    for each, settled in zip(terms, together, strict=True):
        alone = settlement.settle_each(run, [each])[0]
        assert settled.first_adl == alone.first_adl
        assert_same(alone, settled, within=1e-6)


@pytest.mark.parametrize("seed", [23, 39, 49, 53])
def test_funds_that_lacked_anything__share_no_replay_though_nobody_could_be_deleveraged(seed: int) -> None:
    rng = np.random.default_rng([seed, 5])
    event = random_event(rng, losers=int(rng.integers(1, 5)))
    positions = event.book.positions.filter(pl.col("side") == pl.col("side").first())
    book = Book(positions)  # without counterparties what the fund lacks for is kept, or sold later
    run = Run(book, event.market, event.venue, sweep(book, event.market, event.venue), threads=1)
    settlement = Replayed({"own": procedure_of(event.venue)}, event.impact)
    terms = [Terms(None, share * event.scale, "own") for share in FUNDS]
    for each, together in zip(terms, settlement.settle_each(run, terms), strict=True):
        assert_same(settlement.settle_each(run, [each])[0], together, within=1e-5)


@pytest.mark.parametrize("name", ["quarters", "ascend", "held"])
def test_the_first_that_others_pay__is_found_in_pieces_of_any_size(name: str, monkeypatch) -> None:
    settlement, run = Replayed(NAMED | OTHERS, Impact(linear=1e-7)), swept()
    found = set()
    for look in (1, 7, 100, 4_096):
        monkeypatch.setattr(totals, "LOOK", look)
        found.add(settlement.settle_each(run, [Terms(0.0, 0.0 if name == "held" else 3_000.0, name)])[0].first_adl)
    assert len(found) == 1
    assert found != {None}


def test_margin_added_to_what_a_procedure_left__counts_as_far_as_it_was_added() -> None:
    closes = pl.Series([100.0, 91.0, 95.0, 95.0, 95.0])
    opening = closes.shift(1, fill_value=100.0)
    low = pl.Series([100.0, 90.8, 91.0, 95.0, 95.0])
    times = [MARKET.bars["time"][number] for number in range(5)]
    prices = {"open": opening, "high": [100.0, 100.0, 95.0, 95.0, 95.0], "low": low, "close": closes}
    bars = pl.DataFrame({"symbol": "X", "time": pl.Series(times), **prices})
    positions = pl.DataFrame(
        {
            "position_id": [1], "symbol": ["X"], "side": pl.Series(["long"], dtype=Side),
            "entry_time": times[:1], "entry_price": [100.0], "quantity": [1.0], "leverage": [10.0],
        },
        schema_overrides={"entry_time": Time},
    )  # fmt: skip
    added = {"position_id": [1], "time": times[3:4], "margin_change": [10.0], "quantity_change": [0.0]}
    contract = Contract(symbol="X", tables=(TierTable(name="one", model="flat", rates=[0.01]),))
    rules = Venue(name="x", title="x", contracts={"X": contract})
    book, market = Book(positions, pl.DataFrame(added, schema_overrides={"time": Time})), Market(bars)
    run = Run(book, market, rules, sweep(book, market, rules), threads=1)
    halves = Procedure(step="fraction", step_fraction=0.5, adl_trigger="never")
    settled = Replayed({"halves": {"procedure": halves}}).settle_each(run, [Terms(None, 0.0, "halves")])[0]
    assert (settled.begun, settled.released) == (1, 1)
    # a margin of ten, half of it lost with the half that was sold, and half of the ten that were to be added
    assert settled.traders_losses + settled.returned == pytest.approx(15.0, abs=1e-5)


def test_a_grid__settles_by_replays_and_counts_laws_that_need_not_hold() -> None:
    history = History("forty days", random_market())
    grid = Grid(
        caps=(None, 20.0), funds=(0.0, 1_000.0, 1e6), liquidation_fees=(None, 0.0, 0.005),
        responses=("same_size",), procedures=("returned", "mexc"),
    )  # fmt: skip
    settlement = Replayed({"mexc": NAMED["mexc"]})
    book = intended("mixed", BOOK, history, venue(), grid)
    rows = pl.concat(
        [
            evaluate(history, book, venue(), rules=rules, grid=grid, settlement=settlement, threads=1)
            for rules in grid.rules()
        ]
    )
    assert rows.height == grid.policies == 4 * 18
    assert rows["settlement"].unique().to_list() == [settlement.label]
    assert rows["liquidation_fee"].null_count() == rows.height // 3
    closed = rows.filter(procedure="returned")
    assert closed["closed_notional"].to_numpy() == pytest.approx(
        closed["liquidated_notional"].to_numpy(), abs=CENTS
    )
    held = {row["sentence"]: row for row in laws(rows).iter_rows(named=True)}
    assert held["a higher cap never liquidates fewer positions"]["holds"]
    assert not held["a larger fund never leaves more for ADL"]["holds"]
    assert held["a larger fund never leaves more for ADL"]["compared"] == rows.height * 2 // 3
    assert held["a higher fee never leaves more for ADL"]["compared"] == rows.height // 3


def test_wrong_settlements__are_refused() -> None:
    with pytest.raises(ArgumentError, match="procedure 'returned' belongs to every settlement"):
        Replayed({"returned": {}})
    with pytest.raises(
        ArgumentError, match=r"impact\.mark must be zero here: the history already holds its own cascade"
    ):
        Replayed(impact=Impact(mark=1e-9))
    with pytest.raises(ArgumentError, match="procedure must be one of returned, to_fund, mexc, is 'okx'"):
        Replayed({"mexc": NAMED["mexc"]}).settle_each(swept(), [Terms(procedure="okx")])
    weighted = Book(BOOK.positions.with_columns(weight=2.0))
    with pytest.raises(ArgumentError, match=r"a replay steps single positions, so weight must be 1.*800 of 800"):
        Replayed().settle_each(swept(weighted), [Terms()])
    assert set(UNCOUPLED) == set(PROCEDURES)


def test_labels__say_what_they_rest_on() -> None:
    assert "no limit on volume, no impact on fills" in Replayed().label
    told = Replayed(impact=Impact(participation=0.1, square_root=0.02)).label
    assert "at most 10 % of a bar's volume, square-root impact 0.02" in told
