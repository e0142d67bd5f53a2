"""Liquidated flow: notional, counts and shares by time, side, leverage and price.

Every statistic is a sum over the liquidated rows of an outcome frame, scaled by ``weight`` where there is one (in
books that decay, by the weight that was left: ``surviving_weight``).
Amounts are in settlement currency, rounded to a ``unit`` of it and added up as whole numbers: no total depends on
the order of the rows or the number of threads. Shares are of the book: entry notional over the entry notional of
*all* rows given, so they add up to the share of the book that was liquidated.

Functions also take condensed outcomes (``partial_sums.outcomes.condense``): the parts of a book too large for one
frame, added up, give the same figures to the last digit.

Outcomes carry the notional of each position at its entry (``entry_notional``) and how its contract pays
(``contract_kind``): frames without these columns are refused where they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OPENED, Outcome
from backtest.study.units import WEIGHT_UNIT, in_currency, total, whole_units

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
    "summary",
    "tally",
]
__dir__ = __all__.copy

#: Leverage from which each bucket begins, up to the next.
LEVERAGE_EDGES = (5.0, 10.0, 20.0, 50.0, 100.0)

#: Prefixes of the columns of each side and of both.
PARTS = ("long_", "short_", "")

EVERY_ROW = pl.lit(True)


def interval(every: str = "1h") -> pl.Expr:
    """Return the start of the interval of each outcome, as ``time``.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import interval, liquidated
    >>> liquidated(outcomes, [interval("1d")]).height
    17
    """
    return pl.col("outcome_time").dt.truncate(every).alias("time")


def price_bin(width: float, price: str = "liquidation_price") -> pl.Expr:
    """Return the lower edge of the price bin [edge, edge + width) of each row, as ``price_bin``.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import liquidated, price_bin
    >>> liquidated(outcomes, [price_bin(5_000)]).select("price_bin", "count").head(3)
    shape: (3, 2)
    ┌───────────┬───────┐
    │ price_bin ┆ count │
    │ ---       ┆ ---   │
    │ f64       ┆ f64   │
    ╞═══════════╪═══════╡
    │ 25000.0   ┆ 1.0   │
    │ 30000.0   ┆ 35.0  │
    │ 35000.0   ┆ 119.0 │
    └───────────┴───────┘
    """
    return ((pl.col(price) / width).floor() * width).alias("price_bin")


def require(outcomes: pl.DataFrame, *names: str) -> None:
    """Refuse outcomes without columns that every sweep and replay writes.

    Raises
    ------
    DataError
        For the columns that are missing.
    """
    missing = [name for name in names if name not in outcomes.columns]
    if missing:
        raise DataError(
            f"outcomes must have {' and '.join(missing)}, which sweep, replay and sweep_accounts write: "
            "run the book again with this version, or keep the columns"
        )


@checked
def weight(outcomes: pl.DataFrame) -> pl.Expr:
    """Return the number of traders of each row, as ``weight``: one where the frame has no such column."""
    return (pl.col("weight") if "weight" in outcomes.columns else pl.lit(1.0)).alias("weight")


@checked
def leverage(outcomes: pl.DataFrame) -> pl.Expr:
    """Return the selected leverage, or entry notional over margin where only the margin is given.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import leverage
    >>> outcomes.select(leverage(outcomes).median()).item()
    15.5
    """
    if "leverage" in outcomes.columns:
        return pl.col("leverage")
    require(outcomes, "entry_notional")
    return (pl.col("entry_notional") / pl.col("margin")).alias("leverage")


def leverage_bucket(leverage: pl.Expr, edges: Sequence[float] = LEVERAGE_EDGES) -> pl.Expr:
    """Return the bucket [edge, next edge) of each leverage, as ``leverage_bucket``: an Enum in order.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import leverage, leverage_bucket
    >>> bucket = leverage_bucket(leverage(outcomes))
    >>> outcomes.group_by(bucket).agg(pl.col("liquidated").mean().round(2)).sort("leverage_bucket")
    shape: (6, 2)
    ┌─────────────────┬────────────┐
    │ leverage_bucket ┆ liquidated │
    │ ---             ┆ ---        │
    │ enum            ┆ f64        │
    ╞═════════════════╪════════════╡
    │ below 5x        ┆ 0.03       │
    │ 5x to 10x       ┆ 0.08       │
    │ 10x to 20x      ┆ 0.22       │
    │ 20x to 50x      ┆ 0.48       │
    │ 50x to 100x     ┆ 0.78       │
    │ 100x and more   ┆ 0.89       │
    └─────────────────┴────────────┘
    """
    buckets = bucket_type(edges)
    *below, highest = [pl.lit(label, buckets) for label in buckets.categories]  # 20 times as fast as by their text
    each = (pl.when(leverage < edge).then(bucket) for edge, bucket in zip(edges, below, strict=True))
    return pl.coalesce(*each, highest).alias("leverage_bucket")


def bucket_type(edges: Sequence[float] = LEVERAGE_EDGES) -> pl.Enum:
    """Return the type of leverage buckets: their names, in order."""
    between = [f"{low:g}x to {high:g}x" for low, high in pairwise(edges)]
    return pl.Enum([f"below {edges[0]:g}x", *between, f"{edges[-1]:g}x and more"])


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
    _check_condensed(outcomes, unit, *keys)
    grouped = in_units(outcomes, unit).filter("liquidated").group_by(keys)
    sums = grouped.agg(
        notional=_amount("fill_notional", unit),
        entry_notional=_amount("entry_notional", unit),
        count=_count(),
        shortfall=_amount("shortfall", unit),
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
    _check_condensed(outcomes, unit, interval(every), inside.alias("inside"))
    book = in_units(outcomes, unit)
    whole = book.select(_amount("book_notional", unit)).collect().item()
    sums = {}
    for side in ("long", "short"):
        its_own = pl.col("side") == side
        sums[f"{side}_notional"] = _amount("fill_notional", unit, its_own)
        sums[f"{side}_count"] = _count(its_own)
        sums[f"{side}_share"] = _amount("entry_notional", unit, its_own) / whole
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
def ranks(
    flow: pl.DataFrame,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    measure: str = "notional",
) -> pl.DataFrame:
    """Return the flow with the ``rank`` of each interval by a measure among all of them, 1 the heaviest.

    Parameters
    ----------
    flow : as ``by_interval`` returns it, over the whole history
    start, end : window to return, both included; ranks stay those of the whole history
    measure : column that decides

    Returns
    -------
    The rows of the window; ``rank`` is shared by equal values and null where nothing was liquidated.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import by_interval, ranks
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> ranks(hourly, noon, noon + timedelta(hours=2)).select("time", "rank")
    shape: (3, 2)
    ┌─────────────────────────┬──────┐
    │ time                    ┆ rank │
    │ ---                     ┆ ---  │
    │ datetime[ms, UTC]       ┆ i64  │
    ╞═════════════════════════╪══════╡
    │ 2021-05-19 12:00:00 UTC ┆ 17   │
    │ 2021-05-19 13:00:00 UTC ┆ 8    │
    │ 2021-05-19 14:00:00 UTC ┆ null │
    └─────────────────────────┴──────┘
    """
    ranked = flow.with_columns(rank=_rank(pl.col(measure)))
    after = EVERY_ROW if start is None else pl.col("time") >= start
    before = EVERY_ROW if end is None else pl.col("time") <= end
    return ranked.filter(after & before)


@checked
def heaviest(flow: pl.DataFrame, count: int = 10, measure: str = "notional") -> pl.DataFrame:
    """Return the heaviest intervals with their ``rank``, heaviest first; empty ones never appear.

    Examples
    --------
    >>> from backtest.study.liquidations import by_interval, heaviest
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> heaviest(hourly, 3).select("time", "rank", pl.col("notional").round(0))
    shape: (3, 3)
    ┌─────────────────────────┬──────┬──────────┐
    │ time                    ┆ rank ┆ notional │
    │ ---                     ┆ ---  ┆ ---      │
    │ datetime[ms, UTC]       ┆ i64  ┆ f64      │
    ╞═════════════════════════╪══════╪══════════╡
    │ 2021-05-21 06:00:00 UTC ┆ 1    ┆ 294989.0 │
    │ 2021-05-23 07:00:00 UTC ┆ 2    ┆ 204463.0 │
    │ 2021-05-23 09:00:00 UTC ┆ 3    ┆ 95825.0  │
    └─────────────────────────┴──────┴──────────┘
    """
    return ranks(flow, measure=measure).drop_nulls("rank").sort("rank", "time").head(count)


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
    _check_condensed(outcomes, unit, interval(every))
    rows = in_units(outcomes, unit).filter("liquidated").group_by(interval(every))
    share = pl.col("largest_units").max() / total(pl.col("entry_notional_units"))
    return rows.agg(largest_share=share).sort("time").collect()


@checked
def run_ranks(flow: pl.DataFrame, hours: int = 3, measure: str = "notional") -> pl.DataFrame:
    """Return every run of consecutive hours of an hourly flow, ranked by a measure.

    Returns
    -------
    ``start`` and ``last`` (start of the run's first and last hour), ``notional``, ``share``, ``count`` and
    ``rank``, in order of time. Runs overlap; ``rank`` is null where nothing was liquidated.

    Raises
    ------
    ArgumentError
        Where the flow is not hourly.

    Examples
    --------
    >>> from backtest.study.liquidations.flow import by_interval, run_ranks
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> run_ranks(hourly).filter(pl.col("rank") <= 2).select("start", "last", "rank")
    shape: (2, 3)
    ┌─────────────────────────┬─────────────────────────┬──────┐
    │ start                   ┆ last                    ┆ rank │
    │ ---                     ┆ ---                     ┆ ---  │
    │ datetime[ms, UTC]       ┆ datetime[ms, UTC]       ┆ i64  │
    ╞═════════════════════════╪═════════════════════════╪══════╡
    │ 2021-05-21 06:00:00 UTC ┆ 2021-05-21 08:00:00 UTC ┆ 2    │
    │ 2021-05-23 07:00:00 UTC ┆ 2021-05-23 09:00:00 UTC ┆ 1    │
    └─────────────────────────┴─────────────────────────┴──────┘
    """
    steps = flow["time"].diff().drop_nulls().unique()
    if any(step.total_seconds() != 3600 for step in steps):
        raise ArgumentError("run_ranks: flow must be hourly, one row an hour: use by_interval(every='1h')")
    # added column by column: a rolling sum that adds and subtracts would carry rounding from run to run
    sums = {
        name: pl.sum_horizontal(pl.col(name).shift(-ahead) for ahead in range(hours))
        for name in ("notional", "share", "count")
    }
    runs = flow.select(start=pl.col("time"), last=pl.col("time").shift(1 - hours), **sums)
    return runs.drop_nulls("last").with_columns(rank=_rank(pl.col(measure)))


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
    counts = _weighed(outcomes).group_by("outcome").agg(count=_count())
    full = every.join(counts, on="outcome", how="left", maintain_order="left").fill_null(0.0)
    share = pl.when(OPENED).then(pl.col("count") / pl.col("count").filter(OPENED).sum())
    return full.with_columns(share=share).collect()


@checked
def summary(outcomes: pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the totals of a run in one row.

    Returns
    -------
    ``positions`` opened (times weight) and their ``book_notional`` at entry; of these ``liquidated``,
    ``liquidated_share`` by count, ``notional_share`` by entry notional and ``long_part`` of that share which was
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
    flow = _amount("fill_notional", unit, gone)
    book = _amount("book_notional", unit, OPENED)
    opened = _count(OPENED, of="opened")
    _check_condensed(outcomes, unit)
    totals = in_units(outcomes, unit).select(
        positions=opened,
        book_notional=book,
        liquidated=_count(gone),
        liquidated_share=_count(gone) / opened,
        notional_share=_amount("entry_notional", unit, gone) / book,
        long_part=_amount("entry_notional", unit, gone_long) / _amount("entry_notional", unit, gone),
        liquidated_notional=flow,
        long_share=_amount("fill_notional", unit, gone_long) / flow,
        shortfall=_amount("shortfall", unit, gone),
        certainly_liquidated=_count(pl.col("certainly_liquidated")),
        possibly_liquidated=_count(pl.col("possibly_liquidated")),
        ambiguous=_count(pl.col("ambiguous")),
        unknown=_count(pl.col("outcome") == "unknown"),
        rejected=_count(~OPENED),
    )
    return totals.collect()


@checked
def in_units(outcomes: pl.DataFrame, unit: float = 0.01) -> pl.LazyFrame:
    """Return rows with whole numbers of units: of amounts, of the weight opened, of the weight left."""
    if _is_condensed(outcomes):
        return outcomes.lazy()
    require(outcomes, "entry_notional")
    opened, left = weight(outcomes), _left(outcomes)
    entry = pl.col("entry_notional")
    amounts = {name: pl.col(name) for name in ("fill_notional", "shortfall") if name in outcomes.columns}
    return _weighed(outcomes).with_columns(
        book_notional_units=whole_units(entry * opened, unit),
        entry_notional_units=whole_units(entry * left, unit),
        largest_units=whole_units(entry * left, unit),
        **{f"{name}_units": whole_units(amount * left, unit) for name, amount in amounts.items()},
    )


def _weighed(outcomes: pl.DataFrame) -> pl.LazyFrame:
    """Return rows with whole numbers of units of the weight opened, and of the weight left."""
    if _is_condensed(outcomes):
        return outcomes.lazy()
    return outcomes.lazy().with_columns(
        opened_units=whole_units(weight(outcomes), WEIGHT_UNIT),
        left_units=whole_units(_left(outcomes), WEIGHT_UNIT),
    )


def _left(outcomes: pl.DataFrame) -> pl.Expr:
    return pl.col("surviving_weight") if "surviving_weight" in outcomes.columns else weight(outcomes)


def _is_condensed(outcomes: pl.DataFrame) -> bool:
    return "largest_units" in outcomes.columns


def _check_condensed(outcomes: pl.DataFrame, unit: float, *split_by: pl.Expr) -> None:
    """Refuse another unit than that of a condensed frame, and windows that split its intervals."""
    if not _is_condensed(outcomes) or outcomes.is_empty():
        return
    kept = outcomes["unit"].unique().to_list()
    if kept != [unit]:
        raise ArgumentError(
            f"must be the one the outcomes were condensed in, {kept}, is {unit:g}", argument="unit"
        )
    ends = [outcomes.with_columns(outcome_time=end).select(split_by) for end in ("first_time", "last_time")]
    if not ends[0].equals(ends[1]):
        raise ArgumentError("intervals and windows must not split those the outcomes were condensed to")


def _amount(name: str, unit: float, where: pl.Expr = EVERY_ROW) -> pl.Expr:
    """Return the weighted sum of an amount over some rows, exact to the unit."""
    return in_currency(total(pl.col(f"{name}_units").filter(where)), unit)


def _count(where: pl.Expr = EVERY_ROW, of: str = "left") -> pl.Expr:
    return in_currency(total(pl.col(f"{of}_units").filter(where)), WEIGHT_UNIT)


def _rank(notional: pl.Expr) -> pl.Expr:
    return pl.when(notional > 0).then(notional.rank("min", descending=True)).cast(pl.Int64)


def _intervals(start: datetime, end: datetime, every: str) -> pl.LazyFrame:
    if end < start:
        raise ArgumentError(f"the window must not end before it starts: {start} to {end}")
    first, last = (pl.lit(moment).dt.cast_time_unit("ms").dt.truncate(every) for moment in (start, end))
    return pl.select(time=pl.datetime_range(first, last, every)).lazy()
