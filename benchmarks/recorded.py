"""Estimated books against recorded daily liquidations, beside what hourly prices and volume suggest alone.

``python benchmarks/recorded.py ../shared/data`` needs hourly marks, hourly volume, funding, daily open interest
and daily recorded liquidations of one venue, which are not part of the project. Options name other files, another
symbol and another window; ``--write`` puts the tables into ``benchmarks/README.md``.

The default records are those of one venue from 2020-12-23 on; on 2021-04-27 it cut its feed to one order a
second, so later days are scored by ranks only. One mix of leverage is the package's default; another is fitted to
the first half of the days before the cut and judged on the second half, and on the days after it. Everything else
(opening share, holding time, damping, offset of the loss, blocks) was fixed before the second half was looked at;
that the book from volume is better than that from open interest was seen on all of these days. Open interest is
of all venues, in dollars at the day's end. Ranks do not care about its scale.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from tables import Table, machine, write

from backtest import Market, Venue, population, sweep
from backtest.population import NOTIONAL_MIX, MixBySide
from backtest.study.calibration import baselines, by_day, daily_records, fit, scores, validate

VENUE = Venue.load("binance")
CRASH = datetime(2021, 5, 19, tzinfo=UTC)
#: Bars before the first recorded day, so that the book is filled.
WARM_UP = timedelta(days=90)
TURNOVERS = (0.02, 0.05, 0.1, 0.2, 0.4)
MIXES = {
    "default": NOTIONAL_MIX,
    "lower": {2.0: 0.5, 3.0: 0.3, 5.0: 0.15, 10.0: 0.05},
    "higher": {5.0: 0.3, 10.0: 0.3, 20.0: 0.2, 50.0: 0.15, 100.0: 0.05},
}
READINGS: dict[str, Literal["linear", "previous"]] = {
    "drawn out between days": "linear",
    "held from the day before": "previous",
}
SEED, BILLION = 1, 1e9


def history(asked: argparse.Namespace) -> Market:
    """Return hourly bars with volume in base units, and funding."""
    of_symbol = pl.col("symbol") == asked.symbol
    volume = pl.read_parquet(asked.volume).filter(of_symbol).select("symbol", "time", "volume")
    bars = pl.read_parquet(asked.marks).filter(of_symbol).join(volume, on=["symbol", "time"]).sort("time")
    funding = pl.read_parquet(asked.funding).filter(of_symbol)
    return Market(bars, funding, description="hourly marks").select(None, asked.start - WARM_UP, None)


def lost(market: Market, name: str, *, of: str = "volume", **settings: object) -> pl.DataFrame:
    """Return what the book from volume, or behind open interest, loses each day."""
    estimate = population.from_volume if of == "volume" else population.from_open_interest
    book = estimate(market, VENUE, tiers="nearest", **settings).book
    return by_day(sweep(book, market, VENUE, tiers="nearest"), market, name=name)


def joined(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return predictors side by side."""
    first, *others = frames
    for other in others:
        first = first.join(other, on="time", how="left", maintain_order="left")
    return first


def bench_scores(title: str, recorded: pl.DataFrame, predicted: pl.DataFrame, **settings: object) -> Table:
    """Return how well each predictor ranks the days of each side, by period."""
    length = settings.get("length", timedelta(days=7))
    about = (
        "Spearman's correlation with the recorded notional of the side, its lead over the hourly product, and 95 "
        f"% bands from redrawn blocks of {length.days} days, the leads over the same drawn blocks."
    )
    table = Table(
        title, "side", "period", "days", "predictor", "correlation", "band", "over the hourly product", "band",
        about=about,
    )  # fmt: skip
    for row in scores(recorded, predicted, seed=SEED, **settings).iter_rows(named=True):
        alone = row["predictor"] == "hourly_product"
        lead = ("", "") if alone else (f"{row['lead']:+.3f}", _band(row, "lead_low", "lead_high"))
        own = (f"{row['correlation']:.3f}", _band(row, "low", "high"))
        table.add(row["side"], row["period"], row["days"], row["predictor"], *own, *lead)
    return table


def bench_fit(
    market: Market, first: pl.DataFrame, second: pl.DataFrame, file: Path | None
) -> tuple[list[Table], MixBySide]:
    """Return a mix fitted to the first days, how well they identify it, and its judgement on the second."""
    began = time.perf_counter()
    found = fit(first, market, VENUE, seed=SEED, tiers="nearest")
    seconds = time.perf_counter() - began
    about = f"{found.mix.provenance}. {seconds:.0f} s, {len(found.surface) // 2} mixes a side and 499 draws."
    fitted = Table("Leverage mix by side, fitted", "side", "parameter", "estimate", "band", "bounded", about=about)
    for row in found.bands.iter_rows(named=True):
        bounded = "no" if row["at_edge"] else "yes"
        fitted.add(row["side"], row["parameter"], f"{row['estimate']:.2f}", _band(row, "low", "high", 2), bounded)
    if file is not None:
        found.mix.save(file)
    judged = Table(
        "The fitted mix on days it was not fitted to", "side", "days", "correlation", "hourly product", "lead",
        "band of the lead", "sum over recorded", "days within a factor of two", "typical factor",
        about="Registered before these days were judged: the lower end of the lead's band was to be above -0.05.",
    )  # fmt: skip
    for row in validate(found.mix, second, market, VENUE, seed=SEED, tiers="nearest").iter_rows(named=True):
        ranks = (f"{row['correlation']:.3f}", f"{row['baseline']:.3f}", f"{row['lead']:+.3f}")
        amounts = (
            f"{row['book'] / row['recorded']:.2f}",
            f"{row['within_two']:.0%}",
            f"{row['typical_factor']:.2f}",
        )
        judged.add(row["side"], row["days"], *ranks, _band(row, "lead_low", "lead_high"), *amounts)
    return [fitted, judged], found.mix


