"""Liquidated flow: how much was liquidated, of what, when and at which price.

Every statistic is a sum over the liquidated rows of an outcome frame, scaled by ``weight`` where it is there (of
books that thin out, by what was left of it: ``surviving_weight``).
Amounts are in settlement currency, rounded to a ``unit`` of it and added up as int64: no total depends on the
order of the rows or the number of threads. Shares are of the book: entry notional over the entry notional of
*all* rows given, so they add up to the share of the book that was liquidated.

``kinds``, wherever it is asked for, names the contract kind of symbols (linear, inverse, face_value); symbols
it does not name are linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import polars as pl

from backtest.errors import ArgumentError
from backtest.schemas import Outcome

#: Leverage from which each bucket begins, up to the next.
LEVERAGE_EDGES = (5.0, 10.0, 20.0, 50.0, 100.0)

#: Weights are rounded to a millionth of a position before they are added up.
WEIGHT_UNIT = 1e-6

#: Prefixes of the columns of each side and of both.
PARTS = ("long_", "short_", "")

EVERY_ROW = pl.lit(True)


def interval(every: str = "1h") -> pl.Expr:
    """Return the opening of the interval each outcome falls in, as ``time``."""
    return pl.col("outcome_time").dt.truncate(every).alias("time")


def price_bin(width: float, price: str = "liquidation_price") -> pl.Expr:
    """Return the lower edge of the price bin [edge, edge + width) of each row, as ``price_bin``."""
    return ((pl.col(price) / width).floor() * width).alias("price_bin")


def entry_notional(kinds: Mapping[str, str] | None = None) -> pl.Expr:
    """Return the notional at entry in settlement currency, as ``entry_notional``."""
    return notional_at(pl.col("entry_price"), kinds).alias("entry_notional")


def notional_at(price: pl.Expr, kinds: Mapping[str, str] | None = None) -> pl.Expr:
    """Return the notional of each ``quantity`` at a price, in settlement currency, as ``notional``."""
    quantity, symbol = pl.col("quantity"), pl.col("symbol")
    inverse = [name for name, kind in (kinds or {}).items() if kind == "inverse"]
    face_value = [name for name, kind in (kinds or {}).items() if kind == "face_value"]
    notional = (
        pl.when(symbol.is_in(inverse))
        .then(quantity / price)
        .when(symbol.is_in(face_value))
        .then(quantity)
        .otherwise(quantity * price)
    )
    return notional.alias("notional")


def weight(outcomes: pl.DataFrame) -> pl.Expr:
    """Return how many traders each row stands for, as ``weight``: one where the frame does not say."""
    return (pl.col("weight") if "weight" in outcomes.columns else pl.lit(1.0)).alias("weight")


def whole_units(amount: pl.Expr, unit: float) -> pl.Expr:
    """Return amounts rounded to whole units, as int64: their sums depend on no order."""
    return (amount * (1 / unit)).round().cast(pl.Int64)


def leverage(outcomes: pl.DataFrame, kinds: Mapping[str, str] | None = None) -> pl.Expr:
    """Return the selected leverage, or entry notional over margin where only the margin is given."""
    if "leverage" in outcomes.columns:
        return pl.col("leverage")
    return (entry_notional(kinds) / pl.col("margin")).alias("leverage")


def leverage_bucket(leverage: pl.Expr, edges: Sequence[float] = LEVERAGE_EDGES) -> pl.Expr:
    """Return the bucket [edge, next edge) of each leverage, as ``leverage_bucket``: an Enum in order."""
    between = [f"{low:g}x to {high:g}x" for low, high in pairwise(edges)]
    labels = [f"below {edges[0]:g}x", *between, f"{edges[-1]:g}x and more"]
    bucket = pl.coalesce(
        *(pl.when(leverage < edge).then(pl.lit(label)) for edge, label in zip(edges, labels, strict=False)),
        pl.lit(labels[-1]),
    )
    return bucket.cast(pl.Enum(labels)).alias("leverage_bucket")


def liquidated(
    outcomes: pl.DataFrame,
    by: Sequence[str | pl.Expr],
    *,
    kinds: Mapping[str, str] | None = None,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return what was liquidated, by any keys.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    by : columns, or expressions such as ``interval``, ``leverage_bucket`` and ``price_bin``
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    The keys in order, then ``notional`` (at the fill), ``entry_notional``, ``count`` (positions times weight)
    and ``shortfall``. Groups in which nothing was liquidated are absent.
    """
    keys = [pl.col(key) if isinstance(key, str) else key for key in by]
    grouped = _weighted(outcomes, kinds).filter("liquidated").group_by(keys)
    sums = grouped.agg(
        notional=_amount("fill_notional", unit),
        entry_notional=_amount("entry_notional", unit),
        count=_count(),
        shortfall=_amount("shortfall", unit),
    )
    return sums.sort([key.meta.output_name() for key in keys]).collect()


