"""Report of a fetch: files by series, files missing at the venue, repairs, quality of prices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import polars as pl

from backtest.amounts import NOTHING, duration, number, percentage, plural, timestamp
from backtest.cli.common.text import facts, table
from backtest.errors import DataError
from backtest.market import Market, quality
from backtest.market.sources import history, plan
from backtest.market.sources.archives import Series
from backtest.market.sources.fetch_result import Fetched, File
from backtest.market.sources.fetcher import Settings

#: Data sets that can be the price of a history, best first.
PRICES = ("mark", "last", "index", "spot")
#: Data sets that are checked against the price, and by which check.
AGAINST = {"funding": "funding", "last": "last", "index": "index", "spot": "reference"}
#: Missing or damaged files that are named; more are counted.
NAMED = 10
ABSENT = {"missing": "Not at the venue", "damaged": "Damaged at the venue"}


@dataclass(frozen=True)
class Request:
    """What a fetch was asked for."""

    venue: str
    data: tuple[str, ...]
    symbols: tuple[str, ...]
    span: plan.Span
    interval: str
    settings: Settings

    @property
    def price(self) -> str | None:
        """The data set whose bars are checked and written."""
        return next((name for name in PRICES if name in self.data), None)

    def market(self, symbols: tuple[str, ...], also: tuple[str, ...] = (), price: str | None = None) -> Market:
        """Return a market from the files on disk."""
        price = price or self.price or PRICES[0]
        wanted = history.History(self.venue, symbols, self.span, self.interval, price, also)
        return history.from_disk(wanted, self.settings.folder)


@dataclass(frozen=True)
class Quality:
    """Results of the checks, as a frame and as text."""

    frame: pl.DataFrame
    text: str


def files(fetched: Fetched, wanted: Sequence[Series]) -> str:
    """Return a table of the files of each series by outcome."""
    header = ["data", "symbol", "files", "fetched", "on disk", "missing", "damaged", "failed", "MB", "rows"]
    header += ["first\n(UTC)", "last\n(UTC)"]
    rows = [_row(series, [file for file in fetched.files if file.series == series]) for series in wanted]
    return table(header, rows, left=2)


def absent(fetched: Fetched) -> str:
    """Return the files that are missing or damaged at the venue, and the number without a checksum."""
    named: list[tuple[str, str]] = []
    for status, heading in ABSENT.items():
        found = [file for file in fetched.wanting if file.entry.status == status]
        lines = [_named(file) for file in found[:NAMED]]
        if len(found) > NAMED:
            lines.append(f"and {len(found) - NAMED:,} more")
        named += zip(chain([heading], repeat("")), lines, strict=False)
    unverified = sum(
        bool(file.period) and file.entry.status == "stored" and not file.entry.verified for file in fetched.files
    )
    if unverified:
        named.append(("Not verified", f"{plural(unverified, 'file')}: the venue publishes no checksum"))
    return facts(named, indent="")


def repairs(fetched: Fetched, wanted: Sequence[Series]) -> str:
    """Return the repairs in the files of each series."""
    rows = [
        (f"{series.name} {series.symbol}", f"{row['meaning']}: {row['rows']:,}")
        for series in wanted
        for row in fetched.repairs_of(series.symbol, series.name).frame().iter_rows(named=True)
    ]
    return f"Repairs\n{facts(rows)}" if rows else ""


def quality_of(request: Request, fetched: Fetched) -> Quality:
    """Return the results of the checks of each symbol; one symbol is in memory at a time.

    The frame includes repairs; the text does not, as they are printed by series.
    """
    frames, notes = [pl.DataFrame(schema=quality.SCHEMA)], []
    if request.price is not None:
        for symbol in request.symbols:
            for other in (None, *(name for name in request.data if name in AGAINST and name != request.price)):
                try:
                    frames.append(_checked(request, symbol, other, fetched))
                except DataError as error:
                    notes.append(f"  {error}")
    every = pl.concat(frames)
    if request.price is None:
        return Quality(every, "")
    found = every.drop_nulls("start")
    title = f"Quality of the {request.price} price"
    lines = [title if found.height or notes else f"{title}: no problem found", *dict.fromkeys(notes)]
    return Quality(every, "\n".join([*lines, _table(found)] if found.height else lines))


def _named(file: File) -> str:
    name = f"{file.series.name} {file.series.symbol} {file.period or 'recent'}"
    return f"{name}: {file.entry.note}" if file.entry.note else name


def _checked(request: Request, symbol: str, other: str | None, fetched: Fetched) -> pl.DataFrame:
    """Return the checks of the price itself, or against another data set."""
    end = min(request.span.end, request.settings.now)
    if other is None:
        repairs = {symbol: fetched.repairs_of(symbol)}
        return quality.report(request.market((symbol,)), span=(request.span.start, end), repairs=repairs)
    if other == "spot":
        found = quality.report(request.market((symbol,)), reference=request.market((symbol,), price="spot"))
    else:
        found = quality.report(request.market((symbol,), (other,)))
    return found.filter(pl.col("check") == AGAINST[other])


def _table(found: pl.DataFrame) -> str:
    header = ["symbol", "check", "periods", "bars", "longest", "worst\n%", "first\n(UTC)", "meaning"]
    return table(header, list(_lines(found)), left=2)


def _lines(found: pl.DataFrame) -> Iterator[list[str]]:
    starts = found.group_by("symbol", "check").agg(pl.col("start").min())
    first = {(symbol, check): start for symbol, check, start in starts.iter_rows()}
    for row in quality.summary(found).iter_rows(named=True):
        yield [
            row["symbol"],
            row["check"],
            number(row["stretches"]),
            number(row["bars"]),
            duration(row["longest"]),
            NOTHING if row["worst"] is None else percentage(math.expm1(row["worst"])),
            timestamp(first[row["symbol"], row["check"]]),
            quality.CHECKS[row["check"]],
        ]


def _row(series: Series, own: Sequence[File]) -> list[str]:
    stored = [file.entry for file in own if file.entry.status == "stored" and file.entry.rows]
    counts = [sum(file.outcome == outcome for file in own) for outcome in ("fetched", "kept")]
    counts += [sum(file.entry.status == status and file.outcome != "failed" for file in own) for status in ABSENT]
    counts.append(sum(file.outcome == "failed" for file in own))
    return [
        series.name,
        series.symbol,
        number(len(own)),
        *(number(count) if count else NOTHING for count in counts),
        number(sum(file.entry.bytes for file in own) / 1e6, 1),
        number(sum(entry.rows for entry in stored)),
        timestamp(min(entry.first for entry in stored if entry.first)) if stored else NOTHING,
        timestamp(max(entry.last for entry in stored if entry.last)) if stored else NOTHING,
    ]
