"""Grid of a level map: bins of price by columns of time, of one symbol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from backtest.amounts import plain
from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Time
from backtest.shown import shown

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

#: A window whose highest price is more than this many times its lowest gets bins of equal ratios.
LOGARITHMIC_FROM = 2.0

#: How far beyond the highest and lowest price of the window bins reach, as a part of the price.
REACH = 0.15

#: First figures of a round bin width.
ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, eq=False)
@shown()
class LevelGrid:
    """Bins [edge, next edge) by columns of equal length.

    Raises
    ------
    ArgumentError
        For fewer than two edges, edges that do not rise or are not positive, no columns, a step that is not a
        positive number of bars.
    """

    symbol: str
    price_edges: Floats  #: (bins + 1,) quote per base, rising
    logarithmic: bool  #: bins of equal ratios rather than of equal width
    start: int  #: ms, start of the first column, which may lie before the first bar
    interval: int  #: ms, length of a bar
    bars_a_column: int
    columns: int

    def __post_init__(self) -> None:
        edges = np.array(self.price_edges, np.float64)
        if edges.ndim != 1 or edges.size < 2 or not (np.isfinite(edges).all() and edges[0] > 0):
            raise ArgumentError(f"must be two or more positive prices, are {edges}", argument="price_edges")
        if not (np.diff(edges) > 0).all():
            raise ArgumentError(
                f"must rise, first not at {int(np.argmin(np.diff(edges) > 0)) + 1}", argument="price_edges"
            )
        if min(self.interval, self.bars_a_column, self.columns) < 1:
            raise ArgumentError(
                f"interval, bars_a_column and columns must be at least 1, are {self.interval}, "
                f"{self.bars_a_column}, {self.columns}"
            )
        object.__setattr__(self, "price_edges", readonly(edges))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.price_edges.size - 1

    @property
    def step(self) -> int:
        """Length of a column in milliseconds."""
        return self.interval * self.bars_a_column

    @property
    def ends(self) -> Integers:
        """(columns,) ms, moments the cells are taken at: the end of each column."""
        return self.start + self.step * np.arange(1, self.columns + 1, dtype=np.int64)

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Start of the first column and end of the last."""
        return moment_of(self.start), moment_of(self.start + self.step * self.columns)

    @property
    def width(self) -> str:
        """Width of a bin, as text."""
        edges = self.price_edges
        if self.logarithmic:
            return f"{plain(float(f'{100 * (edges[1] / edges[0] - 1):.2g}'))}%"
        return plain(float(f"{(edges[-1] - edges[0]) / self.bins:.6g}"))

    def column_at(self, moment: datetime) -> int:
        """Return the last column that has ended at a moment.

        Raises
        ------
        ArgumentError
            For moments at which none has ended.
        """
        column = (milliseconds(moment) - self.start) // self.step - 1
        if column < 0:
            raise ArgumentError(f"{moment:%Y-%m-%d %H:%M} lies before the end of the first column of the grid")
        return int(min(column, self.columns - 1))


