"""The engine against the reference, bit for bit, and both against numbers worked out by hand."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from random_cases import Case, random_case, with_additions, with_recorded_exits
from reference import reference_outcomes

from backtest import Book, Market, Venue, sweep
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import OUTCOME_COLUMNS, PRICE_PREFIX, Side, Time

#: How many random positions are compared; the engine's author runs ten times as many.
POSITIONS = int(os.environ.get("BACKTEST_REFERENCE_POSITIONS", "20000"))
BATCHES = 8
A_CASE = 300

NOON = datetime(2021, 5, 19, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def swept(case: Case, threads: int = 1) -> pl.DataFrame:
    """Return the engine's outcomes of a case."""
    options = dict(case.options)
    limit = options.pop("gap_limit_ms")
    market = Market(case.bars, case.funding, gap_limit=None if limit is None else timedelta(milliseconds=limit))
    book = Book(case.positions, case.adjustments)
    return sweep(book, market, case.venue, leverage_limit="error", threads=threads, **options)


def referred(case: Case) -> pl.DataFrame:
    """Return the reference's outcomes of a case."""
    return reference_outcomes(
        case.positions, case.adjustments, case.bars, case.funding, case.venue, **case.options
    )


def assert_same(case: Case, *, expected: pl.DataFrame, found: pl.DataFrame, title: str) -> None:
    """Fail with the first row that differs, and everything that decided it."""
    assert found.columns == expected.columns
    assert found.schema == expected.schema
    assert found.select(case.positions.columns).equals(case.positions), f"{title}: the input changed"
    names = list(OUTCOME_COLUMNS)
    same = pl.concat([expected.select(names), found.select(pl.col(names).name.prefix("found_"))], how="horizontal")
    wrong = same.select(pl.col(name).ne_missing(pl.col(f"found_{name}")) for name in names)
    rows = wrong.select(pl.any_horizontal(names)).to_series().arg_true()
    if rows.len():
        pytest.fail(difference(case, wrong, expected, found, rows, title))