def by_interval(
    outcomes: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    every: str = "1h",
    kinds: Mapping[str, str] | None = None,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the liquidated flow of every interval, empty ones as zeros.

    Parameters
    ----------
    start, end : first and last moment of the window, both included; liquidations outside it are left out

    Returns
    -------
    ``time`` (opening of the interval); ``long_notional``, ``short_notional``, ``notional`` at the fill;
    ``long_count``, ``short_count``, ``count``; ``long_share``, ``short_share``, ``share`` of the book.
    """
    book = _weighted(outcomes, kinds)
    whole = book.select(_amount("entry_notional", unit, weight="opened")).collect().item()
    sums = {}
    for side in ("long", "short"):
        its_own = pl.col("side") == side
        sums[f"{side}_notional"] = _amount("fill_notional", unit, its_own)
        sums[f"{side}_count"] = _count(its_own)
        sums[f"{side}_share"] = _amount("entry_notional", unit, its_own) / whole
    inside = pl.col("liquidated") & pl.col("outcome_time").is_between(start, end)
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
    """
    ranked = flow.with_columns(rank=_rank(pl.col(measure)))
    after = EVERY_ROW if start is None else pl.col("time") >= start
    before = EVERY_ROW if end is None else pl.col("time") <= end
    return ranked.filter(after & before)


def heaviest(flow: pl.DataFrame, count: int = 10, measure: str = "notional") -> pl.DataFrame:
    """Return the heaviest intervals with their ``rank``, heaviest first; empty ones never appear."""
    return ranks(flow, measure=measure).drop_nulls("rank").sort("rank", "time").head(count)


def run_ranks(flow: pl.DataFrame, hours: int = 3, measure: str = "notional") -> pl.DataFrame:
    """Return every run of consecutive hours of an hourly flow, ranked by a measure.

    Returns
    -------
    ``start`` and ``last`` (openings of the run's first and last hour), ``notional``, ``share``, ``count`` and
    ``rank``, in order of time. Runs overlap; ``rank`` is null where nothing was liquidated.

    Raises
    ------
    ArgumentError
        Where the flow is not hourly.
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


def tally(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return every ``outcome`` with its ``count`` (positions times weight) and ``share`` by count."""
    kind = outcomes.schema["outcome"]  # a replay's are more than a sweep's
    every = pl.LazyFrame({"outcome": (kind if isinstance(kind, pl.Enum) else Outcome).categories.cast(kind)})
    counts = _weighted(outcomes).group_by("outcome").agg(count=_count())
    full = every.join(counts, on="outcome", how="left", maintain_order="left").fill_null(0.0)
    return full.with_columns(share=pl.col("count") / pl.col("count").sum()).collect()


def summary(outcomes: pl.DataFrame, *, kinds: Mapping[str, str] | None = None, unit: float = 0.01) -> pl.DataFrame:
    """Return the totals of a run in one row.

    Returns
    -------
    ``positions`` (times weight) and ``book_notional`` at entry; of these ``liquidated``, ``liquidated_share``
    by count, ``notional_share`` by entry notional; ``liquidated_notional`` at the fill, ``long_share`` of it;
    ``shortfall`` of the liquidated; ``ambiguous`` and ``unknown`` counts. A share of nothing is NaN.
    """
    gone = pl.col("liquidated")
    flow = _amount("fill_notional", unit, gone)
    book = _amount("entry_notional", unit, weight="opened")
    opened = _count(weight="opened")
    totals = _weighted(outcomes, kinds).select(
        positions=opened,
        book_notional=book,
        liquidated=_count(gone),
        liquidated_share=_count(gone) / opened,
        notional_share=_amount("entry_notional", unit, gone) / book,
        liquidated_notional=flow,
        long_share=_amount("fill_notional", unit, gone & (pl.col("side") == "long")) / flow,
        shortfall=_amount("shortfall", unit, gone),
        ambiguous=_count(pl.col("ambiguous")),
        unknown=_count(pl.col("outcome") == "unknown"),
    )
    return totals.collect()


def _weighted(outcomes: pl.DataFrame, kinds: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Return outcomes with entry notionals, the weight opened, and the weight left when the outcome came."""
    opened = pl.col("weight") if "weight" in outcomes.columns else pl.lit(1.0)
    left = pl.col("surviving_weight") if "surviving_weight" in outcomes.columns else opened
    return outcomes.lazy().with_columns(entry_notional(kinds), opened=opened, weight=left)


def _amount(column: str, unit: float, where: pl.Expr = EVERY_ROW, weight: str = "weight") -> pl.Expr:
    """Return the weighted sum of an amount over some rows, exact to the unit."""
    per_currency = 1 / unit
    units = (pl.col(column) * pl.col(weight) * per_currency).round().cast(pl.Int64)
    return units.filter(where).sum() / per_currency


def _count(where: pl.Expr = EVERY_ROW, weight: str = "weight") -> pl.Expr:
    per_position = 1 / WEIGHT_UNIT
    return (pl.col(weight) * per_position).round().cast(pl.Int64).filter(where).sum() / per_position


def _rank(notional: pl.Expr) -> pl.Expr:
    return pl.when(notional > 0).then(notional.rank("min", descending=True)).cast(pl.Int64)


def _intervals(start: datetime, end: datetime, every: str) -> pl.LazyFrame:
    if end < start:
        raise ArgumentError(f"the window must not end before it starts: {start} to {end}")
    first, last = (pl.lit(moment).dt.cast_time_unit("ms").dt.truncate(every) for moment in (start, end))
    return pl.select(time=pl.datetime_range(first, last, every)).lazy()
