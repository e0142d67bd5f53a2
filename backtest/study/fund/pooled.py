"""One fund for several symbols, or one each: how large, and what pooling saves.

Paths are put together from calendar blocks of the history drawn with replacement, *the same blocks for all*
symbols: those that ran dry together do so in every path. A pooled fund needs to cover the sum of the flows,
separate funds each its own symbol's, so that their needs add up. Drawing each symbol's blocks by itself tells what
the pooled fund would need if symbols had nothing to do with one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.schemas.arguments import checked
from backtest.study.fund.insurance import band, drawn_rows, fund_flow, needs, stretches


@checked
def symbol_flows(fund: pl.DataFrame, *, every: str = "1h") -> pl.DataFrame:
    """Return what went into a fund less what came out, by interval and symbol of the bar it came with.

    Parameters
    ----------
    fund
        As :class:`~backtest.engine.replay.replay.Replay` holds it: ``symbol, time, paid_in, paid_out``.
    every
        Interval as polars writes it.

    Returns
    -------
    ``time`` and a column a symbol, in order of name; every interval from the first to the last, 0 where nothing
    flowed. A deposit counts to the symbol whose bar was the first after it.
    """
    times = fund_flow(fund, every=every).select("time")
    for (symbol,), own in sorted(fund.partition_by("symbol", as_dict=True).items()):
        flow = own.sort("time").group_by_dynamic("time", every=every)
        sums = flow.agg((pl.col("paid_in") - pl.col("paid_out")).sum().alias(str(symbol)))
        times = times.join(sums, on="time", how="left", maintain_order="left")
    return times.fill_null(0.0)


@dataclass(frozen=True)
class PooledFunds:
    """How large one fund for all symbols must be, and one each."""

    confidence: float
    horizon: timedelta
    pooled: float  #: quantile of the need of the summed flow
    pooled_band: tuple[float, float]  #: 95 %, by drawing the paths again
    separate: dict[str, float]  #: quantile of each symbol's own need
    independent: float  #: of the summed flow where each symbol's blocks are drawn by themselves

    @property
    def apart(self) -> float:
        """What separate funds need together."""
        return float(sum(self.separate.values()))

    @property
    def saved(self) -> float:
        """The part of separate funds that one for all saves; NaN where none needs anything."""
        return 1.0 - self.pooled / self.apart if self.apart > 0 else float("nan")


@checked
def pooled_funds(
    flows: pl.DataFrame,
    *,
    horizon: timedelta,
    confidence: float = 0.99,
    block: timedelta = timedelta(days=1),
    paths: int = 2_000,
    seed: int = 0,
) -> PooledFunds:
    """Return what one fund for all symbols and what a fund each must hold over a horizon.

    Parameters
    ----------
    flows
        As :func:`symbol_flows` returns it, of a replay in which the fund never ran dry.
    horizon, block, confidence, paths, seed
        As for :func:`~backtest.study.fund.insurance.fund_size`.

    Raises
    ------
    ArgumentError
        For a frame without symbols, and as ``fund_size`` does.
    """
    symbols = [name for name in flows.columns if name != "time"]
    if not symbols:
        raise ArgumentError("must have a column a symbol beside time, has none", argument="flows")
    length, size = stretches(flows, horizon=horizon, block=block, confidence=confidence)
    rng, again = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    values = flows.select(symbols).to_numpy()

    def draw() -> Integers:
        return drawn_rows(flows.height, length, size, paths, rng)

    rows = draw()
    together = needs(_summed(values, lambda: rows))
    alone = {name: needs(values[rows, number]) for number, name in enumerate(symbols)}
    return PooledFunds(
        confidence=confidence,
        horizon=horizon,
        pooled=float(np.quantile(together, confidence)),
        pooled_band=band(together, confidence, again),
        separate={name: float(np.quantile(own, confidence)) for name, own in alone.items()},
        independent=float(np.quantile(needs(_summed(values, draw)), confidence)),
    )


def _summed(values: Floats, rows: Callable[[], Integers]) -> Floats:
    """Return (paths, length) the flows of all symbols, each at the rows given for it."""
    total = values[rows(), 0]
    for number in range(1, values.shape[1]):
        total = total + values[rows(), number]
    return np.asarray(total)
