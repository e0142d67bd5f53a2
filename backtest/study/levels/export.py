"""Export of level maps to the JSON formats of charting front ends.

A heatmap is ``y_axis`` (prices from low to high), ``liquidation_leverage_data`` (triples: place of the column,
place of the price, amount) and ``price_candlesticks`` (second of the opening, open, high, low, close, volume; all
but the first as text). A map is ``{price: [[price, amount, leverage, null], ...]}``. Front ends that read a
vendor's envelope expect either under ``data``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.levels.grid import column_bars
from backtest.study.levels.level_maps import LevelMap
from backtest.study.levels.levels import Levels

__all__ = ["heatmap_json", "map_json"]
__dir__ = __all__.copy

#: Figures of a price, decimals of an amount.
FIGURES, DECIMALS = 10, 2


@checked
def heatmap_json(levels: Levels, market: Market) -> dict[str, Any]:
    """Return a heatmap as front ends expect it.

    Returns
    -------
    ``y_axis``: the middle of each bin; ``liquidation_leverage_data``: a triple for each cell that is not empty, in
    order of time; ``price_candlesticks``: one a column; ``update_time``: end of the last column, s;
    ``assumptions``.

    Examples
    --------
    >>> from backtest.study.levels.export import heatmap_json
    >>> found = heatmap_json(open_levels, market)
    >>> list(found)
    ['y_axis', 'liquidation_leverage_data', 'price_candlesticks', 'update_time', 'assumptions']
    >>> len(found["y_axis"]), len(found["price_candlesticks"])
    (40, 46)
    """
    grid, cells = levels.grid, levels.amounts()
    columns, bins = np.nonzero(cells.T)
    amounts = np.round(cells[bins, columns], DECIMALS)
    return {
        "y_axis": [_price(value) for value in _middles(levels)],
        "liquidation_leverage_data": [
            list(triple) for triple in zip(columns.tolist(), bins.tolist(), amounts.tolist(), strict=True)
        ],
        "price_candlesticks": _candlesticks(levels, market),
        "update_time": int(grid.ends[-1]) // 1000,
        "assumptions": list(levels.assumptions),
    }


def map_json(found: LevelMap) -> dict[str, list[list[float | int | None]]]:
    """Return a liquidation map as front ends expect it: by price, an entry a bucket of leverage.

    The price is the middle of its bin, the leverage the mean of the bucket in it, by notional.

    Examples
    --------
    >>> from backtest.study.levels import level_map, without_drift
    >>> from backtest.study.levels.export import map_json
    >>> found = map_json(level_map(without_drift(book, market, venue), market, "BTCUSDT", noon))
    >>> next(iter(found.items()))
    ('29758.3125', [[29758.3125, 65980.01, 3, None]])
    """
    prices: dict[str, list[list[float | int | None]]] = {}
    for row in found.bars.sort("price_low", "leverage_bucket").iter_rows(named=True):
        price = _price((row["price_low"] + row["price_high"]) / 2)
        entry = [price, round(row["notional"], DECIMALS), round(row["mean_leverage"]), None]
        prices.setdefault(f"{price:.10g}", []).append(entry)
    return prices


def _middles(levels: Levels) -> list[float]:
    edges = levels.grid.price_edges
    return [float(middle) for middle in (edges[:-1] + edges[1:]) / 2]


def _candlesticks(levels: Levels, market: Market) -> list[list[int | str]]:
    grid = levels.grid
    bars = column_bars(market, grid).with_columns(volume=pl.Series(_volumes(levels, market)))
    seconds = bars["time"].dt.epoch("s")
    written = [[_text(value) for value in bars[name]] for name in ("open", "high", "low", "close", "volume")]
    return [[second, *values] for second, *values in zip(seconds, *written, strict=True)]


def _volumes(levels: Levels, market: Market) -> list[float]:
    """Return the volume of each column, base; 0 where the bars have no volume."""
    grid, sums = levels.grid, np.zeros(levels.grid.columns)
    if "volume" in market.bars.columns:
        own = market.bars.filter(pl.col("symbol") == grid.symbol)
        column = (own["time"].to_physical().to_numpy() - grid.start) // grid.step
        inside = (column >= 0) & (column < grid.columns)
        np.add.at(sums, column[inside], own["volume"].to_numpy()[inside])
    return sums.tolist()


def _price(value: float) -> float:
    return float(f"{value:.{FIGURES}g}")


def _text(value: float | None) -> str:
    return "0" if value is None else f"{value:.{FIGURES}g}"
