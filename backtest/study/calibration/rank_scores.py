"""Ranks of days: how well predictors order recorded days, by side and period, beside one line of arithmetic.

The score is Spearman's rank correlation with the recorded notional of the side. Bands are from redrawn calendar
blocks; the lead of a predictor over the baseline is taken over the same drawn blocks. Ranks do not care about
scales, so they can be compared where a feed shows an unknown share of the liquidations; amounts cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats
from backtest.schemas.arguments import checked
from backtest.study.calibration.plain_predictors import SIDES
from backtest.study.calibration.records import daily_records, day_of
from backtest.study.stats.bootstrap import Resampling, Seed, resampling

#: The predictor that others must lead.
BASELINE = "hourly_product"

WEEK = timedelta(days=7)

#: Days below which no correlation is reported.
FEWEST_DAYS = 20


@checked
def scores(
    recorded: pl.DataFrame,
    predicted: pl.DataFrame,
    *,
    seed: Seed,
    by: Literal["all", "year"] = "all",
    throttled_from: datetime | None = None,
    baseline: str = BASELINE,
    length: timedelta = WEEK,
    draws: int = 999,
) -> pl.DataFrame:
    """Return how well each predictor ranks the recorded days of each side, and its lead over the baseline.

    Parameters
    ----------
    recorded
        As :func:`daily_records` takes it.
    predicted
        ``time`` (start of the UTC day), and for each predictor ``long_NAME`` and ``short_NAME``: those of
        :func:`baselines`, and any others.
    by
        ``year``: also each calendar year by itself.
    throttled_from
        From when on the feed is throttled: the days before and after it are also scored apart.
    baseline
        The predictor that leads are over.
    length, draws, seed
        Of the bands, as :func:`~backtest.study.stats.resampling` takes them.

    Returns
    -------
    ``side``, ``period`` (``all``, ``unthrottled``, ``throttled``, a year), ``predictor``, ``days``,
    ``correlation`` with ``low`` and ``high``, ``lead`` with ``lead_low`` and ``lead_high`` (NaN of the baseline
    itself). Periods of fewer than 20 days, or that lie in one block, are left out.

    Raises
    ------
    DataError
        For days that are not in both frames, and no predictor of both sides.
    ArgumentError
        For a baseline that is not among the predictors.

    Examples
    --------
    >>> from backtest.study.calibration import baselines, scores
    >>> plain = baselines(bars.with_columns(volume=pl.lit(1_000.0)))
    >>> days = plain.select("time", long_notional="long_range_volume", short_notional="short_range_volume")
    >>> scores(days, plain, seed=1)  # ten days are too few
    shape: (0, 10)
    ...
    """
    if "time" not in predicted.columns:
        raise DataError(f"predicted must have a column time (there are {', '.join(predicted.columns) or 'none'})")
    by_day = predicted.with_columns(day_of(predicted["time"], "predicted").alias("time"))
    days = daily_records(recorded).join(by_day, on="time", how="inner", maintain_order="left")
    names = predictors_of(predicted)
    if days.is_empty() or not names:
        raise DataError(
            "recorded and predicted have no day in common, or predicted has no long_NAME and short_NAME"
        )
    if baseline not in names:
        raise ArgumentError(f"must be one of {', '.join(names)}, is {baseline!r}", argument="baseline")
    rows = [
        row
        for period, own in _periods(days, by, throttled_from)
        if own.height >= FEWEST_DAYS
        for side in SIDES
        for row in _rows(own, side, period, names, baseline, seed=seed, length=length, draws=draws)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


_SCHEMA = {
    "side": pl.String,
    "period": pl.String,
    "predictor": pl.String,
    "days": pl.Int64,
    "correlation": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "lead": pl.Float64,
    "lead_low": pl.Float64,
    "lead_high": pl.Float64,
}


def predictors_of(predicted: pl.DataFrame) -> list[str]:
    """Return the names of the predictors of both sides."""
    longs = [name.removeprefix("long_") for name in predicted.columns if name.startswith("long_")]
    return [name for name in longs if f"short_{name}" in predicted.columns]


def drawn_correlations(days: pl.DataFrame, side: str, name: str, plan: Resampling) -> Floats:
    """Return (1 + draws,) Spearman's correlation of a predictor with the recorded notional of a side."""
    own = days.select(pl.col("time"), one=pl.col(f"{side}_notional"), other=pl.col(f"{side}_{name}")).drop_nulls()
    return plan.of_frame(own, _rank_correlation, time="time")


def _rank_correlation(days: pl.DataFrame) -> float:
    value = days.select(pl.corr("one", "other", method="spearman")).item()
    return np.nan if value is None else float(value)


def _periods(days: pl.DataFrame, by: str, throttled_from: datetime | None) -> Iterator[tuple[str, pl.DataFrame]]:
    yield "all", days
    if throttled_from is not None:
        yield "unthrottled", days.filter(pl.col("time") < throttled_from)
        yield "throttled", days.filter(pl.col("time") >= throttled_from)
    if by == "year":
        for (year,), own in days.group_by(pl.col("time").dt.year(), maintain_order=True):
            yield str(year), own


def _rows(
    days: pl.DataFrame,
    side: str,
    period: str,
    names: list[str],
    baseline: str,
    *,
    seed: Seed,
    length: timedelta,
    draws: int,
) -> Iterator[tuple[object, ...]]:
    try:
        plan = resampling(days["time"], seed=seed, length=length, draws=draws)
    except DataError:  # all days lie in one block
        return
    drawn: Mapping[str, Floats] = {name: drawn_correlations(days, side, name, plan) for name in names}
    for name in names:
        own = plan.band(drawn[name])
        lead = plan.band(drawn[name] - drawn[baseline])
        led = (np.nan,) * 3 if name == baseline else (lead.estimate, lead.low, lead.high)
        yield (side, period, name, days.height, own.estimate, own.low, own.high, *led)
