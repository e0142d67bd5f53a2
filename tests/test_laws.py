"""What must hold of a sweep whatever the market, the book and the venue are: no reference, only relations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from random_cases import (
    START,
    Case,
    Held,
    History,
    Numbers,
    Rng,
    Setting,
    add_exits,
    add_margins,
    add_stops,
    bars_of,
    funding_of,
    random_adjustments,
    random_bars,
    random_case,
    random_contract,
    random_entries,
    with_ids,
)
from segment_reference import interval_of
from test_sweep_reference import swept

from backtest.engine.notional import completed
from backtest.rules.contract import Contract
from backtest.rules.tiers import ALWAYS_FROM, ALWAYS_UNTIL, TierTable
from backtest.rules.venue import Venue
from backtest.schemas.frames import OUTCOME_COLUMNS, Side, Time

lawful = settings(deadline=None, derandomize=True, max_examples=25)
seeds = st.integers(0, 2**32 - 1)
cases = seeds.map(lambda seed: random_case(np.random.default_rng(seed), 90))

HOUR = 3_600_000
BAR = ("open", "high", "low", "close")
UPSIDE_DOWN = ("open", "low", "high", "close")
WHAT_HAPPENED = ["outcome", "liquidated", "outcome_time", "ambiguous"]
PRICES = ["liquidation_price", "bankruptcy_price", "fill_price"]
MONEY = ["entry_notional", "fill_notional", "funding_paid", "equity_at_fill", "shortfall", "realised_pnl"]
PLANS = ["exit_time", "stop_price", "take_profit_price"]
IS_LONG = pl.col("side") == "long"
SIDE = pl.when(IS_LONG).then(1.0).otherwise(-1.0)


def waiting(case: Case) -> Case:
    """Return the case with holders who only wait."""
    return case._replace(positions=case.positions.drop(PLANS, strict=False), adjustments=None)


def of_positions(case: Case, positions: pl.DataFrame) -> Case:
    """Return the case with some of its positions, and their adjustments."""
    changes = case.adjustments
    if changes is not None:
        changes = changes.join(positions, on="position_id", how="semi", maintain_order="left")
    return case._replace(positions=positions, adjustments=changes)


def liquidations(outcomes: pl.DataFrame) -> np.ndarray[Any, Any]:
    """Return when each position was liquidated, in milliseconds; infinite if never."""
    time = pl.when("liquidated").then(pl.col("outcome_time").dt.epoch("ms")).cast(pl.Float64)
    return outcomes.select(time.fill_null(np.inf)).to_series().to_numpy()


@lawful
@given(case=cases, seed=seeds)
def test_sweep__permuting_positions_permutes_outcomes(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(case.positions.height)
    assert_frame_equal(swept(case._replace(positions=case.positions[order])), swept(case)[order], check_exact=True)


@lawful
@given(case=seeds.map(lambda seed: random_case(np.random.default_rng(seed), 8)))
def test_sweep__of_each_position_alone_equals_that_of_the_book(case: Case) -> None:
    alone = [of_positions(case, position) for position in case.positions.iter_slices(1)]
    assert_frame_equal(pl.concat(map(swept, alone)), swept(case), check_exact=True)


@lawful
@given(case=cases, parts=st.integers(2, 5))
def test_sweep__splitting_the_book_and_concatenating_changes_nothing(case: Case, parts: int) -> None:
    step = -(-case.positions.height // parts)
    pieces = [of_positions(case, piece) for piece in case.positions.iter_slices(step)]
    assert_frame_equal(pl.concat(map(swept, pieces)), swept(case), check_exact=True)


@lawful
@given(case=cases)
def test_sweep__number_of_threads_changes_nothing(case: Case) -> None:
    assert_frame_equal(swept(case, threads=2), swept(case, threads=1), check_exact=True)


@lawful
@given(case=cases, share=st.floats(0.1, 0.9))
def test_sweep__appending_bars_changes_no_earlier_outcome(case: Case, share: float) -> None:
    early = early_part(case.bars, share)
    last = early.group_by("symbol").agg(pl.last("time").alias("last_opening"))
    held = case.positions.join(last, on="symbol", maintain_order="left")
    case = of_positions(case, held.filter(pl.col("entry_time") <= pl.col("last_opening")))
    before, after = swept(case._replace(bars=early)), swept(case)
    ended, hidden = before["outcome"] != "open", ("certainly_liquidated", "possibly_liquidated")
    assert_frame_equal(before.filter(ended).drop(hidden), after.filter(ended).drop(hidden), check_exact=True)
    assert all((after[name] | ~before[name]).all() for name in hidden)  # more bars can only liquidate more
    later = after.filter(~ended).select(
        pl.col("outcome_time").is_null() | (pl.col("outcome_time") > pl.col("last_opening"))
    )
    assert later.to_series().all()
    assert (after["ambiguous"] | ~before["ambiguous"]).all()


def early_part(bars: pl.DataFrame, share: float) -> pl.DataFrame:
    """Return the first bars of each symbol; all of them where fewer would have another interval."""
    parts = []
    for own in bars.partition_by("symbol", maintain_order=True):
        times = own["time"].dt.epoch("ms").to_list()
        kept = max(1, int(share * own.height))
        parts.append(own.head(kept if interval_of(times[:kept]) == interval_of(times) else own.height))
    return pl.concat(parts)


@lawful
@given(seed=seeds, kind=st.sampled_from(["linear", "inverse", "face_value"]), factor=st.sampled_from([2, 4, 8]))
def test_sweep__coarser_bars_liquidate_the_same_waiting_positions(seed: int, kind: str, factor: int) -> None:
    rng = np.random.default_rng(seed)
    every = factor * HOUR
    history = regular_history(
        rng, Numbers("ticks", kind), 64 * factor, stamp_every=int(rng.choice([1, 3])) * every
    )
    held = random_entries(rng, history, 90)
    held["entry_time"] = START + (held["entry_time"] - START) // every * every
    case = waiting(case_of(rng, history, held))
    time = (pl.col("time").dt.epoch("ms") - START) // every
    parts = {"open": pl.Expr.first, "high": pl.Expr.max, "low": pl.Expr.min, "close": pl.Expr.last}
    coarse = case.bars.group_by("symbol", bar=time, maintain_order=True).agg(
        pl.first("time"), *(combine(pl.col(name)) for name, combine in parts.items())
    )
    found, coarse_found = (
        liquidations(swept(case._replace(bars=bars))) for bars in (case.bars, coarse.drop("bar"))
    )
    liquidated = np.isfinite(found)
    assert liquidated.any()
    assert liquidated.tolist() == np.isfinite(coarse_found).tolist()
    same_bar = START + (found[liquidated] - START) // every * every
    assert same_bar.tolist() == coarse_found[liquidated].tolist()


@lawful
@given(case=cases, more=st.sampled_from([1.01, 1.5, 10.0]))
def test_sweep__more_margin_never_liquidates_earlier(case: Case, more: float) -> None:
    case = waiting(case)
    richer = pl.col("margin") * more if "margin" in case.positions.columns else pl.col("leverage") / more
    safer = case._replace(positions=case.positions.with_columns(richer))
    assert never_earlier(safer, case)


@lawful
@given(case=cases, scale=st.sampled_from([0.1, 0.5, 0.99]))
def test_sweep__lower_rates_never_liquidate_earlier(case: Case, scale: float) -> None:
    case = waiting(case)
    safer = case._replace(venue=case.venue.with_(rate_scale=scale))
    assert never_earlier(safer, case)


def never_earlier(safer: Case, case: Case) -> bool:
    """Whether no position that both could open is liquidated earlier in the first."""
    first, second = swept(safer), swept(case)
    opened = ((first["outcome"] != "rejected") & (second["outcome"] != "rejected")).to_numpy()
    return bool((liquidations(first) >= liquidations(second))[opened].all())


@lawful
@given(case=cases)
def test_sweep__a_stop_further_away_is_never_reached_earlier(case: Case) -> None:
    case = waiting(case)
    notional = pl.col("quantity") * pl.max_horizontal("entry_price", 1 / pl.col("entry_price"), 1)
    safe = case.positions.drop("leverage", strict=False).with_columns(margin=notional * 1e6)
    case = case._replace(
        positions=safe,
        venue=case.venue.with_(closing_fee="none", closing_fee_rate=0.0, margin_includes_closing_fee=False),
    )
    case = case._replace(options=case.options | {"tiers": "strict"}, venue=single_rate(case.venue))
    times = []
    for distance in (0.01, 0.02, 0.05, 0.2):
        away = pl.col("entry_price") * (1 - SIDE * distance)
        outcomes = swept(case._replace(positions=safe.with_columns(stop_price=away)))
        stopped = pl.when(pl.col("outcome") == "stopped").then(pl.col("outcome_time").dt.epoch("ms"))
        times.append(outcomes.select(stopped.cast(pl.Float64).fill_null(np.inf)).to_series())
    for nearer, further in pairwise(times):
        assert (further >= nearer).all()


@lawful
@given(case=cases)
def test_sweep__rows_whose_order_is_known_are_the_same_under_every_rule(case: Case) -> None:
    rules = ("pessimistic", "optimistic", "path")
    found = [swept(case._replace(options=case.options | {"intrabar": rule})) for rule in rules]
    known = ~found[0]["ambiguous"]
    for other in found[1:]:
        assert other["ambiguous"].equals(found[0]["ambiguous"])
        assert_frame_equal(other.filter(known), found[0].filter(known), check_exact=True)


@lawful
@given(case=cases)
def test_sweep__rows_that_depend_on_their_entry_bar_are_ambiguous_either_way(case: Case) -> None:
    tested, untested = (
        swept(case._replace(options=case.options | {"entry_bar": rule})) for rule in ("tested", "untested")
    )
    names = list(OUTCOME_COLUMNS)
    same = pl.select(
        pl.all_horizontal(pl.Series(tested[name]).eq_missing(untested[name]) for name in names)
    ).to_series()
    assert tested.filter(~same)["ambiguous"].all()
    assert untested.filter(~same)["ambiguous"].all()


@lawful
@given(case=cases, price=st.integers(-12, 12), quantity=st.integers(-12, 12))
def test_sweep__units_of_price_and_quantity_change_nothing_else(case: Case, price: int, quantity: int) -> None:
    """Powers of two, so that every product is exact. Face-value prices are shares of 1 and stay."""
    units = units_of(case, 2.0**price, 2.0**quantity)
    by_id = case.positions.select("position_id", "symbol").join(units, on="symbol", maintain_order="left")
    p, q, m = pl.col("p"), pl.col("q"), pl.col("m")
    scale = {"stop_price": p, "take_profit_price": p, "entry_price": p, "quantity": q, "margin": m}
    contracts = {symbol: in_units(case.venue.contract(symbol), q, m) for symbol, _, q, m in units.iter_rows()}
    other = case._replace(
        bars=rescaled(case.bars, units, {name: p for name in case.bars.columns if name not in ("symbol", "time")}),
        positions=rescaled(case.positions, units, scale),
        venue=replace(case.venue, contracts=contracts),
    )
    if case.adjustments is not None:
        changes = {"margin_change": m, "quantity_change": q}
        other = other._replace(adjustments=rescaled(case.adjustments, by_id.drop("symbol"), changes))
    expected = rescaled(swept(case), units, scale | dict.fromkeys(PRICES, p) | dict.fromkeys(MONEY, m))
    assert_frame_equal(swept(other), expected, check_exact=True)


def units_of(case: Case, price: float, quantity: float) -> pl.DataFrame:
    """Return the units of price, quantity and money of each symbol."""
    rows = []
    for symbol, contract in case.venue.contracts.items():
        p = 1.0 if contract.kind == "face_value" else price
        rows.append((symbol, p, quantity, quantity / p if contract.kind == "inverse" else quantity * p))
    return pl.DataFrame(rows, schema=["symbol", "p", "q", "m"], orient="row")


def in_units(contract: Contract, quantity: float, money: float) -> Contract:
    def table_in_units(table: TierTable) -> TierTable:
        if table.size == "contracts":
            return replace(table, contract_size=table.contract_size * quantity)
        return replace(table, floors=table.floors * money, amounts=table.amounts * money, cap=table.cap * money)

    return contract.with_(tables=tuple(map(table_in_units, contract.tables)))


def rescaled(frame: pl.DataFrame, units: pl.DataFrame, scale: dict[str, pl.Expr]) -> pl.DataFrame:
    joined = frame.join(units, on=units.columns[0], maintain_order="left")
    scale = {name: pl.col(name) * factor for name, factor in scale.items() if name in frame.columns}
    return joined.with_columns(**scale).select(frame.columns)


@lawful
@given(seed=seeds)
def test_sweep__an_inverse_long_is_a_linear_short_at_one_over_the_price(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = Numbers("dyadic", "inverse")  # powers of two, whose inverses are exact
    history = replace(regular_history(rng, numbers, 64, stamp_every=4 * HOUR), prices=powers_of_two(rng, 64))
    rules = {} if rng.random() < 0.5 else {"closing_fee": "at_mark", "closing_fee_rate": 1 / 1024}
    rules = {
        "closing_fee": "none",
        "closing_fee_rate": 0.0,
        "margin_includes_closing_fee": False,
    } | rules  # one at bankruptcy is not exact
    case = waiting(case_of(rng, history, random_entries(rng, history, 90), **rules))
    mirrored = case._replace(
        bars=case.bars.with_columns(
            **{name: 1 / pl.col(other) for name, other in zip(BAR, UPSIDE_DOWN, strict=True)}
        ),
        funding=case.funding.with_columns(-pl.col("rate")),
        positions=flipped(case.positions).with_columns(entry_price=1 / pl.col("entry_price")),
        venue=case.venue.with_(kind="linear"),
    )
    assert_mirror(swept(case), swept(mirrored), lambda price: 1 / price, MONEY)


@lawful
@given(seed=seeds, kind=st.sampled_from(["linear", "face_value"]))
def test_sweep__a_constant_requirement_mirrors_long_and_short(seed: int, kind: str) -> None:
    """P becomes c - P: with c = 1 for face values, and for linear contracts all entered at c / 2."""
    rng, numbers = np.random.default_rng(seed), Numbers("dyadic", kind)
    history = regular_history(rng, numbers, 64, stamp_every=4 * HOUR if kind == "face_value" else None)
    opening, rates = history.prices["open"][(history.stamps - START) // HOUR], history.rates
    history = replace(history, rates=rates * (1 - opening))  # a stamp costs a p (1 - p), mirrored its negative
    held = random_entries(rng, history, 90)
    c = 1.0 if kind == "face_value" else 2 * float(np.median(history.prices["open"]))
    assume(history.prices["high"].max() < c or kind == "face_value")
    held["entry_price"] = np.clip(held["entry_price"], 1 / 128, 127 / 128) if c == 1 else np.full(90, c / 2)
    case = case_of(
        rng,
        history,
        held,
        highest=c,
        basis="entry",
        closing_fee="none",
        closing_fee_rate=0.0,
        margin_includes_closing_fee=False,
    )
    mirrored = case._replace(
        bars=case.bars.with_columns(
            **{name: c - pl.col(other) for name, other in zip(BAR, UPSIDE_DOWN, strict=True)}
        ),
        funding=None if case.funding is None else case.funding.with_columns(rate=-rates * opening),
        positions=flipped(case.positions).with_columns(
            -pl.col("entry_price", "stop_price", "take_profit_price") + c
        ),
    )
    money = [name for name in MONEY if name != "fill_notional"]
    assert_mirror(swept(case), swept(mirrored), lambda price: c - price, money)


def regular_history(rng: Rng, numbers: Numbers, length: int, stamp_every: int | None) -> History:
    """Return hours without gaps, funding on openings."""
    times = START + HOUR * np.arange(length)
    stamps = times[:: stamp_every // HOUR] if stamp_every else np.zeros(0, np.int64)
    rates = numbers.funding_rates(rng, stamps.size)
    return History("X", numbers, HOUR, None, times, random_bars(rng, length, numbers), stamps, rates)


def powers_of_two(rng: Rng, length: int) -> dict[str, Any]:
    walk = np.cumsum(rng.integers(-1, 2, length + 1))
    high = np.maximum(walk[:-1], walk[1:]) + (rng.random(length) < 0.2)
    low = np.minimum(walk[:-1], walk[1:]) - (rng.random(length) < 0.2)
    return {name: 2.0**power for name, power in zip(BAR, (walk[:-1], high, low, walk[1:]), strict=True)}


def case_of(rng: Rng, history: History, held: Held, highest: float = np.inf, **rules: Any) -> Case:
    """Return a case of one symbol under one table, with stops and take-profits at prices that are exact."""
    contract = random_contract(rng, history, held, gaps=False).with_(**rules)
    contract = contract.with_(tables=(replace(contract.tables[-1], start=ALWAYS_FROM, end=ALWAYS_UNTIL),))
    setting = Setting(history, contract, np.zeros(held["side"].size, np.int64), "mark")
    with np.errstate(all="ignore"):
        add_margins(rng, setting, held, "both")
        rounded = history.numbers.money(held["margin"])  # ties stay exact, near misses of a last digit go
        held["margin"] = np.where(rounded > 0, rounded, held["margin"])
        add_exits(rng, history, held)
        add_stops(rng, setting, held, "mark")
        changes = random_adjustments(rng, setting, held, "keep")
    for name, beyond in (("stop_price", -held["side"]), ("take_profit_price", held["side"])):
        price = history.numbers.price(held[name], lowest=0.0)
        apart = ((price - held["entry_price"]) * beyond > 0) & (price < highest)
        held[name] = np.where(apart, price, np.nan)
    frame = pl.DataFrame({"symbol": ["X"] * held["side"].size} | held)
    positions, adjustments = with_ids(rng, frame, [changes], "both")
    missing = [pl.lit(None, pl.Float64).alias(name) for name in PLANS[1:] if name not in positions.columns]
    venue = Venue(name="random", title="Random", contracts={"X": contract}, release="keep")
    options = {"gap_limit_ms": None, "intrabar": str(rng.choice(["pessimistic", "optimistic"]))}
    return Case(
        bars_of([history]), funding_of([history]), positions.with_columns(missing), adjustments, venue, options
    )


def flipped(positions: pl.DataFrame) -> pl.DataFrame:
    return positions.with_columns(side=pl.when(IS_LONG).then(pl.lit("short")).otherwise(pl.lit("long")).cast(Side))


def assert_mirror(
    found: pl.DataFrame, mirrored: pl.DataFrame, price: Callable[[pl.Expr], pl.Expr], money: list[str]
) -> None:
    """Fail unless the same happened for the same money, at mirrored prices where both sides have one."""
    exact = [*WHAT_HAPPENED, "tier_rate"]
    assert_frame_equal(found.select(exact), mirrored.select(exact), check_exact=True)
    assert_frame_equal(found.select(money), mirrored.select(money), rel_tol=1e-9, abs_tol=1e-9)
    for name in PRICES:
        both = found[name].is_not_null() & mirrored[name].is_not_null()
        there = mirrored.filter(both).select(price(pl.col(name)).alias(name))
        assert_frame_equal(found.filter(both).select(name), there, rel_tol=1e-9, abs_tol=1e-9)


def single_rate(venue: Venue) -> Venue:
    return venue.with_(
        tables=(TierTable(name="one", rates=[0.004]),),
        closing_fee="none",
        closing_fee_rate=0.0,
        margin_includes_closing_fee=False,
    )


@lawful
@given(case=cases)
def test_sweep__the_liquidation_price_lies_between_bankruptcy_and_entry(case: Case) -> None:
    case = waiting(case)._replace(funding=None, venue=single_rate(case.venue))
    leverage = pl.col("leverage") if "leverage" in case.positions.columns else pl.lit(20.0)
    held = case.positions.drop("margin", strict=False).with_columns(leverage=leverage.clip(1, 50))
    case = case._replace(positions=held, options=case.options | {"tiers": "strict"})
    outcomes = swept(case).filter(~pl.any_horizontal(pl.col("liquidation_price", "bankruptcy_price").is_null()))
    liquidation, bankruptcy, entry = (SIDE * pl.col(name) for name in (*PRICES[:2], "entry_price"))
    between = (bankruptcy < liquidation) & (liquidation < entry)
    assert outcomes.select(between.all()).item()


@lawful
@given(case=cases)
def test_sweep__the_liquidation_price_is_never_beyond_the_bankruptcy_price(case: Case) -> None:
    gap = SIDE * (pl.col("liquidation_price") - pl.col("bankruptcy_price"))
    assert swept(case).select((gap >= -1e-9 * pl.col("bankruptcy_price")).all()).item()


@lawful
@given(case=cases)
def test_sweep__what_the_holder_made_is_what_prices_and_funding_made(case: Case) -> None:
    rows = ledger(case)
    put_in, equity, made = pl.col("put_in"), pl.col("equity_at_fill"), pl.col("realised_pnl")
    earned = pl.col("earned_before") + pl.col("earned_last") - pl.col("funding_paid")
    small = 1e-9 * (put_in.abs() + pl.col("entry_notional") + earned.abs() + pl.col("funding_paid").abs())
    left = pl.lit(0.0) if case.venue.remainder != "returned" else pl.max_horizontal(equity, 0.0)
    if case.venue.release == "keep":
        assert rows.select(((equity - (put_in + earned)).abs() <= small).all()).item()
    result = earned + pl.when("liquidated").then(left).otherwise(pl.max_horizontal(equity, 0.0)) - equity
    assert rows.select(((made - result).abs() <= small).all()).item()
    assert rows.select((pl.col("shortfall") == pl.max_horizontal(-equity, 0.0)).all()).item()


def ledger(case: Case) -> pl.DataFrame:
    """Return closed positions with what was put in, and what the parts closed before and at the end earned."""
    ended = with_kind(case, swept(case)).filter(pl.col("fill_price").is_not_null())
    ended = ended.join(closed_before(case, ended), on="position_id", how="left", maintain_order="left")
    ended = ended.with_columns(pl.col("part", "margin_added", "earned_before").fill_null(0.0))
    ended = ended.filter(~pl.col("in_last_bar").fill_null(False) | (pl.col("outcome") == "exited"))
    q, entry, kind = pl.col("quantity"), pl.col("entry_price"), pl.col("kind")
    entry_notional = pl.when(kind == "inverse").then(q / entry).when(kind == "linear").then(q * entry).otherwise(q)
    given = completed(ended, case.venue.contracts_of(ended["symbol"].unique()))["margin"]
    return ended.with_columns(
        put_in=given + pl.col("margin_added"),
        earned_last=SIDE * (q - pl.col("part")) * move(pl.col("fill_price")),
        entry_notional=entry_notional,
    )


def closed_before(case: Case, ended: pl.DataFrame) -> pl.DataFrame:
    """Return by position the parts closed, what they earned and the margin added before the end."""
    changes = case.adjustments
    if changes is None:
        changes = pl.DataFrame(schema={"position_id": pl.Int64, "time": Time, "quantity_change": pl.Float64})
    if "margin_change" not in changes.columns:
        changes = changes.with_columns(margin_change=0.0)
    end = pl.col("outcome_time")
    if "exit_time" in ended.columns:
        end = pl.when(pl.col("outcome") == "exited").then("exit_time").otherwise("outcome_time")
    names = ("position_id", "symbol", "side", "entry_price", "kind")
    changes = changes.join(ended.select(*names, end=end), on="position_id").filter(pl.col("time") <= pl.col("end"))
    openings = case.bars.select("symbol", "time", "open", opening="time").sort("time")
    changes = changes.sort("time").join_asof(
        openings, on="time", by="symbol", strategy="forward", check_sortedness=False
    )
    part = -pl.col("quantity_change")
    return changes.group_by("position_id").agg(
        part=part.sum(),
        earned_before=(SIDE * part * move(pl.col("open"))).sum(),
        margin_added=pl.col("margin_change").sum(),
        in_last_bar=(pl.col("opening") == pl.col("end")).any(),  # its opening may have come first, or not
    )


def with_kind(case: Case, frame: pl.DataFrame) -> pl.DataFrame:
    kinds = {symbol: contract.kind for symbol, contract in case.venue.contracts.items()}
    return frame.with_columns(kind=pl.col("symbol").replace_strict(kinds))


def move(price: pl.Expr) -> pl.Expr:
    """Return what a unit of quantity gains from the entry to a price."""
    entry = pl.col("entry_price")
    return pl.when(pl.col("kind") == "inverse").then(1 / entry - 1 / price).otherwise(price - entry)
