"""The insurance fund: its path, its worst fall, and how large it must be.

A fund's *flow* is what goes in less what comes out, interval by interval. The *need* of a stretch is how far the
running sum of its flow falls below where the stretch began: a fund of that size at the beginning would not have
run dry. Sizes for a confidence are quantiles of the need over many stretches, taken from history as they are
(rolling windows) or put together from calendar blocks drawn with replacement, the same blocks for all symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.schemas.arguments import checked


@checked
def fund_flow(fund: pl.DataFrame, *, every: str = "1h") -> pl.DataFrame:
    """Return the fund's flow by interval, intervals without any included.

    Parameters
    ----------
    fund
        As :class:`~backtest.engine.replay.replay.Replay` holds it: ``time, fund, paid_in, paid_out``.
    every
        Interval as polars writes it.

    Returns
    -------
    ``time, paid_in, paid_out, flow``.
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
    """Return how far the running sum of a flow falls below zero, at its lowest."""
    return float(max(0.0, -np.min(np.cumsum(flow), initial=0.0)))


@checked
def drawdown(fund: pl.DataFrame) -> pl.DataFrame:
    """Return the fund's path with its highest so far, what it began with included, and how far below that it is.

    Returns
    -------
    The frame in order of time with ``highest`` and ``drawdown`` (zero or more, settlement currency).
    """
    path = fund.sort("time", maintain_order=True)
    return path.with_columns(
        highest=pl.max_horizontal(pl.lit(start_of(path)), pl.col("fund").cum_max())
    ).with_columns(drawdown=pl.col("highest") - pl.col("fund"))


@checked
def start_of(fund: pl.DataFrame) -> float:
    """Return what a fund held before the first bar of its path, in order of time."""
    return float(fund["fund"][0] - fund["paid_in"][0] + fund["paid_out"][0])


@dataclass(frozen=True)
class FundSize:
    """How large a fund must be, two ways, and how much that rests on."""

    confidence: float
    horizon: timedelta
    rolling: float  #: quantile of the need over all windows of the history
    bootstrap: float  #: quantile of the need over paths of drawn blocks
    low: float  #: of a 95 % band of the latter, by drawing the paths again
    high: float
    worst: float  #: largest need of any window
    windows: int  #: overlapping ones
    independent: float  #: length of the history over the horizon: how many do not overlap


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
    """Return the fund that suffices over a horizon with a confidence.

    Parameters
    ----------
    flow
        As :func:`fund_flow` returns it, of a replay in which the fund never ran dry (else what it could not pay is
        missing from its flow).
    horizon, block
        Whole intervals of the flow; blocks keep together what came together.
    confidence
        Share of stretches the fund must outlast.
    paths, seed
        Of the bootstrap.

    Raises
    ------
    ArgumentError
        For a confidence outside 0 to 1, or a horizon or a block the history does not hold.
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
    """Return how many intervals a horizon and a block are of.

    Raises
    ------
    ArgumentError
        For a confidence outside 0 to 1, and for a horizon or a block that is no whole number of intervals or that
        the history does not hold.
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
    """Return (paths, length) the intervals of paths put together from blocks of a history, with replacement."""
    starts = rng.integers(0, count - size + 1, (paths, -(-length // size)))
    return np.asarray((starts[:, :, None] + np.arange(size)).reshape(paths, -1)[:, :length])


def needs(flows: Floats) -> Floats:
    """Return (paths,) how far each path's running sum falls below its beginning."""
    return np.asarray(np.maximum(0.0, -np.cumsum(flows, axis=1).min(axis=1)))


def band(drawn: Floats, confidence: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a 95 % band of a quantile of drawn needs, by drawing among them again."""
    quantiles = [np.quantile(rng.choice(drawn, drawn.size), confidence) for _ in range(500)]
    low, high = np.quantile(quantiles, [0.025, 0.975])
    return float(low), float(high)


@checked
def cover(outcomes: pl.DataFrame, *, by: str = "position_id", largest: int = 1) -> float:
    """Return the losses beyond margin of the ``largest`` holders that lost most: cover-1, cover-2.

    Parameters
    ----------
    outcomes
        As a replay returns them; ``fund_effect`` below zero is what the fund paid.
    by
        Column that says who belongs together (``account_id`` where accounts are known).
    """
    if by not in outcomes.columns:
        raise ArgumentError(f"must be a column of the outcomes, is {by!r}", argument="by")
    losses = outcomes.group_by(by).agg(loss=-pl.col("fund_effect").sum().clip(upper_bound=0.0))
    return float(losses["loss"].top_k(min(largest, losses.height)).sum())


@checked
def fund_adequacy(fund: pl.DataFrame, outcomes: pl.DataFrame, open_interest: float) -> pl.DataFrame:
    """Return what is commonly held against a fund, one row.

    Returns
    -------
    ``fund, open_interest, over_open_interest, worst_day, over_worst_day, cover_1, cover_2``: the fund at the
    start, the notional held as given, their ratio, the largest draw of one day, the fund over it (null where none
    is), and the losses of the one and the two holders that lost most.
    """
    path = fund.sort("time", maintain_order=True)
    start = start_of(path)
    days = fund_flow(fund, every="1d")["flow"]
    worst = float(max(0.0, -(days.min() or 0.0)))  # type: ignore[operator,arg-type]
    return pl.DataFrame(
        {
            "fund": [start],
            "open_interest": [open_interest],
            "over_open_interest": [start / open_interest if open_interest > 0 else None],
            "worst_day": [worst],
            "over_worst_day": [start / worst if worst > 0 else None],
            "cover_1": [cover(outcomes)],
            "cover_2": [cover(outcomes, largest=2)],
        },
        schema_overrides={"over_open_interest": pl.Float64, "over_worst_day": pl.Float64},
    )