def bench_assumptions(market: Market, daily: pl.DataFrame, recorded: pl.DataFrame) -> list[Table]:
    """Return what each reading, mix and turnover gives of the book behind open interest."""
    readings = Table(
        "Readings of daily open interest", "reading", "longs", "shorts", "19 May longs, $ bn", "shorts"
    )
    for name, between in READINGS.items():
        known = population.with_open_interest(market, daily, between=between)
        _add(readings, [name], lost(known, "book", of="interest"), recorded)
    known = population.with_open_interest(market, daily)
    table = Table(
        "Turnover and leverage mix behind open interest", "mix", "turnover", "longs", "shorts",
        "19 May longs, $ bn", "shorts",
    )  # fmt: skip
    for mix in MIXES:
        for turnover in TURNOVERS:
            settings = {"turnover": turnover, "leverage_mix": MIXES[mix]}
            _add(table, [mix, turnover], lost(known, "book", of="interest", **settings), recorded)
    return [readings, table]


def main() -> None:
    """Print the comparison."""
    asked = _options()
    market = history(asked)
    recorded = daily_records(pl.read_csv(asked.recorded, comment_prefix="#")).filter(
        pl.col("time").is_between(asked.start, asked.end)
    )
    clear = recorded.filter(pl.col("time") < asked.throttled_from)
    half = clear.height // 2
    found, mix = bench_fit(market, clear[:half], clear[half:], asked.mix)
    plain = baselines(market, recorded)
    books = [lost(market, "volume_book"), lost(market, "fitted_book", leverage_mix=mix)]
    daily = None
    if asked.open_interest.is_file():
        daily = pl.read_csv(asked.open_interest, comment_prefix="#")
        books.append(lost(population.with_open_interest(market, daily), "interest_book", of="interest"))
    predicted = joined([plain, *books])
    print_sums(clear, predicted)
    for days in (7, 14):
        title = f"Recorded days before the cut, blocks of {days} days"
        found.append(bench_scores(title, clear, predicted, length=timedelta(days=days)))
    found.append(bench_scores("The second half of them", clear[half:], predicted))
    by_period = {"by": "year", "throttled_from": asked.throttled_from}
    found.append(bench_scores("Recorded days by year, before and after the cut", recorded, predicted, **by_period))
    if daily is not None:
        found += bench_assumptions(market, daily, clear)
    if asked.write:
        write(found, machine())


def print_sums(recorded: pl.DataFrame, predicted: pl.DataFrame) -> None:
    """Print the long share of the notional, recorded and by the books, and the sums over the recorded ones."""
    days = recorded.join(predicted, on="time")
    for name in ("notional", "volume_book", "fitted_book", "interest_book"):
        if f"long_{name}" in days.columns:
            longs, shorts = days[f"long_{name}"].sum(), days[f"short_{name}"].sum()
            ratios = [longs / days["long_notional"].sum(), shorts / days["short_notional"].sum()]
            crash = predicted.filter(pl.col("time") == CRASH)
            there = crash[f"long_{name}"][0] / BILLION if name != "notional" and crash.height else np.nan
            print(
                f"{name}: long share {longs / (longs + shorts):.2f}, longs {ratios[0]:.2f} and shorts "
                f"{ratios[1]:.2f} of the recorded, 19 May longs {there:.2f} bn"
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the files that are not named")
    names = {
        "marks": "mark_1h.parquet",
        "volume": "last_1h.parquet",
        "funding": "funding_8h.parquet",
        "recorded": "liquidations_daily_binance_btc.csv",
        "open-interest": "open_interest_daily_btc.csv",
    }
    for name, file in names.items():
        parser.add_argument(f"--{name}", type=Path, help=f"file (default: {file} of the folder)")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--from", dest="start", type=_day, default="2020-12-23", help="first recorded day")
    parser.add_argument("--until", dest="end", type=_day, default="2025-05-12", help="last recorded day")
    parser.add_argument("--throttled-from", type=_day, default="2021-04-27", help="first day of a throttled feed")
    parser.add_argument("--mix", type=Path, metavar="FILE", help="write the fitted mix to this file")
    parser.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked = parser.parse_args()
    for name, file in names.items():
        key = name.replace("-", "_")
        setattr(asked, key, getattr(asked, key) or asked.folder / file)
    return asked


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _band(row: dict[str, float], low: str, high: str, decimals: int = 3) -> str:
    return f"{row[low]:.{decimals}f} to {row[high]:.{decimals}f}"


def _add(table: Table, names: list[object], daily: pl.DataFrame, recorded: pl.DataFrame) -> None:
    days = recorded.join(daily, on="time")
    pairs = ((f"{side}_notional", f"{side}_book") for side in ("long", "short"))
    ranked = [days.select(pl.corr(*pair, method="spearman")).item() for pair in pairs]
    crash = daily.filter(pl.col("time") == CRASH)
    sides = [f"{crash[f'{side}_book'][0] / BILLION:.2f}" if crash.height else "" for side in ("long", "short")]
    table.add(*names, *(f"{value:.3f}" for value in ranked), *sides)


if __name__ == "__main__":
    main()
