"""A market from archives: mark prices joined with last and index prices, volumes, open interest and funding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from backtest.amounts import plural
from backtest.errors import ArgumentError, DataError, FetchError
from backtest.market.market import GAP_LIMIT, Market
from backtest.market.sources import fetcher, plan, store
from backtest.market.sources.archives import ARCHIVES, Series
from backtest.market.sources.fetch_result import Fetched
from backtest.market.sources.formats.tidy import OHLC
from backtest.schemas.validation import breaking, say

#: Substitutes for the mark price, and data that can be joined to it, by their data set.
PRICES = ("mark", "last", "index", "spot")
ALSO = {"last": "last", "index": "index", "spot": "spot", "funding": "funding", "open_interest": "metrics"}

#: Venues whose archives count open interest in contracts.
IN_CONTRACTS = ("binance-coin",)

#: Joined by default, where the venue has them.
USUAL = ("last", "funding")

#: The longest a venue goes between two funding stamps.
FUNDED = timedelta(hours=8)

#: The longest that open interest, published every five minutes, is carried forward; later it is unknown.
CARRIED = timedelta(hours=1)


@dataclass(frozen=True)
class History:
    """A history to load; see :func:`backtest.market.load`."""

    venue: str
    symbols: tuple[str, ...]
    span: plan.Span
    interval: str = "1m"
    price: str = "mark"
    also: tuple[str, ...] | None = None  #: None: what of ``USUAL`` the venue has

    def __post_init__(self) -> None:
        if self.also is None:
            usual = tuple(name for name in USUAL if (self.venue, name) in ARCHIVES)
            object.__setattr__(self, "also", usual)
        if self.price not in PRICES:
            raise ArgumentError(f"must be one of {', '.join(PRICES)}, is {self.price!r}", argument="price")
        for name in self.also or ():
            if name not in ALSO:
                raise ArgumentError(
                    f"must name some of {', '.join(ALSO)}: {name!r} is none of them", argument="also"
                )
            if name == "open_interest" and self.venue in IN_CONTRACTS:
                raise ArgumentError(
                    f"must be in base units, that of {self.venue} is in contracts", argument="open_interest"
                )

    @property
    def joined(self) -> tuple[str, ...]:
        """Data joined to the price; a price is not joined to itself."""
        return tuple(dict.fromkeys(name for name in self.also or () if name != self.price))

    def series(self, name: str) -> list[Series]:
        """Return the series of joined data, or of the price, one a symbol."""
        return fetcher.all_series(self.venue, ALSO.get(name, name), self.symbols, self.interval)

    @property
    def all_series(self) -> list[Series]:
        """Every series it needs."""
        return [series for name in (self.price, *self.joined) for series in self.series(name)]


def load(
    history: History,
    settings: fetcher.Settings,
    *,
    gap_limit: timedelta | None = GAP_LIMIT,
    description: str | None = None,
) -> Market:
    """Return the market, fetching what is missing as the settings say.

    Raises
    ------
    FetchError
        Where something is missing and cannot be fetched; the message says what to do.
    DataError
        Where nothing is published for the span, or open interest is not known for it.
    """
    fetched = fetcher.fetch_series(history.all_series, history.span, settings)
    if fetched.failures:
        first = fetched.failures[0]
        raise FetchError(
            f"{len(fetched.failures):,} of {len(fetched.files):,} files could not be fetched, "
            f"first {first.series} {first.period}: {first.entry.note}"
        )
    notes = [*_missing(fetched), *_repaired(fetched)]
    market = from_disk(history, settings.folder, gap_limit=gap_limit, notes=notes)
    market.description = description or market.description
    return market


def from_disk(
    history: History, folder: Path, *, gap_limit: timedelta | None = GAP_LIMIT, notes: Iterable[str] = ()
) -> Market:
    """Return the market as stored, complete or not; ``notes`` are added to its description.

    Raises
    ------
    DataError
        As :func:`load`.
    """
    notes = list(notes)
    try:
        bars, lost = _bars(history, folder)
        funding = _rows(history, folder, "funding") if "funding" in history.joined else None
    except DataError as error:
        raise DataError("; ".join([str(error), *notes, *_hints(history)])) from None
    rates = None if funding is None else funding.select("symbol", "time", "rate")
    market = Market(bars, rates, gap_limit=gap_limit, price_venue=history.venue)
    market.description = "; ".join([_described(history), *notes, *lost, *_unknown_ends(history, market)])
    return market


def _bars(history: History, folder: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the bars of the price with all joined data, and notes on bars left out."""
    bars, notes = _rows(history, folder, history.price).drop("trades", strict=False), []
    if history.price == "spot":
        bars = bars.drop("taker_buy_volume").rename({"volume": "spot_volume"})
    for name in history.joined:
        if name in ("last", "index", "spot"):
            own = _renamed(_rows(history, folder, name), name)
            both = bars.join(own, on=["symbol", "time"], how="inner", maintain_order="left")
            if both.height < bars.height:
                notes.append(f"{bars.height - both.height:,} bars left out that have no {name} price")
            bars = both
        elif name == "open_interest":
            bars = _with_open_interest(bars, _rows(history, folder, name, CARRIED))
    have = set(bars["symbol"].unique())
    for symbol in history.symbols:
        if symbol not in have:
            joined = f" that have {' and '.join(history.joined)}" if history.joined else ""
            raise DataError(f"there are no bars of {symbol}{joined}: {_described(history)}")
    return bars, notes