def difference(
    case: Case, wrong: pl.DataFrame, expected: pl.DataFrame, found: pl.DataFrame, rows: pl.Series, title: str
) -> str:
    row = rows[0]
    position = case.positions.row(row, named=True)
    columns = [name for name in OUTCOME_COLUMNS if wrong[name][row]]
    lines = [f"{title}: {rows.len():,} of {found.height:,} rows differ, first row {row}: {position}"]
    lines += [f"  {name}: reference {expected[name][row]!r}, sweep {found[name][row]!r}" for name in columns]
    lines += [f"  rows that differ by column: { {name: int(wrong[name].sum()) for name in wrong.columns} }"]
    if case.adjustments is not None:
        own = case.adjustments.filter(pl.col("position_id") == position["position_id"])
        lines += [f"  adjustments: {own.to_dicts()}"]
    contract = case.venue.contract(position["symbol"])
    lines += [f"  {contract}", f"  {case.options}, remainder {case.venue.remainder}"]
    moments = [position["entry_time"], expected["outcome_time"][row], found["outcome_time"][row]]
    own = case.bars.filter(pl.col("symbol") == position["symbol"]).with_row_index("bar")
    for moment in moments:
        near = own.filter(pl.col("time") >= moment).head(2) if moment else own.tail(1)
        lines += [f"  bars from {moment}: {near.to_dicts()}"]
    if case.funding is not None:
        lines += [f"  funding: {case.funding.filter(pl.col('symbol') == position['symbol']).head(20).to_dicts()}"]
    return "\n".join(lines)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_sweep__equals_the_bar_by_bar_reference(batch: int) -> None:
    for number in range(-(-POSITIONS // (BATCHES * A_CASE))):
        seed = [batch, number]
        case = random_case(np.random.default_rng(seed), A_CASE)
        title = f"random_case(default_rng({seed}), {A_CASE})"
        if number % 2:
            case = with_recorded_exits(case, np.random.default_rng([*seed, 1]))
            title = f"with_recorded_exits({title}, default_rng({[*seed, 1]}))"
        assert_same(case, expected=referred(case), found=swept(case, 1 + number % 2), title=title)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_sweep__equals_the_reference_where_positions_grow(batch: int) -> None:
    for number in range(-(-POSITIONS // (BATCHES * A_CASE))):
        seed = [batch, number, 1]
        rng = np.random.default_rng(seed)
        case = with_additions(rng, random_case(rng, A_CASE if number % 4 else 3))
        title = f"with_additions, default_rng({seed})"
        assert_same(case, expected=referred(case), found=swept(case, 1 + number % 2), title=title)


@dataclass(frozen=True)
class Scenario:
    """One long of 1 at 100 with a margin of 40, in minute bars, but for what is said otherwise.

    At a rate of 1/4 it is liquidated at (100 - 40) / (1 - 1/4) = 80 and bankrupt at 60.
    """

    sentence: str
    bars: list[tuple[float, float, float, float]]
    expected: dict[str, Any]
    position: dict[str, Any] = field(default_factory=dict)
    adjustments: list[tuple[float, float, float]] = field(default_factory=list)  #: minute, margin, quantity
    funding: list[tuple[float, float]] = field(default_factory=list)  #: minute, rate
    last: list[tuple[float, float, float, float]] = field(default_factory=list)
    minutes: list[float] | None = None  #: openings, where they are not 0, 1, 2 ...
    contract: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    remainder: str = "returned"
    release: str = "pro_rata"
    options: dict[str, Any] = field(default_factory=dict)

    def case(self) -> Case:
        minutes = self.minutes or list(range(len(self.bars)))
        bars = {"symbol": ["X"] * len(minutes), "time": [at(minute) for minute in minutes]}
        for series, rows in (("mark", self.bars), ("last", self.last)):
            if rows:
                names = (f"{PRICE_PREFIX[series]}{part}" for part in ("open", "high", "low", "close"))
                bars |= {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
        floats = {name: pl.Float64 for name in bars if name not in ("symbol", "time")}
        frame = pl.DataFrame(bars, schema_overrides={"time": Time, **floats})
        tables = self.tables or [self.table]
        given = {"name": "tiers", "rates": [0.25]}
        contract = Contract(
            symbol="X", tables=tuple(TierTable(**(given | table)) for table in tables), **self.contract
        )
        venue = Venue(
            name="hand", title="By hand", contracts={"X": contract}, remainder=self.remainder, release=self.release
        )
        options = {"gap_limit_ms": 6 * 3600 * 1000} | self.options
        return Case(frame, self.stamps(), self.positions(), self.changes(), venue, options)

    def positions(self) -> pl.DataFrame:
        row = {"position_id": 7, "symbol": "X", "side": "long", "entry_time": 0.0, "entry_price": 100.0}
        row |= {"quantity": 1.0} | ({} if "leverage" in self.position else {"margin": 40.0}) | self.position
        row |= {name: at(row[name]) for name in ("entry_time", "exit_time") if name in row}
        kinds = {"side": Side, "entry_time": Time, "exit_time": Time}
        return pl.DataFrame([row], schema_overrides={name: kinds[name] for name in kinds if name in row})

    def changes(self) -> pl.DataFrame | None:
        rows = [
            {"position_id": 7, "time": at(minute), "margin_change": margin, "quantity_change": quantity}
            for minute, margin, quantity in self.adjustments
        ]
        return pl.DataFrame(rows, schema_overrides={"time": Time}) if rows else None

    def stamps(self) -> pl.DataFrame | None:
        rows = [{"symbol": "X", "time": at(minute), "rate": rate} for minute, rate in self.funding]
        return pl.DataFrame(rows, schema_overrides={"time": Time}) if rows else None


def at(minute: float) -> datetime:
    return NOON + timedelta(milliseconds=round(60_000 * minute))


FLAT = (100.0, 100.0, 100.0, 100.0)
#: What a position that nothing closed has no value for.
UNFILLED = dict.fromkeys(
    ["fill_price", "fill_notional", "equity_at_fill", "shortfall", "realised_pnl", "tier_rate"]
)

SCENARIOS = [
    Scenario(
        "a quiet history leaves the position open, its prices at the last bar",
        [FLAT, (100, 130, 81, 90)],
        {
            "outcome": "open",
            "outcome_time": None,
            "liquidation_price": 80,
            "bankruptcy_price": 60,
            "ambiguous": False,
        }
        | UNFILLED
        | {"funding_paid": 0, "liquidated": False},
    ),
    Scenario(
        "a low at the liquidation price liquidates at that price",
        [FLAT, (95, 99, 80, 90)],
        {"outcome": "liquidated", "liquidated": True, "outcome_time": 1, "liquidation_price": 80}
        | {"bankruptcy_price": 60, "fill_price": 80, "fill_notional": 80, "equity_at_fill": 20, "shortfall": 0}
        | {"realised_pnl": -20, "tier_rate": 0.25, "ambiguous": False, "funding_paid": 0},
    ),
    Scenario(
        "a venue that liquidates only below the maintenance margin does not at it",
        [FLAT, (95, 99, 80, 90)],
        {"outcome": "open"},
        contract={"trigger": "<"},
    ),
    Scenario(
        "a venue that liquidates only below the maintenance margin does below it, at the liquidation price",
        [FLAT, (95, 99, 79, 90)],
        {"outcome": "liquidated", "fill_price": 80},
        contract={"trigger": "<"},
    ),
    Scenario(
        "a bar that opens beyond the liquidation price fills at its open",
        [FLAT, (70, 99, 65, 90)],
        {"outcome": "liquidated", "liquidation_price": 80, "fill_price": 70, "equity_at_fill": 10}
        | {"realised_pnl": -30, "shortfall": 0},
    ),
    Scenario(
        "a fill beyond the bankruptcy price is a shortfall, and costs the holder no more than the margin",
        [FLAT, (50, 99, 45, 90)],
        {"fill_price": 50, "equity_at_fill": -10, "shortfall": 10, "realised_pnl": -40},
    ),
    Scenario(
        "a short is liquidated at the high",
        [FLAT, (100, 120, 80, 100)],
        {"outcome": "liquidated", "liquidation_price": 120, "bankruptcy_price": 150, "fill_price": 120}
        | {"equity_at_fill": 30, "realised_pnl": -20},
        position={"side": "short", "margin": 50.0},
    ),
    Scenario(
        "a venue that keeps the remainder leaves the holder nothing",
        [FLAT, (100, 120, 80, 100)],
        {"outcome": "liquidated", "equity_at_fill": 20, "realised_pnl": -40, "shortfall": 0},
        remainder="fund",
    ),
    Scenario(
        "a venue that keeps the remainder leaves a stopped holder theirs",
        [FLAT, (100, 120, 90, 100)],
        {"outcome": "stopped", "equity_at_fill": 30, "realised_pnl": -10},
        position={"stop_price": 90.0},
        remainder="shared",
    ),
    Scenario(
        "a margin above the notional has no liquidation price and no bankruptcy price",
        [FLAT, (100, 120, 0.01, 100)],
        {"outcome": "open", "liquidation_price": None, "bankruptcy_price": None},
        position={"margin": 150.0},
    ),
    Scenario(
        "leverage without margin gives entry notional / leverage",
        [FLAT, (100, 100, 60, 100)],
        {"outcome": "liquidated", "fill_price": (100 - 50) / 0.75, "liquidation_price": (100 - 50) / 0.75},
        position={"leverage": 2.0},
    ),
    *(
        Scenario(
            f"a margin of {margin} against a requirement of 25 at the entry is {outcome}",
            [FLAT, FLAT],
            {"outcome": outcome, "liquidated": outcome == "liquidated"}
            | (
                dict.fromkeys(["outcome_time", "liquidation_price", "bankruptcy_price", "funding_paid"])
                | {"ambiguous": False}
                | UNFILLED
                if outcome == "rejected"
                else {"outcome_time": 0, "fill_price": 100, "realised_pnl": 0}
            ),
            position={"margin": margin},
            funding=[(1.0, 0.0625)],
        )
        for margin, outcome in ((20.0, "rejected"), (25.0, "liquidated"))
    ),
    # stops and take-profits
    Scenario(
        "a stop between the open and the liquidation price comes first",
        [FLAT, (100, 101, 75, 100)],
        {"outcome": "stopped", "fill_price": 90, "realised_pnl": -10, "tier_rate": None, "ambiguous": False}
        | {"liquidation_price": 80, "outcome_time": 1},
        position={"stop_price": 90.0},
    ),
    Scenario(
        "a stop beyond the liquidation price comes too late",
        [FLAT, (100, 101, 70, 100)],
        {"outcome": "liquidated", "fill_price": 80, "ambiguous": False},
        position={"stop_price": 75.0},
    ),
    Scenario(
        "a stop at the liquidation price comes too late",
        [FLAT, (100, 101, 80, 100)],
        {"outcome": "liquidated", "fill_price": 80, "ambiguous": False},
        position={"stop_price": 80.0},
    ),
    Scenario(
        "a bar that opens beyond both stop and liquidation price liquidates",
        [FLAT, (78, 101, 70, 100)],
        {"outcome": "liquidated", "fill_price": 78, "ambiguous": False},
        position={"stop_price": 90.0},
    ),
    Scenario(
        "a bar that opens beyond the stop alone stops there, whatever follows",
        [FLAT, (85, 115, 70, 100)],
        {"outcome": "stopped", "fill_price": 85, "ambiguous": False},
        position={"stop_price": 90.0, "take_profit_price": 110.0},
    ),
    Scenario(
        "a bar that opens beyond the take-profit takes it, whatever follows",
        [FLAT, (115, 116, 70, 100)],
        {"outcome": "took_profit", "fill_price": 115, "realised_pnl": 15, "ambiguous": False},
        position={"stop_price": 90.0, "take_profit_price": 110.0},
    ),
    *(
        Scenario(
            f"liquidation against take-profit in one bar, {intrabar}, {nearer} nearer",
            [FLAT, (100, high, 78, 100)],
            {"outcome": outcome, "fill_price": 80 if outcome == "liquidated" else 110, "ambiguous": True},
            position={"take_profit_price": 110.0},
            options={"intrabar": intrabar},
        )
        for nearer, high, on_path in (("low", 125.0, "liquidated"), ("high", 112.0, "took_profit"))
        for intrabar, outcome in (("pessimistic", "liquidated"), ("optimistic", "took_profit"), ("path", on_path))
    ),
    Scenario(
        "on a path whose extremes are equally near, the high comes first",
        [FLAT, (100, 122, 78, 100)],
        {"outcome": "took_profit", "ambiguous": True},
        position={"take_profit_price": 110.0},
        options={"intrabar": "path"},
    ),
    *(
        Scenario(
            f"a stop before the liquidation against a take-profit, {intrabar}",
            [FLAT, (100, 111, 78, 100)],
            {"outcome": outcome, "ambiguous": True},
            position={"stop_price": 90.0, "take_profit_price": 110.0},
            options={"intrabar": intrabar},
        )
        for intrabar, outcome in (
            ("pessimistic", "stopped"),
            ("optimistic", "took_profit"),
            ("path", "took_profit"),
        )
    ),
    *(
        Scenario(
            f"a stop on the last price against a liquidation on the mark, {intrabar}",
            [FLAT, (100, 101, 75, 100)],  # the mark passes 80 after 20 of 25, the last price 90 after 10 of 15
            {"outcome": outcome, "fill_price": fill, "ambiguous": True},
            position={"stop_price": 90.0},
            last=[FLAT, (100, 100, 85, 99)],
            options={"intrabar": intrabar},
        )
        for intrabar, outcome, fill in (
            ("pessimistic", "liquidated", 80),
            ("optimistic", "stopped", 90),
            ("path", "stopped", 90),
        )
    ),
    Scenario(
        "a stop asked to watch the mark comes in order of price",
        [FLAT, (100, 101, 75, 100)],
        {"outcome": "stopped", "fill_price": 90, "ambiguous": False},
        position={"stop_price": 90.0},
        last=[FLAT, (100, 100, 99, 99)],
        options={"stop_trigger": "mark"},
    ),
    Scenario(
        "a stop that the last price never reaches does not happen",
        [FLAT, (100, 101, 85, 100)],
        {"outcome": "open"},
        position={"stop_price": 90.0},
        last=[FLAT, (100, 100, 99, 99)],
    ),
    Scenario(
        "a short's stop and take-profit are mirrored",
        [FLAT, (100, 112, 88, 100)],
        {"outcome": "stopped", "fill_price": 110, "realised_pnl": -10, "ambiguous": True},
        position={"side": "short", "margin": 50.0, "stop_price": 110.0, "take_profit_price": 90.0},
    ),
    # which price triggers, which fills
    Scenario(
        "a trigger on the last price leaves the mark alone",
        [FLAT, (100, 101, 75, 100), FLAT],
        {"outcome": "liquidated", "outcome_time": 2, "fill_price": 80},
        last=[FLAT, FLAT, (99, 100, 75, 99)],
        options={"trigger_price": "last"},
    ),
    *(
        Scenario(
            f"a liquidation on the mark can fill at the {rule}",
            [FLAT, (70, 101, 65, 100)],
            {"outcome": "liquidated", "liquidation_price": 80, "fill_price": fill, "equity_at_fill": fill - 60},
            last=[FLAT, (88, 97, 55, 95)],
            options={"fill_price": rule},
        )
        for rule, fill in (("last_close", 95), ("last_extreme", 55))
    ),
    # the entry bar
    Scenario(
        "an untested entry bar that would have liquidated makes the row ambiguous",
        [FLAT, (100, 101, 75, 100), FLAT],
        {"outcome": "open", "ambiguous": True},
        position={"entry_time": 1.5},
    ),
    Scenario(
        "the close of an entry bar came after the entry",
        [FLAT, (100, 101, 70, 75), (75, 100, 75, 100)],
        {"outcome": "liquidated", "outcome_time": 1, "outcome_until": 2, "fill_price": 80, "ambiguous": False}
        | {"certainly_liquidated": True, "possibly_liquidated": True},
        position={"entry_time": 1.5},
    ),
    *(
        Scenario(
            f"a close that {what} inside the entry bar would have survived liquidates, and is ambiguous",
            [FLAT, (100, 101, 70, 79), (100, 100, 100, 100)],
            {"outcome": "liquidated", "outcome_time": 1, "ambiguous": True}
            | {"certainly_liquidated": False, "possibly_liquidated": True},
            position={"entry_time": 1.25},
            funding=funding,
            adjustments=adjustments,
        )
        for what, funding, adjustments in (
            ("a stamp", [(1.5, -0.0625)], []),
            ("added margin", [], [(1.5, 10.0, 0.0)]),
        )
    ),
    Scenario(
        "a stop between the entry and a close beyond the liquidation price comes first",
        [FLAT, (100, 101, 70, 75), FLAT],
        {"outcome": "stopped", "outcome_time": 1, "fill_price": 90, "ambiguous": False}
        | {"possibly_liquidated": False},
        position={"entry_time": 1.5, "stop_price": 90.0},
    ),
    Scenario(
        "a tested entry bar liquidates, and the row is ambiguous too",
        [FLAT, (70, 101, 70, 100), FLAT],
        {"outcome": "liquidated", "outcome_time": 1, "fill_price": 80, "ambiguous": True},
        position={"entry_time": 1.5},
        options={"entry_bar": "tested"},
    ),
    *(
        Scenario(
            f"a quiet entry bar changes nothing, {entry_bar}",
            [FLAT, (100, 101, 81, 100), (100, 100, 80, 80)],
            {"outcome": "liquidated", "outcome_time": 2, "ambiguous": False},
            position={"entry_time": 1.5},
            options={"entry_bar": entry_bar},
        )
        for entry_bar in ("tested", "untested")
    ),
    Scenario(
        "a tested entry bar's path starts at the entry price",
        [FLAT, (80, 112, 79, 100)],  # from 100 the high is nearer, from the open of 80 the low
        {"outcome": "took_profit", "outcome_time": 1, "fill_price": 110, "ambiguous": True},
        position={"entry_time": 1.5, "take_profit_price": 110.0},
        options={"entry_bar": "tested", "intrabar": "path"},
    ),
    Scenario(
        "a tested entry bar that lies below the entry price is reached by falling through what lies between",
        # the mark falls from 100 to its high of 90: 96 after 4 of 10; the last price to 97.5: 98 after 2 of 2.5
        [FLAT, (80, 90, 79, 85), FLAT],
        {"outcome": "liquidated", "outcome_time": 1, "fill_price": 96, "ambiguous": True},
        position={"entry_time": 1.5, "margin": 28.0, "stop_price": 98.0},
        last=[FLAT, (97.4375, 97.5, 97.4375, 97.5), FLAT],
        options={"entry_bar": "tested", "intrabar": "path"},
    ),
    Scenario(
        "an entry at a bar's close is tested from the next bar",
        [(100, 100, 75, 100), FLAT],
        {"outcome": "open", "ambiguous": False},
        position={"entry_time": 1.0},
        options={"entry_bar": "tested"},
    ),
    Scenario(
        "an entry at a bar's opening is tested in that bar",
        [(100, 100, 75, 100)],
        {"outcome": "liquidated", "outcome_time": 0, "fill_price": 80, "ambiguous": False},
    ),
    Scenario(
        "an entry at the end of the last bar stays open, its prices those of the entry",
        [FLAT, (100, 100, 75, 100)],
        {"outcome": "open", "liquidation_price": 80, "bankruptcy_price": 60, "funding_paid": 0} | UNFILLED,
        position={"entry_time": 2.0},
        funding=[(1.0, 0.0625)],
    ),
    # funding
    Scenario(
        "funding is charged at the opening's mark and moves the liquidation price",
        [FLAT, (120, 120, 95, 100), (95, 95, 90, 95)],  # 120 / 16 = 7.5; (100 - 40 + 7.5) / 0.75 = 90
        {"outcome": "liquidated", "outcome_time": 2, "liquidation_price": 90, "bankruptcy_price": 67.5}
        | {"funding_paid": 7.5, "equity_at_fill": 22.5, "realised_pnl": -17.5},
        funding=[(1.0, 0.0625)],
    ),
    Scenario(
        "a short receives the funding a long pays",
        [FLAT, (120, 120, 95, 100)],
        {"outcome": "open", "funding_paid": -7.5, "bankruptcy_price": 167.5},
        position={"side": "short", "margin": 60.0},
        funding=[(1.0, 0.0625)],
    ),
    Scenario(
        "a stamp at the entry is not charged, nor one before the bars, nor one after the last opening",
        [FLAT, FLAT],
        {"outcome": "open", "funding_paid": 0},
        funding=[(-0.5, 0.0625), (0.0, 0.0625), (1.5, 0.0625)],
    ),
    Scenario(
        "a stamp late by 1 % of its interval belongs to the opening before it, at the entry too",
        [FLAT, (112, 112, 100, 100), (104, 104, 100, 100)],
        {"outcome": "open", "funding_paid": 7.0},
        funding=[(0.01, 0.0625), (1.01, 0.0625)],
    ),
    Scenario(
        "a stamp later than that is charged at the next opening",
        [FLAT, (112, 112, 100, 100), (104, 104, 100, 100)],
        {"outcome": "open", "funding_paid": 6.5},
        funding=[(0.0, 0.0625), (1 + 0.601 / 60, 0.0625)],
    ),
    *(
        Scenario(
            f"a stamp {late} s after an hour, {interval} h from the others, is charged at minute {minute}",
            [FLAT, (112, 112, 100, 100), (104, 104, 100, 100)],
            {"outcome": "open", "funding_paid": 7.0 if minute == 60 else 6.5},
            minutes=[0, 60, 61],
            position={"entry_time": 30.0},
            funding=[(60 + late / 60, 0.0625), *([(60 * (1 + interval), 0.0625)] if interval else [])],
            options={"gap_limit_ms": None},
        )
        for interval, late, minute in (
            (None, 4, 60),
            (None, 36, 60),
            (None, 36.001, 61),
            (1, 36, 60),
            (1, 37, 61),
            (2, 60, 60),
            (8, 60, 60),
        )
    ),
    Scenario(
        "several stamps in one bar are all charged at the next opening",
        [FLAT, (112, 112, 100, 100), (104, 104, 100, 100)],
        {"outcome": "open", "funding_paid": 6.5 + 3.25},
        funding=[(1.25, 0.0625), (1.5, 0.03125)],
    ),
    Scenario(
        "a stamp in a tested entry bar is not yet charged there",
        [FLAT, (112, 112, 83, 100), (104, 104, 80.1, 100)],
        {"outcome": "liquidated", "outcome_time": 2, "funding_paid": 6.5, "ambiguous": False},
        position={"entry_time": 1.25},
        funding=[(1.5, 0.0625)],
        options={"entry_bar": "tested"},
    ),
    Scenario(
        "an exit pays the stamps up to its own time, not those after it",
        [FLAT, FLAT, (96, 96, 90, 90)],
        {"outcome": "exited", "outcome_time": 2, "fill_price": 96, "funding_paid": 6.0, "equity_at_fill": 30}
        | {"realised_pnl": -10, "liquidation_price": 80},
        position={"exit_time": 1.5},
        funding=[(1.25, 0.0625), (1.75, 0.0625), (2.0, 0.0625)],
    ),
    Scenario(
        "stamps a second apart are not late",
        [FLAT, (112, 112, 100, 100), (104, 104, 100, 100)],
        {"outcome": "open", "funding_paid": 7.0},
        minutes=[0, 1 / 60, 2 / 60],
        funding=[(0.0, 0.0625), (1 / 60, 0.0625)],
    ),
    # the holder's actions
    Scenario(
        "a partial close at a stamp's own time pays it on what was held before",
        [FLAT, (112, 112, 100, 100)],
        {"outcome": "open", "funding_paid": 7.0},
        adjustments=[(1.0, 0.0, -0.5)],
        funding=[(1.0, 0.0625)],
    ),
    Scenario(
        "a partial close before a stamp pays it on what is left",
        [FLAT, (112, 112, 100, 100)],
        {"outcome": "open", "funding_paid": 3.5},
        adjustments=[(0.5, 0.0, -0.5)],
        funding=[(1.0, 0.0625)],
    ),
    Scenario(
        "a partial close that keeps the margin keeps the equity continuous",
        [FLAT, (110, 110, 110, 110), (110, 110, 110, 110)],  # 5 realised: margin 45, bankrupt at 100 - 45 / 0.5
        {"outcome": "exited", "fill_price": 110, "fill_notional": 55, "equity_at_fill": 50, "realised_pnl": 10}
        | {"bankruptcy_price": 10, "liquidation_price": 5 / 0.375},
        position={"exit_time": 2.0},
        adjustments=[(1.0, 0.0, -0.5)],
        release="keep",
    ),
    Scenario(
        "a partial close releases its share of the margin, and its gain is paid out",
        [FLAT, (110, 110, 110, 110), (110, 110, 110, 110)],  # 20 and 5 to the wallet: 30 of equity less 15 put in
        {"outcome": "exited", "fill_notional": 55, "equity_at_fill": 25, "realised_pnl": 10}
        | {"bankruptcy_price": 60, "liquidation_price": 80},
        position={"exit_time": 2.0},
        adjustments=[(1.0, 0.0, -0.5)],
    ),
    Scenario(
        "the loss of a partial close comes from the wallet, and the liquidation price stays",
        [FLAT, (90, 90, 90, 90), (85, 90, 79, 90)],  # 20 of margin left; 5 lost before and 10 at the liquidation
        {"outcome": "liquidated", "liquidation_price": 80, "fill_price": 80, "equity_at_fill": 10}
        | {"realised_pnl": -15, "shortfall": 0},
        adjustments=[(1.0, 0.0, -0.5)],
    ),
    Scenario(
        "a part closed of a venue that keeps the remainder costs the margin that was left, and its own loss",
        [FLAT, (90, 90, 90, 90), (85, 90, 79, 90)],
        {"outcome": "liquidated", "equity_at_fill": 10, "realised_pnl": -25},
        adjustments=[(1.0, 0.0, -0.5)],
        remainder="fund",
    ),
    Scenario(
        "funding paid before a partial close is not released",
        [FLAT, (112, 112, 100, 100)],  # (40 - 7) / 2
        {"outcome": "open", "bankruptcy_price": 100 - 33, "funding_paid": 7},
        adjustments=[(1.0, 0.0, -0.5)],
        funding=[(1.0, 0.0625)],
    ),
    Scenario(
        "a change of nothing begins no segment",
        [FLAT, FLAT, (100, 112, 100, 100)],
        {"outcome": "open", "liquidation_price": 80, "funding_paid": 0},
        adjustments=[(1.0, 0.0, 0.0)],
    ),
    Scenario(
        "margin added moves the liquidation price away and counts as put in",
        [FLAT, FLAT, (100, 100, 70, 70), (63, 100, 60, 70)],
        {"outcome": "liquidated", "outcome_time": 3, "liquidation_price": 64, "fill_price": 63}
        | {"equity_at_fill": 15, "realised_pnl": -37},
        adjustments=[(1.0, 12.0, 0.0)],
    ),
    Scenario(
        "margin taken out can liquidate at that opening",
        [FLAT, FLAT],
        {"outcome": "liquidated", "outcome_time": 1, "liquidation_price": 120, "fill_price": 100}
        | {"equity_at_fill": 10, "realised_pnl": 0},
        adjustments=[(1.0, -30.0, 0.0)],
    ),
    Scenario(
        "several adjustments at one opening are applied in order of time",
        [FLAT, (108, 108, 108, 108)],  # half closed at 108, then half of the rest: 4 + 2 realised
        {"outcome": "open", "bankruptcy_price": 100 - (40 + 6 - 30) / 0.25},
        adjustments=[(0.75, -30.0, -0.25), (0.25, 0.0, -0.5)],
        release="keep",
    ),
    Scenario(
        "of a bar that an exit lies inside the low does not count: it may have come later",
        [FLAT, (100, 100, 80, 100), FLAT],
        {"outcome": "exited", "outcome_time": 2, "outcome_until": 3, "ambiguous": True}
        | {"certainly_liquidated": False, "possibly_liquidated": True},
        position={"exit_time": 1.5},
    ),
    Scenario(
        "of a tested bar that an exit lies inside it does",
        [FLAT, (100, 100, 80, 100), FLAT],
        {"outcome": "liquidated", "outcome_time": 1, "outcome_until": 2, "ambiguous": True}
        | {"certainly_liquidated": False, "possibly_liquidated": True},
        position={"exit_time": 1.5},
        options={"exit_bar": "tested"},
    ),
    Scenario(
        "the opening of a bar that an exit lies inside counts",
        [FLAT, (79, 100, 79, 100), FLAT],
        {"outcome": "liquidated", "outcome_time": 1, "fill_price": 79, "ambiguous": False}
        | {"certainly_liquidated": True, "possibly_liquidated": True},
        position={"exit_time": 1.5},
    ),
    Scenario(
        "the opening at which an exit acts is tested before it",
        [FLAT, FLAT, (70, 100, 70, 100)],
        {"outcome": "liquidated", "outcome_time": 2, "fill_price": 70, "realised_pnl": -30, "ambiguous": False}
        | {"certainly_liquidated": True},
        position={"exit_time": 2.0},
    ),
    Scenario(
        "and where the exit lies inside the bar before, it may have come earlier",
        [FLAT, FLAT, (70, 100, 70, 100)],
        {"outcome": "liquidated", "outcome_time": 2, "fill_price": 70, "ambiguous": True}
        | {"certainly_liquidated": False, "possibly_liquidated": True},
        position={"exit_time": 1.5},
    ),
    Scenario(
        "a long of 50x entered at 21:05 and left at 21:45 in one hourly bar loses its margin and no more",
        [FLAT, (100, 100.5, 94.0, 94.89), (94.89, 96, 94, 95)],
        {"outcome": "liquidated", "outcome_time": 120, "outcome_until": 180, "realised_pnl": -2}
        | {"fill_price": 94.89, "ambiguous": True}
        | {"certainly_liquidated": False, "possibly_liquidated": True},
        minutes=[0, 60, 120],
        position={"entry_time": 65.0, "exit_time": 105.0, "margin": 2.0},
        table={"rates": [0.004]},
    ),
    Scenario(
        "an exit filled beyond bankruptcy costs the margin, and the rest is shortfall",
        [FLAT, (100, 100, 20, 30), FLAT],
        {"outcome": "exited", "fill_price": 50, "realised_pnl": -40, "shortfall": 10, "ambiguous": True},
        position={"exit_time": 1.5, "exit_price": 50.0},
    ),
    *(
        Scenario(
            f"a recorded exit beyond the liquidation price, {trigger} triggering",
            [FLAT, (100, 100, 90, 95), FLAT],
            {"outcome": outcome, "outcome_time": 1, "fill_price": fill, "ambiguous": outcome == "exited"}
            | {"certainly_liquidated": outcome == "liquidated"},
            position={"exit_time": 1.5, "exit_price": 75.0},
            last=[FLAT, (100, 100, 90, 95), FLAT],
            options={"trigger_price": trigger},
        )
        for trigger, outcome, fill in (("mark", "exited", 75), ("last", "liquidated", 80))
    ),
    Scenario(
        "a recorded exit in the last bar takes effect",
        [FLAT, (100, 110, 90, 95)],
        {"outcome": "exited", "outcome_time": 1, "outcome_until": 2, "fill_price": 105, "realised_pnl": 5},
        position={"exit_time": 1.5, "exit_price": 105.0},
    ),
    Scenario(
        "a part closed in the bar of a recorded exit is closed at its price",
        [FLAT, (100, 110, 90, 95), FLAT],
        {"outcome": "exited", "outcome_time": 1, "fill_price": 105, "realised_pnl": 5, "fill_notional": 52.5},
        position={"exit_time": 1.75, "exit_price": 105.0},
        adjustments=[(1.5, 0.0, -0.5)],
    ),
    Scenario(
        "the opening at which margin is added is tested before it is",
        [FLAT, FLAT, (78, 100, 78, 100)],
        {"outcome": "liquidated", "outcome_time": 2, "fill_price": 78, "ambiguous": False},
        adjustments=[(2.0, 50.0, 0.0)],
    ),
    Scenario(
        "margin added inside the bar before may have come in time",
        [FLAT, FLAT, (78, 100, 78, 100)],
        {"outcome": "liquidated", "outcome_time": 2, "fill_price": 78, "ambiguous": True}
        | {"certainly_liquidated": False, "possibly_liquidated": True},
        adjustments=[(1.5, 50.0, 0.0)],
    ),
    Scenario(
        "the bar of an exit is not tested",
        [FLAT, (90, 100, 10, 100)],
        {"outcome": "exited", "outcome_time": 1, "fill_price": 90, "realised_pnl": -10, "fill_notional": 90},
        position={"exit_time": 1.0},
    ),
    Scenario(
        "an exit after the last opening never takes effect",
        [FLAT, FLAT],
        {"outcome": "open"} | UNFILLED,
        position={"exit_time": 1.5},
    ),
    Scenario(
        "an exit comes after an adjustment at the same opening that precedes it",
        [FLAT, (110, 110, 110, 110)],
        {"outcome": "exited", "fill_notional": 55, "realised_pnl": 10, "liquidation_price": 5 / 0.375},
        position={"exit_time": 0.75},
        adjustments=[(0.5, 0.0, -0.5)],
        release="keep",
    ),
    Scenario(
        "an adjustment after the exit does not count, at the same opening neither",
        [FLAT, (110, 110, 110, 110)],
        {"outcome": "exited", "fill_notional": 110, "realised_pnl": 10, "liquidation_price": 80},
        position={"exit_time": 0.5},
        adjustments=[(0.75, 0.0, -0.5)],
    ),
    # gaps
    Scenario(
        "a position open across a long gap ends unknown at the opening after it",
        [FLAT, FLAT, (50, 50, 50, 50)],
        {"outcome": "unknown", "outcome_time": 400, "liquidation_price": 80, "ambiguous": False} | UNFILLED,
        minutes=[0, 1, 400],
    ),
    Scenario(
        "a gap just as long as the limit is not long",
        [FLAT, FLAT, (50, 50, 50, 50)],
        {"outcome": "liquidated", "outcome_time": 362, "fill_price": 50},
        minutes=[0, 1, 362],
    ),
    Scenario(
        "without a limit no gap is long",
        [FLAT, FLAT, (50, 50, 50, 50)],
        {"outcome": "liquidated", "outcome_time": 4000, "fill_price": 50},
        minutes=[0, 1, 4000],
        options={"gap_limit_ms": None},
    ),
    *(
        Scenario(
            f"an exit in or at the end of a long gap comes too late, minute {minute}",
            [FLAT, FLAT, FLAT],
            {"outcome": "unknown", "outcome_time": 400} | UNFILLED,
            position={"exit_time": minute},
            minutes=[0, 1, 400],
        )
        for minute in (1.5, 200.0, 400.0)
    ),
    Scenario(
        "an exit in a short gap takes effect at the opening after it",
        [FLAT, FLAT, (90, 90, 90, 90)],
        {"outcome": "exited", "outcome_time": 100, "fill_price": 90},
        position={"exit_time": 50.0},
        minutes=[0, 1, 100],
    ),
    Scenario(
        "an adjustment inside a long gap does not count",
        [FLAT, FLAT, FLAT],
        {"outcome": "unknown", "liquidation_price": 80},
        adjustments=[(100.0, 12.0, 0.0)],
        minutes=[0, 1, 400],
    ),
    Scenario(
        "an entry inside a gap is unknown when the next opening is too far away",
        [FLAT, FLAT, FLAT],
        {"outcome": "unknown", "outcome_time": 400, "funding_paid": 0},
        position={"entry_time": 39.0},
        minutes=[0, 1, 400],
    ),
    Scenario(
        "an entry late in a long gap is followed from the next opening",
        [FLAT, FLAT, (80, 80, 80, 80)],
        {"outcome": "liquidated", "outcome_time": 400, "fill_price": 80},
        position={"entry_time": 40.0},
        minutes=[0, 1, 400],
    ),
    Scenario(
        "an entry inside the bar before a long gap is open across it",
        [FLAT, FLAT, FLAT],
        {"outcome": "unknown", "outcome_time": 400},
        position={"entry_time": 1.5},
        minutes=[0, 1, 400],
    ),
    # contracts and tiers
    Scenario(
        "an inverse contract pays in coin",
        [(128, 128, 128, 128), (128, 128, 64, 100)],  # 1.5 + 128 / 128 = 2.5 at 1 / P = 2.5 / 160
        {"outcome": "liquidated", "liquidation_price": 64, "fill_notional": 2, "equity_at_fill": 0.5}
        | {"bankruptcy_price": 51.2, "realised_pnl": -1, "tier_rate": 0.25},
        position={"entry_price": 128.0, "quantity": 128.0, "margin": 1.5},
        contract={"kind": "inverse"},
    ),
    Scenario(
        "an inverse contract's funding is per coin",
        [(128, 128, 128, 128), (64, 128, 64, 100)],
        {"outcome": "exited", "funding_paid": 0.125, "equity_at_fill": 2.5 - 1 - 0.125, "fill_price": 64},
        position={"entry_price": 128.0, "quantity": 128.0, "margin": 2.5, "exit_time": 1.0},
        contract={"kind": "inverse"},
        funding=[(1.0, 0.0625)],
    ),
    Scenario(
        "an inverse long with more margin than its notional could lose still has both prices",
        [(128, 128, 128, 128)],
        {"outcome": "open", "liquidation_price": 32, "bankruptcy_price": 128 / 5},
        position={"entry_price": 128.0, "quantity": 128.0, "margin": 4.0},
        contract={"kind": "inverse"},
    ),
    Scenario(
        "an inverse short with more margin than its notional has neither",
        [(128, 128, 128, 128), (128, 1e9, 128, 128)],
        {"outcome": "open", "liquidation_price": None, "bankruptcy_price": None},
        position={"side": "short", "entry_price": 128.0, "quantity": 128.0, "margin": 1.0},
        contract={"kind": "inverse"},
    ),
    Scenario(
        "a face-value contract needs a constant margin",
        [(0.5, 0.5, 0.5, 0.5), (0.5, 1, 0.375, 0.5)],  # 8 / 8 = 1 = 2 + 8 (P - 0.5)
        {"outcome": "liquidated", "liquidation_price": 0.375, "bankruptcy_price": 0.25, "fill_notional": 8}
        | {"equity_at_fill": 1, "realised_pnl": -1, "tier_rate": 0.125},
        position={"entry_price": 0.5, "quantity": 8.0, "margin": 2.0},
        contract={"kind": "face_value"},
        table={"rates": [0.125]},
    ),
    Scenario(
        "a face-value closing fee at the mark is a constant too",
        [(0.5, 0.5, 0.5, 0.5), (0.5, 1, 0.376, 0.5)],  # 2 + 8 (P - 0.5) = 1 + 0.5
        {"outcome": "liquidated", "liquidation_price": 0.4375, "fill_price": 0.4375},
        position={"entry_price": 0.5, "quantity": 8.0, "margin": 2.0},
        contract={"kind": "face_value", "closing_fee": "at_mark", "closing_fee_rate": 0.0625},
        table={"rates": [0.125]},
    ),
    Scenario(
        "a face-value long that only a mark of zero liquidates fills at zero, a price too low to be shown",
        [(0.5, 0.5, 0.5, 0.5), (0.25, 0.5, 0, 0.5)],  # 8 / 8 = 1 = 5 + 8 (0 - 0.5)
        {"outcome": "liquidated", "liquidation_price": None, "fill_price": 0, "equity_at_fill": 1},
        position={"entry_price": 0.5, "quantity": 8.0, "margin": 5.0},
        contract={"kind": "face_value"},
        table={"rates": [0.125]},
    ),
    *(
        Scenario(
            f"a size on the boundary of marginal tiers has the rate of the {boundary} one where it is constant",
            [FLAT, (100, 100, 85, 90)],
            {"outcome": "liquidated", "liquidation_price": 85, "tier_rate": rate},
            contract={"basis": "entry"},
            table={"floors": [0, 100], "rates": [0.25, 0.5], "boundary": boundary},
        )
        for boundary, rate in (("lower", 0.25), ("higher", 0.5))
    ),
    Scenario(
        "on the entry notional the requirement stays what it was",
        [FLAT, (100, 100, 85, 90)],  # 25 = 40 + P - 100
        {"outcome": "liquidated", "liquidation_price": 85, "equity_at_fill": 25, "tier_rate": 0.25},
        contract={"basis": "entry"},
    ),
    Scenario(
        "on the entry notional a partial close that keeps the margin lowers the requirement with the quantity",
        [FLAT, FLAT, (100, 100, 46, 90)],  # 12.5 = 40 + 0.5 (P - 100)
        {"outcome": "open", "liquidation_price": 45},
        contract={"basis": "entry"},
        adjustments=[(1.0, 0.0, -0.5)],
        release="keep",
    ),
    Scenario(
        "marginal tiers above a boundary: 2 P / 2 - 30 = 90 + 2 (P - 100)",
        [FLAT, (100, 100, 80, 90)],
        {"outcome": "liquidated", "liquidation_price": 80, "equity_at_fill": 50, "tier_rate": 0.5},
        position={"quantity": 2.0, "margin": 90.0},
        table={"floors": [0, 120], "rates": [0.25, 0.5]},
    ),
    Scenario(
        "marginal tiers below a boundary: 2 P / 4 = 116 + 2 (P - 100)",
        [FLAT, (100, 100, 55, 90)],
        {"outcome": "liquidated", "liquidation_price": 56, "equity_at_fill": 28, "tier_rate": 0.25},
        position={"quantity": 2.0, "margin": 116.0},
        table={"floors": [0, 120], "rates": [0.25, 0.5]},
    ),
    Scenario(
        "marginal tiers, a short: 2 P / 2 - 75 = 190 + 2 (100 - P)",
        [FLAT, (100, 155, 90, 90)],
        {"outcome": "liquidated", "liquidation_price": 155, "tier_rate": 0.5, "equity_at_fill": 80},
        position={"side": "short", "quantity": 2.0, "margin": 190.0},
        table={"floors": [0, 300], "rates": [0.25, 0.5]},
    ),
    Scenario(
        "a size on the boundary of flat tiers belongs to the lower one",
        [FLAT, (100, 100, 80, 90)],
        {"outcome": "liquidated", "outcome_time": 1, "liquidation_price": 80, "tier_rate": 0.25},
        table={"model": "flat", "floors": [0, 100], "rates": [0.25, 0.5]},
    ),
    Scenario(
        "a size on the boundary of flat tiers belongs to the higher one where the table says so",
        [FLAT, (100, 100, 80, 90)],
        {"outcome": "liquidated", "outcome_time": 1, "liquidation_price": 96, "fill_price": 96}
        | {"tier_rate": 0.375},
        table={"model": "flat", "floors": [0, 100], "rates": [0.25, 0.375], "boundary": "higher"},
    ),
    Scenario(
        "flat tiers by contracts count them, and a partial close counts again",
        [FLAT, FLAT],
        {"outcome": "open", "liquidation_price": 10 / (0.5 * 0.75), "bankruptcy_price": 20},
        table={"model": "flat", "floors": [0, 8], "rates": [0.25, 0.3125], "size": "contracts"}
        | {"contract_size": 0.1},
        adjustments=[(1.0, 0.0, -0.5)],
        release="keep",
    ),
    Scenario(
        "a rate keyed by leverage follows the selected one: 0.5 / 2",
        [FLAT, (100, 100, 80, 90)],
        {"outcome": "liquidated", "liquidation_price": 80, "tier_rate": 0.25},
        position={"leverage": 2.0, "margin": 40.0},
        table={"model": "leverage", "rate_factor": 0.5},
    ),
    Scenario(
        "a rate keyed by leverage falls back on margin: 0.625 / (100 / 40)",
        [FLAT, (100, 100, 80, 90)],
        {"outcome": "liquidated", "liquidation_price": 80, "tier_rate": 0.25},
        table={"model": "leverage", "rate_factor": 0.625},
    ),
    Scenario(
        "a closing fee at the mark adds to the rate: 60 / (1 - 1/8 - 1/8)",
        [FLAT, (100, 100, 80, 90)],
        {"outcome": "liquidated", "liquidation_price": 80, "equity_at_fill": 20, "tier_rate": 0.125},
        contract={"closing_fee": "at_mark", "closing_fee_rate": 0.125},
        table={"rates": [0.125]},
    ),
    Scenario(
        "a closing fee at bankruptcy is a constant: (60 + 60 / 8) / 0.75",
        [FLAT, (100, 100, 90, 90)],
        {"outcome": "liquidated", "liquidation_price": 90, "equity_at_fill": 30, "bankruptcy_price": 60},
        contract={"closing_fee": "at_bankruptcy", "closing_fee_rate": 0.125},
    ),
    *(
        Scenario(
            f"the table in force at the entry applies for life, entry at minute {minute}",
            [FLAT, FLAT, (100, 100, 90, 90)],
            {"outcome": "open", "liquidation_price": price},
            position={"entry_time": minute},
            tables=[
                {"name": "before", "end": at(1)},
                {"name": "after", "rates": [0.0625], "start": at(1)},
            ],
        )
        for minute, price in ((0.5, 80), (1.0, 64))
    ),
    *(
        Scenario(
            f"where no table is in force, a stand-in: {tiers}",
            [FLAT, FLAT, FLAT, FLAT, FLAT, FLAT, FLAT],
            {"outcome": "open", "liquidation_price": price},
            position={"entry_time": minute},
            tables=[
                {"name": "before", "start": at(0), "end": at(2)},
                {"name": "after", "rates": [0.0625], "start": at(4)},
            ],
            options={"tiers": tiers},
        )
        for tiers, minute, price in (
            ("nearest", 2.5, 80),
            ("nearest", 3.0, 80),
            ("nearest", 3.5, 64),
            ({"X": "after"}, 1.0, 64),
        )
    ),
]


@pytest.mark.parametrize("engine", [referred, swept])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.sentence)
def test_sweep_and_reference__do_what_the_model_says(scenario: Scenario, engine: Any) -> None:
    outcome = engine(scenario.case()).row(0, named=True)
    expected = dict(scenario.expected)
    for name in ("outcome_time", "outcome_until"):
        if expected.get(name) is not None:
            expected[name] = at(expected[name])
    assert {name: outcome[name] for name in expected} == expected


@pytest.mark.parametrize("company", [0, 1], ids=["alone", "in company"])
def test_sweep__finds_what_a_change_of_margin_brings_into_another_tier(company: int) -> None:
    """A tree that no position needs at its entry is searched all the same once margin has moved one there."""
    table = TierTable(
        name="two", model="marginal", floors=[0.0, 115.0], rates=[0.01, 0.05], amounts=[0.0, 4.6],
        max_leverages=[100.0, 100.0],
    )  # fmt: skip
    venue = Venue(name="two", title="Two", contracts={"A": Contract(symbol="A", tables=(table,))})
    times = [NOON + number * MINUTE for number in range(40)]
    high = [150.0 if number == 10 else 101.0 for number in range(40)]
    bars = pl.DataFrame({"symbol": "A", "time": times, "open": 100.0, "high": high, "low": 99.0, "close": 100.0})
    rows = [(1, 1.0, 5.0), (2, 2.0, 150.0)][: 1 + company]
    positions = pl.DataFrame(
        [
            {"position_id": i, "symbol": "A", "side": "short", "entry_time": NOON, "entry_price": 100.0,
             "quantity": quantity, "margin": margin, "leverage": 10.0}
            for i, quantity, margin in rows
        ]
    )  # fmt: skip
    added = pl.DataFrame({"position_id": [1], "time": [NOON + 2 * MINUTE], "margin_change": [30.0]})
    found = sweep(Book(positions, added), Market(bars), venue).row(0, named=True)
    assert found["outcome"] == "liquidated"
    assert found["outcome_time"] == NOON + 10 * MINUTE
    assert found["liquidation_price"] == pytest.approx((100 + 35 + 4.6) / 1.05)
