"""Export of level maps to the JSON formats of charting front ends.

A heatmap is ``y_axis`` (middle of each price bin, from low to high), ``liquidation_leverage_data`` (triples: index
of the column, index of the price in ``y_axis``, amount) and ``price_candlesticks`` (second of the opening, open,
high, low, close, volume; all but the first as text). A map is ``{price: [[price, amount, leverage, null], ...]}``,
its leverage one of ``TIERS``. Front ends that read a vendor's envelope expect either under ``data``.

Front ends read amounts and volume as dollars: volume is written in the quote currency, and so are amounts in base
(``in_base``: those of inverse contracts, and quantities).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.study.levels.grid import column_bars
from backtest.study.levels.level_maps import LevelMap
from backtest.study.levels.levels import Levels

__all__ = ["heatmap_json", "lightweight_charts", "map_json"]
__dir__ = __all__.copy

#: Figures of a price, decimals of an amount.
FIGURES, DECIMALS = 10, 2

#: Leverage that front ends know, low to high.
TIERS = np.array([5, 10, 25, 50, 100])


@checked
def heatmap_json(levels: Levels, market: Market, *, in_base: bool = False) -> dict[str, Any]:
    """Return a heatmap as front ends expect it.

    Parameters
    ----------
    levels, market : of one symbol
    in_base : amounts are in base, as those of inverse contracts: they are written times the middle of their bin;
        quantities always are

    Returns
    -------
    ``y_axis``: the middle of each bin; ``liquidation_leverage_data``: a triple for each cell that is not empty, in
    order of time; ``price_candlesticks``: one a column, its volume in quote; ``update_time``: end of the last
    column, s; ``assumptions``.

    Examples
    --------
    >>> from backtest.study.levels.export import heatmap_json
    >>> found = heatmap_json(open_levels, market)
    >>> list(found)
    ['y_axis', 'liquidation_leverage_data', 'price_candlesticks', 'update_time', 'assumptions']
    >>> len(found["y_axis"]), len(found["price_candlesticks"])
    (40, 46)
    """
    grid, cells, middles = levels.grid, levels.amounts(), _middles(levels)
    if in_base or levels.measure == "quantity":
        cells = cells * middles[:, None]
    columns, bins = np.nonzero(cells.T)
    amounts = np.round(cells[bins, columns], DECIMALS)
    return {
        "y_axis": [_price(value) for value in middles],
        "liquidation_leverage_data": [
            list(triple) for triple in zip(columns.tolist(), bins.tolist(), amounts.tolist(), strict=True)
        ],
        "price_candlesticks": _candlesticks(levels, market),
        "update_time": int(grid.ends[-1]) // 1000,
        "assumptions": list(levels.assumptions),
    }


@checked
def map_json(found: LevelMap, *, in_base: bool = False) -> dict[str, list[list[float | int | None]]]:
    """Return a liquidation map as front ends expect it: by price, an entry a tier of leverage.

    The price is the middle of its bin. The leverage is the tier (5, 10, 25, 50 or 100) nearest by ratio to the
    mean, by notional, of each leverage bucket in the bin.

    Parameters
    ----------
    in_base : as in :func:`heatmap_json`

    Examples
    --------
    >>> from backtest.study.levels import level_map, without_drift
    >>> from backtest.study.levels.export import map_json
    >>> found = map_json(level_map(without_drift(book, market, venue), market, "BTCUSDT", noon))
    >>> next(iter(found.items()))
    ('29700', [[29700.0, 65980.01, 5, None]])
    """
    away = np.abs(np.log(found.bars["mean_leverage"].to_numpy()[:, None] / TIERS))
    middle = (pl.col("price_low") + pl.col("price_high")) / 2
    entries = found.bars.select(
        middle.alias("price"),
        amount=pl.col("notional") * (middle if in_base else 1.0),
        tier=pl.Series(TIERS[away.argmin(axis=1)]),
    )
    sums = entries.group_by("price", "tier").agg(pl.sum("amount")).sort("price", "tier")
    prices: dict[str, list[list[float | int | None]]] = {}
    for middle_price, tier, amount in sums.iter_rows():
        price = _price(middle_price)
        prices.setdefault(f"{price:.10g}", []).append([price, round(amount, DECIMALS), tier, None])
    return prices


@checked
def lightweight_charts(
    levels: Levels, market: Market, clusters: pl.DataFrame | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Return series as the library lightweight-charts takes them: candles, price lines and histograms.

    Parameters
    ----------
    levels, market : of one symbol
    clusters : as ``clusters_at`` returns them; each is a price line

    Returns
    -------
    ``candles`` (``time`` in seconds, ``open, high, low, close``), ``price_lines`` (``price, title``), and ``long``
    and ``short`` (``time, value``): what is open at all prices at the end of each column; those of shorts are
    negative, to be drawn below zero.

    Examples
    --------
    >>> from backtest.study.levels.export import lightweight_charts
    >>> found = lightweight_charts(open_levels, market)
    >>> list(found), len(found["candles"]), list(found["candles"][0])
    (['candles', 'price_lines', 'long', 'short'], 46, ['time', 'open', 'high', 'low', 'close'])
    """
    bars = column_bars(market, levels.grid).with_columns(second=pl.col("time").dt.epoch("s"))
    known = bars.drop_nulls(["open", "high", "low", "close"])
    seconds = bars["second"].to_list()
    totals = levels.totals()
    lines = [] if clusters is None else clusters.to_dicts()
    return {
        "candles": [
            {"time": row["second"], **{name: row[name] for name in ("open", "high", "low", "close")}}
            for row in known.iter_rows(named=True)
        ],
        "price_lines": [
            {"price": _price(row["centre"]), "title": f"{row['side']}s, {100 * row['share']:.0f} % of the side"}
            for row in lines
        ],
        **{
            side: [
                {"time": second, "value": sign * round(value, DECIMALS)}
                for second, value in zip(seconds, totals[side], strict=True)
            ]
            for side, sign in (("long", 1), ("short", -1))
        },
    }


def _middles(levels: Levels) -> Floats:
    edges = levels.grid.price_edges
    return np.asarray((edges[:-1] + edges[1:]) / 2)


def _candlesticks(levels: Levels, market: Market) -> list[list[int | str]]:
    grid = levels.grid
    bars = column_bars(market, grid).with_columns(volume=pl.Series(_volumes(levels, market)))
    seconds = bars["time"].dt.epoch("s")
    written = [[_text(value) for value in bars[name]] for name in ("open", "high", "low", "close", "volume")]
    return [[second, *values] for second, *values in zip(seconds, *written, strict=True)]


def _volumes(levels: Levels, market: Market) -> list[float]:
    """Return the volume of each column in quote, each bar's at its mean price; 0 where the bars have no volume."""
    grid, sums = levels.grid, np.zeros(levels.grid.columns)
    if "volume" in market.bars.columns:
        mean = pl.mean_horizontal("open", "high", "low", "close")
        own = market.bars.filter(pl.col("symbol") == grid.symbol).select("time", quote=pl.col("volume") * mean)
        column = (own["time"].to_physical().to_numpy() - grid.start) // grid.step
        inside = (column >= 0) & (column < grid.columns)
        np.add.at(sums, column[inside], own["quote"].fill_null(0.0).to_numpy()[inside])
    return sums.tolist()


def _price(value: float) -> float:
    return float(f"{value:.{FIGURES}g}")


def _text(value: float | None) -> str:
    return "0" if value is None else f"{value:.{FIGURES}g}"
