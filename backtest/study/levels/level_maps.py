"""Liquidation map: open levels around the price at one moment, by distance and leverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Side
from backtest.shown import shown
from backtest.study.levels.cells import SIDES
from backtest.study.levels.grid import round_width
from backtest.study.levels.levels import unit_of
from backtest.study.levels.open_levels import open_levels_at
from backtest.study.liquidations.grouping import LEVERAGE_EDGES, leverage, leverage_bucket
from backtest.study.units import countable, in_currency, total, whole_units

#: A multiple of the width nearer than this part of it to the price or an end of the map is no edge of its own.
SLIVER = 1e-6


@dataclass(frozen=True, eq=False)
@shown()
class LevelMap:
    """Open levels around the price at one moment, in bins that meet at multiples of a round width.

    The price itself is an edge, at which its bin is divided, and so are the ends of the map. Long levels lie below
    the price, short levels above it. ``overdue`` is the notional on the wrong side: of positions that another
    price than the mark triggers.
    """

    symbol: str
    moment: datetime  #: end of the bar
    mark_price: float  #: its close
    bars: pl.DataFrame  #: bins that are not empty, as :func:`level_map` says
    cumulative: (
        pl.DataFrame
    )  #: ``price, long, short``: notional between the price and each edge; zero at the price
    overdue: float
    beyond: float  #: notional further away than the map reaches
    width: float = 0.0  #: of a whole bin


@checked
def mark_at(market: Market, symbol: str, moment: datetime | None = None) -> tuple[datetime, float]:
    """Return the end and the close of the last bar of a symbol that has ended at a moment; None: the last of all.

    Raises
    ------
    ArgumentError
        For an unknown symbol, and moments before the end of its first bar.
    """
    if symbol not in market.symbols:
        raise ArgumentError(
            f"must be one of the bars' ({', '.join(market.symbols)}), is {symbol!r}", argument="symbol"
        )
    interval = timedelta(milliseconds=int(market.intervals[market.symbols.index(symbol)]))
    bars = market.bars.filter(pl.col("symbol") == symbol).select(end=pl.col("time") + interval, close="close")
    if moment is not None:
        bars = bars.filter(pl.col("end") <= moment)
    if bars.is_empty() and moment is not None:
        raise ArgumentError(f"no bar of {symbol} has ended at {moment:%Y-%m-%d %H:%M}")
    end, close = bars.row(-1)
    return end, close


@checked
def level_map(
    outcomes: pl.DataFrame,
    market: Market,
    symbol: str,
    moment: datetime | None = None,
    *,
    reach: float = 0.25,
    bins: int = 60,
    leverage_edges: Sequence[float] = LEVERAGE_EDGES,
    survival: pl.DataFrame | None = None,
    pieces: pl.DataFrame | None = None,
    unit: float | None = None,
) -> LevelMap:
    """Return the open levels around the price.

    Parameters
    ----------
    outcomes : as ``sweep`` returns them; without funding unless there are ``pieces``
    moment : taken at the end of the last bar by then; None: of the history
    reach : how far to either side, as a part of the price, below 1; that of ``clusters.Crowding`` by default
    bins : to each side, at most, of a round width: 1, 2, 2.5 or 5 times a power of ten
    leverage_edges : as in ``flow.leverage_bucket``
    survival, pieces : as in ``levels.levels``
    unit : settlement currency that each level is rounded to; None: a cent, 1e-8 of a coin for inverse contracts

    Returns
    -------
    A map whose ``bars`` are ``side, leverage_bucket, notional, mean_leverage, price_low, price_high``.

    Raises
    ------
    ArgumentError
        For a reach outside 0 to 1, no bins, moments before the first bar has ended.

    Examples
    --------
    >>> from backtest.study.levels import level_map, without_drift
    >>> found = level_map(without_drift(book, market, venue), market, "BTCUSDT", noon)
    >>> found.mark_price
    38710.0
    >>> found.bars.group_by("side", maintain_order=True).agg(pl.col("notional").sum().round(0))
    shape: (2, 2)
    ┌───────┬──────────┐
    │ side  ┆ notional │
    │ ---   ┆ ---      │
    │ enum  ┆ f64      │
    ╞═══════╪══════════╡
    │ long  ┆ 101113.0 │
    │ short ┆ 36396.0  │
    └───────┴──────────┘
    """
    if not (0 < reach < 1 and bins >= 1):
        raise ArgumentError(f"a map needs a reach between 0 and 1 and bins of 1 or more: {reach} and {bins}")
    unit = unit_of(outcomes, symbol, unit=unit)
    end, price = mark_at(market, symbol, moment)
    edges, width = _edges(price, reach, bins)
    levels = open_levels_at(outcomes, symbol, end, survival=survival, pieces=pieces)
    level, is_long = pl.col("liquidation_price"), pl.col("side") == "long"
    ahead = pl.when(is_long).then(level < price).otherwise(level > price)
    places = np.searchsorted(edges, levels["liquidation_price"].to_numpy(), side="right") - 1
    counted = levels.select(
        "side",
        leverage_bucket(leverage(levels), leverage_edges),
        bin=pl.Series(places),
        ahead=ahead,
        used=leverage(levels),
        units=whole_units(pl.col("amount"), unit),
    )
    rows = counted.with_columns(countable(counted.select("units"), "positions"))
    inside = pl.col("bin").is_between(0, edges.size - 2)
    kept = rows.filter(inside, "ahead")
    bars = (
        kept.group_by("side", "bin", "leverage_bucket")
        .agg(
            notional=in_currency(total(pl.col("units")), unit),
            mean_leverage=(pl.col("used") * pl.col("units")).sum() / total(pl.col("units")),
        )
        .filter(pl.col("notional") > 0)
        .sort("side", "bin", "leverage_bucket")
    )
    low, high = (pl.Series(values).gather(bars["bin"]) for values in (edges[:-1], edges[1:]))
    beside = rows.group_by("ahead", inside.alias("inside")).agg(in_currency(total(pl.col("units")), unit))
    return LevelMap(
        symbol,
        end,
        price,
        bars.select("side", "leverage_bucket", "notional", "mean_leverage", price_low=low, price_high=high),
        _cumulative(kept, edges, unit),
        float(beside.filter(~pl.col("ahead"))["units"].sum()),
        float(beside.filter("ahead", ~pl.col("inside"))["units"].sum()),
        width,
    )


def _edges(price: float, reach: float, bins: int) -> tuple[Floats, float]:
    """Return the ends of the map, the price, and the multiples of a round width between them; and that width."""
    width = round_width(price * reach / bins)
    ends = price * (1 - reach), price, price * (1 + reach)
    rounds = np.arange(math.ceil(ends[0] / width), math.floor(ends[2] / width) + 1) * width
    apart = np.abs(rounds[:, None] - np.array(ends)).min(axis=1) > SLIVER * width
    return np.sort(np.concatenate([ends, rounds[apart]])), width


def _cumulative(rows: pl.DataFrame, edges: Floats, unit: float) -> pl.DataFrame:
    units = {side: np.zeros(edges.size - 1, np.int64) for side in SIDES}
    for side, sums in units.items():
        own = rows.filter(pl.col("side") == pl.lit(side).cast(Side))
        np.add.at(sums, own["bin"].to_numpy(), own["units"].to_numpy())
    below = np.cumsum(units["long"][::-1])[::-1]
    above = np.cumsum(units["short"])
    return pl.DataFrame(
        {
            "price": edges,
            "long": np.append(below, 0) / (1 / unit),
            "short": np.append(0, above) / (1 / unit),
        }
    )
