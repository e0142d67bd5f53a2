"""Policies: equal to plain loops over rows, and bound by the laws they are proved to obey."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from policy_cases import DAY, random_book, random_market, venue

from backtest import Book, Market, sweep
from backtest.errors import ArgumentError, DataError
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import Time
from backtest.study.policy.bands import Bands
from backtest.study.policy.evaluations import evaluate, intended, run
from backtest.study.policy.frontier import LAWS, frontier, laws, spread
from backtest.study.policy.grid import KEYS, Grid, History, Intended, Rules
from backtest.study.policy.responses import RESPONSES, under_cap
from backtest.study.policy.settlement import FundPath, Run, Settled, Terms

HISTORY = History("forty days", random_market())
BOOK = random_book(HISTORY.market)


INTENDED = Intended("mixed", BOOK, BOOK)


def swept(book: Book, market: Market = HISTORY.market, **options) -> Run:
    rules = venue().with_(remainder="returned")
    return Run(book, market, rules, sweep(book, market, rules, **options))


def slow_settlement(run: Run, terms: Terms) -> dict[str, float | datetime | None]:
    """Walk through the liquidated rows bar by bar, in cents."""
    rows = run.outcomes.filter("liquidated").sort("outcome_time").to_dicts()
    fund = lowest = round(terms.fund * 100)
    total = dict.fromkeys(("traders_losses", "returned", "fees", "kept", "shortfall", "adl"), 0)
    first = None
    for time in sorted({row["outcome_time"] for row in rows}):
        comes = lacks = 0
        for row in (row for row in rows if row["outcome_time"] == time):
            remainder = round(max(row["equity_at_fill"], 0) * 100)
            fee = min(round(terms.liquidation_fee * row["fill_notional"] * 100), remainder)
            kept = remainder - fee if terms.procedure == "to_fund" else 0
            total["fees"] += fee
            total["kept"] += kept
            total["returned"] += remainder - fee - kept
            total["traders_losses"] += round(-row["realised_pnl"] * 100) + fee + kept
            comes += fee + kept
            lacks += round(max(-row["equity_at_fill"], 0) * 100)
        total["shortfall"] += lacks
        fund += comes
        paid = min(fund, lacks)
        fund -= paid
        if lacks > paid and first is None:
            first = time
        total["adl"] += lacks - paid
        lowest = min(lowest, fund)
    amounts = {name: cents / 100 for name, cents in total.items()}
    ends = {"fund_lowest": lowest / 100, "fund_end": fund / 100, "deficit": amounts["adl"]}
    return amounts | ends | {"first_adl": first}


@pytest.mark.parametrize("procedure", ["returned", "to_fund"])
@pytest.mark.parametrize(("fee", "fund"), [(0.0, 0.0), (0.002, 0.0), (0.002, 500.0), (0.0, 1e7)])
def test_the_fund_path__equals_walking_through_the_rows(procedure: str, fee: float, fund: float) -> None:
    run = swept(random_book(random_market(last=True)), HISTORY.market.with_last_price(), fill_price="last_extreme")
    terms = Terms(fee, fund, procedure)
    told = vars(FundPath().settle(run, terms))
    settled, slow = (
        {name: value for name, value in told.items() if name not in UNTOLD},
        slow_settlement(run, terms),
    )
    assert all(told[name] is None for name in UNTOLD)
    assert settled.pop("first_adl") == slow.pop("first_adl")
    assert settled == pytest.approx(slow, abs=1e-6)
    path = FundPath().path(run, terms)
    assert path["fund"][-1] == pytest.approx(settled["fund_end"])
    assert path["uncovered"][-1] == pytest.approx(settled["adl"])
    assert settled["shortfall"] > 0


def test_money__is_conserved_between_traders_market_fund_and_those_deleveraged() -> None:
    run, terms = swept(BOOK, HISTORY.market.with_last_price(), fill_price="last_extreme"), Terms(0.003, 100.0)
    settled = FundPath().settle(run, terms)
    side = pl.when(pl.col("side") == "long").then(1).otherwise(-1)
    won = (
        side * pl.col("quantity") * (pl.col("entry_price") - pl.col("fill_price")) + pl.col("funding_paid")
    ).sum()
    market_won = run.outcomes.filter("liquidated").select(won).item()
    fund_won = settled.fund_end - terms.fund
    assert settled.traders_losses == pytest.approx(market_won + fund_won - settled.adl, abs=0.01 * len(BOOK))
    assert fund_won == pytest.approx(settled.fees - settled.shortfall + settled.adl)
    assert settled.shortfall > 0


@pytest.mark.parametrize("columns", ["leverage", "margin", "both"])
def test_responses__are_what_they_say(columns: str) -> None:
    notional = pl.col("quantity") * pl.col("entry_price")
    book = BOOK
    if columns != "leverage":
        times = 1.5 if columns == "both" else 1.0
        frame = book.positions.with_columns(margin=notional / pl.col("leverage") * times)
        book = Book(frame if columns == "both" else frame.drop("leverage"))
    intended_leverage = pl.col("leverage") if columns != "margin" else notional / pl.col("margin")
    above = book.positions.select(intended_leverage > 10).to_series()
    margin = notional / pl.col("leverage") if columns == "leverage" else pl.col("margin")
    before = book.positions.select(n=notional, m=margin)
    for response in RESPONSES:
        opened = under_cap(book, venue(), 10.0, response).positions
        assert opened.select((intended_leverage <= 10 * (1 + 1e-12)).all()).item()
        after = opened.select("position_id", n=notional, m=margin)
        if response == "not_opened":
            assert opened.equals(book.positions.filter(~above))
            continue
        assert opened.filter(~above).equals(book.positions.filter(~above))
        kept, fixed = ("n", "m") if response == "same_size" else ("m", "n")
        assert after[kept].to_numpy() == pytest.approx(before[kept].to_numpy())
        moved = after.filter(above)
        assert (moved["m"] / moved["n"] >= 0.1 - 1e-12).all()
        assert (after[fixed] != before[fixed]).any()
    assert under_cap(book, venue(), None, "same_size") is book
    assert under_cap(book, venue(), 1_000.0, "same_size") is book


def test_adjustments__follow_their_positions() -> None:
    first = BOOK.positions.sort("leverage", descending=True).head(1)
    number, entry = first["position_id"][0], first["entry_time"][0]
    changes = pl.DataFrame(
        {
            "position_id": [number],
            "time": [entry + timedelta(hours=1)],
            "margin_change": [5.0],
            "quantity_change": [-first["quantity"][0] / 2],
        },
        schema_overrides={"time": Time},
    )
    book = Book(BOOK.positions, changes)
    assert under_cap(book, venue(), 2.0, "not_opened").adjustments is None
    smaller = under_cap(book, venue(), 2.0, "same_margin")
    kept = smaller.positions.filter(pl.col("position_id") == number)["quantity"][0]
    assert smaller.adjustments["quantity_change"][0] == pytest.approx(-kept / 2)
    assert smaller.adjustments["margin_change"][0] == 5.0


#: What a replay alone can tell.
UNTOLD = (
    "begun",
    "begun_fees",
    "released",
    "closed_notional",
    "adl_notional",
    "given_up",
    "clawed_back",
    "backstop",
)

GRID = Grid(
    caps=(None, 50.0, 20.0, 5.0),
    rate_scales=(1.0, 2.0),
    changes={"current rules": {}, "entry basis": {"basis": "entry"}},
    fills=("liquidation_price", "worst_price"),
    liquidation_fees=(0.0, 0.005),
    funds=(0.0, 1_000.0, 1e6),
    procedures=("returned", "to_fund"),
)


@pytest.fixture(scope="module")
def policies() -> pl.DataFrame:
    books = {"mixed": BOOK, "high": random_book(HISTORY.market, 300, 2)}
    return run([HISTORY], {HISTORY.name: books}, venue(), GRID, bands=Bands(1, 5 * DAY, draws=50))


def test_a_grid__holds_every_combination_once(policies: pl.DataFrame) -> None:
    assert policies.height == 2 * GRID.policies * len(RESPONSES) == 2 * 32 * 12 * 3
    assert policies.select(pl.struct(KEYS).is_unique().all()).item()
    assert policies["settlement"].unique().to_list() == ["fund path without feedback or partial liquidation"]


def test_a_row__is_a_sweep_and_sums_over_its_rows(policies: pl.DataFrame) -> None:
    chosen = {"book": "mixed", "change": "entry basis", "cap": 20.0, "rate_scale": 2.0, "response": "same_margin"}
    row = policies.filter(
        **chosen, fill="worst_price", liquidation_fee=0.005, fund=1_000.0, procedure="returned"
    ).row(0, named=True)  # fmt: skip
    rules = venue().with_(basis="entry").with_(rate_scale=2.0, maximum_leverage=20.0, remainder="returned")
    admitted = intended("mixed", BOOK, HISTORY, venue(), GRID).admitted
    capped = under_cap(admitted, venue(), 20.0, "same_margin")
    outcomes = sweep(
        capped, HISTORY.market.with_last_price(), rules, fill_price="last_extreme", stop_trigger="mark"
    )
    gone = outcomes.filter("liquidated")
    notional = pl.col("quantity") * pl.col("entry_price")
    assert row["liquidated"] == gone.height
    assert row["liquidated_share"] == gone.height / outcomes.height
    assert row["liquidated_notional"] == pytest.approx(gone.select(notional.sum()).item(), abs=0.01 * gone.height)
    asked = BOOK.positions.select(notional.sum(), (notional / pl.col("leverage")).sum().alias("margin")).row(0)
    opened = capped.positions.select(notional.sum(), (notional / pl.col("leverage")).sum().alias("margin")).row(0)
    assert row["notional_kept"] == pytest.approx(opened[0] / asked[0], rel=1e-6)
    assert row["margin_required"] == pytest.approx(opened[1] / asked[1], rel=1e-6)
    slow = slow_settlement(Run(capped, HISTORY.market, rules, outcomes), Terms(0.005, 1_000.0))
    assert {name: row[name] for name in slow} == pytest.approx(slow, abs=1e-6)
    assert row["liquidated_share_low"] <= row["liquidated_share"] <= row["liquidated_share_high"]


def test_laws__hold_where_they_must_and_are_counted_where_they_need_not(policies: pl.DataFrame) -> None:
    found = laws(policies)
    assert found["sentence"].to_list() == [law.sentence for law in LAWS]
    told = found.filter(
        pl.col("sentence") != "a larger fund never means more notional closed by ADL"
    )  # none ever is
    assert (told["compared"] > 100).all()
    assert (found.filter("holds")["broken"] == 0).all()
    worse = policies.with_columns(adl=pl.col("fund"))
    assert (
        laws(worse).filter(pl.col("sentence").str.contains("larger fund never leaves more for ADL"))["broken"][0]
        > 0
    )


def test_another_settlement__is_given_the_run_and_says_what_it_leaves_out() -> None:
    """What an engine that feeds back plugs into: it has everything it takes to run the book again."""

    class Doubled:
        label = "twice the fund path"
        procedures = ("returned",)

        def settle_each(self, run: Run, terms: Sequence[Terms]) -> list[Settled]:
            again = sweep(run.book, run.market, run.venue)
            assert again.equals(run.outcomes)
            found = [FundPath().settle(run, each) for each in terms]
            return [replace(each, shortfall=2 * each.shortfall, adl=2 * each.adl) for each in found]

    grid = Grid(caps=(20.0,))
    book = intended("mixed", BOOK, HISTORY, venue(), grid)
    plain, doubled = (
        evaluate(HISTORY, book, venue(), rules=grid.rules()[0], grid=grid, settlement=settlement)
        for settlement in (FundPath(), Doubled())
    )
    assert doubled["settlement"].unique().to_list() == ["twice the fund path"]
    assert doubled["adl"].to_list() == (2 * plain["adl"]).to_list()


def ended(outcomes: pl.DataFrame) -> set[int]:
    """Return the positions that rules liquidated, or did not let open."""
    return set(outcomes.filter(pl.col("liquidated") | (pl.col("outcome") == "rejected"))["position_id"])


@pytest.mark.parametrize("seed", range(3))
def test_liquidated_sets__are_nested_under_nested_maintenance_and_caps(seed: int) -> None:
    market = random_market(seed=seed)
    book = random_book(market, 600, seed)
    before: set[int] = set()
    for scale in (0.5, 1.0, 1.5, 3.0):
        rules = venue().with_(rate_scale=scale)
        gone = ended(sweep(book, market, rules))
        assert before <= gone
        before = gone
    for response in RESPONSES:
        before = set()
        for cap in (2.0, 5.0, 20.0, 100.0):
            capped = under_cap(book, venue(), cap, response)
            gone = ended(sweep(capped, market, venue()))
            assert before <= gone
            before = gone


def test_positions_too_large_for_any_rule__are_left_out_under_all_of_them() -> None:
    large = BOOK.positions.with_columns(
        quantity=pl.when(pl.col("position_id") < 5).then(2e5 / pl.col("entry_price")).otherwise("quantity"),
        leverage=pl.when(pl.col("position_id") < 5).then(2.0).otherwise("leverage"),
    )
    grid = Grid(caps=(None, 10.0), rate_scales=(1.0, 4.0))  # four times 30 % leaves no third tier
    book = intended("large", Book(large), HISTORY, venue(), grid)
    small = Book(large.filter(pl.col("quantity") * pl.col("entry_price") <= 1e5))
    strictest = sweep(small, HISTORY.market, venue().with_(rate_scale=4.0), leverage_limit="cap")
    assert len(book.admitted) == (strictest["outcome"] != "rejected").sum()
    rows = pl.concat([evaluate(HISTORY, book, venue(), rules=rules, grid=grid) for rules in grid.rules()])
    assert rows["refused_share"].n_unique() == 1
    assert rows["refused_share"][0] == pytest.approx(1 - len(book.admitted) / len(book.book))
    assert (laws(rows).filter("holds")["broken"] == 0).all()


def test_bands__are_paired_and_stop_at_nothing_liquidated(policies: pl.DataFrame) -> None:
    assert policies["effective_blocks"].n_unique() == 2  # one a book
    none = Rules(cap=1.0)
    grid = Grid(caps=(1.0,))
    book = intended("all", BOOK, HISTORY, venue(), grid)
    rows = evaluate(HISTORY, book, venue(), rules=none, grid=grid, bands=Bands(1, 5 * DAY, 20))
    closed = rows.filter(response="not_opened").row(0, named=True)
    assert closed["notional_kept"] < 0.1
    with pytest.raises(DataError, match="2 or more calendar blocks"):
        evaluate(HISTORY, book, venue(), rules=none, grid=grid, bands=Bands(1, 5_000 * DAY))


def test_the_frontier__marks_what_another_policy_beats() -> None:
    frame = pl.DataFrame(
        {
            "history": ["h"] * 5 + ["i"],
            "change": ["none"] * 6,
            "rate_scale": [1.0] * 6,
            "book": ["b"] * 6,
            "fill": ["f"] * 6,
            "response": ["r"] * 6,
            "liquidation_fee": [None] * 6,
            "fund": [0.0] * 6,
            "procedure": ["p"] * 6,
            "freedom": [1.0, 0.9, 0.9, 0.5, 0.5, 0.1],
            "shortfall": [0.3, 0.1, 0.1, 0.1, 0.0, 0.9],
        }
    )
    assert frontier(frame)["dominated"].to_list() == [False, False, False, True, False, False]
    with pytest.raises(ArgumentError, match="no column loss"):
        frontier(frame, loss="loss")


def test_the_frontier__calls_no_cap_dominated_by_rates_that_liquidate_more(policies: pl.DataFrame) -> None:
    first = policies.head(1).with_columns(freedom=pl.lit(1.0), shortfall=pl.lit(50.0), rate_scale=pl.lit(1.0))
    double = first.with_columns(shortfall=pl.lit(20.0), rate_scale=pl.lit(2.0))
    other = first.with_columns(shortfall=pl.lit(20.0), change=pl.lit("another basis"))
    assert not frontier(pl.concat([first, double, other]))["dominated"].any()
    capped = first.with_columns(shortfall=pl.lit(20.0), cap=pl.lit(50.0))
    assert frontier(pl.concat([first, double, capped]))["dominated"].to_list() == [True, False, False]


def test_spread__is_over_books(policies: pl.DataFrame) -> None:
    found = spread(policies, ["liquidated_share"])
    assert found.height * 2 == policies.height
    assert (found["cases"] == 2).all()
    one = found.filter(cap=20.0).row(0, named=True)
    own = policies.filter(**{name: one[name] for name in KEYS if name != "book"})["liquidated_share"]
    assert (one["liquidated_share_low"], one["liquidated_share_high"]) == (own.min(), own.max())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid(caps=()), "caps must hold one value or more"),
        (lambda: Grid(funds=(1.0, 1.0)), "funds must hold one value or more, each once"),
        (lambda: Grid(responses=("leave",)), "one is 'leave'"),
        (lambda: Grid(caps=(0.5,)), "cap must be 1 or more, is 0.5"),
        (lambda: Grid(rate_scales=(0.0,)), "rate_scale must be finite and above zero"),
        (lambda: Grid(fills=("best",)), "fill must be one of liquidation_price, delayed, worst_price, is 'best'"),
        (lambda: Grid(liquidation_fees=(1.0,)), "0 <= liquidation_fee < 1"),
        (
            lambda: evaluate(
                HISTORY, INTENDED, venue(), rules=Rules(), grid=Grid(procedures=("kept",)), settlement=FundPath()
            ),
            "procedure must be one of returned, to_fund, is 'kept'",
        ),
        (
            lambda: Rules(changes={"step": "tier"}),
            "step cannot be part of a change: procedures are an axis",
        ),
        (lambda: Grid(changes={"x": {"remainder": "fund"}}), "remainder cannot be part of a change"),
        (
            lambda: under_cap(BOOK, venue(), 5.0, "leave"),
            "response must be one of same_size, same_margin, not_opened",
        ),
        (lambda: under_cap(BOOK, venue(), 0.0, "same_size"), "cap must be 1 or more"),
    ],
)
def test_wrong_grids__are_refused(make, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


def test_books_that_thin_out__count_what_is_left() -> None:
    times = HISTORY.market.bars["time"]
    survival = pl.DataFrame(
        {
            "symbol": pl.repeat("X", times.len() + 1, eager=True),
            "time": pl.concat([times, pl.Series([times[-1] + timedelta(hours=1)]).cast(Time)]),
            "long": np.log(np.linspace(1, 0.1, times.len() + 1)),
            "short": np.zeros(times.len() + 1),
        }
    )
    book = Book(BOOK.positions.drop("exit_time"), survival=survival)
    grid = Grid()
    row = evaluate(HISTORY, intended("thin", book, HISTORY, venue(), grid), venue(), rules=Rules(), grid=grid).row(
        0, named=True
    )
    outcomes = sweep(book, HISTORY.market, venue())
    assert row["liquidated"] == pytest.approx(outcomes.filter("liquidated")["surviving_weight"].sum(), abs=1e-3)


def test_notional_share__counts_additions_on_both_sides() -> None:
    """All positions grow threefold: the share of the notional liquidated cannot exceed one."""
    grown = BOOK.positions.select("position_id", time=pl.col("entry_time") + timedelta(minutes=1))
    grown = grown.with_columns(quantity_change=2 * BOOK.positions["quantity"])
    own, grid = venue().with_(tables=(TierTable(name="one", rates=[0.005]),)), Grid()
    found = intended("grown", Book(BOOK.positions, grown), HISTORY, own, grid)
    row = evaluate(HISTORY, found, own, rules=Rules(), grid=grid).row(0, named=True)
    assert 0 < row["notional_share"] <= 1
    assert row["liquidated_notional"] > 2 * row["notional_share"] * row["intended_notional"]
