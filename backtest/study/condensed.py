"""Outcomes condensed to the sums that statistics need of them, which add up exactly over the parts of a book.

Everything is a whole number of units, summed as int64, or a largest or earliest value: parts merge to the same
frame in any order and however the book was cut. ``flow`` takes condensed frames in place of outcomes; pulses, from
which cascades are found, merge here too, so a cascade may run through any number of parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from backtest.study.flow import WEIGHT_UNIT, in_units, leverage, leverage_bucket, whole_units

#: What the rows of condensed outcomes are told apart by.
KEYS = ("symbol", "side", "leverage_bucket", "outcome", "liquidated", "ambiguous", "outcome_time", "unit")
SUMS = ("opened", "left", "book_notional", "entry_notional", "fill_notional", "shortfall")


def condense(
    outcomes: pl.DataFrame,
    every: str = "1h",
    *,
    kinds: Mapping[str, str] | None = None,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the sums that ``flow`` needs of some outcomes, a row a group of them.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    every : finest interval that can be told apart afterwards
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    The columns of ``KEYS`` (``outcome_time``: opening of the interval), ``SUMS`` in whole units as ``..._units``,
    ``largest_units`` (entry notional of one row), ``first_time`` and ``last_time`` of the outcomes themselves.
    """
    time = pl.col("outcome_time")
    rows = in_units(outcomes, kinds, unit).with_columns(
        leverage_bucket(leverage(outcomes, kinds)),
        time.dt.truncate(every),
        unit=pl.lit(unit, pl.Float64),
        first_time=time,
        last_time=time,
    )
    return _added(rows).collect()


def merge(parts: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Return condensed parts, one below the other, as the condensed whole."""
    return _added(parts.lazy()).collect(engine="streaming")


def merge_pulses(parts: pl.LazyFrame | pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the pulses of several parts of a book, one below the other, as the pulses of the whole.

    Parameters
    ----------
    parts : as ``cascades.pulses`` returns them
    unit : the one they were added up in
    """
    keys = [name for name in ("symbol", "time") if name in parts.collect_schema().names()]
    units = {"long_notional": unit, "short_notional": unit, "notional": unit, "count": WEIGHT_UNIT}
    sums = [whole_units(pl.col(name), one).sum() / (1 / one) for name, one in units.items()]
    merged = parts.lazy().group_by(keys).agg(*sums, pl.col("largest_fill").max())
    return merged.sort(keys).collect(engine="streaming")


def _added(rows: pl.LazyFrame) -> pl.LazyFrame:
    sums = [pl.col(f"{name}_units").sum() for name in SUMS]
    ends = (pl.col("largest_units").max(), pl.col("first_time").min(), pl.col("last_time").max())
    return rows.group_by(KEYS).agg(*sums, *ends).sort(KEYS)
