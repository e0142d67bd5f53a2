"""A market: price and funding history, symbol by symbol."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl

from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.bar_checks import (
    by_symbol,
    check_funding_symbols,
    check_intervals,
    check_prices,
    checked_limit,
    without_bars,
)
from backtest.market.inside_bars import finer_bars
from backtest.market.late_stamps import moved_back
from backtest.schemas.arguments import checked
from backtest.schemas.conversion import converted
from backtest.schemas.frames import BARS, FUNDING, PRICE_PREFIX
from backtest.schemas.given_frames import owned
from backtest.schemas.validation import conform, require_order
from backtest.shown import shown

Made = TypeVar("Made")

GAP_LIMIT = timedelta(hours=6)
INTERVAL = re.compile(r"([1-9]\d*(ms|s|m|h|d|w|mo|q|y))+")
ONE_MINUTE = 60_000  # interval of a lone bar, which has no neighbour to measure it by


@shown("symbols", "bars", "funding", "gap_limit", "description")
class Market:
    """Price bars and funding rates, checked, by symbol and time.

    Parameters
    ----------
    bars
        Any frame (polars, pandas, Arrow, columns by name) of ``symbol, time, open, high, low, close`` of the mark
        price, a row a bar; optionally ``last_open`` …, ``index_open`` …, ``volume``, ``spot_volume``,
        ``open_interest`` (base units).
    funding
        ``symbol, time, rate``: fractions of notional, longs pay a positive rate. Symbols without bars are left
        out.
    gap_limit
        The longest stretch of missing bars that a position may be held through; None: any. After a longer one its
        outcome is unknown.
    description
        Origin of the prices, printed in footers and summaries.
    price_venue
        Name of the venue whose prices these are; empty: not known. Commands say so where the rules are another's.

    Raises
    ------
    DataError
        For frames that break their schema, unsorted or duplicate times, overlapping bars, prices of zero, funding
        of other symbols only.

    Examples
    --------
    >>> from backtest import Market
    >>> Market(bars, description="my prices")
    Market(BTCUSDT: 408 bars, 2021-05-10 to 2021-05-26)
    >>> Market(bars).select(start=noon).resample("4h")
    Market(BTCUSDT: 45 bars, 2021-05-19 to 2021-05-26)
    """

    @checked
    def __init__(
        self,
        bars: pl.DataFrame,
        funding: pl.DataFrame | None = None,
        *,
        gap_limit: timedelta | None = GAP_LIMIT,
        description: str = "",
        price_venue: str = "",
    ) -> None:
        self.bars = owned(by_symbol(conform(bars, BARS)))
        self.gap_limit = checked_limit(gap_limit)
        self.description, self.price_venue = description, price_venue
        self._made: dict[str, tuple[object, Any]] = {}  # by name, with the key it was made for
        check_prices(self.bars)
        require_order(self.bars, "bars")
        check_intervals(self.times, self._rows(), self.symbols, self.intervals)
        self.funding = None if funding is None else owned(by_symbol(conform(funding, FUNDING)))
        if self.funding is not None:
            require_order(self.funding, "funding")
            check_funding_symbols(self.funding, self.symbols)

    @classmethod
    def from_given(cls, given: Any, name: str) -> Market:
        """Return a market as it is, or the market of a frame of bars, without funding."""
        if isinstance(given, cls):
            return given
        return cls(converted(given, pl.DataFrame, name, "a Market or a frame of bars"))

    def __repr__(self) -> str:
        span = self.bars.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
        return "Market({}: {:,} bars, {:%Y-%m-%d} to {:%Y-%m-%d})".format(
            ", ".join(self.symbols), self.bars.height, *span
        )

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order of their bars."""
        return tuple(self.bars["symbol"].unique(maintain_order=True))

    @cached_property
    def firsts(self) -> Integers:
        """(symbols + 1,) the row at which each symbol's bars begin, and the number of rows."""
        counts = self.bars.group_by("symbol", maintain_order=True).len()["len"].to_numpy()
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def times(self) -> Integers:
        """(rows,) open times, UTC milliseconds."""
        return readonly(self.bars["time"].to_physical().to_numpy())

    @cached_property
    def intervals(self) -> Integers:
        """(symbols,) milliseconds a bar covers: the most common distance between bars of a symbol."""
        found = [_most_common_step(self.times[rows]) for rows in self._rows()]
        lone = max(found) or ONE_MINUTE
        return np.array([step or lone for step in found], np.int64)

    @cached_property
    def charge_times(self) -> Integers:
        """(rows of ``funding``,) UTC milliseconds: the time of each stamp, moved back where it is late."""
        return np.zeros(0, np.int64) if self.funding is None else readonly(moved_back(self.funding))

    def has(self, series: str) -> bool:
        """Whether the bars hold a price series: ``mark``, ``last`` or ``index``."""
        prefix = PRICE_PREFIX[series]
        return all(f"{prefix}{part}" in self.bars.columns for part in ("open", "high", "low", "close"))

    def prices(self, series: str, part: str) -> Floats:
        """Return (rows,) one of ``open, high, low, close`` of a price series.

        Raises
        ------
        ArgumentError
            Where the bars do not hold the series.
        """
        if not self.has(series):
            needed = [f"{PRICE_PREFIX[series]}{name}" for name in ("open", "high", "low", "close")]
            missing = [name for name in needed if name not in self.bars.columns]
            raise ArgumentError(
                f"bars must have columns {', '.join(missing)}: a trigger or a fill needs the {series} price"
            )
        return readonly(self.bars[f"{PRICE_PREFIX[series]}{part}"].to_numpy())

    def gaps(self) -> pl.DataFrame:
        """Return stretches of missing bars: symbol, start, end, missing_bars, long (beyond the gap limit)."""
        return self._gaps

    @cached_property
    def _gaps(self) -> pl.DataFrame:
        limit = np.inf if self.gap_limit is None else self.gap_limit / timedelta(milliseconds=1)
        intervals = pl.DataFrame({"symbol": list(self.symbols), "interval": self.intervals})
        end_before = pl.col("time").dt.epoch("ms").shift(1).over("symbol") + pl.col("interval")
        missing = pl.col("time").dt.epoch("ms") - pl.col("start")
        return (
            self.bars.lazy()
            .select("symbol", "time")
            .join(intervals.lazy(), on="symbol", maintain_order="left")
            .with_columns(start=end_before)
            .filter(missing > 0)
            .select(
                "symbol",
                start=pl.col("start").cast(pl.Datetime("ms", "UTC")),
                end="time",
                missing_bars=(missing + pl.col("interval") - 1) // pl.col("interval"),
                long=missing > limit,
            )
            .collect()
        )

    def select(
        self, symbols: Iterable[str] | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> Market:
        """Return the market of some symbols, and of the bars that open from ``start`` to before ``end``.

        Funding is kept for these symbols, at all times: charges outside the bars affect no position.

        Raises
        ------
        ArgumentError
            For symbols the bars do not hold, and where no bars are left.
        """
        rows, rates = [pl.lit(True)], self.funding
        if symbols is not None:
            kept = list(symbols)
            strange = [symbol for symbol in kept if symbol not in self.symbols]
            if strange:
                sentence = f"names {strange[0]}, which is not in the bars: there are {', '.join(self.symbols)}"
                raise ArgumentError(sentence, argument="symbols")
            rows.append(pl.col("symbol").is_in(kept))
            rates = None if rates is None else rates.filter(pl.col("symbol").is_in(kept))
        if start is not None:
            rows.append(pl.col("time") >= start)
        if end is not None:
            rows.append(pl.col("time") < end)
        bars = self.bars.filter(rows)
        if bars.is_empty():
            raise ArgumentError(without_bars(self.bars, start, end), argument="end" if start is None else "start")
        return self._with(bars, None if rates is None or rates.is_empty() else rates)

    def without_funding(self) -> Market:
        """Return the market without its funding."""
        return self._with(self.bars, None)

    def with_last_price(self) -> Market:
        """Return the market with a last price: its own, or the mark price in its place."""
        if self.has("last"):
            return self
        prices = pl.col("open", "high", "low", "close").name.prefix(PRICE_PREFIX["last"])
        return self._with(self.bars.with_columns(prices), self.funding)

    def _with(self, bars: pl.DataFrame, funding: pl.DataFrame | None) -> Market:
        return Market(
            bars,
            funding,
            gap_limit=self.gap_limit,
            description=self.description,
            price_venue=self.price_venue,
        )

    def kept(self, name: str, key: object) -> Any:
        """Return the value last kept under a name; None where it was made for another key."""
        last_key, made = self._made.get(name, (None, None))
        return made if last_key == key else None

    def keep(self, name: str, key: object, made: Made) -> Made:
        """Keep a value made from this market under a name, for later calls, and return it."""
        self._made[name] = (key, made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave out kept values: they can be made again."""
        return {**self.__dict__, "_made": {}}

    def resample(self, every: str) -> Market:
        """Return the market in coarser bars: first open, highest high, lowest low, last close.

        Parameters
        ----------
        every
            The new interval as polars writes it: ``"5m"``, ``"1h"``, ``"1d"``.

        Raises
        ------
        ArgumentError
            For text that is no interval.
        """
        combine = {
            "open": pl.Expr.first,
            "high": pl.Expr.max,
            "low": pl.Expr.min,
            "close": pl.Expr.last,
            "volume": pl.Expr.sum,
            "taker_buy_volume": pl.Expr.sum,
            "spot_volume": pl.Expr.sum,
            "open_interest": pl.Expr.last,
        }
        values = [
            combine[name.removeprefix("last_").removeprefix("index_")](pl.col(name))
            for name in self.bars.columns
            if name.removeprefix("last_").removeprefix("index_") in combine
        ]
        if not (isinstance(every, str) and INTERVAL.fullmatch(every)):
            raise ArgumentError(f"must be an interval like 5m, 1h or 1d, is {every!r}", argument="every")
        coarse = self.bars.group_by_dynamic("time", every=every, group_by="symbol").agg(values)
        names = [name for name in self.bars.columns if name in coarse.columns]
        return self._with(coarse.select(names), self.funding)

    def refined(self, nodes: int, *, seed: int = 0) -> Market:
        """Return the market in finer bars, whose prices are drawn inside the bars there are.

        Each bar becomes ``nodes`` bars that have together its open, high, low and close; between these the price
        is a random walk (``market.inside_bars``). Gaps stay. Volumes are shared out evenly, open interest is
        repeated.

        Parameters
        ----------
        nodes
            Finer bars to a bar, 2 to 10,000; they must be whole milliseconds long.
        seed
            Of the draws: each seed is another history that these bars may have had.

        Raises
        ------
        ArgumentError
            For numbers out of their range.

        Examples
        --------
        >>> fine = market.select(start=noon).refined(60)
        >>> fine
        Market(BTCUSDT: 10,740 bars, 2021-05-19 to 2021-05-26)
        >>> fine.resample("1h").bars["low"].equals(market.select(start=noon).bars["low"])
        True
        """
        return self._with(finer_bars(self, nodes, seed), self.funding)

    def long_gaps(self, symbol: int, limit: timedelta | None) -> Integers:
        """Return the bars of a symbol, counted from its first, that open after a gap beyond a limit."""
        if limit is None:
            return np.zeros(0, np.int64)
        times = self.times[self._rows()[symbol]]
        missing = np.diff(times) - self.intervals[symbol]
        return np.flatnonzero(missing > limit / timedelta(milliseconds=1)) + 1

    def _rows(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self.firsts[:-1], self.firsts[1:], strict=True)]


def _most_common_step(times: Integers) -> int:
    steps, counts = np.unique(np.diff(times), return_counts=True)
    return int(steps[np.argmax(counts)]) if steps.size else 0
