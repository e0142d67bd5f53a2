"""Condensed outcomes: the sums that statistics need, which add up exactly over the parts of a book.

Everything is a whole number of units or a largest or earliest value: parts merge to the same
frame in any order and however the book was split. ``flow`` takes condensed frames in place of outcomes; pulses,
from which cascades are found, merge here too, so a cascade may run through any number of parts, and so do the
holding periods of survival curves.
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import polars as pl

from backtest.engine.columns import categories, numbers, times, where
from backtest.kernel.study import sums
from backtest.market.market import Market
from backtest.study.liquidations.exact_sums import weight
from backtest.study.liquidations.grouping import leverage, leverage_bucket
from backtest.study.partial_sums.arrays import (
    EDGES,
    FLAGS,
    add_up,
    fills_of,
    rows_of,
    spans_of,
    symbols_of,
    trader_columns,
)
from backtest.study.survival.survival import End, require_whole
from backtest.study.units import WEIGHT_UNIT, countable, in_currency, total, whole_units

HOUR = timedelta(hours=1)

#: Keys of the rows of condensed outcomes.
KEYS = ("symbol", "side", "leverage_bucket", "outcome", *FLAGS, "outcome_time", "unit")
LIVES_KEYS = ("symbol", "side", "leverage_bucket", "duration", "ended")
SUMS = ("opened", "left", "book_notional", "entry_notional", "fill_notional", "shortfall")


def condense(
    outcomes: pl.DataFrame,
    every: str | None = "1h",
    *,
    unit: float = 0.01,
) -> pl.DataFrame:
    """Return the sums that ``flow`` needs, a row a group of outcomes.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    every : finest interval that is kept; None: every timestamp
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    The columns of ``KEYS`` (``outcome_time``: start of the interval), ``SUMS`` in whole units as ``..._units``,
    ``largest_units`` (entry notional of one row), ``largest_fill`` of one row, ``first_time`` and ``last_time`` of
    the outcomes themselves.

    Raises
    ------
    DataError
        For amounts of 2^62 units and more, also in the sum of a group.
    """
    symbols, per_unit, per_weight = symbols_of(outcomes), 1 / unit, 1 / WEIGHT_UNIT
    rows, fills = rows_of(outcomes, symbols), fills_of(outcomes)
    found = add_up(
        lambda row, groups, count: sums.add_flow(row, rows, fills, EDGES, per_unit, per_weight, groups, count),
        outcomes.height,
    )
    time = times(found.moment, found.code & 1 > 0)
    exact = pl.DataFrame(
        {
            **trader_columns(symbols, found.code >> 9),
            "outcome": categories(cast("pl.Enum", outcomes.schema["outcome"]), found.code >> 5 & 15),
            **{name: found.code >> bit & 1 > 0 for bit, name in enumerate(FLAGS, start=1)},
            "outcome_time": time,
            "unit": pl.repeat(unit, found.code.size, dtype=pl.Float64, eager=True),
            **{name: found.sums[:, number] for number, name in enumerate(_names()[:-1])},
            "largest_fill": numbers(found.largest),
            "first_time": time,
            "last_time": time,
        }
    ).sort(KEYS)
    return exact if every is None else coarsen(exact, every)


def coarsen(condensed: pl.DataFrame, every: str) -> pl.DataFrame:
    """Return a condensed frame in longer intervals."""
    return merge(condensed.with_columns(pl.col("outcome_time").dt.truncate(every)))


def pulses_of(condensed: pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the same as ``cascades.pulses``, from outcomes condensed to every timestamp in the same unit."""
    liquidated = condensed.lazy().filter("liquidated").rename({"outcome_time": "time"})
    fill, side = pl.col("fill_notional_units"), pl.col("side")
    pulses = liquidated.group_by("symbol", "time").agg(
        long_notional=in_currency(total(fill.filter(side == "long")), unit),
        short_notional=in_currency(total(fill.filter(side == "short")), unit),
        notional=in_currency(total(fill), unit),
        count=in_currency(total(pl.col("left_units")), WEIGHT_UNIT),
        largest_fill=pl.col("largest_fill").max(),
    )
    return pulses.sort("symbol", "time").collect()


