"""Survival analysis of positions: time to liquidation, with other outcomes as competing risks.

A holding period runs from the entry. A liquidation, stop or take-profit is known only to its bar, so its duration
is to the end of that bar; an exit is at an open. Positions still open when the history ends, or hidden by a long
gap, are censored there. Positions are censored or end otherwise for reasons that depend on the price (a
take-profit is a price), so Kaplan-Meier with exits as censoring answers "what if holders had never closed", and
only where closing is independent of liquidation; Aalen-Johansen answers "what share had been liquidated by then",
exits as they were.

Ties are exact: all that ends at one duration left the same number at risk. Weights are counted in millionths of a
trader, as whole numbers. Standard errors are Greenwood's, for independent positions, and are given for comparison:
all positions of a run share one price path, and :func:`bands` draws calendar blocks of entry times.

References: Kaplan and Meier (1958); Aalen and Johansen (1978); Greenwood (1926).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OPENED, Time
from backtest.study.liquidations.exact_sums import weight
from backtest.study.units import WEIGHT_UNIT, total, whole_units

#: Events that end a holding period; otherwise it is censored.
CAUSES = ("liquidated", "stopped", "took_profit", "exited")

End = pl.Enum([*CAUSES, "censored"])

#: Outcomes that occur after the open of their bar.
INSIDE_A_BAR = ("liquidated", "stopped", "took_profit")

DAY = timedelta(days=1)


@checked
def lives(outcomes: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Return outcomes with the duration of each holding period and the event that ended it.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them
    market : the one they were swept in, which gives the ends of bars and history

    Returns
    -------
    The outcomes with ``duration`` (from the entry) and ``ended``, one of ``CAUSES`` or censored.

    Raises
    ------
    DataError
        For books whose rows decay: partial closes by holders within a row are not events.

    Examples
    --------
    >>> from backtest.study import survival
    >>> held = survival.lives(outcomes, market)
    >>> held["ended"].value_counts(sort=True).rows()
    [('exited', 601), ('liquidated', 334), ('censored', 65)]
    """
    require_whole(outcomes)
    ends = {"interval": market.intervals, "last": market.times[market.firsts[1:] - 1] + market.intervals}
    symbol = pl.col("symbol").cast(pl.String)  # values found by it cost a tenth of a join
    gaps = market.gaps().filter("long").select("symbol", outcome_time="end", gap_start="start")
    opened = outcomes.lazy().filter(OPENED)
    if gaps.is_empty():
        rows = opened.with_columns(gap_start=pl.lit(None, Time))
    else:
        rows = opened.join(gaps.lazy(), on=["symbol", "outcome_time"], how="left", maintain_order="left")
    ended_at = (
        pl.when(pl.col("outcome").is_in(INSIDE_A_BAR))
        .then(pl.col("outcome_time").dt.epoch("ms") + pl.col("interval"))
        .when(pl.col("outcome") == "unknown")
        .then(pl.coalesce("gap_start", "outcome_time").dt.epoch("ms"))
        .otherwise(pl.coalesce(pl.col("outcome_time").dt.epoch("ms"), "last"))
    )
    causes = {cause: cause for cause in CAUSES}
    return (
        rows.with_columns(
            symbol.replace_strict(market.symbols, ends[name], return_dtype=pl.Int64).alias(name) for name in ends
        )
        .with_columns(
            duration=(ended_at - pl.col("entry_time").dt.epoch("ms")).clip(0).cast(pl.Duration("ms")),
            ended=pl.col("outcome").replace_strict(causes, default="censored", return_dtype=End),
        )
        .drop("interval", "last", "gap_start")
        .collect()
    )


@checked
def require_whole(outcomes: pl.DataFrame) -> None:
    """Refuse books whose rows decay."""
    if "surviving_weight" in outcomes.columns:
        raise DataError("lives need rows that end at once: rows with a surviving_weight decay before they end")


