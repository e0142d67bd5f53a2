"""Addresses of venues' archives: hosts, paths and data sets, a line each.

As read in public sources, the newest of August 2026; the authors have tried none of the addresses.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from backtest.errors import ArgumentError
from backtest.market.sources.formats.binance import PERIOD
from backtest.market.sources.formats.bybit import METATRADER_CLOCK
from backtest.market.sources.formats.klines import milliseconds

HOSTS: Mapping[str, str] = {
    "binance-archive": "https://data.binance.vision",
    "binance-futures": "https://fapi.binance.com",
    "binance-coin-futures": "https://dapi.binance.com",
    "binance-spot": "https://api.binance.com",
    "bybit-archive": "https://public.bybit.com",
    "bybit": "https://api.bybit.com",
    "okx": "https://www.okx.com",
    "gate": "https://api.gateio.ws",
    "bitget": "https://api.bitget.com",
    "kucoin": "https://api-futures.kucoin.com",
    "hyperliquid": "https://api.hyperliquid.xyz",
    "dydx": "https://indexer.dydx.trade",
}

BINANCE_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
ASKED_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
BYBIT_INTERVALS = ("1m", "5m", "15m", "30m", "1h")


@dataclass(frozen=True)
class Endpoint:
    """A public interface of a venue that returns the newest rows, a page at a time."""

    host: str
    path: str
    limit: int  #: rows a page
    symbol: str = "symbol"  #: name of the parameter for the symbol
    fixed: tuple[tuple[str, str], ...] = ()  #: parameters that are always the same
    days: int = 0  #: how far it reaches back; 0: to the beginning


@dataclass(frozen=True)
class Archive:
    """One data set of one venue: the names of its files, and their reader."""

    kind: str  #: as in ``reading.READERS``
    host: str
    path: str  #: with the names of :func:`path_of` in braces
    monthly: bool = True
    daily: bool = True
    intervals: tuple[str, ...] = ()  #: none: the data set has no interval
    checksum: bool = True  #: whether the venue publishes a .CHECKSUM for each file
    recent: Endpoint | None = None
    ahead: timedelta = timedelta(0)  #: how far the clock that files are cut by is ahead of the rows' times
    asked: bool = False  #: whether days and months are asked of the venue's interface, in pages
    kept: str = ""  #: how far back an interface goes, where it does not go to the beginning


@dataclass(frozen=True, order=True)
class Series:
    """One data set of one symbol, fetched, stored and read together."""

    venue: str
    dataset: str
    symbol: str
    interval: str = ""

    @property
    def name(self) -> str:
        """The data set with its interval, as it is stored: ``mark-1m``, ``funding``."""
        return f"{self.dataset}-{self.interval}" if self.interval else self.dataset

    @property
    def archive(self) -> Archive:
        """The archive of this data set."""
        return ARCHIVES[self.venue, self.dataset]

    @property
    def step(self) -> int:
        """Milliseconds between two rows; 0 where the data set has no interval."""
        return milliseconds(self.interval) if self.interval else 0

    def __str__(self) -> str:
        return f"{self.venue} {self.name} {self.symbol}"


@dataclass(frozen=True, order=True)
class Period:
    """The days one file covers: a month, or a day."""

    first: date
    last: date

    @classmethod
    def month(cls, day: date) -> Period:
        """Return the month a day lies in."""
        return cls(day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1]))

    @classmethod
    def day(cls, day: date) -> Period:
        """Return a day."""
        return cls(day, day)

    @property
    def monthly(self) -> bool:
        """Whether it is a month."""
        return self.last > self.first

    @property
    def days(self) -> list[date]:
        """Every day of it."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}" if self.monthly else f"{self.first:%Y-%m-%d}"


def _binance(market: str, folder: str, kind: str, recent: Endpoint | None) -> Archive:
    """Return a data set with intervals, of ``spot``, ``futures/um`` or ``futures/cm``."""
    name = "pair" if folder == "indexPriceKlines" else "symbol"
    path = f"data/{market}/{{files}}/{folder}/{{{name}}}/{{interval}}/{{{name}}}-{{interval}}-{{period}}.zip"
    return Archive(kind, "binance-archive", path, intervals=BINANCE_INTERVALS, recent=recent)