def _rows(history: History, folder: Path, name: str, before: timedelta = timedelta(0)) -> pl.DataFrame:
    """Return the stored rows of the span and of a time before it."""
    return store.read(folder, history.series(name), history.span.start - before, history.span.end)


def _renamed(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    if name == "spot":
        return rows.select("symbol", "time", pl.col("volume").alias("spot_volume"))
    prices = (pl.col(part).alias(f"{name}_{part}") for part in OHLC)
    amounts = [amount for amount in ("volume", "taker_buy_volume") if amount in rows.columns]
    return rows.select("symbol", "time", *prices, *amounts)


def _with_open_interest(bars: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """Give each bar the open interest known at its open.

    Raises
    ------
    DataError
        Where none was published in the hour before.
    """
    known = metrics.select("symbol", "time", "open_interest").drop_nulls()
    joined = bars.sort("time").join_asof(
        known.sort("time"), on="time", by="symbol", tolerance=CARRIED, check_sortedness=False
    )
    joined = joined.sort("symbol", "time")
    unknown = joined.filter(pl.col("open_interest").is_null())
    if unknown.height:
        symbol, time = unknown.select("symbol", "time").row(0)
        raise DataError(
            f"open_interest must have been published in the hour before a bar: "
            f"{breaking(unknown.height, joined.height)}, first {symbol} {say(time)}; take a span that has it, or "
            "leave open_interest out"
        )
    return joined


def _described(history: History) -> str:
    substitute = "" if history.price == "mark" else ", in place of the mark price"
    asked = ARCHIVES[history.venue, ALSO.get(history.price, history.price)].asked
    return (
        f"{history.venue} {', '.join(history.symbols)}: {history.price} price, {history.interval} bars from the "
        f"venue's {'public interface' if asked else 'archive'}{substitute}"
    )


def _repaired(fetched: Fetched) -> Iterator[str]:
    if fetched.repairs:
        yield f"repaired in its files: {str(fetched.repairs).replace('; ', ', ')}"


def _unknown_ends(history: History, market: Market) -> Iterator[str]:
    """Yield where the span holds no bars, or bars without funding, before the first and after the last."""
    step = timedelta(milliseconds=int(market.intervals.max()))
    yield from _ends(market.bars, "bars", history.span.start, history.span.end, step)
    if market.funding is not None:
        first, last = market.bars.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
        yield from _ends(market.funding, "funding", first, last, FUNDED + timedelta(minutes=1))
        funded = set(market.funding["symbol"])
        yield from (f"no funding of {symbol}" for symbol in market.symbols if symbol not in funded)


def _ends(rows: pl.DataFrame, what: str, start: datetime, end: datetime, step: timedelta) -> Iterator[str]:
    """Yield the symbols whose rows begin more than a step after a span does, or end more than one before it."""
    found = rows.group_by("symbol", maintain_order=True).agg(first=pl.col("time").min(), last=pl.col("time").max())
    for symbol, first, last in found.iter_rows():
        if first >= start + step:
            yield f"no {what} of {symbol} before {first:%Y-%m-%d %H:%M}"
        if last + step < end:
            yield f"no {what} of {symbol} after {last:%Y-%m-%d %H:%M}"


def _hints(history: History) -> Iterator[str]:
    if history.span.end > datetime.now(UTC) - plan.RECENT:
        yield "the newest days are not in the archives: ask the venue's interface for the recent ones"


def _missing(fetched: Fetched) -> Iterator[str]:
    """Yield how many files the venue lacks or has damaged."""
    for status in ("missing", "damaged"):
        files = [file for file in fetched.wanting if file.entry.status == status]
        if files:
            first = files[0]
            counted = f"{plural(len(files), 'file')} {status} at the venue"
            yield f"{counted}, first {first.series.name} {first.period or 'recent'}"
