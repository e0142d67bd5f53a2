"""Outcomes of clusters: the share of each that was triggered, closed by holders, or is still open."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from backtest.engine.sweep.surviving_weight import surviving_weight
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.study.levels.clusters import inside, measure_of
from backtest.study.levels.open_levels import open_levels_at


@checked
def cluster_outcomes(
    clusters: pl.DataFrame,
    outcomes: pl.DataFrame,
    symbol: str,
    until: datetime,
    *,
    survival: pl.DataFrame | None = None,
    pieces: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the outcomes of the clusters of a moment by a later one, position by position.

    Parameters
    ----------
    clusters : as :func:`clusters_at` returns them
    outcomes, survival, pieces : as in ``levels.levels``
    until : the end of a bar; a liquidation in a bar that opened before then counts

    Returns
    -------
    The clusters with ``triggered`` (share of the amount that the mark liquidated), ``closed`` (by holders),
    ``open``, which add up to one, and ``first_triggered`` (opening of the first bar that liquidated any, or
    null).

    Examples
    --------
    >>> from backtest.study.levels import cluster_outcomes, clusters_at, without_drift
    >>> earlier = clusters_at(open_levels, market, noon + timedelta(days=1))
    >>> fixed = without_drift(book, market, venue)
    >>> found = cluster_outcomes(earlier, fixed, "BTCUSDT", noon + timedelta(days=3))
    >>> found.select("side", pl.col("centre").round(0), pl.col("triggered", "closed", "open").round(2))
    shape: (2, 5)
    ┌───────┬─────────┬───────────┬────────┬──────┐
    │ side  ┆ centre  ┆ triggered ┆ closed ┆ open │
    │ ---   ┆ ---     ┆ ---       ┆ ---    ┆ ---  │
    │ enum  ┆ f64     ┆ f64       ┆ f64    ┆ f64  │
    ╞═══════╪═════════╪═══════════╪════════╪══════╡
    │ long  ┆ 34899.0 ┆ 0.41      ┆ 0.59   ┆ 0.0  │
    │ short ┆ 42751.0 ┆ 0.32      ┆ 0.0    ┆ 0.68 │
    └───────┴─────────┴───────────┴────────┴──────┘
    """
    moment = clusters["time"][0] if clusters.height else until
    levels = open_levels_at(
        outcomes, symbol, moment, survival=survival, pieces=pieces, measure=measure_of(clusters)
    )
    ended = pl.col("outcome_time").is_not_null() & (pl.col("outcome_time") < until)
    fate = levels.with_columns(ended=ended, hit=ended & pl.col("liquidated"))
    left = _left(fate, survival, moment, until)
    fate = fate.with_columns(left=pl.col("amount") * left)
    if pieces is not None:
        fate = _remaining(fate, pieces, until)
    found = []
    for row in clusters.iter_rows(named=True):
        own = fate.filter(inside(row))
        sums = own.select(
            pl.sum("amount"),
            triggered=pl.col("left").filter("hit").sum(),
            open=pl.col("left").filter(~pl.col("ended")).sum(),
            first=pl.col("outcome_time").filter("hit").min(),
        ).row(0, named=True)
        whole = sums["amount"] or 1.0
        triggered, still_open = sums["triggered"] / whole, sums["open"] / whole
        found.append((triggered, max(0.0, 1 - triggered - still_open), still_open, sums["first"]))
    schema: dict[str, Any] = {
        "triggered": pl.Float64,
        "closed": pl.Float64,
        "open": pl.Float64,
        "first_triggered": Time,
    }
    return clusters.hstack(pl.DataFrame(found, schema=schema, orient="row"))


def _remaining(rows: pl.DataFrame, pieces: pl.DataFrame, until: datetime) -> pl.DataFrame:
    """Return rows whose ``left`` counts only the part that holders have not closed by a moment, or the end."""
    last = pieces.filter(pl.col("from_time") <= until).group_by("row").agg(later=pl.col("quantity").last())
    joined = rows.join(last, on="row", how="left", maintain_order="left")
    return joined.with_columns(left=pl.col("left") * pl.col("later") / pl.col("quantity"))


def _left(rows: pl.DataFrame, survival: pl.DataFrame | None, moment: datetime, until: datetime) -> pl.Series:
    """Return the share of each row that holders have not closed between a moment and its end, or a later one."""
    if survival is None:
        return pl.repeat(1.0, rows.height, eager=True)
    ends = pl.when("ended").then(pl.col("outcome_time")).otherwise(pl.lit(until).cast(Time))
    at = rows.with_columns(outcome_time=pl.lit(moment).cast(Time))
    later = surviving_weight(rows.with_columns(outcome_time=ends), survival)
    return (later / surviving_weight(at, survival)).fill_nan(0.0)
