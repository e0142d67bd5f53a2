"""The open-interest book against recorded daily liquidations, beside what prices and volume alone tell.

``python benchmarks/recorded.py ../shared/data`` needs hourly marks, hourly volume, funding, daily open interest
and daily recorded liquidations of one venue, which are not part of the project. Nothing is fitted: the turnover
and the leverage mix are the package's defaults, and a table shows how the answer moves with them.

Recorded days run from 2020-12-23 to 2021-04-26, before the venue cut its feed to one order a second. Open interest
is that of all venues, in dollars at the day's end; it is divided by the day's close and drawn out linearly between
days. The volume is one venue's. Ranks do not care about either scale.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from backtest import Market, Venue, population, sweep
from backtest.study import flow
from backtest.study.bootstrap import Band, resampling

SYMBOL = "BTCUSDT"
START, END = datetime(2020, 9, 1, tzinfo=UTC), datetime(2021, 6, 30, tzinfo=UTC)
FIRST_DAY, LAST_DAY = "2020-12-23", "2021-04-26"
TURNOVERS = (0.02, 0.05, 0.1, 0.2, 0.4)
MIXES = {
    "default": population.NOTIONAL_MIX,
    "lower": {2.0: 0.5, 3.0: 0.3, 5.0: 0.15, 10.0: 0.05},
    "higher": {5.0: 0.3, 10.0: 0.3, 20.0: 0.2, 50.0: 0.15, 100.0: 0.05},
}
PLAIN = ("volume", "open_to_low", "product")
WEEK = timedelta(days=7)


def history(folder: Path) -> Market:
    """Return hourly bars with volume and open interest in base units."""
    bars = (
        pl.read_parquet(folder / "mark_1h.parquet")
        .filter(pl.col("symbol") == SYMBOL, pl.col("time").is_between(START, END))
        .join(
            pl.read_parquet(folder / "last_1h.parquet").select("symbol", "time", "volume"), on=["symbol", "time"]
        )
        .sort("time")
    )
    interest = pl.read_csv(folder / "open_interest_daily_btc.csv", comment_prefix="#")
    daily = (
        by_day(bars)
        .join(interest, on="date")
        .with_columns(base=pl.col("open_interest_usd") / pl.col("close"), end=pl.col("time") + timedelta(days=1))
    )
    hours = (bars["time"] + timedelta(hours=1)).dt.epoch("ms").to_numpy()
    drawn_out = np.interp(hours, daily["end"].dt.epoch("ms").to_numpy(), daily["base"].to_numpy())
    funding = pl.read_parquet(folder / "funding_8h.parquet")
    return Market(bars.with_columns(open_interest=pl.Series(drawn_out)), funding, description="hourly marks")


def by_day(bars: pl.DataFrame) -> pl.DataFrame:
    """Return daily bars with the date as text."""
    return (
        bars.group_by_dynamic("time", every="1d")
        .agg(pl.first("open"), pl.min("low"), pl.max("high"), pl.last("close"), pl.sum("volume"))
        .with_columns(date=pl.col("time").dt.strftime("%Y-%m-%d"))
    )


def estimated(market: Market, venue: Venue, turnover: float, mix: dict[float, float]) -> pl.DataFrame:
    """Return what the book behind the open interest loses each day."""
    stood = population.from_open_interest(market, venue, turnover=turnover, leverage_mix=mix, tiers="nearest")
    outcomes = sweep(stood.book, market, venue, tiers="nearest")
    daily = flow.by_interval(outcomes, start=START, end=END, every="1d")
    return daily.with_columns(date=pl.col("time").dt.strftime("%Y-%m-%d"))


def rank_correlation(one: str, other: str = "long_usd"):
    """Return Spearman's correlation of two columns as a statistic of a frame."""
    return lambda frame: frame.select(pl.corr(one, other, method="spearman")).item()


def main(folder: Path) -> None:
    """Print the comparison."""
    market, venue = history(folder), Venue.load("binance")
    recorded = pl.read_csv(folder / "liquidations_daily_binance_btc.csv", comment_prefix="#")
    plain = by_day(market.bars).with_columns(
        volume=pl.col("volume") * pl.col("close"),
        open_to_low=1 - pl.col("low") / pl.col("open"),
        product=pl.col("volume") * pl.col("close") * (1 - pl.col("low") / pl.col("open")),
    )
    window = recorded.filter(pl.col("date").is_between(pl.lit(FIRST_DAY), pl.lit(LAST_DAY)))
    days = window.join(plain, on="date").sort("time")
    model = estimated(market, venue, 0.05, population.NOTIONAL_MIX)
    days = days.join(model.select("date", "long_notional", "short_notional"), on="date").sort("time")
    plan = resampling(days["time"], seed=1, length=WEEK)

    def banded(statistic) -> Band:
        return plan.band(plan.of_frame(days, statistic, time="time"))

    print(f"{days.height} days; rank correlation with recorded liquidated longs (bands: {WEEK.days}-day blocks)")
    for name in (*PLAIN, "long_notional"):
        print(f"  {name:14} {banded(rank_correlation(name))}")
    best = max(PLAIN, key=lambda name: rank_correlation(name)(days))
    ours = plan.of_frame(days, rank_correlation("long_notional"), time="time")
    theirs = plan.of_frame(days, rank_correlation(best), time="time")
    print(f"  improvement over {best}: {plan.band(ours - theirs)}")
    print(f"  shorts: {banded(rank_correlation('short_notional', 'short_usd'))}")
    top = [set(days.sort(name, descending=True)["date"][:10]) for name in ("long_usd", "long_notional", best)]
    print(
        f"  ten heaviest days shared with the record: model {len(top[0] & top[1])}, {best} {len(top[0] & top[2])}"
    )
    share = days.select(pl.sum("long_usd") / (pl.sum("long_usd") + pl.sum("short_usd"))).item()
    told = days.select(pl.sum("long_notional") / (pl.sum("long_notional") + pl.sum("short_notional"))).item()
    print(f"  long share of notional: recorded {share:.3f}, model {told:.3f}")

    print("sensitivity: turnover, mix, correlation of longs, 19 May 2021 longs and shorts ($ bn, all venues, BTC)")
    for mix_name, mix in MIXES.items():
        for turnover in TURNOVERS:
            daily = estimated(market, venue, turnover, mix)
            joined = days.select("date", "long_usd").join(daily, on="date")
            crash = daily.filter(pl.col("date") == "2021-05-19")
            print(
                f"  {turnover:4} {mix_name:8} {rank_correlation('long_notional')(joined):.3f} "
                f"{crash['long_notional'][0] / 1e9:6.2f} {crash['short_notional'][0] / 1e9:6.2f}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
