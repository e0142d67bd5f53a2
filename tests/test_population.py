"""Invented books: seeded, in the stated proportions, and within what the venue allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest import Book, Market, Venue, sweep
from backtest.errors import ArgumentError, DataError, TiersError
from backtest.population import HIGH, LOW, MIXED, LeverageMix, synthetic
from backtest.rules.contract import Contract
from backtest.rules.margin import notional, table_size
from backtest.rules.tiers import TierTable
from backtest.schemas.frames import POSITIONS, Side
from backtest.schemas.validation import check

COUNT = 50_000
START = datetime(2021, 5, 10, tzinfo=UTC)
STAND_IN = {"ETHUSDT": "2022-02-16"}


def market_of(volume: list[float] | None = None, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")) -> Market:
    """Return four days of hourly bars with opens that are all different; volume by symbol."""
    frames = []
    for number, symbol in enumerate(symbols):
        opening = 40_000.0 / 10**number + np.arange(96)
        prices = {"open": opening, "high": opening + 2, "low": opening - 2, "close": opening + 1}
        times = pl.datetime_range(
            START, interval="1h", end=START + timedelta(hours=95), time_unit="ms", eager=True
        )
        frame = pl.DataFrame({"time": times, **prices}).with_columns(symbol=pl.lit(symbol))
        if volume is not None:
            frame = frame.with_columns(volume=pl.lit(volume[number]) * pl.int_range(pl.len()))
        frames.append(frame)
    return Market(pl.concat(frames))


def venue_of(*, kind: str = "linear", **table: Any) -> Venue:
    tiers = {
        "floors": [0, 1_000, 5_000],
        "rates": [0.004, 0.01, 0.05],
        "max_leverages": [100, 20, 5],
        "cap": 10_000,
    }
    contract = Contract(symbol="any", kind=kind, tables=(TierTable(name="one", **{**tiers, **table}),))
    return Venue(name="test", title="Test", contracts={}, default=contract)


def drawn(**options: Any) -> Book:
    return synthetic(
        market_of(), Venue.load("binance"), **{"count": COUNT, "seed": 1, "tiers": STAND_IN, **options}
    )


def sizes(book: Book) -> np.ndarray:
    return (book.positions["quantity"] * book.positions["entry_price"]).to_numpy()


def test_synthetic__follows_the_schema() -> None:
    positions = drawn().positions
    check(positions, POSITIONS)
    assert positions.columns == [
        "position_id",
        "symbol",
        "side",
        "entry_time",
        "entry_price",
        "quantity",
        "leverage",
        "exit_time",
    ]
    assert positions.height == COUNT
    assert positions["position_id"].is_unique().all()
    assert positions["side"].dtype == Side


def test_synthetic__same_seed_same_book() -> None:
    assert drawn(seed=7).positions.equals(drawn(seed=7).positions)
    assert not drawn(seed=7).positions.equals(drawn(seed=8).positions)


def test_synthetic__enters_at_openings_at_their_price() -> None:
    market, positions = market_of(), drawn().positions
    at_entry = positions.join(market.bars, left_on=["symbol", "entry_time"], right_on=["symbol", "time"])
    assert at_entry.height == COUNT
    assert (at_entry["entry_price"] == at_entry["open"]).all()


def test_synthetic__enters_uniformly_over_time_and_symbols() -> None:
    counts = drawn().positions.group_by("symbol", "entry_time").len()["len"].to_numpy()
    expected = COUNT / 192
    assert counts.size == 192
    assert 100 < ((counts - expected) ** 2 / expected).sum() < 300  # chi-squared, 191 degrees of freedom


def test_synthetic__enters_in_proportion_to_notional_traded() -> None:
    market = market_of(volume=[3.0, 10.0])
    positions = synthetic(market, Venue.load("binance"), count=COUNT, seed=1, tiers=STAND_IN).positions
    traded = market.bars.with_columns(chance=pl.col("volume") * pl.col("open"))
    chances = traded.group_by("symbol").agg(pl.col("chance").sum() / traded["chance"].sum())
    shares = positions.group_by("symbol").agg(share=pl.len() / COUNT).join(chances, on="symbol")
    assert ((shares["share"] - shares["chance"]).abs() < 0.01).all()
    first_half = positions["entry_time"] < START + timedelta(hours=48)
    assert first_half.mean() == pytest.approx(0.25, abs=0.01)
    assert positions["entry_time"].min() > START  # nothing was traded in the first bar


def test_synthetic__follows_stated_shares() -> None:
    book = drawn(symbol_shares={"BTCUSDT": 0.8, "ETHUSDT": 0.2}, long_share=0.3)
    assert (book.positions["symbol"] == "BTCUSDT").mean() == pytest.approx(0.8, abs=0.01)
    assert (book.positions["side"] == "long").mean() == pytest.approx(0.3, abs=0.01)


def test_synthetic__leaves_out_symbols_without_a_share() -> None:
    book = synthetic(market_of(), Venue.load("binance"), count=100, seed=1, symbol_shares={"BTCUSDT": 1.0})
    assert book.symbols == ("BTCUSDT",)


def test_synthetic__leverage_follows_the_mix_in_whole_numbers() -> None:
    leverage = drawn(median_size=1.0).positions["leverage"].to_numpy()  # too small for any tier to bind
    assert np.array_equal(leverage, np.rint(leverage))
    for low, high, share in MIXED.ranges:
        inside = np.mean((leverage > low + 0.5) & (leverage < high - 0.5))
        expected = share * np.log((high - 0.5) / (low + 0.5)) / np.log(high / low)
        assert inside == pytest.approx(expected, abs=0.05 * share + 0.02)


@pytest.mark.parametrize(("mix", "low", "high"), [(LOW, 2, 5), (HIGH, 20, 125)])
def test_synthetic__leverage_stays_in_the_ranges(mix: LeverageMix, low: float, high: float) -> None:
    leverage = drawn(leverage_mix=mix, median_size=1.0).positions["leverage"]
    assert leverage.min() == low
    assert leverage.max() <= high


def test_synthetic__meets_the_calibration_targets() -> None:
    book = synthetic(market_of(), Venue.load("binance"), count=400_000, seed=1, tiers=STAND_IN)
    leverage, size = book.positions["leverage"].to_numpy(), sizes(book)
    assert 0.4 <= np.mean(leverage >= 20) <= 0.6
    assert 5 <= np.average(leverage, weights=size) <= 10
    ordered = np.sort(size)
    largest = ordered[-4_000:].sum() / ordered.sum()
    by_leverage, by_notional, by_size, in_the_tail = book.assumptions[-4:]
    assert by_leverage.endswith("(2021: 40 % to 60 %, met)")
    assert by_notional.endswith("(2021: 5 to 10, met)")
    assert f"median {np.median(ordered):,.0f} met" in by_size
    assert f"mean {ordered.mean():,.0f} missed" in by_size
    assert f"hundredth holds {100 * largest:.3g} % of the notional" in in_the_tail
    assert in_the_tail.endswith("missed)")


def test_synthetic__assumptions_say_when_a_target_is_missed() -> None:
    by_leverage, by_notional, *_ = drawn(leverage_mix=LOW).assumptions[-4:]
    assert by_leverage.endswith("(2021: 40 % to 60 %, missed)")
    assert by_notional.endswith("(2021: 5 to 10, missed)")


def test_synthetic__enters_uniformly_where_asked_whatever_was_traded() -> None:
    market, venue = market_of(volume=[3.0, 10.0]), Venue.load("binance")
    book = synthetic(market, venue, count=COUNT, seed=1, tiers=STAND_IN, entries="time")
    first_half = book.positions["entry_time"] < START + timedelta(hours=48)
    assert first_half.mean() == pytest.approx(0.5, abs=0.01)
    assert "uniform over time" in book.assumptions[1]


def test_synthetic__sides_lean_with_the_sign_of_the_last_funding() -> None:
    hours, rates = (8, 30, 60), (1e-4, -2e-4, 0.0)
    stamps = [START + timedelta(hours=hour) for hour in hours]
    funding = pl.DataFrame({"symbol": ["BTCUSDT"] * 3, "time": stamps, "rate": rates}).with_columns(
        pl.col("time").dt.cast_time_unit("ms")
    )
    market = Market(market_of(symbols=("BTCUSDT",)).bars, funding)
    book = synthetic(market, Venue.load("binance"), count=COUNT, seed=1, long_share=0.55, funding_lean=0.2)
    entry, long = book.positions["entry_time"], book.positions["side"] == "long"
    ends = [START, *stamps, START + timedelta(hours=96)]
    for first, stop, share in zip(ends, ends[1:], (0.55, 0.75, 0.35, 0.55), strict=False):
        inside = (entry >= first) & (entry < stop)  # an entry at the stamp knows it
        assert long.filter(inside).mean() == pytest.approx(share, abs=0.025)
    assert "55 % long, 20 points more where the last funding was positive" in book.assumptions[1]


def test_synthetic__cannot_lean_with_funding_that_is_not_there() -> None:
    with pytest.raises(DataError, match="funding_lean needs a market with funding"):
        drawn(funding_lean=0.1)


def test_synthetic__assumptions_carry_the_numbers() -> None:
    said = "\n".join(drawn(seed=77, median_holding=timedelta(hours=5), median_size=1234.5).assumptions)
    for words in ("50,000 positions", "seed 77", "median 5 hours", "median 1,234.5", "20 to 50 times 25 %"):
        assert words in said


def test_synthetic__size_is_lognormal_with_a_heavier_tail_and_falls_with_leverage() -> None:
    book = drawn(leverage_mix=LeverageMix(((10, 10, 1.0),)), count=200_000)
    size = np.sort(sizes(book))
    assert np.median(size) == pytest.approx(900, rel=0.03)
    body = np.log(size[: int(0.99 * size.size)])
    assert np.quantile(body, 0.84 / 0.99) - np.median(np.log(size)) == pytest.approx(2.15, abs=0.05)
    assert size[-1] > 900 * np.exp(2.15 * 5)
    small, large = (np.median(sizes(drawn(leverage_mix=mix))) for mix in (HIGH, LOW))
    assert small == pytest.approx(large, rel=0.1)  # each at its own typical leverage
    mixed = drawn(count=200_000)
    high = mixed.positions["leverage"].to_numpy() > 20
    assert np.median(sizes(mixed)[high]) < np.median(sizes(mixed)[~high]) / 3


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("linear", {}),
        ("linear", {"model": "flat", "boundary": "higher"}),
        ("linear", {"model": "flat", "size": "contracts", "contract_size": 0.001, "cap": 6_000}),
        ("inverse", {"floors": [0, 0.1, 1], "cap": 2}),
        ("inverse", {"model": "flat", "size": "contracts", "contract_size": 1.0}),
        ("face_value", {}),
    ],
)
def test_synthetic__size_and_leverage_stay_within_the_tiers(kind: str, table: dict[str, Any]) -> None:
    venue = venue_of(kind=kind, **table)
    book = synthetic(market_of(), venue, count=20_000, seed=1)
    assert venue.default is not None
    contract, tiers = venue.default, venue.default.tables[0]
    quantity, price = (book.positions[name].to_numpy() for name in ("quantity", "entry_price"))
    size = table_size(contract, tiers, quantity=quantity, entry_price=price)
    leverage = book.positions["leverage"].to_numpy()
    assert size.max() <= tiers.cap
    assert (leverage <= tiers.max_leverages[tiers.tier_of(size)]).all()
    assert np.unique(leverage).size > 50
    assert np.median(notional(contract, quantity=quantity, price=price)) > 0


def test_synthetic__takes_the_table_in_force_at_the_entry() -> None:
    change = START + timedelta(days=2)
    early = TierTable(name="early", rates=[0.004], max_leverages=[10], end=change)
    late = TierTable(name="late", rates=[0.004], max_leverages=[3], start=change)
    venue = Venue(name="t", title="T", contracts={}, default=Contract(symbol="any", tables=(early, late)))
    positions = synthetic(market_of(), venue, count=COUNT, seed=1).positions
    highest = positions.group_by(pl.col("entry_time") >= change).agg(pl.col("leverage").max()).sort("entry_time")
    assert highest["leverage"].to_list() == [10, 3]


def test_synthetic__other_tiers_change_only_what_they_bound() -> None:
    free = synthetic(market_of(), venue_of(cap=np.inf, max_leverages=[np.inf] * 3), count=COUNT, seed=1).positions
    bound = synthetic(market_of(), venue_of(), count=COUNT, seed=1).positions
    same = ["symbol", "side", "entry_time", "entry_price", "exit_time"]
    assert free.select(same).equals(bound.select(same))
    assert (bound["quantity"] <= free["quantity"]).all()
    assert (bound["leverage"] <= free["leverage"]).all()


def test_synthetic__holding_times_are_lognormal() -> None:
    positions = drawn(median_holding=timedelta(hours=3), holding_spread=1.0).positions
    held = (positions["exit_time"] - positions["entry_time"]).dt.total_milliseconds().to_numpy()
    logarithm = np.log(held / 3_600_000)
    assert np.median(logarithm) == pytest.approx(np.log(3), abs=0.03)
    assert logarithm.std() == pytest.approx(1.0, abs=0.02)


def test_synthetic__holds_to_the_end_without_a_holding_time() -> None:
    assert drawn(median_holding=None).positions["exit_time"].null_count() == COUNT


def test_synthetic__is_a_book_the_sweep_takes() -> None:
    market, venue = market_of(), Venue.load("binance")
    book = synthetic(market, venue, count=2_000, seed=1, tiers=STAND_IN)
    assert sweep(book, market, venue, tiers=STAND_IN).height == 2_000


def test_synthetic__refuses_entries_without_tiers() -> None:
    with pytest.raises(TiersError, match="of 50,000 have none, all in ETHUSDT"):
        drawn(tiers="strict")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be a whole number of at least 1, is 0"),
        ({"count": 1e6}, "count must be a whole number, is 1000000.0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, is -1"),
        ({"long_share": 1.5}, "long_share must lie from 0 to 1, is 1.5"),
        ({"long_share": float("nan")}, "long_share must be finite"),
        ({"funding_lean": 0.6}, "funding_lean must leave shares from 0 to 1 around long_share 0.5, is 0.6"),
        ({"funding_lean": -0.1}, "funding_lean must be finite and not negative, is -0.1"),
        ({"entries": "price"}, "entries must be one of volume, time, is 'price'"),
        (
            {"symbol_shares": {"BTCUSDT": 0.5, "ETHUSDT": 0.6}},
            "symbol_shares must add up to 1, they add up to 1.1",
        ),
        ({"symbol_shares": {"XRPUSDT": 1.0}}, "symbol_shares name XRPUSDT: the market has BTCUSDT, ETHUSDT"),
        ({"symbol_shares": {"BTCUSDT": 2.0, "ETHUSDT": -1.0}}, "symbol_shares must be finite and not negative"),
        ({"leverage_mix": "high"}, "leverage_mix must be a LeverageMix, is 'high'"),
        ({"median_size": 0.0}, "median_size must be finite and above zero, is 0.0"),
        ({"size_spread": -1.0}, "size_spread must be finite and not negative, is -1.0"),
        ({"tail_index": float("inf")}, "tail_index must be finite and above zero, is inf"),
        ({"largest_size": "big"}, "largest_size must be a number, is 'big'"),
        ({"median_holding": 12}, "median_holding must be a timedelta"),
        ({"median_holding": timedelta(0)}, "median_holding must be a timedelta"),
        ({"holding_spread": None}, "holding_spread must be a number, is None"),
        (
            {"tiers": "loose"},
            "tiers must be strict, earlier, later, strictest, nearest or the name of a table, is 'loose'",
        ),
    ],
)
def test_synthetic__names_the_bad_argument(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        drawn(**options)


@pytest.mark.parametrize(
    "ranges", [((5, 2, 1.0),), ((0.5, 2, 1.0),), ((2, 5, 0.5),), ((2, 5, 1.5), (5, 9, -0.5)), ()]
)
def test_leverage_mix__refuses_what_is_no_mix(ranges: tuple[tuple[float, float, float], ...]) -> None:
    with pytest.raises(ArgumentError, match="leverage_mix"):
        LeverageMix(ranges)