@checked
def kaplan_meier(frame: pl.DataFrame, by: Sequence[str] = (), *, cause: str = "liquidated") -> pl.DataFrame:
    """Return the share of positions that a cause had not ended, all other ends taken as censoring.

    Parameters
    ----------
    frame : as :func:`lives` returns it
    by : columns to group by

    Returns
    -------
    The keys, ``duration``, and at each: ``at_risk`` just before it, ``events``, ``survival`` S = prod(1 - d/n)
    from then on, and Greenwood's ``standard_error``, NaN once none is left.

    Examples
    --------
    >>> from backtest.study import survival
    >>> held = survival.lives(outcomes, market)
    >>> survival.kaplan_meier(held, ["side"]).group_by("side", maintain_order=True).agg(
    ...     pl.col("survival").last().round(2)
    ... ).rows()
    [('long', 0.25), ('short', 0.59)]
    """
    counted = _counted(frame, by, (cause,))
    step, left = pl.col(cause) / pl.col("at_risk"), pl.col("at_risk") - pl.col(cause)
    variance = _along((pl.col(cause) / (pl.col("at_risk") * left.cast(pl.Float64))).cum_sum(), by) / WEIGHT_UNIT
    return (
        counted.with_columns(survival=_along((1 - step).cum_prod(), by), variance=variance)
        .select(
            *by,
            "duration",
            at_risk=pl.col("at_risk") * WEIGHT_UNIT,
            events=pl.col(cause) * WEIGHT_UNIT,
            survival="survival",
            standard_error=pl.col("survival") * pl.col("variance").sqrt(),
        )
        .collect()
    )


@checked
def aalen_johansen(frame: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """Return the share of positions that each cause had ended, the others being competing risks.

    Returns
    -------
    The keys, ``duration``, ``at_risk``, ``survival`` of all causes, and a column a cause: its cumulative
    incidence, the sum of S(just before) x events of the cause / at risk. They and the survival add up to one.

    Examples
    --------
    >>> from backtest.study import survival
    >>> held = survival.lives(outcomes, market)
    >>> round(survival.aalen_johansen(held)["liquidated"].last(), 3)
    0.345
    """
    every = pl.sum_horizontal(CAUSES) / pl.col("at_risk")
    before = pl.col("survival").shift(1, fill_value=1.0)
    return (
        _counted(frame, by, CAUSES)
        .with_columns(survival=_along((1 - every).cum_prod(), by))
        .with_columns(before=_along(before, by))
        .with_columns(_incidence(cause, by) for cause in CAUSES)
        .select(*by, "duration", pl.col("at_risk") * WEIGHT_UNIT, "survival", *CAUSES)
        .collect()
    )


@checked
def restricted_mean(curve: pl.DataFrame, horizon: timedelta, by: Sequence[str] = ()) -> pl.DataFrame:
    """Return the mean time to the event within a horizon: the area under survival up to it, in days.

    Parameters
    ----------
    curve : as :func:`kaplan_meier` or :func:`aalen_johansen` returns it

    Returns
    -------
    The keys and ``mean_days``, NaN where all remaining positions were censored before the horizon.

    Examples
    --------
    >>> from backtest.study import survival
    >>> held = survival.lives(outcomes, market)
    >>> curve = survival.kaplan_meier(held)
    >>> round(survival.restricted_mean(curve, timedelta(days=1))["mean_days"].item(), 2)
    0.71
    """
    if horizon <= timedelta(0):
        raise ArgumentError(f"the horizon of a restricted mean must be above zero, is {horizon}")
    capped = pl.min_horizontal(pl.col("duration"), pl.lit(horizon)) / pl.lit(DAY)
    until = _along(capped.shift(-1, fill_value=horizon / DAY), by)
    known = (pl.col("duration").last() >= horizon) | (pl.col("survival").last() == 0)
    area = capped.first() + ((pl.col("until") - capped) * pl.col("survival")).sum()
    wide = curve.lazy().with_columns(until=until)
    mean = pl.when(known).then(area).otherwise(float("nan")).alias("mean_days")
    found = wide.group_by(by, maintain_order=True).agg(mean) if by else wide.select(mean)
    return found.collect()


def _counted(frame: pl.DataFrame, by: Sequence[str], causes: Sequence[str]) -> pl.LazyFrame:
    """Return, at each duration in order, how many ended by each cause and how many were at risk, in units."""
    weighed = frame.lazy().with_columns(units=whole_units(weight(frame), WEIGHT_UNIT))
    sums = {cause: total(pl.col("units").filter(pl.col("ended") == cause)) for cause in causes}
    grouped = weighed.group_by([*by, "duration"]).agg(leaving=total(pl.col("units")), **sums)
    counted = grouped.sort([*by, "duration"])
    return counted.with_columns(at_risk=_along(pl.col("leaving").cum_sum(reverse=True), by))


def _incidence(cause: str, by: Sequence[str]) -> pl.Expr:
    """Return the share of positions that a cause had ended, from the survival just ``before``."""
    return _along((pl.col("before") * pl.col(cause) / pl.col("at_risk")).cum_sum(), by).alias(cause)


def _along(expression: pl.Expr, by: Sequence[str]) -> pl.Expr:
    """Return an expression evaluated along each group."""
    return expression.over(by) if by else expression