def merge(parts: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Return condensed parts, one below the other, as the condensed whole.

    Raises
    ------
    DataError
        For amounts that add up to more units than int64 holds.
    """
    merged = _added(parts.lazy()).collect(engine="streaming")
    return merged.with_columns(countable(merged.select("^.*_units$")))


def merge_pulses(parts: pl.LazyFrame | pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the pulses of several parts of a book, one below the other, as the pulses of the whole.

    Parameters
    ----------
    parts : as ``cascades.pulses`` returns them
    unit : the one they were added up in
    """
    keys = [name for name in ("symbol", "time") if name in parts.collect_schema().names()]
    units = {"long_notional": unit, "short_notional": unit, "notional": unit, "count": WEIGHT_UNIT}
    sums = [in_currency(total(whole_units(pl.col(name), one)), one) for name, one in units.items()]
    merged = parts.lazy().group_by(keys).agg(*sums, pl.col("largest_fill").max())
    return merged.sort(keys).collect(engine="streaming")


def condense_lives(lives: pl.DataFrame, step: timedelta = HOUR) -> pl.DataFrame:
    """Return the number of positions by holding period and end, which ``survival`` takes in place of single rows.

    Parameters
    ----------
    lives : as ``survival.lives`` returns them
    step : durations are rounded up to whole numbers of it, which keeps them few

    Returns
    -------
    The columns of ``LIVES_KEYS``, and ``weight``: positions times weight.
    """
    whole = -(-pl.col("duration").dt.total_milliseconds() // (step // timedelta(milliseconds=1)))
    duration = (whole * (step // timedelta(milliseconds=1))).cast(pl.Duration("ms"))
    rows = lives.lazy().select(
        "symbol",
        "side",
        leverage_bucket(leverage(lives)),
        duration.alias("duration"),
        "ended",
        weight(lives),
    )
    return merge_lives(rows)


def condense_ends(outcomes: pl.DataFrame, market: Market, step: timedelta = HOUR) -> pl.DataFrame:
    """Return the same as ``condense_lives`` of the holding periods of outcomes, in one pass.

    Parameters
    ----------
    outcomes, market : as ``survival.lives`` takes them

    Raises
    ------
    DataError
        For books that decay, and as ``condense``.
    """
    require_whole(outcomes)
    symbols, step_ms, per_weight = symbols_of(outcomes), step // timedelta(milliseconds=1), 1 / WEIGHT_UNIT
    rows, spans = rows_of(outcomes, symbols), spans_of(outcomes, symbols, market)
    found = add_up(
        lambda row, groups, count: sums.add_lives(row, rows, spans, EDGES, step_ms, per_weight, groups, count),
        outcomes.height,
    )
    return pl.DataFrame(
        {
            **trader_columns(symbols, found.code >> 4),
            "duration": where(found.code & 1 > 0, pl.Series(found.moment * step_ms).cast(pl.Duration("ms"))),
            "ended": categories(End, found.code >> 1 & 7),
            "weight": pl.Series(found.sums[:, sums.OPENED]) / per_weight,  # numpy divides otherwise, by an ulp
        }
    ).sort(LIVES_KEYS)


def merge_lives(parts: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Return the condensed holding periods of the parts of a book, one below the other, as those of the whole."""
    units = in_currency(total(whole_units(pl.col("weight"), WEIGHT_UNIT)), WEIGHT_UNIT)
    return parts.lazy().group_by(LIVES_KEYS).agg(units).sort(LIVES_KEYS).collect(engine="streaming")


def _added(rows: pl.LazyFrame) -> pl.LazyFrame:
    ends = (pl.col("first_time").min(), pl.col("last_time").max())
    return rows.group_by(KEYS).agg(*_sums(), *_largest(), *ends).sort(KEYS)


def _names() -> list[str]:
    return [*(f"{name}_units" for name in SUMS), "largest_units", "largest_fill"]


def _sums() -> list[pl.Expr]:
    return [total(pl.col(f"{name}_units")) for name in SUMS]


def _largest() -> list[pl.Expr]:
    return [pl.col("largest_units", "largest_fill").max()]