@checked
def level_grid(
    market: Market,
    symbol: str,
    *,
    window: tuple[datetime, datetime] | None = None,
    prices: tuple[float, float] | None = None,
    bins: int = 300,
    columns: int = 1_000,
    logarithmic: bool | None = None,
) -> LevelGrid:
    """Return a grid over the bars of a symbol; its columns are laid backwards from the end of the last bar.

    Where whole columns do not fit, the first begins before the window, and nothing after its end is in any.

    Parameters
    ----------
    window : first and last moment; None: the whole history
    prices : lowest and highest price; None: the range of the window and 15 % beyond
    bins, columns : at most; bins of equal width get a round one, columns hold whole bars
    logarithmic : bins of equal ratios; None: where prices more than double

    Raises
    ------
    ArgumentError
        For an unknown symbol, an empty window, prices that are no range.

    Examples
    --------
    >>> from backtest.study.levels import level_grid
    >>> day = (datetime(2021, 5, 19, tzinfo=UTC), datetime(2021, 5, 20, tzinfo=UTC))
    >>> found = level_grid(market, "BTCUSDT", window=day, bins=40)
    >>> found.bins, found.columns, found.width
    (26, 24, '1,000')
    """
    if symbol not in market.symbols:
        raise ArgumentError(
            f"must be one of the bars' ({', '.join(market.symbols)}), is {symbol!r}", argument="symbol"
        )
    bars = market.bars.filter(pl.col("symbol") == symbol)
    if window is not None:
        bars = bars.filter(pl.col("time") >= window[0], pl.col("time") < window[1])
    if bars.is_empty():
        raise ArgumentError(f"the window leaves no bars of {symbol}")
    interval = int(market.intervals[market.symbols.index(symbol)])
    opening, last = bars["time"].to_physical().to_numpy()[[0, -1]]
    count = int((last - opening) // interval) + 1
    bars_a_column = -(-count // max(columns, 1))
    low, high = prices or _range(bars)
    if not 0 < low < high < math.inf or bins < 1:
        raise ArgumentError(
            f"must be a positive range and bins at least 1: {low}, {high}, {bins}", argument="prices"
        )
    by_ratio = high > LOGARITHMIC_FROM * low if logarithmic is None else logarithmic
    edges = np.geomspace(low, high, bins + 1) if by_ratio else round_edges(low, high, bins)
    across = -(-count // bars_a_column)
    start = int(last) + interval * (1 - bars_a_column * across)
    return LevelGrid(symbol, edges, by_ratio, start, interval, bars_a_column, across)


@checked
def column_bars(market: Market, grid: LevelGrid) -> pl.DataFrame:
    """Return the bars of a grid's symbol, one for each column.

    Returns
    -------
    A row a column: ``time`` (its start), ``open, high, low, close``, and ``covered``: whether it has any bar;
    without one its prices are the last close before it.

    Examples
    --------
    >>> from backtest.study.levels import column_bars
    >>> bars = column_bars(market, grid)
    >>> bars.columns
    ['time', 'open', 'high', 'low', 'close', 'covered']
    >>> bars.height == grid.columns
    True
    """
    column = (pl.col("time").dt.epoch("ms") - grid.start) // grid.step
    own = market.bars.filter(pl.col("symbol") == grid.symbol)
    found = (
        own.group_by(column=column, maintain_order=True)
        .agg(pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
        .sort("column")
    )
    every = pl.DataFrame({"column": np.arange(grid.columns)})
    joined = every.join_asof(found, on="column", coalesce=False, check_sortedness=False)
    still = pl.col("column_right") != pl.col("column")
    opening = (pl.col("column") * grid.step + grid.start).cast(Time).alias("time")
    prices = (pl.when(still).then(pl.col("close")).otherwise(name).alias(name) for name in ("open", "high", "low"))
    return joined.select(opening, *prices, "close", covered=~still)


def round_edges(low: float, high: float, bins: int) -> Floats:
    """Return edges of a round width, at multiples of it, that cover a range in about ``bins`` bins at most."""
    width = round_width((high - low) / bins)
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    lowest = max(first, 1)
    return np.asarray(np.arange(lowest, max(last, lowest + 1) + 1) * width, np.float64)


def round_width(least: float) -> float:
    """Return 1, 2, 2.5 or 5 times a power of ten: the smallest such width that is not below another."""
    unit = 10.0 ** math.floor(math.log10(least))
    return next(unit * figure for figure in ROUND if unit * figure >= least * (1 - 1e-9))


def milliseconds(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970."""
    return (moment - EPOCH) // MILLISECOND


def moment_of(time: int) -> datetime:
    """Return milliseconds since 1970 as a moment."""
    return EPOCH + time * MILLISECOND


def _range(bars: pl.DataFrame) -> tuple[float, float]:
    positive = bars.select(pl.col("low", "high").replace(0.0, None))
    low, high = positive["low"].min(), positive["high"].max()
    if low is None or high is None:
        raise DataError("bars of the window hold no positive price to lay bins over")
    return float(low) * (1 - REACH), float(high) * (1 + REACH)  # type: ignore[arg-type]
