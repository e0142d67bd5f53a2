"""Input at the edge of what there is: the least of everything, odd types and names, and several at once."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bad_kinds import (
    START,
    VENUE,
    adjustments,
    as_csv,
    as_parquet,
    bars,
    funding,
    hours,
    positions,
    put,
    with_last,
)
from polars.exceptions import PanicException
from polars.testing import assert_frame_equal

from backtest import Book, Market, Venue, book, market, population, sweep, tiers_used
from backtest.__main__ import main
from backtest.errors import ArgumentError, BacktestError, DataError, RulesError
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import OUTCOME_COLUMNS, Time

#: Columns a holder might well have, which the package uses names of for something else.
OWN_NAMES = ("row", "limit", "time", "kind", "notional", "margin_rate", "count", "share", "index", "literal")


@pytest.fixture
def venue(tmp_path) -> Venue:
    path = tmp_path / "venue.toml"
    path.write_text(VENUE)
    return Venue.load(path)


@pytest.fixture
def falling() -> Market:
    """Prices that fall by a tenth in the last hour, so that some positions are liquidated."""
    return Market(put(bars(), 47, low=36_000.0), funding())


def outcomes(frame: pl.DataFrame, history: Market, venue: Venue, **rules: Any) -> pl.DataFrame:
    return sweep(Book(frame), history, venue, **rules)


def repeated(times: int) -> pl.DataFrame:
    """Return the positions many times over, with ids of their own."""
    index = pl.Series(np.tile(np.arange(3), times))
    return positions()[index].with_columns(position_id=pl.int_range(3 * times))


def test_sweep__of_one_bar(venue):
    found = outcomes(positions().with_columns(entry_time=START), Market(bars().head(1)), venue)
    assert found["outcome"].to_list() == ["open"] * 3


def test_sweep__of_a_symbol_with_one_bar_beside_one_with_many():
    other = bars().head(1).with_columns(symbol=pl.lit("ETHUSDT"))
    both = Market(pl.concat([bars(), other]))
    held = put(positions().with_columns(entry_time=START), 1, symbol="ETHUSDT")
    found = sweep(Book(held), both, Venue.load("binance"), tiers="nearest")
    assert found["outcome"].to_list() == ["open"] * 3
    assert both.intervals.tolist() == [3_600_000, 3_600_000]


def test_market__of_bars_in_order_of_time_is_that_of_bars_by_symbol():
    both = pl.concat([bars(), bars().with_columns(symbol=pl.lit("ETHUSDT"))])
    assert_frame_equal(Market(both.sort("time", maintain_order=True)).bars, Market(both).bars)


@pytest.mark.parametrize("leverage_limit", ["error", "cap", "filter"])
def test_sweep__of_nobody_has_every_column(falling, venue, leverage_limit):
    nobody = positions().with_columns(exit_time=hours(9, 9, 9)).clear()
    found = outcomes(nobody, falling, venue, leverage_limit=leverage_limit)
    assert found.shape == (0, nobody.width + len(OUTCOME_COLUMNS))
    assert tiers_used(Book(nobody), falling, venue).is_empty()


def test_book__of_nobody_needs_no_types():
    assert len(Book(pl.DataFrame({name: [] for name in positions().columns}))) == 0


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_commands__take_nobody(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    bars().write_parquet("bars.parquet")
    positions().clear().write_parquet("positions.parquet")
    Path("venue.toml").write_text(VENUE)
    words = f"{command} --bars bars.parquet --positions positions.parquet --venue venue.toml --out out"
    assert main(words.split()) == 0
    assert pl.read_parquet("out/outcomes.parquet").is_empty()


def test_sweep__of_many_symbols_is_that_of_each(falling):
    venue = Venue.load("primexbt")
    names = [f"S{number}" for number in range(300)]
    many = Market(pl.concat(falling.bars.tail(3).with_columns(symbol=pl.lit(name)) for name in names))
    held = pl.concat(
        put(positions().head(1), 0, symbol=name, position_id=number, entry_time=START + timedelta(hours=45))
        for number, name in enumerate(names)
    )
    together = outcomes(held, many, venue)
    assert together["liquidated"].all()
    for number in (0, 255, 256, 299):
        assert_frame_equal(outcomes(held[number], many, venue), together[number])


@pytest.mark.parametrize(
    "same",
    [
        lambda frame: pl.concat([frame[0], frame[1], frame[2]], rechunk=False),
        lambda frame: frame.with_columns(pl.col("symbol").cast(pl.Categorical)),
        lambda frame: frame.with_columns(pl.col("symbol").cast(pl.Enum(["ETHUSDT", "BTCUSDT"]))),
        lambda frame: frame.with_columns(pl.col("side").cast(pl.Enum(["short", "long"]))),
        lambda frame: frame.with_columns(pl.col("entry_price").cast(pl.Int32)),
        lambda frame: frame.with_columns(pl.col("leverage").cast(pl.Float32)),
        lambda frame: frame.with_columns(pl.col("entry_time").dt.cast_time_unit("ns")),
        lambda frame: frame.with_columns(exit_time=None),
    ],
    ids=["chunks", "categorical", "enum", "enum in another order", "int", "float32", "ns", "nulls"],
)
def test_sweep__of_the_same_values_in_other_types_is_the_same(falling, venue, same):
    found, wanted = (outcomes(frame, falling, venue) for frame in (same(positions()), positions()))
    assert_frame_equal(found.select(*OUTCOME_COLUMNS), wanted.select(*OUTCOME_COLUMNS))


def test_sweep__of_tiny_prices_liquidates_the_same(falling):
    venue, tiny = Venue.load("primexbt"), 2.0**-60
    prices = falling.bars.with_columns(pl.col("open", "high", "low", "close") * tiny)
    held = positions().with_columns(pl.col("entry_price") * tiny, pl.col("quantity") / tiny)
    large, small = outcomes(positions(), falling, venue), outcomes(held, Market(prices, funding()), venue)
    assert_frame_equal(large.select("outcome", "realised_pnl"), small.select("outcome", "realised_pnl"))
    assert_frame_equal(large.select("liquidation_price"), small.select(pl.col("liquidation_price") / tiny))


def test_sweep__knows_symbols_in_any_script(falling):
    renamed = pl.lit("比特币/Ö")
    found = outcomes(
        positions().with_columns(symbol=renamed),
        Market(falling.bars.with_columns(symbol=renamed)),
        Venue.load("primexbt"),
    )
    assert found["liquidated"].any()


@pytest.mark.parametrize("leverage_limit", ["error", "cap", "filter"])
def test_sweep__carries_columns_of_any_name_through(falling, venue, leverage_limit):
    own = positions().with_columns(pl.lit(0.5).alias(name) for name in OWN_NAMES)
    found = outcomes(own, falling, venue, leverage_limit=leverage_limit)
    assert_frame_equal(found.select(OWN_NAMES), own.select(OWN_NAMES))
    assert_frame_equal(found.drop(OWN_NAMES), outcomes(positions(), falling, venue, leverage_limit=leverage_limit))


def test_sweep__carries_own_columns_past_a_cap(falling, venue):
    own = positions().with_columns(leverage=1_000.0, limit=pl.Series([7, 8, 9]))
    found = outcomes(own, falling, venue, leverage_limit="cap")
    assert found["limit"].to_list() == [7, 8, 9]
    assert found["leverage"].to_list() == [125.0, 100.0, 125.0]


@pytest.mark.parametrize("name", [*OUTCOME_COLUMNS, "surviving_weight"])
def test_book__refuses_columns_a_sweep_adds(name):
    with pytest.raises(DataError, match=f"columns a sweep adds: rename or drop {name}$"):
        Book(positions().with_columns(pl.lit(1).alias(name)))


def test_adjustments__may_have_columns_of_any_name(falling, venue):
    own = adjustments().with_columns(row=pl.lit(2), quantity=pl.lit(9.0), entry_time=pl.lit(START))
    assert_frame_equal(
        sweep(Book(positions(), own), falling, venue), sweep(Book(positions(), adjustments()), falling, venue)
    )


def test_adjustments__of_positions_left_out_are_left_out_with_them(falling, venue):
    held = put(positions(), 0, leverage=1_000.0)
    found = sweep(Book(held, adjustments()), falling, venue, leverage_limit="filter")
    alone = sweep(Book(held[1:], adjustments()[1:]), falling, venue)
    assert_frame_equal(found, alone)


def test_book__takes_adjustments_of_nobody():
    assert Book(positions(), adjustments().clear()).adjustments is None


@pytest.mark.parametrize("wrong", [[], 5, object(), pl.Series([1])], ids=lambda wrong: type(wrong).__name__)
def test_frames__what_is_none_is_refused_by_name(wrong):
    with pytest.raises(BacktestError, match=r"^positions must be a frame"):
        Book(wrong)
    with pytest.raises(BacktestError, match=r"^adjustments must be a frame"):
        Book(positions(), wrong)
    with pytest.raises(BacktestError, match=r"^bars must be a frame"):
        Market(wrong)


def test_sweep__leaves_its_inputs_as_they_were(venue):
    given = [with_last(bars()), funding(), positions(), adjustments()]
    before = [as_parquet(frame) for frame in given]
    prices, rates, held, changes = given
    sweep(Book(held, changes), Market(prices, rates), venue, leverage_limit="cap")
    assert [as_parquet(frame) for frame in given] == before


def test_sweep__of_pickled_inputs_is_the_same(falling, venue):
    inputs = (Book(positions(), adjustments()), falling, venue)
    again = sweep(*(pickle.loads(pickle.dumps(value)) for value in inputs))
    assert_frame_equal(again, sweep(*inputs))


def test_sweep__of_several_at_once_is_that_of_one_after_another(falling, venue):
    many = Book(repeated(30_000))
    rules = [venue.with_(rate_scale=1 + number / 4) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda own: sweep(many, falling, own, threads=2), rules))
    for own, found in zip(rules, at_once, strict=True):
        assert_frame_equal(found, sweep(many, falling, own, threads=1))


def test_load__reads_csv_as_parquet(tmp_path, falling):
    for name, frame in (("bars", falling.bars), ("funding", funding())):
        (tmp_path / f"{name}.csv").write_text(as_csv(frame))
    loaded = market.load(tmp_path / "bars.csv", tmp_path / "funding.csv")
    assert_frame_equal(loaded.bars, falling.bars)
    assert_frame_equal(loaded.funding, falling.funding)


def test_load__does_not_guess_own_columns_from_the_first_rows(tmp_path):
    frame = repeated(500)
    notes = pl.Series("note", ["1"] * (frame.height - 1) + ["late"])
    (tmp_path / "positions.csv").write_text(as_csv(frame.with_columns(notes)))
    assert book.load(tmp_path / "positions.csv").positions["note"][-1] == "late"


def test_load__names_a_file_that_polars_panics_over(tmp_path, monkeypatch):
    def panic(_: Path, **_options: Any) -> pl.DataFrame:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(pl, "read_parquet", panic)
    bars().write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(DataError, match=r"bars\.parquet cannot be read as Parquet: it is damaged$"):
        market.load(tmp_path / "bars.parquet")


@pytest.mark.parametrize("number", [2**63 - 1, 10**17, -(10**17)])
def test_times__beyond_the_calendar_are_told_as_numbers(number):
    beyond = pl.Series([number]).cast(pl.Datetime("ms", "UTC"))[0:1].new_from_index(0, 3)
    with pytest.raises(
        DataError, match=rf"entry_time must lie in the years 2009 to 9999: .*entry_time={number}\)"
    ):
        Book(positions().with_columns(entry_time=beyond))


def test_funding__of_symbols_without_bars_is_left_out_beside_that_of_others():
    both = pl.concat([funding(), funding().with_columns(symbol=pl.lit("ETHUSDT"))])
    assert Market(bars(), both).funding is not None
    with pytest.raises(DataError, match="there are only ETHUSDT"):
        Market(bars(), both.filter(symbol="ETHUSDT"))


@pytest.mark.parametrize("every", ["x", "-1h", "0h", None])
def test_resample__refuses_what_is_no_interval(falling, every):
    with pytest.raises(ArgumentError, match="every must be an interval like 5m, 1h or 1d"):
        falling.resample(every)


def test_sizes__beyond_a_table_are_told_with_the_end_of_their_own(tmp_path):
    path = tmp_path / "venue.toml"
    path.write_text(VENUE.replace("2021-06-22", "2021-05-19"))
    held = put(positions(), 1, quantity=26.0)
    with pytest.raises(DataError, match=r"notional=1,040,000, limit=1,000,000\)"):
        outcomes(held, Market(bars()), Venue.load(path))
    later = put(held, 1, entry_time=START + timedelta(hours=30))
    assert outcomes(later, Market(bars()), Venue.load(path), leverage_limit="cap").height == 3


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"floors": [0, 1, 2], "rates": [0.1, 0.2]}, "rates"),
        ({"floors": [0, 1], "rates": [0.1, 0.2, 0.3]}, "rates"),
        ({"floors": [0, 1], "rates": [0.1, 0.2], "amounts": [0.0]}, "amounts"),
        ({"floors": [], "rates": []}, "floors"),
        ({"rates": [0.1], "start": datetime(2021, 1, 1)}, "from"),
        ({"rates": [0.1], "end": datetime(2021, 1, 1)}, "until"),
    ],
)
def test_tier_table__refuses_columns_that_do_not_fit(columns, problem):
    with pytest.raises(RulesError) as refused:
        TierTable(name="odd", **columns)
    assert problem in [path for path, _ in refused.value.problems]


def test_venue__tells_a_wrong_rule_once(tmp_path):
    path = tmp_path / "venue.toml"
    second = VENUE[VENUE.index("[contracts") :].replace("BTCUSDT", "ETHUSDT")
    path.write_text(VENUE.replace('value = "at_mark"', 'value = "mark"') + second)
    with pytest.raises(RulesError) as refused:
        Venue.load(path)
    assert [found for found, _ in refused.value.problems] == ["rules.closing_fee"]


def test_times_in_another_zone__are_the_same_instants() -> None:
    history = market.sample()
    bars = history.bars.with_columns(pl.col("time").dt.convert_time_zone("Europe/Paris"))
    assert_frame_equal(Market(bars).bars, history.bars)


def test_numbers_of_threads__give_the_same_outcomes_of_many_chunks() -> None:
    history, venue = market.sample(), Venue.load("binance")
    tiers = {"ETHUSDT": "2022-02-16"}
    book = population.synthetic(history, venue, count=200_000, seed=3, tiers=tiers)
    waiting = Book(book.positions.drop("exit_time"))
    for some in (book, waiting):
        one = sweep(some, history, venue, tiers=tiers, threads=1)
        assert_frame_equal(sweep(some, history, venue, tiers=tiers, threads=3), one, check_exact=True)


def test_positions_with_and_without_actions__meet_the_same_end() -> None:
    history, venue = market.sample(), Venue.load("binance")
    tiers = {"ETHUSDT": "2022-02-16"}
    positions = population.synthetic(history, venue, count=50_000, seed=4, tiers=tiers).positions
    waiting = positions.drop("exit_time")
    never = waiting.with_columns(
        stop_price=pl.when(pl.col("side") == "long").then(1e-6).otherwise(1e9), exit_time=pl.lit(None, Time)
    )
    left_alone = sweep(Book(waiting), history, venue, tiers=tiers)
    watched = sweep(Book(never), history, venue, tiers=tiers)
    assert_frame_equal(watched.select(left_alone.columns), left_alone, check_exact=True)