def _figures(
    market: str,
    folder: str,
    kind: str,
    recent: Endpoint | None = None,
    *,
    monthly: bool = False,
    **more: Any,
) -> Archive:
    """Return a data set without intervals, kept by month or by day alone."""
    path = f"data/{market}/{{files}}/{folder}/{{symbol}}/{{symbol}}-{folder}-{{period}}.zip"
    return Archive(kind, "binance-archive", path, monthly=monthly, daily=not monthly, recent=recent, **more)


def _bybit(kind: str, path: str, *, monthly: bool = False, daily: bool = True, **more: Any) -> Archive:
    """Return a data set of Bybit's public files, which have no checksums."""
    return Archive(kind, "bybit-archive", path, monthly=monthly, daily=daily, checksum=False, **more)


def _asked(host: str, path: str, limit: int, *, kept: str = "", **more: Any) -> Archive:
    """Return a data set that the venue's interface answers in pages of at most ``limit`` rows."""
    recent = Endpoint(host, path, limit)
    return Archive("interface", host, f"{path}/{{symbol}}/{{interval}}{{period}}", checksum=False, asked=True,
                   recent=recent, kept=kept, **more)  # fmt: skip


def _okx(path: str, **more: Any) -> Archive:
    return _asked("okx", f"api/v5/{path}", 99, **more)


def _pages(host: str, path: str, symbol: str = "symbol", limit: int = 1500) -> Endpoint:
    return Endpoint(host, path, limit, symbol)


KLINES: Mapping[str, Any] = {"monthly": False, "intervals": ASKED_INTERVALS}
FEWER = {**KLINES, "intervals": tuple(interval for interval in ASKED_INTERVALS if interval != "6h")}
UM, CM = "binance-futures", "binance-coin-futures"
OPEN_INTEREST = Endpoint(UM, "futures/data/openInterestHist", 500, fixed=(("period", "5m"),), days=30)
#: The value known at midnight is the last row of the file of the day before.
LATE = -PERIOD

ARCHIVES: Mapping[tuple[str, str], Archive] = {
    ("binance", "mark"): _binance(
        "futures/um", "markPriceKlines", "mark_klines", _pages(UM, "fapi/v1/markPriceKlines")
    ),
    ("binance", "index"): _binance(
        "futures/um", "indexPriceKlines", "index_klines", _pages(UM, "fapi/v1/indexPriceKlines", "pair")
    ),
    ("binance", "premium"): _binance(
        "futures/um", "premiumIndexKlines", "premium_klines", _pages(UM, "fapi/v1/premiumIndexKlines")
    ),
    ("binance", "last"): _binance("futures/um", "klines", "klines", _pages(UM, "fapi/v1/klines")),
    ("binance", "spot"): _binance("spot", "klines", "klines", _pages("binance-spot", "api/v3/klines", limit=1000)),
    ("binance", "funding"): _figures(
        "futures/um", "fundingRate", "funding", _pages(UM, "fapi/v1/fundingRate", limit=1000), monthly=True
    ),
    ("binance", "metrics"): _figures("futures/um", "metrics", "metrics", OPEN_INTEREST, ahead=LATE),
    ("binance-coin", "mark"): _binance(
        "futures/cm", "markPriceKlines", "mark_klines", _pages(CM, "dapi/v1/markPriceKlines")
    ),
    ("binance-coin", "index"): _binance(
        "futures/cm", "indexPriceKlines", "index_klines", _pages(CM, "dapi/v1/indexPriceKlines", "pair")
    ),
    ("binance-coin", "premium"): _binance(
        "futures/cm", "premiumIndexKlines", "premium_klines", _pages(CM, "dapi/v1/premiumIndexKlines")
    ),
    ("binance-coin", "last"): _binance("futures/cm", "klines", "coin_klines", _pages(CM, "dapi/v1/klines")),
    ("binance-coin", "funding"): _figures(
        "futures/cm", "fundingRate", "funding", _pages(CM, "dapi/v1/fundingRate", limit=1000), monthly=True
    ),
    ("binance-coin", "metrics"): _figures("futures/cm", "metrics", "coin_metrics", ahead=LATE),
    ("binance-coin", "liquidations"): _figures("futures/cm", "liquidationSnapshot", "liquidations"),
    ("bybit", "mark"): _asked("bybit", "v5/market/mark-price-kline", 1000, **KLINES),
    ("bybit", "last"): _asked("bybit", "v5/market/kline", 1000, **KLINES),
    ("bybit", "funding"): _asked("bybit", "v5/market/funding/history", 200),
    ("bybit", "metrics"): _asked("bybit", "v5/market/open-interest", 200, monthly=False),
    ("okx", "mark"): _okx("market/history-mark-price-candles", **KLINES),
    ("okx", "last"): _okx("market/history-candles", **KLINES),
    ("okx", "funding"): _okx("public/funding-rate-history", kept="three months"),
    ("okx", "metrics"): _okx("rubik/stat/contracts/open-interest-history", monthly=False, kept="1,440 hours"),
    ("hyperliquid", "last"): _asked("hyperliquid", "info", 5000, kept="5,000 bars", **FEWER),
    ("hyperliquid", "funding"): _asked("hyperliquid", "info", 500),
    ("bybit", "metatrader"): _bybit(
        "bybit_klines",
        "kline_for_metatrader4/{symbol}/{year}/{symbol}_{minutes}_{first}_{last}.csv.gz",
        monthly=True,
        daily=False,
        intervals=BYBIT_INTERVALS,
        ahead=METATRADER_CLOCK,
    ),
    ("bybit", "trades"): _bybit("bybit_trades", "trading/{symbol}/{symbol}{period}.csv.gz"),
    ("bybit", "spot-trades"): _bybit(
        "bybit_spot_trades", "spot/{symbol}/{symbol}{dash}{period}.csv.gz", monthly=True
    ),
    ("bybit", "index"): _bybit(
        "bybit_index", "spot_index/{symbol}/{symbol}{period}_index_price.csv.gz", intervals=("1m",)
    ),
    ("bybit", "premium"): _bybit(
        "bybit_premium", "premium_index/{symbol}/{symbol}{period}_premium_index.csv.gz", intervals=("1m",)
    ),
}

