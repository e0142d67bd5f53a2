"""Profiles of liquidated flow: running totals, hours of the day, and runs side by side."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from backtest.errors import ArgumentError
from backtest.schemas.arguments import checked
from backtest.study.liquidations.flow import PARTS
from backtest.study.units import WEIGHT_UNIT, in_currency, running_total, total, whole_units


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
