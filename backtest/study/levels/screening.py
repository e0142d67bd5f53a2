"""Screener: of several symbols, the largest crowds of levels near the price, and how likely they are reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.levels.clusters import Crowding, clusters_at
from backtest.study.levels.grid import moment_of
from backtest.study.levels.levels import Levels

__all__ = ["chance_of_touch", "screen"]
__dir__ = __all__.copy

DAY = timedelta(days=1)

#: Columns of a screener.
COLUMNS = {
    "symbol": pl.String, "side": pl.String, "price_low": pl.Float64, "price_high": pl.Float64,
    "mark_price": pl.Float64, "distance": pl.Float64, "days": pl.Float64, "chance": pl.Float64,
    "share": pl.Float64, "change": pl.Float64,
}  # fmt: skip


@checked
def screen(
    maps: Sequence[Levels], market: Market, *, reach: float = 0.03, horizon: timedelta = DAY
) -> pl.DataFrame:
    """Return the largest cluster of each symbol and side near the price.

    Parameters
    ----------
    maps : of one symbol each
    reach : how far from the price clusters are looked for, as a part of it
    horizon : over which ``chance`` is

    Returns
    -------
    A row a cluster, the likeliest first: ``symbol, side, price_low, price_high, mark_price``, ``distance`` (of
    the edge nearest to the price, a part of it), ``days`` (the same in days of volatility), ``chance`` that the
    edge is touched (NaN where the volatility is unknown), ``share`` of the side, and ``change`` of what these
    prices hold since a day before (NaN where they held nothing then, or where that lies before the map).

    Examples
    --------
    >>> from backtest.study.levels.screening import screen
    >>> found = screen([open_levels], market, reach=0.2)
    >>> found["side"].to_list(), bool(found["chance"].is_between(0, 1).all())
    (['long', 'short'], True)
    """
    rows = [row for levels in maps for row in _of_one(levels, market, reach, horizon)]
    known = pl.col("chance").fill_nan(-1.0)
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort(known, descending=True, maintain_order=True)


def chance_of_touch(days: float, horizon: timedelta) -> float:
    """Return the chance that a price without drift moves so many days of volatility to one side within a horizon.

    By the reflection principle, twice the chance to end beyond: 2 (1 - F(days / sqrt(horizon in days))), F of the
    standard normal distribution.

    Examples
    --------
    >>> from backtest.study.levels.screening import chance_of_touch
    >>> round(chance_of_touch(1.0, timedelta(days=1)), 4)
    0.3173
    """
    if math.isnan(days):
        return math.nan
    return math.erfc(days / math.sqrt(2 * (horizon / DAY)))


def _of_one(levels: Levels, market: Market, reach: float, horizon: timedelta) -> list[tuple[object, ...]]:
    found = clusters_at(levels, market, rule=Crowding(reach=reach))
    first = found.unique("side", keep="first", maintain_order=True)
    rows: list[tuple[object, ...]] = []
    for row in first.iter_rows(named=True):
        side, mark = str(row["side"]), float(row["mark_price"])
        edge = min(row["price_high"], mark) if side == "long" else max(row["price_low"], mark)
        away = abs(math.log(row["centre"] / mark))
        days = row["days"] * abs(math.log(edge / mark)) / away if away else math.nan
        low, high, chance = row["price_low"], row["price_high"], chance_of_touch(days, horizon)
        known = levels.grid.symbol, side, low, high, mark, edge / mark - 1, days, chance, row["share"]
        rows.append((*known, _change(levels, side, low, high)))
    return rows


def _change(levels: Levels, side: str, low: float, high: float) -> float:
    """Return the change of what prices hold at the end of a map since a day before, as a part of that."""
    before = moment_of(int(levels.grid.ends[-1])) - DAY
    if before < moment_of(int(levels.grid.ends[0])):
        return math.nan
    edges = levels.grid.price_edges
    own = (edges[:-1] >= low * (1 - 1e-12)) & (edges[1:] <= high * (1 + 1e-12))
    now, then = (float(np.sum(levels.at(column, side)[own])) for column in (-1, levels.grid.column_at(before)))
    return now / then - 1 if then > 0 else math.nan