VENUES = tuple(dict.fromkeys(venue for venue, _ in ARCHIVES))

#: Data sets that one would expect, and the reason they are absent.
ABSENT = {
    (
        "binance",
        "liquidations",
    ): "the venue removed USD-M liquidation snapshots; binance-coin has them to 2024-10-14",
    ("hyperliquid", "mark"): "it publishes no history of mark prices: last stands in their place",
    ("hyperliquid", "metrics"): "it publishes open interest of the present moment alone",
}


def datasets(venue: str) -> tuple[str, ...]:
    """Return the data sets of a venue.

    Examples
    --------
    >>> from backtest.market.sources import datasets
    >>> datasets("bybit")
    ('mark', 'last', 'funding', 'metrics', 'metatrader', 'trades', 'spot-trades', 'index', 'premium')
    """
    return tuple(dataset for known, dataset in ARCHIVES if known == venue)


def series(venue: str, dataset: str, symbol: str, interval: str = "1m") -> Series:
    """Return a series by its names.

    Raises
    ------
    ArgumentError
        For an unknown venue, data set or interval, and a symbol that could not be part of a path.
    """
    if venue not in VENUES:
        raise ArgumentError(f"must be one of {', '.join(VENUES)}, is {venue!r}", argument="venue")
    if (venue, dataset) not in ARCHIVES:
        reason = f" ({ABSENT[venue, dataset]})" if (venue, dataset) in ABSENT else ""
        known = ", ".join(datasets(venue))
        raise ArgumentError(f"of {venue} must be one of {known}, is {dataset!r}{reason}", argument="data")
    own_case = symbol == symbol.upper() or venue == "hyperliquid"
    if not (symbol.replace("_", "").replace("-", "").isalnum() and own_case):
        raise ArgumentError(f"must be written as the venue does, like BTCUSDT, is {symbol!r}", argument="symbol")
    intervals = ARCHIVES[venue, dataset].intervals
    if intervals and interval not in intervals:
        raise ArgumentError(
            f"of {venue} {dataset} must be one of {', '.join(intervals)}, is {interval!r}", argument="interval"
        )
    return Series(venue, dataset, symbol, interval if intervals else "")


def path_of(series: Series, period: Period) -> str:
    """Return the path of a file below its host."""
    return series.archive.path.format(
        files="monthly" if period.monthly else "daily",
        symbol=series.symbol,
        pair=series.symbol.partition("_")[0],
        interval=series.interval,
        minutes=series.step // 60_000,
        period=period,
        dash="-" if period.monthly else "_",
        year=period.first.year,
        first=period.first,
        last=period.last,
    )
