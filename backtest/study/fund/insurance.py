"""Insurance fund: flow, drawdown, and required size.

A fund's *flow* is its inflow less its outflow, interval by interval. The *need* of a stretch is the largest drop
of the cumulative flow below its start: a fund of that size at the start would not have run dry. The size for a
confidence is a quantile of the need over many stretches, taken from history as they are (rolling windows) or
assembled from calendar blocks drawn with replacement, the same blocks for all symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.schemas.arguments import checked

#: A drop below this share of all payments is what adding them rounds, not a need.
ROUNDING = 1e-12


@checked
def fund_flow(fund: pl.DataFrame, *, every: str = "1h") -> pl.DataFrame:
    """Return the fund's flow by interval, intervals without payments included.

    Parameters
    ----------
    fund
        As :class:`~backtest.engine.replay.replay.Replay` holds it: ``time, fund, paid_in, paid_out``.
    every
        Interval as polars writes it.

    Returns
    -------
    ``time, paid_in, paid_out, flow``.

    Examples
    --------
    >>> from backtest.study import fund
    >>> fund.fund_flow(strained.fund, every="1d").shape
    (17, 4)
    """
    sums = (
        fund.sort("time")
        .group_by_dynamic("time", every=every)
        .agg(pl.col("paid_in").sum(), pl.col("paid_out").sum())
        .upsample("time", every=every)
        .with_columns(pl.col("paid_in", "paid_out").fill_null(0.0))
    )
    return sums.with_columns(flow=pl.col("paid_in") - pl.col("paid_out"))


def need(flow: Floats) -> float:
    """Return the largest drop of the cumulative flow below zero."""
    return float(needs(flow[None, :])[0])


@checked
def drawdown(fund: pl.DataFrame) -> pl.DataFrame:
    """Return the fund's path with its running maximum, the initial amount included, and the drawdown from it.

    Returns
    -------
    The frame in order of time with ``highest`` and ``drawdown`` (zero or more, settlement currency).

    Examples
    --------
    >>> from backtest.study import fund
    >>> round(fund.drawdown(strained.fund)["drawdown"].max())
    12227
    """
    path = fund.sort("time", maintain_order=True)
    return path.with_columns(
        highest=pl.max_horizontal(pl.lit(start_of(path)), pl.col("fund").cum_max())
    ).with_columns(drawdown=pl.col("highest") - pl.col("fund"))


@checked
def start_of(fund: pl.DataFrame) -> float:
    """Return the fund before the first bar of its path; rows in order of time."""
    return float(fund["fund"][0] - fund["paid_in"][0] + fund["paid_out"][0])


@dataclass(frozen=True)
class FundSize:
    """Required size of a fund, estimated in two ways, and the number of windows behind it.

    Examples
    --------
    >>> from backtest.study import fund
    >>> flow = fund.fund_flow(strained.fund)
    >>> fund.fund_size(flow, horizon=timedelta(days=2), paths=200).windows
    361
    """

    confidence: float
    horizon: timedelta
    rolling: float  #: quantile of the need over all windows of the history
    bootstrap: float  #: quantile of the need over paths of drawn blocks
    low: float  #: 95 % band of ``bootstrap``, by drawing the paths again
    high: float
    worst: float  #: largest need of any window
    windows: int  #: overlapping ones
    independent: float  #: length of the history over the horizon: the number that do not overlap


@checked
def fund_size(
    flow: pl.DataFrame,
    *,
    horizon: timedelta,
    confidence: float = 0.99,
    block: timedelta = timedelta(days=1),
    paths: int = 2_000,
    seed: int = 0,
) -> FundSize:
    """Return the fund size that suffices over a horizon with a given confidence.

    Parameters
    ----------
    flow
        As :func:`fund_flow` returns it, of a replay in which the fund never ran dry (otherwise the uncovered
        deficit is missing from the flow).
    horizon, block
        Whole intervals of the flow; payments within a block stay together.
    confidence
        Share of stretches the fund must outlast.
    paths, seed
        Of the bootstrap.

    Raises
    ------
    ArgumentError
        For a confidence outside 0 to 1, or a horizon or a block longer than the history.

    Examples
    --------
    >>> from backtest.study import fund
    >>> flow = fund.fund_flow(strained.fund)
    >>> round(fund.fund_size(flow, horizon=timedelta(days=2), paths=200).worst)
    5750
    """
    length, size = stretches(flow, horizon=horizon, block=block, confidence=confidence)
    values = flow["flow"].to_numpy()
    rolling = np.array([need(values[at : at + length]) for at in range(values.size - length + 1)])
    drawn = needs(values[drawn_rows(values.size, length, size, paths, np.random.default_rng(seed))])
    low, high = band(drawn, confidence, np.random.default_rng(seed + 1))
    return FundSize(
        confidence=confidence,
        horizon=horizon,
        rolling=float(np.quantile(rolling, confidence)),
        bootstrap=float(np.quantile(drawn, confidence)),
        low=low,
        high=high,
        worst=float(rolling.max()),
        windows=rolling.size,
        independent=values.size / length,
    )


@checked
def stretches(flow: pl.DataFrame, *, horizon: timedelta, block: timedelta, confidence: float) -> tuple[int, int]:
    """Return the lengths of a horizon and a block, in intervals.

    Raises
    ------
    ArgumentError
        For a confidence outside 0 to 1, and for a horizon or a block that is not a whole number of intervals or
        is longer than the history.
    """
    if not 0 < confidence < 1:
        raise ArgumentError(f"must lie between 0 and 1, is {confidence!r}", argument="confidence")
    step = flow["time"].diff().min()
    if flow.height < 2 or not isinstance(step, timedelta):
        raise ArgumentError(f"must hold at least two intervals, holds {flow.height}", argument="flow")
    length, size = horizon // step, block // step
    if horizon % step or block % step or not 1 <= size <= length <= flow.height:
        raise ArgumentError(
            f"block and horizon must be whole intervals within the history of {flow.height} x {step}: "
            f"block {block}, horizon {horizon}"
        )
    return length, size


def drawn_rows(count: int, length: int, size: int, paths: int, rng: np.random.Generator) -> Integers:
    """Return (paths, length) intervals of paths assembled from blocks of a history, drawn with replacement."""
    starts = rng.integers(0, count - size + 1, (paths, -(-length // size)))
    return np.asarray((starts[:, :, None] + np.arange(size)).reshape(paths, -1)[:, :length])


def needs(flows: Floats) -> Floats:
    """Return (paths,) the largest drop of each path's cumulative flow below its start."""
    drops = -np.cumsum(flows, axis=1).min(axis=1, initial=0.0)
    return np.where(drops > ROUNDING * np.abs(flows).sum(axis=1), drops, 0.0)


