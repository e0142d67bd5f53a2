"""Pooled insurance funds: one fund for several symbols against one each, and the saving from pooling.

Paths are assembled from calendar blocks of the history drawn with replacement, *the same blocks for all*
symbols: losses that came together do so in every path. A pooled fund has to cover the sum of the flows, separate
funds each their own symbol's, so that their needs add up. Drawing each symbol's blocks by itself gives the need of
the pooled fund if symbols were independent.
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
    """Return the net inflow of a fund, by interval and by symbol of the bar it came with.

    Parameters
    ----------
    fund
        As :class:`~backtest.engine.replay.replay.Replay` holds it: ``symbol, time, paid_in, paid_out``.
    every
        Interval as polars writes it.

    Returns
    -------
    ``time`` and a column a symbol, in order of name; every interval from the first to the last, 0 without
    payments. A deposit counts to the symbol whose bar was the first after it.

    Examples
    --------
    >>> from backtest.study import fund
    >>> fund.symbol_flows(strained.fund, every="1d").columns
    ['time', 'BTCUSDT']
    """
    times = fund_flow(fund, every=every).select("time")
    for (symbol,), own in sorted(fund.partition_by("symbol", as_dict=True).items()):
        flow = own.sort("time").group_by_dynamic("time", every=every)
        sums = flow.agg((pl.col("paid_in") - pl.col("paid_out")).sum().alias(str(symbol)))
        times = times.join(sums, on="time", how="left", maintain_order="left")
    return times.fill_null(0.0)


@dataclass(frozen=True)
class PooledFunds:
    """Required size of one fund for all symbols, and of one each.

    Examples
    --------
    >>> from backtest.study import fund
    >>> flows = fund.symbol_flows(strained.fund).with_columns(OTHER=pl.col("BTCUSDT").reverse())
    >>> list(fund.pooled_funds(flows, horizon=timedelta(days=2), paths=200).separate)
    ['BTCUSDT', 'OTHER']
    """

    confidence: float
    horizon: timedelta
    pooled: float  #: quantile of the need of the summed flow
    pooled_band: tuple[float, float]  #: 95 %, by drawing the paths again
    separate: dict[str, float]  #: quantile of each symbol's own need
    independent: float  #: of the summed flow where each symbol's blocks are drawn by themselves

    @property
    def apart(self) -> float:
        """Sum of the separate funds."""
        return float(sum(self.separate.values()))

    @property
    def saved(self) -> float:
        """Share of the separate funds that pooling saves; NaN where they are zero."""
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
    """Return the required size over a horizon of one fund for all symbols, and of one fund each.

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

    Examples
    --------
    >>> from backtest.study import fund
    >>> flows = fund.symbol_flows(strained.fund).with_columns(OTHER=pl.col("BTCUSDT").reverse())
    >>> found = fund.pooled_funds(flows, horizon=timedelta(days=2), paths=200)
    >>> round(found.pooled), round(found.apart)
    (10341, 15559)
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
