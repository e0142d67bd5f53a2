"""Can the next hour's liquidations be seen coming, and by more than realised volatility?

``python benchmarks/foresight.py ../shared/data`` needs hourly marks, hourly volume, funding and daily open
interest of BTC, which are not part of the project; ``--write`` puts the table into ``benchmarks/README.md``.
Hourly recorded liquidations are not to be had, so the labels are those of a *hidden truth*: a synthetic book of a
million positions entered as volume went, of another leverage mix and with holding times, while the crowding
indicators look at the book behind open interest. Open interest is each day's last figure known, never drawn out to
the next. Volatility and volume of a few hours stand beside the baseline, a day's volatility: they are as plain.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from tables import Table, machine, write

from backtest import Market, Venue, population
from backtest.study.prediction import crowding, indicators
from backtest.study.prediction.evaluate import Trial
from backtest.study.prediction.labels import hidden_truth

SYMBOL, TIERS = "BTCUSDT", "nearest"
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 11, 20, tzinfo=UTC)
TRUTH, SEED = 1_000_000, 20210519
SHORT = timedelta(hours=6)


def history(folder: Path) -> Market:
    """Return hourly bars with volume and the last open interest known at each bar's close."""
    own = pl.col("symbol") == SYMBOL
    volume = pl.read_parquet(folder / "last_1h.parquet").select("symbol", "time", "volume")
    bars = pl.read_parquet(folder / "mark_1h.parquet").filter(own, pl.col("time").is_between(START, END))
    bars = bars.join(volume, on=["symbol", "time"]).sort("time")
    interest = pl.read_csv(folder / "open_interest_daily_btc.csv", comment_prefix="#", try_parse_dates=True)
    closes = (
        bars.group_by_dynamic("time", every="1d").agg(pl.last("close")).with_columns(date=pl.col("time").dt.date())
    )
    known = (
        closes.join(interest, on="date")
        .select(
            time=pl.col("time") + timedelta(days=1), open_interest=pl.col("open_interest_usd") / pl.col("close")
        )
        .sort("time")
    )
    stood = bars.sort("time").join_asof(known, on="time").drop_nulls("open_interest")
    return Market(stood, pl.read_parquet(folder / "funding_8h.parquet").filter(own), description="hourly marks")


def bench(folder: Path) -> Table:
    """Score every indicator on the hours to come."""
    market, venue = history(folder), Venue.load("binance")
    truth = population.synthetic(market, venue, count=TRUTH, seed=SEED, tiers=TIERS)
    trial = Trial(hidden_truth(truth, market, venue, tiers=TIERS))
    stood = population.from_open_interest(market, venue, tiers=TIERS).book
    levels = crowding.levels(stood, market, venue, tiers=TIERS)
    baseline = indicators.from_bars(market, indicators.realised_volatility())
    traded = (pl.col("volume") * pl.col("close")).rolling_mean_by("time", SHORT)
    candidates = [
        indicators.from_bars(market, indicators.realised_volatility(SHORT), name="realised volatility, 6 hours"),
        indicators.from_bars(market, traded, name="volume in dollars, 6 hours"),
        indicators.from_funding(market, indicators.funding_z_score()),
        indicators.from_bars(market, indicators.open_interest_over_volume("futures")),
        crowding.crowding(levels, 0.02, measure="share"),
        crowding.crowding(levels, 0.05, measure="share"),
        crowding.liquidation_at_risk(levels, measure="share"),
    ]
    combined = trial.combined("all of them and volatility", [baseline, *candidates])
    scores = trial.scores([*candidates, combined], baseline=baseline, seed=1)
    beside = trial.scores(candidates[-1:], baseline=candidates[1], seed=1).row(0, named=True)
    one = scores.row(0, named=True)
    about = (
        f"BTC, {one['intervals']:,} hours of {START:%Y} to {END:%Y}, {one['exceeding']:,} of them above the 95 % "
        f"quantile of a hidden truth book; {one['splits']} splits, purged and embargoed by a day; bands over "
        f"{one['blocks']} fortnights ({one['effective_blocks']:.0f} effective). Realised volatility of a day "
        f"alone: {one['baseline_area']:.3f} ({one['baseline_area_low']:.3f} to {one['baseline_area_high']:.3f}). "
        f"{beside['indicator'].capitalize()}, over the volume of 6 hours: {beside['difference']:+.3f} "
        f"({beside['difference_low']:+.3f} to {beside['difference_high']:+.3f})."
    )
    table = Table(
        "The next hour's liquidations: area under the curve",
        "indicator", "area", "band", "over volatility alone", "band", about=about,
    )  # fmt: skip
    for row in scores.iter_rows(named=True):
        table.add(
            row["indicator"], f"{row['area']:.3f}", f"{row['area_low']:.3f} to {row['area_high']:.3f}",
            f"{row['difference']:+.3f}", f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}",
        )  # fmt: skip
    print(about)
    return table


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked = parser.parse_args()
    table = bench(asked.folder)
    if asked.write:
        write([table], machine())


if __name__ == "__main__":
    main()