def band(drawn: Floats, confidence: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a 95 % band of a quantile of drawn needs, by drawing among them again."""
    quantiles = [np.quantile(rng.choice(drawn, drawn.size), confidence) for _ in range(500)]
    low, high = np.quantile(quantiles, [0.025, 0.975])
    return float(low), float(high)


@checked
def cover(outcomes: pl.DataFrame, *, by: str = "position_id", largest: int = 1) -> float:
    """Return the losses beyond margin of the ``largest`` holders with the largest losses: cover-1, cover-2.

    Parameters
    ----------
    outcomes
        As a replay returns them; a negative ``fund_effect`` is a payment of the fund.
    by
        Column that identifies a holder (``account_id`` where accounts are known).

    Examples
    --------
    >>> from backtest.study import fund
    >>> round(fund.cover(strained.outcomes, largest=2))
    5798
    """
    if by not in outcomes.columns:
        raise ArgumentError(f"must be a column of the outcomes, is {by!r}", argument="by")
    losses = outcomes.group_by(by).agg(loss=-pl.col("fund_effect").sum().clip(upper_bound=0.0))
    return float(losses["loss"].top_k(min(largest, losses.height)).sum())


@checked
def fund_adequacy(fund: pl.DataFrame, outcomes: pl.DataFrame, open_interest: float) -> pl.DataFrame:
    """Return the usual measures of a fund's adequacy, one row.

    Returns
    -------
    ``fund, open_interest, over_open_interest, worst_day, over_worst_day, cover_1, cover_2``: the fund at the
    start, the open interest as given, their ratio, the largest net outflow of one day, the fund over it (null
    where there is none), and the losses of the one and the two holders with the largest losses.

    Examples
    --------
    >>> from backtest.study import fund
    >>> found = fund.fund_adequacy(strained.fund, strained.outcomes, 1e7)
    >>> found.select(pl.col("fund", "worst_day", "cover_1").round()).row(0)
    (100000.0, 5627.0, 4101.0)
    """
    path = fund.sort("time", maintain_order=True)
    start = start_of(path)
    days = fund_flow(fund, every="1d")["flow"]
    worst = float(max(0.0, -(days.min() or 0.0)))  # type: ignore[operator,arg-type]
    return pl.DataFrame(
        {
            "fund": [start],
            "open_interest": [float(open_interest)],
            "over_open_interest": [start / open_interest if open_interest > 0 else None],
            "worst_day": [worst],
            "over_worst_day": [start / worst if worst > 0 else None],
            "cover_1": [cover(outcomes)],
            "cover_2": [cover(outcomes, largest=2)],
        },
        schema_overrides={"over_open_interest": pl.Float64, "over_worst_day": pl.Float64},
    )
