"""The sums of outcomes as polars groups them: slow, and plain to see that they are right."""

from __future__ import annotations

import polars as pl

from backtest.market.market import Market
from backtest.study.liquidations.exact_sums import in_units
from backtest.study.liquidations.flow import leverage, leverage_bucket
from backtest.study.partial_sums.outcomes import HOUR, KEYS, SUMS, condense_lives
from backtest.study.survival import survival


def condensed(outcomes: pl.DataFrame, unit: float = 0.01) -> pl.DataFrame:
    """Return the sums that flows need, at every stamp."""
    bucket = leverage_bucket(leverage(outcomes))
    rows = in_units(outcomes, unit).with_columns(bucket, largest_fill=pl.col("fill_notional"))
    sums = [f"{name}_units" for name in SUMS]
    found = (
        rows.group_by(KEYS[:-1])
        .agg(pl.col(sums).sum(), pl.col("largest_units", "largest_fill").max())
        .with_columns(pl.col("^.*_units$").cast(pl.Int64))
        .with_columns(first_time="outcome_time", last_time="outcome_time", unit=pl.lit(unit, pl.Float64))
    )
    names = (*KEYS, *sums, "largest_units", "largest_fill", "first_time", "last_time")
    return found.select(names).sort(KEYS).collect()


def condensed_lives(outcomes: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Return how many lived how many hours, from every life."""
    return condense_lives(survival.lives(outcomes, market), HOUR)
