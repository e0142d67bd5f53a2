"""A market: price and funding history, symbol by symbol."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.types import Floats, Integers, readonly
from backtest.market.files import read_frame
from backtest.market.late_stamps import moved_back
from backtest.schemas.arguments import checked
from backtest.schemas.conversion import converted
from backtest.schemas.frames import BARS, FUNDING, PRICE_PREFIX
from backtest.schemas.given_frames import owned
from backtest.schemas.validation import breaking, conform, offence, require_order, say
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
        self.bars = owned(_by_symbol(conform(bars, BARS)))
        self.gap_limit = _checked_limit(gap_limit)
        self.description, self.price_venue = description, price_venue
        self._made: dict[str, tuple[object, Any]] = {}  # by name, with the key it was made for
        self._check_prices()
        require_order(self.bars, "bars")
        self._check_intervals()
        self.funding = None if funding is None else owned(_by_symbol(conform(funding, FUNDING)))
        if self.funding is not None:
            require_order(self.funding, "funding")
            self._check_funding_symbols(self.funding)

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
            raise ArgumentError(self._without_bars(start, end), argument="end" if start is None else "start")
        return self._with(bars, None if rates is None or rates.is_empty() else rates)

    def _without_bars(self, start: datetime | None, end: datetime | None) -> str:
        """Return the refusal of a window without bars, with the times of those there are."""
        until = f" before {say(end)}" if start is not None and end is not None else ""
        first, last = self.bars["time"].min(), self.bars["time"].max()
        return f"leaves no bars{until}: those of {', '.join(self.symbols)} open from {say(first)} to {say(last)}"

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

    def long_gaps(self, symbol: int, limit: timedelta | None) -> Integers:
        """Return the bars of a symbol, counted from its first, that open after a gap beyond a limit."""
        if limit is None:
            return np.zeros(0, np.int64)
        times = self.times[self._rows()[symbol]]
        missing = np.diff(times) - self.intervals[symbol]
        return np.flatnonzero(missing > limit / timedelta(milliseconds=1)) + 1

    def _rows(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self.firsts[:-1], self.firsts[1:], strict=True)]

    def _check_prices(self) -> None:
        """Raise for an empty history, and for prices of zero unless all lie between 0 and 1 (odds)."""
        if self.bars.is_empty():
            raise DataError("bars must hold at least one row, there is none")
        for prefix in PRICE_PREFIX.values():
            low, high = f"{prefix}low", f"{prefix}high"
            if low in self.bars.columns and self.bars[low].min() == 0.0:
                bad = (pl.col(low) == 0) & (pl.col(high).max().over("symbol") > 1)
                if not self.bars.filter(bad).is_empty():
                    sentence = f"{low} must be above zero (only prices between 0 and 1 may touch it)"
                    raise DataError(offence(self.bars, "bars", sentence, bad, (low,)))

    def _check_intervals(self) -> None:
        for symbol, rows, interval in zip(self.symbols, self._rows(), self.intervals, strict=True):
            short = np.flatnonzero(np.diff(self.times[rows]) < interval)
            if short.size:
                row = int(rows.start + short[0] + 1)
                raise DataError(
                    f"bars: bars of {symbol} must not overlap, and most cover "
                    f"{timedelta(milliseconds=int(interval))}: {breaking(short.size, rows.stop - rows.start)}, "
                    f"first row {row:,} (time={say(self.bars['time'][row])}, "
                    f"the one before {say(self.bars['time'][row - 1])})"
                )

    def _check_funding_symbols(self, funding: pl.DataFrame) -> None:
        """Raise where all funding is of other symbols: the two files name them differently."""
        given = funding["symbol"].unique(maintain_order=True).to_list()
        if given and not set(given) & set(self.symbols):
            raise DataError(
                f"funding: symbol must be one of the bars' ({', '.join(self.symbols)}) in some rows: "
                f"there are only {', '.join(given)}"
            )


@checked
def load(
    bars: str | Path,
    funding: str | Path | None = None,
    *,
    gap_limit: timedelta | None = GAP_LIMIT,
    description: str | None = None,
    price_venue: str = "",
) -> Market:
    """Read a market from Parquet or CSV files in the schemas of :class:`Market`.

    Raises
    ------
    DataError
        For files that are absent or damaged, and for contents :class:`Market` refuses.
    """
    return Market(
        read_frame(bars, BARS),
        None if funding is None else read_frame(funding, FUNDING),
        gap_limit=gap_limit,
        description=Path(bars).name if description is None else description,
        price_venue=price_venue,
    )


def _by_symbol(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with those of each symbol together, symbols in order of appearance, times as given."""
    runs = frame.select((pl.col("symbol") != pl.col("symbol").shift(1)).sum()).item() or 0
    if runs + 1 > frame["symbol"].n_unique():
        order = frame["symbol"].unique(maintain_order=True)
        frame = frame.sort(pl.col("symbol").cast(pl.Enum(order)), maintain_order=True)
    return frame


def _most_common_step(times: Integers) -> int:
    steps, counts = np.unique(np.diff(times), return_counts=True)
    return int(steps[np.argmax(counts)]) if steps.size else 0


def _checked_limit(limit: timedelta | None) -> timedelta | None:
    if limit is not None and (not isinstance(limit, timedelta) or limit < timedelta(0)):
        raise ArgumentError(f"must be a timedelta of zero or more, or None, is {limit!r}", argument="gap_limit")
    return limit
