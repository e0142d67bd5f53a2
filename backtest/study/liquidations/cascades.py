"""Cascades: liquidations close in time, one row each.

Everything starts from *pulses*, the liquidations at each timestamp: :func:`pulses` of outcomes, or a frame of
``flow.by_interval``. A rule of ``segmentation`` decides which pulses take part and how close in time they must be
to belong together::

    rule = GapRule(timedelta(minutes=5), bar=timedelta(minutes=1))
    table = with_price_moves(find(pulses(outcomes), rule), market.bars)

Where there is a ``symbol`` column, cascades are those of each symbol. Amounts are in settlement currency, rounded
to a ``unit`` of it and added up as whole numbers. Rules look at the whole frame: they describe, and predict
nothing.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from backtest.errors import DataError
from backtest.schemas.arguments import checked
from backtest.study.liquidations.cascade_profiles import by_hour_of_day, compare, running_totals
from backtest.study.liquidations.segmentation import NOTHING, GapRule, PeakRule, Rule, ThresholdRule
from backtest.study.units import WEIGHT_UNIT, in_currency, total, whole_units

__all__ = [
    "GapRule",
    "PeakRule",
    "ThresholdRule",
    "by_hour_of_day",
    "compare",
    "find",
    "pulses",
    "running_totals",
    "with_price_moves",
]

__dir__ = __all__.copy

MINUTE = timedelta(minutes=1)


@checked
def pulses(outcomes: pl.DataFrame, *, across_symbols: bool = False, unit: float = 0.01) -> pl.DataFrame:
    """Return the liquidations at each timestamp, added up.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them; liquidated rows count, times ``surviving_weight``, else ``weight``
    across_symbols : add all symbols up, so that a cascade may run through several
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    ``symbol`` (unless across), ``time``, ``long_notional, short_notional, notional`` at the fill, ``count``
    (positions times weight), ``largest_fill`` of one position. Timestamps without liquidations are absent.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import pulses
    >>> found = pulses(outcomes)
    >>> found.height, round(found["notional"].sum())
    (176, 1648389)
    """
    keys = ["time"] if across_symbols else ["symbol", "time"]
    gone = outcomes.lazy().filter("liquidated").rename({"outcome_time": "time"}).with_columns(_weight(outcomes))
    amounts = whole_units(pl.col("fill_notional") * pl.col("weight"), unit)
    sums = gone.group_by(keys).agg(
        long_notional=in_currency(total(amounts.filter(pl.col("side") == "long")), unit),
        short_notional=in_currency(total(amounts.filter(pl.col("side") == "short")), unit),
        notional=in_currency(total(amounts), unit),
        count=in_currency(total(whole_units(pl.col("weight"), WEIGHT_UNIT)), WEIGHT_UNIT),
        largest_fill=pl.col("fill_notional").max(),
    )
    return sums.sort(keys).collect()


@checked
def find(pulses: pl.DataFrame, rule: Rule, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the cascades in a history of pulses.

    Parameters
    ----------
    pulses : as :func:`pulses` or ``flow.by_interval`` returns them
    unit : settlement currency that amounts are rounded to before they are added up

    Returns
    -------
    ``symbol`` (where pulses have it), ``start`` (first timestamp), ``end`` (a bar after the last), ``peak_time``
    (the heaviest timestamp, the first of equals), ``notional``, ``count``, ``long_share`` of the notional,
    ``peak_notional`` at the peak, ``largest_fill`` of one position (null where pulses have no such column),
    ``duration``, ``speed`` (notional a minute; NaN where the duration is zero), ``rule``.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import GapRule, find, pulses
    >>> cascades = find(pulses(outcomes), GapRule(timedelta(hours=2), bar=timedelta(hours=1)))
    >>> cascades.sort("notional").tail(2).select("start", "duration", "count")
    shape: (2, 3)
    ┌─────────────────────────┬──────────────┬───────┐
    │ start                   ┆ duration     ┆ count │
    │ ---                     ┆ ---          ┆ ---   │
    │ datetime[ms, UTC]       ┆ duration[ms] ┆ f64   │
    ╞═════════════════════════╪══════════════╪═══════╡
    │ 2021-05-23 04:00:00 UTC ┆ 8h           ┆ 24.0  │
    │ 2021-05-20 19:00:00 UTC ┆ 20h          ┆ 26.0  │
    └─────────────────────────┴──────────────┴───────┘
    """
    keys = [name for name in ("symbol",) if name in pulses.columns]
    largest_fill = pl.col("largest_fill") if "largest_fill" in pulses.columns else pl.lit(None, pl.Float64)
    some = (
        pulses.lazy().filter(pl.col("notional") > 0).sort([*keys, "time"]).with_columns(largest_fill=largest_fill)
    )
    heavy = some.filter(_within(rule.kept(), keys))
    apart = (pl.col("time").diff() > rule.reach).fill_null(True)
    numbered = heavy.with_columns(cascade=_within(apart.cum_sum(), keys))
    notional = whole_units(pl.col("notional"), unit)
    rows = numbered.group_by([*keys, "cascade"]).agg(
        start=pl.col("time").min(),
        end=pl.col("time").max() + rule.bar,
        peak_time=pl.col("time").filter(notional == notional.max()).min(),
        notional=in_currency(total(notional), unit),
        count=in_currency(total(whole_units(pl.col("count"), WEIGHT_UNIT)), WEIGHT_UNIT),
        long_share=total(whole_units(pl.col("long_notional"), unit)) / total(notional),
        peak_notional=in_currency(notional.max(), unit),
        largest_fill=pl.col("largest_fill").max(),
    )
    duration = pl.col("end") - pl.col("start")
    speed = pl.col("notional") / (duration.dt.total_milliseconds() / (MINUTE / timedelta(milliseconds=1)))
    timed = rows.with_columns(
        duration=duration,
        speed=pl.when(duration > NOTHING).then(speed).otherwise(float("nan")),
        rule=pl.lit(str(rule)),
    )
    return timed.sort([*keys, "start"]).drop("cascade").collect()


