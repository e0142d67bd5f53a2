"""Quality report of a price history: gaps, flat runs, jumps, missing funding, prices that disagree.

A report changes nothing in the data. Its thresholds are settings: a jump may be the crash under study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.market.repairs import Repairs
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time

__all__ = ["CHECKS", "Limits", "report", "summary"]
__dir__ = __all__.copy

#: The checks of a report, in the order of its rows.
CHECKS = {
    "gap": "bars missing",
    "funding": "no funding for longer than a venue goes without",
    "flat": "one price throughout, bar after bar",
    "jump": "close far from the close before",
    "index": "mark far from the index price",
    "last": "mark far from the last price",
    "reference": "mark far from the reference given",
    "repair": "rows repaired when they were read",
}

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "symbol": pl.String,
    "check": pl.Enum(list(CHECKS)),
    "start": Time,
    "end": Time,
    "bars": pl.Int64,
    "worst": pl.Float64,
    "note": pl.String,
}

#: Parts of two prices that are compared, bar by bar: a wick shows in the low or high, not in open or close.
EXTREMES = ("low", "high", "close")

#: How late a funding stamp may be.
LATE = timedelta(minutes=1)

#: Median absolute deviation to standard deviation, of a normal distribution.
TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class Limits:
    """Thresholds from which a finding is reported."""

    flat_bars: int = 30  #: bars of one price in a row
    jump_deviations: float = 15.0  #: in standard deviations of the symbol's returns, from their median size
    jump: float = 0.01  #: and at least this return
    distance: float = 0.01  #: between two prices, as a fraction
    funding_hours: float = 8.0  #: longest time between two funding stamps

    def __post_init__(self) -> None:
        for name in ("flat_bars", "jump_deviations", "jump", "distance", "funding_hours"):
            if not getattr(self, name) > 0:
                raise ArgumentError(f"must be above zero, is {getattr(self, name)}", argument=name)


@checked
def report(
    market: Market,
    *,
    span: tuple[datetime, datetime] | None = None,
    reference: Market | None = None,
    repairs: Mapping[str, Repairs] | None = None,
    limits: Limits | None = None,
) -> pl.DataFrame:
    """Return all findings, a stretch of time a row: ``symbol, check, start, end, bars, worst, note``.

    Parameters
    ----------
    market : the history; where it has index and last prices the mark is compared with them
    span : the times between which bars are expected; None: from the first bar to the last
    reference : another history, such as spot, whose prices the mark is compared with
    repairs : counts of repairs when the rows of each symbol were read
    limits : thresholds from which a finding is reported

    Returns
    -------
    One row a stretch, by symbol, check and time. ``bars``: number of bars in it, or missing; of repairs, rows.
    ``worst``: the largest log return or log distance in it, null where none is measured. Repairs have no times.

    Examples
    --------
    >>> from backtest.market import quality
    >>> report = quality.report(bars.filter(pl.col("time").dt.day() != 15))
    >>> report.select("symbol", "check", "bars").rows()
    [('BTCUSDT', 'gap', 24)]
    """
    limits = limits or Limits()
    bars = _prepared(market)
    found = [_gaps(market), _flat(bars, limits), _jumps(bars, limits)]
    if span is not None:
        found += [_before(bars, span[0]), _after(bars, span[1])]
    if market.funding is not None:
        found.append(_without_funding(bars, market.funding.lazy(), limits))
    there = (name for name in ("index", "last") if market.has(name))
    found += [_distances(bars, name, limits) for name in there]
    if reference is not None:
        prices = (pl.col(part).alias(f"reference_{part}") for part in EXTREMES)
        other = reference.bars.lazy().select("symbol", "time", *prices)
        both = bars.join(other, on=["symbol", "time"], how="left", maintain_order="left")
        found.append(_distances(both, "reference", limits))
    found.append(_repairs(repairs or {}, market))
    order = pl.col("symbol").cast(pl.Enum(_symbols(market, repairs)))
    return pl.concat(found).sort(order, "check", "start", maintain_order=True).collect()


@checked
def summary(found: pl.DataFrame) -> pl.DataFrame:
    """Return ``symbol, check, stretches, bars, longest, worst``: a row a symbol and check with findings.

    Examples
    --------
    >>> from backtest.market import quality
    >>> report = quality.report(bars.filter(pl.col("time").dt.day() != 15))
    >>> quality.summary(report).select("check", "stretches", "bars", "longest")
    shape: (1, 4)
    ┌───────┬───────────┬──────┬──────────────┐
    │ check ┆ stretches ┆ bars ┆ longest      │
    │ ---   ┆ ---       ┆ ---  ┆ ---          │
    │ enum  ┆ u32       ┆ i64  ┆ duration[ms] │
    ╞═══════╪═══════════╪══════╪══════════════╡
    │ gap   ┆ 1         ┆ 24   ┆ 1d           │
    └───────┴───────────┴──────┴──────────────┘
    """
    return found.group_by("symbol", "check", maintain_order=True).agg(
        stretches=pl.len(),
        bars=pl.col("bars").sum(),
        longest=(pl.col("end") - pl.col("start")).max(),
        worst=pl.col("worst").sort_by(pl.col("worst").abs(), nulls_last=False).last(),
    )


def _symbols(market: Market, repairs: Mapping[str, Repairs] | None) -> list[str]:
    return list(dict.fromkeys([*market.symbols, *(repairs or {})]))


def _prepared(market: Market) -> pl.LazyFrame:
    """Return the bars with the interval of their symbol, the close before, and whether a gap lies before."""
    intervals = pl.DataFrame({"symbol": list(market.symbols), "interval": market.intervals}).lazy()
    step = pl.col("time").dt.epoch("ms").diff().over("symbol")
    return (
        market.bars.lazy()
        .join(intervals, on="symbol", maintain_order="left")
        .with_columns(follows=(step == pl.col("interval")).fill_null(False))
        .with_columns(before=pl.when("follows").then(pl.col("close").shift(1).over("symbol")))
    )


def _gaps(market: Market) -> pl.LazyFrame:
    gaps = market.gaps().lazy()
    return _as_found(gaps.with_columns(bars="missing_bars", worst=pl.lit(None, pl.Float64)), "gap")


def _before(bars: pl.LazyFrame, start: datetime) -> pl.LazyFrame:
    """Return the gap between the start of the span and the first bar of each symbol."""
    first = bars.group_by("symbol", maintain_order=True).agg(
        pl.col("interval").first(), end=pl.col("time").first()
    )
    return _missing(first.with_columns(start=pl.lit(start).cast(Time)))


def _after(bars: pl.LazyFrame, end: datetime) -> pl.LazyFrame:
    """Return the gap between the last bar of each symbol and the end of the span."""
    return _missing(_closes(bars).with_columns(end=pl.lit(end).cast(Time)).rename({"close_time": "start"}))


def _missing(stretches: pl.LazyFrame) -> pl.LazyFrame:
    missing = (pl.col("end") - pl.col("start")).dt.total_milliseconds() // pl.col("interval")
    counted = stretches.with_columns(bars=missing, worst=pl.lit(None, pl.Float64))
    return _as_found(counted.filter(pl.col("bars") > 0), "gap")


def _closes(bars: pl.LazyFrame) -> pl.LazyFrame:
    """Return symbol, interval, and when the last bar of each closed."""
    close = (pl.col("time").last().dt.epoch("ms") + pl.col("interval").last()).cast(Time)
    return bars.group_by("symbol", maintain_order=True).agg(pl.col("interval").last(), close_time=close)


def _without_funding(bars: pl.LazyFrame, funding: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    """Return the stretches between two stamps, or an end of the bars and a stamp, that are too long."""
    opens = bars.group_by("symbol", maintain_order=True).agg(pl.col("time").first(), pl.col("interval").first())
    closes = _closes(bars)
    inside = funding.join(opens.select("symbol", "interval", open_time="time"), on="symbol")
    inside = inside.join(closes.select("symbol", "close_time"), on="symbol")
    inside = inside.filter(pl.col("time").is_between("open_time", "close_time"))
    columns = ("symbol", "time", "interval")
    ends = [opens.select(columns), inside.select(columns), closes.rename({"close_time": "time"}).select(columns)]
    stamps = pl.concat(ends).sort("symbol", "time").with_columns(start=pl.col("time").shift(1).over("symbol"))
    without = pl.col("time") - pl.col("start")
    long = stamps.filter(without > timedelta(hours=limits.funding_hours) + LATE)
    bars_in = without.dt.total_milliseconds() // pl.col("interval")
    return _as_found(long.with_columns(bars=bars_in, worst=pl.lit(None, pl.Float64), end="time"), "funding")


def _flat(bars: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    same = (pl.col("high") == pl.col("low")) & (pl.col("close") == pl.col("before"))
    stretches = _stretches(bars, same.fill_null(False), pl.lit(None, pl.Float64), "flat")
    return stretches.filter(pl.col("bars") >= limits.flat_bars)


def _jumps(bars: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    change = (pl.col("close") / pl.col("before")).log()
    deviation = TO_DEVIATION * change.abs().median().over("symbol")
    limit = pl.max_horizontal(limits.jump_deviations * deviation, pl.lit(limits.jump))
    return _stretches(bars, (change.abs() >= limit).fill_null(False), change, "jump")


def _distances(bars: pl.LazyFrame, check: str, limits: Limits) -> pl.LazyFrame:
    """Return where the mark is far from the price that the check is named after, in low, high or close."""
    low, high, close = ((pl.col(part) / pl.col(f"{check}_{part}")).log() for part in EXTREMES)
    wider = pl.when(low.abs() >= high.abs()).then(low).otherwise(high)
    distance = pl.when(wider.abs() >= close.abs()).then(wider).otherwise(close)
    far = (distance.abs() >= limits.distance).fill_null(False)
    return _stretches(bars, far, distance, check)


def _stretches(bars: pl.LazyFrame, flag: pl.Expr, value: pl.Expr, check: str) -> pl.LazyFrame:
    """Return the runs of flagged bars that follow one another, with the largest value of each."""
    marked = bars.with_columns(flag=flag, value=value)
    begins = pl.col("flag") & (~pl.col("follows") | ~pl.col("flag").shift(1, fill_value=False))
    runs = marked.with_columns(run=begins.cum_sum().over("symbol")).filter("flag")
    found = runs.group_by("symbol", "run", maintain_order=True).agg(
        start=pl.col("time").first(),
        end=(pl.col("time").last().dt.epoch("ms") + pl.col("interval").last()).cast(Time),
        bars=pl.len(),
        worst=pl.col("value").sort_by(pl.col("value").abs()).last(),
    )
    return _as_found(found, check)


def _repairs(repairs: Mapping[str, Repairs], market: Market) -> pl.LazyFrame:
    late = _late(market)
    rows = [
        (symbol, "repair", None, None, row["rows"], None, row["meaning"])
        for symbol in dict.fromkeys([*repairs, *late])
        for own in [repairs.get(symbol, Repairs()) + late.get(symbol, Repairs())]
        for row in own.frame().iter_rows(named=True)
    ]
    return pl.LazyFrame(rows, schema=SCHEMA, orient="row")


def _late(market: Market) -> dict[str, Repairs]:
    """Return the number of funding stamps of each symbol that the market moves back."""
    if market.funding is None:
        return {}
    moved = pl.Series(market.charge_times) != market.funding["time"].to_physical()
    counts = market.funding.group_by("symbol", maintain_order=True).agg(late=moved.sum())
    return {symbol: Repairs({"late": late}) for symbol, late in counts.iter_rows() if late}


def _as_found(frame: pl.LazyFrame, check: str) -> pl.LazyFrame:
    found = frame.with_columns(check=pl.lit(check, SCHEMA["check"]), note=pl.lit(""))
    return found.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
