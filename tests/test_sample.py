"""The bundled sample: pinned to the published figures exactly, and like a market in between."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from backtest.market.reconstructed.reconstruction import DAILY, HOURLY, SEED, data_file, describe, reconstruct
from backtest.schemas.frames import BARS, FUNDING
from backtest.schemas.validation import check, require_order

PRICES = ["open", "high", "low", "close"]
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
THE_19TH = pl.col("time").dt.date() == datetime(2021, 5, 19).date()


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return reconstruct()[0]


def resampled(bars: pl.DataFrame, every: str) -> pl.DataFrame:
    return bars.group_by_dynamic("time", every=every, group_by="symbol").agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()
    )


def returns(bars: pl.DataFrame, symbol: str) -> np.ndarray:
    rows = bars.filter(pl.col("symbol") == symbol)
    return rows.select((pl.col("close") / pl.col("open")).log()).to_series().to_numpy()


def autocorrelation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


def digest(frame: pl.DataFrame) -> str:
    found = hashlib.sha256()
    for name in PRICES:
        found.update(frame[name].to_numpy().tobytes())
    return found.hexdigest()


def test_published__hours_of_the_19th_chain_to_its_day() -> None:
    day = pl.read_csv(data_file(DAILY)).filter(pl.col("date") == "2021-05-19").select("symbol", *PRICES)
    hours = pl.read_csv(data_file(HOURLY)).group_by("symbol", maintain_order=True)
    chained = hours.agg(pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
    assert chained.equals(day)


def test_reconstruct__follows_the_schemas() -> None:
    bars, funding = reconstruct()
    check(bars, BARS)
    check(funding, FUNDING)
    require_order(bars, "bars")
    require_order(funding, "funding")
    assert bars.height == 2 * 17 * 1440
    assert funding.height == 2 * 17 * 3
    assert bars["time"].min() == funding["time"].min() == datetime(2021, 5, 10, tzinfo=UTC)
    assert bars["time"].max() == datetime(2021, 5, 26, 23, 59, tzinfo=UTC)
    assert funding["rate"].unique().to_list() == [0.0001]


@pytest.mark.parametrize("seed", [SEED, 1, 2])
def test_reconstruct__resamples_to_the_published_figures(seed: int) -> None:
    bars, _ = reconstruct(seed)
    days, hours = resampled(bars, "1d"), resampled(bars.filter(THE_19TH), "1h")
    assert days.select(PRICES).equals(pl.read_csv(data_file(DAILY)).select(PRICES))
    assert hours.select(PRICES).equals(pl.read_csv(data_file(HOURLY)).select(PRICES))


def test_reconstruct__reaches_each_extreme_in_one_minute(bars: pl.DataFrame) -> None:
    every = pl.when(THE_19TH).then(pl.col("time").dt.truncate("1h")).otherwise(pl.col("time").dt.truncate("1d"))
    touched = bars.group_by("symbol", every).agg(
        high=(pl.col("high") == pl.col("high").max()).sum(), low=(pl.col("low") == pl.col("low").min()).sum()
    )
    assert touched["high"].unique().to_list() == [1]
    assert touched["low"].unique().to_list() == [1]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_reconstruct__low_of_the_19th_is_at_ten_past_one(bars: pl.DataFrame, symbol: str) -> None:
    lowest = bars.filter(THE_19TH, pl.col("symbol") == symbol).sort("low").row(0, named=True)
    assert lowest["time"] == datetime(2021, 5, 19, 13, 10, tzinfo=UTC)


def test_reconstruct__opens_where_it_closed_except_between_published_intervals(bars: pl.DataFrame) -> None:
    jumps = bars.filter(pl.col("open") != pl.col("close").shift(1).over("symbol"))["time"]
    assert (jumps.dt.minute() == 0).all()
    assert ((jumps.dt.hour() == 0) | (jumps.dt.day() == 19)).all()


def test_reconstruct__has_no_flat_minutes_and_whole_ticks(bars: pl.DataFrame) -> None:
    assert bars.filter(pl.col("high") == pl.col("low")).is_empty()
    prices = bars.select(PRICES).to_numpy()
    assert np.array_equal(prices, np.round(prices, 2))


def test_reconstruct__same_seed_same_bytes(bars: pl.DataFrame) -> None:
    assert digest(reconstruct(SEED)[0]) == digest(bars)
    assert digest(reconstruct(SEED + 1)[0]) != digest(bars)


def test_reconstruct__symbols_move_together(bars: pl.DataFrame) -> None:
    btc, eth = (returns(bars, symbol) for symbol in SYMBOLS)
    assert 0.75 < np.corrcoef(btc, eth)[0, 1] < 0.9


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_reconstruct__volatility_clusters_and_returns_do_not_repeat(bars: pl.DataFrame, symbol: str) -> None:
    moves = returns(bars, symbol)
    assert autocorrelation(moves**2, 1) > 0.1
    assert autocorrelation(np.abs(moves), 60) > 0.1
    assert abs(autocorrelation(moves, 1)) < 0.1


def test_describe__says_that_it_is_a_reconstruction() -> None:
    assert describe(7).startswith("reconstruction: ")
    assert "funding 0.01 % a period assumed; seed 7" in describe(7)
