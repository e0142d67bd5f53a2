"""Estimated books against recorded daily liquidations, beside what hourly prices and volume suggest alone.

``python benchmarks/recorded.py ../shared/data`` needs hourly marks, hourly volume, funding, daily open interest
and daily recorded liquidations of one venue, which are not part of the project; ``--write`` puts the tables into
``benchmarks/README.md``. Nothing is fitted: the turnover and the leverage mix are the package's defaults, and
tables show how the answer moves with them.

Recorded days run from 2020-12-23 to 2021-04-26, before the venue cut its feed to one order a second. Open interest
is that of all venues, in dollars at the day's end; it is divided by the day's close and drawn out linearly between
days, which knows the day's end before it comes: two other readings of it stand beside. The volume is one venue's.
Ranks do not care about either scale.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tables import Table, machine, write

from backtest import Market, Venue, population, sweep
from backtest.study.liquidations import flow
from backtest.study.stats.bands import Band
from backtest.study.stats.bootstrap import resampling

SYMBOL = "BTCUSDT"
START, END = datetime(2020, 9, 1, tzinfo=UTC), datetime(2021, 6, 30, tzinfo=UTC)
FIRST_DAY, LAST_DAY, CRASH = "2020-12-23", "2021-04-26", "2021-05-19"
TURNOVER = 0.05
TURNOVERS = (0.02, 0.05, 0.1, 0.2, 0.4)
MIXES = {
    "default": population.NOTIONAL_MIX,
    "lower": {2.0: 0.5, 3.0: 0.3, 5.0: 0.15, 10.0: 0.05},
    "higher": {5.0: 0.3, 10.0: 0.3, 20.0: 0.2, 50.0: 0.15, 100.0: 0.05},
}
SIDES = ("long", "short")
PLAIN = ("volume", "move", "product", "hourly_product")
BOOKS = ("interest", "volume_book")
BLOCKS = (timedelta(days=7), timedelta(days=14))
BILLION = 1e9

#: How the day's figure is read between days: drawn out to its end, known at its beginning, as if it stood still.
READINGS: Mapping[str, Callable[[pl.DataFrame, np.ndarray], np.ndarray]] = {
    "drawn out between days": lambda daily, hours: np.interp(hours, _ends(daily), daily["base"].to_numpy()),
    "held from the day before": lambda daily, hours: daily["base"].to_numpy()[
        np.maximum(np.searchsorted(_ends(daily), hours, side="left") - 1, 0)
    ],
    "held constant throughout": lambda daily, hours: np.full(hours.size, daily["base"].mean()),
}
DRAWN_OUT = "drawn out between days"


def history(folder: Path, reading: str = DRAWN_OUT) -> Market:
    """Return hourly bars with volume and open interest in base units."""
    volume = pl.read_parquet(folder / "last_1h.parquet").select("symbol", "time", "volume")
    bars = (
        pl.read_parquet(folder / "mark_1h.parquet")
        .filter(pl.col("symbol") == SYMBOL, pl.col("time").is_between(START, END))
        .join(volume, on=["symbol", "time"])
        .sort("time")
    )
    interest = pl.read_csv(folder / "open_interest_daily_btc.csv", comment_prefix="#")
    daily = by_day(bars).join(interest, on="date").with_columns(base=pl.col("open_interest_usd") / pl.col("close"))
    hours = (bars["time"] + timedelta(hours=1)).dt.epoch("ms").to_numpy()
    funding = pl.read_parquet(folder / "funding_8h.parquet")
    stood = pl.Series(READINGS[reading](daily, hours))
    return Market(bars.with_columns(open_interest=stood), funding, description="hourly marks")


def by_day(bars: pl.DataFrame) -> pl.DataFrame:
    """Return daily bars with the date as text."""
    return (
        bars.group_by_dynamic("time", every="1d")
        .agg(pl.first("open"), pl.min("low"), pl.max("high"), pl.last("close"), pl.sum("volume"))
        .with_columns(date=pl.col("time").dt.strftime("%Y-%m-%d"))
    )


def estimated(
    market: Market, turnover: float = TURNOVER, mix: str = "default", of: str = "interest"
) -> pl.DataFrame:
    """Return what the book behind open interest, or behind volume, loses each day."""
    venue = Venue.load("binance")
    if of == "interest":
        stood = population.from_open_interest(
            market, venue, turnover=turnover, leverage_mix=MIXES[mix], tiers="nearest"
        )
    else:
        stood = population.from_volume(market, venue, leverage_mix=MIXES[mix], tiers="nearest")
    outcomes = sweep(stood.book, market, venue, tiers="nearest")
    daily = flow.by_interval(outcomes, start=START, end=END, every="1d")
    return daily.with_columns(date=pl.col("time").dt.strftime("%Y-%m-%d"))


def plain(bars: pl.DataFrame) -> pl.DataFrame:
    """Return what prices and volume alone say of each day and side; hourly, as the books see the hours too."""
    traded = pl.col("volume") * pl.col("close")
    moves = {"long": 1 - pl.col("low") / pl.col("open"), "short": pl.col("high") / pl.col("open") - 1}
    hours = bars.group_by_dynamic("time", every="1d").agg(
        (traded * move).sum().alias(f"{side}_hourly_product") for side, move in moves.items()
    )
    days = by_day(bars)
    for side, move in moves.items():
        days = days.with_columns(
            traded.alias(f"{side}_volume"), move.alias(f"{side}_move"), (traded * move).alias(f"{side}_product")
        )
    return days.join(hours, on="time")


def rank_correlation(one: str, other: str = "long_usd") -> Callable[[pl.DataFrame], float]:
    """Return Spearman's correlation of two columns as a statistic of a frame."""
    return lambda frame: frame.select(pl.corr(one, other, method="spearman")).item()


