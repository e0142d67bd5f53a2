"""Recorded liquidations by UTC day and side: one form for what venues and collectors publish."""

from __future__ import annotations

import polars as pl

from backtest.errors import DataError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.study.liquidations.flow import by_interval

#: Columns of daily records, and the other names that they go by.
NAMES = {
    "time": ("time", "date"),
    "long_notional": ("long_notional", "long_usd"),
    "short_notional": ("short_notional", "short_usd"),
}


@checked
def daily_records(recorded: pl.DataFrame) -> pl.DataFrame:
    """Return recorded liquidations by UTC day.

    Parameters
    ----------
    recorded
        ``time`` (or ``date``: a date, or text like 2021-05-19), ``long_notional`` and ``short_notional`` (or
        ``long_usd``, ``short_usd``) in quote currency: liquidated longs and shorts. Several rows of a day are
        added up.

    Returns
    -------
    ``time`` (start of the UTC day), ``long_notional``, ``short_notional``, in order of time.

    Raises
    ------
    DataError
        For missing columns, times that are none, and amounts that are null, negative or not finite.

    Examples
    --------
    >>> from backtest.study.calibration import daily_records
    >>> daily_records({"date": ["2021-05-19"], "long_usd": [145.7e6], "short_usd": [51.0e6]}).columns
    ['time', 'long_notional', 'short_notional']
    """
    found = {}
    for name, spellings in NAMES.items():
        own = [spelling for spelling in spellings if spelling in recorded.columns]
        if not own:
            there = ", ".join(recorded.columns) or "none"
            raise DataError(f"recorded must have a column {' or '.join(spellings)} (there are {there})")
        found[name] = recorded[own[0]]
    days = pl.DataFrame(
        {"time": day_of(found["time"], "recorded"), **{name: _amounts(found[name]) for name in list(NAMES)[1:]}}
    )
    return days.group_by("time").agg(pl.sum("long_notional", "short_notional")).sort("time")


@checked
def by_day(outcomes: pl.DataFrame, market: Market, *, name: str = "book", unit: float = 0.01) -> pl.DataFrame:
    """Return what a swept book loses each UTC day by side, as a predictor of :func:`scores`.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    market : whose days are returned, those without liquidations as zeros
    name : of the predictor
    unit : that amounts are rounded to

    Returns
    -------
    ``time`` (start of the UTC day), ``long_NAME`` and ``short_NAME``: notional at the fill.

    Examples
    --------
    >>> from backtest.study.calibration import by_day
    >>> by_day(outcomes, market).columns
    ['time', 'long_book', 'short_book']
    """
    first, last = market.bars.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
    days = by_interval(outcomes, start=first, end=last, every="1d", unit=unit)
    return days.select("time", *(pl.col(f"{side}_notional").alias(f"{side}_{name}") for side in ("long", "short")))


def day_of(times: pl.Series, subject: str) -> pl.Series:
    """Return the starts of the UTC days of dates, texts like 2021-05-19, or times.

    Raises
    ------
    DataError
        For values that are none of these, or null.
    """
    if times.dtype == pl.String:
        read = times.str.to_date("%Y-%m-%d", strict=False)
        bad = read.is_null()
        if bad.any():
            raise DataError(
                f"{subject}: {times.name} must be dates like 2021-05-19: {bad.sum():,} of {bad.len():,} are not, "
                f"first {times.filter(bad)[0]!r}"
            )
        times = read
    if not (times.dtype == pl.Date or times.dtype == pl.Datetime):
        raise DataError(f"{subject}: {times.name} must be dates or times in UTC, is {times.dtype}")
    if times.null_count():
        raise DataError(f"{subject}: {times.name} must not be null: {times.null_count():,} of {times.len():,} are")
    if times.dtype == pl.Date or times.dtype.time_zone is None:  # type: ignore[attr-defined]
        times = times.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    return times.dt.convert_time_zone("UTC").cast(Time).dt.truncate("1d").alias("time")


def _amounts(amounts: pl.Series) -> pl.Series:
    if not amounts.dtype.is_numeric():
        raise DataError(f"recorded: {amounts.name} must be numbers, is {amounts.dtype}")
    values = amounts.cast(pl.Float64)
    bad = ~(values.is_finite() & (values >= 0)).fill_null(value=False)
    if bad.any():
        raise DataError(
            f"recorded: {amounts.name} must be finite and zero or more: {bad.sum():,} of {bad.len():,} are not, "
            f"first {amounts.filter(bad)[0]!r}"
        )
    return values
