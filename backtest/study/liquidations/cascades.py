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

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.study.liquidations.flow import PARTS
from backtest.study.liquidations.segmentation import NOTHING, GapRule, PeakRule, Rule, ThresholdRule
from backtest.study.units import WEIGHT_UNIT, in_currency, running_total, total, whole_units

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


@checked
def running_totals(flow: pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the notional liquidated up to the end of each interval.

    Parameters
    ----------
    flow : as ``flow.by_interval`` returns it

    Returns
    -------
    ``time`` (start of the interval), ``long_notional, short_notional, notional`` in it and all before.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import running_totals
    >>> from backtest.study.liquidations.flow import by_interval
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> round(running_totals(hourly)["notional"][-1])
    1648389
    """
    totals = [in_currency(running_total(whole_units(pl.col(f"{part}notional"), unit)), unit) for part in PARTS]
    return flow.sort("time").select("time", *totals)


@checked
def by_hour_of_day(flow: pl.DataFrame, *, unit: float = 0.01) -> pl.DataFrame:
    """Return the mean notional liquidated at each hour of the day (UTC).

    Parameters
    ----------
    flow : as ``flow.by_interval`` returns it, hourly or finer

    Returns
    -------
    24 rows: ``hour``, ``long_notional, short_notional, notional`` of a mean hour, ``hours`` it is the mean of.
    NaN for an hour that never occurs.

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import by_hour_of_day
    >>> from backtest.study.liquidations.flow import by_interval
    >>> hourly = by_interval(outcomes, start=bars["time"].min(), end=bars["time"].max())
    >>> by_hour_of_day(hourly).sort("notional").tail(2).select("hour", pl.col("notional").round(0), "hours")
    shape: (2, 3)
    ┌──────┬──────────┬───────┐
    │ hour ┆ notional ┆ hours │
    │ ---  ┆ ---      ┆ ---   │
    │ i8   ┆ f64      ┆ i64   │
    ╞══════╪══════════╪═══════╡
    │ 7    ┆ 15319.0  ┆ 17    │
    │ 6    ┆ 23705.0  ┆ 17    │
    └──────┴──────────┴───────┘
    """
    hours = pl.col("time").dt.truncate("1h").n_unique().cast(pl.Int64)
    means = [in_currency(total(whole_units(pl.col(f"{part}notional"), unit)), unit) / hours for part in PARTS]
    found = flow.lazy().group_by(hour=pl.col("time").dt.hour()).agg(*means, hours=hours)
    every = pl.LazyFrame({"hour": range(24)}, schema={"hour": pl.Int8})
    whole = every.join(found, on="hour", how="left", maintain_order="left")
    return whole.with_columns(pl.col("hours").fill_null(0), pl.selectors.float().fill_null(float("nan"))).collect()


@checked
def compare(runs: Mapping[str, pl.DataFrame], *, unit: float = 0.01) -> pl.DataFrame:
    """Return the cascades of several runs side by side.

    Parameters
    ----------
    runs : names, and cascades as :func:`find` returns them, all by the same rule

    Returns
    -------
    A row a run, in the order given: ``run``, ``cascades`` (how many), ``notional``, ``count``, ``long_share`` in
    all of them; ``median``, ``ninth_decile`` and ``largest`` notional of a cascade, ``share_of_largest`` in the
    total; ``longest`` duration, ``fastest`` speed. Null where a run has none, NaN for a share of nothing.

    Raises
    ------
    ArgumentError
        For runs whose cascades were found by different rules. (By threshold or peak, each run sets its own level.)

    Examples
    --------
    >>> from backtest.study.liquidations.cascades import GapRule, compare, find, pulses
    >>> rule = GapRule(timedelta(hours=2), bar=timedelta(hours=1))
    >>> runs = {"sweep": outcomes, "replay": replayed.outcomes}
    >>> found = compare({name: find(pulses(run), rule) for name, run in runs.items()})
    >>> found.select("run", "cascades", "count", "longest")
    shape: (2, 4)
    ┌────────┬──────────┬───────┬──────────────┐
    │ run    ┆ cascades ┆ count ┆ longest      │
    │ ---    ┆ ---      ┆ ---   ┆ ---          │
    │ str    ┆ u32      ┆ f64   ┆ duration[ms] │
    ╞════════╪══════════╪═══════╪══════════════╡
    │ sweep  ┆ 49       ┆ 334.0 ┆ 20h          │
    │ replay ┆ 49       ┆ 334.0 ┆ 20h          │
    └────────┴──────────┴───────┴──────────────┘
    """
    rules = {rule for cascades in runs.values() for rule in cascades["rule"].unique()}
    if len(rules) > 1:
        raise ArgumentError(f"compare: cascades must come from one rule, come from: {'; '.join(sorted(rules))}")
    notional, size = total(whole_units(pl.col("notional"), unit)), pl.col("notional")
    longs = total(whole_units(pl.col("notional") * pl.col("long_share"), unit))
    totals = [
        cascades.lazy().select(
            run=pl.lit(name),
            cascades=pl.len(),
            notional=in_currency(notional, unit),
            count=in_currency(total(whole_units(pl.col("count"), WEIGHT_UNIT)), WEIGHT_UNIT),
            long_share=longs / notional,
            median=size.median(),
            ninth_decile=size.quantile(0.9, interpolation="higher"),
            largest=size.max(),
            share_of_largest=size.max() / in_currency(notional, unit),
            longest=pl.col("duration").max(),
            fastest=pl.col("speed").max(),
        )
        for name, cascades in runs.items()
    ]
    return pl.concat(totals).collect()


def _weight(outcomes: pl.DataFrame) -> pl.Expr:
    """Return the number of positions left in each row when it was liquidated, as ``weight``."""
    named = [pl.col(name) for name in ("surviving_weight", "weight") if name in outcomes.columns]
    return next(iter(named), pl.lit(1.0)).alias("weight")


def _within(expression: pl.Expr, keys: list[str]) -> pl.Expr:
    return expression.over(keys) if keys else expression
