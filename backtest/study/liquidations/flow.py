"""Liquidated flow: notional, counts and shares by time, side, leverage and price.

Every statistic is a sum over the liquidated rows of an outcome frame, scaled by ``weight`` where there is one (in
books that decay, by the weight that was left: ``surviving_weight``). Amounts are in settlement currency, rounded
to a ``unit`` of it and added up as whole numbers: no total depends on the order of the rows or the number of
threads. Shares are of the book: entry notional over the entry notional of *all* rows given, so they add up to the
share of the book that was liquidated. Of an estimated book that is everything that was ever opened;
``shares_of_open_interest`` gives shares of what was open at the time.

Functions also take condensed outcomes (``partial_sums.outcomes.condense``): the parts of a book too large for one
frame, added up, give the same figures to the last digit.

Outcomes carry the notional of each position at its entry (``entry_notional``) and how its contract pays
(``contract_kind``): frames without these columns are refused where they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from backtest.errors import ArgumentError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OPENED, Outcome
from backtest.study.liquidations.exact_sums import amount_of, check_condensed, count_of, in_units, weighted
from backtest.study.liquidations.grouping import interval, leverage, leverage_bucket, price_bin
from backtest.study.liquidations.open_shares import shares_of_open_interest
from backtest.study.liquidations.ranking import heaviest, ranks, run_ranks
from backtest.study.units import total

__all__ = [
    "by_interval",
    "concentration",
    "heaviest",
    "interval",
    "leverage",
    "leverage_bucket",
    "liquidated",
    "price_bin",
    "ranks",
    "run_ranks",
    "shares_of_open_interest",
    "summary",
    "tally",
]
__dir__ = __all__.copy

#: Prefixes of the columns of each side and of both.
PARTS = ("long_", "short_", "")


@checked
def liquidated(
    outcomes: pl.DataFrame,
    by: Sequence[str | pl.Expr],
    *,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the liquidated notional, count and shortfall by any keys.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    by : columns, or expressions such as ``interval``, ``leverage_bucket`` and ``price_bin``
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    The keys in order, then ``notional`` (at the fill), ``entry_notional``, ``count`` (positions times weight)
    and ``shortfall``. Groups in which nothing was liquidated are absent.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import liquidated
    >>> liquidated(outcomes, ["side"]).select("side", pl.col("notional").round(0), "count")
    shape: (2, 3)
    ┌───────┬──────────┬───────┐
    │ side  ┆ notional ┆ count │
    │ ---   ┆ ---      ┆ ---   │
    │ enum  ┆ f64      ┆ f64   │
    ╞═══════╪══════════╪═══════╡
    │ long  ┆ 994524.0 ┆ 201.0 │
    │ short ┆ 653866.0 ┆ 133.0 │
    └───────┴──────────┴───────┘
    """
    keys = [pl.col(key) if isinstance(key, str) else key for key in by]
    check_condensed(outcomes, unit, *keys)
    grouped = in_units(outcomes, unit).filter("liquidated").group_by(keys)
    sums = grouped.agg(
        notional=amount_of("fill_notional", unit),
        entry_notional=amount_of("entry_notional", unit),
        count=count_of(),
        shortfall=amount_of("shortfall", unit),
    )
    return sums.sort([key.meta.output_name() for key in keys]).collect()