def top_ten(days: pl.DataFrame, one: str, other: str) -> int:
    """Return how many of the ten heaviest days two columns share."""
    first, second = (set(days.sort(name, descending=True)["date"][:10]) for name in (one, other))
    return len(first & second)


def bench_ranks(days: pl.DataFrame, length: timedelta, side: str) -> Table:
    """Return how well each predictor ranks the recorded days, with bands from blocks of some length."""
    plan = resampling(days["time"], seed=1, length=length)
    about = (
        f"{days.height} days from {FIRST_DAY} to {LAST_DAY}, liquidated {side}s of BTC on one venue; 95 % bands, "
        f"the paired ones over the same drawn blocks; {plan.weights.size} blocks."
    )
    table = Table(
        f"Recorded liquidations of {side}s, blocks of {length.days} days",
        "predictor", "rank correlation", "band", "heaviest ten shared", about=about,
    )  # fmt: skip
    values, recorded = {}, f"{side}_usd"
    for name in (*PLAIN, *BOOKS):
        own = f"{side}_{name}"
        values[name] = plan.of_frame(days, rank_correlation(own, recorded), time="time")
        table.add(name, *_told(plan.band(values[name])), top_ten(days, recorded, own))
    best = max(PLAIN, key=lambda name: values[name][0])
    for name in BOOKS:
        table.add(f"{name} over {best}", *_told(plan.band(values[name] - values[best])), "")
    return table


def bench_readings(folder: Path, recorded: pl.DataFrame) -> Table:
    """Return what each reading of the open interest gives."""
    table = Table("Readings of daily open interest", "reading", "rank correlation", "19 May longs, $ bn", "shorts")
    for reading in READINGS:
        _add(table, [reading], estimated(history(folder, reading)), recorded)
    return table


def bench_assumptions(market: Market, recorded: pl.DataFrame) -> Table:
    """Return what each mix and turnover gives."""
    table = Table(
        "Turnover and leverage mix", "mix", "turnover", "rank correlation", "19 May longs, $ bn", "shorts"
    )
    for mix in MIXES:
        for turnover in TURNOVERS:
            _add(table, [mix, turnover], estimated(market, turnover, mix), recorded)
    return table


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked = parser.parse_args()
    market = history(asked.folder)
    recorded = pl.read_csv(asked.folder / "liquidations_daily_binance_btc.csv", comment_prefix="#").filter(
        pl.col("date").is_between(pl.lit(FIRST_DAY), pl.lit(LAST_DAY))
    )
    days = recorded.join(plain(market.bars), on="date").sort("time")
    for book in BOOKS:
        own = estimated(market, of=book).select(
            "date", *(pl.col(f"{side}_notional").alias(f"{side}_{book}") for side in SIDES)
        )
        days = days.join(own, on="date", maintain_order="left")
    found = [bench_ranks(days, length, side) for side in SIDES for length in BLOCKS]
    for name, one, other in (
        ("recorded", "long_usd", "short_usd"),
        *((b, f"long_{b}", f"short_{b}") for b in BOOKS),
    ):
        longs, shorts = days[one].sum(), days[other].sum()
        print(f"long share of notional, {name}: {longs / (longs + shorts):.3f}")
    found += [bench_readings(asked.folder, recorded), bench_assumptions(market, recorded)]
    if asked.write:
        write(found, machine())


def _ends(daily: pl.DataFrame) -> np.ndarray:
    return (daily["time"] + timedelta(days=1)).dt.epoch("ms").to_numpy()


def _told(band: Band) -> tuple[str, str]:
    return f"{band.estimate:.3f}", f"{band.low:.3f} to {band.high:.3f}"


def _add(table: Table, names: list[object], daily: pl.DataFrame, recorded: pl.DataFrame) -> None:
    crash = daily.filter(pl.col("date") == CRASH)
    ranked = rank_correlation("long_notional")(recorded.join(daily, on="date"))
    sides = (f"{crash[f'{side}_notional'][0] / BILLION:.2f}" for side in ("long", "short"))
    table.add(*names, f"{ranked:.3f}", *sides)


if __name__ == "__main__":
    main()
