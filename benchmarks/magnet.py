"""Were clusters of levels reached more often than placebos, over five years of real prices?

``python benchmarks/magnet.py ../shared/data`` needs hourly marks and volume and daily open interest, which are not
part of the project. The book stands behind the open interest of *the day before* (a figure drawn out between days
would know, at noon, the next midnight's); dollars over all venues are divided by that day's close. Nothing is
fitted: default turnover and mix, default crowding.
"""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from backtest import Market, Venue, population
from backtest.study.levels.clusters import Crowding
from backtest.study.levels.evaluation.magnet_test import Pull, magnet
from backtest.study.levels.grid import level_grid
from backtest.study.levels.levels import levels_of

SYMBOL = "BTCUSDT"
START, END = datetime(2020, 1, 5, tzinfo=UTC), datetime(2024, 11, 20, tzinfo=UTC)
FIRST_LOOK = datetime(2020, 4, 1, tzinfo=UTC)
HORIZONS = (timedelta(hours=8), timedelta(days=1), timedelta(days=3))
BLOCK = timedelta(days=14)


def history(folder: Path) -> Market:
    """Return hourly bars whose open interest is what was known the day before, base."""
    bars = (
        pl.read_parquet(folder / "mark_1h.parquet")
        .filter(pl.col("symbol") == SYMBOL, pl.col("time").is_between(START, END, closed="left"))
        .join(
            pl.read_parquet(folder / "last_1h.parquet").select("symbol", "time", "volume"), on=["symbol", "time"]
        )
        .sort("time")
    )
    closes = bars.group_by_dynamic("time", every="1d").agg(pl.last("close"))
    told = pl.read_csv(folder / "open_interest_daily_btc.csv", comment_prefix="#")
    daily = (
        closes.with_columns(date=pl.col("time").dt.strftime("%Y-%m-%d"))
        .join(told, on="date")
        .select(
            time=pl.col("time") + timedelta(days=1), open_interest=pl.col("open_interest_usd") / pl.col("close")
        )
        .sort("time")
    )
    known = bars.join_asof(daily, on="time").drop_nulls("open_interest")
    return Market(known, description="hourly marks")


def main(folder: Path) -> None:
    """Print the tests."""
    market, venue = history(folder), Venue.load("binance")
    book = population.from_open_interest(market, venue, tiers="nearest").book
    grid = level_grid(
        market, SYMBOL, window=(FIRST_LOOK, END), prices=(3_500.0, 120_000.0), bins=1_000,
        columns=(END - FIRST_LOOK) // timedelta(hours=4), logarithmic=True,
    )  # fmt: skip
    levels = levels_of(book, market, venue, grid, tiers="nearest")
    print(f"{market!r}; {levels!r}; {len(book):,} cohorts")
    pl.Config.set_tbl_rows(20), pl.Config.set_tbl_cols(20), pl.Config.set_tbl_width_chars(160)
    for horizon in HORIZONS:
        pull = Pull(every=timedelta(hours=4), horizon=horizon)
        found = magnet(levels, market, seed=1, pull=pull, rule=Crowding(), length=BLOCK)
        print(f"horizon {horizon}, looks every 4 h, blocks of {BLOCK.days} days")
        print(found.select(pl.exclude("horizon", "block", "draws", "confidence")))


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