@checked
def by_interval(
    outcomes: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    every: str = "1h",
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the liquidated flow of every interval, empty ones as zeros.

    Parameters
    ----------
    start, end : first and last moment of the window, both included; liquidations outside it are left out

    Returns
    -------
    ``time`` (start of the interval); ``long_notional``, ``short_notional``, ``notional`` at the fill;
    ``long_count``, ``short_count``, ``count``; ``long_share``, ``short_share``, ``share`` of the book.

    Examples
    --------
    >>> from backtest.study.liquidations import by_interval
    >>> by_interval(outcomes, start=noon, end=noon + timedelta(hours=2)).select("time", "notional", "count")
    shape: (3, 3)
    ┌─────────────────────────┬──────────┬───────┐
    │ time                    ┆ notional ┆ count │
    │ ---                     ┆ ---      ┆ ---   │
    │ datetime[ms, UTC]       ┆ f64      ┆ f64   │
    ╞═════════════════════════╪══════════╪═══════╡
    │ 2021-05-19 12:00:00 UTC ┆ 18414.22 ┆ 5.0   │
    │ 2021-05-19 13:00:00 UTC ┆ 66230.18 ┆ 2.0   │
    │ 2021-05-19 14:00:00 UTC ┆ 0.0      ┆ 0.0   │
    └─────────────────────────┴──────────┴───────┘
    """
    inside = pl.col("liquidated") & pl.col("outcome_time").is_between(start, end)
    check_condensed(outcomes, unit, interval(every), inside.alias("inside"))
    book = in_units(outcomes, unit)
    whole = book.select(amount_of("book_notional", unit)).collect().item()
    sums = {}
    for side in ("long", "short"):
        its_own = pl.col("side") == side
        sums[f"{side}_notional"] = amount_of("fill_notional", unit, its_own)
        sums[f"{side}_count"] = count_of(its_own)
        sums[f"{side}_share"] = amount_of("entry_notional", unit, its_own) / whole
    flow = book.filter(inside).group_by(interval(every)).agg(**sums)
    measures = ("notional", "count", "share")
    return (
        _intervals(start, end, every)
        .join(flow, on="time", how="left", maintain_order="left")
        .fill_null(0.0)
        .with_columns(**{name: pl.col(f"long_{name}") + pl.col(f"short_{name}") for name in measures})
        .select("time", *(f"{part}{name}" for name in measures for part in PARTS))
        .collect()
    )


@checked
def concentration(
    outcomes: pl.DataFrame,
    every: str = "1h",
    *,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the share of the largest row in each interval's liquidated entry notional.

    Where sizes have heavy tails an interval can be heavy because of one position: its rank means little then.

    Returns
    -------
    ``time`` and ``largest_share`` (0 to 1), in order of time; intervals without liquidations are absent.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import concentration
    >>> concentration(outcomes, "1d").with_columns(pl.col("largest_share").round(2)).head(2)
    shape: (2, 2)
    ┌─────────────────────────┬───────────────┐
    │ time                    ┆ largest_share │
    │ ---                     ┆ ---           │
    │ datetime[ms, UTC]       ┆ f64           │
    ╞═════════════════════════╪═══════════════╡
    │ 2021-05-10 00:00:00 UTC ┆ 0.7           │
    │ 2021-05-11 00:00:00 UTC ┆ 0.95          │
    └─────────────────────────┴───────────────┘
    """
    check_condensed(outcomes, unit, interval(every))
    rows = in_units(outcomes, unit).filter("liquidated").group_by(interval(every))
    share = pl.col("largest_units").max() / total(pl.col("entry_notional_units"))
    return rows.agg(largest_share=share).sort("time").collect()


@checked
def tally(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return every ``outcome`` with its ``count`` (positions times weight) and ``share`` of the positions opened.

    Examples
    --------
    >>> from backtest.study.liquidations import tally
    >>> tally(outcomes).filter(pl.col("count") > 0)
    shape: (3, 3)
    ┌────────────┬───────┬───────┐
    │ outcome    ┆ count ┆ share │
    │ ---        ┆ ---   ┆ ---   │
    │ enum       ┆ f64   ┆ f64   │
    ╞════════════╪═══════╪═══════╡
    │ liquidated ┆ 334.0 ┆ 0.334 │
    │ exited     ┆ 601.0 ┆ 0.601 │
    │ open       ┆ 65.0  ┆ 0.065 │
    └────────────┴───────┴───────┘
    """
    kind = outcomes.schema["outcome"]  # a replay's are more than a sweep's
    every = pl.LazyFrame({"outcome": (kind if isinstance(kind, pl.Enum) else Outcome).categories.cast(kind)})
    counts = weighted(outcomes).group_by("outcome").agg(count=count_of())
    full = every.join(counts, on="outcome", how="left", maintain_order="left").fill_null(0.0)
    share = pl.when(OPENED).then(pl.col("count") / pl.col("count").filter(OPENED).sum())
    return full.with_columns(share=share).collect()


@checked
def summary(outcomes: pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the totals of a run in one row.

    Returns
    -------
    ``positions`` opened (times weight) and their ``book_notional`` at entry; of these ``liquidated``,
    ``liquidated_share`` by count, ``notional_share`` by entry notional (of an estimated book: of everything ever
    opened) and ``long_part`` of that share which was
    long; ``liquidated_notional`` at the fill, ``long_share`` of it; ``shortfall`` of the liquidated;
    ``certainly_liquidated``, ``possibly_liquidated``, ``ambiguous``, ``unknown`` and ``rejected`` counts. A share
    of nothing is NaN.

    Examples
    --------
    >>> from backtest.study.liquidations import summary
    >>> summary(outcomes).select("positions", "liquidated", pl.col("liquidated_share", "notional_share").round(3))
    shape: (1, 4)
    ┌───────────┬────────────┬──────────────────┬────────────────┐
    │ positions ┆ liquidated ┆ liquidated_share ┆ notional_share │
    │ ---       ┆ ---        ┆ ---              ┆ ---            │
    │ f64       ┆ f64        ┆ f64              ┆ f64            │
    ╞═══════════╪════════════╪══════════════════╪════════════════╡
    │ 1000.0    ┆ 334.0      ┆ 0.334            ┆ 0.059          │
    └───────────┴────────────┴──────────────────┴────────────────┘
    """
    gone = pl.col("liquidated")
    gone_long = gone & (pl.col("side") == "long")
    flow = amount_of("fill_notional", unit, gone)
    book = amount_of("book_notional", unit, OPENED)
    opened = count_of(OPENED, of="opened")
    check_condensed(outcomes, unit)
    totals = in_units(outcomes, unit).select(
        positions=opened,
        book_notional=book,
        liquidated=count_of(gone),
        liquidated_share=count_of(gone) / opened,
        notional_share=amount_of("entry_notional", unit, gone) / book,
        long_part=amount_of("entry_notional", unit, gone_long) / amount_of("entry_notional", unit, gone),
        liquidated_notional=flow,
        long_share=amount_of("fill_notional", unit, gone_long) / flow,
        shortfall=amount_of("shortfall", unit, gone),
        certainly_liquidated=count_of(pl.col("certainly_liquidated")),
        possibly_liquidated=count_of(pl.col("possibly_liquidated")),
        ambiguous=count_of(pl.col("ambiguous")),
        unknown=count_of(pl.col("outcome") == "unknown"),
        rejected=count_of(~OPENED),
    )
    return totals.collect()


def _intervals(start: datetime, end: datetime, every: str) -> pl.LazyFrame:
    if end < start:
        raise ArgumentError(f"the window must not end before it starts: {start} to {end}")
    first, last = (pl.lit(moment).dt.cast_time_unit("ms").dt.truncate(every) for moment in (start, end))
    return pl.select(time=pl.datetime_range(first, last, every)).lazy()