@checked
def with_price_moves(cascades: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Return cascades with the price moves over them.

    Parameters
    ----------
    cascades : as :func:`find` returns them
    bars : ``symbol, time, open, high, low, close``; of one symbol where cascades have no ``symbol``

    Returns
    -------
    The cascades with ``price_move``, ``lowest_move``, ``highest_move``: last close, lowest low, highest high over
    the first open, less 1, of the bars that open within a cascade; null where none does.

    Raises
    ------
    DataError
        For bars of several symbols beside cascades of none.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import GapRule, find, pulses, with_price_moves
    >>> cascades = find(pulses(outcomes), GapRule(timedelta(hours=2), bar=timedelta(hours=1)))
    >>> moves = with_price_moves(cascades, market.bars).sort("notional").tail(2)
    >>> moves.select("start", pl.col("price_move", "lowest_move").round(3))
    shape: (2, 3)
    ┌─────────────────────────┬────────────┬─────────────┐
    │ start                   ┆ price_move ┆ lowest_move │
    │ ---                     ┆ ---        ┆ ---         │
    │ datetime[ms, UTC]       ┆ f64        ┆ f64         │
    ╞═════════════════════════╪════════════╪═════════════╡
    │ 2021-05-23 04:00:00 UTC ┆ -0.14      ┆ -0.156      │
    │ 2021-05-20 19:00:00 UTC ┆ -0.06      ┆ -0.112      │
    └─────────────────────────┴────────────┴─────────────┘
    """
    keys = [name for name in ("symbol",) if name in cascades.columns]
    if not keys and "symbol" in bars.columns and bars["symbol"].n_unique() > 1:
        raise DataError("with_price_moves: cascades have no symbol, bars have several: choose one")
    spans = cascades.lazy().select(*keys, "start", "end").sort("start")
    inside = (
        bars.lazy()
        .sort("time")
        .join_asof(
            spans, left_on="time", right_on="start", by=keys or None, coalesce=False, check_sortedness=False
        )
        .filter(pl.col("time") < pl.col("end"))
    )
    first, last = pl.col("open").sort_by("time").first(), pl.col("close").sort_by("time").last()
    moves = inside.group_by([*keys, "start"]).agg(
        price_move=last / first - 1,
        lowest_move=pl.col("low").min() / first - 1,
        highest_move=pl.col("high").max() / first - 1,
    )
    return cascades.lazy().join(moves, on=[*keys, "start"], how="left", maintain_order="left").collect()


def _weight(outcomes: pl.DataFrame) -> pl.Expr:
    """Return the number of positions left in each row when it was liquidated, as ``weight``."""
    named = [pl.col(name) for name in ("surviving_weight", "weight") if name in outcomes.columns]
    return next(iter(named), pl.lit(1.0)).alias("weight")


def _within(expression: pl.Expr, keys: list[str]) -> pl.Expr:
    return expression.over(keys) if keys else expression
