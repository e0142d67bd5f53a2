"""What Python users hand over: any frame, names for venues, text for ids, and errors of ours for mistakes."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import backtest
from backtest import Accounts, Book, Impact, Market, Procedure, Venue, population, replay, sweep, sweep_accounts
from backtest.errors import ArgumentError, BacktestError, DataError, InputWarning, RulesError
from backtest.rules import margin
from backtest.schemas.given_frames import as_frame
from backtest.study.levels.grid import level_grid
from backtest.study.levels.levels import levels_of
from backtest.study.liquidations import cascades, flow, imbalance
from backtest.study.survival.survival import lives

START = datetime(2021, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRICES = (100.0, 99.0, 96.0, 90.0, 88.0, 91.0, 95.0, 101.0, 106.0, 110.0)


def bars() -> pl.DataFrame:
    closes = np.array(PRICES)
    return pl.DataFrame(
        {
            "symbol": ["BTCUSDT"] * closes.size,
            "time": [START + number * HOUR for number in range(closes.size)],
            "open": closes,
            "high": closes + 1.0,
            "low": closes - 1.0,
            "close": closes,
            "volume": np.full(closes.size, 1e4),
        },
        schema_overrides={"time": pl.Datetime("ms", "UTC")},
    )


def columns(**changed: Any) -> dict[str, Any]:
    return {
        "position_id": [7, 8, 9, 10],
        "symbol": ["BTCUSDT"] * 4,
        "side": ["long", "short", "long", "short"],
        "entry_time": [START, START, START + HOUR, START + HOUR],
        "entry_price": [100.0, 100.0, 99.0, 99.0],
        "quantity": [1.0, 2.0, 3.0, 4.0],
        "leverage": [10.0, 10.0, 5.0, 25.0],
        "exit_time": [None, None, START + 5 * HOUR, None],
    } | changed


def positions(**changed: Any) -> pl.DataFrame:
    times = dict.fromkeys(("entry_time", "exit_time"), pl.Datetime("ms", "UTC"))
    return pl.DataFrame(columns(**changed), schema_overrides=times)


@cache
def market() -> Market:
    return Market(bars())


@cache
def outcomes() -> pl.DataFrame:
    return sweep(Book(positions()), market(), "binance", tiers="nearest")


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Return a frame as pandas would have read it: object columns of text, NaN and NaT for what is missing."""
    return pd.DataFrame(frame.with_columns(pl.col(pl.Enum).cast(pl.String)).to_dict(as_series=False))


