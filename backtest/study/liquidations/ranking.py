"""Heaviest intervals and runs of hours of a liquidated flow."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from backtest.errors import ArgumentError
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import EVERY_ROW


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


def _rank(notional: pl.Expr) -> pl.Expr:
    return pl.when(notional > 0).then(notional.rank("min", descending=True)).cast(pl.Int64)
