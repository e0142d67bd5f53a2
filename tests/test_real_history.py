"""Real mark prices, where they lie beside the project: the sweep against the reference, one fact of a crash."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from random_cases import Case
from reference import reference_outcomes
from test_standing import require_laws
from test_sweep_reference import assert_same

from backtest import Book, Market, Venue, population, sweep
from backtest.schemas.frames import Side
from backtest.study.liquidations import flow

DATA = Path(__file__).parents[2] / "shared" / "data"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
NEAREST = "nearest"
HOUR = 3_600_000

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "mark_1h.parquet").exists(), reason="the real history is not here"),
]


def history(start: datetime, end: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return hourly mark bars and funding of two contracts."""
    bars, funding = (pl.read_parquet(DATA / name) for name in ("mark_1h.parquet", "funding_8h.parquet"))
    inside = pl.col("symbol").is_in(SYMBOLS) & pl.col("time").is_between(start, end)
    return bars.filter(inside), funding.filter(inside)


def held_through(bars: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Return positions opened at random openings, with stops, take-profits and exits for some."""
    rng = np.random.default_rng(seed)
    opened = bars.gather(rng.integers(0, bars.height, count))
    price, side = opened["open"].to_numpy(), rng.choice(["long", "short"], count)
    away = rng.uniform(0.01, 0.3, count) * np.where(side == "long", 1, -1)
    some = rng.random((3, count)) < 0.3
    exits = opened["time"] + pl.Series(rng.integers(1, 2_000, count) * HOUR).cast(pl.Duration("ms"))
    return pl.DataFrame(
        {
            "position_id": np.arange(count),
            "symbol": opened["symbol"],
            "side": pl.Series(side, dtype=Side),
            "entry_time": opened["time"],
            "entry_price": price,
            "quantity": np.minimum(rng.lognormal(10, 2, count), 400_000) / price,  # within the limits of 20 times
            "leverage": np.minimum(np.exp(rng.uniform(0.3, 3.0, count)), 20.0).round(1),
            "stop_price": pl.Series(np.where(some[0], price * (1 - away), np.nan)).fill_nan(None),
            "take_profit_price": pl.Series(np.where(some[1], price * (1 + 2 * away), np.nan)).fill_nan(None),
            "exit_time": pl.select(pl.when(pl.Series(some[2])).then(exits)).to_series(),
        }
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2020, 3, 1, tzinfo=UTC), datetime(2020, 4, 15, tzinfo=UTC)),
        (datetime(2021, 4, 10, tzinfo=UTC), datetime(2021, 5, 31, tzinfo=UTC)),
        (datetime(2022, 11, 1, tzinfo=UTC), datetime(2022, 11, 30, tzinfo=UTC)),
        (datetime(2025, 10, 1, tzinfo=UTC), datetime(2025, 10, 31, tzinfo=UTC)),
    ],
    ids=["2020-03", "2021-05", "2022-11", "2025-10"],
)
def test_sweep__equals_the_reference_through_real_crashes(start: datetime, end: datetime) -> None:
    bars, funding = history(start, end)
    positions, venue = held_through(bars, 400, seed=start.year), Venue.load("binance")
    expected = reference_outcomes(positions, None, bars, funding, venue, tiers=NEAREST)
    found = sweep(Book(positions), Market(bars, funding), venue, tiers=NEAREST)
    case = Case(bars, funding, positions, None, venue, {"tiers": NEAREST})
    assert_same(case, expected=expected, found=found, title=f"{start:%Y-%m}")
    assert found["liquidated"].sum() > 20


def test_low_leverage__falls_most_from_11_to_14_utc_on_19_may_2021() -> None:
    start, end = datetime(2021, 5, 10, tzinfo=UTC), datetime(2021, 5, 26, 23, 59, tzinfo=UTC)
    market, venue = Market(*history(start, end)), Venue.load("binance")
    low = population.LOW
    tiers = {"ETHUSDT": "2022-02-16"}  # the table nearest in time lets one position of 100 million decide
    book = population.synthetic(market, venue, count=200_000, seed=20210519, tiers=tiers, leverage_mix=low)
    hourly = flow.by_interval(sweep(book, market, venue, tiers=tiers), start=start, end=end)
    runs = flow.run_ranks(hourly, 3, "share").filter(pl.col("rank") == 1)
    assert runs["start"].to_list() == [datetime(2021, 5, 19, 11, tzinfo=UTC)]


@pytest.mark.parametrize("kind", ["volume", "bounded", "open interest"])
def test_estimated_books__obey_the_laws_over_the_whole_history_of_a_contract(kind: str) -> None:
    """Hourly marks and volume of BTC; open interest is daily, of all venues, which the laws do not mind."""
    volume = pl.read_parquet(DATA / "last_1h.parquet").select("symbol", "time", "volume")
    bars = pl.read_parquet(DATA / "mark_1h.parquet").filter(symbol="BTCUSDT")
    daily = pl.read_csv(DATA / "open_interest_daily_btc.csv", try_parse_dates=True, comment_prefix="#").select(
        pl.col("date").cast(pl.Datetime("ms", "UTC")).alias("time"), "open_interest_usd"
    )
    bars = bars.join(volume, on=["symbol", "time"]).sort("time")
    if kind != "volume":
        bars = bars.join_asof(daily, on="time").with_columns(
            open_interest=pl.col("open_interest_usd") / pl.col("close")
        )
    history = Market(bars)
    if kind == "open interest":
        flows = population.from_open_interest(history, Venue.load("binance"), tiers=NEAREST).flows
    else:
        flows = population.from_volume(
            history, Venue.load("binance"), tiers=NEAREST, bounded=kind == "bounded", opening_share=0.2
        ).flows
    require_laws(flows)
    if kind == "bounded":
        held = flows.join(bars.select("symbol", "time", limit="open_interest"), on=["symbol", "time"])
        assert (held["open_interest"] <= held["limit"] * (1 + 1e-9)).all()