class Stream:
    """A frame of another library, known by the interface of Arrow alone."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.frame.__arrow_c_stream__(requested_schema)


FORMS = {
    "polars": lambda frame: frame,
    "lazy": lambda frame: frame.lazy(),
    "pandas": to_pandas,
    "indexed pandas": lambda frame: to_pandas(frame).set_index(frame.columns[0]),
    "categorical pandas": lambda frame: to_pandas(frame).astype({"symbol": "category"}),
    "arrow": Stream,
    "columns": lambda frame: frame.to_dict(as_series=False),
    "arrays": lambda frame: {name: frame[name].to_numpy() for name in frame.columns},
    "rows": lambda frame: frame.to_dicts(),
}


@pytest.mark.parametrize("form", FORMS)
def test_book_and_market__take_any_frame(form):
    given = FORMS[form]
    found = sweep(given(positions()), given(bars()), "binance", tiers="nearest")
    assert_frame_equal(found, outcomes())


@pytest.mark.parametrize("form", [form for form in FORMS if form != "arrays"])
def test_studies__take_any_frame(form):
    given = FORMS[form](outcomes())
    assert_frame_equal(flow.summary(given), flow.summary(outcomes()))
    assert_frame_equal(cascades.pulses(given), cascades.pulses(outcomes()))
    assert_frame_equal(lives(given, market()), lives(outcomes(), market()))


def test_as_frame__times_of_pandas_are_utc_whatever_their_zone():
    there = pd.DatetimeIndex(["2021-05-01 02:00", "2021-05-01 03:00"], tz="Europe/Berlin", name="time")
    naive = pd.DataFrame({"time": pd.to_datetime(["2021-05-01 00:00", "2021-05-01 01:00"]), "rate": [0.1, 0.2]})
    zoned = as_frame(pd.DataFrame({"rate": [0.1, 0.2]}, index=there), "funding")
    assert_frame_equal(zoned, as_frame(naive, "funding"))
    assert zoned["time"].to_list() == [START, START + HOUR]
    assert zoned.schema["time"] == pl.Datetime("ms", "UTC")


def test_as_frame__what_pandas_calls_missing_is_null():
    frame = pd.DataFrame(
        {
            "stop_price": [1.0, np.nan],
            "exit_time": [pd.NaT, pd.Timestamp("2021-05-01", tz="UTC")],
            "desk": ["a", None],
            "count": pd.array([1, pd.NA], "Int64"),
        }
    )
    assert as_frame(frame, "positions").null_count().row(0) == (1, 1, 1, 1)


@pytest.mark.parametrize("given", [5, "text", None, [], [1, 2], object(), {}, {"a": [1], "b": [1, 2]}])
def test_as_frame__refuses_what_is_no_frame(given):
    with pytest.raises(DataError, match="positions"):
        as_frame(given, "positions")


def test_venue__by_name_and_by_path(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text((Path(backtest.__file__).parent / "rules/venues/binance.toml").read_text())
    for venue in ("binance", str(file), file, Venue.load("binance")):
        assert_frame_equal(sweep(positions(), market(), venue, tiers="nearest"), outcomes())


SPELLINGS = (["Long", "short"], ["LONG", "SELL"], ["buy", "sell"], ["BUY", "Short"], [1, -1], [1.0, -1.0])


@pytest.mark.parametrize("sides", SPELLINGS)
def test_sides__by_their_other_names(sides):
    book = Book(positions(side=sides * 2))
    assert book.positions["side"].to_list() == ["long", "short"] * 2


def test_sides__others_are_refused_by_name_with_their_count():
    with pytest.raises(DataError, match=r"side must be one of long, short .*: 2 of 4 rows.*row 1 \(side='up'\)"):
        Book(positions(side=["long", "up", "long", "down"]))


TEXT = ["a", "c", "b", "d"]


def renamed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("position_id").replace_strict([7, 8, 9, 10], TEXT, return_dtype=pl.String))


def adjustments(ids: list[Any]) -> pl.DataFrame:
    changes = {"position_id": ids, "time": [START + 2 * HOUR] * 2, "margin_change": [5.0, 1.0]}
    return pl.DataFrame(changes, schema_overrides={"time": pl.Datetime("ms", "UTC")})


def test_text_ids__stay_in_outcomes_and_join_adjustments():
    plain = sweep(Book(positions(), adjustments([9, 7])), market(), "binance", tiers="nearest")
    named = sweep(Book(positions(position_id=TEXT), adjustments(["b", "a"])), market(), "binance", tiers="nearest")
    assert_frame_equal(named, renamed(plain))
    digits = Book(positions(position_id=["7", "8", "9", "10"]), adjustments([9, 7]))
    assert sweep(digits, market(), "binance", tiers="nearest")["realised_pnl"].equals(plain["realised_pnl"])


def test_text_ids__unknown_ones_are_refused():
    with pytest.raises(DataError, match="position_id must be one of the positions'"):
        Book(positions(position_id=TEXT), adjustments(["a", "e"]))
    with pytest.raises(DataError, match="position_id must be one of those there are"):
        Book(positions(), adjustments(["a", "e"]))


def test_missing_ids__are_row_numbers():
    book = Book(positions().drop("position_id"))
    assert book.positions["position_id"].to_list() == [0, 1, 2, 3]
    assert book.positions.columns[0] == "position_id"


def test_null_ids__are_refused():
    with pytest.raises(DataError, match="position_id must not be null"):
        Book(positions(position_id=["a", None, "b", "c"]))


def test_accounts__with_text_ids_and_without_leg_ids():
    legs = positions().drop("position_id", "exit_time")
    wallets = {"wallet": [30.0, 200.0]}
    plain = Accounts({"account_id": [0, 1], **wallets}, legs.with_columns(account_id=pl.Series([0, 0, 1, 1])))
    named = Accounts({"account_id": ["x", "y"], **wallets}, legs.with_columns(account_id=pl.Series(list("xxyy"))))
    found, other = (sweep_accounts(accounts, market(), "binance", tiers="nearest") for accounts in (plain, named))
    assert other.accounts["account_id"].to_list() == ["x", "y"]
    assert_frame_equal(found.accounts.drop("account_id"), other.accounts.drop("account_id"))
    assert_frame_equal(found.legs.drop("account_id"), other.legs.drop("account_id"))
    assert found.legs["leg_id"].to_list() == [0, 1, 2, 3]
    steps = backtest.liquidate_accounts(named, market(), "binance", tiers="nearest")
    assert set(steps.steps["account_id"]) <= {"x", "y"}


def test_replay__names_text_ids_in_every_frame():
    options = {"tiers": "nearest", "record_flow": True}
    plain = replay(positions(), market(), "binance", trace=10, **options)
    named = replay(positions(position_id=TEXT), market(), "binance", trace="d", **options)
    assert_frame_equal(named.outcomes, renamed(plain.outcomes))
    assert_frame_equal(named.flow, renamed(plain.flow))
    assert_frame_equal(named.trace, plain.trace)
    followed = replay(
        positions(position_id=TEXT), market(), "binance", tiers="nearest", facts=to_pandas(named.flow),
        impact=Impact(mark=1e-9),
    )  # fmt: skip
    assert followed.outcomes["position_id"].to_list() == TEXT
    with pytest.raises(ArgumentError, match="trace must be the position_id"):
        replay(positions(), market(), "binance", trace="z", **options)


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: Venue.load("binance").with_(max_leverage=5), "maximum_leverage"),
        (lambda: Procedure(stepfraction=0.5), "step_fraction"),
        (lambda: Impact(participations=0.5), "participation"),
        (lambda: Book(positions().rename({"entry_price": "entryprice"})), "entry_price"),
        (lambda: Book(positions(), adjustment=None), "adjustments"),
        (lambda: Market(bars(), gaplimit=None), "gap_limit"),
        (lambda: sweep(positions(), market(), "binance", leverage_limits="cap"), "leverage_limit"),
        (lambda: population.synthetic(market(), "binance", counts=5, seed=1), "count"),
        (lambda: flow.summary(outcomes().rename({"outcome": "Outcome"})), "Outcome"),
    ],
)
def test_misspelt_names__suggest_the_one_meant(call, meant):
    with pytest.raises(BacktestError, match=meant):
        call()


def test_warnings__what_looks_wrong_is_told_once_a_book_and_market():
    book = Book(positions(entry_price=[100.0, 100.0, 99.0, 990.0]).rename({"exit_time": "exit_tme"}))
    with pytest.warns(InputWarning) as told:
        sweep(book, market(), "binance", tiers="nearest")
    assert [str(one.message) for one in told] == [
        "positions: column exit_tme is carried along unread: is it exit_time?",
        "positions: 1 entry price more than 10 % beyond the mark's bar (first position 10, BTCUSDT at 990): "
        "are symbol, unit and time right?",
    ]
    assert {one.filename for one in told} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(book, market(), "binance", tiers="nearest")


def test_rules__mistakes_are_told_as_ours():
    venue = Venue.load("binance")
    contract = venue.contract("BTCUSDT")
    held = {"side": 1, "quantity": 1.0, "entry_price": 100.0}
    with pytest.raises(ArgumentError, match="missing a required argument: 'margin'"):
        margin.liquidation_price(contract, contract.tables[0], leverage=5, **held)
    with pytest.raises(ArgumentError, match=r"contract must be a Contract, is backtest\.Venue"):
        margin.liquidation_price(venue, contract.tables[0], margin=10.0, **held)
    with pytest.raises(RulesError, match="tables: must be"):
        venue.with_(tables=0.01)
    words = margin.liquidation_price(contract, contract.tables[0], margin=10.0, **held | {"side": "long"})
    assert words == margin.liquidation_price(contract, contract.tables[0], margin=10.0, **held)


WRONG = (None, "text", 5, [], object())


def taken_apart() -> list[tuple[Any, dict[str, Any]]]:
    """Return public functions, each with arguments it takes."""
    venue, book, found = Venue.load("binance"), Book(positions()), outcomes()
    contract = venue.contract("BTCUSDT")
    held = {"side": 1, "quantity": 1.0, "entry_price": 100.0, "margin": 10.0}
    swept = {"book": book, "market": market(), "venue": venue, "tiers": "nearest", "threads": 1}
    accounts = Accounts(
        {"account_id": [0], "wallet": [300.0]},
        positions().drop("position_id", "exit_time").with_columns(account_id=pl.lit(0)),
    )
    of_accounts = {name: value for name, value in swept.items() if name != "book"} | {"accounts": accounts}
    flows = flow.by_interval(found, start=START, end=START + 10 * HOUR, every="1h")
    return [
        (
            Book,
            {"positions": positions(), "adjustments": adjustments([7, 9]), "assumptions": (), "survival": None},
        ),
        (Market, {"bars": bars(), "funding": None, "gap_limit": HOUR, "description": ""}),
        (Accounts, {"accounts": accounts.accounts, "legs": accounts.legs, "collateral": None}),
        (Accounts.isolated, {"positions": positions(margin=[9.0] * 4).drop("exit_time")}),
        (Venue.load, {"name_or_path": "binance"}),
        (
            venue.with_,
            {"closing_fee_rate": 0.0, "tables": contract.tables, "rate_scale": 1.0, "remainder": "fund"},
        ),
        (sweep, swept | {"fill_price": "liquidation_price", "leverage_limit": "cap"}),
        (backtest.tiers_used, {name: swept[name] for name in ("book", "market", "venue", "tiers")}),
        (sweep_accounts, of_accounts | {"profit": None, "bracket": False}),
        (backtest.liquidate_accounts, of_accounts | {"cross": None}),
        (replay, swept | {"fund": 1.0, "impact": None, "seed": 1, "deposits": (), "trace": None, "facts": None}),
        (population.synthetic, {"market": market(), "venue": venue, "count": 3, "seed": 1, "tiers": "nearest"}),
        (population.from_volume, {"market": market(), "venue": venue, "tiers": "nearest", "opening_share": 0.1}),
        (backtest.market.sample, {"seed": 1}),
        (backtest.market.load, {"bars": "none.parquet", "funding": None}),
        (backtest.book.load, {"positions": "none.parquet", "adjustments": None}),
        (Procedure, {"step": "all", "step_fraction": 1.0, "rounds": 3, "clawback": False}),
        (Impact, {"participation": 0.5, "waves": 1, "order": "price"}),
        (margin.liquidation_price, held | {"contract": contract, "table": contract.tables[0], "funding": 0.0}),
        (margin.bankruptcy_price, held | {"contract": contract}),
        (margin.takeover_price, held | {"venue": venue, "contract": contract, "table": contract.tables[0]}),
        (margin.notional, {"contract": contract, "quantity": 1.0, "price": 2.0}),
        (flow.summary, {"outcomes": found, "unit": 0.01}),
        (flow.by_interval, {"outcomes": found, "start": START, "end": START + 10 * HOUR, "every": "1h"}),
        (flow.tally, {"outcomes": found}),
        (flow.heaviest, {"flow": flows, "count": 2}),
        (cascades.pulses, {"outcomes": found, "unit": 0.01}),
        (imbalance.by_interval, {"flow": flows, "measure": "notional"}),
        (lives, {"outcomes": found, "market": market()}),
        (level_grid, {"market": market(), "symbol": "BTCUSDT"}),
        (levels_of, swept | {"grid": level_grid(market(), "BTCUSDT")}),
    ]


@pytest.mark.filterwarnings("ignore::backtest.errors.InputWarning")
def test_public_functions__refuse_wrong_arguments_with_our_errors():
    strange = []
    for call, given in taken_apart():
        for name, wrong in ((name, wrong) for name in given for wrong in WRONG):
            try:
                call(**given | {name: wrong})
            except BacktestError:
                continue
            except Exception as error:
                strange.append(f"{call.__qualname__}({name}={wrong!r}): {type(error).__name__}: {error}")
    assert strange == []
